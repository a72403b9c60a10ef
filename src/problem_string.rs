//! The one-line form of a [`Problem`], shared by tests, benches, the command line and bug reports.
//!
//! ```text
//! n8c64h56w56o128k3x5s2p1x2d1g4:reflect:nobias+residual+leaky_relu=0.1
//! ```
//!
//! First the sizes, each a letter and a number, in any order:
//!
//! | field | meaning | if absent |
//! | --- | --- | --- |
//! | `n` | batch | 1 |
//! | `c` | input channels | required |
//! | `z`, `h`, `w` | input slices, rows, columns | `w` is required; without `z` there are two spatial axes, without `h` one |
//! | `o` | output channels | required |
//! | `k` | kernel size: `k3`, or one number for each axis, `k3x5` (rows × columns) | required |
//! | `s` | stride: `s2` or `s2x1` | 1 |
//! | `p` | padding: `p1`; one number for each axis `p1x2`; before and after each axis (top, bottom, left, right) `p0,1,2,3`; `psame`, `psamelower`, `pvalid` | 0 |
//! | `d` | dilation: `d2` or `d2x1` | 1 |
//! | `g` | groups | 1 |
//!
//! Then options, each after a colon: `zeros`, `reflect`, `replicate` or `circular` (padding mode), `nobias`, and `transposed`
//! for a transposed convolution, with its output padding if there is any: `transposed=1` or `transposed=1x0`; `deform` for a
//! deformable one, with `offset_groups=2` if there are more than one and `mask` if it has one; `nhwc` where
//! channels are last in memory, and `ohwi` or `hwio` for the order of the weight; `f16` for
//! tensors of 16-bit floats; `u8_i8_i32` for tensors of integers, input, weight and output (see [`Integers`]).
//! Then the epilogue, each part after a plus sign: `residual`, and one activation: `relu`, `relu6`, `clip=MIN,MAX`,
//! `leaky_relu=SLOPE`, `prelu`, `prelu_each`, `sigmoid`, `tanh`, `silu`, `gelu`, `gelu_tanh`, `hard_swish`, `elu=ALPHA`, `hard_sigmoid=ALPHA,BETA`.

use std::fmt;
use std::str::FromStr;

use crate::conv::PaddingMode;
use crate::dtype::DType;
use crate::epilogue::{Activation, Epilogue};
use crate::error::{Error, Result};
use crate::integers::Integers;
use crate::layout::{Layout, WeightLayout};
use crate::parameters::{AnyPadding, Op, Parameters};
use crate::problem::{PaddingName, Problem};
use crate::shape::MAX_AXES;

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shape = self.input_shape();
        write!(f, "n{}c{}", shape[0], shape[1])?;
        for (letter, size) in ["z", "h", "w"][MAX_AXES - self.dimensions()..].iter().zip(&shape[2..]) {
            write!(f, "{letter}{size}")?;
        }
        write!(f, "o{}k{}", self.out_channels(), PerAxis(self.kernel_size()))?;
        let is = |values: &[u32], neutral: u32| values.iter().all(|&value| value == neutral);
        if !is(self.stride(), 1) {
            write!(f, "s{}", PerAxis(self.stride()))?;
        }
        match self.padding_name() {
            PaddingName::Same => f.write_str("psame")?,
            PaddingName::SameLower => f.write_str("psamelower")?,
            PaddingName::Valid => f.write_str("pvalid")?,
            PaddingName::Explicit => {
                let sides = self.padding();
                let before: Vec<u32> = sides.iter().map(|side| side[0]).collect();
                if sides.iter().any(|[before, after]| before != after) {
                    let all: Vec<String> = sides.iter().flatten().map(ToString::to_string).collect();
                    write!(f, "p{}", all.join(","))?;
                } else if !is(&before, 0) {
                    write!(f, "p{}", PerAxis(&before))?;
                }
            }
        }
        if !is(self.dilation(), 1) {
            write!(f, "d{}", PerAxis(self.dilation()))?;
        }
        if self.groups() != 1 {
            write!(f, "g{}", self.groups())?;
        }
        if self.op() == Op::ConvTranspose {
            f.write_str(":transposed")?;
            if !is(self.output_padding(), 0) {
                write!(f, "={}", PerAxis(self.output_padding()))?;
            }
        }
        if self.op() == Op::DeformConv {
            f.write_str(":deform")?;
            if self.offset_groups() != 1 {
                write!(f, ":offset_groups={}", self.offset_groups())?;
            }
            if self.mask() {
                f.write_str(":mask")?;
            }
        }
        if self.padding_mode() != PaddingMode::Zeros {
            write!(f, ":{}", self.padding_mode())?;
        }
        match self.integers() {
            Some(integers) => write!(f, ":{integers}")?,
            None if self.dtype() != DType::default() => write!(f, ":{}", self.dtype())?,
            None => {}
        }
        if self.layout() != Layout::default() {
            write!(f, ":{}", self.layout())?;
        }
        if self.weight_layout() != WeightLayout::default() {
            write!(f, ":{}", self.weight_layout())?;
        }
        if !self.bias() {
            f.write_str(":nobias")?;
        }
        if self.epilogue().residual {
            f.write_str("+residual")?;
        }
        if self.epilogue().activation != Activation::Identity {
            write!(f, "+{}", self.epilogue().activation)?;
        }
        Ok(())
    }
}

/// One number where all are the same, else all of them with an `x` in between.
struct PerAxis<'a>(&'a [u32]);

impl fmt::Display for PerAxis<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(numbers) = self;
        let count = if numbers.iter().all(|number| *number == numbers[0]) { 1 } else { numbers.len() };
        let words: Vec<String> = numbers[..count].iter().map(ToString::to_string).collect();
        f.write_str(&words.join("x"))
    }
}

impl FromStr for Problem {
    type Err = Error;

    /// Reads a problem string.
    ///
    /// # Errors
    /// [`Error::Parse`] with the position, or what [`Problem::new`] says of the values.
    fn from_str(text: &str) -> Result<Self> {
        let mut reader = Reader { text, at: 0 };
        let fields = reader.fields()?;
        let options = reader.options()?;
        let epilogue = reader.epilogue()?;
        let required = |letter: &str, value: Option<u32>| {
            value.ok_or_else(|| reader.error(&format!("the field {letter:?} is required")))
        };
        let in_channels = required("c", fields.channels)?;
        let out_channels = required("o", fields.out_channels)?;
        let mut input = vec![fields.batch.unwrap_or(1), in_channels];
        if let Some(depth) = fields.depth {
            input.extend([depth, required("h", fields.height)?]);
        } else {
            input.extend(fields.height);
        }
        input.push(required("w", fields.width)?);
        let axes = input.len() - 2;
        let kernel_size = fields.kernel_size.ok_or_else(|| reader.error("the field \"k\" is required"))?;
        let spread = |letter: &str, numbers: Option<Vec<u32>>, neutral: u32| match numbers {
            None => Ok(vec![neutral; axes]),
            Some(numbers) => spread(numbers, axes)
                .map_err(|count| reader.error(&format!("{letter} has {count} numbers for {axes} spatial axes"))),
        };
        let padding = match fields.padding {
            None => AnyPadding::Explicit(vec![[0, 0]; axes]),
            Some(GivenPadding::Named(named)) => named,
            Some(GivenPadding::PerAxis(numbers)) => {
                let both = spread("p", Some(numbers), 0)?;
                AnyPadding::Explicit(both.into_iter().map(|both| [both, both]).collect())
            }
            Some(GivenPadding::Sides(sides)) => {
                if sides.len() != 2 * axes {
                    let count = sides.len();
                    return Err(reader.error(&format!("p has {count} numbers for both sides of {axes} spatial axes")));
                }
                AnyPadding::Explicit(sides.chunks_exact(2).map(|pair| [pair[0], pair[1]]).collect())
            }
        };
        let parameters = Parameters {
            op: options.op,
            in_channels,
            out_channels,
            kernel_size: spread("k", Some(kernel_size), 1)?,
            stride: spread("s", fields.stride, 1)?,
            padding,
            dilation: spread("d", fields.dilation, 1)?,
            output_padding: spread("transposed", options.output_padding, 0)?,
            groups: fields.groups.unwrap_or(1),
            bias: !options.nobias,
            padding_mode: options.padding_mode.unwrap_or_default(),
            offset_groups: options.offset_groups.unwrap_or(1),
            mask: options.mask,
        };
        let problem = Self::from_parameters(&parameters, &input)?.with_epilogue(epilogue)?;
        let (dtype, layout) = (options.dtype.unwrap_or_default(), options.layout.unwrap_or_default());
        let problem = match options.integers {
            Some(integers) => problem.with_integers(integers)?,
            None => problem.with_dtype(dtype)?,
        };
        Ok(problem.with_layout(layout).with_weight_layout(options.weight_layout.unwrap_or_default()))
    }
}

/// One number for all axes, or one for each of them; how many there were if it is neither.
fn spread(numbers: Vec<u32>, axes: usize) -> Result<Vec<u32>, usize> {
    match numbers.as_slice() {
        [all] => Ok(vec![*all; axes]),
        each if each.len() == axes => Ok(numbers),
        _ => Err(numbers.len()),
    }
}

#[derive(Default)]
struct Fields {
    batch: Option<u32>,
    channels: Option<u32>,
    depth: Option<u32>,
    height: Option<u32>,
    width: Option<u32>,
    out_channels: Option<u32>,
    kernel_size: Option<Vec<u32>>,
    stride: Option<Vec<u32>>,
    padding: Option<GivenPadding>,
    dilation: Option<Vec<u32>>,
    groups: Option<u32>,
}

enum GivenPadding {
    Named(AnyPadding),
    PerAxis(Vec<u32>),
    Sides(Vec<u32>),
}

#[derive(Default)]
struct Options {
    op: Op,
    output_padding: Option<Vec<u32>>,
    padding_mode: Option<PaddingMode>,
    nobias: bool,
    offset_groups: Option<u32>,
    mask: bool,
    dtype: Option<DType>,
    integers: Option<Integers>,
    layout: Option<Layout>,
    weight_layout: Option<WeightLayout>,
}

/// Walks over the text; `at` is a byte offset that always lies on a character boundary.
struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn error(&self, reason: &str) -> Error {
        let position = self.text[..self.at].chars().count() + 1;
        Error::Parse { text: self.text.into(), position, reason: reason.into() }
    }

    fn take(&mut self, prefix: &str) -> bool {
        let found = self.rest().starts_with(prefix);
        if found {
            self.at += prefix.len();
        }
        found
    }

    fn number(&mut self) -> Result<u32> {
        let digits = self.rest().bytes().take_while(u8::is_ascii_digit).count();
        let value = self.rest()[..digits].parse().map_err(|_| {
            self.error(if digits == 0 { "expected a number without a sign" } else { "this number exceeds 4294967295" })
        })?;
        self.at += digits;
        Ok(value)
    }

    /// Numbers with an `x` in between.
    fn per_axis(&mut self) -> Result<Vec<u32>> {
        let mut numbers = vec![self.number()?];
        while self.take("x") {
            numbers.push(self.number()?);
        }
        Ok(numbers)
    }

    fn padding(&mut self) -> Result<GivenPadding> {
        for (name, padding) in
            [("samelower", AnyPadding::SameLower), ("same", AnyPadding::Same), ("valid", AnyPadding::Valid)]
        {
            if self.take(name) {
                return Ok(GivenPadding::Named(padding));
            }
        }
        let mut numbers = self.per_axis()?;
        if numbers.len() > 1 || !self.rest().starts_with(',') {
            return Ok(GivenPadding::PerAxis(numbers));
        }
        while self.take(",") {
            numbers.push(self.number()?);
        }
        Ok(GivenPadding::Sides(numbers))
    }

    fn fields(&mut self) -> Result<Fields> {
        let mut fields = Fields::default();
        while let Some(letter) = self.rest().chars().next().filter(|c| !matches!(c, ':' | '+')) {
            let start = self.at;
            self.at += letter.len_utf8();
            let fresh = match letter {
                'n' => fields.batch.replace(self.number()?).is_none(),
                'c' => fields.channels.replace(self.number()?).is_none(),
                'z' => fields.depth.replace(self.number()?).is_none(),
                'h' => fields.height.replace(self.number()?).is_none(),
                'w' => fields.width.replace(self.number()?).is_none(),
                'o' => fields.out_channels.replace(self.number()?).is_none(),
                'k' => fields.kernel_size.replace(self.per_axis()?).is_none(),
                's' => fields.stride.replace(self.per_axis()?).is_none(),
                'p' => fields.padding.replace(self.padding()?).is_none(),
                'd' => fields.dilation.replace(self.per_axis()?).is_none(),
                'g' => fields.groups.replace(self.number()?).is_none(),
                _ => {
                    self.at = start;
                    return Err(self.error("expected one of the fields n c z h w o k s p d g, or ':' or '+'"));
                }
            };
            if !fresh {
                self.at = start;
                return Err(self.error(&format!("the field {letter:?} is given twice")));
            }
        }
        Ok(fields)
    }

    /// The word up to the next separator.
    fn word(&mut self) -> &'a str {
        let rest = self.rest();
        let word = &rest[..rest.find([':', '+']).unwrap_or(rest.len())];
        self.at += word.len();
        word
    }

    fn options(&mut self) -> Result<Options> {
        let mut options = Options::default();
        while self.take(":") {
            let start = self.at;
            if self.take("transposed") {
                let twice = std::mem::replace(&mut options.op, Op::ConvTranspose) != Op::Conv;
                if self.take("=") {
                    options.output_padding = Some(self.per_axis()?);
                }
                if !twice && self.rest().chars().next().is_none_or(|c| matches!(c, ':' | '+')) {
                    continue;
                }
                self.at = start;
                return Err(
                    self.error("expected transposed once, alone or with =NUMBER for each axis, and not with deform")
                );
            }
            if self.take("offset_groups=") {
                if options.offset_groups.replace(self.number()?).is_none() {
                    continue;
                }
                self.at = start;
                return Err(self.error("this option is given twice"));
            }
            let word = self.word();
            let fresh = if let Some(mode) = PaddingMode::from_name(word) {
                options.padding_mode.replace(mode).is_none()
            } else if let Some(dtype) = DType::FLOATS.into_iter().find(|dtype| dtype.name() == word) {
                options.dtype.replace(dtype).is_none() && options.integers.is_none()
            } else if let Some(integers) = Integers::from_name(word) {
                options.integers.replace(integers).is_none() && options.dtype.is_none()
            } else if let Some(layout) = Layout::ALL.into_iter().find(|layout| layout.name() == word) {
                options.layout.replace(layout).is_none()
            } else if let Some(layout) = WeightLayout::ALL.into_iter().find(|layout| layout.name() == word) {
                options.weight_layout.replace(layout).is_none()
            } else if word == "nobias" {
                !std::mem::replace(&mut options.nobias, true)
            } else if word == "mask" {
                !std::mem::replace(&mut options.mask, true)
            } else if word == "deform" {
                std::mem::replace(&mut options.op, Op::DeformConv) == Op::Conv
            } else {
                self.at = start;
                return Err(self.error(
                    "expected zeros, reflect, replicate, circular, nobias, transposed, deform, offset_groups=NUMBER, mask, f32, f16, integers (u8_i8_i32), nchw, nhwc, oihw, ohwi or hwio",
                ));
            };
            if !fresh {
                self.at = start;
                return Err(self.error(match word {
                    "deform" => "expected deform once, and not with transposed",
                    _ => "this option is given twice",
                }));
            }
        }
        Ok(options)
    }

    fn epilogue(&mut self) -> Result<Epilogue> {
        let mut epilogue = Epilogue::NONE;
        let mut activation = None;
        while !self.rest().is_empty() {
            if !self.take("+") {
                return Err(self.error("expected '+' (options with ':' come before the epilogue)"));
            }
            let start = self.at;
            // A number's exponent may hold a plus sign (1e+5); Display never writes one, so words stop at '+'.
            let word = self.word();
            let reason = if word == "residual" {
                if !std::mem::replace(&mut epilogue.residual, true) {
                    continue;
                }
                "residual is given twice".into()
            } else {
                match parse_activation(word) {
                    Ok(found) if activation.replace(found).is_none() => continue,
                    Ok(_) => "a second activation".into(),
                    Err(reason) => reason,
                }
            };
            self.at = start;
            return Err(self.error(&reason));
        }
        epilogue.activation = activation.unwrap_or_default();
        Ok(epilogue)
    }
}

impl FromStr for Activation {
    type Err = Error;

    /// Reads an activation as it stands in a problem string: `relu`, `clip=0,6`, ….
    ///
    /// # Errors
    /// [`Error::Parse`].
    fn from_str(text: &str) -> Result<Self> {
        parse_activation(text).map_err(|reason| Error::Parse { text: text.into(), position: 1, reason })
    }
}

fn parse_activation(text: &str) -> Result<Activation, String> {
    let (name, numbers) = match text.split_once('=') {
        None => (text, Vec::new()),
        Some((name, numbers)) => {
            let parsed: Result<Vec<f32>, _> = numbers.split(',').map(str::parse).collect();
            (name, parsed.map_err(|_| format!("{numbers:?} is not a list of numbers"))?)
        }
    };
    Activation::from_name(name, &numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(text: &str) {
        let problem: Problem = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(problem.to_string(), text);
    }

    #[test]
    fn canonical_strings_read_back() {
        round_trip("n1c64h56w56o64k3p1");
        round_trip("n8c4h9w7o6k3x5s2x1p0,1,2,3d1x2g2:reflect:nobias+residual+leaky_relu=0.1");
        round_trip("n0c0h5w5o3k1+clip=-1,6");
        round_trip("n1c1h8w8o1k3psamelower:circular");
        round_trip("n1c1h8w8o1k3pvalid+residual");
        round_trip("n1c4w33o6k3s2p0,2");
        round_trip("n1c4z5h6w7o6k3x1x2s1x2x3p1x0x2d2");
        round_trip("n1c4h5w6o6k3s2p1:transposed=1x0:nobias+relu");
        round_trip("n1c4w6o6k3s2psame:transposed");
        round_trip("n1c4h5w6o6k3p1:f16:nhwc:hwio:nobias");
        round_trip("n1c4h5w6o6k3p1:deform");
        round_trip("n2c4h5w6o6k3x2s2p0,1,2,1d2g2:deform:offset_groups=4:mask:f16:nhwc:nobias+residual+relu");
    }

    #[test]
    fn order_and_defaults_are_free() {
        let long: Problem = "k3x3p1x1d1o64n1c64w56h56g1s1:zeros+relu6".parse().unwrap();
        assert_eq!(long.to_string(), "n1c64h56w56o64k3p1+clip=0,6");
    }

    #[test]
    fn errors_point_at_the_place() {
        for (text, position, part) in [
            ("n1c64h56w56o64", 15, "\"k\""),
            ("n1c64h56w56o64k3y1", 17, "expected one of"),
            ("n1c64h56w56o64k3k3", 17, "twice"),
            ("n1c64h56w56o64k-3", 16, "without a sign"),
            ("n1c64h56w56o64k99999999999", 16, "4294967295"),
            ("n1c64h56w56o64k3:mirror", 18, "reflect"),
            ("n1c64h56w56o64k3+clip=1", 18, "clip"),
            ("n1c64h56w56o64k3+elu=x", 18, "numbers"),
            ("n1c64h56w56o64k3p1,2", 21, "2 numbers for both sides of 2"),
            ("n1c64w56o64k3s1x1", 18, "2 numbers for 1"),
            ("n1c64z4w56o64k3", 16, "\"h\""),
            ("n1c64w56o64k3:transposed=", 26, "without a sign"),
            ("n1c64w56o64k3:transposed:transposed", 26, "once"),
            ("n1c64w56o64k3:transposedx", 15, "alone"),
            ("c4h9w9o4k3:transposed:deform", 23, "not with transposed"),
            ("c4h9w9o4k3:deform:transposed", 19, "not with deform"),
            ("c4h9w9o4k3:deform:mask:mask", 24, "twice"),
            ("c4h9w9o4k3:deform:offset_groups=1:offset_groups=1", 35, "twice"),
            ("c4h9w9o4k3:deform:offset_groups", 19, "offset_groups=NUMBER"),
            ("é", 1, "expected one of"),
            ("", 1, "\"c\""),
        ] {
            match text.parse::<Problem>() {
                Err(Error::Parse { position: at, reason, .. }) => {
                    assert_eq!(at, position, "{text}: {reason}");
                    assert!(reason.contains(part), "{text}: {reason}");
                }
                other => panic!("{text}: {other:?}"),
            }
        }
    }
}

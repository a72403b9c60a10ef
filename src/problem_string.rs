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
//! | `c`, `h`, `w` | input channels, rows, columns | required |
//! | `o` | output channels | required |
//! | `k` | kernel size: `k3`, or rows × columns `k3x5` | required |
//! | `s` | stride: `s2` or `s2x1` | 1 |
//! | `p` | padding: `p1`; rows × columns `p1x2`; top, bottom, left, right `p0,1,2,3`; `psame`, `psamelower`, `pvalid` | 0 |
//! | `d` | dilation: `d2` or `d2x1` | 1 |
//! | `g` | groups | 1 |
//!
//! Then options, each after a colon: `zeros`, `reflect`, `replicate` or `circular` (padding mode), `nobias`.
//! Then the epilogue, each part after a plus sign: `residual`, and one activation: `relu`, `relu6`, `clip=MIN,MAX`,
//! `leaky_relu=SLOPE`, `prelu`, `sigmoid`, `tanh`, `silu`, `gelu`, `gelu_tanh`, `hard_swish`, `elu=ALPHA`.

use std::fmt;
use std::str::FromStr;

use crate::conv::{Conv2d, Padding, PaddingMode, Sides};
use crate::epilogue::{Activation, Epilogue};
use crate::error::{Error, Result};
use crate::problem::Problem;

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let conv = self.conv();
        let [n, c, h, w] = self.input_shape();
        write!(f, "n{n}c{c}h{h}w{w}o{}k{}", conv.out_channels, Pair(conv.kernel_size))?;
        if conv.stride != [1, 1] {
            write!(f, "s{}", Pair(conv.stride))?;
        }
        match conv.padding {
            Padding::Same => f.write_str("psame")?,
            Padding::SameLower => f.write_str("psamelower")?,
            Padding::Valid => f.write_str("pvalid")?,
            Padding::Explicit(Sides { top, bottom, left, right }) => {
                if top != bottom || left != right {
                    write!(f, "p{top},{bottom},{left},{right}")?;
                } else if top != 0 || left != 0 {
                    write!(f, "p{}", Pair([top, left]))?;
                }
            }
        }
        if conv.dilation != [1, 1] {
            write!(f, "d{}", Pair(conv.dilation))?;
        }
        if conv.groups != 1 {
            write!(f, "g{}", conv.groups)?;
        }
        if conv.padding_mode != PaddingMode::Zeros {
            write!(f, ":{}", conv.padding_mode)?;
        }
        if !conv.bias {
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

struct Pair([u32; 2]);

impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self([rows, columns]) = self;
        if rows == columns { write!(f, "{rows}") } else { write!(f, "{rows}x{columns}") }
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
        let (padding_mode, bias) = reader.options()?;
        let epilogue = reader.epilogue()?;
        let required = |letter: &str, value: Option<u32>| {
            value.ok_or_else(|| reader.error(&format!("the field {letter:?} is required")))
        };
        let conv = Conv2d {
            in_channels: required("c", fields.channels)?,
            out_channels: required("o", fields.out_channels)?,
            kernel_size: fields.kernel_size.ok_or_else(|| reader.error("the field \"k\" is required"))?,
            stride: fields.stride.unwrap_or([1, 1]),
            padding: fields.padding.unwrap_or_default(),
            dilation: fields.dilation.unwrap_or([1, 1]),
            groups: fields.groups.unwrap_or(1),
            bias,
            padding_mode,
        };
        let (height, width) = (required("h", fields.height)?, required("w", fields.width)?);
        Self::new(&conv, [fields.batch.unwrap_or(1), conv.in_channels, height, width])?.with_epilogue(epilogue)
    }
}

#[derive(Default)]
struct Fields {
    batch: Option<u32>,
    channels: Option<u32>,
    height: Option<u32>,
    width: Option<u32>,
    out_channels: Option<u32>,
    kernel_size: Option<[u32; 2]>,
    stride: Option<[u32; 2]>,
    padding: Option<Padding>,
    dilation: Option<[u32; 2]>,
    groups: Option<u32>,
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

    fn pair(&mut self) -> Result<[u32; 2]> {
        let rows = self.number()?;
        Ok(if self.take("x") { [rows, self.number()?] } else { [rows, rows] })
    }

    fn padding(&mut self) -> Result<Padding> {
        for (name, padding) in [("samelower", Padding::SameLower), ("same", Padding::Same), ("valid", Padding::Valid)] {
            if self.take(name) {
                return Ok(padding);
            }
        }
        let first = self.number()?;
        if self.take("x") {
            return Ok(Padding::from([first, self.number()?]));
        }
        if !self.rest().starts_with(',') {
            return Ok(Padding::from(first));
        }
        let mut sides = [first, 0, 0, 0];
        for side in &mut sides[1..] {
            if !self.take(",") {
                return Err(
                    self.error("expected a comma: padding is one number, rows x columns, or top,bottom,left,right")
                );
            }
            *side = self.number()?;
        }
        let [top, bottom, left, right] = sides;
        Ok(Padding::sides(top, bottom, left, right))
    }

    fn fields(&mut self) -> Result<Fields> {
        let mut fields = Fields::default();
        while let Some(letter) = self.rest().chars().next().filter(|c| !matches!(c, ':' | '+')) {
            let start = self.at;
            self.at += letter.len_utf8();
            let fresh = match letter {
                'n' => fields.batch.replace(self.number()?).is_none(),
                'c' => fields.channels.replace(self.number()?).is_none(),
                'h' => fields.height.replace(self.number()?).is_none(),
                'w' => fields.width.replace(self.number()?).is_none(),
                'o' => fields.out_channels.replace(self.number()?).is_none(),
                'k' => fields.kernel_size.replace(self.pair()?).is_none(),
                's' => fields.stride.replace(self.pair()?).is_none(),
                'p' => fields.padding.replace(self.padding()?).is_none(),
                'd' => fields.dilation.replace(self.pair()?).is_none(),
                'g' => fields.groups.replace(self.number()?).is_none(),
                _ => {
                    self.at = start;
                    return Err(self.error("expected one of the fields n c h w o k s p d g, or ':' or '+'"));
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

    fn options(&mut self) -> Result<(PaddingMode, bool)> {
        let (mut mode, mut bias) = (None, true);
        while self.take(":") {
            let start = self.at;
            let word = self.word();
            let fresh = match (word, PaddingMode::from_name(word)) {
                (_, Some(found)) => mode.replace(found).is_none(),
                ("nobias", None) => std::mem::replace(&mut bias, false),
                _ => {
                    self.at = start;
                    return Err(self.error("expected zeros, reflect, replicate, circular or nobias"));
                }
            };
            if !fresh {
                self.at = start;
                return Err(self.error("this option is given twice"));
            }
        }
        Ok((mode.unwrap_or_default(), bias))
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
            ("n1c64h56w56o64k3z1", 17, "expected one of"),
            ("n1c64h56w56o64k3k3", 17, "twice"),
            ("n1c64h56w56o64k-3", 16, "without a sign"),
            ("n1c64h56w56o64k99999999999", 16, "4294967295"),
            ("n1c64h56w56o64k3:mirror", 18, "reflect"),
            ("n1c64h56w56o64k3+clip=1", 18, "clip"),
            ("n1c64h56w56o64k3+elu=x", 18, "numbers"),
            ("n1c64h56w56o64k3p1,2", 21, "comma"),
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

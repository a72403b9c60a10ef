//! [`Integers`] and [`Quantization`]: convolution of 8-bit integers, as ONNX's `ConvInteger` and `QLinearConv` define it.
//!
//! With zero points zx and zw, the sum of an output is `Σ (x - zx)(w - zw)` plus the bias, formed in 32-bit integers. It is the
//! output, or it is scaled, goes through the activation, is rounded (half to even) and saturates to 8 bits. Padding holds zx.

use std::fmt;

use crate::dtype::DType;
use crate::epilogue::Activation;
use crate::error::{Error, Result};
use crate::problem::Problem;
use crate::tensors::check_length;

/// What the tensors of a convolution of integers consist of.
///
/// In a problem string it is written `u8_i8_i32`: input, weight and output; a `z` behind the weight, `u8_i8z_u8`, says that the
/// weight has zero points.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Integers {
    /// Of the input: [`DType::I8`] or [`DType::U8`].
    pub input: DType,
    /// Of the weight: [`DType::I8`] or [`DType::U8`].
    pub weight: DType,
    /// Of the output: [`DType::I32`] for sums as they are, [`DType::I8`] or [`DType::U8`] for scaled ones.
    pub output: DType,
    /// Whether the weight has zero points other than 0. They, and unsigned weights, cost a pass over the input.
    pub weight_zero_points: bool,
}

impl Integers {
    /// Sums as they are (ONNX `ConvInteger`), of a weight without zero points.
    pub const fn new(input: DType, weight: DType) -> Self {
        Self { input, weight, output: DType::I32, weight_zero_points: false }
    }

    /// Sets the type of the output.
    #[must_use]
    pub const fn output(self, output: DType) -> Self {
        Self { output, ..self }
    }

    /// Sets [`weight_zero_points`](Self::weight_zero_points).
    #[must_use]
    pub const fn weight_zero_points(self, weight_zero_points: bool) -> Self {
        Self { weight_zero_points, ..self }
    }

    /// Whether the weight, made signed, has zero points.
    pub(crate) fn needs_windows(self) -> bool {
        self.weight_zero_points || self.weight == DType::U8
    }

    /// Checks the types, and that no sum of `sum_length` products overflows.
    pub(crate) fn check(self, sum_length: u64) -> Result<()> {
        let eight = [DType::I8, DType::U8];
        for (parameter, dtype, allowed, required) in [
            ("the type of the input", self.input, &eight[..], "i8 or u8"),
            ("the type of the weight", self.weight, &eight, "i8 or u8"),
            ("the type of the output", self.output, &[DType::I32, DType::I8, DType::U8], "i32, i8 or u8"),
        ] {
            if !allowed.contains(&dtype) {
                return Err(Error::Parameter { parameter, actual: dtype.to_string(), required: required.into() });
            }
        }
        let [input, weight] = [255_u64, if self.needs_windows() { 255 } else { 128 }];
        let most = i32::MAX as u64 / (input * weight);
        if sum_length > most {
            return Err(Error::TooLarge {
                what: "the number of products in a sum of integers",
                factors: format!("{sum_length}, each up to {input} × {weight}"),
                limit: format!("{most}, beyond which a sum may need more than 32 bits"),
            });
        }
        Ok(())
    }

    /// Reads what `Display` writes.
    pub(crate) fn from_name(text: &str) -> Option<Self> {
        let named = |name: &str| DType::ALL.into_iter().find(|dtype| dtype.name() == name);
        let mut parts = text.split('_');
        let [input, weight, output] = [parts.next()?, parts.next()?, parts.next()?];
        let plain = weight.strip_suffix('z');
        let integers = Self {
            input: named(input)?,
            weight: named(plain.unwrap_or(weight))?,
            output: named(output)?,
            weight_zero_points: plain.is_some(),
        };
        parts.next().is_none().then_some(integers)
    }
}

impl fmt::Display for Integers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.weight_zero_points { "z" } else { "" };
        write!(f, "{}_{}{mark}_{}", self.input, self.weight, self.output)
    }
}

/// What the integers of a convolution stand for, and its bias: `real = (integer - zero point) · scale`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quantization<'a> {
    /// Of the input. Scales count for 8-bit outputs only.
    pub input_scale: f32,
    /// Of the input; padding holds it.
    pub input_zero_point: i32,
    /// One for the whole weight, or one for each output channel; none is 1.
    pub weight_scales: &'a [f32],
    /// One for the whole weight, or one for each output channel; none is 0, and required unless the problem's weight has zero
    /// points.
    pub weight_zero_points: &'a [i32],
    /// Of an 8-bit output.
    pub output_scale: f32,
    /// Of an 8-bit output.
    pub output_zero_point: i32,
    /// (C_out), in steps of input_scale · weight_scale: required exactly if the convolution has a bias. What it makes exceed 32
    /// bits wraps around.
    pub bias: &'a [i32],
}

impl Default for Quantization<'_> {
    fn default() -> Self {
        Self {
            input_scale: 1.0,
            input_zero_point: 0,
            weight_scales: &[],
            weight_zero_points: &[],
            output_scale: 1.0,
            output_zero_point: 0,
            bias: &[],
        }
    }
}

impl Quantization<'_> {
    /// Checks that it fits a problem of integers.
    ///
    /// # Errors
    /// [`Error::Length`] for a list of the wrong length, [`Error::Parameter`] for a zero point that its type does not have, or a
    /// scale that is not positive and finite.
    pub fn check(&self, problem: &Problem) -> Result<()> {
        let Some(integers) = problem.integers() else { return Ok(()) };
        let channels = u64::from(problem.out_channels());
        for (name, length) in [
            ("weight_scales", self.weight_scales.len() as u64),
            ("weight_zero_points", self.weight_zero_points.len() as u64),
        ] {
            if length > 1 {
                check_length(name, channels, length)?;
            }
        }
        if !integers.weight_zero_points && !self.weight_zero_points.is_empty() {
            check_length("weight_zero_points", 0, self.weight_zero_points.len() as u64)?;
        }
        check_length("bias", if problem.bias() { channels } else { 0 }, self.bias.len() as u64)?;
        let input = std::iter::once(("input_zero_point", self.input_zero_point, integers.input));
        let weight = self.weight_zero_points.iter().map(|&point| ("weight_zero_points", point, integers.weight));
        let output =
            (integers.output != DType::I32).then_some(("output_zero_point", self.output_zero_point, integers.output));
        for (parameter, point, dtype) in input.chain(weight).chain(output) {
            let [low, high] = dtype.range().unwrap_or_default();
            if !(low..=high).contains(&point) {
                let required = format!("from {low} to {high}, as {dtype} is");
                return Err(Error::Parameter { parameter, actual: point.to_string(), required });
            }
        }
        let weight = self.weight_scales.iter().map(|&scale| ("weight_scales", scale));
        for (parameter, scale) in
            [("input_scale", self.input_scale), ("output_scale", self.output_scale)].into_iter().chain(weight)
        {
            if !(scale.is_finite() && scale > 0.0) {
                let required = "positive and finite".into();
                return Err(Error::Parameter { parameter, actual: scale.to_string(), required });
            }
        }
        Ok(())
    }

    /// Zero point of an output channel's weight.
    pub(crate) fn weight_zero_point(&self, channel: usize) -> i32 {
        one_of(self.weight_zero_points, channel).unwrap_or(0)
    }

    /// What a sum of an output channel is multiplied by to be in steps of the output.
    pub(crate) fn multiplier(&self, channel: usize) -> f64 {
        let weight = one_of(self.weight_scales, channel).unwrap_or(1.0);
        f64::from(self.input_scale) * f64::from(weight) / f64::from(self.output_scale)
    }

    /// How many words that is for so many output channels.
    pub(crate) const fn words_for(channels: u64) -> u64 {
        8 + 4 * channels
    }

    /// The words that the integer programs read (`requantize.wgsl` says where each lies).
    pub(crate) fn words(&self, problem: &Problem, integers: Integers, slopes: Option<&[f32]>) -> Vec<i32> {
        // Unsigned numbers are made signed by subtracting 128, and so are their zero points.
        let signed = |point: i32, dtype: DType| if dtype == DType::U8 { point - 128 } else { point };
        let sum_length = problem.sum_length() as i32;
        let mut words = vec![
            self.input_zero_point,
            signed(self.input_zero_point, integers.input),
            sum_length,
            self.output_zero_point,
            self.output_scale.to_bits() as i32,
            0,
            0,
            0,
        ];
        for channel in 0..problem.out_channels() as usize {
            words.extend([
                self.bias.get(channel).copied().unwrap_or(0),
                signed(self.weight_zero_point(channel), integers.weight),
                (self.multiplier(channel) as f32).to_bits() as i32,
                one_of(slopes.unwrap_or_default(), channel).unwrap_or(0.0).to_bits() as i32,
            ]);
        }
        words
    }
}

/// The only one, or the channel's own.
fn one_of<T: Copy>(list: &[T], channel: usize) -> Option<T> {
    if list.len() == 1 { list.first() } else { list.get(channel) }.copied()
}

/// Checks the epilogue of a convolution of integers.
pub(crate) fn check_epilogue(problem: &Problem, integers: Integers) -> Result<()> {
    let epilogue = problem.epilogue();
    let refuse = |parameter, actual: String, required: &str| {
        Err(Error::Parameter { parameter, actual, required: required.into() })
    };
    if epilogue.residual {
        return refuse("residual", "true".into(), "false: a residual is not defined for integers");
    }
    match epilogue.activation {
        Activation::Identity => Ok(()),
        activation if integers.output == DType::I32 => {
            refuse("activation", activation.to_string(), "none where the output holds sums as they are")
        }
        Activation::PreluEach => refuse(
            "activation",
            "prelu_each".into(),
            "one with a slope for each channel: integers have no other slopes",
        ),
        _ => Ok(()),
    }
}

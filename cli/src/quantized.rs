//! What integers stand for, as flags.

use std::str::FromStr;

use anyhow::{Result, bail, ensure};
use clap::Args;
use wgpu_conv::{DType, Integers, Problem};
use wgpu_conv_check::QuantizationData;

use crate::tensor_file::{Tensor, TensorPath, Whole};

/// Zero points and scales, for input and weight of int8 or uint8.
#[derive(Args)]
#[command(
    next_help_heading = "Integers (int8 or uint8 input and weight, int32 bias; each stands for (integer - zero point) x scale)"
)]
pub struct QuantizedArgs {
    /// i32: sums as they are; i8, u8: scaled, through the activation, rounded to the nearest and saturated [default: i32]
    #[arg(long, value_name = "TYPE", value_parser = output_type)]
    output_type: Option<DType>,
    /// What stands for zero in the input, and is in its padding [default: 0]
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    input_zero_point: Option<i32>,
    /// Of the input [default: 1]
    #[arg(long, value_name = "NUMBER")]
    input_scale: Option<f32>,
    /// Of the weight: a number, or a tensor with one for each output channel [default: 0]
    #[arg(long, value_name = "NUMBER|FILE", allow_negative_numbers = true)]
    weight_zero_points: Option<OneOrFile<i32>>,
    /// Of the weight: a number, or a tensor with one for each output channel [default: 1]
    #[arg(long, value_name = "NUMBER|FILE")]
    weight_scales: Option<OneOrFile<f32>>,
    /// Of an 8-bit output [default: 0]
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    output_zero_point: Option<i32>,
    /// Of an 8-bit output [default: 1]
    #[arg(long, value_name = "NUMBER")]
    output_scale: Option<f32>,
}

fn output_type(text: &str) -> Result<DType, String> {
    let known = [DType::I32, DType::I8, DType::U8];
    let names = known.map(DType::name).join(", ");
    known.into_iter().find(|dtype| dtype.name() == text).ok_or_else(|| format!("known are {names}"))
}

/// A number, or a file with numbers.
#[derive(Debug, Clone, PartialEq)]
enum OneOrFile<T> {
    One(T),
    File(TensorPath),
}

impl<T: FromStr> FromStr for OneOrFile<T> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(number) => Ok(Self::One(number)),
            Err(_) => text.parse().map(Self::File).map_err(|error: String| format!("no number, and {error}")),
        }
    }
}

/// The numbers of a tensor with one axis.
fn along_channels<T>(flag: &str, path: &TensorPath, shape: &[u64], data: Vec<T>) -> Result<Vec<T>> {
    ensure!(shape.len() == 1, "{flag} {path} has {} axes; required is one, of the output channels", shape.len());
    Ok(data)
}

impl QuantizedArgs {
    /// Nothing of this is for floats.
    pub fn refuse(&self, input: &TensorPath, dtype: DType) -> Result<()> {
        for (flag, given) in [
            ("--output-type", self.output_type.is_some()),
            ("--input-zero-point", self.input_zero_point.is_some()),
            ("--input-scale", self.input_scale.is_some()),
            ("--weight-zero-points", self.weight_zero_points.is_some()),
            ("--weight-scales", self.weight_scales.is_some()),
            ("--output-zero-point", self.output_zero_point.is_some()),
            ("--output-scale", self.output_scale.is_some()),
        ] {
            ensure!(!given, "{flag} is for integers; --input {input} is of type {dtype}");
        }
        Ok(())
    }

    /// The types of a convolution of integers, and what they stand for.
    pub fn read(
        &self,
        [input, weight]: [(&TensorPath, &Tensor); 2],
        bias: Option<&Whole>,
    ) -> Result<(Integers, QuantizationData)> {
        if weight.1.dtype.is_float() {
            bail!(
                "--input {} is of type {}, --weight {} of type {}: both are integers, or both are floats (--dtype f32 \
                 makes them so)",
                input.0,
                input.1.dtype,
                weight.0,
                weight.1.dtype
            );
        }
        let weight_zero_points = match &self.weight_zero_points {
            None => Vec::new(),
            Some(OneOrFile::One(point)) => vec![*point],
            Some(OneOrFile::File(path)) => {
                let Whole { shape, data } = path.read_whole("--weight-zero-points")?;
                along_channels("--weight-zero-points", path, &shape, data)?
            }
        };
        let weight_scales = match &self.weight_scales {
            None => Vec::new(),
            Some(OneOrFile::One(scale)) => vec![*scale],
            Some(OneOrFile::File(path)) => {
                let Tensor { shape, data, .. } = path.read("--weight-scales")?;
                along_channels("--weight-scales", path, &shape, data)?
            }
        };
        let integers = Integers::new(input.1.dtype, weight.1.dtype)
            .output(self.output_type.unwrap_or(DType::I32))
            .weight_zero_points(!weight_zero_points.is_empty());
        let data = QuantizationData {
            input_scale: self.input_scale.unwrap_or(1.0),
            input_zero_point: self.input_zero_point.unwrap_or(0),
            weight_scales,
            weight_zero_points,
            output_scale: self.output_scale.unwrap_or(1.0),
            output_zero_point: self.output_zero_point.unwrap_or(0),
            bias: bias.map(|bias| bias.data.clone()).unwrap_or_default(),
        };
        Ok((integers, data))
    }
}

/// Elements of an output of integers, as 32-bit ones.
pub fn whole_output(problem: &Problem, shape: Vec<u64>, bytes: &[u8]) -> Option<Whole> {
    let data = crate::tensor_file::whole_numbers(problem.output_dtype(), bytes)?;
    Some(Whole { shape, data })
}

//! What a case of integers has beside other cases: zero points, scales, and types of its own for weight and output.

use safetensors::Dtype;
use wgpu_conv::{DType, Integers};

use super::load::{Entry, Result};
use crate::quantized::QuantizationData;
use crate::tensor_file::{FileTensor, TensorFile};

/// The types of a case, and what its integers stand for.
pub(super) fn read(entry: &Entry<'_>, file: &TensorFile, input: DType) -> Result<(Integers, QuantizationData)> {
    let dtype = |field: &str| {
        let tensor = entry.tensor(file, field)?;
        match tensor.dtype {
            Dtype::I8 => Ok(DType::I8),
            Dtype::U8 => Ok(DType::U8),
            Dtype::I32 => Ok(DType::I32),
            other => Err(entry.error(format!("the {field} tensor has dtype {other:?}; it must be I8, U8 or I32"))),
        }
    };
    let whole = |field: &str| list(entry, file, field, "whole numbers", FileTensor::to_i32);
    let floats = |field: &str| list(entry, file, field, "F32", |tensor| tensor.to_f32(DType::F32));
    let weight_zero_points = whole("w_zero_point")?;
    let integers = Integers::new(input, dtype("weight")?)
        .output(dtype("expected")?)
        .weight_zero_points(weight_zero_points.iter().any(|&point| point != 0));
    let data = QuantizationData {
        input_scale: one(entry, "x_scale", &floats("x_scale")?)?.unwrap_or(1.0),
        input_zero_point: one(entry, "x_zero_point", &whole("x_zero_point")?)?.unwrap_or(0),
        weight_scales: floats("w_scale")?,
        weight_zero_points: if integers.weight_zero_points { weight_zero_points } else { Vec::new() },
        output_scale: one(entry, "y_scale", &floats("y_scale")?)?.unwrap_or(1.0),
        output_zero_point: one(entry, "y_zero_point", &whole("y_zero_point")?)?.unwrap_or(0),
        bias: whole("bias")?,
    };
    Ok((integers, data))
}

/// The numbers of an optional tensor; none if it is not there.
fn list<T>(
    entry: &Entry<'_>,
    file: &TensorFile,
    field: &str,
    kind: &str,
    read: impl Fn(&FileTensor) -> Option<Vec<T>>,
) -> Result<Vec<T>> {
    let Some(tensor) = entry.optional_tensor(file, field)? else { return Ok(Vec::new()) };
    read(tensor)
        .ok_or_else(|| entry.error(format!("the {field} tensor has dtype {:?}; it must be {kind}", tensor.dtype)))
}

/// The only number of a tensor, if there is the tensor.
fn one<T: Copy>(entry: &Entry<'_>, field: &str, numbers: &[T]) -> Result<Option<T>> {
    match numbers {
        [] => Ok(None),
        [number] => Ok(Some(*number)),
        _ => Err(entry.error(format!("the {field} tensor has {} elements; it must have 1", numbers.len()))),
    }
}

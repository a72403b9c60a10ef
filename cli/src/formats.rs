//! What tensors in files consist of, and in which order their axes come.

use std::fmt::Display;

use anyhow::{Result, bail};
use clap::Args;
use wgpu_conv::{DType, Layout, WeightLayout};

use crate::tensor_file::{Tensor, TensorPath};

/// Types and orders of the tensors in files.
#[derive(Args)]
#[command(next_help_heading = "Tensors in files")]
pub struct FormatArgs {
    /// Compute with tensors of this type, f32 or f16, and convert input, weight and residual to it [default: the type that
    /// they have in their files]
    #[arg(long, value_name = "TYPE", value_parser = |text: &str| named(text, DType::FLOATS, DType::name))]
    dtype: Option<DType>,
    /// Axes of input, residual and output: nchw, (N, C, …), or nhwc, (N, …, C); also of those with one or three spatial axes
    #[arg(long, value_name = "ORDER", default_value = "nchw", value_parser = |text: &str| named(text, Layout::ALL, Layout::name))]
    pub layout: Layout,
    /// Axes of the weight: oihw, (C_out, C_in / groups, …); ohwi, (C_out, …, C_in / groups), or hwio,
    /// (…, C_in / groups, C_out); transposed: C_in in place of C_out, C_out / groups in place of C_in / groups
    #[arg(long, value_name = "ORDER", default_value = "oihw", value_parser = |text: &str| named(text, WeightLayout::ALL, WeightLayout::name))]
    pub weight_layout: WeightLayout,
}

/// The value of this name.
fn named<T: Copy, const N: usize>(text: &str, all: [T; N], name: impl Fn(T) -> &'static str) -> Result<T, String> {
    all.into_iter().find(|&value| name(value) == text).ok_or_else(|| format!("known are {}", all.map(name).join(", ")))
}

impl FormatArgs {
    /// Whether tensors are converted to another type.
    pub fn converts(&self) -> bool {
        self.dtype.is_some()
    }

    /// The type that these tensors (with the flags that they came by) have in common or are to be converted to; converts
    /// them.
    pub fn common_type(&self, tensors: &mut [(&str, &TensorPath, &mut Tensor)]) -> Result<DType> {
        let own = tensors.iter().map(|(_, _, tensor)| tensor.dtype);
        let dtype = self.dtype.or_else(|| own.clone().next()).unwrap_or_default();
        if self.dtype.is_none()
            && let Some(other) = own.clone().position(|own| own != dtype)
        {
            let [first, second] = [0, other].map(|place| {
                let (flag, path, tensor) = &tensors[place];
                format!("{flag} {path} is of type {}", tensor.dtype)
            });
            let types = DType::FLOATS.map(DType::name).join(" or --dtype ");
            bail!("{first}, {second}: say with --dtype {types} what all are to be converted to");
        }
        for (flag, path, tensor) in tensors {
            let overflows = |number: &f32| number.is_finite() && !dtype.round(*number).is_finite();
            if let Some(number) = tensor.data.iter().copied().find(overflows) {
                bail!("{flag} {path} has {number:e}, which is beyond what {dtype} can hold");
            }
            tensor.convert(dtype);
        }
        Ok(dtype)
    }

    /// Whether shapes in files are as the library writes them: channels first.
    pub fn channels_first(&self) -> bool {
        self.layout == Layout::Nchw
    }

    /// As [`in_file`].
    pub fn in_file<T: Copy>(&self, shape: &[T], batch: bool) -> Vec<T> {
        in_file(self.layout, shape, batch)
    }

    /// (C, …) of a shape in a file, with (N, …) before it in both if there is a batch.
    pub fn to_library<T: Copy>(&self, shape: &[T], batch: bool) -> Vec<T> {
        let mut shape = shape.to_vec();
        let from = usize::from(batch);
        if self.layout == Layout::Nhwc && from < shape.len() {
            shape[from..].rotate_right(1);
        }
        shape
    }

    /// The weight's shape as the library writes it, of its shape in a file.
    pub fn weight_to_library<T: Copy>(&self, shape: &[T]) -> Vec<T> {
        let mut shape = shape.to_vec();
        match (self.weight_layout, &mut shape[..]) {
            (WeightLayout::Ohwi, [_, rest @ ..]) if !rest.is_empty() => rest.rotate_right(1),
            (WeightLayout::Hwio, all @ [_, _, ..]) => {
                all.rotate_right(2);
                all[..2].reverse();
            }
            _ => {}
        }
        shape
    }

    /// What an input has to look like in a file: `(N, H, W, 3)`.
    pub fn input_in_file(&self, channels: impl Display, axes: usize) -> String {
        let names = ["D", "H", "W"].iter().skip(3_usize.saturating_sub(axes)).map(ToString::to_string);
        let shape: Vec<String> = ["N".to_string(), channels.to_string()].into_iter().chain(names).collect();
        let sizes: Vec<&str> = shape.iter().map(String::as_str).collect();
        format!("({})", self.in_file(&sizes, true).join(", "))
    }
}

/// The axes (C, …) as they stand in a file; with (N, …) before them in both, if there is a batch.
pub fn in_file<T: Copy>(layout: Layout, shape: &[T], batch: bool) -> Vec<T> {
    let mut shape = shape.to_vec();
    let from = usize::from(batch);
    if layout == Layout::Nhwc && from < shape.len() {
        shape[from..].rotate_left(1);
    }
    shape
}

/// A weight's axes as they stand in a file.
pub fn weight_in_file<T: Copy>(layout: WeightLayout, shape: &[T]) -> Vec<T> {
    let mut shape = shape.to_vec();
    match (layout, &mut shape[..]) {
        (WeightLayout::Ohwi, [_, rest @ ..]) if !rest.is_empty() => rest.rotate_left(1),
        (WeightLayout::Hwio, all @ [_, _, ..]) => {
            all[..2].reverse();
            all.rotate_left(2);
        }
        _ => {}
    }
    shape
}

#[cfg(test)]
mod tests {
    use super::*;

    fn formats(layout: Layout, weight_layout: WeightLayout) -> FormatArgs {
        FormatArgs { dtype: None, layout, weight_layout }
    }

    #[test]
    fn axes_are_reordered_and_back() {
        let last = formats(Layout::Nhwc, WeightLayout::Oihw);
        assert_eq!(last.in_file(&[2, 3, 7, 9], true), [2, 7, 9, 3]);
        assert_eq!(last.in_file(&[3, 7, 9], false), [7, 9, 3]);
        assert_eq!(last.in_file(&[2, 3, 9], true), [2, 9, 3]);
        assert_eq!(last.input_in_file(3, 1), "(N, W, 3)");
        assert_eq!(last.input_in_file(3, 3), "(N, D, H, W, 3)");
        let first = formats(Layout::Nchw, WeightLayout::Oihw);
        assert_eq!(first.input_in_file(3, 2), "(N, 3, H, W)");
        for shape in [&[][..], &[5], &[5, 6], &[5, 6, 7], &[5, 6, 7, 8, 9]] {
            for batch in [false, true] {
                assert_eq!(first.in_file(shape, batch), shape);
                assert_eq!(last.to_library(&last.in_file(shape, batch), batch), shape);
            }
        }
    }

    #[test]
    fn weights_are_read_in_every_order() {
        let weight = |layout, shape: &[u32]| formats(Layout::Nchw, layout).weight_to_library(shape);
        assert_eq!(weight(WeightLayout::Oihw, &[6, 4, 3, 5]), [6, 4, 3, 5]);
        assert_eq!(weight(WeightLayout::Ohwi, &[6, 3, 5, 4]), [6, 4, 3, 5]);
        assert_eq!(weight(WeightLayout::Hwio, &[3, 5, 4, 6]), [6, 4, 3, 5]);
        assert_eq!(weight(WeightLayout::Hwio, &[3, 4, 6]), [6, 4, 3]);
        for layout in WeightLayout::ALL {
            assert!(weight(layout, &[]).is_empty() && weight(layout, &[1]) == [1], "{layout}");
            for shape in [&[6, 4][..], &[6, 4, 3], &[6, 4, 3, 5, 7]] {
                assert_eq!(weight(layout, &weight_in_file(layout, shape)), shape, "{layout}");
            }
        }
    }
}

//! What must hold of a problem, and the sizes along its axes.

use super::{PaddingName, Problem};
use crate::conv::PaddingMode;
use crate::error::{Error, Result};
use crate::parameters::Op;
use crate::shape::shape_string;

/// What follows from a size along an axis.
pub(super) struct Resolved {
    pub padding: [u32; 2],
    pub output: u32,
}

impl Problem {
    pub(super) fn check_parameters(&self) -> Result<()> {
        let at_least_one = |parameter: &'static str, actual: u32| match actual {
            0 => Err(Error::Parameter { parameter, actual: "0".into(), required: "at least 1".into() }),
            _ => Ok(()),
        };
        at_least_one("groups", self.groups)?;
        at_least_one("out_channels", self.out_channels)?;
        for (name, values) in [("kernel_size", self.kernel_size), ("stride", self.stride), ("dilation", self.dilation)]
        {
            values.into_iter().try_for_each(|value| at_least_one(name, value))?;
        }
        for (parameter, channels) in [("in_channels", self.in_channels), ("out_channels", self.out_channels)] {
            if channels % self.groups != 0 {
                return Err(Error::Groups { parameter, channels, groups: self.groups });
            }
        }
        if let Some(kind) = self.op.special().filter(|_| self.padding_mode != PaddingMode::Zeros) {
            return Err(Error::Parameter {
                parameter: "padding_mode",
                actual: self.padding_mode.name().into(),
                required: format!("zeros: no other mode is defined for a {kind} convolution"),
            });
        }
        self.check_deformation()?;
        for (axis, &output_padding) in self.output_padding.iter().enumerate().filter(|&(_, &number)| number != 0) {
            let [stride, dilation] = [self.stride[axis], self.dilation[axis]];
            let required = match self.op {
                Op::ConvTranspose if output_padding < stride.max(dilation) => continue,
                Op::ConvTranspose => {
                    format!("below {}, the larger of stride {stride} and dilation {dilation}", stride.max(dilation))
                }
                Op::Conv | Op::DeformConv => "0: only transposed convolutions have it".into(),
            };
            return Err(Error::Parameter { parameter: "output_padding", actual: output_padding.to_string(), required });
        }
        Ok(())
    }

    /// What only deformable convolutions have.
    fn check_deformation(&self) -> Result<()> {
        let wrong = |parameter, actual: String, required: &str| {
            Err(Error::Parameter { parameter, actual, required: required.into() })
        };
        if self.op != Op::DeformConv {
            return match (self.offset_groups, self.mask) {
                (1, false) => Ok(()),
                (1, true) => wrong("mask", "true".into(), "false: only deformable convolutions have one"),
                (groups, _) => {
                    wrong("offset_groups", groups.to_string(), "1: only deformable convolutions have offsets")
                }
            };
        }
        if self.dimensions != 2 {
            let actual = format!("{} numbers", self.dimensions);
            return wrong("kernel_size", actual, "2 numbers, rows and columns: deformable convolutions are of images");
        }
        if self.offset_groups == 0 {
            return wrong("offset_groups", "0".into(), "at least 1");
        }
        if !self.in_channels.is_multiple_of(self.offset_groups) {
            let required = format!("a divisor of in_channels, which is {}", self.in_channels);
            return wrong("offset_groups", self.offset_groups.to_string(), &required);
        }
        Ok(())
    }

    /// Output size and padding along one axis.
    pub(super) fn resolve_axis(&self, axis: usize, size: u32) -> Result<Resolved> {
        let name = ["slices", "rows", "columns"][axis];
        let narrow = |value: u64, what| {
            u32::try_from(value).map_err(|_| Error::TooLarge {
                what,
                factors: format!("{value} {name}"),
                limit: format!("{}", u32::MAX),
            })
        };
        let (stride, extent, wide) = (u64::from(self.stride[axis]), self.extent(axis), u64::from(size));
        // Along the axis without any padding: of a transposed convolution the outputs, of the other kind what the outputs of
        // `Same` need.
        let (same, covered) = match self.op {
            Op::Conv | Op::DeformConv => {
                let same = wide.div_ceil(stride);
                (same, (same - 1) * stride + extent)
            }
            // Every factor is below 2^32, so that each product fits; a sum that does not is beyond every limit anyway.
            Op::ConvTranspose => {
                let more = extent.saturating_add(self.output_padding[axis].into());
                (wide * stride, ((wide - 1) * stride).saturating_add(more))
            }
        };
        let [before, after] = match self.padding_name {
            PaddingName::Explicit => self.padding[axis],
            PaddingName::Valid => [0, 0],
            PaddingName::Same | PaddingName::SameLower => {
                let total = covered.saturating_sub(if self.op == Op::ConvTranspose { same } else { wide });
                let smaller = narrow(total / 2, "the padding")?;
                let larger = narrow(total - total / 2, "the padding")?;
                if self.padding_name == PaddingName::Same { [smaller, larger] } else { [larger, smaller] }
            }
        };
        if self.op == Op::ConvTranspose {
            let output = match self.padding_name {
                PaddingName::Same | PaddingName::SameLower => same,
                _ => covered.saturating_sub(u64::from(before) + u64::from(after)),
            };
            if output == 0 {
                return Err(Error::EmptyTransposed { axis: name, size, covered, before, after });
            }
            return Ok(Resolved { padding: [before, after], output: narrow(output, "the output size")? });
        }
        for padding in [before, after] {
            let relation = match self.padding_mode {
                PaddingMode::Reflect if padding >= size => "more than",
                PaddingMode::Circular if padding > size => "at least",
                _ => continue,
            };
            return Err(Error::PaddingTooLarge { mode: self.padding_mode.name(), axis: name, padding, relation, size });
        }
        let padded = wide + u64::from(before) + u64::from(after);
        if extent > padded {
            return Err(Error::EmptyOutput { axis: name, size, before, after, extent });
        }
        Ok(Resolved { padding: [before, after], output: narrow((padded - extent) / stride + 1, "the output size")? })
    }

    pub(super) fn check_counts(&self) -> Result<()> {
        let too_large = |what, factors: String| Error::TooLarge { what, factors, limit: "64 bits".into() };
        // A quarter of the range, so that sums of bytes over all tensors cannot overflow either.
        let limit = u128::from(u64::MAX / 32);
        if self.op == Op::DeformConv {
            let [rows, columns] = [self.kernel_size[1], self.kernel_size[2]];
            let channels = product_wide(&[self.offset_groups, 2, rows, columns]);
            if u32::try_from(channels).is_err() {
                return Err(Error::TooLarge {
                    what: "the number of offset channels",
                    factors: format!("{} offset groups × 2 × {rows} × {columns} taps", self.offset_groups),
                    limit: format!("{}", u32::MAX),
                });
            }
        }
        let offset = self.offset_shape().unwrap_or(self.output);
        for (what, shape) in [
            ("the number of input elements", self.input),
            ("the number of weight elements", self.weight_shape()),
            ("the number of output elements", self.output),
            ("the number of offset elements", offset),
        ] {
            if product_wide(&shape) > limit {
                return Err(too_large(what, shape.to_string()));
            }
        }
        let weight = self.weight_shape();
        let (outer, what) = match self.op {
            Op::Conv | Op::DeformConv => (self.output_len(), "outputs"),
            Op::ConvTranspose => (self.input_len(), "inputs"),
        };
        if u128::from(outer).saturating_mul(product_wide(&weight[1..])) > limit {
            let factors = format!("{outer} {what} × {}", shape_string(&weight[1..]));
            return Err(too_large("the number of multiply-adds", factors));
        }
        Ok(())
    }
}

/// Saturates instead of overflowing.
fn product_wide(shape: &[u32]) -> u128 {
    shape.iter().fold(1, |product: u128, &size| product.saturating_mul(size.into()))
}

//! [`Problem`]: a convolution with one input shape. All shape arithmetic and validation, without a GPU.

use std::fmt;

use crate::conv::{Conv2d, Padding, PaddingMode, Sides};
use crate::epilogue::Epilogue;
use crate::error::{Error, Result};

/// A [`Conv2d`] applied to an input of one shape, with an [`Epilogue`]: checked, with every derived size.
///
/// Tensors are row-major: input (N, C_in, H, W), weight (C_out, C_in / groups, KH, KW), output (N, C_out, OH, OW).
///
/// A problem can be written as one short string and read back:
///
/// ```
/// use wgpu_conv::{Conv2d, Problem};
///
/// let conv = Conv2d::new(64, 128, 3).stride(2).padding(1);
/// let problem = Problem::new(&conv, [8, 64, 56, 56])?;
/// assert_eq!(problem.output_shape(), [8, 128, 28, 28]);
/// assert_eq!(problem.to_string(), "n8c64h56w56o128k3s2p1");
/// assert_eq!("n8c64h56w56o128k3s2p1".parse::<Problem>()?, problem);
/// # Ok::<(), wgpu_conv::Error>(())
/// ```
///
/// See [`problem_string`](crate::problem_string) for the grammar.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Problem {
    conv: Conv2d,
    epilogue: Epilogue,
    input: [u32; 4],
    output: [u32; 4],
    padding: Sides,
}

impl Problem {
    /// Checks `conv` against an input of shape (N, C_in, H, W).
    ///
    /// A batch of 0 and 0 input channels are legal, as in PyTorch: the first has no outputs, the second has outputs
    /// that hold only the bias (and the epilogue).
    ///
    /// # Errors
    /// [`Error::Parameter`], [`Error::Groups`], [`Error::Shape`], [`Error::EmptyOutput`], [`Error::PaddingTooLarge`],
    /// or [`Error::TooLarge`] where a count of elements, bytes or multiply-adds does not fit 64 bits.
    pub fn new(conv: &Conv2d, input_shape: [u32; 4]) -> Result<Self> {
        check_parameters(conv)?;
        let [batch, channels, height, width] = input_shape;
        if channels != conv.in_channels {
            return Err(Error::Shape {
                tensor: "input",
                actual: shape_string(&input_shape),
                required: format!(
                    "(N, {}, H, W): the convolution has in_channels = {}",
                    conv.in_channels, conv.in_channels
                ),
            });
        }
        for (size, name) in [(height, "input height"), (width, "input width")] {
            at_least_one(name, size)?;
        }
        let [rows, columns] = [0, 1].map(|axis| resolve_axis(conv, axis, input_shape[2 + axis]));
        let (rows, columns) = (rows?, columns?);
        let problem = Self {
            conv: *conv,
            epilogue: Epilogue::NONE,
            input: input_shape,
            output: [batch, conv.out_channels, rows.output, columns.output],
            padding: Sides { top: rows.before, bottom: rows.after, left: columns.before, right: columns.after },
        };
        problem.check_counts()?;
        Ok(problem)
    }

    /// The same problem with this epilogue.
    ///
    /// # Errors
    /// [`Error::Parameter`] if the activation's numbers make no function.
    pub fn with_epilogue(self, epilogue: Epilogue) -> Result<Self> {
        epilogue.activation.check()?;
        Ok(Self { epilogue, ..self })
    }

    /// The hyper-parameters.
    pub fn conv(&self) -> &Conv2d {
        &self.conv
    }

    /// What happens to each sum.
    pub fn epilogue(&self) -> Epilogue {
        self.epilogue
    }

    /// (N, C_in, H, W).
    pub fn input_shape(&self) -> [u32; 4] {
        self.input
    }

    /// (C_out, C_in / groups, KH, KW).
    pub fn weight_shape(&self) -> [u32; 4] {
        self.conv.weight_shape()
    }

    /// (N, C_out, OH, OW).
    pub fn output_shape(&self) -> [u32; 4] {
        self.output
    }

    /// The padding in elements, with `Same` and its kin resolved.
    pub fn padding(&self) -> Sides {
        self.padding
    }

    /// Rows and columns of input that one output depends on: `dilation * (kernel_size - 1) + 1`.
    pub fn receptive_field(&self) -> [u64; 2] {
        [0, 1].map(|axis| extent(&self.conv, axis))
    }

    /// Input channels of one group.
    pub fn in_channels_per_group(&self) -> u32 {
        self.conv.in_channels / self.conv.groups
    }

    /// Output channels of one group.
    pub fn out_channels_per_group(&self) -> u32 {
        self.conv.out_channels / self.conv.groups
    }

    /// The same convolution as kernels run it: where every output depends on one input pixel, and all pixels are used (1×1,
    /// stride 1, no padding), an image is one long row, which divides into tiles with less waste than many short ones.
    pub(crate) fn as_run(&self) -> Self {
        let plain = self.conv.kernel_size == [1, 1] && self.conv.stride == [1, 1] && self.padding == Sides::default();
        let [batch, channels, height, width] = self.input;
        match height.checked_mul(width) {
            Some(pixels) if plain => Self {
                input: [batch, channels, 1, pixels],
                output: [batch, self.conv.out_channels, 1, pixels],
                ..*self
            },
            _ => *self,
        }
    }

    /// Products added up for one output: K = C_in / groups · KH · KW.
    pub fn sum_length(&self) -> u64 {
        self.weight_shape()[1..].iter().map(|&size| u64::from(size)).product()
    }

    /// Elements of the input.
    pub fn input_len(&self) -> u64 {
        product(&self.input)
    }

    /// Elements of the weight.
    pub fn weight_len(&self) -> u64 {
        product(&self.weight_shape())
    }

    /// Elements of the output.
    pub fn output_len(&self) -> u64 {
        product(&self.output)
    }

    /// Multiply-adds: outputs times K, padding counted as if it were multiplied.
    pub fn macs(&self) -> u64 {
        self.output_len() * self.sum_length()
    }

    /// Floating-point operations: two for each multiply-add, as usual for convolutions.
    pub fn flops(&self) -> u64 {
        2 * self.macs()
    }

    /// Bytes that must move at least once in f32: input, weight, bias, residual and output, each once.
    pub fn bytes(&self) -> u64 {
        let bias = if self.conv.bias { u64::from(self.conv.out_channels) } else { 0 };
        let residual = if self.epilogue.residual { self.output_len() } else { 0 };
        4 * (self.input_len() + self.weight_len() + bias + residual + self.output_len())
    }

    fn check_counts(&self) -> Result<()> {
        let too_large = |what, factors: String| Error::TooLarge { what, factors, limit: "64 bits".into() };
        // A quarter of the range, so that sums of bytes over all tensors cannot overflow either.
        let limit = u128::from(u64::MAX / 32);
        for (what, shape) in [
            ("the number of input elements", self.input),
            ("the number of weight elements", self.weight_shape()),
            ("the number of output elements", self.output),
        ] {
            if product_wide(&shape) > limit {
                return Err(too_large(what, shape_string(&shape)));
            }
        }
        if u128::from(self.output_len()) * product_wide(&self.weight_shape()[1..]) > limit {
            let factors = format!("{} outputs × {}", self.output_len(), shape_string(&self.weight_shape()[1..]));
            return Err(too_large("the number of multiply-adds", factors));
        }
        Ok(())
    }
}

/// A shape as `(1, 64, 56, 56)`.
pub(crate) fn shape_string<T: fmt::Display>(shape: &[T]) -> String {
    let sizes: Vec<String> = shape.iter().map(ToString::to_string).collect();
    format!("({})", sizes.join(", "))
}

fn product(shape: &[u32]) -> u64 {
    shape.iter().map(|&size| u64::from(size)).product()
}

/// Saturates instead of overflowing: four 32-bit sizes always fit 128 bits.
fn product_wide(shape: &[u32]) -> u128 {
    shape.iter().map(|&size| u128::from(size)).product()
}

fn at_least_one(parameter: &'static str, actual: u32) -> Result<()> {
    if actual == 0 {
        return Err(Error::Parameter { parameter, actual: "0".into(), required: "at least 1".into() });
    }
    Ok(())
}

fn check_parameters(conv: &Conv2d) -> Result<()> {
    at_least_one("groups", conv.groups)?;
    at_least_one("out_channels", conv.out_channels)?;
    for (name, values) in [("kernel_size", conv.kernel_size), ("stride", conv.stride), ("dilation", conv.dilation)] {
        values.into_iter().try_for_each(|value| at_least_one(name, value))?;
    }
    for (parameter, channels) in [("in_channels", conv.in_channels), ("out_channels", conv.out_channels)] {
        if channels % conv.groups != 0 {
            return Err(Error::Groups { parameter, channels, groups: conv.groups });
        }
    }
    Ok(())
}

fn extent(conv: &Conv2d, axis: usize) -> u64 {
    u64::from(conv.dilation[axis]) * (u64::from(conv.kernel_size[axis]) - 1) + 1
}

struct Axis {
    before: u32,
    after: u32,
    output: u32,
}

/// Output size and padding along one axis (0: rows, 1: columns).
fn resolve_axis(conv: &Conv2d, axis: usize, size: u32) -> Result<Axis> {
    let name = ["rows", "columns"][axis];
    let (stride, extent) = (u64::from(conv.stride[axis]), extent(conv, axis));
    let narrow = |value: u64, what| {
        u32::try_from(value).map_err(|_| Error::TooLarge {
            what,
            factors: format!("{value} {name}"),
            limit: format!("{}", u32::MAX),
        })
    };
    let (before, after) = match conv.padding {
        Padding::Explicit(sides) => [(sides.top, sides.bottom), (sides.left, sides.right)][axis],
        Padding::Valid => (0, 0),
        Padding::Same | Padding::SameLower => {
            let output = u64::from(size).div_ceil(stride);
            let total = ((output - 1) * stride + extent).saturating_sub(u64::from(size));
            let smaller = narrow(total / 2, "the padding")?;
            let larger = narrow(total - total / 2, "the padding")?;
            if conv.padding == Padding::Same { (smaller, larger) } else { (larger, smaller) }
        }
    };
    for padding in [before, after] {
        let relation = match conv.padding_mode {
            PaddingMode::Reflect if padding >= size => "more than",
            PaddingMode::Circular if padding > size => "at least",
            _ => continue,
        };
        return Err(Error::PaddingTooLarge { mode: conv.padding_mode.name(), axis: name, padding, relation, size });
    }
    let padded = u64::from(size) + u64::from(before) + u64::from(after);
    if extent > padded {
        return Err(Error::EmptyOutput { axis: name, size, before, after, extent });
    }
    let output = narrow((padded - extent) / stride + 1, "the output size")?;
    Ok(Axis { before, after, output })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointwise_images_run_as_one_row() {
        let run = |text: &str| text.parse::<Problem>().unwrap().as_run();
        let row = run("n2c3h5w7o4k1+relu");
        assert_eq!((row.input_shape(), row.output_shape()), ([2, 3, 1, 35], [2, 4, 1, 35]));
        for text in ["n2c3h5w7o4k1s2", "n2c3h5w7o4k1p1", "n2c3h5w7o4k1x2", "c1h65536w65536o1k1"] {
            assert_eq!(run(text), text.parse().unwrap(), "{text}");
        }
    }
}

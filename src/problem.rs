//! [`Problem`]: a convolution with one input shape. All shape arithmetic and validation, without a GPU.

mod checks;

use crate::conv::PaddingMode;
use crate::dtype::DType;
use crate::epilogue::{Activation, Epilogue};
use crate::error::{Error, Result};
use crate::integers::{self, Integers};
use crate::layout::{Layout, WeightLayout};
use crate::parameters::{AnyPadding, Convolution, Op, Parameters};
use crate::shape::{MAX_AXES, Shape, shape_string};

/// How padding was given: its amounts are resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PaddingName {
    Explicit,
    Same,
    SameLower,
    Valid,
}

/// A convolution applied to an input of one shape, with an [`Epilogue`]: checked, with every derived size.
///
/// Tensors are row-major, unless another [`Layout`] is set: input (N, C_in, spatial…), weight (C_out, C_in / groups, kernel…) or, of a transposed convolution,
/// (C_in, C_out / groups, kernel…), output (N, C_out, spatial…). There are one to three spatial axes, outermost first:
/// columns, or rows and columns, or slices, rows and columns.
///
/// A problem can be written as one short string and read back:
///
/// ```
/// use wgpu_conv::{Conv1d, Conv2d, Problem};
///
/// let conv = Conv2d::new(64, 128, 3).stride(2).padding(1);
/// let problem = Problem::new(&conv, [8, 64, 56, 56])?;
/// assert_eq!(problem.output_shape(), [8, 128, 28, 28]);
/// assert_eq!(problem.to_string(), "n8c64h56w56o128k3s2p1");
/// assert_eq!("n8c64h56w56o128k3s2p1".parse::<Problem>()?, problem);
/// assert_eq!(Problem::new(&Conv1d::new(1, 512, 10).stride(5), [1, 1, 16000])?.output_shape(), [1, 512, 3199]);
/// # Ok::<(), wgpu_conv::Error>(())
/// ```
///
/// See [`problem_string`](crate::problem_string) for the grammar.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Problem {
    op: Op,
    in_channels: u32,
    out_channels: u32,
    groups: u32,
    bias: bool,
    padding_mode: PaddingMode,
    offset_groups: u32,
    mask: bool,
    /// Number of spatial axes. In the arrays below they are the last ones; those before them are neutral.
    dimensions: usize,
    kernel_size: [u32; MAX_AXES],
    stride: [u32; MAX_AXES],
    dilation: [u32; MAX_AXES],
    output_padding: [u32; MAX_AXES],
    padding_name: PaddingName,
    padding: [[u32; 2]; MAX_AXES],
    input: Shape,
    output: Shape,
    dtype: DType,
    integers: Option<Integers>,
    layout: Layout,
    weight_layout: WeightLayout,
    epilogue: Epilogue,
}

impl Problem {
    /// Checks `conv` against an input of shape (N, C_in, spatial…).
    ///
    /// A batch of 0 and 0 input channels are legal, as in PyTorch: the first has no outputs, the second has outputs
    /// that hold only the bias (and the epilogue).
    ///
    /// # Errors
    /// [`Error::Parameter`], [`Error::Groups`], [`Error::Shape`], [`Error::EmptyOutput`], [`Error::PaddingTooLarge`],
    /// or [`Error::TooLarge`] where a count of elements, bytes or multiply-adds does not fit 64 bits.
    pub fn new<C: Convolution>(conv: &C, input_shape: C::InputShape) -> Result<Self> {
        Self::from_parameters(&conv.parameters(), input_shape.as_ref())
    }

    /// As [`Problem::new`], with kind and number of axes known at run time only.
    ///
    /// # Errors
    /// As [`Problem::new`], and [`Error::Parameter`] where a list does not have one number for each spatial axis.
    pub fn from_parameters(parameters: &Parameters, input_shape: &[u32]) -> Result<Self> {
        let dimensions = parameters.kernel_size.len();
        if !(1..=MAX_AXES).contains(&dimensions) {
            return Err(Error::Parameter {
                parameter: "kernel_size",
                actual: format!("{dimensions} numbers"),
                required: "one number for each of one to three spatial axes".into(),
            });
        }
        let (padding_name, sides) = match &parameters.padding {
            AnyPadding::Explicit(sides) => (PaddingName::Explicit, per_axis("padding", dimensions, sides, [0, 0])?),
            AnyPadding::Same => (PaddingName::Same, [[0, 0]; MAX_AXES]),
            AnyPadding::SameLower => (PaddingName::SameLower, [[0, 0]; MAX_AXES]),
            AnyPadding::Valid => (PaddingName::Valid, [[0, 0]; MAX_AXES]),
        };
        let mut problem = Self {
            op: parameters.op,
            in_channels: parameters.in_channels,
            out_channels: parameters.out_channels,
            groups: parameters.groups,
            bias: parameters.bias,
            padding_mode: parameters.padding_mode,
            offset_groups: parameters.offset_groups,
            mask: parameters.mask,
            dimensions,
            kernel_size: per_axis("kernel_size", dimensions, &parameters.kernel_size, 1)?,
            stride: per_axis("stride", dimensions, &parameters.stride, 1)?,
            dilation: per_axis("dilation", dimensions, &parameters.dilation, 1)?,
            output_padding: per_axis("output_padding", dimensions, &parameters.output_padding, 0)?,
            padding_name,
            padding: sides,
            input: Shape::new(input_shape.iter().copied()),
            output: Shape::new([]),
            dtype: DType::default(),
            integers: None,
            layout: Layout::default(),
            weight_layout: WeightLayout::default(),
            epilogue: Epilogue::NONE,
        };
        problem.check_parameters()?;
        if input_shape.len() != 2 + dimensions || input_shape[1] != parameters.in_channels {
            let axes = [", W", ", H, W", ", D, H, W"][dimensions - 1];
            let channels = parameters.in_channels;
            return Err(Error::Shape {
                tensor: "input",
                actual: shape_string(input_shape),
                required: format!("(N, {channels}{axes}): the convolution has in_channels = {channels}"),
            });
        }
        let mut output = vec![input_shape[0], parameters.out_channels];
        for axis in MAX_AXES - dimensions..MAX_AXES {
            let size = input_shape[2 + axis + dimensions - MAX_AXES];
            if size == 0 {
                return Err(Error::Parameter {
                    parameter: ["input depth", "input height", "input width"][axis],
                    actual: "0".into(),
                    required: "at least 1".into(),
                });
            }
            let resolved = problem.resolve_axis(axis, size)?;
            problem.padding[axis] = resolved.padding;
            output.push(resolved.output);
        }
        problem.output = Shape::new(output);
        problem.check_counts()?;
        Ok(problem)
    }

    /// The same problem with this epilogue.
    ///
    /// # Errors
    /// [`Error::Parameter`] if the activation's numbers make no function, or integers cannot go through it.
    pub fn with_epilogue(self, epilogue: Epilogue) -> Result<Self> {
        epilogue.activation.check()?;
        let problem = Self { epilogue, ..self };
        problem.integers.map_or(Ok(()), |integers| integers::check_epilogue(&problem, integers))?;
        Ok(problem)
    }

    /// The same problem with input, output and residual in this order in memory.
    #[must_use]
    pub fn with_layout(self, layout: Layout) -> Self {
        Self { layout, ..self }
    }

    /// The same problem with a weight that comes in this order.
    #[must_use]
    pub fn with_weight_layout(self, weight_layout: WeightLayout) -> Self {
        Self { weight_layout, ..self }
    }

    /// The same problem on tensors of these floats.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a type of integers, which [`Problem::with_integers`] takes.
    pub fn with_dtype(self, dtype: DType) -> Result<Self> {
        if !dtype.is_float() {
            let required = "a type of floats; integers are set with their zero points (Integers)".into();
            return Err(Error::Parameter { parameter: "dtype", actual: dtype.to_string(), required });
        }
        Ok(Self { dtype, integers: None, ..self })
    }

    /// The same problem on tensors of integers.
    ///
    /// # Errors
    /// [`Error::Parameter`] for types that no convolution of integers has, for a transposed or deformable one, or an epilogue that
    /// integers cannot go through; [`Error::TooLarge`] if a sum might exceed 32 bits.
    pub fn with_integers(self, integers: Integers) -> Result<Self> {
        if let Some(kind) = self.op.special() {
            let required = format!("one that is not {kind}: no other is defined for integers");
            return Err(Error::Parameter { parameter: "the convolution", actual: kind.into(), required });
        }
        integers.check(self.sum_length())?;
        integers::check_epilogue(&self, integers)?;
        Ok(Self { integers: Some(integers), ..self })
    }

    /// What the tensors of a convolution of integers consist of; `None` if they are floats.
    pub fn integers(&self) -> Option<Integers> {
        self.integers
    }

    /// What the input consists of, and of floats every tensor.
    pub fn dtype(&self) -> DType {
        self.integers.map_or(self.dtype, |integers| integers.input)
    }

    /// What the weight consists of.
    pub fn weight_dtype(&self) -> DType {
        self.integers.map_or(self.dtype, |integers| integers.weight)
    }

    /// What output and residual consist of.
    pub fn output_dtype(&self) -> DType {
        self.integers.map_or(self.dtype, |integers| integers.output)
    }

    /// Order in memory of input, output and residual.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Order in memory of the weight as it comes.
    pub fn weight_layout(&self) -> WeightLayout {
        self.weight_layout
    }

    /// The hyper-parameters.
    pub fn parameters(&self) -> Parameters {
        Parameters {
            op: self.op,
            in_channels: self.in_channels,
            out_channels: self.out_channels,
            kernel_size: self.kernel_size().to_vec(),
            stride: self.stride().to_vec(),
            padding: match self.padding_name {
                PaddingName::Explicit => AnyPadding::Explicit(self.padding().to_vec()),
                PaddingName::Same => AnyPadding::Same,
                PaddingName::SameLower => AnyPadding::SameLower,
                PaddingName::Valid => AnyPadding::Valid,
            },
            dilation: self.dilation().to_vec(),
            output_padding: self.output_padding().to_vec(),
            groups: self.groups,
            bias: self.bias,
            padding_mode: self.padding_mode,
            offset_groups: self.offset_groups,
            mask: self.mask,
        }
    }

    /// The same convolution with the same epilogue, layouts and element type, for an input of another shape.
    ///
    /// # Errors
    /// As [`Problem::new`].
    pub fn with_input(&self, input_shape: &[u32]) -> Result<Self> {
        let other = Self::from_parameters(&self.parameters(), input_shape)?.with_epilogue(self.epilogue)?;
        Ok(Self {
            dtype: self.dtype,
            integers: self.integers,
            layout: self.layout,
            weight_layout: self.weight_layout,
            ..other
        })
    }

    /// The kind of convolution.
    pub fn op(&self) -> Op {
        self.op
    }

    /// Number of spatial axes: 1 to 3.
    pub fn dimensions(&self) -> usize {
        self.dimensions
    }

    /// Channels of the input.
    pub fn in_channels(&self) -> u32 {
        self.in_channels
    }

    /// Channels of the output.
    pub fn out_channels(&self) -> u32 {
        self.out_channels
    }

    /// Number of groups.
    pub fn groups(&self) -> u32 {
        self.groups
    }

    /// Whether there is a bias.
    pub fn bias(&self) -> bool {
        self.bias
    }

    /// What padded elements hold.
    pub fn padding_mode(&self) -> PaddingMode {
        self.padding_mode
    }

    /// Number of groups of input channels with offsets of their own, of a deformable convolution; 1 otherwise.
    pub fn offset_groups(&self) -> u32 {
        self.offset_groups
    }

    /// Whether there is a mask, of a deformable convolution.
    pub fn mask(&self) -> bool {
        self.mask
    }

    /// Size of the weight along each spatial axis.
    pub fn kernel_size(&self) -> &[u32] {
        &self.kernel_size[MAX_AXES - self.dimensions..]
    }

    /// Stride along each spatial axis.
    pub fn stride(&self) -> &[u32] {
        &self.stride[MAX_AXES - self.dimensions..]
    }

    /// Dilation along each spatial axis.
    pub fn dilation(&self) -> &[u32] {
        &self.dilation[MAX_AXES - self.dimensions..]
    }

    /// Additional outputs at the end of each spatial axis, of a transposed convolution.
    pub fn output_padding(&self) -> &[u32] {
        &self.output_padding[MAX_AXES - self.dimensions..]
    }

    /// The padding in elements before and after each spatial axis, with `Same` and its kin resolved.
    pub fn padding(&self) -> &[[u32; 2]] {
        &self.padding[MAX_AXES - self.dimensions..]
    }

    pub(crate) fn padding_name(&self) -> PaddingName {
        self.padding_name
    }

    /// What happens to each sum.
    pub fn epilogue(&self) -> Epilogue {
        self.epilogue
    }

    /// (N, C_in, spatial…).
    pub fn input_shape(&self) -> Shape {
        self.input
    }

    /// (C_out, C_in / groups, kernel…); of a transposed convolution (C_in, C_out / groups, kernel…).
    pub fn weight_shape(&self) -> Shape {
        let outer = match self.op {
            Op::Conv | Op::DeformConv => [self.out_channels, self.in_channels_per_group()],
            Op::ConvTranspose => [self.in_channels, self.out_channels_per_group()],
        };
        Shape::new(outer.into_iter().chain(self.kernel_size().iter().copied()))
    }

    /// (N, C_out, spatial…).
    pub fn output_shape(&self) -> Shape {
        self.output
    }

    /// Of a deformable convolution (N, offset_groups · 2 · KH · KW, OH, OW): for each offset group and each tap, the taps row by
    /// row, first how far down the tap is moved and then how far to the right, in input elements.
    pub fn offset_shape(&self) -> Option<Shape> {
        (self.op == Op::DeformConv).then(|| self.for_taps(2))
    }

    /// Of a deformable convolution with a mask (N, offset_groups · KH · KW, OH, OW): what each sample is multiplied by.
    pub fn mask_shape(&self) -> Option<Shape> {
        self.mask.then(|| self.for_taps(1))
    }

    /// The shape of a tensor with so many channels for each offset group and tap, and the pixels of the output.
    fn for_taps(&self, each: u32) -> Shape {
        // Counted when the problem was made.
        let channels = self.kernel_size().iter().product::<u32>() * self.offset_groups * each;
        Shape::new([self.output[0], channels].into_iter().chain(self.output[2..].iter().copied()))
    }

    /// What the kernel covers along each spatial axis: `dilation * (kernel_size - 1) + 1`.
    pub fn receptive_field(&self) -> Vec<u64> {
        (MAX_AXES - self.dimensions..MAX_AXES).map(|axis| self.extent(axis)).collect()
    }

    /// Input channels of one group.
    pub fn in_channels_per_group(&self) -> u32 {
        self.in_channels / self.groups
    }

    /// Output channels of one group.
    pub fn out_channels_per_group(&self) -> u32 {
        self.out_channels / self.groups
    }

    /// Most products that are added up for one output. Of a convolution K = C_in / groups · taps; an output of a transposed
    /// one meets only every stride-th tap along an axis.
    pub fn sum_length(&self) -> u64 {
        let taps = |axis: usize| match self.op {
            Op::Conv | Op::DeformConv => u64::from(self.kernel_size[axis]),
            Op::ConvTranspose => {
                let apart = self.stride[axis] / greatest_common_divisor(self.stride[axis], self.dilation[axis]);
                u64::from(self.kernel_size[axis].div_ceil(apart))
            }
        };
        u64::from(self.in_channels_per_group()) * (0..MAX_AXES).map(taps).product::<u64>()
    }

    /// PReLU slopes that the problem takes, if its activation is PReLU: one for each output channel, or for each element of an
    /// output image.
    pub fn slopes_len(&self) -> Option<u64> {
        match self.epilogue.activation {
            Activation::Prelu => Some(self.out_channels.into()),
            Activation::PreluEach => Some(self.output[1..].iter().map(|&size| u64::from(size)).product()),
            _ => None,
        }
    }

    /// Elements of the input.
    pub fn input_len(&self) -> u64 {
        self.input.elements()
    }

    /// Elements of the weight.
    pub fn weight_len(&self) -> u64 {
        self.weight_shape().elements()
    }

    /// Elements of the offsets: 0 unless the convolution is deformable.
    pub fn offset_len(&self) -> u64 {
        self.offset_shape().map_or(0, |shape| shape.elements())
    }

    /// Elements of the mask: 0 if there is none.
    pub fn mask_len(&self) -> u64 {
        self.mask_shape().map_or(0, |shape| shape.elements())
    }

    /// Elements of the output.
    pub fn output_len(&self) -> u64 {
        self.output.elements()
    }

    /// Multiply-adds: outputs times K, padding counted as if it were multiplied; of a transposed convolution inputs times
    /// the taps and channels that each of them meets. The interpolation of a deformable one is not counted.
    pub fn macs(&self) -> u64 {
        match self.op {
            Op::Conv | Op::DeformConv => self.output_len() * self.sum_length(),
            Op::ConvTranspose => {
                self.input_len() * self.weight_shape()[1..].iter().map(|&s| u64::from(s)).product::<u64>()
            }
        }
    }

    /// Floating-point operations: two for each multiply-add, as usual for convolutions.
    pub fn flops(&self) -> u64 {
        2 * self.macs()
    }

    /// Bytes that must move at least once: input, offsets, mask, weight, bias, residual and output, each once.
    pub fn bytes(&self) -> u64 {
        let bias = if self.bias { u64::from(self.out_channels) } else { 0 };
        let residual = if self.epilogue.residual { self.output_len() } else { 0 };
        self.dtype().size() * (self.input_len() + self.offset_len() + self.mask_len())
            + self.weight_dtype().size() * self.weight_len()
            + self.output_dtype().size() * (residual + self.output_len())
            + 4 * bias
    }

    /// Along one of the three axes, of which leading ones may be neutral.
    pub(crate) fn extent(&self, axis: usize) -> u64 {
        u64::from(self.dilation[axis]) * (u64::from(self.kernel_size[axis]) - 1) + 1
    }

    /// Kernel size, stride, dilation and padding along three axes, of which leading ones may be neutral.
    pub(crate) fn axes(&self) -> [Axis; MAX_AXES] {
        let ([_, _, input @ ..], [_, _, output @ ..]) = (self.input.five(), self.output.five());
        std::array::from_fn(|axis| Axis {
            input: input[axis],
            output: output[axis],
            kernel: self.kernel_size[axis],
            stride: self.stride[axis],
            dilation: self.dilation[axis],
            before: self.padding[axis][0],
        })
    }
}

/// What a problem is along one spatial axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Axis {
    pub input: u32,
    pub output: u32,
    pub kernel: u32,
    pub stride: u32,
    pub dilation: u32,
    /// Padding before the first element.
    pub before: u32,
}

/// One value for each of three axes, from a list for the last `dimensions` of them.
fn per_axis<T: Copy>(parameter: &'static str, dimensions: usize, values: &[T], neutral: T) -> Result<[T; MAX_AXES]> {
    if values.len() != dimensions {
        return Err(Error::Parameter {
            parameter,
            actual: if values.len() == 1 { "1 number".into() } else { format!("{} numbers", values.len()) },
            required: if dimensions == 1 {
                "1 number, for the one spatial axis".into()
            } else {
                format!("{dimensions} numbers, one for each spatial axis")
            },
        });
    }
    let mut all = [neutral; MAX_AXES];
    all[MAX_AXES - dimensions..].copy_from_slice(values);
    Ok(all)
}

pub(crate) fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

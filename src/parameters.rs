//! [`Parameters`]: what a convolution is, with its kind and number of axes as values, and what becomes such.

use crate::conv::{Conv, ConvTranspose, DeformConv2d, Padding, PaddingMode};
use crate::error::{Error, Result};
use crate::shape::{MAX_AXES, shape_string};

/// What kind of convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Op {
    /// `torch.nn.Conv1d` to `Conv3d`.
    #[default]
    Conv,
    /// `torch.nn.ConvTranspose1d` to `ConvTranspose3d`.
    ConvTranspose,
    /// `torchvision.ops.DeformConv2d`.
    DeformConv,
}

impl Op {
    /// In messages, what makes it another kind than the ordinary one.
    pub(crate) fn special(self) -> Option<&'static str> {
        match self {
            Self::Conv => None,
            Self::ConvTranspose => Some("transposed"),
            Self::DeformConv => Some("deformable"),
        }
    }
}

/// Padding whose number of axes is known at run time; see [`Padding`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AnyPadding {
    /// Before and after each axis.
    Explicit(Vec<[u32; 2]>),
    /// [`Padding::Same`].
    Same,
    /// [`Padding::SameLower`].
    SameLower,
    /// [`Padding::Valid`].
    Valid,
}

/// The hyper-parameters of a convolution whose kind and number of axes are known at run time only: what [`Conv`],
/// [`ConvTranspose`] and [`DeformConv2d`] become, and what programs use that read them from files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameters {
    /// The kind of convolution.
    pub op: Op,
    /// Channels of the input.
    pub in_channels: u32,
    /// Channels of the output.
    pub out_channels: u32,
    /// Size of the weight along each axis: one to three of them, outermost first. All other lists have as many.
    pub kernel_size: Vec<u32>,
    /// Step between neighbouring outputs (transposed: between the outputs of neighbouring inputs).
    pub stride: Vec<u32>,
    /// Padding.
    pub padding: AnyPadding,
    /// Distance between neighbouring taps.
    pub dilation: Vec<u32>,
    /// Additional outputs at the end, of a transposed convolution; 0 otherwise.
    pub output_padding: Vec<u32>,
    /// Number of independent groups of channels.
    pub groups: u32,
    /// Whether a bias is added to each output channel.
    pub bias: bool,
    /// What padded elements hold.
    pub padding_mode: PaddingMode,
    /// Number of groups of input channels with offsets of their own, of a deformable convolution; 1 otherwise.
    pub offset_groups: u32,
    /// Whether a deformable convolution has a mask; false otherwise.
    pub mask: bool,
}

impl Parameters {
    /// The convolution that a weight of this shape belongs to: (out_channels, in_channels / groups, …), for a transposed one
    /// (in_channels, out_channels / groups, …), with one to three spatial axes. The other parameters at their defaults.
    ///
    /// # Errors
    /// [`Error::Shape`] for another number of axes, [`Error::TooLarge`] if the channels of all groups do not fit 32 bits.
    pub fn from_weight_shape(op: Op, shape: &[u32], groups: u32) -> Result<Self> {
        let [first, second, kernel_size @ ..] = shape else { return Err(wrong_rank("weight", shape)) };
        let axes = kernel_size.len();
        if !(1..=MAX_AXES).contains(&axes) {
            return Err(wrong_rank("weight", shape));
        }
        let all = second.checked_mul(groups).ok_or_else(|| Error::TooLarge {
            what: "the number of channels",
            factors: format!("{second} per group × {groups} groups"),
            limit: format!("{}", u32::MAX),
        })?;
        let (in_channels, out_channels) = match op {
            Op::Conv | Op::DeformConv => (all, *first),
            Op::ConvTranspose => (*first, all),
        };
        Ok(Self {
            op,
            in_channels,
            out_channels,
            kernel_size: kernel_size.to_vec(),
            stride: vec![1; axes],
            padding: AnyPadding::Explicit(vec![[0, 0]; axes]),
            dilation: vec![1; axes],
            output_padding: vec![0; axes],
            groups,
            bias: true,
            padding_mode: PaddingMode::Zeros,
            offset_groups: 1,
            mask: false,
        })
    }
}

fn wrong_rank(tensor: &'static str, shape: &[u32]) -> Error {
    let required = "two sizes and one for each of one to three spatial axes".into();
    Error::Shape { tensor, actual: shape_string(shape), required }
}

/// A typed description of a convolution: [`Conv1d`](crate::Conv1d) to [`Conv3d`](crate::Conv3d),
/// [`ConvTranspose1d`](crate::ConvTranspose1d) to [`ConvTranspose3d`](crate::ConvTranspose3d), [`DeformConv2d`].
pub trait Convolution: sealed::Sealed {
    /// Shape of its input, (N, in_channels, …).
    type InputShape: AsRef<[u32]>;

    /// The same, with kind and number of axes as values.
    fn parameters(&self) -> Parameters;
}

mod sealed {
    pub trait Sealed {}
    impl<const D: usize> Sealed for super::Conv<D> {}
    impl<const D: usize> Sealed for super::ConvTranspose<D> {}
    impl Sealed for super::DeformConv2d {}
}

macro_rules! convolutions {
    ($($dimensions:literal $rank:literal)*) => { $(
        impl Convolution for Conv<$dimensions> {
            type InputShape = [u32; $rank];

            fn parameters(&self) -> Parameters {
                Parameters {
                    op: Op::Conv,
                    in_channels: self.in_channels,
                    out_channels: self.out_channels,
                    kernel_size: self.kernel_size.to_vec(),
                    stride: self.stride.to_vec(),
                    padding: self.padding.into(),
                    dilation: self.dilation.to_vec(),
                    output_padding: vec![0; $dimensions],
                    groups: self.groups,
                    bias: self.bias,
                    padding_mode: self.padding_mode,
                    offset_groups: 1,
                    mask: false,
                }
            }
        }

        impl Convolution for ConvTranspose<$dimensions> {
            type InputShape = [u32; $rank];

            fn parameters(&self) -> Parameters {
                Parameters {
                    op: Op::ConvTranspose,
                    in_channels: self.in_channels,
                    out_channels: self.out_channels,
                    kernel_size: self.kernel_size.to_vec(),
                    stride: self.stride.to_vec(),
                    padding: self.padding.into(),
                    dilation: self.dilation.to_vec(),
                    output_padding: self.output_padding.to_vec(),
                    groups: self.groups,
                    bias: self.bias,
                    padding_mode: self.padding_mode,
                    offset_groups: 1,
                    mask: false,
                }
            }
        }
    )* };
}

convolutions!(1 3 2 4 3 5);

impl Convolution for DeformConv2d {
    type InputShape = [u32; 4];

    fn parameters(&self) -> Parameters {
        Parameters {
            op: Op::DeformConv,
            in_channels: self.in_channels,
            out_channels: self.out_channels,
            kernel_size: self.kernel_size.to_vec(),
            stride: self.stride.to_vec(),
            padding: self.padding.into(),
            dilation: self.dilation.to_vec(),
            output_padding: vec![0; 2],
            groups: self.groups,
            bias: self.bias,
            padding_mode: PaddingMode::Zeros,
            offset_groups: self.offset_groups,
            mask: self.mask,
        }
    }
}

impl<const D: usize> From<Padding<D>> for AnyPadding {
    fn from(padding: Padding<D>) -> Self {
        match padding {
            Padding::Explicit(sides) => Self::Explicit(sides.to_vec()),
            Padding::Same => Self::Same,
            Padding::SameLower => Self::SameLower,
            Padding::Valid => Self::Valid,
        }
    }
}

//! The hyper-parameters of convolutions, as plain data: [`Conv1d`], [`Conv2d`], [`Conv3d`], their transposed kin and
//! [`DeformConv2d`].

use std::fmt;

use crate::error::{Error, Result};

/// One number for all `D` spatial axes, or one per axis, outermost first (2-D: rows, columns), as in PyTorch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PerAxis<const D: usize>(pub [u32; D]);

impl<const D: usize> From<u32> for PerAxis<D> {
    fn from(all: u32) -> Self {
        Self([all; D])
    }
}

impl<const D: usize> From<[u32; D]> for PerAxis<D> {
    fn from(axes: [u32; D]) -> Self {
        Self(axes)
    }
}

impl From<(u32, u32)> for PerAxis<2> {
    fn from((rows, columns): (u32, u32)) -> Self {
        Self([rows, columns])
    }
}

impl From<(u32, u32, u32)> for PerAxis<3> {
    fn from((slices, rows, columns): (u32, u32, u32)) -> Self {
        Self([slices, rows, columns])
    }
}

/// How much padding a convolution over `D` spatial axes has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Padding<const D: usize = 2> {
    /// So many elements before the first and after the last element of each axis; the amounts are arbitrary and may differ.
    Explicit([[u32; 2]; D]),
    /// As TensorFlow's `SAME` and ONNX's `SAME_UPPER`: the output has `ceil(input / stride)` elements along each axis,
    /// and an odd element of padding goes to the end. With stride 1 this is PyTorch's `padding='same'`. The output of a
    /// transposed convolution has `input · stride` elements.
    Same,
    /// As [`Padding::Same`], with an odd element at the beginning (ONNX's `SAME_LOWER`).
    SameLower,
    /// No padding.
    Valid,
}

impl Padding<2> {
    /// Padding of an image, side by side.
    pub const fn sides(top: u32, bottom: u32, left: u32, right: u32) -> Self {
        Self::Explicit([[top, bottom], [left, right]])
    }
}

impl<const D: usize> Default for Padding<D> {
    fn default() -> Self {
        Self::Explicit([[0, 0]; D])
    }
}

impl<const D: usize> From<u32> for Padding<D> {
    fn from(all: u32) -> Self {
        Self::Explicit([[all, all]; D])
    }
}

impl<const D: usize> From<[u32; D]> for Padding<D> {
    fn from(axes: [u32; D]) -> Self {
        Self::Explicit(axes.map(|both| [both, both]))
    }
}

impl From<(u32, u32)> for Padding<2> {
    fn from((rows, columns): (u32, u32)) -> Self {
        Self::from([rows, columns])
    }
}

impl<const D: usize> From<[[u32; 2]; D]> for Padding<D> {
    fn from(sides: [[u32; 2]; D]) -> Self {
        Self::Explicit(sides)
    }
}

/// Where the values of padded elements come from; PyTorch's `padding_mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum PaddingMode {
    /// Zero.
    #[default]
    Zeros,
    /// Mirrored at the edge element, which is not repeated: `c b | a b c | b a`. Each amount must be below the size.
    Reflect,
    /// The edge element repeated: `a a | a b c | c c`.
    Replicate,
    /// From the other side: `b c | a b c | a b`. Each amount must be at most the size.
    Circular,
}

impl PaddingMode {
    /// All modes, in a fixed order.
    pub const ALL: [Self; 4] = [Self::Zeros, Self::Reflect, Self::Replicate, Self::Circular];

    /// PyTorch's name of the mode.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Zeros => "zeros",
            Self::Reflect => "reflect",
            Self::Replicate => "replicate",
            Self::Circular => "circular",
        }
    }

    /// The mode with PyTorch's name `name`.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.name() == name)
    }
}

impl fmt::Display for PaddingMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The hyper-parameters of `torch.nn.Conv1d`, `Conv2d` or `Conv3d` (`D` spatial axes), with PyTorch's names, meaning and
/// defaults. Numbers per axis stand outermost axis first: (rows, columns) or (slices, rows, columns).
///
/// Plain data: values are checked when a [`Problem`](crate::Problem) is made of it and an input shape.
///
/// ```
/// use wgpu_conv::{Conv1d, Conv2d};
///
/// let conv = Conv2d::new(64, 128, 3).stride(2).padding(1).groups(4);
/// assert_eq!(conv.weight_shape(), [128, 16, 3, 3]);
/// assert_eq!(Conv1d::new(1, 512, 10).stride(5).weight_shape(), [512, 1, 10]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Conv<const D: usize> {
    /// Channels of the input.
    pub in_channels: u32,
    /// Channels of the output.
    pub out_channels: u32,
    /// Size of the weight along each axis.
    pub kernel_size: [u32; D],
    /// Step between neighbouring outputs, in input elements. Default 1.
    pub stride: [u32; D],
    /// Padding. Default 0.
    pub padding: Padding<D>,
    /// Distance between neighbouring taps, in input elements; 1 is dense. Default 1.
    pub dilation: [u32; D],
    /// Number of independent groups of channels. Default 1.
    pub groups: u32,
    /// Whether a bias is added to each output channel. Default true.
    pub bias: bool,
    /// What padded elements hold. Default zeros.
    pub padding_mode: PaddingMode,
}

/// `torch.nn.Conv1d`.
pub type Conv1d = Conv<1>;
/// `torch.nn.Conv2d`.
pub type Conv2d = Conv<2>;
/// `torch.nn.Conv3d`.
pub type Conv3d = Conv<3>;

/// The hyper-parameters of `torch.nn.ConvTranspose1d`, `ConvTranspose2d` or `ConvTranspose3d` (`D` spatial axes): the adjoint
/// of [`Conv`], which spreads each input over an output that is larger by the stride.
///
/// Along each axis the output has `(input − 1) · stride − padding + dilation · (kernel_size − 1) + output_padding + 1` elements.
///
/// ```
/// use wgpu_conv::{ConvTranspose2d, Problem};
///
/// let conv = ConvTranspose2d::new(64, 32, 4).stride(2).padding(1);
/// assert_eq!(conv.weight_shape(), [64, 32, 4, 4]);
/// assert_eq!(Problem::new(&conv, [1, 64, 28, 28])?.output_shape(), [1, 32, 56, 56]);
/// # Ok::<(), wgpu_conv::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConvTranspose<const D: usize> {
    /// Channels of the input.
    pub in_channels: u32,
    /// Channels of the output.
    pub out_channels: u32,
    /// Size of the weight along each axis.
    pub kernel_size: [u32; D],
    /// Step between the outputs of neighbouring inputs. Default 1.
    pub stride: [u32; D],
    /// Outputs that are left out at each side. Default 0.
    pub padding: Padding<D>,
    /// Elements that the output has in addition at its end; below the larger of stride and dilation. Default 0.
    pub output_padding: [u32; D],
    /// Distance between neighbouring taps, in output elements. Default 1.
    pub dilation: [u32; D],
    /// Number of independent groups of channels. Default 1.
    pub groups: u32,
    /// Whether a bias is added to each output channel. Default true.
    pub bias: bool,
    /// PyTorch defines transposed convolutions for zeros only. Default zeros.
    pub padding_mode: PaddingMode,
}

/// `torch.nn.ConvTranspose1d`.
pub type ConvTranspose1d = ConvTranspose<1>;
/// `torch.nn.ConvTranspose2d`.
pub type ConvTranspose2d = ConvTranspose<2>;
/// `torch.nn.ConvTranspose3d`.
pub type ConvTranspose3d = ConvTranspose<3>;

/// The hyper-parameters of `torchvision.ops.DeformConv2d` (ONNX `DeformConv`): a convolution of images whose taps do not lie on
/// a grid. Each output pixel has, for every tap, an offset (rows, columns) of its own, which is added to where the tap would
/// lie and need not be whole: the input is interpolated between its four neighbours, with zeros outside of the image. With
/// [`mask`](Self::mask) each such sample is multiplied by a number of its own too.
///
/// Offsets and mask are tensors beside the input: [`Problem::offset_shape`](crate::Problem::offset_shape) and
/// [`Problem::mask_shape`](crate::Problem::mask_shape).
///
/// ```
/// use wgpu_conv::{DeformConv2d, Problem};
///
/// let conv = DeformConv2d::new(64, 128, 3).padding(1).offset_groups(2).mask(true);
/// let problem = Problem::new(&conv, [1, 64, 28, 28])?;
/// assert_eq!(problem.output_shape(), [1, 128, 28, 28]);
/// assert_eq!(problem.offset_shape().unwrap(), [1, 36, 28, 28]);
/// assert_eq!(problem.mask_shape().unwrap(), [1, 18, 28, 28]);
/// # Ok::<(), wgpu_conv::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DeformConv2d {
    /// Channels of the input.
    pub in_channels: u32,
    /// Channels of the output.
    pub out_channels: u32,
    /// Rows and columns of the weight.
    pub kernel_size: [u32; 2],
    /// Step between neighbouring outputs, in input elements. Default 1.
    pub stride: [u32; 2],
    /// Padding, with zeros. Default 0.
    pub padding: Padding<2>,
    /// Distance between neighbouring taps without their offsets, in input elements. Default 1.
    pub dilation: [u32; 2],
    /// Number of independent groups of channels. Default 1.
    pub groups: u32,
    /// Whether a bias is added to each output channel. Default true.
    pub bias: bool,
    /// Number of groups of input channels with offsets (and mask) of their own. Default 1.
    pub offset_groups: u32,
    /// Whether every sample is multiplied by an element of a mask. Default false.
    pub mask: bool,
}

/// The setters that all kinds have.
macro_rules! setters {
    ($dimensions:tt) => {
        /// Sets [`stride`](Self::stride).
        #[must_use]
        pub fn stride(self, stride: impl Into<PerAxis<$dimensions>>) -> Self {
            Self { stride: stride.into().0, ..self }
        }

        /// Sets [`padding`](Self::padding): one number, one per axis, both sides of each axis, or a named padding.
        #[must_use]
        pub fn padding(self, padding: impl Into<Padding<$dimensions>>) -> Self {
            Self { padding: padding.into(), ..self }
        }

        /// Sets [`dilation`](Self::dilation).
        #[must_use]
        pub fn dilation(self, dilation: impl Into<PerAxis<$dimensions>>) -> Self {
            Self { dilation: dilation.into().0, ..self }
        }

        /// Sets [`groups`](Self::groups).
        #[must_use]
        pub fn groups(self, groups: u32) -> Self {
            Self { groups, ..self }
        }

        /// Sets [`bias`](Self::bias).
        #[must_use]
        pub fn bias(self, bias: bool) -> Self {
            Self { bias, ..self }
        }
    };
}

/// The setter of the kinds that have a padding mode.
macro_rules! padding_mode_setter {
    () => {
        /// Sets [`padding_mode`](Self::padding_mode).
        #[must_use]
        pub fn padding_mode(self, padding_mode: PaddingMode) -> Self {
            Self { padding_mode, ..self }
        }
    };
}

impl<const D: usize> Conv<D> {
    /// A convolution with stride 1, no padding, dilation 1, one group, a bias and zero padding mode.
    pub fn new(in_channels: u32, out_channels: u32, kernel_size: impl Into<PerAxis<D>>) -> Self {
        Self {
            in_channels,
            out_channels,
            kernel_size: kernel_size.into().0,
            stride: [1; D],
            padding: Padding::default(),
            dilation: [1; D],
            groups: 1,
            bias: true,
            padding_mode: PaddingMode::Zeros,
        }
    }

    setters!(D);
    padding_mode_setter!();
}

impl<const D: usize> ConvTranspose<D> {
    /// A transposed convolution with stride 1, no padding, dilation 1, one group and a bias.
    pub fn new(in_channels: u32, out_channels: u32, kernel_size: impl Into<PerAxis<D>>) -> Self {
        Self {
            in_channels,
            out_channels,
            kernel_size: kernel_size.into().0,
            stride: [1; D],
            padding: Padding::default(),
            output_padding: [0; D],
            dilation: [1; D],
            groups: 1,
            bias: true,
            padding_mode: PaddingMode::Zeros,
        }
    }

    setters!(D);
    padding_mode_setter!();

    /// Sets [`output_padding`](Self::output_padding).
    #[must_use]
    pub fn output_padding(self, output_padding: impl Into<PerAxis<D>>) -> Self {
        Self { output_padding: output_padding.into().0, ..self }
    }
}

impl DeformConv2d {
    /// A deformable convolution with stride 1, no padding, dilation 1, one group, one offset group, a bias and no mask.
    pub fn new(in_channels: u32, out_channels: u32, kernel_size: impl Into<PerAxis<2>>) -> Self {
        Self {
            in_channels,
            out_channels,
            kernel_size: kernel_size.into().0,
            stride: [1; 2],
            padding: Padding::default(),
            dilation: [1; 2],
            groups: 1,
            bias: true,
            offset_groups: 1,
            mask: false,
        }
    }

    setters!(2);

    /// Sets [`offset_groups`](Self::offset_groups).
    #[must_use]
    pub fn offset_groups(self, offset_groups: u32) -> Self {
        Self { offset_groups, ..self }
    }

    /// Sets [`mask`](Self::mask).
    #[must_use]
    pub fn mask(self, mask: bool) -> Self {
        Self { mask, ..self }
    }

    /// Shape of the weight: (out_channels, in_channels / groups, rows, columns). With `groups` 0 (which no
    /// [`Problem`](crate::Problem) accepts) the second number is 0.
    pub fn weight_shape(&self) -> [u32; 4] {
        let per_group = self.in_channels.checked_div(self.groups).unwrap_or(0);
        [self.out_channels, per_group, self.kernel_size[0], self.kernel_size[1]]
    }
}

/// What depends on the number of axes in its type.
macro_rules! weight_shapes {
    ($($dimensions:literal $sizes:literal ($($axis:literal),*) $names:literal),*) => { $(
        impl Conv<$dimensions> {
            #[doc = concat!("Shape of the weight: (out_channels, in_channels / groups, ", $names, "). With `groups` 0 (which no")]
            /// [`Problem`](crate::Problem) accepts) the second number is 0.
            pub fn weight_shape(&self) -> [u32; $sizes] {
                let per_group = self.in_channels.checked_div(self.groups).unwrap_or(0);
                [self.out_channels, per_group, $(self.kernel_size[$axis]),*]
            }

            #[doc = concat!("The convolution that a weight of shape (out_channels, in_channels / groups, ", $names, ") belongs to;")]
            /// the other parameters at their defaults.
            ///
            /// # Errors
            /// [`Error::TooLarge`] if `shape[1] * groups` does not fit 32 bits.
            pub fn from_weight_shape(shape: [u32; $sizes], groups: u32) -> Result<Self> {
                let in_channels = all_channels("in_channels", shape[1], groups)?;
                Ok(Self { groups, ..Self::new(in_channels, shape[0], [$(shape[2 + $axis]),*]) })
            }
        }

        impl ConvTranspose<$dimensions> {
            #[doc = concat!("Shape of the weight: (in_channels, out_channels / groups, ", $names, "). With `groups` 0 (which no")]
            /// [`Problem`](crate::Problem) accepts) the second number is 0.
            pub fn weight_shape(&self) -> [u32; $sizes] {
                let per_group = self.out_channels.checked_div(self.groups).unwrap_or(0);
                [self.in_channels, per_group, $(self.kernel_size[$axis]),*]
            }

            #[doc = concat!("The convolution that a weight of shape (in_channels, out_channels / groups, ", $names, ") belongs to;")]
            /// the other parameters at their defaults.
            ///
            /// # Errors
            /// [`Error::TooLarge`] if `shape[1] * groups` does not fit 32 bits.
            pub fn from_weight_shape(shape: [u32; $sizes], groups: u32) -> Result<Self> {
                let out_channels = all_channels("out_channels", shape[1], groups)?;
                Ok(Self { groups, ..Self::new(shape[0], out_channels, [$(shape[2 + $axis]),*]) })
            }
        }
    )* };
}

weight_shapes!(1 3 (0) "columns", 2 4 (0, 1) "rows, columns", 3 5 (0, 1, 2) "slices, rows, columns");

fn all_channels(what: &'static str, per_group: u32, groups: u32) -> Result<u32> {
    per_group.checked_mul(groups).ok_or_else(|| Error::TooLarge {
        what,
        factors: format!("{per_group} per group × {groups} groups"),
        limit: format!("{}", u32::MAX),
    })
}

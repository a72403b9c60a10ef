//! [`Conv2d`]: the hyper-parameters of a convolution, as plain data.

use std::fmt;

use crate::error::{Error, Result};

/// One number for both axes, or one per axis as `[rows, columns]` (height first, as in PyTorch).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PerAxis(pub [u32; 2]);

impl From<u32> for PerAxis {
    fn from(both: u32) -> Self {
        Self([both, both])
    }
}

impl From<[u32; 2]> for PerAxis {
    fn from(axes: [u32; 2]) -> Self {
        Self(axes)
    }
}

impl From<(u32, u32)> for PerAxis {
    fn from((rows, columns): (u32, u32)) -> Self {
        Self([rows, columns])
    }
}

/// Padding in elements on each side of the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Sides {
    /// Rows above the first row.
    pub top: u32,
    /// Rows below the last row.
    pub bottom: u32,
    /// Columns before the first column.
    pub left: u32,
    /// Columns after the last column.
    pub right: u32,
}

/// How much padding a convolution has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Padding {
    /// So many elements on each side; the amounts are arbitrary and may differ.
    Explicit(Sides),
    /// As TensorFlow's `SAME` and ONNX's `SAME_UPPER`: the output has `ceil(input / stride)` elements along each axis,
    /// and an odd element of padding goes to the end. With stride 1 this is PyTorch's `padding='same'`.
    Same,
    /// As [`Padding::Same`], with an odd element at the beginning (ONNX's `SAME_LOWER`).
    SameLower,
    /// No padding.
    Valid,
}

impl Padding {
    /// Padding given side by side.
    pub const fn sides(top: u32, bottom: u32, left: u32, right: u32) -> Self {
        Self::Explicit(Sides { top, bottom, left, right })
    }
}

impl Default for Padding {
    fn default() -> Self {
        Self::sides(0, 0, 0, 0)
    }
}

impl From<u32> for Padding {
    fn from(all: u32) -> Self {
        Self::sides(all, all, all, all)
    }
}

impl From<[u32; 2]> for Padding {
    fn from([rows, columns]: [u32; 2]) -> Self {
        Self::sides(rows, rows, columns, columns)
    }
}

impl From<(u32, u32)> for Padding {
    fn from((rows, columns): (u32, u32)) -> Self {
        Self::from([rows, columns])
    }
}

impl From<Sides> for Padding {
    fn from(sides: Sides) -> Self {
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

/// The hyper-parameters of `torch.nn.Conv2d`, with PyTorch's names, meaning and defaults.
///
/// Plain data: values are checked when a [`Problem`](crate::Problem) is made of it and an input shape.
///
/// ```
/// use wgpu_conv::Conv2d;
///
/// let conv = Conv2d::new(64, 128, 3).stride(2).padding(1).groups(4);
/// assert_eq!(conv.weight_shape(), [128, 16, 3, 3]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Conv2d {
    /// Channels of the input.
    pub in_channels: u32,
    /// Channels of the output.
    pub out_channels: u32,
    /// Rows and columns of the weight.
    pub kernel_size: [u32; 2],
    /// Step between neighbouring outputs, in input rows and columns. Default 1.
    pub stride: [u32; 2],
    /// Padding. Default 0.
    pub padding: Padding,
    /// Distance between neighbouring taps, in input rows and columns; 1 is dense. Default 1.
    pub dilation: [u32; 2],
    /// Number of independent groups of channels. Default 1.
    pub groups: u32,
    /// Whether a bias is added to each output channel. Default true.
    pub bias: bool,
    /// What padded elements hold. Default zeros.
    pub padding_mode: PaddingMode,
}

impl Conv2d {
    /// A convolution with stride 1, no padding, dilation 1, one group, a bias and zero padding mode.
    pub fn new(in_channels: u32, out_channels: u32, kernel_size: impl Into<PerAxis>) -> Self {
        Self {
            in_channels,
            out_channels,
            kernel_size: kernel_size.into().0,
            stride: [1, 1],
            padding: Padding::default(),
            dilation: [1, 1],
            groups: 1,
            bias: true,
            padding_mode: PaddingMode::Zeros,
        }
    }

    /// The convolution that a weight of shape (out_channels, in_channels / groups, rows, columns) belongs to;
    /// the other parameters at their defaults.
    ///
    /// # Errors
    /// [`Error::TooLarge`] if `shape[1] * groups` does not fit 32 bits.
    pub fn from_weight_shape(shape: [u32; 4], groups: u32) -> Result<Self> {
        let [out_channels, channels_per_group, rows, columns] = shape;
        let in_channels = channels_per_group.checked_mul(groups).ok_or_else(|| Error::TooLarge {
            what: "in_channels",
            factors: format!("{channels_per_group} per group × {groups} groups"),
            limit: format!("{}", u32::MAX),
        })?;
        Ok(Self { groups, ..Self::new(in_channels, out_channels, [rows, columns]) })
    }

    /// Sets [`stride`](Self::stride).
    #[must_use]
    pub fn stride(self, stride: impl Into<PerAxis>) -> Self {
        Self { stride: stride.into().0, ..self }
    }

    /// Sets [`padding`](Self::padding): one number, one per axis, [`Padding::sides`], or a named padding.
    #[must_use]
    pub fn padding(self, padding: impl Into<Padding>) -> Self {
        Self { padding: padding.into(), ..self }
    }

    /// Sets [`dilation`](Self::dilation).
    #[must_use]
    pub fn dilation(self, dilation: impl Into<PerAxis>) -> Self {
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

    /// Sets [`padding_mode`](Self::padding_mode).
    #[must_use]
    pub fn padding_mode(self, padding_mode: PaddingMode) -> Self {
        Self { padding_mode, ..self }
    }

    /// Shape of the weight: (out_channels, in_channels / groups, rows, columns). With `groups` 0 (which no
    /// [`Problem`](crate::Problem) accepts) the second number is 0.
    pub fn weight_shape(&self) -> [u32; 4] {
        let per_group = self.in_channels.checked_div(self.groups).unwrap_or(0);
        [self.out_channels, per_group, self.kernel_size[0], self.kernel_size[1]]
    }
}

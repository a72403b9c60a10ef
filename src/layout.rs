//! [`Layout`] and [`WeightLayout`]: the order in which tensors lie in memory. Shapes are always given channels first, as in
//! PyTorch, whatever the order in memory.

use std::fmt;

/// Order in memory of input, output and residual, for one to three spatial axes alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Layout {
    /// (N, C, spatial…): PyTorch's default.
    #[default]
    Nchw,
    /// (N, spatial…, C): PyTorch's `channels_last`, TensorFlow's default.
    Nhwc,
}

impl Layout {
    /// All layouts, in a fixed order.
    pub const ALL: [Self; 2] = [Self::Nchw, Self::Nhwc];

    /// Its name in problem strings.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nchw => "nchw",
            Self::Nhwc => "nhwc",
        }
    }
}

/// Order in memory of the weight as it comes; it is packed on the GPU in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum WeightLayout {
    /// (C_out, C_in / groups, kernel…); of a transposed convolution (C_in, C_out / groups, kernel…): PyTorch, ONNX.
    #[default]
    Oihw,
    /// (C_out, kernel…, C_in / groups); transposed (C_in, kernel…, C_out / groups): TensorFlow Lite, PyTorch's `channels_last`.
    Ohwi,
    /// (kernel…, C_in / groups, C_out); transposed (kernel…, C_out / groups, C_in): TensorFlow.
    Hwio,
}

impl WeightLayout {
    /// All layouts, in a fixed order.
    pub const ALL: [Self; 3] = [Self::Oihw, Self::Ohwi, Self::Hwio];

    /// Its name in problem strings.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Oihw => "oihw",
            Self::Ohwi => "ohwi",
            Self::Hwio => "hwio",
        }
    }

    /// Distances in memory between neighbours along the first axis of the shape, the second one and a tap, for a weight with
    /// so many of each.
    pub(crate) fn steps(self, [first, second, taps]: [u64; 3]) -> [u64; 3] {
        match self {
            Self::Oihw => [second * taps, taps, 1],
            Self::Ohwi => [taps * second, 1, second],
            Self::Hwio => [1, first, second * first],
        }
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for WeightLayout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

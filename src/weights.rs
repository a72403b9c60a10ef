//! [`Weights`]: uploaded once, packed as a kernel wants them.

/// A layout of the weight in GPU memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Packing {
    /// As PyTorch has it: (C_out, C_in / groups, KH, KW).
    Oihw,
    /// Blocks of four output channels of a group, each: K rows of four channels.
    Blocked4,
    /// For each group K rows of its output channels, padded to a multiple of four.
    KMajor,
}

impl Packing {
    /// Its name in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Oihw => "oihw",
            Self::Blocked4 => "blocked4",
            Self::KMajor => "kmajor",
        }
    }
}

/// Numbers on the host, or in a buffer of the caller's.
#[derive(Debug, Clone, Copy)]
pub enum Source<'a> {
    /// On the host.
    Host(&'a [f32]),
    /// In a buffer with usage COPY_SRC.
    Gpu(wgpu::BufferSlice<'a>),
}

impl<'a> From<&'a [f32]> for Source<'a> {
    fn from(data: &'a [f32]) -> Self {
        Self::Host(data)
    }
}

impl<'a> From<wgpu::BufferSlice<'a>> for Source<'a> {
    fn from(slice: wgpu::BufferSlice<'a>) -> Self {
        Self::Gpu(slice)
    }
}

/// What [`Plan::weights`](crate::Plan::weights) takes.
#[derive(Debug, Clone, Copy)]
pub struct WeightData<'a> {
    /// (C_out, C_in / groups, KH, KW).
    pub weight: Source<'a>,
    /// (C_out).
    pub bias: Option<Source<'a>>,
    /// (C_out): PReLU slopes.
    pub slopes: Option<Source<'a>>,
}

impl<'a> WeightData<'a> {
    /// A weight without bias.
    pub fn new(weight: impl Into<Source<'a>>) -> Self {
        Self { weight: weight.into(), bias: None, slopes: None }
    }
    /// Sets the bias.
    #[must_use]
    pub fn bias(self, bias: impl Into<Source<'a>>) -> Self {
        Self { bias: Some(bias.into()), ..self }
    }
    /// Sets the PReLU slopes.
    #[must_use]
    pub fn slopes(self, slopes: impl Into<Source<'a>>) -> Self {
        Self { slopes: Some(slopes.into()), ..self }
    }
}

/// Packed weights on the GPU.
#[derive(Debug, Clone)]
pub struct Weights {}

impl Weights {
    /// The packing that they have.
    pub fn packing(&self) -> Packing {
        Packing::Oihw
    }
}

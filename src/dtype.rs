//! [`DType`]: what the elements of tensors are.

use std::fmt;

pub use half::f16;

/// What input, weight, residual and output consist of. Sums are always formed in float32; bias and slopes are float32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum DType {
    /// 32-bit floats.
    #[default]
    F32,
    /// 16-bit floats (IEEE 754 binary16). On a device with `SHADER_F16` shaders read and write them as they are, on others
    /// two at a time as 32-bit words, with the same results.
    F16,
}

impl DType {
    /// All types, in a fixed order.
    pub const ALL: [Self; 2] = [Self::F32, Self::F16];

    /// Its name in problem strings.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
        }
    }

    /// Bytes of an element.
    pub const fn size(self) -> u64 {
        match self {
            Self::F32 => 4,
            Self::F16 => 2,
        }
    }

    /// The bytes of these numbers as elements of this type, each rounded to the nearest (ties to even).
    pub fn encode(self, numbers: &[f32]) -> std::borrow::Cow<'_, [u8]> {
        match self {
            Self::F32 => bytemuck::cast_slice(numbers).into(),
            Self::F16 => numbers.iter().flat_map(|&number| f16::from_f32(number).to_le_bytes()).collect(),
        }
    }

    /// The numbers that these bytes hold; bytes behind the last whole element are left out.
    pub fn decode(self, bytes: &[u8]) -> Vec<f32> {
        match self {
            Self::F32 => bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
            Self::F16 => bytes.chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32()).collect(),
        }
    }

    /// The nearest number that an element of this type can be.
    pub fn round(self, number: f32) -> f32 {
        match self {
            Self::F32 => number,
            Self::F16 => f16::from_f32(number).to_f32(),
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

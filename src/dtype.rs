//! [`DType`]: what the elements of tensors are.

use std::fmt;

pub use half::f16;

/// What a tensor consists of. Sums of floats are always formed in float32, sums of integers in 32-bit integers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum DType {
    /// 32-bit floats.
    #[default]
    F32,
    /// 16-bit floats (IEEE 754 binary16). On a device with `SHADER_F16` shaders read and write them as they are, on others
    /// two at a time as 32-bit words, with the same results.
    F16,
    /// Signed 8-bit integers; see [`Integers`](crate::Integers).
    I8,
    /// Unsigned 8-bit integers; see [`Integers`](crate::Integers).
    U8,
    /// Signed 32-bit integers: sums of 8-bit ones.
    I32,
}

impl DType {
    /// All types, in a fixed order.
    pub const ALL: [Self; 5] = [Self::F32, Self::F16, Self::I8, Self::U8, Self::I32];

    /// The floats: what [`Problem::with_dtype`](crate::Problem::with_dtype) takes.
    pub const FLOATS: [Self; 2] = [Self::F32, Self::F16];

    /// Its name in problem strings.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::I8 => "i8",
            Self::U8 => "u8",
            Self::I32 => "i32",
        }
    }

    /// Bytes of an element.
    pub const fn size(self) -> u64 {
        match self {
            Self::F32 | Self::I32 => 4,
            Self::F16 => 2,
            Self::I8 | Self::U8 => 1,
        }
    }

    /// Whether elements are floats.
    pub const fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F16)
    }

    /// Smallest and largest whole number of an integer type; `None` of floats.
    pub const fn range(self) -> Option<[i32; 2]> {
        match self {
            Self::F32 | Self::F16 => None,
            Self::I8 => Some([-128, 127]),
            Self::U8 => Some([0, 255]),
            Self::I32 => Some([i32::MIN, i32::MAX]),
        }
    }

    /// The bytes of these numbers as elements of this type, each rounded to the nearest (ties to even); integers saturate, and
    /// take NaN for 0.
    pub fn encode(self, numbers: &[f32]) -> std::borrow::Cow<'_, [u8]> {
        let whole = |number: &f32| number.round_ties_even();
        match self {
            Self::F32 => bytemuck::cast_slice(numbers).into(),
            Self::F16 => numbers.iter().flat_map(|&number| f16::from_f32(number).to_le_bytes()).collect(),
            Self::I8 => numbers.iter().map(|number| (whole(number) as i8).to_le_bytes()[0]).collect(),
            Self::U8 => numbers.iter().map(|number| whole(number) as u8).collect(),
            Self::I32 => numbers.iter().flat_map(|number| (whole(number) as i32).to_le_bytes()).collect(),
        }
    }

    /// The numbers that these bytes hold, to the nearest float32 (of [`DType::I32`] beyond 2^24 that is not the same); bytes
    /// behind the last whole element are left out.
    pub fn decode(self, bytes: &[u8]) -> Vec<f32> {
        match self {
            Self::F32 => bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
            Self::F16 => bytes.chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32()).collect(),
            Self::I8 => bytes.iter().map(|&b| f32::from(i8::from_le_bytes([b]))).collect(),
            Self::U8 => bytes.iter().map(|&b| f32::from(b)).collect(),
            Self::I32 => bytes.chunks_exact(4).map(|b| i32::from_le_bytes([b[0], b[1], b[2], b[3]]) as f32).collect(),
        }
    }

    /// The nearest number that an element of this type can be.
    pub fn round(self, number: f32) -> f32 {
        match self.range() {
            None if self == Self::F16 => f16::from_f32(number).to_f32(),
            None => number,
            Some([low, high]) => number.round_ties_even().clamp(low as f32, high as f32),
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

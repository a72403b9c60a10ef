//! What a kernel may do with the numbers, and what it does.

use std::fmt;
use std::str::FromStr;

use crate::dtype::DType;
use crate::error::{Error, Result};

/// How a kernel arrives at its results; its error bound follows from it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Rounding {
    /// Sums of products in float32. Whole numbers are exact as long as sums of their absolute values stay below 2^24.
    #[default]
    Sums,
    /// Input and weight are rounded to the nearest 16-bit floats (which 16-bit tensors are already; beyond 65504 numbers become
    /// infinite), and their products added up in float32 in an order that the GPU's matrix units choose, as exactly as they do.
    /// Whole numbers up to 2048 are exact as long as sums of the absolute values of their products stay below 2^24.
    Matrix,
    /// Winograd's algorithm in float32, whose transforms round.
    Winograd {
        /// Outputs of a tile along each axis that has three taps: 2, 4 or 6.
        outputs: u32,
    },
}

impl Rounding {
    /// The least that a plan must allow for it, with tensors of this type.
    pub const fn needs(self, dtype: DType) -> Accuracy {
        match (self, dtype) {
            (Self::Sums, _) => Accuracy::Sums,
            // Nothing is rounded but sums.
            (Self::Winograd { .. }, _) | (Self::Matrix, DType::F16) => Accuracy::Winograd,
            (Self::Matrix, _) => Accuracy::Reduced,
        }
    }
}

/// What a plan allows kernels to do with the numbers. Whatever is allowed, every result is within the error bound that
/// [`reference::convolve_as`] states for the [`Rounding`] of the kernel that ran.
///
/// [`reference::convolve_as`]: crate::reference::convolve_as
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Accuracy {
    /// Sums of products in float32 and nothing else: whole numbers come out exact.
    Sums,
    /// Winograd's algorithm too, and sums of 16-bit tensors on matrix units. Its errors are up to ten times those of plain sums
    /// (`benches/README.md` has them measured), and grow with the largest numbers near an output rather than with those that the
    /// output sees. Whole numbers may not come out exact.
    #[default]
    Winograd,
    /// Factors of 32-bit tensors may also be rounded to 16-bit floats, with 11 bits that count, for matrix units: as TF32 in
    /// PyTorch, which has as many bits, but without numbers beyond 65504.
    Reduced,
}

impl Accuracy {
    /// All of them, the strictest first.
    pub const ALL: [Self; 3] = [Self::Sums, Self::Winograd, Self::Reduced];

    /// `sums`, `winograd` or `reduced`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sums => "sums",
            Self::Winograd => "winograd",
            Self::Reduced => "reduced",
        }
    }
}

impl fmt::Display for Accuracy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Accuracy {
    type Err = Error;

    /// # Errors
    /// [`Error::Unknown`] with the names that exist.
    fn from_str(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|accuracy| accuracy.name() == name).ok_or_else(|| Error::Unknown {
            what: "accuracy",
            name: name.into(),
            known: Self::ALL.map(Self::name).join(", "),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for accuracy in Accuracy::ALL {
            assert_eq!(accuracy.to_string().parse(), Ok(accuracy));
        }
        let error = "exact".parse::<Accuracy>().unwrap_err().to_string();
        assert!(error.contains("sums, winograd, reduced"), "{error}");
    }

    #[test]
    fn each_rounding_needs_what_allows_it() {
        let winograd = Rounding::Winograd { outputs: 4 }.needs(DType::F32);
        assert!(Rounding::Sums.needs(DType::F32) < winograd);
        assert_eq!(Accuracy::default(), winograd);
        assert_eq!(Rounding::Matrix.needs(DType::F16), Accuracy::default());
        assert!(Rounding::Matrix.needs(DType::F32) > Accuracy::default());
    }
}

//! What a kernel may do with the numbers, and what it does.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};

/// How a kernel arrives at its results; its error bound follows from it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Rounding {
    /// Sums of products in float32. Whole numbers are exact as long as sums of their absolute values stay below 2^24.
    #[default]
    Sums,
    /// Winograd's algorithm in float32, whose transforms round.
    Winograd {
        /// Outputs of a tile along each axis that has three taps: 2 or 4.
        outputs: u32,
    },
}

impl Rounding {
    /// The least that a plan must allow for it.
    pub const fn needs(self) -> Accuracy {
        match self {
            Self::Sums => Accuracy::Sums,
            Self::Winograd { .. } => Accuracy::Winograd,
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
    /// Winograd's algorithm too. Its errors are a few times those of plain sums (`benches/README.md` has them measured), and
    /// grow with the largest numbers near an output rather than with those that the output sees. Whole numbers may not
    /// come out exact.
    #[default]
    Winograd,
}

impl Accuracy {
    /// All of them, the strictest first.
    pub const ALL: [Self; 2] = [Self::Sums, Self::Winograd];

    /// `sums` or `winograd`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sums => "sums",
            Self::Winograd => "winograd",
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
        assert!(error.contains("sums, winograd"), "{error}");
    }

    #[test]
    fn each_rounding_needs_what_allows_it() {
        assert!(Rounding::Sums.needs() < Rounding::Winograd { outputs: 4 }.needs());
        assert_eq!(Accuracy::default(), Rounding::Winograd { outputs: 2 }.needs());
    }
}

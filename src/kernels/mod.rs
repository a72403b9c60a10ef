//! The kernels, in the order in which selection looks at them.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};

/// A GPU program for convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Kernel {
    /// No workgroup memory; a block of pixels × channels in registers.
    Direct,
    /// Implicit GEMM through workgroup memory.
    Tiled,
}

impl Kernel {
    /// All kernels.
    pub const ALL: &'static [Self] = &[Self::Direct, Self::Tiled];

    /// Its name: the stem of its shader and of its host file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Tiled => "tiled",
        }
    }

    /// Names of its variants; the first is the one that [`shader_source`] shows when none is named.
    pub fn variants(self) -> Vec<&'static str> {
        match self {
            Self::Direct => vec!["c4x8"],
            Self::Tiled => vec!["m64n64k16"],
        }
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Kernel {
    type Err = Error;
    fn from_str(name: &str) -> Result<Self> {
        Self::ALL.iter().copied().find(|kernel| kernel.name() == name).ok_or_else(|| Error::Unknown {
            what: "kernel",
            name: name.into(),
            known: Self::ALL.iter().map(|kernel| kernel.name()).collect::<Vec<_>>().join(", "),
        })
    }
}

/// Whether shaders run with wgpu's bounds checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Checks {
    /// No checks: the host has proved every index in range. Two to three times as fast on some drivers.
    #[default]
    Trusted,
    /// With wgpu's bounds checks and loop bounding.
    Checked,
}

impl Checks {
    /// Both modes.
    pub const ALL: [Self; 2] = [Self::Trusted, Self::Checked];
    /// `trusted` or `checked`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Trusted => "trusted",
            Self::Checked => "checked",
        }
    }
}

/// The WGSL of a kernel for a problem as it is handed to wgpu: a whole module. `part` 0 is the convolution, 1 the program that
/// packs its weights. Needs no adapter.
///
/// # Errors
/// Unknown variant or part, or a refusal.
pub fn shader_source(problem: &crate::Problem, kernel: Kernel, variant: Option<&str>, part: u32) -> Result<String> {
    let _ = (problem, kernel, variant, part);
    Err(Error::Internal("stub".into()))
}

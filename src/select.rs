//! Which kernel and variant runs a problem, and why.

use crate::capabilities::Capabilities;
use crate::error::{Error, Result};
use crate::kernels::{Checks, Kernel};
use crate::problem::Problem;

/// What a caller wants of a plan. The default leaves every choice to the engine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PlanOptions {
    /// Forces a kernel. If it cannot run the problem, planning fails.
    pub kernel: Option<Kernel>,
    /// Forces a variant (of the forced kernel, or of any).
    pub variant: Option<String>,
    /// Forces trusted or checked shaders; default: what the engine was made with.
    pub checks: Option<Checks>,
}

/// One kernel variant as selection saw it.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// The kernel.
    pub kernel: Kernel,
    /// Its variant.
    pub variant: &'static str,
    /// The estimated cost in arbitrary units (lower is better), or the sentence with which the kernel refuses.
    pub verdict: Result<f64, String>,
}

/// A choice, and what else there was.
#[derive(Debug, Clone, PartialEq)]
pub struct Selection {
    /// The kernel chosen.
    pub kernel: Kernel,
    /// The variant chosen.
    pub variant: &'static str,
    /// Every candidate, best first, refusals last.
    pub candidates: Vec<Candidate>,
}

/// Chooses a kernel and a variant; needs no GPU.
///
/// # Errors
/// [`Error::Refused`], [`Error::NoKernel`], [`Error::Unknown`].
pub fn select(problem: &Problem, capabilities: &Capabilities, options: &PlanOptions) -> Result<Selection> {
    let _ = (problem, capabilities, options);
    Err(Error::Internal("stub".into()))
}

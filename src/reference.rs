//! The CPU reference: float64, written from the formula, sharing no index code with any kernel.

use crate::error::{Error, Result};
use crate::problem::Problem;
use crate::tensors::Tensors;

/// The exact-enough result of a problem, and how far a float32 kernel may be from it.
#[derive(Debug, Clone, PartialEq)]
pub struct Reference {
    /// The outputs, (N, C_out, OH, OW).
    pub values: Vec<f64>,
    /// The hard bound on a kernel's absolute error, for each output.
    pub bounds: Vec<f64>,
}

/// How a result compares with the reference.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// Number of outputs compared.
    pub count: usize,
    /// Number of outputs outside their bound (NaN counts).
    pub failures: usize,
    /// Largest absolute error (infinite if an output is not finite where the reference is).
    pub max_error: f64,
    /// Largest error in units of its bound: at most 1 if all is well.
    pub worst_ratio: f64,
    /// Index of the output with the worst ratio, if there are outputs.
    pub worst_index: Option<usize>,
    /// Reference, actual value and bound there.
    pub worst: [f64; 3],
}

/// Computes a problem in float64 on all processors.
///
/// # Errors
/// What [`Tensors::check`] says.
pub fn conv2d(problem: &Problem, tensors: &Tensors<'_>) -> Result<Reference> {
    let _ = (problem, tensors);
    Err(Error::Internal("stub".into()))
}

impl Reference {
    /// Compares a result with the reference.
    ///
    /// # Errors
    /// [`Error::Length`] if the count differs.
    pub fn compare(&self, actual: &[f32]) -> Result<Comparison> {
        let _ = actual;
        Err(Error::Internal("stub".into()))
    }
}

//! The CPU reference: float64, written from the formulas, sharing no index code with any kernel.
//!
//! There are two of each kind, written apart from each other. [`convolve`] computes all outputs on all processors: a
//! convolution in blocks of output pixels times output channels, a transposed one by scattering each input over the outputs, a
//! deformable one place by place.
//! [`convolve_at`] computes chosen outputs in the plainest loops there are, gathering; it checks the first one in tests, and
//! problems too large for it by samples.

mod blocks;
mod deform;
mod fold;
mod integers;
mod planar;
mod scatter;
mod single;
mod winograd;

use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use crate::accuracy::Rounding;
use crate::dtype::DType;
use crate::epilogue::Activation;
use crate::error::{Error, Result};
use crate::parameters::Op;
use crate::problem::Problem;
use crate::tensors::{Tensors, check_length};
use blocks::Sweep;
use deform::Deform;
use planar::Planar;
use scatter::Scatter;
use winograd::Tiles;

/// The exact-enough result of a problem, and how far a float32 kernel may be from it.
///
/// The bound of an output with K products is `2^-24 · S · (K + 4) + K · 2^-126`, where S is the sum of the absolute
/// values of all that is added up (products, bias, residual); where K is 0, one `2^-126` remains, since a bias may be
/// flushed to zero too. An activation multiplies it by its Lipschitz constant, adds its own
/// [error](crate::Activation::error_bound) and one rounding of the result. The samples of a deformable convolution have an error
/// of their own, since their places are float32 too: S counts it, and it is added, times the weight. 16-bit outputs add half a
/// step of theirs; the reference rounds 16-bit tensors first, as uploading does. On matrix units ([`Rounding::Matrix`]) input and
/// weight are 16-bit floats, and the bound of the sums is four times as wide: units align all addends of a step to the largest and
/// cut off what lies below (Fasi et al. 2021, "Numerical behavior of NVIDIA tensor cores"), which is at most 2^-23 of S for each of
/// the K products and, once in a step of at least four, for the sum so far. Integers are exact, but that an 8-bit output
/// may be a neighbour where float32 does not tell on which side of a half its value lies.
#[derive(Debug, Clone, PartialEq)]
pub struct Reference {
    /// The outputs, (N, C_out, spatial…) in the problem's layout; those of [`convolve_at`] in the order of its indices.
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
    /// Reference, actual value and bound there; zeros if there are no outputs.
    pub worst: [f64; 3],
}

/// Computes a problem in float64 on all processors.
///
/// The result does not depend on the number of processors, to the bit.
///
/// # Errors
/// What [`Tensors::check`] says, and [`Error::TooLarge`] if there is no memory for the result (16 bytes per output).
pub fn convolve(problem: &Problem, tensors: &Tensors<'_>) -> Result<Reference> {
    convolve_as(problem, tensors, Rounding::Sums)
}

/// Starting threads costs more than a small problem. Where there are no threads (browsers), parallelism is unknown.
fn threads_for(problem: &Problem) -> usize {
    let worth_it = problem.macs() > 1 << 20;
    if worth_it { thread::available_parallelism().map_or(1, NonZero::get) } else { 1 }
}

/// As [`convolve`], with the error bounds of a kernel that rounds like this ([`Plan::rounding`]).
///
/// The bound of Winograd's algorithm follows from the absolute values of what its transforms make of input and weight, so that
/// one large number counts for all outputs of its tile; `src/reference/winograd.rs` derives it.
///
/// # Errors
/// As [`convolve`], and [`Error::Parameter`] for a problem that is not computed like this.
///
/// [`Plan::rounding`]: crate::Plan::rounding
pub fn convolve_as(problem: &Problem, tensors: &Tensors<'_>, rounding: Rounding) -> Result<Reference> {
    let plain = convolve_on(threads_for(problem), problem, tensors, rounding)?;
    let Rounding::Winograd { outputs } = rounding else { return Ok(plain) };
    let planar = Planar::new(problem, tensors, rounding);
    let (planar_problem, tensors) = (&planar.problem(), &planar.tensors());
    let tiles = Tiles::new(planar_problem, tensors, outputs)?;
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let bounds = Reference { values: allocate(problem)?, bounds: allocate(problem)? };
    let bounds = planar::in_order_of(problem, share(threads, &tiles, bounds)).bounds;
    Ok(Reference { values: plain.values, bounds })
}

fn convolve_on(threads: usize, problem: &Problem, tensors: &Tensors<'_>, rounding: Rounding) -> Result<Reference> {
    tensors.check(problem)?;
    let result = Reference { values: allocate(problem)?, bounds: allocate(problem)? };
    let planar = Planar::new(problem, tensors, rounding);
    let terms = terms(problem, rounding);
    let (planar_problem, tensors) = (&planar.problem(), &planar.tensors());
    let result = match (problem.integers(), problem.op()) {
        (Some(integers), _) => integers::Whole::new(planar_problem, tensors, integers).compute(threads, result),
        (None, Op::Conv) => share(threads, &Sweep::new(planar_problem, tensors, terms), result),
        (None, Op::ConvTranspose) => share(threads, &Scatter::new(planar_problem, tensors, terms), result),
        (None, Op::DeformConv) => share(threads, &Deform::new(planar_problem, tensors), result),
    };
    Ok(planar::in_order_of(problem, result))
}

/// How far the nearest element of this type may be from a number of this magnitude; infinitely far from one that is too large.
fn rounding(dtype: DType, magnitude: f64) -> f64 {
    // Half a step of the numbers of this size, or of the smallest ones.
    const HALF_UNIT: f64 = 1.0 / (1 << 11) as f64;
    const SMALLEST: f64 = 1.0 / (1 << 25) as f64;
    match dtype {
        DType::F32 => 0.0,
        DType::F16 if magnitude >= 65520.0 => f64::INFINITY,
        DType::F16 => HALF_UNIT * magnitude + SMALLEST,
        // These have a rule of their own.
        DType::I8 | DType::U8 | DType::I32 => 0.0,
    }
}

/// Work that falls into tasks, each of which fills some outputs.
trait Tasks: Sync {
    /// What a thread computes a task in.
    type Block: Default;
    fn count(&self) -> usize;
    fn compute(&self, task: usize, block: &mut Self::Block);
    /// Copies a computed task to its places.
    fn store(&self, task: usize, block: &Self::Block, result: &mut Reference);
}

fn share<T: Tasks>(threads: usize, tasks: &T, result: Reference) -> Reference {
    let result = Mutex::new(result);
    let next = AtomicUsize::new(0);
    let work = || {
        let mut block = T::Block::default();
        loop {
            let task = next.fetch_add(1, Ordering::Relaxed);
            if task >= tasks.count() {
                break;
            }
            tasks.compute(task, &mut block);
            // Copying a block out is short compared with computing it. No holder of the lock can panic.
            let mut result = result.lock().unwrap_or_else(PoisonError::into_inner);
            tasks.store(task, &block, &mut result);
        }
    };
    thread::scope(|scope| {
        for _ in 1..threads.min(tasks.count()) {
            // A thread that cannot be had is not needed: the others, at least this one, do its work.
            if thread::Builder::new().spawn_scoped(scope, work).is_err() {
                break;
            }
        }
        work();
    });
    result.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// Zeros for all outputs, or an error where they do not fit in memory.
fn allocate(problem: &Problem) -> Result<Vec<f64>> {
    let error = || Error::TooLarge {
        what: "the result of the reference",
        factors: format!("{} outputs, 16 bytes each", problem.output_shape()),
        limit: "the memory that is free".into(),
    };
    let len = usize::try_from(problem.output_len()).map_err(|_| error())?;
    let mut zeros = Vec::new();
    zeros.try_reserve_exact(len).map_err(|_| error())?;
    zeros.resize(len, 0.0);
    Ok(zeros)
}

/// A rounding of 1, and the smallest number that is not flushed to zero.
const UNIT: f64 = f32::EPSILON as f64 / 2.0;
const FLUSHED: f64 = f32::MIN_POSITIVE as f64;

/// How many roundings lie between the products and the sum, of 2^-24 each.
fn terms(problem: &Problem, rounding: Rounding) -> f64 {
    let products = problem.sum_length() as f64;
    match rounding {
        // Four times what sums have, with the four further roundings that are counted there.
        Rounding::Matrix => 4.0 * products + 12.0,
        Rounding::Sums | Rounding::Winograd { .. } => products,
    }
}

/// The value and bound of one output (at `index`, of channel `channel`), from its sum of products and the sum of their
/// absolute values, where so many roundings lie between the products and the sum.
fn finish(
    problem: &Problem,
    tensors: &Tensors<'_>,
    channel: usize,
    index: usize,
    sums: [f64; 2],
    terms: f64,
) -> (f64, f64) {
    finish_terms(problem, tensors, channel, index, [sums[0], sums[1], 0.0], terms)
}

/// As [`finish`] of plain sums, with the error that the factors have before they are multiplied, as the third sum.
fn finish_uncertain(
    problem: &Problem,
    tensors: &Tensors<'_>,
    channel: usize,
    index: usize,
    sums: [f64; 3],
) -> (f64, f64) {
    finish_terms(problem, tensors, channel, index, sums, problem.sum_length() as f64)
}

/// As [`finish_uncertain`], where so many roundings lie between the products and the sum.
fn finish_terms(
    problem: &Problem,
    tensors: &Tensors<'_>,
    channel: usize,
    index: usize,
    [mut sum, mut magnitude, uncertain]: [f64; 3],
    terms: f64,
) -> (f64, f64) {
    let at = |tensor: Option<&[f32]>, position: usize| tensor.map_or(0.0, |numbers| f64::from(numbers[position]));
    for addend in [at(tensors.bias, channel), at(tensors.residual, index)] {
        sum += addend;
        magnitude += addend.abs();
    }
    let bound = UNIT * magnitude * (terms + 4.0) + terms.max(1.0) * FLUSHED + uncertain;
    let activation = problem.epilogue().activation;
    let (value, bound) = if activation == Activation::Identity {
        (sum, bound)
    } else {
        let slope = match activation {
            Activation::PreluEach => at(tensors.slopes, index % tensors.slopes.map_or(1, <[f32]>::len).max(1)),
            _ => at(tensors.slopes, channel),
        };
        let value = activation.apply_f64(sum, slope);
        let own = activation.error_bound(sum, slope);
        (value, activation.lipschitz(slope) * bound + own + UNIT * value.abs())
    };
    (value, bound + rounding(problem.dtype(), value.abs() + bound))
}

/// Sizes and counts are known to fit here: each divides or counts a slice that exists.
fn size(number: u32) -> usize {
    number as usize
}

/// Computes only the outputs at `indices` (positions in the output's memory, in any order), one after the other.
///
/// For checking by samples what is too large to be checked whole.
///
/// # Errors
/// What [`Tensors::check`] says, and [`Error::Parameter`] for an index beyond the outputs.
pub fn convolve_at(problem: &Problem, tensors: &Tensors<'_>, indices: &[u64]) -> Result<Reference> {
    convolve_at_as(problem, tensors, indices, Rounding::Sums)
}

/// As [`convolve_at`], with the error bounds of a kernel that rounds like this.
///
/// # Errors
/// As [`convolve_at`] and [`convolve_as`].
pub fn convolve_at_as(
    problem: &Problem,
    tensors: &Tensors<'_>,
    indices: &[u64],
    rounding: Rounding,
) -> Result<Reference> {
    tensors.check(problem)?;
    let planar = Planar::new(problem, tensors, rounding);
    let (planar_problem, tensors) = (&planar.problem(), &planar.tensors());
    let terms = terms(problem, rounding);
    let tiles = match rounding {
        Rounding::Sums | Rounding::Matrix => None,
        Rounding::Winograd { outputs } => Some(Tiles::new(planar_problem, tensors, outputs)?),
    };
    let mut result = Reference { values: Vec::new(), bounds: Vec::new() };
    for &index in indices {
        if index >= problem.output_len() {
            return Err(Error::Parameter {
                parameter: "output index",
                actual: index.to_string(),
                required: format!("below the number of outputs, {}", problem.output_len()),
            });
        }
        let place = planar::index(problem, index);
        let (value, bound) = match problem.integers() {
            Some(integers) => integers::output(planar_problem, tensors, integers, place),
            None => single::output(planar_problem, tensors, place, terms),
        };
        result.values.push(value);
        result.bounds.push(tiles.as_ref().map_or(bound, |tiles| tiles.bound(place)));
    }
    Ok(result)
}

impl Comparison {
    /// Whether every output is within its bound.
    pub fn passed(&self) -> bool {
        self.failures == 0
    }
}

impl Reference {
    /// Compares a result (numbers of any type that float64 holds exactly) with the reference.
    ///
    /// An output that is not finite where the reference is counts as a failure with an infinite error. Where the
    /// reference itself is not finite, only the same infinity (or NaN for NaN) passes.
    ///
    /// # Errors
    /// [`Error::Length`] if the count differs.
    pub fn compare<T: Copy + Into<f64>>(&self, actual: &[T]) -> Result<Comparison> {
        check_length("result", self.values.len() as u64, actual.len() as u64)?;
        let mut comparison = Comparison {
            count: actual.len(),
            failures: 0,
            max_error: 0.0,
            worst_ratio: 0.0,
            worst_index: None,
            worst: [0.0; 3],
        };
        for (index, ((&value, &bound), &actual)) in self.values.iter().zip(&self.bounds).zip(actual).enumerate() {
            let actual: f64 = actual.into();
            let error = error_of(value, actual);
            let ratio = match error / bound {
                _ if error == 0.0 => 0.0,
                // An infinite error over an infinite bound, or no bound at all.
                ratio if ratio.is_nan() => f64::INFINITY,
                ratio => ratio,
            };
            comparison.failures += usize::from(ratio > 1.0);
            comparison.max_error = comparison.max_error.max(error);
            if comparison.worst_index.is_none() || ratio > comparison.worst_ratio {
                comparison.worst_ratio = ratio;
                comparison.worst_index = Some(index);
                comparison.worst = [value, actual, bound];
            }
        }
        Ok(comparison)
    }
}

fn error_of(value: f64, actual: f64) -> f64 {
    if value == actual || (value.is_nan() && actual.is_nan()) {
        return 0.0;
    }
    let error = (value - actual).abs();
    if error.is_finite() { error } else { f64::INFINITY }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_number_of_threads_gives_the_same_bits() {
        // Blocks of pixels and channels with a rest, in groups, over a batch; no sum of it is exact.
        for text in [
            "n2c6h17w23o22k3p1g2:reflect+residual+gelu",
            "n2c6z5h7w9o22k3p1g2:circular+residual+gelu",
            "n2c6h9w11o22k3s2p1g2:transposed=1+residual+gelu",
            "n2c6h9w11o22k3s2p1g2:deform:offset_groups=3:mask+residual+gelu",
        ] {
            let problem: Problem = text.parse().unwrap();
            let numbers = |len: u64, step: f32| -> Vec<f32> { (0..len).map(|i| (i as f32 * step).sin()).collect() };
            let (input, weight) = (numbers(problem.input_len(), 0.7), numbers(problem.weight_len(), 1.3));
            let (bias, residual) = (numbers(22, 0.3), numbers(problem.output_len(), 0.1));
            let (offset, mask) = (numbers(problem.offset_len(), 0.2), numbers(problem.mask_len(), 0.4));
            let mut tensors = Tensors::new(&input, &weight).bias(&bias).residual(&residual);
            tensors.offset = problem.offset_shape().map(|_| &offset[..]);
            tensors.mask = problem.mask_shape().map(|_| &mask[..]);
            let serial = convolve_on(1, &problem, &tensors, Rounding::Sums).unwrap();
            assert!(serial.values.iter().all(|value| *value != 0.0), "every block was stored");
            for threads in [0, 2, 3, 16, 1000] {
                let parallel = convolve_on(threads, &problem, &tensors, Rounding::Sums).unwrap();
                assert_eq!(parallel, serial, "{text}, {threads} threads");
            }
        }
    }
}

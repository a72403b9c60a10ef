//! The CPU reference: float64, written from the formula, sharing no index code with any kernel.
//!
//! There are two of them, written apart from each other. [`conv2d`] computes all outputs: blocks of output pixels times
//! output channels, shared out to all processors. [`conv2d_at`] computes chosen outputs in the plainest loop there is;
//! it checks the first one in tests, and problems too large for it by samples.

use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use crate::conv::PaddingMode;
use crate::error::{Error, Result};
use crate::problem::{Problem, shape_string};
use crate::tensors::{Tensors, check_length};

/// The exact-enough result of a problem, and how far a float32 kernel may be from it.
///
/// The bound of an output with K products is `2^-24 · S · (K + 4) + K · 2^-126`, where S is the sum of the absolute
/// values of all that is added up (products, bias, residual); where K is 0, one `2^-126` remains, since a bias may be
/// flushed to zero too. An activation multiplies it by its Lipschitz constant, adds its own
/// [error](crate::Activation::error_bound) and one rounding of the result.
#[derive(Debug, Clone, PartialEq)]
pub struct Reference {
    /// The outputs, (N, C_out, OH, OW); those of [`conv2d_at`] in the order of its indices.
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
pub fn conv2d(problem: &Problem, tensors: &Tensors<'_>) -> Result<Reference> {
    // Starting threads costs more than a small problem. Where there are no threads (browsers), parallelism is unknown.
    let worth_it = problem.macs() > 1 << 20;
    let threads = if worth_it { thread::available_parallelism().map_or(1, NonZero::get) } else { 1 };
    conv2d_on(threads, problem, tensors)
}

fn conv2d_on(threads: usize, problem: &Problem, tensors: &Tensors<'_>) -> Result<Reference> {
    tensors.check(problem)?;
    let result = Mutex::new(Reference { values: allocate(problem)?, bounds: allocate(problem)? });
    let sweep = Sweep::new(problem, tensors);
    let next = AtomicUsize::new(0);
    let work = || {
        let mut block = Block::default();
        loop {
            let task = next.fetch_add(1, Ordering::Relaxed);
            if task >= sweep.tasks {
                break;
            }
            let place = sweep.compute(task, &mut block);
            // Copying a block out is short compared with computing it. No holder of the lock can panic.
            let mut result = result.lock().unwrap_or_else(PoisonError::into_inner);
            sweep.store(place, &block, &mut result);
        }
    };
    thread::scope(|scope| {
        for _ in 1..threads.min(sweep.tasks) {
            // A thread that cannot be had is not needed: the others, at least this one, do its work.
            if thread::Builder::new().spawn_scoped(scope, work).is_err() {
                break;
            }
        }
        work();
    });
    Ok(result.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// Zeros for all outputs, or an error where they do not fit in memory.
fn allocate(problem: &Problem) -> Result<Vec<f64>> {
    let error = || Error::TooLarge {
        what: "the result of the reference",
        factors: format!("{} outputs, 16 bytes each", shape_string(&problem.output_shape())),
        limit: "the memory that is free".into(),
    };
    let len = usize::try_from(problem.output_len()).map_err(|_| error())?;
    let mut zeros = Vec::new();
    zeros.try_reserve_exact(len).map_err(|_| error())?;
    zeros.resize(len, 0.0);
    Ok(zeros)
}

/// The value and bound of one output (at `index`, of channel `channel`), from its sum of products and the sum of their
/// absolute values.
fn finish(problem: &Problem, tensors: &Tensors<'_>, channel: usize, index: usize, sums: [f64; 2]) -> (f64, f64) {
    const UNIT: f64 = f32::EPSILON as f64 / 2.0;
    const FLUSHED: f64 = f32::MIN_POSITIVE as f64;
    let [mut sum, mut magnitude] = sums;
    let at = |tensor: Option<&[f32]>, position: usize| tensor.map_or(0.0, |numbers| f64::from(numbers[position]));
    for addend in [at(tensors.bias, channel), at(tensors.residual, index)] {
        sum += addend;
        magnitude += addend.abs();
    }
    let terms = problem.sum_length() as f64;
    let bound = UNIT * magnitude * (terms + 4.0) + terms.max(1.0) * FLUSHED;
    let activation = problem.epilogue().activation;
    if activation == crate::Activation::Identity {
        return (sum, bound);
    }
    let slope = at(tensors.slopes, channel);
    let value = activation.apply_f64(sum, slope);
    let own = activation.error_bound(sum, slope);
    (value, activation.lipschitz(slope) * bound + own + UNIT * value.abs())
}

/// Output channels of one block; each uses every input value that is fetched for the block.
const BLOCK_CHANNELS: usize = 8;
/// Output pixels of one block. A block (both sums) takes 16 KiB, which stays in the nearest cache.
const BLOCK_PIXELS: usize = 128;

/// The two sums of each output of a block, and the input that one tap of the kernel sees from all its pixels.
struct Block {
    seen: [f64; BLOCK_PIXELS],
    sums: [[f64; BLOCK_PIXELS]; BLOCK_CHANNELS],
    magnitudes: [[f64; BLOCK_PIXELS]; BLOCK_CHANNELS],
}

impl Default for Block {
    fn default() -> Self {
        let zeros = [[0.0; BLOCK_PIXELS]; BLOCK_CHANNELS];
        Self { seen: [0.0; BLOCK_PIXELS], sums: zeros, magnitudes: zeros }
    }
}

/// Which outputs a block holds: some channels (of one group), some pixels (of the plane, row by row) of one image.
#[derive(Clone, Copy)]
struct Place {
    image: usize,
    group: usize,
    first_channel: usize,
    channels: usize,
    first_pixel: usize,
    pixels: usize,
}

/// All outputs, cut into blocks.
struct Sweep<'a> {
    problem: &'a Problem,
    tensors: &'a Tensors<'a>,
    tasks: usize,
    plane: usize,
    pixel_blocks: usize,
    channel_blocks: usize,
}

/// Sizes and counts are known to fit here: each divides or counts a slice that exists.
fn size(number: u32) -> usize {
    number as usize
}

impl<'a> Sweep<'a> {
    fn new(problem: &'a Problem, tensors: &'a Tensors<'a>) -> Self {
        let [images, _, rows, columns] = problem.output_shape().map(size);
        let groups = size(problem.conv().groups);
        let channel_blocks = size(problem.out_channels_per_group()).div_ceil(BLOCK_CHANNELS);
        // Without images nothing below is ever used, and a plane need not fit the address space.
        let plane = if images == 0 { 0 } else { rows * columns };
        let pixel_blocks = plane.div_ceil(BLOCK_PIXELS);
        let tasks = if images == 0 { 0 } else { images * groups * channel_blocks * pixel_blocks };
        Self { problem, tensors, tasks, plane, pixel_blocks, channel_blocks }
    }

    fn place(&self, task: usize) -> Place {
        let per_group = size(self.problem.out_channels_per_group());
        let groups = size(self.problem.conv().groups);
        let (rest, pixel_block) = (task / self.pixel_blocks, task % self.pixel_blocks);
        let (rest, channel_block) = (rest / self.channel_blocks, rest % self.channel_blocks);
        let (image, group) = (rest / groups, rest % groups);
        let (first_pixel, in_group) = (pixel_block * BLOCK_PIXELS, channel_block * BLOCK_CHANNELS);
        Place {
            image,
            group,
            first_channel: group * per_group + in_group,
            channels: BLOCK_CHANNELS.min(per_group - in_group),
            first_pixel,
            pixels: BLOCK_PIXELS.min(self.plane - first_pixel),
        }
    }

    /// Adds up all products of one block, one tap of the kernel after the other, and turns the two sums of each output
    /// into its value and bound.
    fn compute(&self, task: usize, block: &mut Block) -> Place {
        let place = self.place(task);
        let [_, in_channels, height, width] = self.problem.input_shape().map(size);
        let [_, per_group, kernel_rows, kernel_columns] = self.problem.weight_shape();
        let weights_per_channel = size(per_group) * size(kernel_rows) * size(kernel_columns);
        *block = Block::default();
        let seen = &mut block.seen[..place.pixels];
        let mut tap = 0;
        for channel in 0..size(per_group) {
            let plane_index = place.image * in_channels + place.group * size(per_group) + channel;
            let plane = &self.tensors.input[plane_index * height * width..][..height * width];
            for row in 0..kernel_rows {
                for column in 0..kernel_columns {
                    self.look(plane, [row, column], place.first_pixel, seen);
                    for local in 0..place.channels {
                        let weight = self.tensors.weight[(place.first_channel + local) * weights_per_channel + tap];
                        add_products(seen, weight, &mut block.sums[local], &mut block.magnitudes[local]);
                    }
                    tap += 1;
                }
            }
        }
        for local in 0..place.channels {
            let (channel, first) = (place.first_channel + local, self.first_output(place, local));
            let both = block.sums[local].iter_mut().zip(&mut block.magnitudes[local]).take(place.pixels);
            for (pixel, (sum, magnitude)) in both.enumerate() {
                (*sum, *magnitude) = finish(self.problem, self.tensors, channel, first + pixel, [*sum, *magnitude]);
            }
        }
        place
    }

    /// What one tap of the kernel sees from each pixel of a block, padding included.
    fn look(&self, plane: &[f32], tap: [u32; 2], first_pixel: usize, seen: &mut [f64]) {
        let conv = self.problem.conv();
        let [_, _, height, width] = self.problem.input_shape();
        let columns = size(self.problem.output_shape()[3]);
        let padding = self.problem.padding();
        let offset = [
            i64::from(tap[0]) * i64::from(conv.dilation[0]) - i64::from(padding.top),
            i64::from(tap[1]) * i64::from(conv.dilation[1]) - i64::from(padding.left),
        ];
        let [row_stride, column_stride] = conv.stride.map(i64::from);
        let (mut y, mut x) = (first_pixel / columns, first_pixel % columns);
        let mut rest = seen;
        while !rest.is_empty() {
            let (part, after) = rest.split_at_mut(rest.len().min(columns - x));
            match fold(y as i64 * row_stride + offset[0], height, conv.padding_mode) {
                None => part.fill(0.0),
                Some(row) => {
                    let row = &plane[row * size(width)..][..size(width)];
                    look_along(row, x as i64 * column_stride + offset[1], conv.stride[1], conv.padding_mode, part);
                }
            }
            (rest, x, y) = (after, 0, y + 1);
        }
    }

    /// Copies a finished block to its places.
    fn store(&self, place: Place, block: &Block, result: &mut Reference) {
        for local in 0..place.channels {
            let outputs = self.first_output(place, local)..self.first_output(place, local) + place.pixels;
            result.values[outputs.clone()].copy_from_slice(&block.sums[local][..place.pixels]);
            result.bounds[outputs].copy_from_slice(&block.magnitudes[local][..place.pixels]);
        }
    }

    /// Index of a block's first output in one of its channels.
    fn first_output(&self, place: Place, local: usize) -> usize {
        let out_channels = size(self.problem.conv().out_channels);
        (place.image * out_channels + place.first_channel + local) * self.plane + place.first_pixel
    }
}

/// The innermost loop. A product of two f32 is exact in f64.
fn add_products(seen: &[f64], weight: f32, sums: &mut [f64], magnitudes: &mut [f64]) {
    let weight = f64::from(weight);
    for ((x, sum), magnitude) in seen.iter().zip(sums).zip(magnitudes) {
        let product = x * weight;
        *sum += product;
        *magnitude += product.abs();
    }
}

/// Values of an input row at `first`, `first + step`, …: a plain copy inside of the image, folded back outside of it.
fn look_along(row: &[f32], first: i64, step: u32, mode: PaddingMode, seen: &mut [f64]) {
    let width = row.len() as u32;
    let stride = i64::from(step);
    // How many steps it takes to reach `limit`, if so many are made.
    let reach = |limit: i64| {
        let distance = (limit - first).max(0).unsigned_abs();
        distance.div_ceil(u64::from(step)).min(seen.len() as u64) as usize
    };
    let (start, end) = (reach(0), reach(i64::from(width)));
    if start < end {
        let inside = &row[(first + start as i64 * stride) as usize..];
        if step == 1 {
            seen[start..end].iter_mut().zip(inside).for_each(|(to, from)| *to = f64::from(*from));
        } else {
            let every = inside.iter().step_by(size(step));
            seen[start..end].iter_mut().zip(every).for_each(|(to, from)| *to = f64::from(*from));
        }
    }
    for at in (0..start).chain(end..seen.len()) {
        let column = fold(first + at as i64 * stride, width, mode);
        seen[at] = column.map_or(0.0, |column| f64::from(row[column]));
    }
}

/// The element of an axis of `size` elements that supplies position `at`; none where that is a zero of the padding.
fn fold(at: i64, size: u32, mode: PaddingMode) -> Option<usize> {
    let last = i64::from(size) - 1;
    let inside = match mode {
        _ if (0..=last).contains(&at) => at,
        PaddingMode::Zeros => return None,
        PaddingMode::Reflect if at < 0 => -at,
        PaddingMode::Reflect => 2 * last - at,
        PaddingMode::Replicate => at.clamp(0, last),
        PaddingMode::Circular => at.rem_euclid(last + 1),
    };
    usize::try_from(inside).ok()
}

/// Computes only the outputs at `indices` (positions in the row-major output, in any order), one after the other.
///
/// For checking by samples what is too large to be checked whole.
///
/// # Errors
/// What [`Tensors::check`] says, and [`Error::Parameter`] for an index beyond the outputs.
pub fn conv2d_at(problem: &Problem, tensors: &Tensors<'_>, indices: &[u64]) -> Result<Reference> {
    tensors.check(problem)?;
    let mut result = Reference { values: Vec::new(), bounds: Vec::new() };
    for &index in indices {
        if index >= problem.output_len() {
            return Err(Error::Parameter {
                parameter: "output index",
                actual: index.to_string(),
                required: format!("below the number of outputs, {}", problem.output_len()),
            });
        }
        let (value, bound) = one_output(problem, tensors, index);
        result.values.push(value);
        result.bounds.push(bound);
    }
    Ok(result)
}

/// The formula of the convolution, read from left to right.
fn one_output(problem: &Problem, tensors: &Tensors<'_>, index: u64) -> (f64, f64) {
    let conv = problem.conv();
    let [_, in_channels, height, width] = problem.input_shape().map(u64::from);
    let [_, per_group, kernel_rows, kernel_columns] = problem.weight_shape().map(u64::from);
    let [_, out_channels, rows, columns] = problem.output_shape().map(u64::from);
    let x = index % columns;
    let y = index / columns % rows;
    let o = index / columns / rows % out_channels;
    let n = index / columns / rows / out_channels;
    let group = o / u64::from(problem.out_channels_per_group());
    let [mut sum, mut magnitude] = [0.0, 0.0];
    for c in 0..per_group {
        for i in 0..kernel_rows {
            let down = y * u64::from(conv.stride[0]) + i * u64::from(conv.dilation[0]);
            let Some(row) = source(down, problem.padding().top, height, conv.padding_mode) else { continue };
            for j in 0..kernel_columns {
                let along = x * u64::from(conv.stride[1]) + j * u64::from(conv.dilation[1]);
                let Some(column) = source(along, problem.padding().left, width, conv.padding_mode) else { continue };
                let from = ((n * in_channels + group * per_group + c) * height + row) * width + column;
                let by = ((o * per_group + c) * kernel_rows + i) * kernel_columns + j;
                let product = f64::from(tensors.input[from as usize]) * f64::from(tensors.weight[by as usize]);
                sum += product;
                magnitude += product.abs();
            }
        }
    }
    finish(problem, tensors, o as usize, index as usize, [sum, magnitude])
}

/// The element that position `at` of the padded axis shows; none for zero padding. All in counts from the far left,
/// never negative, unlike [`fold`].
fn source(at: u64, before: u32, size: u64, mode: PaddingMode) -> Option<u64> {
    let before = u64::from(before);
    let missing = before.saturating_sub(at);
    let place = at.saturating_sub(before);
    let beyond = (place + 1).saturating_sub(size);
    if missing == 0 && beyond == 0 {
        return Some(place);
    }
    match mode {
        PaddingMode::Zeros => None,
        PaddingMode::Reflect if missing > 0 => Some(missing),
        PaddingMode::Reflect => Some(size - 1 - beyond),
        PaddingMode::Replicate => Some(if missing > 0 { 0 } else { size - 1 }),
        PaddingMode::Circular => Some((at + size - before) % size),
    }
}

impl Comparison {
    /// Whether every output is within its bound.
    pub fn passed(&self) -> bool {
        self.failures == 0
    }
}

impl Reference {
    /// Compares a result with the reference.
    ///
    /// An output that is not finite where the reference is counts as a failure with an infinite error. Where the
    /// reference itself is not finite, only the same infinity (or NaN for NaN) passes.
    ///
    /// # Errors
    /// [`Error::Length`] if the count differs.
    pub fn compare(&self, actual: &[f32]) -> Result<Comparison> {
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
            let actual = f64::from(actual);
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
        let problem: Problem = "n2c6h17w23o22k3p1g2:reflect+residual+gelu".parse().unwrap();
        let numbers = |len: u64, step: f32| -> Vec<f32> { (0..len).map(|i| (i as f32 * step).sin()).collect() };
        let (input, weight) = (numbers(problem.input_len(), 0.7), numbers(problem.weight_len(), 1.3));
        let (bias, residual) = (numbers(22, 0.3), numbers(problem.output_len(), 0.1));
        let tensors = Tensors::new(&input, &weight).bias(&bias).residual(&residual);
        let serial = conv2d_on(1, &problem, &tensors).unwrap();
        assert!(serial.values.iter().all(|value| *value != 0.0), "every block was stored");
        for threads in [0, 2, 3, 16, 1000] {
            assert_eq!(conv2d_on(threads, &problem, &tensors).unwrap(), serial, "{threads} threads");
        }
    }

    #[test]
    fn both_padding_rules_agree() {
        for mode in PaddingMode::ALL {
            for width in 1..=5 {
                let most = match mode {
                    PaddingMode::Reflect => width - 1,
                    PaddingMode::Circular => width,
                    _ => 12,
                };
                for (before, at) in (0..=most).flat_map(|before| (0..before + width + most).map(move |at| (before, at)))
                {
                    let expected = fold(i64::from(at) - i64::from(before), width, mode);
                    let found = source(u64::from(at), before, u64::from(width), mode);
                    assert_eq!(found, expected.map(|place| place as u64), "{mode} {width} {before} {at}");
                }
            }
        }
    }
}

//! All outputs of a deformable convolution: every place is sampled once, for all output channels.
//!
//! A sample is the input, with zeros around it, interpolated between the four elements around a place. Shaders do that in
//! float32, so that a sample has an error of its own before it is multiplied by a weight. Two things make it:
//!
//! - The place. Offset and grid are added with one rounding, and a grid beyond 2^24 is rounded before. Interpolation is
//!   continuous, also at the border, and along an axis no steeper than the largest difference between the elements around the
//!   place. Where the place may lie on either side of an element, those on both sides of that count.
//! - The arithmetic. Each share of an element has an absolute error of up to 3 · 2^-24 (two roundings of numbers up to 1), the
//!   products and sums behind them a relative one of 4 · 2^-24 in all; together below 16 · 2^-24 times the largest element.
//!
//! The mask multiplies both, with one more rounding.

use super::{FLUSHED, Reference, Tasks, UNIT, finish_uncertain, size};
use crate::problem::Problem;
use crate::tensors::Tensors;

/// Roundings of an interpolation, in units of the largest element.
const ROUNDINGS: f64 = 16.0;
/// Numbers of an interpolation that may be flushed to zero.
const FLUSHES: f64 = 16.0;

/// A number and how far a float32 calculation of it may be from it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Uncertain {
    pub value: f64,
    pub error: f64,
}

impl Uncertain {
    /// Times a number that is exact.
    pub fn times(self, factor: f64) -> Self {
        let value = self.value * factor;
        Self { value, error: self.error * factor.abs() + 2.0 * UNIT * value.abs() + FLUSHED }
    }
}

/// Where a tap lies along one axis, in elements from the first one; `None` where that is no number.
pub(super) fn position(base: i64, offset: f32) -> Option<Uncertain> {
    let value = base as f64 + f64::from(offset);
    let grid = if base.abs() > 1 << 24 { base.abs() as f64 } else { 0.0 };
    offset.is_finite().then_some(Uncertain { value, error: 2.0 * UNIT * (value.abs() + grid) + FLUSHED })
}

/// A plane of the input.
#[derive(Clone, Copy)]
pub(super) struct Plane<'a> {
    pub elements: &'a [f32],
    pub rows: usize,
    pub columns: usize,
}

impl Plane<'_> {
    /// Zero outside.
    pub fn at(&self, row: i64, column: i64) -> f64 {
        let inside = |at: i64, size: usize| usize::try_from(at).ok().filter(|&at| at < size);
        let place = inside(row, self.rows).zip(inside(column, self.columns));
        place.map_or(0.0, |(row, column)| f64::from(self.elements[row * self.columns + column]))
    }

    /// How far a float32 sample of this plane may be from the exact one.
    pub fn sampling_error(&self, y: Uncertain, x: Uncertain) -> f64 {
        // The elements around wherever the place may be, and one ring of the zeros beyond the border.
        let around = |place: Uncertain, size: usize| {
            let limit = |at: f64| at.clamp(-1.0, size as f64) as i64;
            limit((place.value - place.error).floor())..=limit((place.value + place.error).floor() + 1.0)
        };
        let [mut least, mut most] = [f64::INFINITY, f64::NEG_INFINITY];
        for row in around(y, self.rows) {
            for column in around(x, self.columns) {
                let element = self.at(row, column);
                (least, most) = (least.min(element), most.max(element));
            }
        }
        let largest = least.abs().max(most.abs());
        if largest == 0.0 {
            return 0.0;
        }
        (y.error + x.error) * (most - least) + ROUNDINGS * UNIT * largest + FLUSHES * FLUSHED
    }

    /// The sample at a place.
    fn sample(&self, y: Uncertain, x: Uncertain) -> Uncertain {
        let [above, left] = [y, x].map(|place| place.value.floor());
        let [down, right] = [y.value - above, x.value - left];
        let (row, column) = (above as i64, left as i64);
        let (next_row, next_column) = (row.saturating_add(1), column.saturating_add(1));
        let upper = (1.0 - right) * self.at(row, column) + right * self.at(row, next_column);
        let lower = (1.0 - right) * self.at(next_row, column) + right * self.at(next_row, next_column);
        Uncertain { value: (1.0 - down) * upper + down * lower, error: self.sampling_error(y, x) }
    }
}

/// A task is one row of outputs of one image, in all channels.
pub(super) struct Deform<'a> {
    problem: &'a Problem,
    tensors: &'a Tensors<'a>,
}

/// Sum, magnitude and error of each output of a row, channel by channel.
#[derive(Default)]
pub(super) struct Row {
    sums: Vec<[f64; 3]>,
}

impl<'a> Deform<'a> {
    pub fn new(problem: &'a Problem, tensors: &'a Tensors<'a>) -> Self {
        Self { problem, tensors }
    }

    /// Output rows and columns.
    fn output(&self) -> [usize; 2] {
        let [_, rows, columns] = self.problem.axes().map(|axis| size(axis.output));
        [rows, columns]
    }

    fn first_output(&self, task: usize, channel: usize) -> usize {
        let [rows, columns] = self.output();
        let (image, row) = (task / rows, task % rows);
        ((image * size(self.problem.out_channels()) + channel) * rows + row) * columns
    }
}

impl Tasks for Deform<'_> {
    type Block = Row;

    fn count(&self) -> usize {
        size(self.problem.input_shape()[0]) * self.output()[0]
    }

    fn compute(&self, task: usize, block: &mut Row) {
        let (problem, tensors) = (self.problem, self.tensors);
        let [_, vertical, horizontal] = problem.axes();
        let [rows, columns] = self.output();
        let (image, row) = (task / rows, task % rows);
        let [in_channels, out_channels] = [problem.in_channels(), problem.out_channels()].map(size);
        let [in_group, out_group] = [problem.in_channels_per_group(), problem.out_channels_per_group()].map(size);
        let offset_groups = size(problem.offset_groups());
        let [kernel_rows, kernel_columns] = [size(vertical.kernel), size(horizontal.kernel)];
        let taps = kernel_rows * kernel_columns;
        let [height, width] = [size(vertical.input), size(horizontal.input)];
        let along = |tensor: Option<&'_ [f32]>, channel: usize| {
            tensor.map(|tensor| tensor[(channel * rows + row) * columns..][..columns].to_vec())
        };
        block.sums.clear();
        block.sums.resize(out_channels * columns, [0.0; 3]);
        for channel in 0..in_channels {
            let plane = (image * in_channels + channel) * height * width;
            let plane = Plane { elements: &tensors.input[plane..][..height * width], rows: height, columns: width };
            let offset_group = channel * offset_groups / in_channels;
            for tap in 0..taps {
                let (tap_row, tap_column) = (tap / kernel_columns, tap % kernel_columns);
                let place = (image * offset_groups + offset_group) * taps + tap;
                let [down, right] = [0, 1].map(|axis| along(tensors.offset, 2 * place + axis).unwrap_or_default());
                let mask = along(tensors.mask, place);
                let base = |axis: &crate::problem::Axis, output: usize, tap: usize| {
                    output as i64 * i64::from(axis.stride) + tap as i64 * i64::from(axis.dilation)
                        - i64::from(axis.before)
                };
                for column in 0..columns {
                    let y = position(base(&vertical, row, tap_row), down[column]);
                    let x = position(base(&horizontal, column, tap_column), right[column]);
                    let mut sample = Uncertain { value: 0.0, error: 0.0 };
                    if let Some((y, x)) = y.zip(x) {
                        sample = plane.sample(y, x);
                    }
                    if let Some(mask) = &mask {
                        sample = sample.times(mask[column].into());
                    }
                    let group = channel / in_group;
                    for output in group * out_group..(group + 1) * out_group {
                        let weight = f64::from(tensors.weight[(output * in_group + channel % in_group) * taps + tap]);
                        let [sum, magnitude, error] = &mut block.sums[output * columns + column];
                        *sum += sample.value * weight;
                        *magnitude += (sample.value.abs() + sample.error) * weight.abs();
                        *error += sample.error * weight.abs();
                    }
                }
            }
        }
        for (place, sums) in block.sums.iter_mut().enumerate() {
            let (channel, column) = (place / columns, place % columns);
            let index = self.first_output(task, channel) + column;
            let (value, bound) = finish_uncertain(problem, tensors, channel, index, *sums);
            *sums = [value, bound, 0.0];
        }
    }

    fn store(&self, task: usize, block: &Row, result: &mut Reference) {
        let [_, columns] = self.output();
        for (place, &[value, bound, _]) in block.sums.iter().enumerate() {
            let index = self.first_output(task, place / columns) + place % columns;
            result.values[index] = value;
            result.bounds[index] = bound;
        }
    }
}

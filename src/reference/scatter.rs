//! All outputs of a transposed convolution, by its definition: each input is spread over the outputs that its taps reach.

use super::{Reference, Tasks, finish, size};
use crate::problem::{Axis, Problem};
use crate::tensors::Tensors;

/// A task is one channel of one image.
pub(super) struct Scatter<'a> {
    problem: &'a Problem,
    tensors: &'a Tensors<'a>,
    /// Roundings between the products and the sum.
    terms: f64,
}

/// Values and bounds of a channel.
#[derive(Default)]
pub(super) struct Volume {
    sums: Vec<[f64; 2]>,
}

impl<'a> Scatter<'a> {
    pub fn new(problem: &'a Problem, tensors: &'a Tensors<'a>, terms: f64) -> Self {
        Self { problem, tensors, terms }
    }

    fn outputs(&self) -> usize {
        self.problem.axes().iter().map(|axis| size(axis.output)).product()
    }
}

/// The outputs along one axis that an input reaches, each with its tap.
fn reached(axis: &Axis, input: usize) -> Vec<(usize, usize)> {
    let places = (0..axis.kernel).map(|tap| {
        let place = input as i64 * i64::from(axis.stride) + i64::from(tap) * i64::from(axis.dilation);
        (place - i64::from(axis.before), size(tap))
    });
    places
        .filter(|(place, _)| (0..i64::from(axis.output)).contains(place))
        .map(|(place, tap)| (place as usize, tap))
        .collect()
}

impl Tasks for Scatter<'_> {
    type Block = Volume;

    fn count(&self) -> usize {
        size(self.problem.input_shape()[0]) * size(self.problem.out_channels())
    }

    fn compute(&self, task: usize, block: &mut Volume) {
        let problem = self.problem;
        let (image, channel) = (task / size(problem.out_channels()), task % size(problem.out_channels()));
        let axes = problem.axes();
        let [slices, rows, columns] = axes.map(|axis| size(axis.input));
        let [_, out_rows, out_columns] = axes.map(|axis| size(axis.output));
        let [_, kernel_rows, kernel_columns] = axes.map(|axis| size(axis.kernel));
        let taps: usize = axes.iter().map(|axis| size(axis.kernel)).product();
        let [in_group, out_group] = [problem.in_channels_per_group(), problem.out_channels_per_group()].map(size);
        let (group, of_group) = (channel / out_group, channel % out_group);
        let [reach_slices, reach_rows, reach_columns] =
            axes.map(|axis| (0..size(axis.input)).map(|input| reached(&axis, input)).collect::<Vec<_>>());
        block.sums.clear();
        block.sums.resize(self.outputs(), [0.0, 0.0]);
        for from in group * in_group..(group + 1) * in_group {
            let input = &self.tensors.input[(image * size(problem.in_channels()) + from) * slices * rows * columns..];
            let weight = &self.tensors.weight[(from * out_group + of_group) * taps..][..taps];
            let mut values = input.iter();
            for slice in &reach_slices {
                for row in &reach_rows {
                    for column in &reach_columns {
                        let Some(&value) = values.next() else { return };
                        for &(z, a) in slice {
                            for &(y, b) in row {
                                for &(x, c) in column {
                                    let tap = weight[(a * kernel_rows + b) * kernel_columns + c];
                                    let product = f64::from(value) * f64::from(tap);
                                    let [sum, magnitude] = &mut block.sums[(z * out_rows + y) * out_columns + x];
                                    *sum += product;
                                    *magnitude += product.abs();
                                }
                            }
                        }
                    }
                }
            }
        }
        let first = task * self.outputs();
        for (place, sums) in block.sums.iter_mut().enumerate() {
            let (value, bound) = finish(problem, self.tensors, channel, first + place, *sums, self.terms);
            *sums = [value, bound];
        }
    }

    fn store(&self, task: usize, block: &Volume, result: &mut Reference) {
        let first = task * self.outputs();
        for (place, &[value, bound]) in block.sums.iter().enumerate() {
            result.values[first + place] = value;
            result.bounds[first + place] = bound;
        }
    }
}

//! Convolutions of integers, added up in 64-bit integers. Like the floats', there are two, written apart from each other.

use super::fold::fold;
use super::single::source;
use super::{Reference, Tasks, share, size};
use crate::dtype::DType;
use crate::epilogue::Activation;
use crate::integers::{Integers, Quantization};
use crate::problem::Problem;
use crate::tensors::Tensors;

/// A problem of integers with its numbers.
pub(super) struct Whole<'a> {
    problem: &'a Problem,
    tensors: &'a Tensors<'a>,
    integers: Integers,
    quantization: Quantization<'a>,
    /// For each axis, output and tap the input that they meet, if it is one of the image.
    meets: [Vec<Option<usize>>; 3],
    plane: usize,
}

impl<'a> Whole<'a> {
    pub fn new(problem: &'a Problem, tensors: &'a Tensors<'a>, integers: Integers) -> Self {
        let meets = problem.axes().map(|axis| {
            let positions = (0..i64::from(axis.output)).flat_map(|output| {
                let first = output * i64::from(axis.stride) - i64::from(axis.before);
                (0..i64::from(axis.kernel)).map(move |tap| first + tap * i64::from(axis.dilation))
            });
            positions.map(|at| fold(at, axis.input, problem.padding_mode())).collect()
        });
        let [_, _, output @ ..] = problem.output_shape().five().map(size);
        let quantization = tensors.quantization.unwrap_or_default();
        Self { problem, tensors, integers, quantization, meets, plane: output.iter().product() }
    }

    pub fn compute(&self, threads: usize, result: Reference) -> Reference {
        share(threads, self, result)
    }
}

/// One channel of one image is a task.
impl Tasks for Whole<'_> {
    type Block = Vec<(f64, f64)>;

    fn count(&self) -> usize {
        size(self.problem.output_shape()[0]) * size(self.problem.out_channels())
    }

    fn compute(&self, task: usize, block: &mut Self::Block) {
        let [_, in_channels, depth, height, width] = self.problem.input_shape().five().map(size);
        let [_, _, slices, rows, columns] = self.problem.output_shape().five().map(size);
        let [_, per_group, kernel @ ..] = self.problem.weight_shape().five().map(size);
        let channel = task % size(self.problem.out_channels());
        let image = task / size(self.problem.out_channels());
        let group = channel / size(self.problem.out_channels_per_group());
        let [input_zero, weight_zero] =
            [self.quantization.input_zero_point, self.quantization.weight_zero_point(channel)].map(i64::from);
        let mut sums = vec![0_i64; self.plane];
        let mut taps = self.tensors.weight[channel * per_group * kernel.iter().product::<usize>()..].iter();
        for from in 0..per_group {
            let volume = (image * in_channels + group * per_group + from) * depth;
            for (a, b, c) in every(kernel) {
                let weight = taps.next().map_or(0, |&weight| weight as i64) - weight_zero;
                let mut sums = sums.iter_mut();
                for (z, y) in (0..slices).flat_map(|z| (0..rows).map(move |y| (z, y))) {
                    let slice = self.meets[0][z * kernel[0] + a];
                    let row = self.meets[1][y * kernel[1] + b];
                    let line = slice.zip(row).map(|(slice, row)| ((volume + slice) * height + row) * width);
                    for (x, sum) in (0..columns).zip(&mut sums) {
                        // A zero of the padding is the zero point, which stands for 0.
                        if let Some((line, column)) = line.zip(self.meets[2][x * kernel[2] + c]) {
                            *sum += (self.tensors.input[line + column] as i64 - input_zero) * weight;
                        }
                    }
                }
            }
        }
        *block = sums.iter().map(|&sum| finish(self.problem, self.tensors, self.integers, channel, sum)).collect();
    }

    fn store(&self, task: usize, block: &Self::Block, result: &mut Reference) {
        for (index, &(value, bound)) in (task * self.plane..).zip(block) {
            (result.values[index], result.bounds[index]) = (value, bound);
        }
    }
}

fn every([slices, rows, columns]: [usize; 3]) -> impl Iterator<Item = (usize, usize, usize)> {
    (0..slices).flat_map(move |a| (0..rows).flat_map(move |b| (0..columns).map(move |c| (a, b, c))))
}

/// Value and bound of the output at `index` of the row-major output, the formula read from left to right.
pub(super) fn output(problem: &Problem, tensors: &Tensors<'_>, integers: Integers, index: u64) -> (f64, f64) {
    let quantization = tensors.quantization.unwrap_or_default();
    let [_, in_channels, sizes @ ..] = problem.input_shape().five().map(u64::from);
    let [_, out_channels, outputs @ ..] = problem.output_shape().five().map(u64::from);
    let [_, in_group, kernel @ ..] = problem.weight_shape().five().map(u64::from);
    let axes = problem.axes();
    let plane: u64 = outputs.iter().product();
    let (n, o) = (index / plane / out_channels, index / plane % out_channels);
    let place = [index / outputs[2] / outputs[1] % outputs[0], index / outputs[2] % outputs[1], index % outputs[2]];
    let group = o / u64::from(problem.out_channels_per_group());
    let mut sum = 0;
    for k in 0..in_group * kernel.iter().product::<u64>() {
        let tap = [k / kernel[2] / kernel[1] % kernel[0], k / kernel[2] % kernel[1], k % kernel[2]];
        let from = group * in_group + k / kernel[2] / kernel[1] / kernel[0];
        let mut at = Some(n * in_channels + from);
        for axis in 0..3 {
            let padded = place[axis] * u64::from(axes[axis].stride) + tap[axis] * u64::from(axes[axis].dilation);
            let found = source(padded, axes[axis].before, sizes[axis], problem.padding_mode());
            at = at.zip(found).map(|(at, found)| at * sizes[axis] + found);
        }
        let x = at.map_or(quantization.input_zero_point.into(), |at| tensors.input[at as usize] as i64);
        let w = tensors.weight[(o * in_group * kernel.iter().product::<u64>() + k) as usize] as i64;
        sum += (x - i64::from(quantization.input_zero_point))
            * (w - i64::from(quantization.weight_zero_point(o as usize)));
    }
    finish(problem, tensors, integers, o as usize, sum)
}

/// Value and bound of an output from its sum of products. The bound is 0, but where scaling in float32 may round an 8-bit output
/// to its neighbour.
fn finish(problem: &Problem, tensors: &Tensors<'_>, integers: Integers, channel: usize, sum: i64) -> (f64, f64) {
    let quantization = tensors.quantization.unwrap_or_default();
    let bias = quantization.bias.get(channel).copied().unwrap_or(0);
    // What exceeds 32 bits wraps around.
    let sum = f64::from((sum + i64::from(bias)) as i32);
    let Some([low, high]) = integers.output.range().filter(|_| integers.output != DType::I32) else {
        return (sum, 0.0);
    };
    // The sum as a float32, the factor, and their product are rounded.
    const ROUNDINGS: f64 = 4.0 * f32::EPSILON as f64;
    let steps = sum * quantization.multiplier(channel);
    let activation = problem.epilogue().activation;
    let (steps, error) = if activation == Activation::Identity {
        (steps, ROUNDINGS * steps.abs())
    } else {
        let scale = f64::from(quantization.output_scale);
        let real = steps * scale;
        let slope = tensors.slopes.map_or(0.0, |slopes| f64::from(slopes[channel]));
        let value = activation.apply_f64(real, slope);
        let error = activation.lipschitz(slope) * ROUNDINGS * real.abs() + activation.error_bound(real, slope);
        (value / scale, (error + ROUNDINGS * value.abs()) / scale)
    };
    let rounded = |steps: f64| {
        (steps.round_ties_even() + f64::from(quantization.output_zero_point)).clamp(low.into(), high.into())
    };
    let value = rounded(steps);
    let bound = (rounded(steps + error) - value).abs().max((rounded(steps - error) - value).abs());
    (value, bound)
}

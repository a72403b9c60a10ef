//! Tensors in other orders in memory are brought into the order of their shapes first, and results back, so that the formulas
//! need to know only one.

use std::borrow::Cow;

use super::Reference;
use crate::accuracy::Rounding;
use crate::dtype::DType;
use crate::epilogue::Activation;
use crate::layout::{Layout, WeightLayout};
use crate::problem::Problem;
use crate::shape::Shape;
use crate::tensors::Tensors;

/// A problem's tensors in the order (N, C, spatial…) and (first, second, kernel…).
pub(super) struct Planar<'a> {
    problem: Problem,
    given: Tensors<'a>,
    input: Cow<'a, [f32]>,
    weight: Cow<'a, [f32]>,
    residual: Option<Cow<'a, [f32]>>,
    slopes: Option<Cow<'a, [f32]>>,
    offset: Option<Cow<'a, [f32]>>,
    mask: Option<Cow<'a, [f32]>>,
}

impl<'a> Planar<'a> {
    /// Input and weight as a kernel that rounds like this has them.
    pub fn new(problem: &Problem, given: &Tensors<'a>, rounding: Rounding) -> Self {
        let as_type = |data: &'a [f32], dtype: DType| match dtype {
            DType::F32 => Cow::Borrowed(data),
            _ => data.iter().map(|&number| dtype.round(number)).collect(),
        };
        let factors = |dtype: DType| if rounding == Rounding::Matrix { DType::F16 } else { dtype };
        let weights = as_type(given.weight, factors(problem.weight_dtype()));
        let planar_as = |data: &'a [f32], shape: [u32; 5], dtype: DType| match problem.layout() {
            Layout::Nchw => as_type(data, dtype),
            // (N, spatial, C) to (N, C, spatial).
            Layout::Nhwc => {
                let [images, channels, pixels] = three(shape);
                Cow::Owned(swapped(&as_type(data, dtype), [images, pixels, channels]))
            }
        };
        let planar = |data: &'a [f32], shape: [u32; 5]| planar_as(data, shape, problem.dtype());
        let [first, second, taps] = three(problem.weight_shape().five());
        let weight = match problem.weight_layout() {
            WeightLayout::Oihw => weights,
            WeightLayout::Ohwi => Cow::Owned(swapped(&weights, [first, taps, second])),
            // (taps, second, first): seen as one matrix of (taps, second) × first, then each row of the result.
            WeightLayout::Hwio => {
                let rows = swapped(&weights, [1, taps * second, first]);
                Cow::Owned(swapped(&rows, [first, taps, second]))
            }
        };
        let optional = |data: Option<&'a [f32]>, shape: Option<Shape>| {
            data.zip(shape).map(|(data, shape)| planar(data, shape.five()))
        };
        Self {
            problem: *problem,
            given: *given,
            input: planar_as(given.input, problem.input_shape().five(), factors(problem.dtype())),
            weight,
            residual: optional(given.residual, Some(problem.output_shape())),
            offset: optional(given.offset, problem.offset_shape()),
            mask: optional(given.mask, problem.mask_shape()),
            slopes: given.slopes.map(|slopes| match (problem.layout(), problem.epilogue().activation) {
                (Layout::Nhwc, Activation::PreluEach) => {
                    let [_, channels, pixels] = three(problem.output_shape().five());
                    Cow::Owned(swapped(slopes, [1, pixels, channels]))
                }
                _ => Cow::Borrowed(slopes),
            }),
        }
    }

    /// The problem of these tensors.
    pub fn problem(&self) -> Problem {
        self.problem.with_layout(Layout::Nchw).with_weight_layout(WeightLayout::Oihw)
    }

    pub fn tensors(&self) -> Tensors<'_> {
        Tensors {
            input: &self.input,
            weight: &self.weight,
            residual: self.residual.as_deref(),
            slopes: self.slopes.as_deref(),
            offset: self.offset.as_deref(),
            mask: self.mask.as_deref(),
            ..self.given
        }
    }
}

/// The outputs in the problem's own order.
pub(super) fn in_order_of(problem: &Problem, planar: Reference) -> Reference {
    match problem.layout() {
        Layout::Nchw => planar,
        Layout::Nhwc => {
            let shape = three(problem.output_shape().five());
            Reference { values: swapped(&planar.values, shape), bounds: swapped(&planar.bounds, shape) }
        }
    }
}

/// Where the output at `index` of the problem's order is in (N, C, spatial…).
pub(super) fn index(problem: &Problem, index: u64) -> u64 {
    match problem.layout() {
        Layout::Nchw => index,
        Layout::Nhwc => {
            let [_, channels, pixels] = three(problem.output_shape().five()).map(|size| size as u64);
            let (pixel, channel) = (index / channels, index % channels);
            (pixel / pixels * channels + channel) * pixels + pixel % pixels
        }
    }
}

/// Images, channels and pixels, or what corresponds to them in a weight.
fn three([outer, inner, slices, rows, columns]: [u32; 5]) -> [usize; 3] {
    [outer as usize, inner as usize, slices as usize * rows as usize * columns as usize]
}

/// Each of `count` matrices with its rows and columns exchanged.
fn swapped<T: Copy>(data: &[T], [count, rows, columns]: [usize; 3]) -> Vec<T> {
    let mut swapped = Vec::with_capacity(data.len());
    for matrix in 0..count {
        let matrix = &data[matrix * rows * columns..][..rows * columns];
        for column in 0..columns {
            swapped.extend(matrix.iter().skip(column).step_by(columns.max(1)));
        }
    }
    swapped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::{convolve, convolve_at};

    #[test]
    fn orders_in_memory_change_nothing_but_the_order() {
        for text in ["n2c6z3h4w5o4k2p1g2+residual+relu", "n2c6h4w5o4k3x2s2p1g2:transposed+residual"] {
            let plain: Problem = text.parse().unwrap();
            let numbers = |len: u64, step: f32| -> Vec<f32> { (0..len).map(|i| (i as f32 * step).sin()).collect() };
            let (input, weight) = (numbers(plain.input_len(), 0.7), numbers(plain.weight_len(), 1.3));
            let (bias, residual) = (numbers(4, 0.3), numbers(plain.output_len(), 0.1));
            let expected = convolve(&plain, &Tensors::new(&input, &weight).bias(&bias).residual(&residual)).unwrap();
            let last = |data: &[f32], shape: [u32; 5]| {
                let [n, c, pixels] = three(shape);
                let at = |i: usize| data[(i / (c * pixels) * c + i % c) * pixels + i / c % pixels];
                (0..n * c * pixels).map(at).collect::<Vec<f32>>()
            };
            for layout in WeightLayout::ALL {
                let [first, second, taps] = three(plain.weight_shape().five());
                let [a, b, c] = layout.steps([first, second, taps].map(|size| size as u64)).map(|step| step as usize);
                let mut other = vec![0.0; weight.len()];
                for (place, &value) in weight.iter().enumerate() {
                    let (i, j, tap) = (place / taps / second, place / taps % second, place % taps);
                    other[i * a + j * b + tap * c] = value;
                }
                let problem = plain.with_layout(Layout::Nhwc).with_weight_layout(layout);
                let input = last(&input, plain.input_shape().five());
                let residual = last(&residual, plain.output_shape().five());
                let tensors = Tensors::new(&input, &other).bias(&bias).residual(&residual);
                let actual = convolve(&problem, &tensors).unwrap();
                let [n, c, pixels] = three(plain.output_shape().five());
                for (i, value) in actual.values.iter().enumerate() {
                    let from = (i / (c * pixels) * c + i % c) * pixels + i / c % pixels;
                    assert_eq!(*value, expected.values[from], "{problem}, {n} images, output {i}");
                }
                let all: Vec<u64> = (0..problem.output_len()).collect();
                let single = convolve_at(&problem, &tensors, &all).unwrap();
                assert!(single.values.iter().zip(&actual.values).all(|(a, b)| (a - b).abs() < 1e-12), "{problem}");
            }
        }
    }
}

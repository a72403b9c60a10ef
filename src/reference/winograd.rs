//! How far Winograd's algorithm may be from the exact result.
//!
//! A tile's outputs are A'[(G g G') · (B' d B)]A. The error of each is at most `2^-24 · c · S`, where S is the same formula with the
//! absolute value of every number in it, and c counts the roundings that a number meets on its way: so one large pixel counts
//! for all outputs of its tile, whatever the weight does with it. Written from the matrices, not from the shaders' transforms.

use super::fold::fold;
use super::{FLUSHED, Reference, Tasks, UNIT, finish_terms, size};
use crate::conv::PaddingMode;
use crate::error::{Error, Result};
use crate::parameters::Op;
use crate::problem::{Axis, Problem};
use crate::tensors::Tensors;

/// Roundings of a number on its way through the three transforms along one axis: 4 of the input, 4 of the weight with its
/// factor, 4 of the output, of which the constants that float32 does not hold exactly take two.
const TRANSFORMS: f64 = 14.0;

/// The matrices along one axis: At (outputs × side), G (side × taps), Bt (side × side).
struct Matrices {
    outputs: usize,
    side: usize,
    taps: usize,
    of_output: Vec<f64>,
    of_weight: Vec<f64>,
    of_input: Vec<f64>,
}

impl Matrices {
    /// For an axis with one tap, or three.
    fn new(taps: usize, outputs: usize) -> Self {
        if taps == 1 {
            let one = vec![1.0];
            return Self { outputs: 1, side: 1, taps, of_output: one.clone(), of_weight: one.clone(), of_input: one };
        }
        // The points of the interpolation, beside infinity.
        let points: &[f64] = match outputs {
            2 => &[0.0, 1.0, -1.0],
            4 => &[0.0, 0.75, -0.75, 1.5, -1.5],
            _ => &[0.0, 0.5, -0.5, 1.0, -1.0, 2.0, -2.0],
        };
        let side = points.len() + 1;
        let others = |i: usize| points.iter().enumerate().filter(move |(j, _)| *j != i).map(|(_, point)| *point);
        let mut of_output = vec![0.0; outputs * side];
        let mut of_weight = vec![0.0; side * taps];
        let mut of_input = vec![0.0; side * side];
        for (i, &point) in points.iter().enumerate() {
            let scale: f64 = others(i).map(|other| point - other).product();
            (0..outputs).for_each(|power| of_output[power * side + i] = point.powi(power as i32));
            (0..taps).for_each(|power| of_weight[i * taps + power] = point.powi(power as i32) / scale);
            // The coefficients of the product of (x - other).
            let row = polynomial(others(i));
            of_input[i * side..][..row.len()].copy_from_slice(&row);
        }
        of_output[outputs * side - 1] = 1.0;
        of_weight[side * taps - 1] = 1.0;
        of_input[(side - 1) * side..].copy_from_slice(&polynomial(points.iter().copied()));
        Self { outputs, side, taps, of_output, of_weight, of_input }
    }
}

/// The coefficients of the product of (x - root), lowest power first.
fn polynomial(roots: impl Iterator<Item = f64>) -> Vec<f64> {
    roots.fold(vec![1.0], |product, root| {
        let mut next = vec![0.0; product.len() + 1];
        for (power, coefficient) in product.iter().enumerate() {
            next[power + 1] += coefficient;
            next[power] -= root * coefficient;
        }
        next
    })
}

/// `left · x · right'`, where x is `left_size × right_size`, or the same with the matrices' absolute values.
fn both_sides(left: &[f64], x: &[f64], right: &[f64], [left_size, right_size]: [usize; 2], absolute: bool) -> Vec<f64> {
    let number = |number: f64| if absolute { number.abs() } else { number };
    let (rows, columns) = (left.len() / left_size, right.len() / right_size);
    let mut half = vec![0.0; rows * right_size];
    for row in 0..rows {
        for k in 0..left_size {
            for column in 0..right_size {
                half[row * right_size + column] += number(left[row * left_size + k]) * x[k * right_size + column];
            }
        }
    }
    let mut all = vec![0.0; rows * columns];
    for row in 0..rows {
        for column in 0..columns {
            all[row * columns + column] =
                (0..right_size).map(|k| half[row * right_size + k] * number(right[column * right_size + k])).sum();
        }
    }
    all
}

/// Numbers with their signs, and bounds of their absolute values.
struct Both([Vec<f64>; 2]);

/// A number whose rounding is as large as what becomes of a number that is flushed to zero. Added to the magnitude of
/// whatever is computed, it lets one rule count both.
const SMALL: f64 = FLUSHED / UNIT;

impl Both {
    /// `left · x · right'`, and the same of absolute values.
    fn transformed(&self, left: &[f64], right: &[f64], sizes: [usize; 2]) -> Self {
        let values = both_sides(left, &self.0[0], right, sizes, false);
        let mut magnitudes = both_sides(left, &self.0[1], right, sizes, true);
        magnitudes.iter_mut().for_each(|magnitude| *magnitude += SMALL);
        Self([values, magnitudes])
    }

    /// Adds the products of two, number by number.
    fn add_products(&mut self, a: &Self, b: &Self) {
        for (kind, flushed) in [(0, 0.0), (1, SMALL)] {
            for (sum, (a, b)) in self.0[kind].iter_mut().zip(a.0[kind].iter().zip(&b.0[kind])) {
                *sum += a * b + flushed;
            }
        }
    }
}

/// All tiles, row by row of each image and group.
pub(super) struct Tiles<'a> {
    problem: &'a Problem,
    tensors: &'a Tensors<'a>,
    /// Rows and columns of the image, and their transforms.
    axes: [(Axis, Matrices); 2],
}

impl<'a> Tiles<'a> {
    /// For tiles of `outputs` outputs along each axis with three taps; an axis with one has tiles of one output.
    pub fn new(problem: &'a Problem, tensors: &'a Tensors<'a>, outputs: u32) -> Result<Self> {
        let is_unit = |axis: &Axis| (axis.kernel, axis.output, axis.input) == (1, 1, 1);
        let mut axes: Vec<Axis> = problem.axes().into_iter().filter(|axis| !is_unit(axis)).collect();
        let unit = Axis { input: 1, output: 1, kernel: 1, stride: 1, dilation: 1, before: 0 };
        while axes.len() < 2 {
            axes.insert(0, unit);
        }
        let taken = |axis: &Axis| axis.stride == 1 && (axis.kernel == 1 || axis.kernel == 3 && axis.dilation == 1);
        let ([row, column], 2 | 4 | 6, Op::Conv | Op::ConvTranspose, None, true) =
            (&axes[..], outputs, problem.op(), problem.integers(), axes.iter().all(taken))
        else {
            return Err(Error::Parameter {
                parameter: "rounding",
                actual: format!("that of Winograd's algorithm with tiles of {outputs} for {problem}"),
                required:
                    "tiles of 2, 4 or 6, and a convolution of at most two axes with 1 or 3 taps, stride and dilation 1"
                        .into(),
            });
        };
        let axes = [row, column].map(|axis| (*axis, Matrices::new(size(axis.kernel), size(outputs))));
        Ok(Self { problem, tensors, axes })
    }

    /// Rows and columns of tiles.
    fn counts(&self) -> [usize; 2] {
        self.axes.each_ref().map(|(axis, matrices)| size(axis.output).div_ceil(matrices.outputs))
    }

    fn sides(&self) -> [usize; 2] {
        self.axes.each_ref().map(|(_, matrices)| matrices.side)
    }

    fn group_channels(&self) -> [usize; 2] {
        [self.problem.in_channels_per_group(), self.problem.out_channels_per_group()].map(size)
    }

    /// What a tile sees of an input channel (of all images'), transformed.
    fn input(&self, channel: usize, tile: [usize; 2]) -> Both {
        let [(row, rows), (column, columns)] = &self.axes;
        let mode = self.problem.padding_mode();
        let pixels = size(row.input) * size(column.input);
        let plane = &self.tensors.input[channel * pixels..][..pixels];
        // From the tile's first input on, each element of the axis; of the padding; or beyond what any output needs, where
        // whatever a shader sees there cancels out, but for its rounding.
        let along = |axis: &Axis, matrices: &Matrices, tile: usize| -> Vec<(Option<usize>, bool)> {
            let before = match self.problem.op() {
                Op::ConvTranspose => i64::from(axis.kernel) - 1 - i64::from(axis.before),
                Op::Conv | Op::DeformConv => axis.before.into(),
            };
            let first = tile * matrices.outputs;
            let needed = size(axis.output) + size(axis.kernel) - 1;
            let place = |at: usize| (fold(at as i64 - before, axis.input, mode), at >= needed);
            (first..first + matrices.side).map(place).collect()
        };
        let (of_rows, of_columns) = (along(row, rows, tile[0]), along(column, columns, tile[1]));
        let (mut values, mut magnitudes) = (Vec::new(), Vec::new());
        for &(y, y_beyond) in &of_rows {
            for &(x, x_beyond) in &of_columns {
                let value: f64 =
                    y.zip(x).map_or(0.0, |(y, x)| plane.get(y * size(column.input) + x).map_or(0.0, |&x| x.into()));
                values.push(value);
                magnitudes.push(if (y_beyond || x_beyond) && mode != PaddingMode::Zeros {
                    plane.iter().fold(0.0, |most: f64, &number| most.max(f64::from(number).abs()))
                } else {
                    value.abs()
                });
            }
        }
        Both([values, magnitudes]).transformed(&rows.of_input, &columns.of_input, self.sides())
    }

    /// The weight of an output channel and an input channel of its group, transformed.
    fn weight(&self, channel: usize, from: usize) -> Both {
        let [(_, rows), (_, columns)] = &self.axes;
        let [group_in, group_out] = self.group_channels();
        let count = rows.taps * columns.taps;
        let taps = |first: usize| self.tensors.weight[first * count..][..count].iter().map(|&tap| f64::from(tap));
        let taps: Vec<f64> = match self.problem.op() {
            Op::Conv | Op::DeformConv => taps(channel * group_in + from).collect(),
            // (C_in, C_out / groups), and backwards: the last tap is the first that an output meets.
            Op::ConvTranspose => {
                taps((channel / group_out * group_in + from) * group_out + channel % group_out).rev().collect()
            }
        };
        let magnitudes = taps.iter().map(|tap| tap.abs()).collect();
        Both([taps, magnitudes]).transformed(&rows.of_weight, &columns.of_weight, [rows.taps, columns.taps])
    }

    fn no_products(&self) -> Both {
        let positions = self.sides().iter().product();
        Both([vec![0.0; positions], vec![0.0; positions]])
    }

    /// Places of a tile's outputs, of an output channel of all images', with their bounds.
    fn outputs(&self, products: &Both, image_channel: usize, tile: [usize; 2]) -> Vec<(usize, f64)> {
        let [(row, rows), (column, columns)] = &self.axes;
        let Both([sums, magnitudes]) = products.transformed(&rows.of_output, &columns.of_output, self.sides());
        let channel = image_channel % size(self.problem.out_channels());
        let terms = f64::from(self.problem.in_channels_per_group()) + 2.0 * TRANSFORMS;
        let mut outputs = Vec::new();
        for (at, (&sum, &magnitude)) in sums.iter().zip(&magnitudes).enumerate() {
            let y = tile[0] * rows.outputs + at / columns.outputs;
            let x = tile[1] * columns.outputs + at % columns.outputs;
            if y < size(row.output) && x < size(column.output) {
                let index = (image_channel * size(row.output) + y) * size(column.output) + x;
                let sums = [sum, magnitude, 0.0];
                outputs.push((index, finish_terms(self.problem, self.tensors, channel, index, sums, terms).1));
            }
        }
        outputs
    }

    /// The bound of one output, by its place.
    pub fn bound(&self, place: u64) -> f64 {
        let [rows, columns] = self.axes.each_ref().map(|(axis, _)| u64::from(axis.output));
        let [x, y, image_channel] =
            [place % columns, place / columns % rows, place / columns / rows].map(|at| at as usize);
        let tile = [y / self.axes[0].1.outputs, x / self.axes[1].1.outputs];
        let out_channels = size(self.problem.out_channels());
        let (image, channel) = (image_channel / out_channels, image_channel % out_channels);
        let [group_in, group_out] = self.group_channels();
        let mut products = self.no_products();
        for from in 0..group_in {
            let in_channel = (image * size(self.problem.groups()) + channel / group_out) * group_in + from;
            products.add_products(&self.weight(channel, from), &self.input(in_channel, tile));
        }
        let outputs = self.outputs(&products, image_channel, tile);
        outputs.into_iter().find(|&(index, _)| index as u64 == place).map_or(f64::NAN, |(_, bound)| bound)
    }
}

impl Tasks for Tiles<'_> {
    /// Outputs with their bounds.
    type Block = Vec<(usize, f64)>;

    fn count(&self) -> usize {
        size(self.problem.output_shape()[0]) * size(self.problem.groups()) * self.counts()[0]
    }

    fn compute(&self, task: usize, block: &mut Self::Block) {
        block.clear();
        let [tile_rows, tile_columns] = self.counts();
        let (image_group, tile_row) = (task / tile_rows, task % tile_rows);
        let (image, group) = (image_group / size(self.problem.groups()), image_group % size(self.problem.groups()));
        let [group_in, group_out] = self.group_channels();
        let tiles = || (0..tile_columns).map(|column| [tile_row, column]);
        let inputs: Vec<Vec<Both>> = (0..group_in)
            .map(|from| tiles().map(|tile| self.input(image_group * group_in + from, tile)).collect())
            .collect();
        for channel in group * group_out..(group + 1) * group_out {
            let mut products: Vec<Both> = tiles().map(|_| self.no_products()).collect();
            for (from, inputs) in inputs.iter().enumerate() {
                let weight = self.weight(channel, from);
                products.iter_mut().zip(inputs).for_each(|(products, input)| products.add_products(&weight, input));
            }
            for (products, tile) in products.iter().zip(tiles()) {
                block.extend(self.outputs(products, image * size(self.problem.out_channels()) + channel, tile));
            }
        }
    }

    fn store(&self, _: usize, block: &Self::Block, result: &mut Reference) {
        for &(index, bound) in block {
            result.bounds[index] = bound;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accuracy::Rounding;
    use crate::reference::{convolve, convolve_as, convolve_at_as};

    fn numbers(count: u64, seed: u32) -> Vec<f32> {
        let mut state = seed;
        let mut next = move || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        };
        (0..count).map(|_| next()).collect()
    }

    const PROBLEMS: [&str; 8] = [
        "n2c4h9w10o6k3p1",
        "n1c6h7w5o4k3p1g2:reflect",
        "n1c3w21o4k3p1",
        "n1c3h6w7o2k3x1p0",
        "n1c2h5w6o3k3p2:replicate+relu",
        "n1c4h5w7o6k3p1g2:transposed",
        "n1c4h8w9o2k3p2:nhwc:circular+residual",
        "n1c4z6h1w1o2k3x1x1p0",
    ];

    fn each(mut check: impl FnMut(&Problem, &Tensors<'_>, Rounding)) {
        for text in PROBLEMS {
            let problem: Problem = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            let [input, weight] = [problem.input_len(), problem.weight_len()].map(|count| numbers(count, 7));
            let (bias, residual) = (numbers(problem.out_channels().into(), 9), numbers(problem.output_len(), 5));
            let mut tensors = Tensors::new(&input, &weight).bias(&bias);
            if problem.epilogue().residual {
                tensors = tensors.residual(&residual);
            }
            for outputs in [2, 4, 6] {
                check(&problem, &tensors, Rounding::Winograd { outputs });
            }
        }
    }

    /// The matrices are right: what they make of a tile is the convolution.
    #[test]
    fn transforms_are_a_convolution() {
        for outputs in [2, 4, 6] {
            let Matrices { side, of_output, of_weight, of_input, .. } = Matrices::new(3, outputs);
            let (weight, input) = (numbers(3, 1), numbers(side as u64, 2));
            let [weight, input] = [weight, input].map(|numbers| numbers.into_iter().map(f64::from).collect::<Vec<_>>());
            let product = |matrix: &[f64], vector: &[f64]| -> Vec<f64> {
                matrix.chunks(vector.len()).map(|row| row.iter().zip(vector).map(|(a, b)| a * b).sum()).collect()
            };
            let (weights, inputs) = (product(&of_weight, &weight), product(&of_input, &input));
            let products: Vec<f64> = weights.iter().zip(&inputs).map(|(a, b)| a * b).collect();
            for (output, value) in product(&of_output, &products).into_iter().enumerate() {
                let expected: f64 = (0..3).map(|tap| weight[tap] * input[output + tap]).sum();
                assert!((value - expected).abs() < 1e-12, "F({outputs}, 3), output {output}: {value} for {expected}");
            }
        }
    }

    #[test]
    fn every_output_has_a_bound_that_is_wider_than_that_of_sums() {
        each(|problem, tensors, rounding| {
            let plain = convolve(problem, tensors).unwrap();
            let wide = convolve_as(problem, tensors, rounding).unwrap();
            assert_eq!(plain.values, wide.values);
            for (place, (plain, wide)) in plain.bounds.iter().zip(&wide.bounds).enumerate() {
                // Larger tiles have larger numbers in their transforms.
                let most = if rounding == (Rounding::Winograd { outputs: 6 }) { 4000.0 } else { 1000.0 };
                assert!(
                    plain < wide && *wide < most * plain,
                    "{problem} {rounding:?} at {place}: {wide}, of sums {plain}"
                );
            }
        });
    }

    #[test]
    fn single_bounds_are_those_of_the_whole() {
        each(|problem, tensors, rounding| {
            let whole = convolve_as(problem, tensors, rounding).unwrap();
            let all: Vec<u64> = (0..problem.output_len()).collect();
            let single = convolve_at_as(problem, tensors, &all, rounding).unwrap();
            for (place, (a, b)) in whole.bounds.iter().zip(&single.bounds).enumerate() {
                assert!((a / b - 1.0).abs() < 1e-12, "{problem} {rounding:?} at {place}: {a} and {b}");
            }
        });
    }

    #[test]
    fn one_large_pixel_counts_for_its_tiles() {
        let problem: Problem = "n1c1h12w12o1k3p0:nobias".parse().unwrap();
        let mut input = vec![0.0; 144];
        input[3 * 12 + 3] = 1e6;
        let weight = [1.0; 9];
        let reference =
            convolve_as(&problem, &Tensors::new(&input, &weight), Rounding::Winograd { outputs: 4 }).unwrap();
        // Seen by the tile's inputs 0..6, so by outputs 0..4, of which no tap of the outputs in row 0 meets it.
        assert!(reference.values[0] == 0.0 && reference.bounds[0] > 0.01);
        assert!(reference.bounds[99] < 1e-30, "another tile: {}", reference.bounds[99]);
    }

    #[test]
    fn other_problems_are_refused() {
        for text in ["n1c1h5w5o1k5p0:nobias", "n1c1h5w5o1k3s2:nobias", "n1c1z5h5w5o1k3:nobias"] {
            let problem: Problem = text.parse().unwrap();
            let [input, weight] = [problem.input_len(), problem.weight_len()].map(|count| numbers(count, 1));
            let error = convolve_as(&problem, &Tensors::new(&input, &weight), Rounding::Winograd { outputs: 2 });
            assert!(matches!(error, Err(Error::Parameter { .. })), "{text}: {error:?}");
        }
    }
}

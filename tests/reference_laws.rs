//! The CPU reference on random problems: against brute force, and against laws that every convolution obeys.

#[path = "common/tensors.rs"]
mod tensors;

use proptest::prelude::*;
use tensors::Data;
use wgpu_conv::reference::{self, Reference};
use wgpu_conv::{AnyPadding, Conv2d, Epilogue, Op, PaddingMode, Parameters, Problem, Tensors};
use wgpu_conv_check::problems::{any_problem, integer_problem, integer_problem_of};

/// A problem with other parameters and another input, but the same epilogue.
fn changed(problem: &Problem, parameters: &Parameters, input: &[u32]) -> Problem {
    Problem::from_parameters(parameters, input)
        .and_then(|changed| changed.with_epilogue(problem.epilogue()))
        .unwrap_or_else(|error| panic!("{problem}: {error}"))
}

/// The same without bias, residual and activation: the sums alone.
fn bare(problem: &Problem) -> Problem {
    let parameters = Parameters { bias: false, ..problem.parameters() };
    Problem::from_parameters(&parameters, &problem.input_shape()).unwrap()
}

/// Kernel sizes, strides, dilations and paddings before, along slices, rows and columns; axes that are missing come first.
fn three<T: Copy, const N: usize>(values: [&[T]; N], neutral: [T; N]) -> [[T; 3]; N] {
    std::array::from_fn(|which| {
        let mut all = [neutral[which]; 3];
        all[3 - values[which].len()..].copy_from_slice(values[which]);
        all
    })
}

/// Nine loops over a convolution, each position by adding up one step after the other.
fn brute_force(problem: &Problem, data: &Data) -> Vec<f64> {
    let [batch, in_channels, input @ ..] = problem.input_shape().five().map(i64::from);
    let [out_channels, per_group, kernel @ ..] = problem.weight_shape().five().map(i64::from);
    let [_, _, output @ ..] = problem.output_shape().five().map(i64::from);
    let before: Vec<u32> = problem.padding().iter().map(|sides| sides[0]).collect();
    let [stride, dilation, before] =
        three([problem.stride(), problem.dilation(), &before], [1, 1, 0]).map(|axes| axes.map(i64::from));
    let fetch = |n: i64, c: i64, at: [i64; 3]| {
        let mut index = n * in_channels + c;
        for axis in 0..3 {
            let Some(place) = walk(at[axis], input[axis], problem.padding_mode()) else { return 0.0 };
            index = index * input[axis] + place;
        }
        f64::from(data.input[index as usize])
    };
    let mut results = Vec::new();
    for n in 0..batch {
        for o in 0..out_channels {
            let group = o * i64::from(problem.groups()) / out_channels;
            for place in places(output) {
                let mut sum = data.bias.as_ref().map_or(0.0, |bias| f64::from(bias[o as usize]));
                sum += data.residual.as_ref().map_or(0.0, |residual| f64::from(residual[results.len()]));
                let mut weight = (o * per_group * kernel.iter().product::<i64>()) as usize;
                for c in 0..per_group {
                    for tap in places(kernel) {
                        let at = [0, 1, 2]
                            .map(|axis| place[axis] * stride[axis] + tap[axis] * dilation[axis] - before[axis]);
                        sum += fetch(n, group * per_group + c, at) * f64::from(data.weight[weight]);
                        weight += 1;
                    }
                }
                let slope = data.slopes.as_ref().map_or(0.0, |slopes| f64::from(slopes[o as usize]));
                results.push(problem.epilogue().activation.apply_f64(sum, slope));
            }
        }
    }
    results
}

/// All places of a box, the last axis fastest.
fn places([slices, rows, columns]: [i64; 3]) -> impl Iterator<Item = [i64; 3]> {
    (0..slices).flat_map(move |z| (0..rows).flat_map(move |y| (0..columns).map(move |x| [z, y, x])))
}

/// Walks from the nearest edge to the position, one element at a time, as a person would with a finger on the paper.
fn walk(position: i64, size: i64, mode: PaddingMode) -> Option<i64> {
    if (0..size).contains(&position) {
        return Some(position);
    }
    let (mut place, direction) = if position < 0 { (0, -1) } else { (size - 1, 1) };
    let mut finger = place;
    while finger != position {
        finger += direction;
        place = match mode {
            PaddingMode::Zeros => return None,
            PaddingMode::Reflect => place - direction,
            PaddingMode::Replicate => place,
            PaddingMode::Circular => (place + direction + size) % size,
        };
    }
    Some(place)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn equals_nine_loops(case in integer_problem_of(Op::Conv, 40_000), seed in any::<u64>()) {
        let data = Data::integers(&case.0, seed);
        prop_assert_eq!(data.run(&case.0).values, brute_force(&case.0, &data));
    }

    #[test]
    fn transposed_equals_a_convolution_of_spread_inputs(
        case in integer_problem_of(Op::ConvTranspose, 20_000),
        seed in any::<u64>(),
    ) {
        let data = Data::integers(&case.0, seed);
        let (copied, spread) = spread_copy(&case.0, &data);
        prop_assert_eq!(data.run(&case.0).values, brute_force(&copied, &spread));
    }

    /// ⟨conv(x), y⟩ = ⟨x, convᵀ(y)⟩ with the same weight, for all x and y; exactly for integers.
    #[test]
    fn transposed_is_the_adjoint(case in integer_problem_of(Op::Conv, 40_000), seed in any::<u64>()) {
        let given = bare(&case.0);
        prop_assume!(given.in_channels() > 0);
        let padding = AnyPadding::Explicit(given.padding().to_vec());
        let parameters = Parameters { padding, padding_mode: PaddingMode::Zeros, ..given.parameters() };
        let forward = Problem::from_parameters(&parameters, &given.input_shape()).unwrap();
        // Inputs behind the last step of the stride reach no output; going back they are output padding.
        let unused = (0..forward.dimensions()).map(|axis| {
            let padded = forward.input_shape()[2 + axis] + forward.padding()[axis].iter().sum::<u32>();
            (padded - forward.receptive_field()[axis] as u32) % forward.stride()[axis]
        });
        let parameters = Parameters {
            op: Op::ConvTranspose,
            in_channels: forward.out_channels(),
            out_channels: forward.in_channels(),
            output_padding: unused.collect(),
            ..parameters
        };
        let back = Problem::from_parameters(&parameters, &forward.output_shape()).unwrap();
        prop_assert_eq!(back.output_shape(), forward.input_shape());
        prop_assert_eq!(back.weight_shape(), forward.weight_shape());
        let data = Data::integers(&forward, seed);
        let other = Data { weight: data.weight.clone(), ..Data::integers(&back, !seed) };
        let product = |a: &[f64], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * f64::from(*b)).sum::<f64>();
        prop_assert_eq!(
            product(&data.run(&forward).values, &other.input),
            product(&other.run(&back).values, &data.input)
        );
    }

    /// A line is an image of one row or one column, an image is a volume of one slice: to the bit, with the bounds.
    #[test]
    fn an_axis_of_one_element_changes_nothing(case in any_problem(40_000), seed in any::<u64>()) {
        let problem = case.0;
        let data = Data::integers(&problem, seed);
        let expected = data.run(&problem);
        for place in (0..=problem.dimensions()).filter(|_| problem.dimensions() < 3) {
            let mut parameters = problem.parameters();
            for list in [&mut parameters.kernel_size, &mut parameters.stride, &mut parameters.dilation] {
                list.insert(place, 1);
            }
            parameters.output_padding.insert(place, 0);
            if let AnyPadding::Explicit(sides) = &mut parameters.padding {
                sides.insert(place, [0, 0]);
            }
            let mut input = problem.input_shape().to_vec();
            input.insert(2 + place, 1);
            let thick = changed(&problem, &parameters, &input);
            prop_assert_eq!(&data.run(&thick), &expected, "{}", thick);
        }
    }

    #[test]
    fn samples_equal_the_whole(case in any_problem(40_000), seed in any::<u64>()) {
        let data = Data::integers(&case.0, seed);
        let whole = data.run(&case.0);
        let indices: Vec<u64> = (0..case.0.output_len()).rev().collect();
        let mut samples = reference::convolve_at(&case.0, &data.tensors(), &indices).unwrap();
        samples.values.reverse();
        samples.bounds.reverse();
        prop_assert_eq!(samples, whole);
    }

    #[test]
    fn padding_equals_a_padded_copy(case in integer_problem_of(Op::Conv, 20_000), seed in any::<u64>()) {
        let data = Data::integers(&case.0, seed);
        let (copied, padded) = padded_copy(&case.0, &data);
        prop_assert_eq!(data.run(&case.0).values, padded.run(&copied).values);
    }

    #[test]
    fn groups_equal_separate_convolutions(case in integer_problem(20_000), seed in any::<u64>()) {
        let activation = case.0.epilogue().activation;
        let problem = case.0.with_epilogue(Epilogue::activation(activation)).unwrap();
        let data = Data::integers(&problem, seed);
        prop_assert_eq!(data.run(&problem).values, group_by_group(&problem, &data));
    }

    /// conv(a·x1 + x2) = a·conv(x1) + conv(x2), in the input and in the weight, exactly for integers.
    #[test]
    fn is_linear(case in integer_problem(20_000), seed in any::<u64>()) {
        let problem = bare(&case.0);
        let [one, two] = [seed, !seed].map(|seed| Data::integers(&problem, seed));
        let mix = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| 3.0 * a + b).collect::<Vec<f32>>();
        let sum = |a: &Reference, b: &Reference| -> Vec<f64> {
            a.values.iter().zip(&b.values).map(|(a, b)| 3.0 * a + b).collect()
        };
        let other_input = Data { input: two.input.clone(), ..one.clone() };
        let mixed_input = Data { input: mix(&one.input, &two.input), ..one.clone() };
        prop_assert_eq!(mixed_input.run(&problem).values, sum(&one.run(&problem), &other_input.run(&problem)));
        let other_weight = Data { weight: two.weight.clone(), ..one.clone() };
        let mixed_weight = Data { weight: mix(&one.weight, &two.weight), ..one.clone() };
        prop_assert_eq!(mixed_weight.run(&problem).values, sum(&one.run(&problem), &other_weight.run(&problem)));
    }

    /// With one weight of 1 at tap (i, j), stride 1 and no padding, the output is the input moved by the dilated tap.
    #[test]
    fn one_tap_shifts(size in [1..=9u32, 1..=9u32], kernel in [1..=4u32, 1..=4u32], dilation in [1..=3u32, 1..=3u32],
                      tap in any::<[u32; 2]>()) {
        let tap = [tap[0] % kernel[0], tap[1] % kernel[1]];
        let [height, width] = [0, 1].map(|axis| size[axis] + dilation[axis] * (kernel[axis] - 1));
        let conv = Conv2d::new(1, 1, kernel).dilation(dilation).bias(false);
        let problem = Problem::new(&conv, [1, 1, height, width]).unwrap();
        let input: Vec<f32> = (0..problem.input_len()).map(|number| number as f32).collect();
        let mut weight = vec![0.0; problem.weight_len() as usize];
        weight[(tap[0] * kernel[1] + tap[1]) as usize] = 1.0;
        let mut expected = Vec::new();
        for y in 0..size[0] {
            let start = ((y + tap[0] * dilation[0]) * width + tap[1] * dilation[1]) as usize;
            expected.extend(input[start..start + size[1] as usize].iter().copied().map(f64::from));
        }
        prop_assert_eq!(reference::convolve(&problem, &Tensors::new(&input, &weight)).unwrap().values, expected);
    }
}

/// An axis with its padding, element numbers written down in order.
fn padded_axis(size: u32, [before, after]: [u32; 2], mode: PaddingMode) -> Vec<Option<usize>> {
    let mut places: Vec<Option<usize>> = (0..size as usize).map(Some).collect();
    let original = places.clone();
    let at = |index: i64| original[index.rem_euclid(i64::from(size)) as usize];
    for step in 1..=i64::from(before) {
        places.insert(
            0,
            match mode {
                PaddingMode::Zeros => None,
                PaddingMode::Reflect => at(step),
                PaddingMode::Replicate => at(0),
                PaddingMode::Circular => at(-step),
            },
        );
    }
    for step in 1..=i64::from(after) {
        places.push(match mode {
            PaddingMode::Zeros => None,
            PaddingMode::Reflect => at(-1 - step),
            PaddingMode::Replicate => at(-1),
            PaddingMode::Circular => at(step - 1),
        });
    }
    places
}

/// A copy of the input in which each axis holds these elements of the original, or zeros.
fn copy_input(problem: &Problem, data: &Data, axes: [Vec<Option<usize>>; 3]) -> Vec<f32> {
    let [batch, channels, sizes @ ..] = problem.input_shape().five().map(|size| size as usize);
    let mut input = Vec::new();
    for volume in 0..batch * channels {
        for place in places(axes.each_ref().map(|axis| axis.len() as i64)) {
            let index = (0..3).try_fold(volume, |index, axis| {
                axes[axis][place[axis] as usize].map(|element| index * sizes[axis] + element)
            });
            input.push(index.map_or(0.0, |index| data.input[index]));
        }
    }
    input
}

/// Parameters without padding, and the shape of an input whose axes have these sizes.
fn unpadded(problem: &Problem, axes: &[Vec<Option<usize>>; 3]) -> (Parameters, Vec<u32>) {
    let sizes = axes[3 - problem.dimensions()..].iter().map(|axis| axis.len() as u32);
    let shape = problem.input_shape()[..2].iter().copied().chain(sizes).collect();
    let parameters =
        Parameters { padding: AnyPadding::Valid, padding_mode: PaddingMode::Zeros, ..problem.parameters() };
    (parameters, shape)
}

/// The same convolution without padding, of a copy of the input with the padding written out.
fn padded_copy(problem: &Problem, data: &Data) -> (Problem, Data) {
    let [_, _, sizes @ ..] = problem.input_shape().five();
    let [sides] = three([problem.padding()], [[0, 0]]);
    let axes = [0, 1, 2].map(|axis| padded_axis(sizes[axis], sides[axis], problem.padding_mode()));
    let (parameters, shape) = unpadded(problem, &axes);
    (changed(problem, &parameters, &shape), Data { input: copy_input(problem, data, axes), ..data.clone() })
}

/// A transposed convolution as a convolution of stride 1 with the mirrored weight, of a copy of the input whose elements
/// stand a stride apart with zeros around them.
fn spread_copy(problem: &Problem, data: &Data) -> (Problem, Data) {
    let [_, _, sizes @ ..] = problem.input_shape().five().map(i64::from);
    let [_, _, outputs @ ..] = problem.output_shape().five().map(i64::from);
    let [_, _, kernel @ ..] = problem.weight_shape().five().map(i64::from);
    let before: Vec<u32> = problem.padding().iter().map(|sides| sides[0]).collect();
    let [stride, dilation, before] =
        three([problem.stride(), problem.dilation(), &before], [1, 1, 0]).map(|axes| axes.map(i64::from));
    let axes = [0, 1, 2].map(|axis| {
        // The last tap of output 0 sees position -before of the inputs that stand a stride apart.
        let ahead = (kernel[axis] - 1) * dilation[axis];
        let places = (0..outputs[axis] + ahead).map(|place| place + before[axis] - ahead);
        let element = |place: i64| {
            let inside = place >= 0 && place % stride[axis] == 0 && place / stride[axis] < sizes[axis];
            inside.then_some((place / stride[axis]) as usize)
        };
        places.map(element).collect::<Vec<_>>()
    });
    let (parameters, shape) = unpadded(problem, &axes);
    let ones = vec![1; problem.dimensions()];
    let nothing = vec![0; problem.dimensions()];
    let parameters = Parameters { op: Op::Conv, stride: ones, output_padding: nothing, ..parameters };
    let [c, o] = [problem.in_channels_per_group(), problem.out_channels_per_group()].map(|count| count as usize);
    let taps = kernel.iter().product::<i64>() as usize;
    let mut weight = Vec::new();
    for group in 0..problem.groups() as usize {
        for (to, from) in (0..o * c).map(|pair| (pair / c, pair % c)) {
            // Mirrored along each axis is the same as read backwards.
            let filter = &data.weight[((group * c + from) * o + to) * taps..][..taps];
            weight.extend(filter.iter().rev());
        }
    }
    let spread = Data { input: copy_input(problem, data, axes), weight, ..data.clone() };
    (changed(problem, &parameters, &shape), spread)
}

/// Each group as a convolution of its own, for each image, put together again.
fn group_by_group(problem: &Problem, data: &Data) -> Vec<f64> {
    let shape = problem.input_shape();
    let groups = problem.groups() as usize;
    let (c, o) = (problem.in_channels_per_group(), problem.out_channels_per_group());
    let parameters = Parameters { in_channels: c, out_channels: o, groups: 1, ..problem.parameters() };
    let small: Vec<u32> = [1, c].into_iter().chain(shape[2..].iter().copied()).collect();
    let small = changed(problem, &parameters, &small);
    let (o, inputs, weights) = (o as usize, small.input_len() as usize, small.weight_len() as usize);
    let mut output = Vec::new();
    for image in 0..shape[0] as usize {
        for group in 0..groups {
            let of_group = |all: &Vec<f32>| all[group * o..][..o].to_vec();
            let part = Data {
                input: data.input[(image * groups + group) * inputs..][..inputs].to_vec(),
                weight: data.weight[group * weights..][..weights].to_vec(),
                bias: data.bias.as_ref().map(of_group),
                residual: None,
                slopes: data.slopes.as_ref().map(of_group),
                offset: None,
                mask: None,
            };
            output.extend(part.run(&small).values);
        }
    }
    output
}

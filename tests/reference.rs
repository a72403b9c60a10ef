//! The CPU reference: worked by hand, against a brute-force loop, and against what convolutions must obey.

#[path = "common/problems.rs"]
mod problems;

use problems::{Case, any_problem, integer_problem};
use proptest::prelude::*;
use wgpu_conv::reference::{self, Reference};
use wgpu_conv::{Activation, Conv2d, Error, Padding, PaddingMode, Problem, Tensors};

/// The tensors of a problem, owned.
#[derive(Debug, Clone)]
struct Data {
    input: Vec<f32>,
    weight: Vec<f32>,
    bias: Option<Vec<f32>>,
    residual: Option<Vec<f32>>,
    slopes: Option<Vec<f32>>,
}

impl Data {
    /// Small integers, always the same for the same problem and seed.
    fn integers(problem: &Problem, seed: u64) -> Self {
        let mut state = seed ^ 0x9e37_79b9_7f4a_7c15;
        let mut draw = |len: u64| -> Vec<f32> {
            let mut next = || {
                // Knuth's linear congruential generator; its high bits are random enough for test data.
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                ((state >> 40) % 15) as f32 - 7.0
            };
            (0..len).map(|_| next()).collect()
        };
        let channels = u64::from(problem.out_channels());
        Self {
            input: draw(problem.input_len()),
            weight: draw(problem.weight_len()),
            bias: problem.bias().then(|| draw(channels)),
            residual: problem.epilogue().residual.then(|| draw(problem.output_len())),
            slopes: (problem.epilogue().activation == Activation::Prelu).then(|| draw(channels)),
        }
    }

    fn tensors(&self) -> Tensors<'_> {
        Tensors {
            input: &self.input,
            weight: &self.weight,
            bias: self.bias.as_deref(),
            residual: self.residual.as_deref(),
            slopes: self.slopes.as_deref(),
        }
    }

    fn run(&self, problem: &Problem) -> Reference {
        reference::convolve(problem, &self.tensors()).unwrap_or_else(|error| panic!("{problem}: {error}"))
    }
}

fn parse(text: &str) -> Problem {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn values(text: &str, tensors: Tensors<'_>) -> Vec<f64> {
    reference::convolve(&parse(text), &tensors).unwrap_or_else(|error| panic!("{text}: {error}")).values
}

fn counting(len: u64) -> Vec<f32> {
    (0..len).map(|number| number as f32).collect()
}

#[test]
fn hand_worked_cases() {
    // One row 1 2 3, kernel 1 10 100 (not mirrored: this is a cross-correlation), one element of padding on each side.
    let row = Tensors::new(&[1.0, 2.0, 3.0], &[1.0, 10.0, 100.0]);
    for (options, expected) in [
        ("p0,0,1,1:zeros", [210.0, 321.0, 32.0]),
        ("p0,0,1,1:reflect", [212.0, 321.0, 232.0]),
        ("p0,0,1,1:replicate", [211.0, 321.0, 332.0]),
        ("p0,0,1,1:circular", [213.0, 321.0, 132.0]),
        ("p0,0,2,0:zeros", [100.0, 210.0, 321.0]),
        ("p0,0,0,2:replicate", [321.0, 332.0, 333.0]),
        ("psame", [210.0, 321.0, 32.0]),
    ] {
        let (padding, mode) = options.split_once(':').unwrap_or((options, "zeros"));
        assert_eq!(values(&format!("c1h1w3o1k1x3{padding}:{mode}:nobias"), row), expected, "{options}");
    }
    // A column instead of a row: rows and columns are not swapped.
    assert_eq!(values("c1h3w1o1k3x1p1,1,0,0:nobias", row), [210.0, 321.0, 32.0]);

    // 1 2 3 4 5 6 with kernel 1 10: stride 2 and dilation 3.
    let row = Tensors::new(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &[1.0, 10.0]);
    assert_eq!(values("c1h1w6o1k1x2s1x2:nobias", row), [21.0, 43.0, 65.0]);
    assert_eq!(values("c1h1w6o1k1x2d1x3:nobias", row), [41.0, 52.0, 63.0]);

    // Two groups of one input and two output channels each.
    let grouped = Tensors::new(&[3.0, 5.0], &[1.0, 2.0, 10.0, 20.0]).bias(&[0.5, 0.25, 0.0, -1.0]);
    assert_eq!(values("c2h1w1o4k1g2", grouped), [3.5, 6.25, 50.0, 99.0]);
}

#[test]
fn known_example_of_nn_conv2d() {
    // nn.Conv2d(3, 2, kernel_size=3, stride=2) on 1×3×7×7, input 0, 1, 2, …: channel 0 of the weight is all ones, so
    // an output is the sum of three 3×3 windows; channel 1 picks the centre of the second plane and adds 0.5.
    let problem = Problem::new(&Conv2d::new(3, 2, 3).stride(2), [1, 3, 7, 7]).unwrap();
    assert_eq!((problem.weight_shape(), problem.output_shape()), ([2, 3, 3, 3], [1, 2, 3, 3]));
    let mut weight = [vec![1.0; 27], vec![0.0; 27]].concat();
    weight[27 + 9 + 4] = 1.0;
    let result = reference::convolve(&problem, &Tensors::new(&counting(147), &weight).bias(&[0.0, 0.5])).unwrap();
    // The window at the top left has its centres at 8, 57 and 106: 9 · (8 + 57 + 106) = 1539; a step right adds
    // 27 · 2 = 54, a step down 27 · 14 = 378.
    assert_eq!(
        result.values,
        [
            [1539.0, 1593.0, 1647.0, 1917.0, 1971.0, 2025.0, 2295.0, 2349.0, 2403.0],
            [57.5, 59.5, 61.5, 71.5, 73.5, 75.5, 85.5, 87.5, 89.5],
        ]
        .concat()
    );
    // 2^-24 · S · (K + 4) + K · 2^-126 with K = 27, and S = 57 + 0.5 for the second channel.
    let bound = 57.5 * 31.0 / f64::from(1 << 24) + 27.0 * 2f64.powi(-126);
    assert_eq!(result.bounds[9], bound);
}

#[test]
fn epilogue_order_is_bias_residual_activation() {
    // 2 · 3 = 6; + 1 = 7; − 10 = −3; leaky relu of slope 0.5: −1.5. Any other order gives something else.
    let tensors = Tensors::new(&[2.0], &[3.0]).bias(&[1.0]).residual(&[-10.0]);
    assert_eq!(values("c1h1w1o1k1+residual+leaky_relu=0.5", tensors), [-1.5]);
    assert_eq!(values("c1h1w1o1k1+residual+relu", tensors), [0.0]);
    // PReLU takes the slope of the output channel.
    let tensors = Tensors::new(&[-1.0, -1.0], &[1.0, 2.0]).slopes(&[10.0, 100.0]);
    assert_eq!(values("c1h1w2o2k1:nobias+prelu", tensors), [-10.0, -10.0, -200.0, -200.0]);
}

#[test]
fn nothing_to_add_up_leaves_the_epilogue() {
    let tensors = Tensors::new(&[], &[]).bias(&[1.0, -2.0]);
    assert_eq!(values("c0h2w2o2k3p1+relu", tensors), [1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0]);
    assert_eq!(values("c0h1w2o1k1:nobias", Tensors::default()), [0.0, 0.0]);
    assert_eq!(values("n0c1h2w2o1k1", Tensors::new(&[], &[1.0]).bias(&[1.0])), [0.0; 0]);
    assert_eq!(values("n0c0h4294967295w4294967295o1k1:nobias", Tensors::default()), [0.0; 0]);
    let empty = reference::convolve(&parse("n0c1h2w2o1k1:nobias"), &Tensors::new(&[], &[1.0])).unwrap();
    let comparison = empty.compare(&[]).unwrap();
    assert_eq!((comparison.count, comparison.worst_index, comparison.passed()), (0, None, true));
}

#[test]
fn bounds_pass_through_the_activation() {
    let tensors = Tensors::new(&[2.0], &[-3.0]);
    let bound = |text: &str| reference::convolve(&parse(text), &tensors).unwrap().bounds[0];
    let plain = 6.0 * 5.0 / f64::from(1 << 24) + 2f64.powi(-126);
    assert_eq!(bound("c1h1w1o1k1:nobias"), plain);
    // Relu of −6 is 0: the bound is that of the argument. A steep slope of 4 multiplies it, and adds its own error.
    assert_eq!(bound("c1h1w1o1k1:nobias+relu"), plain);
    let own = Activation::LeakyRelu { slope: 4.0 }.error_bound(-6.0, 0.0) + 24.0 / f64::from(1 << 24);
    assert_eq!(bound("c1h1w1o1k1:nobias+leaky_relu=4"), 4.0 * plain + own);
}

/// Seven loops, the image index by adding up one step after the other.
fn brute_force(problem: &Problem, data: &Data) -> Vec<f64> {
    let conv = problem.conv();
    let [batch, _, height, width] = problem.input_shape().map(i64::from);
    let [out_channels, per_group, kernel_rows, kernel_columns] = problem.weight_shape().map(i64::from);
    let [_, _, rows, columns] = problem.output_shape().map(i64::from);
    let [stride, dilation] = [conv.stride, conv.dilation].map(|pair| pair.map(i64::from));
    let (top, left) = (i64::from(problem.padding().top), i64::from(problem.padding().left));
    let fetch = |n: i64, c: i64, row: i64, column: i64| {
        let (Some(row), Some(column)) = (walk(row, height, conv.padding_mode), walk(column, width, conv.padding_mode))
        else {
            return 0.0;
        };
        let channel = n * i64::from(conv.in_channels) + c;
        f64::from(data.input[((channel * height + row) * width + column) as usize])
    };
    let mut output = Vec::new();
    for n in 0..batch {
        for o in 0..out_channels {
            let group = o * i64::from(conv.groups) / out_channels;
            for y in 0..rows {
                for x in 0..columns {
                    let mut sum = data.bias.as_ref().map_or(0.0, |bias| f64::from(bias[o as usize]));
                    sum += data.residual.as_ref().map_or(0.0, |residual| f64::from(residual[output.len()]));
                    for c in 0..per_group {
                        for i in 0..kernel_rows {
                            for j in 0..kernel_columns {
                                let weight = ((o * per_group + c) * kernel_rows + i) * kernel_columns + j;
                                let row = y * stride[0] + i * dilation[0] - top;
                                let column = x * stride[1] + j * dilation[1] - left;
                                let value = fetch(n, group * per_group + c, row, column);
                                sum += value * f64::from(data.weight[weight as usize]);
                            }
                        }
                    }
                    let slope = data.slopes.as_ref().map_or(0.0, |slopes| f64::from(slopes[o as usize]));
                    output.push(problem.epilogue().activation.apply_f64(sum, slope));
                }
            }
        }
    }
    output
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
    fn equals_seven_loops(case in integer_problem(40_000), seed in any::<u64>()) {
        let data = Data::integers(&case.0, seed);
        prop_assert_eq!(data.run(&case.0).values, brute_force(&case.0, &data));
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
    fn padding_equals_a_padded_copy(case in integer_problem(20_000), seed in any::<u64>()) {
        let problem = case.0;
        let data = Data::integers(&problem, seed);
        let (copied, padded) = padded_copy(&problem, &data);
        prop_assert_eq!(data.run(&problem).values, padded.run(&copied).values);
    }

    #[test]
    fn groups_equal_separate_convolutions(case in integer_problem(20_000), seed in any::<u64>()) {
        let problem = without_residual(&case);
        let data = Data::integers(&problem, seed);
        prop_assert_eq!(data.run(&problem).values, group_by_group(&problem, &data));
    }

    /// conv(a·x1 + x2) = a·conv(x1) + conv(x2), in the input and in the weight, exactly for integers.
    #[test]
    fn is_linear(case in integer_problem(20_000), seed in any::<u64>()) {
        let conv = Conv2d { bias: false, ..*case.0.conv() };
        let problem = Problem::new(&conv, case.0.input_shape()).unwrap();
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
        let input = counting(problem.input_len());
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

fn without_residual(case: &Case) -> Problem {
    let activation = case.0.epilogue().activation;
    Problem::new(case.0.conv(), case.0.input_shape())
        .and_then(|problem| problem.with_epilogue(wgpu_conv::Epilogue::activation(activation)))
        .unwrap()
}

/// The same convolution without padding, of a copy of the input with the padding written out.
fn padded_copy(problem: &Problem, data: &Data) -> (Problem, Data) {
    let [batch, channels, height, width] = problem.input_shape();
    let sides = problem.padding();
    let shape = [batch, channels, height + sides.top + sides.bottom, width + sides.left + sides.right];
    let axis = |size: u32, before: u32, after: u32| -> Vec<Option<usize>> {
        // An axis with its padding, element numbers written down in order.
        let mut places: Vec<Option<usize>> = (0..size as usize).map(Some).collect();
        let original = places.clone();
        let at = |index: i64| original[index.rem_euclid(i64::from(size)) as usize];
        for step in 1..=i64::from(before) {
            places.insert(
                0,
                match problem.padding_mode() {
                    PaddingMode::Zeros => None,
                    PaddingMode::Reflect => at(step),
                    PaddingMode::Replicate => at(0),
                    PaddingMode::Circular => at(-step),
                },
            );
        }
        for step in 1..=i64::from(after) {
            places.push(match problem.padding_mode() {
                PaddingMode::Zeros => None,
                PaddingMode::Reflect => at(-1 - step),
                PaddingMode::Replicate => at(-1),
                PaddingMode::Circular => at(step - 1),
            });
        }
        places
    };
    let (rows, columns) = (axis(height, sides.top, sides.bottom), axis(width, sides.left, sides.right));
    let mut input = Vec::new();
    for plane in 0..(batch * channels) as usize {
        for row in &rows {
            for column in &columns {
                let place =
                    row.zip(*column).map(|(row, column)| (plane * height as usize + row) * width as usize + column);
                input.push(place.map_or(0.0, |place| data.input[place]));
            }
        }
    }
    let conv = problem.conv().padding(Padding::Valid).padding_mode(PaddingMode::Zeros);
    let copied = Problem::new(&conv, shape).and_then(|copied| copied.with_epilogue(problem.epilogue())).unwrap();
    (copied, Data { input, ..data.clone() })
}

/// Each group as a convolution of its own, for each image, put together again.
fn group_by_group(problem: &Problem, data: &Data) -> Vec<f64> {
    let [batch, channels, height, width] = problem.input_shape();
    let groups = problem.groups();
    let (c, o) = (problem.in_channels_per_group() as usize, problem.out_channels_per_group() as usize);
    let conv = Conv2d { in_channels: c as u32, out_channels: o as u32, groups: 1, ..*problem.conv() };
    let small = Problem::new(&conv, [1, c as u32, height, width])
        .and_then(|small| small.with_epilogue(problem.epilogue()))
        .unwrap();
    let plane = (height * width) as usize;
    let weights = o * problem.sum_length() as usize;
    let mut output = Vec::new();
    for image in 0..batch as usize {
        for group in 0..groups as usize {
            let first = (image * channels as usize + group * c) * plane;
            let of_group = |all: &Vec<f32>| all[group * o..][..o].to_vec();
            let part = Data {
                input: data.input[first..][..c * plane].to_vec(),
                weight: data.weight[group * weights..][..weights].to_vec(),
                bias: data.bias.as_ref().map(of_group),
                residual: None,
                slopes: data.slopes.as_ref().map(of_group),
            };
            output.extend(part.run(&small).values);
        }
    }
    output
}

#[test]
fn float32_stays_within_the_bound_and_uses_some_of_it() {
    // A float32 sum in the plainest order, of numbers that are no integers, over sums of 1600 products.
    let problem = parse("c64h5w5o3k5p2:nobias");
    let mut data = Data::integers(&problem, 1);
    for number in data.input.iter_mut().chain(&mut data.weight) {
        *number *= 0.137;
    }
    let mut actual = Vec::new();
    for (o, y, x) in (0..75).map(|output| (output / 25, output / 5 % 5, output % 5)) {
        let mut sum = 0f32;
        for (c, i, j) in (0..1600).map(|tap| (tap / 25, tap / 5 % 5, tap % 5)) {
            // Rows and columns 2 to 6 of the padded image are the image.
            if (2..7).contains(&(y + i)) && (2..7).contains(&(x + j)) {
                sum += data.input[c * 25 + (y + i - 2) * 5 + x + j - 2] * data.weight[(o * 64 + c) * 25 + i * 5 + j];
            }
        }
        actual.push(sum);
    }
    let comparison = data.run(&problem).compare(&actual).unwrap();
    assert!(comparison.passed() && comparison.worst_ratio > 1e-5, "{comparison:?}");
}

#[test]
fn comparer_catches_each_kind_of_wrong_output() {
    let problem = parse("c2h6w6o2k3p1");
    let reference = Data::integers(&problem, 5).run(&problem);
    let right: Vec<f32> = reference.values.iter().map(|value| *value as f32).collect();
    let comparison = reference.compare(&right).unwrap();
    assert_eq!((comparison.count, comparison.failures, comparison.max_error), (72, 0, 0.0));
    assert_eq!((comparison.worst_ratio, comparison.worst_index), (0.0, Some(0)));

    for index in [0, 35, 71] {
        let with = |value: f32| {
            let mut wrong = right.clone();
            wrong[index] = value;
            reference.compare(&wrong).unwrap()
        };
        let (value, bound) = (reference.values[index], reference.bounds[index]);
        let wrong = with(right[index] + 1.0);
        assert_eq!((wrong.failures, wrong.worst_index, wrong.max_error), (1, Some(index), 1.0));
        assert_eq!(wrong.worst, [value, value + 1.0, bound]);
        assert!(wrong.worst_ratio > 1.0 && !wrong.passed());
        for broken in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let broken = with(broken);
            assert_eq!((broken.failures, broken.worst_index), (1, Some(index)));
            assert_eq!((broken.max_error, broken.worst_ratio), (f64::INFINITY, f64::INFINITY));
        }
    }
    // Within and beyond the bound.
    let reference = Reference { values: vec![1.0, 1.0], bounds: vec![0.25, 0.25] };
    let comparison = reference.compare(&[1.25, 1.5]).unwrap();
    assert_eq!((comparison.failures, comparison.worst_index, comparison.worst_ratio), (1, Some(1), 2.0));
    // A reference that is not finite itself is not a licence.
    let reference = Reference { values: vec![f64::INFINITY, f64::NAN], bounds: vec![f64::INFINITY, f64::NAN] };
    assert!(reference.compare(&[f32::INFINITY, f32::NAN]).unwrap().passed());
    assert_eq!(reference.compare(&[1.0, f32::INFINITY]).unwrap().failures, 2);

    let message = reference.compare(&[1.0]).unwrap_err().to_string();
    assert_eq!(message, "result has 1 elements; required are 2");
}

#[test]
fn wrong_tensors_and_indices_are_errors() {
    let problem = parse("c1h2w2o1k1");
    let (input, weight, bias) = ([1.0; 4], [1.0], [1.0]);
    let right = Tensors::new(&input, &weight).bias(&bias);
    let error = |tensors: &Tensors<'_>| {
        let error = reference::convolve(&problem, tensors).unwrap_err();
        assert_eq!(reference::convolve_at(&problem, tensors, &[]).unwrap_err(), error);
        error
    };
    assert_eq!(
        error(&Tensors { input: &input[1..], ..right }),
        Error::Length { name: "input", required: 4, actual: 3 }
    );
    assert_eq!(error(&Tensors { weight: &input, ..right }), Error::Length { name: "weight", required: 1, actual: 4 });
    assert!(matches!(error(&Tensors { bias: None, ..right }), Error::Missing { name: "bias", .. }));
    assert!(matches!(error(&right.residual(&input)), Error::Unexpected { name: "residual", .. }));
    let error = reference::convolve_at(&problem, &right, &[3, 4]).unwrap_err().to_string();
    assert_eq!(error, "output index is 4; it must be below the number of outputs, 4");
}

#[test]
fn results_beyond_memory_are_errors_and_can_be_sampled() {
    // 3.6e16 outputs, of which the one in the middle sees the input; most others see padding only.
    let problem = parse("c1h1w1o1k1p95000000:nobias");
    let tensors = Tensors::new(&[3.0], &[7.0]);
    let error = reference::convolve(&problem, &tensors).unwrap_err().to_string();
    assert!(error.contains("190000001, 190000001"), "{error}");
    let middle = 95_000_000 * 190_000_001 + 95_000_000;
    let samples = reference::convolve_at(&problem, &tensors, &[0, middle, problem.output_len() - 1]).unwrap();
    assert_eq!(samples.values, [0.0, 21.0, 0.0]);
}

#[test]
fn positions_beyond_32_bits_are_right() {
    // Outputs look at columns 0, 2^32 − 1 and 2^33 − 2 of a padded row, whose only real element is the middle one; the
    // second kernel column looks 2^32 − 1 further right.
    let tensors = Tensors::new(&[3.0], &[7.0]);
    let text = "c1h1w1o1k1s4294967295p0,0,4294967295,4294967295";
    let two = Tensors::new(&[3.0], &[7.0, 100.0]);
    let two_taps = text.replace("k1", "k1x2d4294967295");
    for (mode, one, both) in
        [("zeros", [0.0, 21.0, 0.0], [300.0, 21.0]), ("replicate", [21.0, 21.0, 21.0], [321.0, 321.0])]
    {
        assert_eq!(values(&format!("{text}:{mode}:nobias"), tensors), one);
        let problem = parse(&format!("{two_taps}:{mode}:nobias"));
        assert_eq!(reference::convolve(&problem, &two).unwrap().values, both);
        assert_eq!(reference::convolve_at(&problem, &two, &[0, 1]).unwrap().values, both);
    }
}

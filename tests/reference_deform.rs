//! The float64 reference of deformable convolutions: worked by hand, against the other way of computing it, and against plain
//! convolutions, of which it is one where offsets are whole. And what is refused.

use proptest::prelude::*;
use wgpu_conv::reference::{self, Reference};
use wgpu_conv::{Activation, AnyPadding, Conv2d, DeformConv2d, Error, Op, PaddingMode, Parameters, Problem, Tensors};
use wgpu_conv_check::problems::{any_activation, in_any_format, problem_with};
use wgpu_conv_check::{DataKind, ProblemData, table};

fn parse(text: &str) -> Problem {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// Both ways of computing it, which must agree.
fn run(problem: &Problem, tensors: &Tensors<'_>) -> Reference {
    let all = reference::convolve(problem, tensors).unwrap_or_else(|error| panic!("{problem}: {error}"));
    let indices: Vec<u64> = (0..problem.output_len()).collect();
    let single = reference::convolve_at(problem, tensors, &indices).unwrap();
    for (index, (a, b)) in all.values.iter().zip(&single.values).enumerate() {
        assert!((a - b).abs() <= 1e-12 * a.abs().max(1.0), "{problem}, output {index}: {a} and {b}");
    }
    for (index, (a, b)) in all.bounds.iter().zip(&single.bounds).enumerate() {
        assert!((a - b).abs() <= 1e-9 * a + 1e-300, "{problem}, bound {index}: {a} and {b}");
    }
    all
}

/// The values of a problem with one tap: each output is one sample.
fn samples(problem: &str, input: &[f32], offset: &[f32]) -> Vec<f64> {
    run(&parse(problem), &Tensors::new(input, &[1.0]).offset(offset)).values
}

const IMAGE: [f32; 6] = [1.0, 2.0, 4.0, 10.0, 20.0, 40.0];

#[test]
fn a_sample_lies_between_its_neighbours() {
    let sample = |down: f32, right: f32| {
        // The first output of 2 rows × 3 columns; the others stay where they are.
        let mut offset = vec![0.0; 12];
        (offset[0], offset[6]) = (down, right);
        let values = samples("n1c1h2w3o1k1:nobias:deform", &IMAGE, &offset);
        assert_eq!(values[1..], [2.0, 4.0, 10.0, 20.0, 40.0]);
        values[0]
    };
    for (down, right, expected) in [
        (0.0, 0.0, 1.0),
        // Down first, then to the right.
        (1.0, 0.0, 10.0),
        (0.0, 1.0, 2.0),
        (0.5, 0.0, 5.5),
        (0.0, 0.25, 1.25),
        // 0.5 · (0.75 · 2 + 0.25 · 4) + 0.5 · (0.75 · 20 + 0.25 · 40)
        (0.5, 1.25, 13.75),
        // Half of it beyond the border, where zeros are.
        (-0.5, 0.0, 0.5),
        (1.5, 2.0, 20.0),
        (-0.25, 2.75, 0.75),
        // At and beyond one element outside, nothing.
        (-1.0, 0.0, 0.0),
        (0.0, -1.0, 0.0),
        (2.0, 0.0, 0.0),
        (0.0, 3.0, 0.0),
        (-7.5, 100.0, 0.0),
        (1e30, 0.0, 0.0),
        (0.0, -1e30, 0.0),
        (f32::NAN, 0.0, 0.0),
        (0.0, -f32::NAN, 0.0),
        (f32::INFINITY, 0.0, 0.0),
        (0.0, f32::NEG_INFINITY, 0.0),
    ] {
        assert_eq!(sample(down, right), expected, "{down} down, {right} to the right");
    }
}

#[test]
fn every_tap_and_offset_group_has_offsets_and_mask_of_its_own() {
    // One output, 2 × 2 taps, two channels in two offset groups; taps row by row, of each first down, then to the right.
    let problem = parse("n1c2h2w2o1k2:nobias:deform:offset_groups=2:mask");
    let input = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0];
    let weight = [1.0, 10.0, 100.0, 1000.0, 1e4, 1e5, 1e6, 1e7];
    let stay = [0.0; 16];
    let ones = [1.0; 8];
    let value = |offset: &[f32], mask: &[f32]| {
        run(&problem, &Tensors::new(&input, &weight).offset(offset).mask(mask)).values[0]
    };
    assert_eq!(value(&stay, &ones), 87_654_321.0);
    // Tap 1 (above right) of the first group one down, from 2 to 4; tap 2 (below left) of the second one right, from 7 to 8.
    let mut moved = stay;
    (moved[2], moved[8 + 5]) = (1.0, 1.0);
    assert_eq!(value(&moved, &ones), 88_654_341.0);
    assert_eq!(value(&stay, &[1.0, 0.0, 2.0, 1.0, 1.0, 1.0, 0.0, 1.0]), 80_654_601.0);
}

#[test]
fn outputs_images_and_strides_count_in_the_offsets() {
    // Two images of one row; stride 2, so outputs at columns 0, 2, 4; each has its own offset to the right.
    let problem = parse("n2c1h1w5o1k1s2:nobias:deform");
    let input = [1.0, 2.0, 3.0, 4.0, 5.0, 10.0, 20.0, 30.0, 40.0, 50.0];
    let offset = [0.0, 0.0, 0.0, 1.0, 0.5, -4.0, 0.0, 0.0, 0.0, 3.0, -0.5, 0.5];
    let values = run(&problem, &Tensors::new(&input, &[1.0]).offset(&offset)).values;
    assert_eq!(values, [2.0, 3.5, 1.0, 40.0, 25.0, 25.0]);
}

#[test]
fn without_offsets_it_is_a_convolution() {
    for text in ["n2c6h9w8o4k3x2s2x1p0,1,2,1d2x1g2", "n1c4h7w7o6k3psame+residual+relu", "n2c3h5w4o5k1:nhwc:hwio"] {
        let plain = parse(text);
        let (sizes, options) = text.split_at(text.find([':', '+']).unwrap_or(text.len()));
        let deformable = parse(&format!("{sizes}:deform:mask{options}"));
        let data = ProblemData::generate(&plain, DataKind::Uniform, 3).unwrap();
        let (offset, mask) = (vec![0.0; deformable.offset_len() as usize], vec![1.0; deformable.mask_len() as usize]);
        let actual = run(&deformable, &data.tensors().offset(&offset).mask(&mask));
        let expected = reference::convolve(&plain, &data.tensors()).unwrap();
        for (index, (a, b)) in actual.values.iter().zip(&expected.values).enumerate() {
            assert!((a - b).abs() < 1e-12, "{text}, output {index}: {a} and {b}");
        }
        assert!(actual.bounds.iter().zip(&expected.bounds).all(|(a, b)| a >= b && *a < 40.0 * b), "{text}");
    }
}

/// All taps moved by the same whole numbers: padding that is moved.
#[test]
fn whole_offsets_are_a_shift() {
    let (down, right) = (2, -1);
    let deformable = Problem::new(&DeformConv2d::new(3, 4, 3).padding([[2, 0], [1, 1]]), [2, 3, 6, 7]).unwrap();
    let shifted = Problem::new(&Conv2d::new(3, 4, 3).padding([[0, 2], [2, 0]]), [2, 3, 6, 7]).unwrap();
    assert_eq!(deformable.output_shape(), shifted.output_shape());
    let data = ProblemData::generate(&shifted, DataKind::Uniform, 1).unwrap();
    let plane = (deformable.output_shape()[2] * deformable.output_shape()[3]) as usize;
    let offset: Vec<f32> = (0..deformable.offset_len() as usize)
        .map(|index| if (index / plane).is_multiple_of(2) { down } else { right } as f32)
        .collect();
    let actual = run(&deformable, &data.tensors().offset(&offset));
    let expected = reference::convolve(&shifted, &data.tensors()).unwrap();
    for (index, (a, b)) in actual.values.iter().zip(&expected.values).enumerate() {
        assert!((a - b).abs() < 1e-12, "output {index}: {a} and {b}");
    }
}

#[test]
fn both_ways_agree_on_the_table() {
    let entries = table::entries();
    let deformable = entries.iter().map(|entry| parse(&entry.problem)).filter(|p| p.op() == Op::DeformConv);
    let mut count = 0;
    for problem in deformable {
        for kind in DataKind::ALL {
            let data = ProblemData::generate(&problem, kind, 5).unwrap();
            run(&problem, &data.tensors());
        }
        count += 1;
    }
    assert!(count >= 30, "{count}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn both_ways_agree_on_random_problems(
        case in in_any_format(problem_with(20_000, Just(Op::DeformConv), any_activation())),
        kind in prop::sample::select(DataKind::ALL.to_vec()),
        seed in any::<u64>(),
    ) {
        let data = ProblemData::generate(&case.0, kind, seed).unwrap();
        run(&case.0, &data.tensors());
    }

    /// Samples are added up like any input: conv(a·x1 + x2) = a·conv(x1) + conv(x2), exactly for whole numbers and halves.
    #[test]
    fn is_linear_in_the_input(
        case in problem_with(20_000, Just(Op::DeformConv), Just(Activation::Identity)),
        seed in any::<u64>(),
    ) {
        let parameters = Parameters { bias: false, ..case.0.parameters() };
        let problem = Problem::from_parameters(&parameters, &case.0.input_shape()).unwrap();
        let [one, two] = [seed, !seed].map(|seed| ProblemData::generate(&problem, DataKind::Integers, seed).unwrap());
        let mixed: Vec<f32> = one.input.iter().zip(&two.input).map(|(a, b)| 3.0 * a + b).collect();
        let values = |input: &[f32]| run(&problem, &Tensors { input, ..one.tensors() }).values;
        let sum: Vec<f64> = values(&one.input).iter().zip(values(&two.input)).map(|(a, b)| 3.0 * a + b).collect();
        prop_assert_eq!(values(&mixed), sum);
    }
}

/// The last output of a 1×1 convolution in float32, as plainly as a shader does it.
fn in_float32(problem: &Problem, tensors: &Tensors<'_>) -> f32 {
    let [height, width] = [problem.input_shape()[2], problem.input_shape()[3]].map(|size| size as i32);
    let offset = tensors.offset.unwrap_or_default();
    let along = |axis: usize| {
        let grid = (problem.output_shape()[2 + axis] - 1) * problem.stride()[axis];
        let offset = offset[(axis + 1) * offset.len() / 2 - 1];
        (grid as i32 - problem.padding()[axis][0] as i32) as f32 + offset
    };
    let [y, x] = [along(0), along(1)];
    let (top, left) = (y.floor(), x.floor());
    let at = |row: i32, column: i32| {
        let inside = (0..height).contains(&row) && (0..width).contains(&column);
        if inside { tensors.input[(row * width + column) as usize] } else { 0.0 }
    };
    let (row, column) = (top as i32, left as i32);
    let (low, near) = (y - top, x - left);
    let above = (1.0 - near) * at(row, column) + near * at(row, column + 1);
    let below = (1.0 - near) * at(row + 1, column) + near * at(row + 1, column + 1);
    ((1.0 - low) * above + low * below) * tensors.weight[0]
}

/// Positions that float32 rounds hard: close to elements, close to the border, and small steps from far along an axis.
#[test]
fn the_bound_covers_positions_in_float32() {
    let mut worst = [0.0_f64; 3];
    for (worst, sizes) in worst.iter_mut().zip(["w9s9", "w9s9p3,0,3,0", "w4099s9x4096"]) {
        let problem = parse(&format!("n1c1h9{sizes}o1k1:nobias:deform"));
        let input: Vec<f32> = (0..problem.input_len()).map(|i| (i as f32 * 1.7).sin() * 3.0).collect();
        let last = problem.output_len() as usize - 1;
        for step in 0..2000_u32 {
            let wild = |factor: f32, before: u32| {
                let near = (step as f32 * factor) % 12.0 - 1.5;
                let tiny = [0.0, 1e-7, -1e-7, 3e-8, 1e-30][(step % 5) as usize];
                let position = if step % 3 == 0 { near.round() + tiny } else { near };
                position + before as f32
            };
            let mut offset = vec![0.0; problem.offset_len() as usize];
            offset[last] = wild(0.377, problem.padding()[0][0]);
            offset[2 * last + 1] =
                wild(7.913, problem.padding()[1][0]) - if sizes.contains("4096") { 6.0 } else { 0.0 };
            let tensors = Tensors::new(&input, &[1.3]).offset(&offset);
            let expected = reference::convolve(&problem, &tensors).unwrap();
            let (value, bound) = (expected.values[last], expected.bounds[last]);
            let error = (f64::from(in_float32(&problem, &tensors)) - value).abs();
            assert!(error <= bound, "{sizes}, {offset:?}: {error:e} exceeds {bound:e}");
            if error > 0.0 {
                *worst = worst.max(error / bound);
            }
        }
    }
    // Bounds twenty times as large would say little.
    assert!(worst.iter().all(|&worst| worst > 0.05), "{worst:?}");
}

#[test]
fn what_cannot_be_is_an_error_with_its_numbers() {
    let plain = Parameters::from_weight_shape(Op::DeformConv, &[4, 6, 3, 3], 1).unwrap();
    let error = |change: fn(&mut Parameters)| {
        let mut parameters = plain.clone();
        change(&mut parameters);
        let input: Vec<u32> = [1, 6].into_iter().chain(vec![9; parameters.kernel_size.len()]).collect();
        Problem::from_parameters(&parameters, &input).unwrap_err().to_string()
    };
    for (change, parts) in [
        ((|p| p.offset_groups = 4) as fn(&mut Parameters), ["offset_groups is 4", "in_channels, which is 6"]),
        (|p| p.offset_groups = 0, ["offset_groups is 0", "at least 1"]),
        (|p| p.padding_mode = PaddingMode::Reflect, ["padding_mode is reflect", "deformable"]),
        (|p| p.output_padding = vec![1, 0], ["output_padding is 1", "only transposed"]),
        (|p| p.groups = 4, ["groups is 4", "6"]),
        (
            |p| {
                p.kernel_size = vec![3];
                (p.stride, p.dilation, p.output_padding) = (vec![1], vec![1], vec![0]);
                p.padding = AnyPadding::Valid;
            },
            ["kernel_size is 1 numbers", "2 numbers, rows and columns"],
        ),
        (
            |p| {
                (p.op, p.mask) = (Op::Conv, true);
            },
            ["mask is true", "only deformable"],
        ),
        (
            |p| {
                (p.op, p.offset_groups) = (Op::ConvTranspose, 2);
                (p.in_channels, p.out_channels) = (6, 4);
            },
            ["offset_groups is 2", "only deformable"],
        ),
    ] {
        let message = error(change);
        assert!(parts.iter().all(|part| message.contains(part)), "{message}");
    }
    let many = "n0c0h60000w60000o1k50000x50000:deform:offset_groups=1".parse::<Problem>().unwrap_err();
    assert!(matches!(many, Error::TooLarge { .. }) && many.to_string().contains("50000 × 50000 taps"), "{many}");
}

#[test]
fn tensors_are_checked() {
    let problem = parse("n1c2h3w3o1k1:nobias:deform:mask");
    let (input, offset, mask) = ([0.0; 18], [0.0; 18], [0.0; 9]);
    let right = Tensors::new(&input, &[0.0; 2]).offset(&offset).mask(&mask);
    assert!(right.check(&problem).is_ok());
    for (tensors, part) in [
        (Tensors { offset: None, ..right }, "offset is missing: the convolution is deformable"),
        (Tensors { mask: None, ..right }, "mask is missing: the convolution has mask = true"),
        (Tensors { offset: Some(&offset[1..]), ..right }, "offset has 17 elements; required are 18"),
        (Tensors { mask: Some(&mask[1..]), ..right }, "mask has 8 elements; required are 9"),
    ] {
        assert_eq!(tensors.check(&problem).unwrap_err().to_string(), part);
    }
    let plain = parse("n1c2h3w3o1k1:nobias");
    let unexpected = right.check(&plain).unwrap_err().to_string();
    assert_eq!(unexpected, "offset was given, but the convolution is not deformable");
    let unmasked = right.check(&parse("n1c2h3w3o1k1:nobias:deform")).unwrap_err().to_string();
    assert_eq!(unmasked, "mask was given, but the convolution has mask = false");
}

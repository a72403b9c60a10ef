//! Shape arithmetic of transposed convolutions by brute force, and what is refused, with the numbers that it names.

use std::collections::BTreeSet;

use wgpu_conv::{
    AnyPadding, ConvTranspose1d, ConvTranspose2d, ConvTranspose3d, Epilogue, Error, Op, Padding, PaddingMode,
    Parameters, Problem, Result,
};

/// One more than the last place that some input reaches with some tap.
fn covered(size: u32, kernel: u32, stride: u32, dilation: u32) -> u32 {
    let places = (0..size).flat_map(|input| (0..kernel).map(move |tap| input * stride + tap * dilation));
    places.max().map_or(0, |last| last + 1)
}

/// Most taps that meet in one output, far from all edges.
fn meeting(kernel: u32, stride: u32, dilation: u32) -> u64 {
    let count = |remainder: u32| (0..kernel).filter(|tap| tap * dilation % stride == remainder).count();
    (0..stride).map(count).max().unwrap_or(0) as u64
}

/// A transposed convolution with the given numbers along one axis of so many; the others are plain, of 2 elements.
fn along(
    axis: usize,
    axes: usize,
    [size, kernel, stride, dilation, more]: [u32; 5],
    padding: Option<[u32; 2]>,
    named: AnyPadding,
) -> Result<Problem> {
    let with = |plain: u32, this: u32| {
        let mut numbers = vec![plain; axes];
        numbers[axis] = this;
        numbers
    };
    let sides = |both: [u32; 2]| (0..axes).map(|other| if other == axis { both } else { [0, 0] }).collect();
    let parameters = Parameters {
        stride: with(1, stride),
        dilation: with(1, dilation),
        output_padding: with(0, more),
        padding: padding.map_or(named, |both| AnyPadding::Explicit(sides(both))),
        ..Parameters::from_weight_shape(Op::ConvTranspose, &[&[1, 1], &with(1, kernel)[..]].concat(), 1)?
    };
    Problem::from_parameters(&parameters, &[&[1, 1], &with(2, size)[..]].concat())
}

#[test]
fn output_size_is_what_inputs_reach() {
    let mut refused = BTreeSet::new();
    for (number, (size, kernel, stride, dilation)) in
        (0..4 * 4 * 4 * 3).map(|n| (n % 4 + 1, n / 4 % 4 + 1, n / 16 % 4 + 1, n / 64 + 1)).enumerate()
    {
        let axes = number % 3 + 1;
        let axis = number / 3 % axes;
        for (before, after, more) in (0..4 * 5 * 5).map(|n| (n % 4, n / 4 % 5, n / 20)) {
            let all = covered(size, kernel, stride, dilation) + more;
            let numbers = [size, kernel, stride, dilation, more];
            let found = along(axis, axes, numbers, Some([before, after]), AnyPadding::Valid);
            let name = ["slices", "rows", "columns"][3 - axes + axis];
            let expected = if more >= stride.max(dilation) {
                let larger = stride.max(dilation);
                Err(Error::Parameter {
                    parameter: "output_padding",
                    actual: more.to_string(),
                    required: format!("below {larger}, the larger of stride {stride} and dilation {dilation}"),
                })
            } else if all <= before + after {
                Err(Error::EmptyTransposed { axis: name, size, covered: all.into(), before, after })
            } else {
                Ok(all - before - after)
            };
            if let Err(error) = &expected {
                refused.insert(error.to_string());
            }
            let what = format!("{numbers:?} p{before},{after} axis {axis} of {axes}");
            assert_eq!(found.clone().map(|problem| problem.output_shape()[2 + axis]), expected, "{what}");
            if let Ok(problem) = found {
                assert_eq!(problem.sum_length(), meeting(kernel, stride, dilation), "{what}");
                let others = 2u64.pow(axes as u32 - 1);
                assert_eq!(problem.macs(), u64::from(size * kernel) * others, "{what}");
                assert_eq!(problem.output_padding()[axis], more);
            }
        }
    }
    assert!(refused.len() > 100, "the sweep must reach refusals: {}", refused.len());
}

#[test]
fn same_leaves_stride_times_the_input() {
    for (number, (size, kernel, stride, dilation)) in
        (0..5 * 5 * 5 * 3).map(|n| (n % 5 + 1, n / 5 % 5 + 1, n / 25 % 5 + 1, n / 125 + 1)).enumerate()
    {
        let axes = number % 3 + 1;
        let axis = number / 3 % axes;
        // ONNX: what inputs reach, less size · stride, is the padding in total; none if they reach less than that.
        let total = covered(size, kernel, stride, dilation).saturating_sub(size * stride);
        let (less, more) = (total / 2, total.div_ceil(2));
        for (padding, expected) in [(AnyPadding::Same, [less, more]), (AnyPadding::SameLower, [more, less])] {
            let problem = along(axis, axes, [size, kernel, stride, dilation, 0], None, padding).unwrap();
            assert_eq!(problem.output_shape()[2 + axis], size * stride, "{problem}");
            assert_eq!(problem.padding()[axis], expected, "{problem}");
        }
        let full = along(axis, axes, [size, kernel, stride, dilation, 0], None, AnyPadding::Valid).unwrap();
        assert_eq!(full.output_shape()[2 + axis], covered(size, kernel, stride, dilation));
    }
}

#[test]
fn shapes_of_worked_examples() {
    // The upsampling layer of many decoders, a vocoder's, and a segmentation network's in three dimensions.
    let image = ConvTranspose2d::new(64, 32, 4).stride(2).padding(1);
    let problem = Problem::new(&image, [2, 64, 28, 30]).unwrap();
    assert_eq!(problem.output_shape(), [2, 32, 56, 60]);
    assert_eq!((problem.sum_length(), problem.macs()), (64 * 4, 2 * 64 * 28 * 30 * 32 * 16));
    assert_eq!(problem.bytes(), 4 * (2 * 64 * 28 * 30 + 64 * 32 * 16 + 32 + 2 * 32 * 56 * 60));
    let audio = ConvTranspose1d::new(512, 256, 16).stride(8).padding(4);
    assert_eq!(Problem::new(&audio, [1, 512, 100]).unwrap().output_shape(), [1, 256, 800]);
    let volume = ConvTranspose3d::new(6, 4, [2, 3, 4]).stride([2, 1, 3]).output_padding([1, 0, 2]).groups(2);
    let problem = Problem::new(&volume, [1, 6, 5, 6, 7]).unwrap();
    assert_eq!(problem.weight_shape(), [6, 2, 2, 3, 4]);
    // 4 · 2 + 2 + 1, 5 · 1 + 3, 6 · 3 + 4 + 2.
    assert_eq!(problem.output_shape(), [1, 4, 11, 8, 24]);
    assert_eq!((problem.in_channels_per_group(), problem.out_channels_per_group()), (3, 2));
}

#[test]
fn every_refusal_names_its_numbers() {
    let conv = || ConvTranspose2d::new(4, 6, 3).stride(2);
    let image = [1, 4, 8, 8];
    let cases = [
        (
            Problem::new(&conv().output_padding([0, 2]), image),
            "output_padding is 2; it must be below 2, the larger of stride 2 and dilation 1",
        ),
        (
            Problem::new(&conv().dilation([3, 1]).output_padding([3, 0]), image),
            "output_padding is 3; it must be below 3, the larger of stride 2 and dilation 3",
        ),
        (
            Problem::new(&conv().padding_mode(PaddingMode::Reflect), image),
            "padding_mode is reflect; it must be zeros: no other mode is defined for a transposed convolution",
        ),
        (
            Problem::new(&conv().padding(Padding::sides(0, 0, 9, 8)), image),
            "the output would have no columns: 8 columns of input make 17 of output, of which padding leaves out 9 + 8",
        ),
        (
            Problem::new(&conv(), [1, 5, 8, 8]),
            "input has shape (1, 5, 8, 8); required is (N, 4, H, W): the convolution has in_channels = 4",
        ),
        (Problem::new(&conv().groups(4), image), "groups is 4, which does not divide out_channels = 6"),
        (Problem::new(&conv().groups(3), image), "groups is 3, which does not divide in_channels = 4"),
        (Problem::new(&conv().stride([0, 1]), image), "stride is 0; it must be at least 1"),
        (Problem::new(&conv(), [1, 4, 0, 8]), "input height is 0; it must be at least 1"),
        (Problem::new(&conv().stride([1 << 30, 1]), image), "the output size (7516192771 rows) exceeds 4294967295"),
        (
            ConvTranspose1d::from_weight_shape([4, 65536, 3], 65536).and_then(|conv| Problem::new(&conv, [1, 4, 8])),
            "out_channels (65536 per group × 65536 groups) exceeds 4294967295",
        ),
    ];
    for (result, message) in cases {
        assert_eq!(result.expect_err(message).to_string(), message);
    }
}

/// Every combination of extreme numbers gives a problem whose counts are right, or an error; never an overflow (which
/// panics in a build with debug assertions).
#[test]
fn extreme_numbers_are_counted_or_refused() {
    const EXTREMES: [u32; 5] = [0, 1, 2, 65_536, u32::MAX];
    let (mut fine, mut too_large) = (0, 0);
    for code in 0..5u32.pow(7) {
        let mut digits = code;
        let [batch, size, kernel, stride, dilation, before, channels] = [(); 7].map(|()| {
            let number = EXTREMES[(digits % 5) as usize];
            digits /= 5;
            number
        });
        let axes = code as usize % 3 + 1;
        // The last axis has the extremes; the others vary along.
        let list = |last: u32| {
            let mut numbers: Vec<u32> = (1..=axes as u32).collect();
            numbers[axes - 1] = last;
            numbers
        };
        let groups = if code % 2 == 0 { 1 } else { channels };
        let parameters = Parameters {
            op: Op::ConvTranspose,
            in_channels: channels,
            out_channels: channels,
            kernel_size: list(kernel),
            stride: list(stride),
            padding: match code % 7 {
                0 => AnyPadding::Same,
                1 => AnyPadding::SameLower,
                2 => AnyPadding::Valid,
                _ => AnyPadding::Explicit((0..axes).map(|axis| [before * u32::from(axis + 1 == axes), 0]).collect()),
            },
            dilation: list(dilation),
            output_padding: if code % 5 == 0 { list(stride.saturating_sub(1)) } else { vec![0; axes] },
            groups,
            bias: true,
            padding_mode: PaddingMode::Zeros,
            offset_groups: 1,
            mask: false,
        };
        let input = [vec![batch, channels], list(size)].concat();
        match Problem::from_parameters(&parameters, &input) {
            Ok(problem) => {
                fine += 1;
                let product = |shape: &[u32]| shape.iter().map(|&size| u128::from(size)).product::<u128>();
                let (input, weight) = (product(&problem.input_shape()), product(&problem.weight_shape()));
                let output = product(&problem.output_shape());
                let macs = input * product(&problem.weight_shape()[1..]);
                let problem = problem.with_epilogue(Epilogue::NONE.with_residual()).unwrap();
                for (name, count, expected) in [
                    ("input", problem.input_len(), input),
                    ("weight", problem.weight_len(), weight),
                    ("output", problem.output_len(), output),
                    ("multiply-adds", problem.macs(), macs),
                    ("operations", problem.flops(), 2 * macs),
                    ("bytes", problem.bytes(), 4 * (input + weight + u128::from(channels) + 2 * output)),
                ] {
                    assert_eq!(u128::from(count), expected, "{name} of {problem}");
                }
            }
            Err(error) => {
                too_large += u32::from(matches!(error, Error::TooLarge { .. }));
                assert!(error.to_string().contains(|c: char| c.is_ascii_digit()), "{error}");
            }
        }
    }
    assert!(fine > 500 && too_large > 1000, "{fine} {too_large}");
}

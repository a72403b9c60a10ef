//! Shape arithmetic by brute force, and what `Problem::new` refuses, with the numbers that it names. Of transposed
//! convolutions: `geometry_transposed.rs`.

use wgpu_conv::{
    Activation, AnyPadding, Conv1d, Conv2d, Conv3d, Epilogue, Error, Op, Padding, PaddingMode, Parameters, Problem,
    Result, Tensors,
};

/// How often the kernel fits on a padded axis: every position is tried.
fn count_positions(padded: u32, kernel: u32, stride: u32, dilation: u32) -> u32 {
    let fits = |start: u32| (0..kernel).all(|tap| start + tap * dilation < padded);
    (0..padded).filter(|&start| start % stride == 0 && fits(start)).count() as u32
}

/// A convolution with the given numbers along one axis (0: rows, 1: columns) and others, fixed, along the other one.
fn along(axis: usize, size: u32, kernel: u32, stride: u32, dilation: u32, padding: Padding) -> Result<Problem> {
    let both = |this: u32, other: u32| if axis == 0 { [this, other] } else { [other, this] };
    let [height, width] = both(size, 20);
    let conv = Conv2d::new(1, 1, both(kernel, 2)).stride(both(stride, 5)).dilation(both(dilation, 3));
    Problem::new(&conv.padding(padding), [1, 1, height, width])
}

fn sides(axis: usize, before: u32, after: u32) -> Padding {
    if axis == 0 { Padding::sides(before, after, 0, 0) } else { Padding::sides(0, 0, before, after) }
}

#[test]
fn output_size_is_the_number_of_positions_that_fit() {
    let mut empty = 0;
    for (size, kernel, stride, dilation) in
        (0..7 * 5 * 4 * 4).map(|n| (n % 7 + 1, n / 7 % 5 + 1, n / 35 % 4 + 1, n / 140 + 1))
    {
        for (axis, before, after) in (0..2 * 5 * 5).map(|n| (n as usize % 2, n / 2 % 5, n / 10)) {
            let expected = count_positions(size + before + after, kernel, stride, dilation);
            let what = format!("axis {axis} size {size} k{kernel} s{stride} d{dilation} p{before},{after}");
            match along(axis, size, kernel, stride, dilation, sides(axis, before, after)) {
                Ok(problem) => {
                    assert_eq!(problem.output_shape()[2 + axis], expected, "{what}");
                    // 20 elements, 2 taps 3 apart, every 5th: starts at 0, 5, 10 and 15.
                    assert_eq!(problem.output_shape()[3 - axis], 4, "{what}");
                    let taps = problem.receptive_field()[axis];
                    assert_eq!((0..kernel).map(|tap| u64::from(tap * dilation) + 1).max(), Some(taps), "{what}");
                }
                Err(error) => {
                    empty += 1;
                    assert_eq!(expected, 0, "{what}: {error}");
                    let extent = u64::from((kernel - 1) * dilation + 1);
                    let axis = ["rows", "columns"][axis];
                    assert_eq!(error, Error::EmptyOutput { axis, size, before, after, extent });
                }
            }
        }
    }
    assert!(empty > 1000, "the sweep must reach empty outputs: {empty}");
}

#[test]
fn same_pads_as_little_as_gives_every_output() {
    // TensorFlow's and ONNX's definition: ceil(size / stride) outputs, from the least padding in total that has room for
    // them, halved; the odd element goes to the end (SAME, SAME_UPPER) or to the beginning (SAME_LOWER).
    for (size, kernel, stride, dilation) in
        (0..13 * 7 * 6 * 4).map(|n| (n % 13 + 1, n / 13 % 7 + 1, n / 91 % 6 + 1, n / 546 + 1))
    {
        let outputs = (0..size).filter(|place| place % stride == 0).count() as u32;
        let total = (0..).find(|total| count_positions(size + total, kernel, stride, dilation) >= outputs).unwrap();
        let (less, more) = (total / 2, total.div_ceil(2));
        for axis in [0, 1] {
            for (padding, expected) in [(Padding::Same, [less, more]), (Padding::SameLower, [more, less])] {
                let what = format!("{padding:?} axis {axis} size {size} k{kernel} s{stride} d{dilation}");
                let problem = along(axis, size, kernel, stride, dilation, padding).unwrap();
                assert_eq!(problem.padding()[axis], expected, "{what}");
                assert_eq!(problem.output_shape()[2 + axis], outputs, "{what}");
            }
        }
    }
}

#[test]
fn same_in_worked_examples() {
    let resolved = |size: u32, kernel: u32, stride: u32, dilation: u32, padding: Padding| {
        let conv = Conv2d::new(1, 1, [1, kernel]).stride([1, stride]).dilation([1, dilation]).padding(padding);
        let problem = Problem::new(&conv, [1, 1, 1, size]).unwrap();
        let [before, after] = problem.padding()[1];
        (problem.output_shape()[3], before, after)
    };
    // The last of 3 outputs, 2 apart, ends at 2 · 2 + 3 = 7: one more than 6.
    assert_eq!(resolved(6, 3, 2, 1, Padding::Same), (3, 0, 1));
    assert_eq!(resolved(6, 3, 2, 1, Padding::SameLower), (3, 1, 0));
    assert_eq!(resolved(5, 3, 2, 1, Padding::Same), (3, 1, 1));
    // PyTorch's padding='same' of an even kernel: 3 in total, one at the left.
    assert_eq!(resolved(9, 4, 1, 1, Padding::Same), (9, 1, 2));
    assert_eq!(resolved(9, 4, 1, 3, Padding::Same), (9, 4, 5));
    // A stride larger than the kernel needs no padding.
    assert_eq!(resolved(10, 2, 4, 1, Padding::Same), (3, 0, 0));
    assert_eq!(resolved(9, 3, 1, 1, Padding::Valid), (7, 0, 0));
}

#[test]
fn padding_modes_take_as_much_as_the_image_can_give() {
    for size in 1..6u32 {
        for (mode, most) in [(PaddingMode::Reflect, size - 1), (PaddingMode::Circular, size)] {
            for (axis, padding) in (0..2 * 8).map(|n| (n as usize % 2, n / 2)) {
                for first in [true, false] {
                    let (before, after) = if first { (padding, 0) } else { (0, padding) };
                    let conv = Conv2d::new(1, 1, 1).padding(sides(axis, before, after)).padding_mode(mode);
                    let found = Problem::new(&conv, [1, 1, size, size]);
                    assert_eq!(found.is_ok(), padding <= most, "{mode} {padding} of {size}");
                    if let Err(error) = found {
                        let relation = if mode == PaddingMode::Reflect { "more than" } else { "at least" };
                        let axis = ["rows", "columns"][axis];
                        assert_eq!(error, Error::PaddingTooLarge { mode: mode.name(), axis, padding, relation, size });
                    }
                }
            }
        }
        let far = Conv2d::new(1, 1, 1).padding(1000);
        for mode in [PaddingMode::Zeros, PaddingMode::Replicate] {
            let problem = Problem::new(&far.padding_mode(mode), [1, 1, size, size]).unwrap();
            assert_eq!(problem.output_shape(), [1, 1, 2000 + size, 2000 + size]);
        }
    }
}

/// Lines and volumes: each axis is what it is for an image, whichever one it is.
#[test]
fn every_axis_of_every_rank_is_alike() {
    let mut numbers = [(5, 3, 1, 1, [1, 0]), (9, 2, 3, 2, [0, 2]), (6, 4, 2, 1, [2, 1])];
    for _ in 0..3 {
        numbers.rotate_left(1);
        let axis = |axis: usize| {
            let (size, kernel, stride, dilation, [before, after]) = numbers[axis];
            count_positions(size + before + after, kernel, stride, dilation)
        };
        let [a, b, c] = numbers;
        let volume = Conv3d::new(2, 3, [a.1, b.1, c.1]).stride([a.2, b.2, c.2]).dilation([a.3, b.3, c.3]);
        let problem = Problem::new(&volume.padding([a.4, b.4, c.4]), [4, 2, a.0, b.0, c.0]).unwrap();
        assert_eq!(problem.output_shape(), [4, 3, axis(0), axis(1), axis(2)]);
        assert_eq!(problem.padding(), [a.4, b.4, c.4]);
        assert_eq!(problem.sum_length(), 2 * 24);
        assert_eq!(problem.receptive_field(), [a, b, c].map(|axis| u64::from(axis.3 * (axis.1 - 1) + 1)));
        let line = Conv1d::new(2, 3, a.1).stride(a.2).dilation(a.3).padding([a.4]);
        let problem = Problem::new(&line, [4, 2, a.0]).unwrap();
        assert_eq!(problem.output_shape(), [4, 3, axis(0)]);
        assert_eq!((problem.dimensions(), problem.kernel_size(), problem.stride()), (1, &[a.1][..], &[a.2][..]));
    }
    // Wav2vec's first layer and an inflated ResNet stem.
    let audio = Problem::new(&Conv1d::new(1, 512, 10).stride(5), [1, 1, 16_000]).unwrap();
    assert_eq!((audio.output_shape().to_vec(), audio.macs()), (vec![1, 512, 3199], 512 * 3199 * 10));
    let video = Conv3d::new(3, 64, [3, 7, 7]).stride([1, 2, 2]).padding([1, 3, 3]);
    assert_eq!(Problem::new(&video, [2, 3, 16, 112, 112]).unwrap().output_shape(), [2, 64, 16, 56, 56]);
}

/// Lists of the wrong length, which only [`Parameters`] can hold.
#[test]
fn wrong_ranks_are_named_with_their_numbers() {
    let right = || Parameters {
        padding: AnyPadding::Explicit(vec![[1, 1]; 3]),
        ..Parameters::from_weight_shape(Op::Conv, &[6, 4, 3, 3, 3], 1).unwrap()
    };
    let volume = [1, 4, 8, 8, 8];
    assert_eq!(Problem::from_parameters(&right(), &volume).unwrap().output_shape(), [1, 6, 8, 8, 8]);
    let three = "it must be 3 numbers, one for each spatial axis";
    let any = "required is two sizes and one for each of one to three spatial axes";
    let cases = [
        (Parameters { stride: vec![1; 2], ..right() }, &volume[..], format!("stride is 2 numbers; {three}")),
        (Parameters { dilation: vec![], ..right() }, &volume, format!("dilation is 0 numbers; {three}")),
        (
            Parameters { output_padding: vec![0; 4], ..right() },
            &volume,
            format!("output_padding is 4 numbers; {three}"),
        ),
        (
            Parameters { padding: AnyPadding::Explicit(vec![[0, 0]; 2]), ..right() },
            &volume,
            format!("padding is 2 numbers; {three}"),
        ),
        (
            Parameters { kernel_size: vec![1; 4], ..right() },
            &volume,
            "kernel_size is 4 numbers; it must be one number for each of one to three spatial axes".into(),
        ),
        (
            Parameters { kernel_size: vec![], ..right() },
            &volume,
            "kernel_size is 0 numbers; it must be one number for each of one to three spatial axes".into(),
        ),
        (
            right(),
            &[1, 4, 8, 8],
            "input has shape (1, 4, 8, 8); required is (N, 4, D, H, W): the convolution has in_channels = 4".into(),
        ),
        (right(), &[], "input has shape (); required is (N, 4, D, H, W): the convolution has in_channels = 4".into()),
        (right(), &[1, 4, 0, 8, 8], "input depth is 0; it must be at least 1".into()),
        (
            Parameters { kernel_size: vec![11, 3, 3], ..right() },
            &volume,
            "the output would have no slices: the kernel covers 11 (dilation included), \
             but the input has 8 slices with 1 + 1 of padding"
                .into(),
        ),
        (
            Parameters { output_padding: vec![0, 0, 1], ..right() },
            &volume,
            "output_padding is 1; it must be 0: only transposed convolutions have it".into(),
        ),
    ];
    for (parameters, input, message) in cases {
        assert_eq!(Problem::from_parameters(&parameters, input).unwrap_err().to_string(), message);
    }
    for (shape, text) in [(&[6, 4][..], "(6, 4)"), (&[6], "(6)"), (&[6, 4, 3, 3, 3, 3], "(6, 4, 3, 3, 3, 3)")] {
        let error = Parameters::from_weight_shape(Op::ConvTranspose, shape, 1).unwrap_err();
        assert_eq!(error.to_string(), format!("weight has shape {text}; {any}"));
    }
    let error = Parameters::from_weight_shape(Op::ConvTranspose, &[6, 65536, 3], 65536).unwrap_err();
    assert_eq!(error.to_string(), "the number of channels (65536 per group × 65536 groups) exceeds 4294967295");
}

#[test]
fn counts_of_a_worked_example() {
    let conv = Conv2d::new(6, 8, [3, 5]).groups(2);
    let problem = Problem::new(&conv, [2, 6, 10, 12]).unwrap();
    let problem = problem.with_epilogue(Epilogue::NONE.with_residual()).unwrap();
    assert_eq!(problem.weight_shape(), [8, 3, 3, 5]);
    assert_eq!(problem.output_shape(), [2, 8, 8, 8]);
    assert_eq!((problem.in_channels_per_group(), problem.out_channels_per_group()), (3, 4));
    assert_eq!((problem.input_len(), problem.weight_len(), problem.output_len()), (1440, 360, 1024));
    assert_eq!((problem.sum_length(), problem.macs(), problem.flops()), (45, 46_080, 92_160));
    // Input, weight, bias, residual and output, 4 bytes each.
    assert_eq!(problem.bytes(), 4 * (1440 + 360 + 8 + 1024 + 1024));
    let bare = Problem::new(&conv.bias(false), [2, 6, 10, 12]).unwrap();
    assert_eq!(bare.bytes(), 4 * (1440 + 360 + 1024));
}

#[test]
fn every_refusal_names_its_numbers() {
    let conv = || Conv2d::new(4, 6, 3);
    let image = [1, 4, 8, 8];
    let cases: Vec<(Result<Problem>, &str)> = vec![
        (Problem::new(&conv().groups(0), image), "groups is 0; it must be at least 1"),
        (Problem::new(&Conv2d::new(4, 0, 3), image), "out_channels is 0; it must be at least 1"),
        (Problem::new(&Conv2d::new(4, 6, [3, 0]), image), "kernel_size is 0; it must be at least 1"),
        (Problem::new(&conv().stride([0, 1]), image), "stride is 0; it must be at least 1"),
        (Problem::new(&conv().dilation([1, 0]), image), "dilation is 0; it must be at least 1"),
        (Problem::new(&conv(), [1, 4, 0, 8]), "input height is 0; it must be at least 1"),
        (Problem::new(&conv(), [1, 4, 8, 0]), "input width is 0; it must be at least 1"),
        (Problem::new(&conv().groups(3), image), "groups is 3, which does not divide in_channels = 4"),
        (Problem::new(&conv().groups(4), image), "groups is 4, which does not divide out_channels = 6"),
        (
            Problem::new(&conv(), [1, 5, 8, 8]),
            "input has shape (1, 5, 8, 8); required is (N, 4, H, W): the convolution has in_channels = 4",
        ),
        (
            Problem::new(&conv().dilation([1, 5]).padding([0, 1]), image),
            "the output would have no columns: the kernel covers 11 (dilation included), \
             but the input has 8 columns with 1 + 1 of padding",
        ),
        (
            Problem::new(&conv().padding([8, 0]).padding_mode(PaddingMode::Reflect), image),
            "reflect padding of 8 rows needs more than 8 rows of input; there are 8",
        ),
        (
            Problem::new(&conv().padding([0, 9]).padding_mode(PaddingMode::Circular), image),
            "circular padding of 9 columns needs at least 9 columns of input; there are 8",
        ),
        (
            Problem::new(
                &Conv2d::new(1, 1, [1, 10]).padding(Padding::Same).padding_mode(PaddingMode::Reflect),
                [1, 1, 1, 5],
            ),
            "reflect padding of 5 columns needs more than 5 columns of input; there are 5",
        ),
        (
            Problem::new(&conv().padding(Padding::sides(u32::MAX, 9, 0, 0)), image),
            "the output size (4294967310 rows) exceeds 4294967295",
        ),
        (
            Problem::new(&Conv2d::new(1, 1, [1, 65537]).dilation(131072).padding(Padding::Same), [1, 1, 1, 2]),
            "the padding (4294967296 columns) exceeds 4294967295",
        ),
        (
            Problem::new(&Conv2d::new(1, 1, [65537, 1]).dilation(262144).padding(Padding::Same), [1, 1, 2, 1]),
            "the padding (8589934592 rows) exceeds 4294967295",
        ),
        (
            Problem::new(&Conv2d::new(65536, 1, 1), [65536, 65536, 65536, 65536]),
            "the number of input elements ((65536, 65536, 65536, 65536)) exceeds 64 bits",
        ),
        (
            Conv2d::from_weight_shape([6, 65536, 3, 3], 65536).and_then(|conv| Problem::new(&conv, image)),
            "in_channels (65536 per group × 65536 groups) exceeds 4294967295",
        ),
        (
            Problem::new(&conv(), image)
                .and_then(|fine| fine.with_epilogue(Epilogue::activation(Activation::Clip { min: 2.0, max: 1.5 }))),
            "activation is clip=2,1.5; it must be a range with min at most max",
        ),
        (
            Problem::new(&conv(), image)
                .and_then(|fine| fine.with_epilogue(Epilogue::activation(Activation::Elu { alpha: f32::INFINITY }))),
            "activation is elu=inf; it must be given finite numbers",
        ),
        (
            "n1c4h8w8o6k3q1".parse(),
            "cannot read \"n1c4h8w8o6k3q1\" at character 13: expected one of the fields n c z h w o k s p d g, or ':' or '+'",
        ),
        ("n1c4h8w8o6k3g3".parse(), "groups is 3, which does not divide in_channels = 4"),
    ];
    for (result, message) in cases {
        let error = result.expect_err(message);
        assert_eq!(error.to_string(), message);
    }
}

/// A case of the conformance suite that must be refused; numbers may be negative, zero, or of the wrong count.
struct Refusal {
    name: &'static str,
    stride: &'static [i64],
    padding: [i64; 2],
    dilation: [i64; 2],
    groups: i64,
    mode: PaddingMode,
    input: &'static [i64],
    weight: &'static [i64],
    bias: Option<&'static [i64]>,
    /// What the message must name.
    says: &'static [&'static str],
}

/// A convolution that is right; each case changes what its name says.
const RIGHT: Refusal = Refusal {
    name: "right",
    stride: &[1, 1],
    padding: [0, 0],
    dilation: [1, 1],
    groups: 1,
    mode: PaddingMode::Zeros,
    input: &[1, 4, 8, 8],
    weight: &[4, 4, 3, 3],
    bias: None,
    says: &[],
};

const HUGE: i64 = 2_147_483_647;

/// The 19 refusals of 2-D convolutions.
const REFUSALS: [Refusal; 19] = [
    Refusal { name: "channels", weight: &[4, 3, 3, 3], says: &["(1, 4, 8, 8)", "(N, 3, H, W)"], ..RIGHT },
    Refusal {
        name: "groups_input",
        groups: 3,
        weight: &[6, 1, 3, 3],
        says: &["(1, 4, 8, 8)", "(N, 3, H, W)"],
        ..RIGHT
    },
    Refusal {
        name: "groups_output",
        groups: 2,
        weight: &[3, 2, 3, 3],
        says: &["groups is 2", "out_channels = 3"],
        ..RIGHT
    },
    Refusal { name: "groups_zero", groups: 0, says: &["groups is 0"], ..RIGHT },
    Refusal { name: "stride_zero", stride: &[1, 0], says: &["stride is 0"], ..RIGHT },
    Refusal { name: "stride_negative", stride: &[-1, 1], says: &["stride", "-1"], ..RIGHT },
    Refusal { name: "dilation_zero", dilation: [0, 1], says: &["dilation is 0"], ..RIGHT },
    Refusal { name: "padding_negative", padding: [-1, 0], says: &["padding", "-1"], ..RIGHT },
    Refusal { name: "kernel_too_large", weight: &[4, 4, 9, 3], says: &["rows", "covers 9", "has 8"], ..RIGHT },
    Refusal { name: "dilated_too_large", dilation: [1, 4], says: &["columns", "covers 9", "has 8"], ..RIGHT },
    Refusal { name: "kernel_empty", weight: &[4, 4, 3, 0], says: &["kernel_size is 0"], ..RIGHT },
    Refusal { name: "bias_length", bias: Some(&[3]), says: &["bias has 3", "required are 4"], ..RIGHT },
    Refusal { name: "bias_rank", bias: Some(&[4, 1]), says: &["bias", "2 numbers"], ..RIGHT },
    Refusal { name: "weight_rank", weight: &[4, 4, 3], says: &["weight", "3 numbers"], ..RIGHT },
    Refusal { name: "input_rank", input: &[4, 8], says: &["input", "2 numbers"], ..RIGHT },
    Refusal { name: "reflect_pad", mode: PaddingMode::Reflect, padding: [8, 0], says: &["reflect", "8 rows"], ..RIGHT },
    Refusal {
        name: "circular_pad",
        mode: PaddingMode::Circular,
        padding: [9, 0],
        says: &["circular", "9 rows", "are 8"],
        ..RIGHT
    },
    Refusal { name: "stride_rank", stride: &[1, 1, 1], says: &["stride", "3 numbers"], ..RIGHT },
    Refusal {
        name: "overflow",
        input: &[HUGE, HUGE, HUGE, HUGE],
        weight: &[4, HUGE, 3, 3],
        says: &["2147483647, 2147483647", "64 bits"],
        ..RIGHT
    },
];

/// Numbers of any sign and count as the types of the crate take them. The types refuse what is negative or of the wrong
/// count, so that is refused here, as a program that reads such numbers from a file would do it.
fn typed<const COUNT: usize>(name: &str, numbers: &[i64]) -> Result<[u32; COUNT], String> {
    let wrong_count = || format!("{name} has {} numbers, not {COUNT}", numbers.len());
    let numbers: &[i64; COUNT] = numbers.try_into().map_err(|_| wrong_count())?;
    let mut result = [0; COUNT];
    for (to, from) in result.iter_mut().zip(numbers) {
        *to = u32::try_from(*from).map_err(|_| format!("{name} is {from}"))?;
    }
    Ok(result)
}

/// The way from numbers to a checked convolution with its tensors.
fn prepare(case: &Refusal) -> Result<(), String> {
    let text = |error: Error| error.to_string();
    let weight_shape = typed("weight", case.weight)?;
    let conv = Conv2d::from_weight_shape(weight_shape, typed::<1>("groups", &[case.groups])?[0]).map_err(text)?;
    let conv = conv
        .stride(typed("stride", case.stride)?)
        .padding(typed("padding", &case.padding)?)
        .dilation(typed("dilation", &case.dilation)?)
        .padding_mode(case.mode)
        .bias(case.bias.is_some());
    let problem = Problem::new(&conv, typed("input", case.input)?).map_err(text)?;
    let zeros = |len: u64| vec![0.0; len as usize];
    let (input, weight) = (zeros(problem.input_len()), zeros(problem.weight_len()));
    let bias = case.bias.map(|shape| typed::<1>("bias", shape)).transpose()?.map(|[len]| zeros(len.into()));
    let tensors = Tensors { bias: bias.as_deref(), ..Tensors::new(&input, &weight) };
    tensors.check(&problem).map_err(text)
}

#[test]
fn refusals_of_the_conformance_suite() {
    assert_eq!(prepare(&RIGHT), Ok(()));
    assert_eq!(prepare(&Refusal { bias: Some(&[4]), ..RIGHT }), Ok(()));
    for case in REFUSALS {
        let error = prepare(&case).expect_err(case.name);
        for part in case.says {
            assert!(error.contains(part), "{}: {error}", case.name);
        }
    }
}

/// Every combination of extreme numbers gives a problem whose counts are right, or an error; never an overflow (which
/// panics in a build with debug assertions).
#[test]
fn extreme_numbers_are_counted_or_refused() {
    const EXTREMES: [u32; 5] = [0, 1, 2, 65_536, u32::MAX];
    let pick = |digits: &mut u32| {
        let number = EXTREMES[(*digits % 5) as usize];
        *digits /= 5;
        number
    };
    let (mut fine, mut too_large) = (0, 0);
    for code in 0..5u32.pow(7) {
        let mut digits = code;
        let [batch, size, kernel, stride, dilation, before, channels] = [(); 7].map(|()| pick(&mut digits));
        // The other numbers vary along.
        let (groups, out_channels) = if code % 2 == 0 { (1, channels) } else { (channels, channels) };
        let padding = match code % 7 {
            0 => Padding::Same,
            1 => Padding::SameLower,
            2 => Padding::Valid,
            _ => Padding::sides(before, u32::MAX - before, 1, before),
        };
        let conv = Conv2d::new(channels, out_channels, [kernel, 2 - code % 2])
            .stride([stride, 1])
            .padding(padding)
            .dilation([dilation, u32::MAX >> (code % 32)])
            .groups(groups)
            .padding_mode(PaddingMode::ALL[(code % 4) as usize]);
        match Problem::new(&conv, [batch, channels, size, size / 2 + 1]) {
            Ok(problem) => {
                fine += 1;
                check_counts(&problem);
            }
            Err(error) => {
                too_large += u32::from(matches!(error, Error::TooLarge { .. }));
                assert!(error.to_string().contains(|c: char| c.is_ascii_digit()), "{error}");
            }
        }
    }
    assert!(fine > 1000 && too_large > 1000, "{fine} {too_large}");
}

fn check_counts(problem: &Problem) {
    let product = |shape: &[u32]| shape.iter().map(|&size| u128::from(size)).product::<u128>();
    let (input, weight) = (product(&problem.input_shape()), product(&problem.weight_shape()));
    let (output, terms) = (product(&problem.output_shape()), product(&problem.weight_shape()[1..]));
    let problem = problem.with_epilogue(Epilogue::NONE.with_residual()).unwrap();
    for (name, count, expected) in [
        ("input", problem.input_len(), input),
        ("weight", problem.weight_len(), weight),
        ("output", problem.output_len(), output),
        ("terms", problem.sum_length(), terms),
        ("multiply-adds", problem.macs(), output * terms),
        ("operations", problem.flops(), 2 * output * terms),
        ("bytes", problem.bytes(), 4 * (input + weight + u128::from(problem.out_channels()) + 2 * output)),
    ] {
        assert_eq!(u128::from(count), expected, "{name} of {problem}");
    }
}

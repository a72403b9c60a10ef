//! The CPU reference worked by hand: values, bounds, comparison and errors. `reference_laws.rs` has the random problems.

#[path = "common/tensors.rs"]
mod tensors;

use tensors::Data;
use wgpu_conv::reference::{self, Reference};
use wgpu_conv::{Activation, Conv2d, Error, Problem, Tensors};

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
        // The same without rows, and along the slices of a volume.
        let line = padding.replace("p0,0,", "p");
        assert_eq!(values(&format!("c1w3o1k3{line}:{mode}:nobias"), row), expected, "{options}, one axis");
        let slices = if line == "psame" { line } else { format!("{line},0,0,0,0") };
        assert_eq!(values(&format!("c1z3h1w1o1k3x1x1{slices}:{mode}:nobias"), row), expected, "{options}, slices");
    }
    // A column instead of a row: rows and columns are not swapped.
    assert_eq!(values("c1h3w1o1k3x1p1,1,0,0:nobias", row), [210.0, 321.0, 32.0]);

    // 1 2 3 4 5 6 with kernel 1 10: stride 2 and dilation 3.
    let row = Tensors::new(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &[1.0, 10.0]);
    assert_eq!(values("c1h1w6o1k1x2s1x2:nobias", row), [21.0, 43.0, 65.0]);
    assert_eq!(values("c1h1w6o1k1x2d1x3:nobias", row), [41.0, 52.0, 63.0]);
    assert_eq!(values("c1w6o1k2s2:nobias", row), [21.0, 43.0, 65.0]);
    assert_eq!(values("c1w6o1k2d3:nobias", row), [41.0, 52.0, 63.0]);
    assert_eq!(values("c1z6h1w1o1k2x1x1s3x1x1d2x1x1:nobias", row), [31.0, 64.0]);

    // Two groups of one input and two output channels each.
    let grouped = Tensors::new(&[3.0, 5.0], &[1.0, 2.0, 10.0, 20.0]).bias(&[0.5, 0.25, 0.0, -1.0]);
    assert_eq!(values("c2h1w1o4k1g2", grouped), [3.5, 6.25, 50.0, 99.0]);
}

#[test]
fn hand_worked_volumes() {
    // Each tap puts its element at a decimal place of its own, columns first, so that the sum shows what it saw.
    let taps = [1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7];
    let cube = Tensors::new(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0], &taps);
    assert_eq!(values("c1z2h2w2o1k2:nobias", cube), [87_654_321.0]);
    // Padding ahead of the slices: the first output sees slice 0 with the taps of slice 1.
    assert_eq!(values("c1z2h2w2o1k2p1,0,0,0,0,0:nobias", cube), [43_210_000.0, 87_654_321.0]);
    // Ahead of the columns and behind the rows; the taps of columns are neighbours, those of rows two places apart.
    assert_eq!(values("c1z2h2w2o1k2p0,0,0,1,1,0:nobias", cube), [70_503_010.0, 87_654_321.0, 700_030.0, 870_043.0]);
    // Two channels, which are summed: 1 · 1 + 3 · 100 and 2 · 1 + 4 · 100, one for each slice.
    let channels = Tensors::new(&[1.0, 2.0, 3.0, 4.0], &[1.0, 100.0]);
    assert_eq!(values("c2z2h1w1o1k1:nobias", channels), [301.0, 402.0]);
    // A kernel of three slices over one: with zeros its middle is left, replicated edges give the sum of all, 111 · 5.
    let one = Tensors::new(&[5.0], &[1.0, 10.0, 100.0]);
    assert_eq!(values("c1z1h1w1o1k3x1x1p1x0x0:nobias", one), [50.0]);
    assert_eq!(values("c1z1h1w1o1k3x1x1p1x0x0:replicate:nobias", one), [555.0]);
}

#[test]
fn hand_worked_transposed() {
    // 1 2 3 with kernel 1 10 100: each input puts its multiple of 1 10 100 at its place, and what meets is added up.
    let row = Tensors::new(&[1.0, 2.0, 3.0], &[1.0, 10.0, 100.0]);
    for (options, expected) in [
        ("", &[1.0, 12.0, 123.0, 230.0, 300.0][..]),
        // Two apart: 1 10 100, then 2 20 200 from place 2 on, then 3 30 300 from place 4 on.
        ("s2", &[1.0, 10.0, 102.0, 20.0, 203.0, 30.0, 300.0]),
        ("s2p1", &[10.0, 102.0, 20.0, 203.0, 30.0]),
        ("s2p0,2", &[1.0, 10.0, 102.0, 20.0, 203.0]),
        // More than the stride left out: no output sees only the first input.
        ("s2p3,0", &[20.0, 203.0, 30.0, 300.0]),
        ("s2p1:transposed=1", &[10.0, 102.0, 20.0, 203.0, 30.0, 300.0]),
        // 3 · 2 = 6 outputs of 7: one is left out, at the end or at the beginning.
        ("s2psame", &[1.0, 10.0, 102.0, 20.0, 203.0, 30.0]),
        ("s2psamelower", &[10.0, 102.0, 20.0, 203.0, 30.0, 300.0]),
        // A stride beyond the kernel leaves outputs that no input reaches, and so does output padding.
        ("s4", &[1.0, 10.0, 100.0, 0.0, 2.0, 20.0, 200.0, 0.0, 3.0, 30.0, 300.0]),
        ("s4p10,0:transposed=3", &[300.0, 0.0, 0.0, 0.0]),
        // Taps two apart: 1 . 10 . 100, then 2 . 20 . 200 one further, then 3 . 30 . 300.
        ("d2", &[1.0, 2.0, 13.0, 20.0, 130.0, 200.0, 300.0]),
        // Stride and dilation 2: what stride 1 gives, with zeros in between. Dilation 3: 1 . . 10 . . 100, two apart.
        ("s2d2", &[1.0, 0.0, 12.0, 0.0, 123.0, 0.0, 230.0, 0.0, 300.0]),
        ("s2d3", &[1.0, 0.0, 2.0, 10.0, 3.0, 20.0, 100.0, 30.0, 200.0, 0.0, 300.0]),
        ("d3:transposed=2", &[1.0, 2.0, 3.0, 10.0, 20.0, 30.0, 100.0, 200.0, 300.0, 0.0, 0.0]),
    ] {
        let (sizes, output_padding) = options.split_once(':').unwrap_or((options, "transposed"));
        assert_eq!(values(&format!("c1w3o1k3{sizes}:{output_padding}:nobias"), row), expected, "{options}");
    }
    // Rows one apart, columns two apart: 1 2 over 3 4, each times 1 10 over 100 1000.
    let image = Tensors::new(&[1.0, 2.0, 3.0, 4.0], &[1.0, 10.0, 100.0, 1000.0]);
    assert_eq!(
        values("c1h2w2o1k2s1x2:transposed:nobias", image),
        [[1.0, 10.0, 2.0, 20.0], [103.0, 1030.0, 204.0, 2040.0], [300.0, 3000.0, 400.0, 4000.0]].concat()
    );
    // Two slices 1 and 2, times the columns 1 10 in the first and 100 1000 in the second slice of the kernel.
    let slices = Tensors::new(&[1.0, 2.0], &[1.0, 10.0, 100.0, 1000.0]);
    assert_eq!(values("c1z2h1w1o1k2x1x2:transposed:nobias", slices), [1.0, 10.0, 102.0, 1020.0, 200.0, 2000.0]);
    // The weight's first axis is the input channel: 3 · 1 + 5 · 10 and 3 · 2 + 5 · 20, and a bias.
    let channels = Tensors::new(&[3.0, 5.0], &[1.0, 2.0, 10.0, 20.0]);
    assert_eq!(values("c2w1o2k1:transposed", channels.bias(&[0.5, -1.0])), [53.5, 105.0]);
    // Two groups of one input and two output channels each.
    assert_eq!(values("c2w1o4k1g2:transposed:nobias", channels), [3.0, 6.0, 50.0, 100.0]);
    // An output of stride 2 meets two of three taps at most: K is 2 in its bound.
    let problem = parse("c1w3o1k3s2:transposed:nobias");
    let bound = reference::convolve(&problem, &row).unwrap().bounds[2];
    assert_eq!(bound, 102.0 * 6.0 / f64::from(1 << 24) + 2.0 * 2f64.powi(-126));
}

#[test]
fn known_example_of_nn_conv2d() {
    // nn.Conv2d(3, 2, kernel_size=3, stride=2) on 1×3×7×7, input 0, 1, 2, …: channel 0 of the weight is all ones, so
    // an output is the sum of three 3×3 windows; channel 1 picks the centre of the second plane and adds 0.5.
    let problem = Problem::new(&Conv2d::new(3, 2, 3).stride(2), [1, 3, 7, 7]).unwrap();
    assert_eq!(problem.weight_shape(), [2, 3, 3, 3]);
    assert_eq!(problem.output_shape(), [1, 2, 3, 3]);
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
    let comparison = empty.compare::<f32>(&[]).unwrap();
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

//! Convolutions of 8-bit integers: cases worked by hand, sums beyond what a float holds, rounding, and what is refused. The table,
//! the property tests and the conformance suites run them on every variant.

#[path = "common/gpu.rs"]
mod gpu;

use wgpu_conv::{
    Buffers, Checks, DType, Error, Integers, Kernel, PlanOptions, Problem, Quantization, Source, Tensors, WeightData,
    reference,
};
use wgpu_conv_check::runner::judge;
use wgpu_conv_check::{DataKind, Placement, ProblemData, Runner, Unit};

fn parse(text: &str) -> Problem {
    text.parse().unwrap()
}

/// From the specification of ONNX's ConvInteger: numbers 2 to 10 with zero point 1, four ones.
#[test]
fn the_specification_s_example() {
    let Some(gpu) = gpu::open() else { return };
    let input: Vec<f32> = (2..=10).map(|number| number as f32).collect();
    let tensors = |quantization| Tensors::new(&input, &[1.0; 4]).quantization(quantization);
    let quantization = Quantization { input_zero_point: 1, ..Quantization::default() };
    for (text, expected) in [
        ("c1h3w3o1k2:u8_u8_i32:nobias", vec![12, 16, 24, 28]),
        ("c1h3w3o1k2p1:u8_u8_i32:nobias", vec![1, 3, 5, 3, 5, 12, 16, 9, 11, 24, 28, 15, 7, 15, 17, 9]),
    ] {
        let problem = parse(text);
        let expected: Vec<f32> = expected.into_iter().map(|number| number as f32).collect();
        assert_eq!(gpu.engine().convolve_blocking(&problem, &tensors(quantization)).unwrap(), expected, "{problem}");
        let values = reference::convolve(&problem, &tensors(quantization)).unwrap().values;
        assert!(values.iter().zip(&expected).all(|(a, b)| *a == f64::from(*b)), "{problem}: {values:?}");
    }
}

/// Every sum is far beyond 2^24 and odd, so that a float32 anywhere on its way would show.
#[test]
fn large_sums_are_exact() {
    let Some(gpu) = gpu::open() else { return };
    let problem = parse("c1800h4w5o6k3p1:u8_i8z_i32");
    let count = |len: u64| 0..usize::try_from(len).unwrap();
    let input: Vec<u8> = count(problem.input_len()).map(|i| 255 - (i * 7 % 13) as u8).collect();
    let weight: Vec<u8> = count(problem.weight_len()).map(|i| (127 - (i * 5 % 11) as i8) as u8).collect();
    let bias: Vec<i32> = (0..6).map(|i| 1_000_000_007 + i).collect();
    let points = [-100, -3, 0, 5, 77, -128];
    let quantization =
        Quantization { input_zero_point: 3, weight_zero_points: &points, bias: &bias, ..Quantization::default() };
    let [whole_input, whole_weight] = [DType::U8.decode(&input), DType::I8.decode(&weight)];
    let tensors = Tensors::new(&whole_input, &whole_weight).quantization(quantization);
    let expected = reference::convolve(&problem, &tensors).unwrap();
    assert!(expected.values.iter().all(|sum| sum.abs() > f64::from(1 << 28)));
    assert!(expected.bounds.iter().all(|&bound| bound == 0.0));

    let engine = gpu.engine();
    let plan = engine.plan_blocking(&problem, &PlanOptions::default()).unwrap();
    let data = WeightData::new(Source::Bytes(&weight)).quantization(quantization);
    let weights = plan.weights_blocking(&data).unwrap();
    let input = engine.buffer_from_bytes("input", &input).unwrap();
    let output = engine.buffer_zeroed_as("output", problem.output_len(), DType::I32).unwrap();
    let bound = plan.bind_blocking(&weights, &Buffers::new(input.slice(..), output.slice(..))).unwrap();
    bound.run_blocking().unwrap();
    let bytes = engine.read_bytes_blocking(output.slice(..)).unwrap();
    let sums = bytes.as_chunks().0.iter().map(|&bytes| f64::from(i32::from_le_bytes(bytes)));
    assert_eq!(sums.collect::<Vec<f64>>(), expected.values);
}

/// Halves go to the even neighbour, and what is too large saturates.
#[test]
fn rounding_and_saturation() {
    let Some(gpu) = gpu::open() else { return };
    let input: Vec<f32> = [-128, -5, -3, -1, 0, 1, 3, 5, 7, 127].map(|number| number as f32).to_vec();
    for (text, output_zero_point, scale, expected) in [
        ("c1w10o1k1:i8_i8_i8:nobias", 0, 2.0, [-64, -2, -2, 0, 0, 0, 2, 2, 4, 64]),
        ("c1w10o1k1:i8_i8_i8:nobias", 1, 2.0, [-63, -1, -1, 1, 1, 1, 3, 3, 5, 65]),
        ("c1w10o1k1:i8_i8_u8:nobias", 3, 2.0, [0, 1, 1, 3, 3, 3, 5, 5, 7, 67]),
        ("c1w10o1k1:i8_i8_i8:nobias", -100, 0.25, [-128, -120, -112, -104, -100, -96, -88, -80, -72, 127]),
        ("c1w10o1k1:i8_i8_u8:nobias", 200, 0.25, [0, 180, 188, 196, 200, 204, 212, 220, 228, 255]),
        ("c1w10o1k1:i8_i8_i8:nobias+relu", -1, 2.0, [-1, -1, -1, -1, -1, -1, 1, 1, 3, 63]),
        ("c1w10o1k1:i8_i8_i8:nobias+clip=-2,6", -1, 2.0, [-2, -2, -2, -1, -1, -1, 1, 1, 2, 2]),
    ] {
        let quantization = Quantization { output_scale: scale, output_zero_point, ..Quantization::default() };
        let tensors = Tensors::new(&input, &[1.0]).quantization(quantization);
        let expected: Vec<f32> = expected.map(|number| number as f32).to_vec();
        let problem = parse(text);
        let values: Vec<f32> =
            reference::convolve(&problem, &tensors).unwrap().values.iter().map(|&value| value as f32).collect();
        assert_eq!(values, expected, "{text}, the reference");
        assert_eq!(gpu.engine().convolve_blocking(&problem, &tensors).unwrap(), expected, "{text}");
    }
}

/// The last words are written too where the output begins far into its binding: 255 words, which one workgroup writes.
#[test]
fn outputs_deep_in_their_buffer_are_all_written() {
    let Some(gpu) = gpu::open() else { return };
    let problem = parse("c3h15w17o4k1:i8_i8_i8");
    let data = ProblemData::generate(&problem, DataKind::Uniform, 1).unwrap();
    let runner = Runner::new(gpu.engine());
    let unit = Unit { kernel: Kernel::Direct, variant: "c4x8", checks: Checks::Trusted };
    let outcome = runner.run(&problem, &data, &unit, Placement { output: 103, ..Placement::START }).unwrap();
    let result = judge(&problem, &data.reference(&problem).unwrap(), &outcome);
    assert!(result.passed, "{}", result.message);
}

/// Each is an error that names the numbers.
#[test]
fn what_is_refused() {
    let float = |text: &str| parse(text);
    let integers = Integers::new(DType::U8, DType::I8);
    for (result, part) in [
        (float("c3h5w5o4k3").with_integers(Integers::new(DType::F32, DType::I8)), "the input is f32"),
        (float("c3h5w5o4k3").with_integers(Integers::new(DType::I8, DType::I32)), "the weight is i32"),
        (float("c3h5w5o4k3").with_integers(integers.output(DType::F16)), "the output is f16"),
        (float("c3h5w5o4k3:transposed").with_integers(integers), "the convolution is transposed"),
        (float("c3h5w5o4k3:deform").with_integers(integers), "the convolution is deformable"),
        (float("c3h5w5o4k3+residual").with_integers(integers.output(DType::I8)), "residual"),
        (float("c3h5w5o4k3+relu").with_integers(integers), "activation is relu"),
        (float("c3h5w5o4k3+prelu_each").with_integers(integers.output(DType::I8)), "prelu_each"),
        (float("c20000h5w5o4k3").with_integers(integers), "180000, each up to 255 × 128"),
        (float("c4000h5w5o4k3").with_integers(integers.weight_zero_points(true)), "36000, each up to 255 × 255"),
        (float("c3h5w5o4k3").with_dtype(DType::I8), "dtype is i8"),
    ] {
        let error = result.unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    assert!(
        float("c4000h5w5o4k3").with_integers(integers).is_ok(),
        "36,000 products fit where there are no zero points"
    );

    let problem = parse("c3h5w5o4k3:u8_i8z_i8");
    let (input, weight, bias) = (vec![1.0; 75], vec![1.0; 108], [1, 2, 3, 4]);
    let good = Quantization { bias: &bias, ..Quantization::default() };
    let check = |problem: &Problem, quantization| {
        Tensors { quantization, ..Tensors::new(&input, &weight) }.check(problem).map_err(|error| error.to_string())
    };
    assert_eq!(check(&problem, Some(good)), Ok(()));
    for (quantization, part) in [
        (None, "quantization is missing"),
        (Some(Quantization { bias: &bias[1..], ..good }), "bias has 3 elements; required are 4"),
        (
            Some(Quantization { weight_zero_points: &bias[..2], ..good }),
            "weight_zero_points has 2 elements; required are 4",
        ),
        (
            Some(Quantization { weight_zero_points: &[128], ..good }),
            "weight_zero_points is 128; it must be from -128 to 127",
        ),
        (Some(Quantization { input_zero_point: -1, ..good }), "input_zero_point is -1; it must be from 0 to 255"),
        (Some(Quantization { output_zero_point: 200, ..good }), "output_zero_point is 200"),
        (Some(Quantization { weight_scales: &[1.0; 5], ..good }), "weight_scales has 5 elements; required are 4"),
        (Some(Quantization { weight_scales: &[0.0], ..good }), "weight_scales is 0"),
        (Some(Quantization { input_scale: f32::NAN, ..good }), "input_scale is NaN"),
        (Some(Quantization { output_scale: f32::INFINITY, ..good }), "output_scale is inf"),
    ] {
        let error = check(&problem, quantization).unwrap_err();
        assert!(error.contains(part), "{error}");
    }
    let plain = parse("c3h5w5o4k3:u8_i8_i8");
    let error = check(&plain, Some(Quantization { weight_zero_points: &[1], ..good })).unwrap_err();
    assert!(error.contains("weight_zero_points has 1 elements; required are 0"), "{error}");
    let error = check(&parse("c3h5w5o4k3:nobias"), Some(Quantization::default())).unwrap_err();
    assert!(error.contains("quantization"), "{error}");

    let Some(gpu) = gpu::open() else { return };
    let engine = gpu.engine();
    let plan = engine.plan_blocking(&problem, &PlanOptions::default()).unwrap();
    let bytes = [1_u8; 107];
    let error = plan.weights_blocking(&WeightData::new(Source::Bytes(&bytes)).quantization(good)).unwrap_err();
    assert_eq!(error, Error::Length { name: "weight", required: 108, actual: 107 });
    let short = engine.buffer_from_bytes("input", &[0; 72]).unwrap();
    let output = engine.buffer_from_bytes("output", &[0; 36]).unwrap();
    let weights = plan.weights_blocking(&WeightData::new(&weight).quantization(good)).unwrap();
    let error = plan.bind_blocking(&weights, &Buffers::new(short.slice(..), output.slice(..))).unwrap_err();
    assert_eq!(error, Error::BufferTooSmall { name: "input", required: 75, actual: 72 });
}

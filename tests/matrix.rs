//! The kernel `matrix` on matrix units: every variant that the device has matrices for, in both modes, on problems of every kind that it
//! takes (in turns: each compiles for seconds on a software adapter; `wgpu-conv verify --kernel matrix` runs all on all). Where the adapter has no matrix units all of this is skipped, and says so; `WGPU_CONV_REQUIRE_MATRIX=1` makes that a
//! failure. (That units which compute wrongly are not used: `src/matrix_units.rs`.)

#[path = "common/gpu.rs"]
mod gpu;

use wgpu_conv::{
    Accuracy, Checks, DType, Engine, EngineOptions, Error, Kernel, PlanOptions, Problem, Rounding, reference,
};
use wgpu_conv_check::runner::judge;
use wgpu_conv_check::{DataKind, Placement, ProblemData, Runner, Unit};

/// Without types, which are added.
const PROBLEMS: [&str; 24] = [
    // Every tile's tails along channels, pixels and K; whole tiles.
    "n2c5h9w7o6k3p1",
    "c64h12w11o64k3p1+relu",
    "c32h8w8o128k1",
    "c17h7w9o33k1:nobias",
    "c1h5w5o1k1",
    "c3h17w19o35k7s2p3+residual+silu",
    "c24h9w31o65k3p1",
    // Every padding mode, sides, strides, dilation.
    "c8h9w9o8k3p2:reflect",
    "c8h9w9o8k3p2:replicate+gelu",
    "c8h9w9o8k3p2:circular",
    "c4h9w11o7k2x3s2x1p1,0,2,0",
    "c6h15w13o9k3d2x3p2",
    // Groups: of many channels, of few, of one.
    "c16h9w9o24k3p1g2+prelu",
    "c12h9w9o8k3p1g4+residual",
    "c9h7w8o18k3p1g9",
    // Lines, volumes, transposed ones.
    "n3c8w70o9k5s2p2",
    "c5z4h5w6o7k3x2x3p1",
    "c6h9w8o5k4s2p1:transposed",
    "c6w19o5k3s2p1:transposed=1+elu=1.5",
    // Channels last, the weight in other orders, long sums.
    "n2c12h7w9o20k3p1:nhwc:hwio+residual+relu",
    "c9h7w9o20k3p1:ohwi",
    "c600h4w5o8k3",
    // Nothing to sum, nothing to compute.
    "c0h4w5o6k3p1",
    "n0c4h5w6o7k3p1",
];

/// The engine, if its device has matrix units.
fn open() -> Option<(gpu::Gpu, Engine)> {
    let gpu = gpu::open()?;
    let engine = gpu.engine().clone();
    match &engine.capabilities().matrix_units {
        Ok(_) => Some((gpu, engine)),
        Err(reason) => {
            let required = std::env::var("WGPU_CONV_REQUIRE_MATRIX").is_ok_and(|value| value == "1");
            assert!(!required, "matrix units are required, and there are none: {reason}");
            println!("skipped: {reason}");
            None
        }
    }
}

fn with_type(text: &str, dtype: DType) -> Problem {
    // Options go ahead of the epilogue.
    let (fields, epilogue) = text.split_at(text.find('+').unwrap_or(text.len()));
    let text = format!("{fields}:{dtype}{epilogue}");
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn units(runner: &Runner, problem: &Problem) -> Vec<Unit> {
    let (mut units, _) = runner.units(problem);
    units.retain(|unit| unit.kernel == Kernel::Matrix);
    units
}

/// Of the variants that take a problem one, on the first problems all, and now and then one in checked mode.
fn in_turn(units: Vec<Unit>, number: usize) -> Vec<Unit> {
    let (trusted, checked): (Vec<_>, Vec<_>) = units.into_iter().partition(|unit| unit.checks == Checks::Trusted);
    let turn = |units: Vec<Unit>, all: bool| match units.len() {
        0 => units,
        count if !all => vec![units[number % count]],
        _ => units,
    };
    let checked = if number.is_multiple_of(5) { turn(checked, number == 0) } else { Vec::new() };
    [turn(trusted, number < 4), checked].concat()
}

/// Whole numbers exactly, others within the bound; of 32-bit tensors the factors are rounded first, by the reference too.
fn run_all(engine: &Engine, problems: impl Iterator<Item = Problem>) {
    let runner = Runner::new(engine);
    let mut runs = 0;
    for (number, problem) in problems.enumerate() {
        for kind in [DataKind::Integers, DataKind::Uniform] {
            let data = ProblemData::generate(&problem, kind, number as u64).unwrap();
            let mut references = data.references(&problem).unwrap();
            let mut stage = runner.stage(&problem, &data, Placement::numbered(number as u64)).unwrap();
            for unit in in_turn(units(&runner, &problem), number) {
                let outcome = runner.plan(&problem, &unit).and_then(|plan| stage.run(&plan)).unwrap();
                let result = judge(&problem, references.of(Rounding::Matrix).unwrap(), &outcome);
                assert!(result.passed, "{problem} on {unit:?}, {} data: {}", kind.name(), result.message);
                runs += 1;
            }
        }
    }
    assert!(runs >= PROBLEMS.len(), "{runs} runs");
}

#[test]
fn tensors_of_32_bit_floats() {
    let Some((_gpu, engine)) = open() else { return };
    run_all(&engine, PROBLEMS.iter().map(|text| with_type(text, DType::F32)));
}

#[test]
fn tensors_of_16_bit_floats() {
    let Some((_gpu, engine)) = open() else { return };
    run_all(&engine, PROBLEMS.iter().skip(1).step_by(2).map(|text| with_type(text, DType::F16)));
}

/// Work in as many segments as can be, so that sums wait between parts.
#[test]
fn sums_in_parts() {
    let Some((gpu, _)) = open() else { return };
    let context = gpu.context();
    let options = context.engine_options().max_segment_macs(1);
    let engine = Engine::with_options(&context.device, &context.queue, options);
    let problems = ["c64h12w11o40k3p1+relu", "n2c17h7w9o33k1+residual", "c9h7w8o18k3p1g9"];
    let of_both = problems.iter().flat_map(|text| DType::FLOATS.map(|dtype| with_type(text, dtype)));
    let runner = Runner::new(&engine);
    for problem in of_both {
        let data = ProblemData::generate(&problem, DataKind::Integers, 5).unwrap();
        let expected = data.reference_as(&problem, Rounding::Matrix).unwrap();
        let unit = units(&runner, &problem)[0];
        assert!(runner.plan(&problem, &unit).unwrap().segments() > 1);
        let outcome = runner.run(&problem, &data, &unit, Placement::numbered(3)).unwrap();
        let result = judge(&problem, &expected, &outcome);
        assert!(result.passed, "{problem} on {unit:?}: {}", result.message);
    }
}

/// 32-bit tensors are rounded to the nearest 16-bit floats, ties to even, wherever they lie: an input that is read through the
/// output's binding too.
#[test]
fn factors_are_rounded_to_nearest_even() {
    let Some((_gpu, engine)) = open() else { return };
    let problem: Problem = "n1c1h1w8o1k1:nobias".parse().unwrap();
    // 2049 and 2051 lie in the middle between 16-bit floats, 2^-25 between 0 and the smallest.
    let input = [2049.0, 2051.0, 2050.0, -2049.0, 1.0 + 1.0 / 2048.0, 1.0 / (1 << 25) as f32, 65519.0, 0.1];
    let weight = [1.0];
    let mut both = input.to_vec();
    both.resize(64, 0.0);
    let options = PlanOptions {
        kernel: Some(Kernel::Matrix),
        accuracy: Some(Accuracy::Reduced),
        variant: units(&Runner::new(&engine), &problem).first().map(|unit| unit.variant.into()),
        ..PlanOptions::default()
    };
    let plan = engine.plan_blocking(&problem, &options).unwrap();
    let tensors = wgpu_conv::Tensors::new(&input, &weight);
    let weights = plan.weights_blocking(&wgpu_conv::WeightData::from(&tensors)).unwrap();
    let shared = engine.buffer_from("both", &both).unwrap();
    let apart = engine.buffer_from("input", &input).unwrap();
    for (input, offset) in [(&apart, 128), (&shared, 32)] {
        let buffers = wgpu_conv::Buffers::new(input.slice(..32), shared.slice(offset..offset + 32));
        plan.bind_blocking(&weights, &buffers).unwrap().run_blocking().unwrap();
        let output = engine.read_blocking(shared.slice(offset..offset + 32)).unwrap();
        assert_eq!(output, [2048.0, 2052.0, 2050.0, -2048.0, 1.0, 0.0, 65504.0, 0.099975586]);
        let expected = reference::convolve_as(&problem, &tensors, Rounding::Matrix).unwrap();
        assert!(expected.compare(&output).unwrap().passed());
    }
}

#[test]
fn it_is_used_only_where_it_is_allowed() {
    let Some((gpu, engine)) = open() else { return };
    let [wide, halves] = DType::FLOATS.map(|dtype| with_type("c64h20w20o64k3p1", dtype));
    let forced = |accuracy| PlanOptions { kernel: Some(Kernel::Matrix), accuracy, ..PlanOptions::default() };
    // Rounding factors has to be asked for, other sums of 16-bit tensors are allowed unless somebody forbids them.
    let error = engine.plan_blocking(&wide, &forced(None)).unwrap_err();
    assert!(matches!(&error, Error::Refused { refusal, .. } if refusal.contains("needs accuracy reduced")), "{error}");
    let plan = engine.plan_blocking(&wide, &forced(Some(Accuracy::Reduced))).unwrap();
    assert_eq!((plan.kernel(), plan.rounding()), (Kernel::Matrix, Rounding::Matrix));
    assert_eq!(engine.plan_blocking(&halves, &forced(None)).unwrap().kernel(), Kernel::Matrix);
    let error = engine.plan_blocking(&halves, &forced(Some(Accuracy::Sums))).unwrap_err();
    assert!(error.to_string().contains("needs accuracy winograd"), "{error}");
    // An engine that nobody told of them.
    let context = gpu.context();
    let other = Engine::with_options(&context.device, &context.queue, EngineOptions::default());
    let error = other.plan_blocking(&halves, &forced(None)).unwrap_err().to_string();
    assert!(error.contains("EngineOptions::matrix_units"), "{error}");
}

#[test]
fn what_it_does_not_take_is_refused_with_its_numbers() {
    let Some((_gpu, engine)) = open() else { return };
    let options =
        PlanOptions { kernel: Some(Kernel::Matrix), accuracy: Some(Accuracy::Reduced), ..PlanOptions::default() };
    for (text, says) in [
        ("c8h9w9o8k3p1:i8_i8_i32", "not for integers"),
        ("c8h9w9o8k3p1:deform", "samples are 32-bit floats"),
        ("c8h9w9o8k8p4", "8×8 has 64 taps"),
    ] {
        let error = engine.plan_blocking(&text.parse().unwrap(), &options).unwrap_err().to_string();
        assert!(error.contains(says), "{text}: {says:?} is not in {error:?}");
    }
}

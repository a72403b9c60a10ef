//! Floats within the reference's bound: random, flat and all-positive data, long sums, every activation, extreme
//! arguments; and input that is not finite, with which nothing may hang.

#[path = "common/gpu.rs"]
mod gpu;

use wgpu_conv::{Activation, Checks, Epilogue, Kernel, Problem, Tensors};
use wgpu_conv_check::runner::judge;
use wgpu_conv_check::{DataKind, Placement, ProblemData, Runner, Unit, verify};

const FLOATS: [DataKind; 3] = [DataKind::Uniform, DataKind::Flat, DataKind::Positive];

/// Every activation; the parameters are such that a mistake in any of them shows.
const ACTIVATIONS: [Activation; 14] = [
    Activation::Identity,
    Activation::Relu,
    Activation::RELU6,
    Activation::Clip { min: -0.75, max: 0.5 },
    Activation::LeakyRelu { slope: -1.7 },
    Activation::Prelu,
    Activation::Sigmoid,
    Activation::Tanh,
    Activation::Silu,
    Activation::Gelu,
    Activation::GeluTanh,
    Activation::HardSwish,
    Activation::Elu { alpha: 1.3 },
    Activation::HardSigmoid { alpha: -0.3, beta: 0.4 },
];

fn parse(text: &str) -> Problem {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// The units whose variant is one of these, in both modes or in trusted mode only.
fn units(variants: &[&str], modes: &[Checks]) -> Vec<Unit> {
    let mut units = Unit::all();
    units.retain(|unit| variants.contains(&unit.variant) && modes.contains(&unit.checks));
    assert_eq!(units.len(), variants.len() * modes.len(), "{variants:?}");
    units
}

fn generic_units() -> Vec<Unit> {
    Unit::all().into_iter().filter(|unit| unit.is_generic()).collect()
}

fn check(gpu: &gpu::Gpu, problem: &Problem, kinds: &[DataKind], units: &[Unit]) {
    let runner = Runner::new(gpu.engine());
    // Not every device has matrices of every size.
    let (taken, _) = runner.units(problem);
    let units = || units.iter().filter(|unit| unit.kernel != Kernel::Matrix || taken.contains(unit));
    for &kind in kinds {
        let data = ProblemData::generate(problem, kind, verify::seed_of(&problem.to_string())).unwrap();
        let mut references = data.references(problem).unwrap();
        let mut stage = runner.stage(problem, &data, Placement::numbered(5)).unwrap();
        for unit in units() {
            let plan = runner.plan(problem, unit).unwrap_or_else(|error| panic!("{problem} on {unit:?}: {error}"));
            let result = judge(problem, references.of(plan.rounding()).unwrap(), &stage.run(&plan).unwrap());
            assert!(result.passed, "{problem}, {} data, on {unit:?}: {}", kind.name(), result.message);
        }
    }
}

/// Every variant of every kernel in both modes, on one configuration.
#[test]
fn every_kind_of_data_on_every_variant() {
    let Some(gpu) = gpu::open() else { return };
    for text in ["n2c37h9w13o21k3p1", "n1c64h11w12o40k3p1"] {
        check(&gpu, &parse(text), &FLOATS, &Unit::all());
    }
}

/// Beyond a K of 4096 the shaders of specialised variants add up in blocks, as the generic ones always do.
#[test]
fn long_sums_on_every_variant() {
    let Some(gpu) = gpu::open_own() else { return };
    let problem = parse("n1c512h4w5o9k3p1");
    assert!(problem.sum_length() > 4096);
    let trusted: Vec<Unit> = Unit::all().into_iter().filter(|unit| unit.checks == Checks::Trusted).collect();
    check(&gpu, &problem, &FLOATS, &trusted);
    // Blocks of several channels, the last of them not full; and of one channel each.
    for text in ["n1c4500h2w3o5k1", "n1c101h8w8o3k7"] {
        assert!(parse(text).sum_length() > 4096);
        check(&gpu, &parse(text), &[DataKind::Integers, DataKind::Flat], &generic_units());
        check(
            &gpu,
            &parse(text),
            &[DataKind::Integers, DataKind::Flat],
            &units(&["c4x8", "m32n64k16"], &[Checks::Trusted]),
        );
    }
}

/// Sums so long that some drivers need them in parts (llvmpipe of Mesa 22.3 leaves every loop after 65,535 rounds
/// of all loops together): bias, residual and activation still happen once, and at the end.
#[test]
fn very_long_sums_with_an_epilogue() {
    let Some(gpu) = gpu::open() else { return };
    let mut units = generic_units();
    units.extend(self::units(&["c4x7", "m32n32k16"], &[Checks::Trusted]));
    for text in
        ["n1c7000h2w3o5k3p1+residual+relu", "n1c40000h1w2o3k1+residual+prelu", "n2c30000h1w2o3k1+residual+sigmoid"]
    {
        let kinds = if text.contains("sigmoid") { [DataKind::Uniform] } else { [DataKind::Integers] };
        check(&gpu, &parse(text), &kinds, &units);
    }
}

#[test]
fn every_activation_within_its_bound() {
    let Some(gpu) = gpu::open_own() else { return };
    let special = units(&["c1x8", "m32n32k16"], &[Checks::Trusted]);
    for activation in ACTIVATIONS {
        let plain = parse("n2c5h6w7o9k1+residual");
        let problem = plain.with_epilogue(Epilogue::activation(activation).with_residual()).unwrap();
        check(&gpu, &problem, &[DataKind::Uniform, DataKind::Positive], &generic_units());
        check(&gpu, &problem, &[DataKind::Uniform], &special);
    }
}

/// Arguments far beyond where exponential functions overflow: every result is finite and within its bound.
#[test]
fn extreme_arguments_stay_finite() {
    let Some(gpu) = gpu::open_own() else { return };
    let input = [1e4, -1e4, 100.0, -100.0, 0.0, -0.0, 1.0, -1.0, 88.8, -88.8, 10.0, -10.0, 1e-30, -1e-30, 3.0, -3.0];
    let mut units = generic_units();
    units.extend(self::units(&["c4x8", "m32n32k16"], &[Checks::Trusted]));
    for activation in ACTIVATIONS {
        let problem = parse("n1c1h4w4o1k1:nobias").with_epilogue(Epilogue::activation(activation)).unwrap();
        let data = ProblemData {
            input: input.to_vec(),
            weight: vec![1.0],
            bias: None,
            residual: None,
            slopes: (activation == Activation::Prelu).then(|| vec![0.3]),
            quantization: None,
            offset: None,
            mask: None,
            exact: false,
        };
        let expected = data.reference(&problem).unwrap();
        let runner = Runner::new(gpu.engine());
        let mut stage = runner.stage(&problem, &data, Placement::numbered(5)).unwrap();
        for unit in &units {
            let outcome = stage.run(&runner.plan(&problem, unit).unwrap()).unwrap();
            assert!(outcome.output.iter().all(|y| y.is_finite()), "{activation} on {unit:?}: {:?}", outcome.output);
            let result = judge(&problem, &expected, &outcome);
            assert!(result.passed, "{activation} on {unit:?}: {}", result.message);
        }
    }
}

/// NaN and infinity come out as they may (WGSL promises nothing), but the run ends, and what depends on finite input
/// alone is right: here every other image.
#[test]
fn input_that_is_not_finite_stays_where_it_is() {
    let Some(gpu) = gpu::open() else { return };
    let mut units = generic_units();
    units.extend(self::units(&["c4x8", "m64n64k8"], &[Checks::Trusted]));
    for activation in [Activation::Identity, Activation::Sigmoid, Activation::Gelu] {
        let problem = parse("n3c2h5w6o3k3p1").with_epilogue(Epilogue::activation(activation)).unwrap();
        let mut data = ProblemData::generate(&problem, DataKind::Uniform, 1).unwrap();
        let image = data.input.len() / 3;
        let special = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX];
        for (index, value) in data.input[image..2 * image].iter_mut().enumerate() {
            *value = special[index % special.len()];
        }
        let finite: Vec<f32> =
            data.input.iter().map(|x| if x.is_finite() && x.abs() < 2.0 { *x } else { 0.0 }).collect();
        let tensors = Tensors { input: &finite, ..data.tensors() };
        let expected = wgpu_conv::reference::convolve(&problem, &tensors).unwrap();
        let runner = Runner::new(gpu.engine());
        for unit in &units {
            let outcome = runner.run(&problem, &data, unit, Placement::START).unwrap();
            let out_image = outcome.output.len() / 3;
            let outside = (0..outcome.output.len()).filter(|index| index / out_image != 1);
            for index in outside {
                let (actual, value) = (f64::from(outcome.output[index]), expected.values[index]);
                let error = (actual - value).abs();
                assert!(error <= expected.bounds[index], "{unit:?}, output {index}: {actual} instead of {value}");
            }
        }
    }
}

/// Both kernels add up blocks of a long sum separately, so flat data, whose rounding errors all point one way, stay well
/// below the hard bound.
#[test]
fn blocks_keep_rounding_errors_of_long_sums_small() {
    let Some(gpu) = gpu::open() else { return };
    let problem = parse("n1c9000h2w2o4k1");
    let data = ProblemData::generate(&problem, DataKind::Flat, 0).unwrap();
    let expected = data.reference(&problem).unwrap();
    let runner = Runner::new(gpu.engine());
    for kernel in Kernel::ALL {
        for unit in generic_units().iter().filter(|unit| unit.kernel == *kernel) {
            let outcome = runner.run(&problem, &data, unit, Placement::START).unwrap();
            assert_eq!(outcome.defect, None, "{unit:?}");
            let comparison = expected.compare(&outcome.output).unwrap();
            assert!(comparison.worst_ratio < 0.1, "{unit:?}: {} of the bound", comparison.worst_ratio);
        }
    }
}

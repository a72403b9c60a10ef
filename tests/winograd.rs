//! Winograd's algorithm: how far its results are from the exact ones over many layers, problems of every kind that it takes,
//! and strips.

#[path = "common/gpu.rs"]
mod gpu;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use wgpu_conv::{Accuracy, Checks, Engine, EngineOptions, Error, Kernel, PlanOptions, Problem, Rounding, wgpu};
use wgpu_conv_check::problems::{Case, three_taps};
use wgpu_conv_check::runner::judge;
use wgpu_conv_check::{DataKind, Placement, ProblemData, Runner, Unit};

const LAYERS: u32 = 1000;

fn parse(text: &str) -> Problem {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn trusted(kernel: Kernel, variant: &'static str) -> Unit {
    Unit { kernel, variant, checks: Checks::Trusted }
}

/// What a unit's results were like over all layers, as multiples of the largest and of the root mean square output.
#[derive(Default)]
struct Errors {
    largest: f64,
    /// Sum over layers of the relative L2 error.
    l2: f64,
}

/// Over 1,000 random layers, numbers uniform in [-1, 1], the largest and the relative L2 error of each size of tile beside
/// those of the direct kernel. `benches/README.md` has the table that this prints (with `--nocapture`).
#[test]
fn errors_over_a_thousand_layers() {
    let Some(gpu) = gpu::open() else { return };
    let runner = Runner::new(gpu.engine());
    let units = [
        trusted(Kernel::Direct, "c4x8"),
        trusted(Kernel::Winograd, "f2-m32n32k16"),
        trusted(Kernel::Winograd, "f4-m32n32k16"),
        trusted(Kernel::Winograd, "f6-m64n64k8"),
    ];
    for lines in [false, true] {
        let mut errors: [Errors; 4] = Default::default();
        for layer in 0..LAYERS {
            // Channels of a group in eights, so that layers share pipelines; any size and padding.
            let draw =
                |salt: u32, most: u32| (layer.wrapping_mul(2_654_435_769).wrapping_add(salt * 40_503_077) >> 8) % most;
            let channels = [8 + 8 * draw(1, 4), 1 + draw(2, 12)];
            let sizes = [3 + draw(3, 10), 3 + draw(4, 10)];
            let image = if lines { format!("w{}", sizes[0] * sizes[1]) } else { format!("h{}w{}", sizes[0], sizes[1]) };
            let problem = parse(&format!("c{}{image}o{}k3p{}:nobias", channels[0], channels[1], draw(5, 3)));
            let data = ProblemData::generate(&problem, DataKind::Uniform, layer.into()).unwrap();
            let mut references = data.references(&problem).unwrap();
            let mut stage = runner.stage(&problem, &data, Placement::START).unwrap();
            for (unit, errors) in units.iter().zip(&mut errors) {
                let plan = runner.plan(&problem, unit).unwrap();
                let outcome = stage.run(&plan).unwrap();
                let reference = references.of(plan.rounding()).unwrap();
                let result = judge(&problem, reference, &outcome);
                assert!(result.passed, "{problem} on {unit:?}: {}", result.message);
                let pairs = || reference.values.iter().zip(&outcome.output);
                let squares = |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>();
                let of_outputs = squares(&mut reference.values.iter().copied());
                let off = squares(&mut pairs().map(|(expected, &actual)| f64::from(actual) - expected));
                let most = reference.values.iter().fold(0.0, |most: f64, value| most.max(value.abs()));
                let furthest =
                    pairs().fold(0.0, |most: f64, (expected, &actual)| most.max((f64::from(actual) - expected).abs()));
                errors.largest = errors.largest.max(furthest / most);
                errors.l2 += (off / of_outputs).sqrt() / f64::from(LAYERS);
            }
        }
        println!("{LAYERS} {}:", if lines { "lines" } else { "images" });
        let [direct, ..] = &errors;
        let factors: Vec<[f64; 2]> =
            errors.iter().map(|errors| [errors.largest / direct.largest, errors.l2 / direct.l2]).collect();
        for ((unit, errors), factor) in units.iter().zip(&errors).zip(&factors) {
            println!(
                "{} {}: largest {:.2e} ({:.2} times direct's), L2 {:.2e} ({:.2} times)",
                unit.kernel, unit.variant, errors.largest, factor[0], errors.l2, factor[1]
            );
        }
        assert!(factors[1].iter().all(|&factor| factor < 4.0), "F(2, 3): {factors:?}");
        assert!(factors[2].iter().all(|&factor| factor < 30.0), "F(4, 3): {factors:?}");
        assert!(factors[3].iter().all(|&factor| factor < 30.0), "F(6, 3): {factors:?}");
    }
}

fn check(runner: &Runner, problem: Problem, seed: u64) -> Result<(), TestCaseError> {
    let data = ProblemData::generate(&problem, DataKind::Uniform, seed).unwrap();
    let (mut units, _) = runner.units(&problem);
    units.retain(|unit| unit.kernel == Kernel::Winograd);
    prop_assert_eq!(units.len(), 2 * Kernel::Winograd.variants().len());
    // Two of them, in turn: each compiles for seconds.
    let units = [0, units.len() / 2].map(|turn| units[(seed as usize + turn) % units.len()]);
    for unit in units {
        let outcome = runner.run(&problem, &data, &unit, Placement::numbered(seed)).unwrap();
        let result = judge(&problem, &data.reference_as(&problem, unit.rounding().unwrap()).unwrap(), &outcome);
        prop_assert!(result.passed, "{} on {:?}: {}", problem, unit, result.message);
    }
    Ok(())
}

/// On engines whose strips are as low as can be, and as high.
#[test]
fn problems_of_every_kind() {
    let Some(gpu) = gpu::open() else { return };
    let context = gpu.context();
    let options = EngineOptions::default().max_workspace(0);
    let engines = [gpu.engine().clone(), Engine::with_options(&context.device, &context.queue, options)];
    let runners = engines.each_ref().map(Runner::new);
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(60);
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let mut test = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let result = test.run(&(three_taps(), 0..1000u64), |(Case(problem), seed)| {
        let turns = 2 * Kernel::Winograd.variants().len() as u64;
        check(&runners[(seed / turns % 2) as usize], problem, seed)
    });
    result.unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn it_is_used_only_where_it_is_allowed() {
    let Some(gpu) = gpu::open() else { return };
    let engine = gpu.engine();
    let problem = parse("c64h20w20o64k3p1");
    let sums = PlanOptions { accuracy: Some(Accuracy::Sums), ..PlanOptions::default() };
    let plan = engine.plan_blocking(&problem, &sums).unwrap();
    assert!(plan.kernel() != Kernel::Winograd && plan.rounding() == Rounding::Sums);
    assert!(plan.explain().contains("it needs accuracy winograd, and sums was asked for"), "{}", plan.explain());
    let forced = PlanOptions { kernel: Some(Kernel::Winograd), ..sums };
    let error = engine.plan_blocking(&problem, &forced).unwrap_err();
    assert!(matches!(&error, Error::Refused { refusal, .. } if refusal.contains("accuracy")), "{error}");
    // By the engine's own setting, which a plan can widen.
    let context = gpu.context();
    let strict = EngineOptions::default().accuracy(Accuracy::Sums);
    let strict = Engine::with_options(&context.device, &context.queue, strict);
    assert!(strict.plan_blocking(&problem, &PlanOptions::default()).unwrap().kernel() != Kernel::Winograd);
    let forced =
        PlanOptions { kernel: Some(Kernel::Winograd), accuracy: Some(Accuracy::Winograd), ..PlanOptions::default() };
    let plan = strict.plan_blocking(&problem, &forced).unwrap();
    assert_eq!(plan.rounding(), Rounding::Winograd { outputs: 6 });
}

#[test]
fn what_it_does_not_take_is_refused_with_its_numbers() {
    let Some(gpu) = gpu::open() else { return };
    let options = PlanOptions { kernel: Some(Kernel::Winograd), ..PlanOptions::default() };
    for (text, says) in [
        ("c8h9w9o8k5p2", "a 5×5 kernel"),
        ("c8h9w9o8k3p1s2", "stride 2×2"),
        ("c8h9w9o8k3p2d2", "dilation 2×2"),
        ("c8h9w9o8k1", "3 taps along rows, columns or both"),
        ("c8z5h9w9o8k3p1", "3 taps along slices"),
        ("c8h9w9o8k3p1:i8_i8_i32", "integers do not"),
        ("c8h9w9o8k3p1:deform", "samples have no neighbours"),
        ("c8h9w9o8k4s2p1:transposed", "4 passes"),
    ] {
        let error = gpu.engine().plan_blocking(&parse(text), &options).unwrap_err().to_string();
        assert!(error.contains(says), "{text}: {says:?} is not in {error:?}");
    }
}

/// Input, output and workspace of a large layer on a device that would let it take all at once.
#[test]
fn large_layers_take_little_more() {
    let required_limits = wgpu::Limits {
        max_buffer_size: 0x7fff_fffc,
        max_storage_buffer_binding_size: 0x7fff_fffc,
        ..wgpu::Limits::default()
    };
    let (device, queue) =
        wgpu::Device::noop(&wgpu::DeviceDescriptor { required_limits, ..wgpu::DeviceDescriptor::default() });
    let problem = parse("c64h1080w1920o64k3p1");
    let tensors = 4 * (problem.input_len() + problem.output_len());
    let workspace_of = |variant: Option<&str>, of_engine: EngineOptions| {
        let engine = Engine::with_options(&device, &queue, of_engine);
        let variant = variant.map(Into::into);
        let options = PlanOptions { kernel: Some(Kernel::Winograd), variant, ..PlanOptions::default() };
        let plan = engine.plan_blocking(&problem, &options).unwrap();
        println!("{}: {} bytes of workspace, {} segments", plan.variant(), plan.workspace_size(), plan.segments());
        plan.workspace_size()
    };
    let workspace = |of_engine| workspace_of(None, of_engine);
    let default = workspace(EngineOptions::default());
    assert!(tensors + default < 3 * tensors && default <= 1 << 28, "{default} bytes beside {tensors}");
    let at_once = |variant| workspace_of(Some(variant), EngineOptions::default().max_workspace(1 << 40));
    let [four, six] = ["f4-m64n64k8", "f6-m64n64k8"].map(at_once);
    assert!(four > 2 * tensors, "transformed tensors are 2.25 times as large with tiles of four: {four} bytes");
    assert!(six > 7 * tensors / 4 && six < four, "and 1.8 times with tiles of six: {six} bytes");
    let least = workspace(EngineOptions::default().max_workspace(0));
    assert!(least < default / 10, "{least} bytes");
}

//! What a program relies on that ships a tuning file or a pipeline cache. (How candidates are verified and compared is
//! tested in `src/tune`, files in `src/tuning_file`.)

use std::time::Duration;

use wgpu_conv::{
    Buffers, Checks, Engine, EngineOptions, Kernel, PlanOptions, Timer, TuneOptions, TuneOutcome, TuneReport, Tuning,
    wgpu,
};

#[path = "common/exact.rs"]
mod exact;
#[path = "common/gpu.rs"]
mod gpu;

use exact::{Case, assert_same};

const PROBLEM: &str = "n1c6h9w20o16k3p1+residual+prelu";

/// Tunes with so much time that no clock matters, few candidates, in this mode.
fn tune(engine: &Engine, problem: &str, checks: Checks) -> TuneReport {
    let options = TuneOptions::default().budget(Duration::MAX).max_candidates(3).checks(checks);
    engine.tune_blocking(&problem.parse().unwrap(), &options, |_| {}).unwrap()
}

/// The file with the choice of another variant in every entry, as if that had been measured.
fn choosing(tuning: &Tuning, report: &TuneReport, kernel: Kernel, variant: &str, engine: &Engine) -> Tuning {
    // Found by tuning with everything else out of the way is not possible from outside, and editing is noticed:
    let (chosen_kernel, chosen) = report.chosen();
    let edited = tuning
        .to_string()
        .replace(&format!("kernel = {chosen_kernel}"), &format!("kernel = {kernel}"))
        .replace(&format!("variant = {chosen}"), &format!("variant = {variant}"));
    let parsed = Tuning::parse(&edited);
    assert_eq!(parsed.tuning.len_for(engine.device()), 0);
    let sum = parsed.warnings[0].split(" instead of ").nth(1).unwrap().split(':').next().unwrap().to_owned();
    let old = edited.lines().find(|line| line.starts_with("sum = ")).unwrap();
    let parsed = Tuning::parse(edited.replace(old, &format!("sum = {sum}")));
    assert_eq!((parsed.tuning.len_for(engine.device()), parsed.warnings.len()), (1, 0), "{:?}", parsed.warnings);
    parsed.tuning
}

#[test]
fn a_shipped_file_chooses_where_it_may() {
    let Some(gpu) = gpu::open() else { return };
    let (device, queue) = (&gpu.context().device, &gpu.context().queue);
    let case = Case::new(PROBLEM);
    let report = tune(gpu.engine(), PROBLEM, Checks::Trusted);
    let mut tuning = Tuning::new();
    tuning.add(&report);
    let default = report.default_choice();
    // The last variant that would be chosen by itself.
    let (kernel, variant) = (Kernel::Direct, "generic-c1x4");
    let shipped = choosing(&tuning, &report, kernel, variant, gpu.engine());

    let engine = Engine::with_options(device, queue, EngineOptions::default().tuning(shipped.clone()));
    let free = PlanOptions::default();
    let plan = case.plan(&engine, &free);
    assert_eq!((plan.kernel(), plan.variant()), (kernel, variant));
    assert!(plan.explain().contains("generic-c1x4: tuned: measured"), "{}", plan.explain());
    // It computes the same as everything else.
    let weights = case.weights(&plan);
    let residual = engine.buffer_from("residual", case.data.residual.as_ref().unwrap()).unwrap();
    let (input, output) = (case.input(&engine), case.output(&engine));
    let buffers = Buffers::new(input.slice(..), output.slice(..)).residual(residual.slice(..));
    plan.bind_blocking(&weights, &buffers).unwrap().run_blocking().unwrap();
    case.check(&engine, &output, "tuned");

    // What is forced counts more.
    let forced = PlanOptions { kernel: Some(Kernel::Tiled), ..free.clone() };
    assert_eq!(case.plan(&engine, &forced).kernel(), Kernel::Tiled);
    // Weights in a packing that the tuned variant does not read: the estimates choose among those that do.
    let forced = PlanOptions { kernel: Some(Kernel::Tiled), ..free.clone() };
    let other = case.weights(&case.plan(&engine, &forced));
    assert_ne!(other.packing(), plan.packing());
    let plan_for = engine.plan_for_blocking(&other, &case.problem, &free).unwrap();
    assert_eq!(plan_for.packing(), other.packing());
    assert_eq!(plan_for.candidates()[0].tuned_ms, None);
    assert_eq!(engine.plan_for_blocking(&weights, &case.problem, &free).unwrap().variant(), variant);

    // Another adapter, driver or mode: the same file has no effect.
    let (noop, noop_queue) = wgpu::Device::noop(&wgpu::DeviceDescriptor::default());
    let foreign = Engine::with_options(&noop, &noop_queue, EngineOptions::default().tuning(shipped.clone()));
    assert_eq!(shipped.len_for(&noop), 0);
    assert_eq!(foreign.select(&case.problem, &free).unwrap().candidates[0].tuned_ms, None);
    let driver = shipped.to_string().lines().find(|line| line.starts_with("driver_info = ")).unwrap().to_owned();
    let newer = Tuning::parse(shipped.to_string().replace(&driver, "driver_info = Mesa 99.9"));
    assert_eq!((newer.tuning.len(), newer.warnings.len()), (0, 1), "an edited entry is noticed");
    let checked = EngineOptions::default().checks(Checks::Checked).tuning(shipped.clone());
    let selection = Engine::with_options(device, queue, checked).select(&case.problem, &free).unwrap();
    assert_eq!((selection.kernel, selection.variant), default, "of checked shaders the file says nothing");

    // An engine that is at work already learns too.
    let engine = Engine::new(device, queue);
    assert_eq!(engine.select(&case.problem, &free).unwrap().variant, default.1);
    engine.clone().add_tuning(&shipped);
    assert_eq!(engine.select(&case.problem, &free).unwrap().variant, variant);
}

/// Residual, slopes, padding modes, groups, sums that round, checked shaders: each is verified before it is timed.
#[test]
fn every_kind_of_problem_is_verified_and_timed() {
    let Some(gpu) = gpu::open_own() else { return };
    for (problem, checks, verified) in [
        (PROBLEM, Checks::Checked, "all 2880 outputs, exact"),
        ("n2c4h7w9o6k3p1g2:reflect:nobias+gelu", Checks::Trusted, "all 756 outputs"),
        ("n1c0h5w5o3k1", Checks::Trusted, "all 75 outputs, exact"),
        ("n1c2h9w9o3k9p4:circular+sigmoid", Checks::Trusted, "all 243 outputs"),
    ] {
        let report = tune(gpu.engine(), problem, checks);
        assert_eq!(
            (report.problem.to_string().as_str(), report.checks, report.verified.as_str()),
            (problem, checks, verified)
        );
        let measured = report.candidates.iter().filter_map(|candidate| match candidate.outcome {
            TuneOutcome::Measured { ms, min_ms, samples } => Some((ms, min_ms, samples)),
            TuneOutcome::Wrong(_) | TuneOutcome::Failed(_) => panic!("{problem}: {candidate:?}"),
            _ => None,
        });
        let measured: Vec<_> = measured.collect();
        assert_eq!(measured.len(), 3, "{problem}");
        assert!(measured.iter().all(|&(ms, min_ms, samples)| min_ms > 0.0 && min_ms <= ms && samples > 0));
        // Refusals stay what they are.
        let special = problem.contains("k9");
        let refused = report
            .candidates
            .iter()
            .any(|candidate| matches!(&candidate.outcome, TuneOutcome::Refused(why) if why.contains("81 taps")));
        assert_eq!(refused, special, "{problem}");
    }
}

/// Tuning leaves nothing on the device but the pipelines, and does not change what the engine chooses.
#[test]
fn tuning_leaves_no_buffers_behind() {
    let Some(gpu) = gpu::open() else { return };
    let (device, queue) = exact::device(gpu.context(), |_| {});
    let engine = Engine::new(&device, &queue);
    let buffers = || device.get_internal_counters().hal.buffers.read();
    let first = tune(&engine, PROBLEM, Checks::Trusted);
    device.poll(wgpu::PollType::wait_indefinitely()).unwrap();
    let (before, pipelines) = (buffers(), engine.pipeline_count());
    let second = tune(&engine, PROBLEM, Checks::Trusted);
    device.poll(wgpu::PollType::wait_indefinitely()).unwrap();
    assert_eq!((buffers(), engine.pipeline_count()), (before, pipelines));
    assert_eq!(first.default_choice(), second.default_choice());
    let selection = engine.select(&first.problem, &PlanOptions::default()).unwrap();
    assert_eq!((selection.kernel, selection.variant), first.default_choice());
}

#[test]
fn the_timer_runs_what_it_times() {
    let Some(gpu) = gpu::open() else { return };
    let engine = gpu.engine();
    let case = Case::new("n1c3h9w9o4k3p1");
    let plan = case.plan(engine, &PlanOptions::default());
    let (bound, output) = case.bind(&plan, engine);
    let sample = Timer::new(engine).time_blocking(&bound).unwrap();
    assert!(sample.ms > 0.0);
    case.check(engine, &output, "timed");
    let several = Timer::new(engine).time_on_gpu_blocking(&bound, 3).unwrap();
    assert!(several.is_none_or(|ms| ms > 0.0));
    assert_eq!(Timer::new(engine).time_on_gpu_blocking(&bound, 0).unwrap(), None);
    let nothing = Case::new("n0c3h9w9o4k3p1");
    let (bound, _) = nothing.bind(&nothing.plan(engine, &PlanOptions::default()), engine);
    assert_eq!(Timer::new(engine).time_on_gpu_blocking(&bound, 1).unwrap(), None);
    assert!(!Timer::new(engine).time_blocking(&bound).unwrap().on_gpu);
}

/// What one engine compiled, the cache gives to the next; without one there is nothing to store.
#[test]
fn a_pipeline_cache_is_filled_and_taken_back() {
    let Some(gpu) = gpu::open() else { return };
    let (device, queue) = (&gpu.context().device, &gpu.context().queue);
    assert_eq!(gpu.engine().pipeline_cache_data(), None);
    if !device.features().contains(wgpu::Features::PIPELINE_CACHE) {
        println!("this adapter has no pipeline cache");
        return;
    }
    let case = Case::new("n1c3h9w9o4k3p1+relu");
    let run = |data: Option<&[u8]>| {
        let descriptor = wgpu::PipelineCacheDescriptor { label: Some("test cache"), data, fallback: true };
        // SAFETY: the data are none, or what wgpu gave for this device.
        let cache = unsafe { device.create_pipeline_cache(&descriptor) };
        let engine = Engine::with_options(device, queue, EngineOptions::default().pipeline_cache(cache));
        let empty = engine.pipeline_cache_data();
        let plan = case.plan(&engine, &PlanOptions::default());
        let (bound, output) = case.bind(&plan, &engine);
        bound.run_blocking().unwrap();
        let numbers = engine.read_blocking(output.slice(..)).unwrap();
        assert_same(&numbers, &case.expected, "with a cache");
        (empty, engine.pipeline_cache_data().expect("Vulkan gives data"))
    };
    let (empty, filled) = run(None);
    let empty = empty.map_or(0, |data| data.len());
    // Some drivers (lavapipe) put nothing into it.
    println!("{empty} bytes when empty, {} with two pipelines", filled.len());
    assert!(!filled.is_empty() && filled.len() >= empty);
    let (given, after) = run(Some(&filled));
    let given = given.expect("Vulkan gives data");
    assert!(
        given.len() >= filled.len() / 2 && after.len() >= given.len(),
        "{} {} {}",
        filled.len(),
        given.len(),
        after.len()
    );
}

//! Tuning on a real device, with benches that give wrong plans and any times. No clock decides anything here.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::session::{Bench, Session};
use super::*;
use crate::bind::Bound;
use crate::error::Error;
use crate::kernels::Build;
use crate::lowered;
use crate::plan::Plan;
use crate::select::PlanOptions;
use crate::timer::Sample;
use crate::tuning_file::Tuning;

/// As the other tests: no adapter is a failure, and only this variable skips, in words.
pub(crate) fn engine() -> Option<Engine> {
    if std::env::var("WGPU_CONV_SKIP_GPU_TESTS").is_ok_and(|value| !value.is_empty() && value != "0") {
        eprintln!("skipped, since WGPU_CONV_SKIP_GPU_TESTS is set: a test of tuning");
        return None;
    }
    let context = crate::Context::new_blocking(&crate::ContextOptions::default());
    Some(context.unwrap_or_else(|error| panic!("{error}")).engine())
}

/// What a bench does to the plan of one variant.
#[derive(Clone, Copy, PartialEq)]
enum Damage {
    None,
    /// Only the first step of every sum is added up.
    ShortSums,
    /// Its shader does nothing at all.
    Nothing,
    /// The last tile is left out.
    LastTile,
    /// The shader is no WGSL.
    NoShader,
}

/// Times are made up: milliseconds by variant.
struct Fake<'a> {
    damaged: &'static str,
    damage: Damage,
    ms: &'a (dyn Fn(&str, usize) -> f64 + Sync),
    timed: AtomicUsize,
    on_gpu: bool,
}

impl<'a> Fake<'a> {
    fn new(damaged: &'static str, damage: Damage, ms: &'a (dyn Fn(&str, usize) -> f64 + Sync)) -> Self {
        Self { damaged, damage, ms, timed: AtomicUsize::new(0), on_gpu: true }
    }
}

impl Bench for &Fake<'_> {
    async fn plan(&self, engine: &Engine, problem: &Problem, choice: Choice, checks: Checks) -> Result<Plan> {
        let (kernel, variant) = (Some(choice.kernel), Some(choice.name().to_owned()));
        let mut plan = engine
            .plan(problem, &PlanOptions { kernel, variant, checks: Some(checks), ..PlanOptions::default() })
            .await?;
        if choice.name() == self.damaged {
            let source = choice.source(&lowered::passes(problem).map_err(Error::Internal)?[0], &Build::default())?;
            match self.damage {
                Damage::None => {}
                Damage::ShortSums => plan.shorten_sums(),
                Damage::LastTile => plan.drop_last_tile(),
                Damage::Nothing => plan.replace_shader(hollow(&source)).await?,
                Damage::NoShader => plan.replace_shader(source.replace("fn main(", "fn main((")).await?,
            }
        }
        Ok(plan)
    }

    async fn time(&mut self, choice: Choice, bound: &Bound) -> Result<Sample> {
        bound.submit().await?;
        let number = self.timed.fetch_add(1, Ordering::Relaxed);
        Ok(Sample { ms: (self.ms)(choice.name(), number), on_gpu: self.on_gpu })
    }
}

/// The shader with a main function that returns at once, if it has tiles at all.
fn hollow(source: &str) -> String {
    let main = source.find("fn main(").unwrap();
    let body = main + source[main..].find('{').unwrap() + 1;
    let (head, tail) = source.split_at(body);
    format!("{head}\n    if (params.tile_end > 0u) {{ return; }}\n{tail}")
}

const PROBLEM: &str = "n1c16h12w20o16k3p1+relu";

fn options() -> TuneOptions {
    // So much time that no clock matters.
    TuneOptions::default().budget(Duration::MAX)
}

fn run(engine: &Engine, bench: &Fake<'_>, options: &TuneOptions) -> Result<TuneReport> {
    let problem: Problem = PROBLEM.parse().unwrap();
    let mut steps = Vec::new();
    let report = pollster::block_on(Session::run(engine, &problem, options, bench, |progress: TuneProgress<'_>| {
        steps.push((progress.done, progress.total));
    }));
    assert!(steps.is_sorted() && steps.iter().all(|(done, total)| done < total), "{steps:?}");
    report
}

fn outcome<'a>(report: &'a TuneReport, variant: &str) -> &'a TuneOutcome {
    &report.candidates.iter().find(|candidate| candidate.variant == variant).unwrap().outcome
}

/// A variant that would be the fastest by far, and is wrong.
#[test]
fn fast_and_wrong_is_refused() {
    let Some(engine) = engine() else { return };
    // Plain sums, of which none may be wrong by anything.
    let options = options().max_candidates(5).accuracy(Accuracy::Sums);
    let tried: Vec<_> = {
        let ms = |_: &str, _| 1.0;
        let report = run(&engine, &Fake::new("", Damage::None, &ms), &options).unwrap();
        assert_eq!(report.chosen(), report.default_choice(), "all are equally fast");
        report.candidates[..5].iter().map(|candidate| candidate.variant).collect()
    };
    let (fast, second) = (tried[2], tried[3]);
    let ms = |variant: &str, _| match variant {
        _ if variant == fast => 0.1,
        _ if variant == second => 0.5,
        _ => 1.0,
    };
    let whole = run(&engine, &Fake::new(fast, Damage::None, &ms), &options).unwrap();
    assert_eq!((whole.chosen().1, whole.chosen_ms, whole.default_ms), (fast, 0.1, Some(1.0)), "undamaged it is taken");
    for (damage, says) in [
        (Damage::ShortSums, &["of 3840 outputs are wrong; the worst is output ", " instead of ", "allowed: none"][..]),
        (Damage::Nothing, &["3840 of 3840 outputs were not written, the first of them 0"]),
        (Damage::LastTile, &["of 3840 outputs were not written"]),
    ] {
        let report = run(&engine, &Fake::new(fast, damage, &ms), &options).unwrap();
        let TuneOutcome::Wrong(sentence) = outcome(&report, fast) else { panic!("{:?}", outcome(&report, fast)) };
        for part in says {
            assert!(sentence.contains(part), "{part:?} is not in {sentence:?}");
        }
        assert_eq!((report.chosen().1, report.chosen_ms), (second, 0.5), "the fastest of those that are right");
        let mut tuning = Tuning::new();
        tuning.add(&report);
        assert!(!tuning.to_string().contains(&format!("variant = {fast}\n")));
    }
    let report = run(&engine, &Fake::new(fast, Damage::NoShader, &ms), &options).unwrap();
    assert!(matches!(outcome(&report, fast), TuneOutcome::Failed(error) if error.contains("compiling a shader")));
    assert_eq!(report.chosen().1, second);
}

#[test]
fn a_wrong_default_is_replaced_and_without_any_there_is_an_error() {
    let Some(engine) = engine() else { return };
    let ms = |_: &str, _| 1.0;
    let report = run(&engine, &Fake::new("", Damage::None, &ms), &options().max_candidates(1)).unwrap();
    let (_, default) = report.default_choice();
    let wrong = Fake::new(default, Damage::ShortSums, &ms);
    let report = run(&engine, &wrong, &options().max_candidates(3)).unwrap();
    assert!(matches!(outcome(&report, default), TuneOutcome::Wrong(_)));
    assert_eq!((report.chosen().1, report.default_ms), (report.candidates[1].variant, None));
    match run(&engine, &wrong, &options().max_candidates(1)) {
        Err(Error::Unverified { problem, reasons }) => {
            assert!(problem == PROBLEM && reasons.contains(default) && reasons.contains("instead of"), "{reasons}");
        }
        other => panic!("{other:?}"),
    }
}

/// A candidate that wins among all, and not alone against the default, was lucky.
#[test]
fn the_winner_must_win_again() {
    let Some(engine) = engine() else { return };
    let options = options().max_candidates(3);
    let ms = |_: &str, _| 5.0;
    let report = run(&engine, &Fake::new("", Damage::None, &ms), &options).unwrap();
    let (default, lucky) = (report.candidates[0].variant, report.candidates[1].variant);
    for (later, expected) in [(4.9, default), (4.0, lucky)] {
        // 3 first looks and 9 rounds of 3.
        let ms = |variant: &str, number| match variant {
            _ if variant != lucky => 5.0,
            _ if number < 3 + 27 => 4.0,
            _ => later,
        };
        let bench = Fake::new("", Damage::None, &ms);
        let report = run(&engine, &bench, &options).unwrap();
        assert_eq!(report.chosen().1, expected);
        assert_eq!(bench.timed.load(Ordering::Relaxed), 3 + 27 + 18);
        assert_eq!(report.default_ms, Some(5.0));
    }
}

#[test]
fn without_time_the_estimate_stays() {
    let Some(engine) = engine() else { return };
    let ms = |variant: &str, number| if number == 0 { 1.0 } else { 0.001 * variant.len() as f64 };
    let bench = Fake::new("", Damage::None, &ms);
    let report = run(&engine, &bench, &TuneOptions::default().budget(Duration::ZERO)).unwrap();
    assert_eq!(report.chosen(), report.default_choice());
    assert_eq!((bench.timed.load(Ordering::Relaxed), report.default_ms), (1, Some(1.0)));
    let rest = &report.candidates[1..];
    assert!(
        rest.iter().any(|candidate| matches!(&candidate.outcome, TuneOutcome::NotTried(why) if why.contains("time")))
    );
}

/// Far behind at first look, it is not timed again; the default always is.
#[test]
fn what_is_far_behind_is_timed_once() {
    let Some(engine) = engine() else { return };
    let options = options().max_candidates(3);
    let first = run(&engine, &Fake::new("", Damage::None, &|_: &str, _| 9.0), &options).unwrap();
    let (default, slow, fast) = (first.candidates[0].variant, first.candidates[1].variant, first.candidates[2].variant);
    let ms = |variant: &str, _| if variant == fast { 5.0 } else { 50.0 };
    let report = run(&engine, &Fake::new("", Damage::None, &ms), &options).unwrap();
    let samples = |variant| match outcome(&report, variant) {
        TuneOutcome::Measured { samples, .. } => *samples,
        other => panic!("{other:?}"),
    };
    assert_eq!([samples(default), samples(slow), samples(fast)], [9, 1, 9]);
    assert_eq!(report.chosen().1, fast);
}

/// With the real bench: whatever it chooses is right, is found again in the engine, and gives way to what is forced.
#[test]
fn the_whole_way() {
    let Some(engine) = engine() else { return };
    let problem: Problem = PROBLEM.parse().unwrap();
    let report = engine.tune_blocking(&problem, &options().max_candidates(4), |_| {}).unwrap();
    assert_eq!(report.verified, "all 3840 outputs, exact");
    assert!(report.chosen_ms > 0.0 && report.default_ms.is_some_and(|ms| ms > 0.0));
    let plain = engine.plan_blocking(&problem, &PlanOptions::default()).unwrap();
    assert_eq!((plain.kernel(), plain.variant()), report.default_choice());
    assert!(!plain.explain().contains("tuned"));

    let mut tuning = Tuning::new();
    tuning.add(&report);
    let read = Tuning::parse(tuning.to_string());
    assert_eq!((&read.tuning, read.warnings.len(), read.tuning.len_for(engine.device())), (&tuning, 0, 1));
    engine.add_tuning(&read.tuning);
    let plan = engine.plan_blocking(&problem, &PlanOptions::default()).unwrap();
    assert_eq!((plan.kernel(), plan.variant()), report.chosen());
    assert!(plan.explain().contains(&format!("{}: tuned: measured", plan.variant())), "{}", plan.explain());
    assert!((plan.candidates()[0].tuned_ms.unwrap() - report.chosen_ms).abs() <= 1e-6);
    // Another problem and the other mode know nothing of it.
    let other: Problem = "n1c16h12w21o16k3p1+relu".parse().unwrap();
    assert_eq!(engine.select(&other, &PlanOptions::default()).unwrap().candidates[0].tuned_ms, None);
    let checked = PlanOptions { checks: Some(Checks::Checked), ..PlanOptions::default() };
    assert_eq!(engine.select(&problem, &checked).unwrap().candidates[0].tuned_ms, None);
}

#[test]
fn nothing_to_time_is_an_error() {
    let Some(engine) = engine() else { return };
    let error = engine.tune_blocking(&"n0c1h1w1o1k1".parse().unwrap(), &options(), |_| {}).unwrap_err();
    assert!(matches!(error, Error::Parameter { parameter: "batch", .. }), "{error:?}");
}

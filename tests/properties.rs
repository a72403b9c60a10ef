//! Random problems on random variants and modes, forced: integers, whose result must be exact, and floats within the
//! bound; guard zones, no output unwritten, a second run the same to the bit. A failure shrinks to a small problem and
//! prints it as a problem string with its unit.
//!
//! Most cases run on the generic variants, which compile once; on the others each case is a pipeline to compile, so they
//! are fewer. `PROPTEST_CASES` sets another number for both.

#[path = "common/gpu.rs"]
mod gpu;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use wgpu_conv::{Op, Problem, Result};
use wgpu_conv_check::problems::{
    Case, any_activation, any_problem, in_any_format, integer_activation, integer_problem, or_deformable,
};
use wgpu_conv_check::runner::judge;
use wgpu_conv_check::{DataKind, Placement, ProblemData, Runner, Unit};

/// Keeps a case to milliseconds on a software adapter.
const MAX_MACS: u64 = 60_000;

fn config(cases: u32) -> Config {
    let default = Config::default();
    Config {
        cases: if std::env::var_os("PROPTEST_CASES").is_some() { default.cases } else { cases },
        // A shrinking step on a specialised variant compiles a shader.
        max_shrink_iters: 150,
        failure_persistence: None,
        ..default
    }
}

/// Any unit whose variant is generic, or is not, of the kernels for every problem. (`winograd.rs` draws those of the other one.)
fn unit(generic: bool) -> impl Strategy<Value = Unit> {
    let mut units = Unit::all();
    units.retain(|unit| unit.is_generic() == generic && unit.takes_everything());
    prop::sample::select(units)
}

/// Taps that meet in one output: of a transposed convolution, only every so many along an axis.
fn taps(problem: &Problem) -> u32 {
    let along = |axis: usize| {
        let [kernel, stride, dilation] =
            [problem.kernel_size(), problem.stride(), problem.dilation()].map(|all| all[axis]);
        // After this many taps, their distance is a multiple of the stride.
        let apart = (1..=stride).find(|taps| taps * dilation % stride == 0).unwrap_or(stride);
        if problem.op() == Op::ConvTranspose { kernel.div_ceil(apart) } else { kernel }
    };
    (0..problem.dimensions()).map(along).product()
}

/// Runs a problem on a unit; what is wrong with the result. A unit that refuses the problem leaves it to the others.
fn wrong(runner: &Runner, problem: &Problem, unit: &Unit, kind: DataKind, seed: u64) -> Result<Option<String>> {
    let (_, refusals) = runner.units(problem);
    if let Some(refusal) = refusals.iter().find(|refusal| refusal.unit == *unit) {
        let justified = taps(problem) > 49 && !unit.is_generic();
        return Ok((!justified).then(|| format!("refused: {}", refusal.reason)));
    }
    let data = ProblemData::generate(problem, kind, seed)?;
    let outcome = runner.run(problem, &data, unit, Placement::numbered(seed))?;
    let result = judge(problem, &data.reference_as(problem, unit.rounding()?)?, &outcome);
    Ok((!result.passed).then_some(result.message))
}

fn check(cases: u32, generic: bool, problems: impl Strategy<Value = Case>, kind: impl Strategy<Value = DataKind>) {
    let Some(gpu) = gpu::open_own() else { return };
    let runner = Runner::new(gpu.engine());
    let inputs = (problems, unit(generic), kind, any::<u32>());
    let outcome = TestRunner::new(config(cases)).run(&inputs, |(Case(problem), unit, kind, seed)| {
        let wrong = wrong(&runner, &problem, &unit, kind, seed.into()).unwrap_or_else(|error| Some(error.to_string()));
        match wrong {
            None => Ok(()),
            Some(message) => {
                let Unit { kernel, variant, checks } = unit;
                let text = format!("{problem}, {} data, on {kernel} {variant} {checks}: {message}", kind.name());
                Err(TestCaseError::fail(text))
            }
        }
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}

fn integers() -> impl Strategy<Value = Case> {
    in_any_format(or_deformable(integer_problem(MAX_MACS), MAX_MACS, integer_activation()))
}

fn anything() -> impl Strategy<Value = Case> {
    in_any_format(or_deformable(any_problem(MAX_MACS), MAX_MACS, any_activation()))
}

fn floats() -> impl Strategy<Value = DataKind> {
    prop::sample::select(vec![DataKind::Uniform, DataKind::Flat, DataKind::Positive])
}

#[test]
fn integers_are_exact_on_generic_variants() {
    check(400, true, integers(), Just(DataKind::Integers));
}

#[test]
fn integers_are_exact_on_specialised_variants() {
    check(40, false, integers(), Just(DataKind::Integers));
}

#[test]
fn floats_are_within_their_bound_on_generic_variants() {
    check(250, true, anything(), floats());
}

#[test]
fn floats_are_within_their_bound_on_specialised_variants() {
    check(30, false, anything(), floats());
}

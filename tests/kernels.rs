//! The built-in table of problems on every variant of every kernel, in both modes, with integers: the result must be
//! exact where the activation allows it, guard zones untouched, every output written, a second run the same to the bit.
//!
//! What runs here is limited by what software adapters need to compile, a second or so for a pipeline: the generic variants
//! run every problem in both modes, the others as `Extent::Tests` says. The program's `wgpu-conv verify` runs more, with
//! `--all` everything.

#[path = "common/gpu.rs"]
mod gpu;

use std::sync::LazyLock;

use wgpu_conv::{Capabilities, Checks, Kernel, Problem, Result, select, shader_source};
use wgpu_conv_check::runner::judge;
use wgpu_conv_check::{Coverage, DataKind, Extent, Placement, ProblemData, Runner, Unit, table, verify};

/// A problem of the table.
struct Case {
    /// Position in the table; chooses the placement.
    index: usize,
    name: String,
    problem: Problem,
}

/// The table, and what of it runs here.
struct Cases {
    cases: Vec<Case>,
    coverage: Coverage,
}

impl Cases {
    fn new() -> Self {
        let entries = table::entries().into_iter().enumerate();
        let cases: Vec<Case> = entries
            .map(|(index, entry)| {
                let problem = entry.parse().unwrap_or_else(|error| panic!("{}: {error}", entry.problem));
                Case { index, name: entry.name, problem }
            })
            .collect();
        let coverage = Coverage::new(cases.iter().map(|case| Some(&case.problem)), Extent::Tests);
        Self { cases, coverage }
    }

    /// Every test needs them, and working out the configurations takes seconds.
    fn shared() -> &'static Self {
        static CASES: LazyLock<Cases> = LazyLock::new(Cases::new);
        &CASES
    }

    fn configuration(&self, case: &Case) -> Option<usize> {
        self.coverage.configuration(case.index)
    }

    /// Every `PARTS`-th configuration from number `part` on, one after the other; what has none counts as one of its own.
    fn of_part(&self, part: usize) -> Vec<&Case> {
        let mut cases: Vec<&Case> = self.cases.iter().collect();
        cases.retain(|case| self.configuration(case).unwrap_or(case.index) % PARTS == part);
        cases.sort_by_key(|case| self.configuration(case));
        cases
    }

    /// Whether the case runs on this unit.
    fn runs(&self, case: &Case, unit: &Unit) -> bool {
        self.coverage.runs(case.index, &case.problem, unit)
    }
}

/// Runs every `PARTS`-th configuration, from number `part` on, on a device of its own.
fn run_part(part: usize) {
    let Some(gpu) = gpu::open_own() else { return };
    let runner = Runner::new(gpu.engine());
    let cases = Cases::shared();
    let (mut failures, mut runs, mut pipelines, mut last) = (Vec::new(), 0, 0, None);
    for case in cases.of_part(part) {
        // Only the generic variants' serve several configurations.
        if last.replace(cases.configuration(case)) != Some(cases.configuration(case)) {
            pipelines += verify::bound_pipelines(gpu.engine());
        }
        let (mut units, refusals) = runner.units(&case.problem);
        let may = |unit: &Unit| !unit.takes_everything() || cases.configuration(case).is_none() && !unit.is_generic();
        assert!(refusals.iter().all(|refusal| may(&refusal.unit)), "{} {}: {refusals:?}", case.name, case.problem);
        units.retain(|unit| cases.runs(case, unit));
        runs += units.len();
        match run(&runner, case, &units) {
            Ok(wrong) => failures.extend(wrong),
            Err(error) => failures.push(format!("{} {}: {error}", case.name, case.problem)),
        }
    }
    println!("{runs} runs, {} pipelines", pipelines + gpu.engine().pipeline_count());
    assert!(failures.is_empty(), "{} of {runs} runs failed:\n{}", failures.len(), failures.join("\n"));
}

/// Runs a case on each unit; what went wrong.
fn run(runner: &Runner, case: &Case, units: &[Unit]) -> Result<Vec<String>> {
    let Case { problem, name, .. } = case;
    let data = ProblemData::generate(problem, DataKind::Integers, verify::seed_of(&problem.to_string()))?;
    let mut references = data.references(problem)?;
    let mut stage = runner.stage(problem, &data, Placement::numbered(case.index as u64))?;
    let mut wrong = Vec::new();
    for unit in units {
        let outcome = runner.plan(problem, unit).and_then(|plan| stage.run(&plan));
        let message = match outcome.and_then(|outcome| Ok(judge(problem, references.of(unit.rounding()?)?, &outcome))) {
            Ok(result) => result.message,
            Err(error) => error.to_string(),
        };
        if !message.is_empty() {
            let Unit { kernel, variant, checks } = unit;
            wrong.push(format!("{name} {problem} on {kernel} {variant} {checks}: {message}"));
        }
    }
    Ok(wrong)
}

/// Tests are what runs side by side; there are more of them than cores, since some take longer.
const PARTS: usize = 8;

#[test]
fn table_part_1() {
    run_part(0);
}

#[test]
fn table_part_2() {
    run_part(1);
}

#[test]
fn table_part_3() {
    run_part(2);
}

#[test]
fn table_part_4() {
    run_part(3);
}

#[test]
fn table_part_5() {
    run_part(4);
}

#[test]
fn table_part_6() {
    run_part(5);
}

#[test]
fn table_part_7() {
    run_part(6);
}

#[test]
fn table_part_8() {
    run_part(7);
}

/// Where no edge cuts a block of pixels there is no padding rule in the shader: all variants that have such blocks, on problems
/// that their blocks divide and on others, where the last block of an axis overlaps the one before.
fn edges_cut_no_block(checks: Checks) {
    let Some(gpu) = gpu::open_own() else { return };
    let runner = Runner::new(gpu.engine());
    let cases = &Cases::shared().cases;
    let mut inside = 0;
    for case in cases.iter().filter(|case| case.name.starts_with("edges-cut-no-block")) {
        let mut units = Unit::all();
        units.retain(|unit| {
            [Kernel::Direct, Kernel::Broadcast].contains(&unit.kernel)
                && unit.checks == checks
                && shader_source(&case.problem, unit.kernel, Some(unit.variant), 0)
                    .is_ok_and(|source| source.contains("const INSIDE: bool = true;"))
        });
        inside += units.len();
        assert_eq!(run(&runner, case, &units).unwrap(), Vec::<String>::new());
    }
    assert!(inside >= 25, "{inside} variants and problems");
}

#[test]
fn edges_cut_no_block_trusted() {
    edges_cut_no_block(Checks::Trusted);
}

#[test]
fn edges_cut_no_block_checked() {
    edges_cut_no_block(Checks::Checked);
}

/// Inputs so large that tiles along the pixels come in runs, the last of them shorter, with several tiles along the channels.
#[test]
fn tiles_in_runs() {
    let Some(gpu) = gpu::open_own() else { return };
    let runner = Runner::new(gpu.engine());
    let problem = "c4h263w257o130k1".parse().unwrap();
    let case = Case { index: 1, name: "runs".into(), problem };
    let mut units = Unit::all();
    units.retain(|unit| ["c8x8", "r1x16c8", "m64n64k8", "split-m32n32k16", "generic-m32n64k8"].contains(&unit.variant));
    assert_eq!(units.len(), 10, "five variants in both modes");
    assert_eq!(run(&runner, &case, &units).unwrap(), Vec::<String>::new());
}

/// Nothing is left out by accident: every variant runs in both modes on many problems, and every configuration on every
/// kernel.
#[test]
fn every_variant_runs_many_problems() {
    let cases = Cases::shared();
    let takes = |case: &Case, unit: &Unit| select(&case.problem, &Capabilities::baseline(), &unit.options()).is_ok();
    let count = |unit: &Unit| {
        let runs = |case: &&Case| cases.runs(case, unit) && (unit.takes_everything() || takes(case, unit));
        cases.cases.iter().filter(runs).count()
    };
    for unit in Unit::all() {
        let least = match (unit.kernel, unit.is_generic(), unit.checks) {
            (Kernel::Winograd, ..) => 60,
            // On devices that have what it takes: `matrix.rs` runs those.
            (Kernel::Matrix, ..) => 0,
            (_, true, _) => cases.cases.len(),
            (_, false, Checks::Trusted) => 350,
            (_, false, Checks::Checked) => 320,
        };
        let number = count(&unit);
        assert!(number >= least, "{} {} {}: {number} problems", unit.kernel, unit.variant, unit.checks);
    }
    for case in cases.cases.iter().filter(|case| cases.configuration(case).is_some()) {
        for &kernel in Kernel::ALL.iter().filter(|&&kernel| ![Kernel::Winograd, Kernel::Matrix].contains(&kernel)) {
            let special = |unit: &Unit| unit.kernel == kernel && !unit.is_generic();
            let runs = |unit: &Unit| special(unit) && cases.runs(case, unit);
            assert!(Unit::all().iter().any(runs), "{} on no specialised variant of {kernel}", case.name);
        }
    }
}

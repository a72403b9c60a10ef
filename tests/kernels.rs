//! The built-in table of problems on every variant of every kernel, in both modes, with integers: the result must be
//! exact where the activation allows it, guard zones untouched, every output written, a second run the same to the bit.
//!
//! What runs here is limited by what software adapters need to compile, a second or so for a pipeline. Sizes and channels
//! are no part of a pipeline, so the problems of the table fall into configurations that share one:
//! - the generic variants run every problem in both modes;
//! - configurations of very many problems run on every variant in both modes;
//! - those of many problems run on every third variant, in checked mode on every fourth;
//! - each other configuration runs on one variant of each kernel, in turn; in checked mode a fifth of them does.
//!
//! The program's `wgpu-conv verify` runs all of it, every problem on every variant in both modes.

#[path = "common/gpu.rs"]
mod gpu;

use std::collections::HashMap;

use wgpu_conv::{Capabilities, Checks, Kernel, Problem, Result, select, shader_source};
use wgpu_conv_check::runner::judge;
use wgpu_conv_check::{DataKind, Placement, ProblemData, Runner, Unit, table, verify};

/// A problem of the table.
struct Case {
    /// Position in the table; chooses the placement.
    index: usize,
    name: String,
    problem: Problem,
    /// Number of its configuration; none if only the generic variants take it.
    configuration: Option<usize>,
}

/// The table, and how many problems each configuration has.
struct Cases {
    cases: Vec<Case>,
    sharing: Vec<usize>,
}

/// Configurations with as many problems run on every variant, in both modes.
const MOST: usize = 20;
/// Configurations with as many problems run on every third variant, in checked mode on fewer.
const MANY: usize = 7;

/// Problems with more groups run on some variants only.
const MANY_GROUPS: u32 = 10_000;

impl Cases {
    fn new() -> Self {
        let mut numbers = HashMap::new();
        let mut sharing = Vec::new();
        let mut cases = Vec::new();
        for (index, entry) in table::entries().into_iter().enumerate() {
            let problem = entry.parse().unwrap_or_else(|error| panic!("{}: {error}", entry.problem));
            let configuration = shaders(&problem).map(|shaders| {
                let number = *numbers.entry(shaders).or_insert(sharing.len());
                sharing.resize(sharing.len().max(number + 1), 0);
                sharing[number] += 1;
                number
            });
            cases.push(Case { index, name: entry.name, problem, configuration });
        }
        Self { cases, sharing }
    }

    /// Whether the case runs on this unit.
    fn runs(&self, case: &Case, unit: &Unit) -> bool {
        if unit.variant.starts_with("generic") {
            return true;
        }
        let Some(number) = case.configuration else { return false };
        let variants = unit.kernel.variants();
        let place =
            variants.iter().position(|&variant| variant == unit.variant).expect("it is a variant of its kernel");
        // The two modes take turns that differ.
        let place = place + usize::from(unit.checks == Checks::Checked);
        // Three programs each, and `winograd.rs` runs it on random problems.
        if unit.kernel == Kernel::Winograd {
            return (case.index + place).is_multiple_of(4);
        }
        // One of so many variants, in turn.
        let sharing = self.sharing[number];
        let special = variants.iter().filter(|variant| !variant.starts_with("generic")).count();
        let one_of = match unit.checks {
            // Each of so many groups fills a tile of its own, nearly all of it with tails: minutes on a slow adapter.
            _ if case.problem.groups() > MANY_GROUPS => 4,
            _ if sharing >= MOST => 1,
            Checks::Trusted if sharing >= MANY => 3,
            Checks::Checked if sharing >= MANY => 4,
            Checks::Trusted => special,
            Checks::Checked => 5 * special + 1,
        };
        (number + place).is_multiple_of(one_of)
    }
}

/// The shaders of any one specialised variant tell configurations apart; a transposed convolution has several. None if only
/// the generic variants take the problem.
fn shaders(problem: &Problem) -> Option<Vec<String>> {
    // But for what depends on sizes: whether an edge cuts a block. (`edges_cut_no_block` runs those.)
    let shader = |part| {
        let source = shader_source(problem, Kernel::Direct, Some("c4x8"), part).ok()?;
        Some(source.replace("const INSIDE: bool = true;", "const INSIDE: bool = false;"))
    };
    let all: Vec<String> = (0..).map_while(shader).collect();
    (!all.is_empty()).then_some(all)
}

/// Runs every `PARTS`-th configuration, from number `part` on, on a device of its own.
fn run_part(part: usize) {
    let Some(gpu) = gpu::open_own() else { return };
    let runner = Runner::new(gpu.engine());
    let cases = Cases::new();
    let (mut failures, mut runs) = (Vec::new(), 0);
    for case in cases.cases.iter().filter(|case| case.configuration.unwrap_or(case.index) % PARTS == part) {
        let (mut units, refusals) = runner.units(&case.problem);
        let may = |unit: &Unit| {
            !unit.takes_everything() || case.configuration.is_none() && !unit.variant.starts_with("generic")
        };
        assert!(refusals.iter().all(|refusal| may(&refusal.unit)), "{} {}: {refusals:?}", case.name, case.problem);
        units.retain(|unit| cases.runs(case, unit));
        runs += units.len();
        match run(&runner, case, &units) {
            Ok(wrong) => failures.extend(wrong),
            Err(error) => failures.push(format!("{} {}: {error}", case.name, case.problem)),
        }
    }
    println!("{runs} runs, {} pipelines", gpu.engine().pipeline_count());
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
/// that all of their blocks divide.
fn edges_cut_no_block(checks: Checks) {
    let Some(gpu) = gpu::open_own() else { return };
    let runner = Runner::new(gpu.engine());
    let cases = Cases::new().cases;
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

/// Nothing is left out by accident: every variant runs in both modes on many problems, and every configuration on every
/// kernel.
#[test]
fn every_variant_runs_many_problems() {
    let cases = Cases::new();
    let takes = |case: &Case, unit: &Unit| select(&case.problem, &Capabilities::baseline(), &unit.options()).is_ok();
    let count = |unit: &Unit| {
        let runs = |case: &&Case| cases.runs(case, unit) && (unit.takes_everything() || takes(case, unit));
        cases.cases.iter().filter(runs).count()
    };
    for unit in Unit::all() {
        let least = match (unit.kernel, unit.variant.starts_with("generic"), unit.checks) {
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
    for case in cases.cases.iter().filter(|case| case.configuration.is_some()) {
        for &kernel in Kernel::ALL.iter().filter(|&&kernel| ![Kernel::Winograd, Kernel::Matrix].contains(&kernel)) {
            let special = |unit: &Unit| unit.kernel == kernel && !unit.variant.starts_with("generic");
            let runs = |unit: &Unit| special(unit) && cases.runs(case, unit);
            assert!(Unit::all().iter().any(runs), "{} on no specialised variant of {kernel}", case.name);
        }
    }
}

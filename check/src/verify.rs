//! Named problems through every kernel, variant and mode.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::{slice, thread};

use wgpu_conv::{Checks, Engine, Kernel, Problem, Result};

use crate::coverage::{Coverage, Extent};
use crate::data::{DataKind, ProblemData, References};
use crate::report::{Event, Progress, Report, Row, SkipKind, Status};
use crate::runner::{Placement, Refusal, Runner, Stage, Unit, UnitResult, judge};
use crate::table::Entry;

/// Which units to run; the default is all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only this kernel.
    pub kernel: Option<Kernel>,
    /// Only variants with this name.
    pub variant: Option<String>,
    /// Only this mode.
    pub checks: Option<Checks>,
}

impl Filter {
    /// Whether a unit is to be run.
    pub fn admits(&self, unit: &Unit) -> bool {
        self.kernel.is_none_or(|kernel| kernel == unit.kernel)
            && self.variant.as_ref().is_none_or(|variant| variant == unit.variant)
            && self.checks.is_none_or(|checks| checks == unit.checks)
    }
}

/// Runs each entry on every unit that accepts it and that `filter` admits: with integers, whose result must be exact
/// where the activation allows it, and with one kind of floats, which must be within the reference's bounds; each twice,
/// between guard zones. A unit passes if both do.
pub fn entries(engine: &Engine, entries: &[Entry], filter: &Filter, progress: &mut dyn Progress) -> Report {
    entries_on(slice::from_ref(engine), entries, Extent::Everything, filter, progress)
}

/// [`entries`], or a part of their units, on several engines at once, each with a device of its own. Most of the time goes into compiling shaders,
/// which a software adapter does in the thread of the device's queue: there, an engine for each processor pays.
pub fn entries_on(
    engines: &[Engine],
    entries: &[Entry],
    extent: Extent,
    filter: &Filter,
    progress: &mut dyn Progress,
) -> Report {
    const FLOATS: [DataKind; 3] = [DataKind::Uniform, DataKind::Flat, DataKind::Positive];
    let name = |index: usize| entries[index].name.as_str();
    let problems: Vec<Result<Problem>> = entries.iter().map(Entry::parse).collect();
    // It writes a shader for each problem, which nobody needs for all of them.
    let coverage = (extent != Extent::Everything)
        .then(|| Coverage::new(problems.iter().map(|problem| problem.as_ref().ok()), extent));
    let runs = |index: usize, problem: &Problem, unit: &Unit| {
        coverage.as_ref().is_none_or(|coverage| coverage.runs(index, problem, unit))
    };
    share(engines, entries.len(), 1, name, filter, progress, |session, index| {
        let entry = &entries[index];
        let kinds = [DataKind::Integers, FLOATS[index % FLOATS.len()]];
        let case = Case { source: "table", name: &entry.name };
        match &problems[index] {
            Ok(problem) => case.run(session, problem, &kinds, index, &|unit| runs(index, problem, unit)),
            Err(error) => session.add(case.row(Status::Failed, error.to_string())),
        }
    })
}

/// Pipelines that an engine may keep from one case to the next: thousands of them fill a machine's memory.
const MOST_PIPELINES: usize = 256;

/// Hands out the cases 0 to `total` to the engines, `together` at a time and each in a thread of its own, and gathers the reports in
/// the order of the cases.
pub(crate) fn share<'n>(
    engines: &[Engine],
    total: usize,
    together: usize,
    name: impl Fn(usize) -> &'n str + Sync,
    filter: &Filter,
    progress: &mut dyn Progress,
    work: impl Fn(&mut Session<'_>, usize) + Sync,
) -> Report {
    let next = AtomicUsize::new(0);
    let progress = Mutex::new(progress);
    let tell = |event: Event<'_>| lock(&progress).event(event);
    let reports = Mutex::new(BTreeMap::new());
    let worker = |engine: &Engine| {
        let runner = Runner::new(engine);
        loop {
            let first = next.fetch_add(together, Ordering::Relaxed);
            if first >= total {
                break;
            }
            for index in first..total.min(first + together) {
                let mut session = Session { runner: &runner, filter, report: Report::default(), tell: &tell };
                session.tell(Event::Case { index, total, name: name(index) });
                work(&mut session, index);
                lock(&reports).insert(index, session.report);
                bound_pipelines(engine);
            }
        }
    };
    thread::scope(|scope| {
        if let Some((first, others)) = engines.split_first() {
            let worker = &worker;
            for engine in others {
                // A thread that cannot be had is not needed: the first one does all the work if need be.
                let _ = thread::Builder::new().spawn_scoped(scope, move || worker(engine));
            }
            worker(first);
        }
    });
    let reports = reports.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut all = Report::default();
    reports.into_values().for_each(|report| all.merge(report));
    all
}

/// To be called from one case to the next; the number of pipelines that the engine forgot.
pub fn bound_pipelines(engine: &Engine) -> usize {
    let count = engine.pipeline_count();
    if count <= MOST_PIPELINES {
        return 0;
    }
    engine.forget_pipelines();
    count
}

/// What is locked here is whole at any time, even if a thread panicked.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the check of one case works with.
pub(crate) struct Session<'a> {
    pub runner: &'a Runner,
    pub filter: &'a Filter,
    report: Report,
    tell: &'a (dyn Fn(Event<'_>) + Sync),
}

impl Session<'_> {
    pub fn add(&mut self, row: Row) {
        self.tell(Event::Row(&row));
        self.report.add(row);
    }

    pub fn skip(&mut self, kind: SkipKind, row: Row) {
        self.tell(Event::Row(&row));
        self.report.skip(kind, row);
    }

    fn tell(&self, event: Event<'_>) {
        (self.tell)(event);
    }
}

/// Something with a name that is checked.
#[derive(Clone, Copy)]
pub(crate) struct Case<'a> {
    /// `table`, or a file.
    pub source: &'a str,
    pub name: &'a str,
}

/// One set of tensors with its result, on the GPU.
struct Trial<'a> {
    kind: DataKind,
    references: References<'a>,
    stage: Stage<'a>,
}

impl Case<'_> {
    /// A row without numbers.
    pub fn row(&self, status: Status, message: String) -> Row {
        Row::of_case(self.source, self.name, status, message)
    }

    /// Runs generated data of some kinds on every unit that accepts the problem, is admitted and `wanted`. `number` chooses the
    /// placement.
    pub fn run(
        &self,
        session: &mut Session<'_>,
        problem: &Problem,
        kinds: &[DataKind],
        number: usize,
        wanted: &dyn Fn(&Unit) -> bool,
    ) {
        let mut units = self.accepting(session, problem);
        units.retain(wanted);
        if units.is_empty() {
            return;
        }
        if let Err(error) = self.try_run(session, problem, kinds, number, &units) {
            session.add(self.row(Status::Failed, error.to_string()).with_problem(problem));
        }
    }

    /// An error concerns all units, before any of them has run.
    fn try_run(
        &self,
        session: &mut Session<'_>,
        problem: &Problem,
        kinds: &[DataKind],
        number: usize,
        units: &[Unit],
    ) -> Result<()> {
        let seed = seed_of(&problem.to_string());
        let data: Vec<ProblemData> =
            kinds.iter().map(|&kind| ProblemData::generate(problem, kind, seed)).collect::<Result<_>>()?;
        let mut trials: Vec<Trial<'_>> = kinds
            .iter()
            .zip(&data)
            .map(|(&kind, data)| Trial::new(session.runner, problem, kind, data, Placement::numbered(number as u64)))
            .collect::<Result<_>>()?;
        for unit in units {
            let result = run_trials(session.runner, problem, &mut trials, unit);
            session.add(self.result_row(problem, unit, result));
        }
        Ok(())
    }

    /// The units to run. Adds the refusals to the report, and a failure if no kernel at all accepts the problem.
    pub fn accepting(&self, session: &mut Session<'_>, problem: &Problem) -> Vec<Unit> {
        let (mut units, refusals) = session.runner.units(problem);
        if units.is_empty() {
            let reasons: Vec<String> =
                refusals.iter().map(|refusal| format!("{}: {}", refusal.unit.kernel, refusal.reason)).collect();
            let row = self.row(Status::Failed, format!("no kernel accepts it: {}", reasons.join("; ")));
            session.add(row.with_problem(problem));
            return units;
        }
        for Refusal { unit, reason } in refusals {
            if session.filter.admits(&unit) {
                session.add(self.row(Status::Refused, reason).with_problem(problem).on(&unit));
            }
        }
        units.retain(|unit| session.filter.admits(unit));
        units
    }

    /// The row of a unit that ran, or failed to.
    pub fn result_row(&self, problem: &Problem, unit: &Unit, result: Result<UnitResult>) -> Row {
        let result = result.unwrap_or_else(|error| UnitResult::failure(error.to_string()));
        let status = if result.passed { Status::Passed } else { Status::Failed };
        let number = |value: f64| (!value.is_nan()).then_some(value);
        Row {
            error: number(result.error),
            bound: number(result.bound),
            ..self.row(status, result.message).with_problem(problem).on(unit)
        }
    }
}

impl<'a> Trial<'a> {
    fn new(
        runner: &Runner,
        problem: &Problem,
        kind: DataKind,
        data: &'a ProblemData,
        placement: Placement,
    ) -> Result<Self> {
        let references = data.references(problem)?;
        Ok(Self { kind, references, stage: runner.stage(problem, data, placement)? })
    }
}

/// Plans once and runs every trial; the result of the first that fails, else of the last.
fn run_trials(runner: &Runner, problem: &Problem, trials: &mut [Trial<'_>], unit: &Unit) -> Result<UnitResult> {
    let plan = runner.plan(problem, unit)?;
    let mut last = UnitResult { passed: true, error: 0.0, bound: 0.0, message: String::new() };
    for trial in trials {
        let outcome = trial.stage.run(&plan)?;
        last = judge(problem, trial.references.of(plan.rounding())?, &outcome);
        if !last.passed {
            last.message = format!("{} data: {}", trial.kind.name(), last.message);
            return Ok(last);
        }
    }
    Ok(last)
}

/// A seed that depends on nothing but the text (32-bit FNV-1a), so that a problem string alone is enough to repeat a run.
pub fn seed_of(text: &str) -> u64 {
    text.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_admit_what_they_name() {
        let all = Unit::all();
        let count = |filter: Filter| all.iter().filter(|unit| filter.admits(unit)).count();
        assert_eq!(count(Filter::default()), all.len());
        assert_eq!(count(Filter { checks: Some(Checks::Checked), ..Filter::default() }) * 2, all.len());
        let by_kernel: usize =
            Kernel::ALL.iter().map(|&kernel| count(Filter { kernel: Some(kernel), ..Filter::default() })).sum();
        assert_eq!(by_kernel, all.len());
        assert_eq!(count(Filter { variant: Some("none".into()), ..Filter::default() }), 0);
    }

    #[test]
    fn seeds_are_those_of_fnv() {
        // From the published test vectors of FNV-1a, 32 bits.
        assert_eq!([seed_of(""), seed_of("a"), seed_of("foobar")], [0x811c_9dc5, 0xe40c_292c, 0xbf9c_f968]);
    }
}

//! Running a suite.

use wgpu_conv::{Engine, Error, Problem, Rounding};

use super::{Content, Suite, TensorCase};
use crate::data::DataKind;
use crate::report::{Progress, Report, SkipKind, Status};
use crate::runner::{Placement, Unit, judge};
use crate::verify::{Case, Filter, Session, share};

pub(super) fn suite(suite: &Suite, engines: &[Engine], filter: &Filter, progress: &mut dyn Progress) -> Report {
    let name = |index: usize| suite.cases[index].name.as_str();
    share(engines, suite.len(), 1, name, filter, progress, |session, index| {
        let entry = &suite.cases[index];
        let case = Case { source: &entry.file, name: &entry.name };
        match &entry.content {
            Content::Tensors(Ok(tensors)) => run_tensors(&case, session, tensors, index),
            Content::Shape(Ok(problem)) => case.run(session, problem, &[DataKind::Uniform], index, &|_| true),
            Content::Tensors(Err(error)) | Content::Shape(Err(error)) => {
                session.add(case.row(Status::Failed, format!("no kernel was asked: {error}")));
            }
            Content::Refusal(outcome) => run_refusal(&case, session, outcome),
            Content::Skipped(kind) => {
                let SkipKind { op, spatial_dims, dtype } = kind;
                let message = format!("{op} in {spatial_dims} dimensions of {dtype} is not supported");
                session.skip(kind.clone(), case.row(Status::Skipped, message));
            }
        }
    })
}

fn run_tensors(case: &Case<'_>, session: &mut Session<'_>, tensors: &TensorCase, number: usize) {
    let TensorCase { problem, data, expected } = tensors;
    let units = case.accepting(session, problem);
    if units.is_empty() {
        return;
    }
    let mut stage = match session.runner.stage(problem, data, Placement::numbered(number as u64)) {
        Ok(stage) => stage,
        Err(error) => return session.add(case.row(Status::Failed, error.to_string()).with_problem(problem)),
    };
    let mut references = None;
    for unit in &units {
        let outcome = session.runner.plan(problem, unit).and_then(|plan| stage.run(&plan));
        let result = outcome.and_then(|outcome| match unit.rounding()? {
            Rounding::Sums => Ok(judge(problem, expected, &outcome)),
            rounding => {
                let references = match &mut references {
                    Some(references) => references,
                    none => none.insert(data.references(problem)?),
                };
                // What was written down may itself be a sum in float32, as far away as it is.
                let mut wider = references.of(rounding)?.clone();
                for (place, of_file) in expected.values.iter().enumerate() {
                    wider.bounds[place] += (wider.values[place] - of_file).abs();
                    wider.values[place] = *of_file;
                }
                Ok(judge(problem, &wider, &outcome))
            }
        });
        session.add(case.result_row(problem, unit, result));
    }
}

/// Every unit must meet a typed error while preparing.
fn run_refusal(case: &Case<'_>, session: &mut Session<'_>, outcome: &Result<Problem, Error>) {
    for unit in Unit::all().iter().filter(|unit| session.filter.admits(unit)) {
        let error = match outcome {
            Ok(problem) => session.runner.plan(problem, unit).err(),
            Err(error) => Some(error.clone()),
        };
        let (status, message) = match error {
            Some(error) if is_refusal(&error) => (Status::Passed, error.to_string()),
            Some(error) => (Status::Failed, format!("this is no refusal: {error}")),
            None => (Status::Failed, "it must be refused, and was accepted".into()),
        };
        let row = case.row(status, message).on(unit);
        session.add(match outcome {
            Ok(problem) => row.with_problem(problem),
            Err(_) => row,
        });
    }
}

/// Whether an error says that the request was wrong, and not that something went wrong with it.
fn is_refusal(error: &Error) -> bool {
    !matches!(
        error,
        Error::Internal(_)
            | Error::Gpu { .. }
            | Error::DeviceLost { .. }
            | Error::OutOfMemory { .. }
            | Error::NoAdapter(_)
            | Error::NoDevice { .. }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn breakdowns_are_no_refusals() {
        assert!(is_refusal(&Error::Groups { parameter: "in_channels", channels: 4, groups: 3 }));
        assert!(!is_refusal(&Error::Internal("defect".into())));
        assert!(!is_refusal(&Error::DeviceLost { reason: "gone".into() }));
        assert!(!is_refusal(&Error::OutOfMemory { during: "packing" }));
    }
}

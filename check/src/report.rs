//! [`Report`]: what was checked, with which result, and the counts.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::runner::Unit;

/// What became of a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It ran, and its result is right.
    Passed,
    /// It should have run with a right result, and did not.
    Failed,
    /// The kernel does not accept the problem; counts nowhere.
    Refused,
    /// The case asks for something that is not supported at all.
    Skipped,
}

/// One unit: a case or problem on one kernel, variant and mode. The three are absent for a skipped case, and for a
/// failure that concerns all of them.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// `table`, or the file that the case is from.
    pub source: String,
    /// Name of the problem in the table, or of the case.
    pub case: String,
    /// The problem string, if the case is a problem.
    pub problem: Option<String>,
    /// Name of the kernel.
    pub kernel: Option<&'static str>,
    /// Name of the variant.
    pub variant: Option<&'static str>,
    /// `trusted` or `checked`.
    pub mode: Option<&'static str>,
    /// The result.
    pub status: Status,
    /// Absolute error at the worst output (JSON: null if nothing was compared, or the error is not finite).
    pub error: Option<f64>,
    /// The error that is allowed there; 0 where exact equality is asked for.
    pub bound: Option<f64>,
    /// What went wrong, or why it was refused or skipped; for a case that must be refused, the error that it met; else
    /// empty.
    pub message: String,
}

impl Row {
    /// A row of a case as a whole, without numbers.
    pub(crate) fn of_case(source: &str, case: &str, status: Status, message: String) -> Self {
        Self {
            source: source.into(),
            case: case.into(),
            problem: None,
            kernel: None,
            variant: None,
            mode: None,
            status,
            error: None,
            bound: None,
            message,
        }
    }

    /// The same row for a unit.
    pub(crate) fn on(self, unit: &Unit) -> Self {
        Self { kernel: Some(unit.kernel.name()), variant: Some(unit.variant), mode: Some(unit.checks.name()), ..self }
    }

    /// The same row with its problem string.
    pub(crate) fn with_problem(self, problem: &wgpu_conv::Problem) -> Self {
        Self { problem: Some(problem.to_string()), ..self }
    }
}

/// A kind of case that is not supported.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct SkipKind {
    /// The operation, with what of it is not supported.
    pub op: String,
    /// Number of spatial dimensions.
    pub spatial_dims: u64,
    /// Element type.
    pub dtype: String,
}

/// Something that happened while checking.
#[derive(Debug)]
pub enum Event<'a> {
    /// The next of so many cases begins.
    Case {
        /// Its position, from 0.
        index: usize,
        /// Number of cases.
        total: usize,
        /// Its name.
        name: &'a str,
    },
    /// A row is done.
    Row(&'a Row),
}

/// Is told what happens, so that a program can show it. Any `FnMut(Event)` that can be sent to a thread is one.
pub trait Progress: Send {
    /// Called for each event. With several engines, events of several cases come mixed, one at a time.
    fn event(&mut self, event: Event<'_>);
}

impl<F: FnMut(Event<'_>) + Send> Progress for F {
    fn event(&mut self, event: Event<'_>) {
        self(event);
    }
}

/// All rows and their counts.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Report {
    rows: Vec<Row>,
    skipped: BTreeMap<SkipKind, usize>,
}

impl Report {
    /// Adds a row that is not skipped.
    pub(crate) fn add(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// Counts a skipped case.
    pub(crate) fn skip(&mut self, kind: SkipKind, row: Row) {
        *self.skipped.entry(kind).or_default() += 1;
        self.add(row);
    }

    /// Adds everything from another report.
    pub fn merge(&mut self, other: Self) {
        self.rows.extend(other.rows);
        for (kind, count) in other.skipped {
            *self.skipped.entry(kind).or_default() += count;
        }
    }

    /// All rows in the order in which they were checked.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The rows that failed.
    pub fn failures(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| row.status == Status::Failed)
    }

    /// How many units passed.
    pub fn passed(&self) -> usize {
        self.count(Status::Passed)
    }

    /// How many units failed.
    pub fn failed(&self) -> usize {
        self.count(Status::Failed)
    }

    /// How many units were refused by their kernel; they count neither as passed nor as failed nor as skipped.
    pub fn refused(&self) -> usize {
        self.count(Status::Refused)
    }

    /// How many cases were skipped, each counted once.
    pub fn skipped(&self) -> usize {
        self.count(Status::Skipped)
    }

    /// How many cases of each kind were skipped, sorted.
    pub fn skipped_kinds(&self) -> impl Iterator<Item = (&SkipKind, usize)> {
        self.skipped.iter().map(|(kind, &count)| (kind, count))
    }

    /// `N passed, N failed, N skipped`.
    pub fn closing_line(&self) -> String {
        format!("{} passed, {} failed, {} skipped", self.passed(), self.failed(), self.skipped())
    }

    /// All rows as a JSON array.
    ///
    /// # Errors
    /// What writing JSON says (no row that this crate makes causes an error).
    pub fn to_json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(&self.rows)
    }

    fn count(&self, status: Status) -> usize {
        self.rows.iter().filter(|row| row.status == status).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let mut report = Report::default();
        for status in [Status::Passed, Status::Passed, Status::Failed, Status::Refused] {
            let row = Row { error: Some(f64::INFINITY), ..Row::of_case("table", "a", status, String::new()) };
            report.add(row);
        }
        let kind = SkipKind { op: "conv_transpose".into(), spatial_dims: 2, dtype: "float32".into() };
        for _ in 0..2 {
            report.skip(kind.clone(), Row::of_case("file", "b", Status::Skipped, String::new()));
        }
        report
    }

    #[test]
    fn counts_and_the_closing_line() {
        let mut report = report();
        assert_eq!(report.closing_line(), "2 passed, 1 failed, 2 skipped");
        assert_eq!((report.refused(), report.failures().count()), (1, 1));
        report.merge(self::report());
        assert_eq!(report.closing_line(), "4 passed, 2 failed, 4 skipped");
        assert_eq!(
            report.skipped_kinds().map(|(kind, n)| (kind.op.as_str(), n)).collect::<Vec<_>>(),
            [("conv_transpose", 4)]
        );
    }

    #[test]
    fn json_has_every_row_and_survives_infinities() {
        let json: serde_json::Value = serde_json::from_str(&report().to_json().unwrap()).unwrap();
        assert_eq!(json.as_array().unwrap().len(), 6);
        assert_eq!(json[0]["status"], "passed");
        assert!(json[0]["error"].is_null() && json[0]["kernel"].is_null());
    }
}

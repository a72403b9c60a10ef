//! `wgpu-conv verify`: every kernel, variant and mode through problems with known answers.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use wgpu_conv::{AdapterClass, Checks, Context, Engine};
use wgpu_conv_check::{
    Event, Extent, Filter, Progress, RandomOptions, Report, Row, Status, Suite, SuiteOptions, random, table, verify,
};

use crate::gpu::{self, GpuArgs, KernelArgs};
use crate::meter::Bar;
use crate::output::{self, Stream};

/// Check every kernel and variant against the CPU reference and conformance cases
///
/// The built-in problems run on every kernel and variant that accepts them, trusted and checked: integer data must come out
/// exact, random floats within the error bound. Problems that share their shaders with few others run on one variant of each
/// kernel instead, in turn, unless --all or --filter is given: compiling those takes hours on a software adapter. Progress and tables go to standard error; the last line of
/// standard output is `N passed, N failed, N skipped`. The exit code is 1 if anything failed.
///
/// With --random, each problem runs on one of them, with random data somewhere in its buffers. Draws that are not on generic
/// variants come four in a row as one problem in several sizes, since nearly all the time goes into compiling. A failure is listed with the smallest
/// problem that was found to fail in the same way, and the command that repeats it; a run that was stopped goes on with
/// --from and the number that it had reached.
#[derive(Args)]
pub struct VerifyArgs {
    /// Also run the conformance cases in this folder (NAME.json with NAME.safetensors)
    #[arg(long, value_name = "DIR")]
    suite: Option<PathBuf>,
    /// Every built-in problem on every variant
    #[arg(long, conflicts_with_all = ["no_table", "random"])]
    all: bool,
    /// Leave out the built-in problems
    #[arg(long, requires = "suite")]
    no_table: bool,
    /// Also run the suite's *_shapes.json, with random data against the CPU reference
    #[arg(long, requires = "suite")]
    shapes: bool,
    /// Most multiply-adds of a case from *_shapes.json; larger ones get a smaller batch, or are skipped
    #[arg(long, value_name = "N", requires = "shapes", default_value_t = SuiteOptions::default().max_macs)]
    max_macs: u64,
    /// In place of the built-in problems: N problems drawn from the whole parameter space, each on one kernel, variant and
    /// mode drawn among those that take it
    #[arg(long, value_name = "N", conflicts_with_all = ["suite", "filter"])]
    random: Option<u64>,
    /// Seed of the draws; the same seed draws the same problems
    #[arg(long, value_name = "S", requires = "random", default_value_t = 0)]
    seed: u64,
    /// Number of the first draw: to go on, or to repeat a failure
    #[arg(long, value_name = "I", requires = "random", default_value_t = 0)]
    from: u64,
    /// Only problems and cases with this in their name (or in the problem string)
    #[arg(long, value_name = "SUBSTRING")]
    filter: Option<String>,
    /// Only this mode: trusted, checked [default: both]
    #[arg(long, value_name = "MODE", value_parser = parse_mode)]
    mode: Option<Checks>,
    /// Write all results to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    #[command(flatten)]
    kernel: KernelArgs,
    #[command(flatten)]
    gpu: GpuArgs,
}

fn parse_mode(text: &str) -> Result<Checks, String> {
    let mode = Checks::ALL.into_iter().find(|mode| mode.name() == text);
    mode.ok_or_else(|| format!("known are {}", Checks::ALL.map(Checks::name).join(", ")))
}

pub fn run(args: &VerifyArgs) -> Result<()> {
    let forced = args.kernel.options()?;
    let filter = Filter { kernel: forced.kernel, variant: forced.variant, checks: args.mode };
    if let Some(json) = &args.json {
        output::check_writable(json)?;
    }
    let wanted = |name: &str| args.filter.as_ref().is_none_or(|part| name.contains(part.as_str()));
    let random = args.random.map(|count| RandomOptions { seed: args.seed, from: args.from, count });
    let mut entries = if args.no_table || random.is_some() { Vec::new() } else { table::entries() };
    entries.retain(|entry| wanted(&entry.name) || wanted(&entry.problem));
    let extent = if args.all || args.filter.is_some() { Extent::Everything } else { Extent::Usual };
    let options = SuiteOptions { shapes: args.shapes, max_macs: args.max_macs };
    let mut suite = args.suite.as_ref().map(|folder| Suite::load(folder, &options)).transpose()?;
    if let Some(suite) = &mut suite {
        suite.retain(wanted);
    }
    let cases = suite.as_ref().map_or(0, Suite::len);
    ensure!(
        !entries.is_empty() || cases > 0 || random.is_some(),
        "no problem or case has {:?} in its name",
        args.filter.as_deref().unwrap_or_default()
    );

    let context = args.gpu.context()?;
    let engines = engines(&args.gpu, &context)?;
    let what = match random {
        Some(RandomOptions { seed, from, count }) => {
            format!("{count} random problems of seed {seed}, from number {from} on,")
        }
        None => format!("{} built-in problems and {cases} cases", entries.len()),
    };
    if extent == Extent::Usual && !entries.is_empty() {
        output::note(
            "problems whose shaders serve few others run on one variant of each kernel; --all runs them on every one",
        );
    }
    output::note(&format!("{what} on {}", gpu::adapter_text(&context.adapter.get_info())));
    let mut meter = Meter { bar: Bar::new(), failed: 0 };
    let mut report = match random {
        Some(options) => random::random_on(&engines, &options, &filter, &mut meter),
        None => verify::entries_on(&engines, &entries, extent, &filter, &mut meter),
    };
    if let Some(suite) = &suite {
        report.merge(suite.run_on(&engines, &filter, &mut meter));
    }
    meter.bar.finish();

    show(&report);
    if let Some(path) = &args.json {
        let json = report.to_json().context("the results make no JSON")?;
        output::write_file(path, json.as_bytes())?;
    }
    let printed = output::print(&report.closing_line());
    // That something failed is to be known even where nobody reads the closing line.
    if report.failed() > 0 {
        bail!("{} of {} failed", report.failed(), report.failed() + report.passed());
    }
    ensure!(report.passed() + report.skipped() > 0, "nothing was run: every kernel asked for refuses");
    printed
}

/// One engine, or on a software adapter one for each processor: such a driver compiles shaders on one thread of a device,
/// which is where the time goes.
fn engines(gpu: &GpuArgs, first: &Context) -> Result<Vec<Engine>> {
    let mut engines = vec![first.engine()];
    if engines[0].capabilities().class == AdapterClass::Software {
        for _ in 1..std::thread::available_parallelism().map_or(1, usize::from) {
            engines.push(gpu.context()?.engine());
        }
    }
    Ok(engines)
}

/// Tables on standard error: what failed, what was skipped.
fn show(report: &Report) {
    let mut failures = output::table(
        Stream::Err,
        &["case", "problem", "kernel", "variant", "mode", ">error", ">bound", "what is wrong"],
    );
    let mut any = false;
    for row in report.failures() {
        any = true;
        failures.add_row(failure_cells(row));
    }
    if any {
        output::note(&format!("Failed:\n{}", failures.trim_fmt()));
    }
    if report.skipped() > 0 {
        let mut skipped = output::table(Stream::Err, &["operation", ">dimensions", "dtype", ">skipped cases"]);
        for (kind, count) in report.skipped_kinds() {
            skipped.add_row([kind.op.clone(), kind.spatial_dims.to_string(), kind.dtype.clone(), count.to_string()]);
        }
        output::note(&format!("Skipped, because not supported:\n{}", skipped.trim_fmt()));
    }
    if report.refused() > 0 {
        output::note(&format!("Refused by a kernel (counts nowhere): {}", report.refused()));
    }
}

fn failure_cells(row: &Row) -> [String; 8] {
    let number = |value: Option<f64>| value.map_or_else(|| "-".into(), |value| format!("{value:.3e}"));
    let word = |value: Option<&str>| value.unwrap_or("-").to_owned();
    [
        format!("{}: {}", row.source, row.case),
        word(row.problem.as_deref()),
        word(row.kernel),
        word(row.variant),
        word(row.mode),
        number(row.error),
        number(row.bound),
        row.message.clone(),
    ]
}

/// Shows how far it is.
struct Meter {
    bar: Bar,
    failed: usize,
}

impl Progress for Meter {
    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Case { index, total, name } => {
                let failed = if self.failed > 0 { format!("{} failed, ", self.failed) } else { String::new() };
                let line = || format!("{index} of {total} done, {} failed", self.failed);
                self.bar.show(index, total, &format!("{failed}{name}"), line);
            }
            Event::Row(row) => self.failed += usize::from(row.status == Status::Failed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_shown_with_everything_that_is_known() {
        let row = Row {
            source: "table".into(),
            case: "one".into(),
            problem: Some("n1c1h1w1o1k1".into()),
            kernel: Some("direct"),
            variant: Some("c4x8"),
            mode: Some("checked"),
            status: Status::Failed,
            error: Some(f64::INFINITY),
            bound: Some(1.25e-7),
            message: "output 3".into(),
        };
        let expected = ["table: one", "n1c1h1w1o1k1", "direct", "c4x8", "checked", "inf", "1.250e-7", "output 3"];
        assert_eq!(failure_cells(&row), expected);
        let unknown = Row { kernel: None, error: None, ..row };
        assert_eq!([&failure_cells(&unknown)[2], &failure_cells(&unknown)[5]], ["-", "-"]);
    }

    #[test]
    fn modes_are_named() {
        assert_eq!(parse_mode("checked").unwrap(), Checks::Checked);
        assert!(parse_mode("both").unwrap_err().contains("trusted, checked"));
    }
}

//! `wgpu-conv tune`: the fastest kernel for each problem on this adapter, kept in a file.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use comfy_table::Cell;
use serde::Serialize;
use wgpu_conv::{
    Checks, Context, Engine, EngineOptions, ParsedTuning, Problem, TuneOptions, TuneOutcome, TuneProgress, TuneReport,
    Tuning,
};
use wgpu_conv_check::WORKLOADS;

use crate::gpu::{self, GpuArgs};
use crate::meter::Bar;
use crate::output::{self, Stream, short};

/// Find the fastest kernel for problems on this adapter, by measuring
///
/// Every candidate's result is verified before it is timed. What the estimates choose is replaced only by what is clearly
/// faster. The workloads A to L are tuned where no problems are given. The file keeps what it knew of other problems,
/// adapters and drivers; `run`, `bench` and `explain` take it with --tuning, programs with EngineOptions::tuning.
#[derive(Args)]
pub struct TuneArgs {
    /// Problem strings, or A to L
    #[arg(value_name = "PROBLEM", value_parser = gpu::parse_problem)]
    problems: Vec<Problem>,
    /// Keep the choices in this file, beside what is in it
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Time for each problem
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = parse_seconds)]
    budget: Duration,
    /// Tune shaders with bounds checks
    #[arg(long)]
    checked: bool,
    /// Write all times to this file, as a JSON array
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    #[command(flatten)]
    gpu: GpuArgs,
}

/// A tuning file to use.
#[derive(Args, Debug, Clone, Default)]
pub struct TuningArgs {
    /// Choose kernels by this file of `wgpu-conv tune` where it knows the problem and the adapter
    #[arg(long, value_name = "FILE", help_heading = "Kernel")]
    tuning: Option<PathBuf>,
}

impl TuningArgs {
    /// Options of an engine that knows the file. What in it is ignored is said on standard error.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn options(&self, context: &Context) -> Result<EngineOptions> {
        let mut options = context.engine_options();
        if let Some(path) = &self.tuning {
            let tuning = read(path)?;
            if tuning.len_for(&context.device) == 0 {
                output::note(&format!(
                    "{} has {} entries and none for this adapter and driver",
                    path.display(),
                    tuning.len()
                ));
            }
            options = options.tuning(tuning);
        }
        Ok(options)
    }

    /// An engine with these options.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn engine(&self, context: &Context) -> Result<Engine> {
        Ok(Engine::with_options(&context.device, &context.queue, self.options(context)?))
    }

    /// Finds out before the work whether the file can be read.
    ///
    /// # Errors
    /// If it cannot.
    pub fn check(&self) -> Result<()> {
        self.tuning.as_deref().map_or(Ok(()), |path| load(path).map(drop))
    }
}

fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds: Option<f64> = text.parse().ok().filter(|seconds| (0.0..=86_400.0).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| "it must be a number of seconds from 0 to 86400".into())
}

/// The file's bytes, no more than are looked at.
fn load(path: &Path) -> Result<Vec<u8>> {
    let attempt = || -> std::io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        std::fs::File::open(path)?.take(Tuning::MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    attempt().with_context(|| format!("{} cannot be read", path.display()))
}

/// What a file knows; what in it is ignored is said on standard error.
fn read(path: &Path) -> Result<Tuning> {
    let ParsedTuning { tuning, warnings, .. } = Tuning::parse(load(path)?);
    for warning in warnings {
        output::note(&format!("warning: {}: {warning}", path.display()));
    }
    Ok(tuning)
}

pub fn run(args: &TuneArgs) -> Result<()> {
    for path in args.file.iter().chain(&args.json) {
        output::check_writable(path)?;
    }
    let mut tuning = match &args.file {
        Some(path) if path.exists() => read(path)?,
        _ => Tuning::new(),
    };
    let problems = match &args.problems[..] {
        [] => WORKLOADS.iter().map(|workload| Ok(workload.problem.parse()?)).collect::<Result<Vec<Problem>>>()?,
        given => given.to_vec(),
    };
    let context = args.gpu.context()?;
    let engine = context.engine();
    let checks = if args.checked { Checks::Checked } else { Checks::Trusted };
    let options = TuneOptions::default().budget(args.budget).checks(checks);
    let mut bar = Bar::new();
    let mut reports = Vec::new();
    let mut failures = 0;
    for (index, problem) in problems.iter().enumerate() {
        let tuned = engine.tune_blocking(problem, &options, |TuneProgress { done, total, what, .. }| {
            // A hundredth of a problem is fine enough for a bar.
            let part = 100 * done / total.max(1);
            let line = || format!("{index} of {} problems done, {part} % of {problem}", problems.len());
            bar.show(100 * index + part, 100 * problems.len(), &format!("{problem}: {what}"), line);
        });
        match tuned {
            Ok(report) => {
                bar.note(&sentence(&report));
                tuning.add(&report);
                reports.push(report);
                // After each problem, so that nothing measured is lost if the next one ends badly.
                if let Some(path) = &args.file {
                    output::write_file(path, tuning.to_string().as_bytes())?;
                }
            }
            Err(error) => {
                bar.note(&format!("{problem}: {error:#}"));
                failures += 1;
            }
        }
    }
    bar.finish();
    if let Some(path) = &args.json {
        let rows: Vec<JsonReport> = reports.iter().map(JsonReport::of).collect();
        output::write_file(path, serde_json::to_string_pretty(&rows)?.as_bytes())?;
    }
    let info = context.adapter.get_info();
    let mut text = format!("{}, driver {}\n{}", gpu::adapter_text(&info), gpu::driver_text(&info), table(&reports));
    if let Some(path) = &args.file {
        text.push_str(&format!("\n{} entries in {}", tuning.len(), path.display()));
    }
    let printed = output::print(&text);
    ensure!(failures == 0, "{failures} of {} problems could not be tuned", problems.len());
    printed
}

fn name((kernel, variant): (wgpu_conv::Kernel, &str)) -> String {
    format!("{kernel} {variant}")
}

/// One problem's result, with everything that was refused for a wrong result.
fn sentence(report: &TuneReport) -> String {
    let kept = if report.chosen() == report.default_choice() { "kept " } else { "" };
    let mut text = format!(
        "{}: {kept}{}, {} ms; verified {}",
        report.problem,
        name(report.chosen()),
        short(report.chosen_ms),
        report.verified
    );
    for candidate in &report.candidates {
        if let TuneOutcome::Wrong(reason) | TuneOutcome::Failed(reason) = &candidate.outcome {
            text.push_str(&format!("\n  {} {} is refused: {reason}", candidate.kernel, candidate.variant));
        }
    }
    text
}

fn table(reports: &[TuneReport]) -> String {
    let mut table =
        output::table(Stream::Out, &["problem", "default", ">ms", "tuned", ">ms", ">times as fast", ">tried", "clock"]);
    for report in reports {
        let changed = report.chosen() != report.default_choice();
        let tried = report
            .candidates
            .iter()
            .filter(|candidate| !matches!(candidate.outcome, TuneOutcome::Refused(_) | TuneOutcome::NotTried(_)));
        let chosen = name(report.chosen());
        table.add_row([
            Cell::new(report.problem),
            Cell::new(name(report.default_choice())),
            Cell::new(report.default_ms.map_or_else(|| "wrong".into(), short)),
            if changed { output::verdict(true, chosen) } else { Cell::new("(the same)") },
            Cell::new(short(report.chosen_ms)),
            Cell::new(report.default_ms.map_or_else(|| "-".into(), |ms| format!("{:.2}", ms / report.chosen_ms))),
            Cell::new(tried.count()),
            Cell::new(if report.on_gpu { "GPU" } else { "wall" }),
        ]);
    }
    table.trim_fmt()
}

#[derive(Serialize)]
struct JsonReport {
    problem: String,
    mode: &'static str,
    default: String,
    default_ms: Option<f64>,
    chosen: String,
    chosen_ms: f64,
    /// Whose clock the times are from: `gpu` (timestamps) or `wall`.
    clock: &'static str,
    verified: String,
    candidates: Vec<JsonCandidate>,
}

#[derive(Serialize, Default)]
struct JsonCandidate {
    kernel: &'static str,
    variant: &'static str,
    /// `measured`, `wrong`, `failed`, `refused` or `not tried`.
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    min_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    samples: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl JsonReport {
    fn of(report: &TuneReport) -> Self {
        let candidates = report.candidates.iter().map(|candidate| {
            let plain = JsonCandidate {
                kernel: candidate.kernel.name(),
                variant: candidate.variant,
                ..JsonCandidate::default()
            };
            let with = |outcome, reason: &str| (outcome, Some(reason.to_owned()));
            let (outcome, reason) = match &candidate.outcome {
                TuneOutcome::Measured { ms, min_ms, samples } => {
                    let (ms, min_ms, samples) = (Some(*ms), Some(*min_ms), Some(*samples));
                    return JsonCandidate { outcome: "measured", ms, min_ms, samples, ..plain };
                }
                TuneOutcome::Wrong(reason) => with("wrong", reason),
                TuneOutcome::Failed(reason) => with("failed", reason),
                TuneOutcome::Refused(reason) => with("refused", reason),
                TuneOutcome::NotTried(reason) => with("not tried", reason),
                _ => ("unknown", None),
            };
            JsonCandidate { outcome, reason, ..plain }
        });
        Self {
            problem: report.problem.to_string(),
            mode: report.checks.name(),
            default: name(report.default_choice()),
            default_ms: report.default_ms,
            chosen: name(report.chosen()),
            chosen_ms: report.chosen_ms,
            clock: if report.on_gpu { "gpu" } else { "wall" },
            verified: report.verified.clone(),
            candidates: candidates.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_read() {
        assert_eq!(parse_seconds("0.5").unwrap(), Duration::from_millis(500));
        assert_eq!(parse_seconds("0").unwrap(), Duration::ZERO);
        for bad in ["", "-1", "NaN", "inf", "1e9", "ten"] {
            assert!(parse_seconds(bad).unwrap_err().contains("86400"), "{bad:?}");
        }
    }

    #[test]
    fn a_damaged_file_is_ignored_and_a_missing_one_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tuning.txt");
        assert!(read(&path).unwrap_err().to_string().contains("tuning.txt"));
        for bytes in [&b""[..], b"\xff\0junk", b"wgpu-conv tuning 1\n[entry]\n"] {
            std::fs::write(&path, bytes).unwrap();
            assert!(read(&path).unwrap().is_empty());
        }
    }
}

//! `wgpu-conv bench`: how fast, after it has been shown to be right.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Result, bail, ensure};
use clap::Args;
use serde::Serialize;
use wgpu_conv::{Context, Engine, EngineOptions, PlanOptions, Problem};
use wgpu_conv_check::{DataKind, ProblemData, Timing, WORKLOADS, timing};

use crate::gpu::{self, GpuArgs, KernelArgs, Prepared};
use crate::output::{self, Stream, short};
use crate::serve;
use crate::tune::TuningArgs;
use crate::whole_call::WholeCall;

/// Measure problems: each is verified, then timed
///
/// The workloads A to L are measured where no problems are given. Results are verified against the CPU reference.
/// GPU time is measured by the GPU's own timestamps; where the adapter has none, it is the wall time from submitting
/// until it is done, marked with "wall". Wall time is that of a whole call: upload of the input, run, and read-back of
/// the output, with the weights uploaded before and all buffers made. First use is everything up to the first result, compiling included.
#[derive(Args)]
pub struct BenchArgs {
    /// Problem strings, or A to L
    #[arg(value_name = "PROBLEM", value_parser = gpu::parse_problem)]
    problems: Vec<Problem>,
    /// Write the results to this file, as a JSON array
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Timed runs of each problem [default: as many as fit into two seconds, 3 to 20]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    runs: Option<u32>,
    /// Answer requests to measure, JSON objects one a line on standard input; benches/compare.py is made for that
    #[arg(long, conflicts_with_all = ["problems", "json", "runs"])]
    serve: bool,
    #[command(flatten)]
    kernel: KernelArgs,
    #[command(flatten)]
    tuning: TuningArgs,
    #[command(flatten)]
    gpu: GpuArgs,
}

/// One line of the result.
#[derive(Debug, Serialize)]
struct Row {
    /// `A` to `L`, or null.
    workload: Option<char>,
    problem: String,
    kernel: &'static str,
    variant: &'static str,
    gpu_ms_median: f64,
    gpu_ms_min: f64,
    wall_ms_median: f64,
    gflops: f64,
    gbps: f64,
    first_use_ms: f64,
    adapter: String,
    driver: String,
    verified: bool,
    /// Whose clock `gpu_ms_*` are from: `gpu` (timestamps) or `wall`.
    clock: &'static str,
}

pub fn run(args: &BenchArgs) -> Result<()> {
    let options = args.kernel.options()?;
    if args.serve {
        return serve::run(&args.gpu.context()?, &options);
    }
    if let Some(json) = &args.json {
        output::check_writable(json)?;
    }
    let problems = match &args.problems[..] {
        [] => WORKLOADS.iter().map(|workload| Ok(workload.problem.parse()?)).collect::<Result<Vec<Problem>>>()?,
        given => given.to_vec(),
    };
    args.tuning.check()?;
    let context = args.gpu.context()?;
    let of_engine = args.tuning.options(&context)?;
    let mut rows = Vec::new();
    let mut failures = 0;
    for problem in &problems {
        match measure(&context, problem, &of_engine, &options, args.runs) {
            Ok(row) => {
                output::note(&format!("{problem}: {} ms, {} GFLOP/s", short(row.gpu_ms_median), short(row.gflops)));
                failures += usize::from(!row.verified);
                rows.push(row);
            }
            Err(error) => {
                output::note(&format!("{problem}: {error:#}"));
                failures += 1;
            }
        }
    }
    if let Some(path) = &args.json {
        output::write_file(path, serde_json::to_string_pretty(&rows)?.as_bytes())?;
    }
    let info = context.adapter.get_info();
    let title = format!("{}, driver {}", gpu::adapter_text(&info), gpu::driver_text(&info));
    let printed = output::print(&format!("{title}\n{}", table(&rows)));
    ensure!(failures == 0, "{failures} of {} problems failed", problems.len());
    printed
}

/// Verifies one problem and measures it.
fn measure(
    context: &Context,
    problem: &Problem,
    of_engine: &EngineOptions,
    options: &PlanOptions,
    runs: Option<u32>,
) -> Result<Row> {
    if problem.output_len() == 0 {
        bail!("there are no outputs to measure (the batch is 0)");
    }
    let data = ProblemData::generate(problem, DataKind::Uniform, 1)?;
    let tensors = data.tensors();
    // An engine of its own, so that first use finds no pipeline of an earlier problem.
    let engine = Engine::with_options(&context.device, &context.queue, of_engine.clone());
    let start = Instant::now();
    let prepared = Prepared::new(&engine, problem, &tensors, options)?;
    let output = prepared.run(&engine)?;
    let first_use_ms = milliseconds(start);

    let comparison = data.reference_as(problem, prepared.plan.rounding())?.compare(&output)?;
    let verified = comparison.failures == 0;
    if !verified {
        let [expected, actual, bound] = comparison.worst;
        output::note(&format!(
            "{problem}: {} of {} outputs are wrong; the worst is {actual:e} for {expected:e}, bound {bound:e}",
            comparison.failures, comparison.count
        ));
    }

    let mut call = WholeCall::new(&engine, &prepared)?;
    let input = problem.dtype().encode(&data.input);
    call.run(&input)?;
    let start = Instant::now();
    call.run(&input)?;
    let first = milliseconds(start);
    let runs = runs.map_or_else(|| ((2000.0 / first.max(0.1)) as usize).clamp(3, 20), |runs| runs as usize);
    let timing = timing::measure(&engine, &prepared.bound, runs)?;
    let mut wall = Vec::with_capacity(runs);
    for _ in 0..runs {
        let start = Instant::now();
        let again = call.run(&input)?;
        wall.push(milliseconds(start));
        let again = problem.output_dtype().decode(again);
        ensure!(same_bits(&again[..output.len()], &output), "two runs of the same problem gave different results");
    }
    let info = context.adapter.get_info();
    Ok(Row {
        workload: letter(problem),
        problem: problem.to_string(),
        kernel: prepared.plan.kernel().name(),
        variant: prepared.plan.variant(),
        wall_ms_median: timing::median(&wall),
        first_use_ms,
        adapter: gpu::adapter_text(&info),
        driver: gpu::driver_text(&info),
        verified,
        ..Row::of_times(problem, &timing)
    })
}

impl Row {
    /// What follows from the time on the GPU.
    fn of_times(problem: &Problem, timing: &Timing) -> Self {
        // Milliseconds and 1e9 leave a factor of 1e-6.
        let per_second = |count: u64| count as f64 * 1e-6 / timing.median_ms;
        Self {
            workload: None,
            problem: String::new(),
            kernel: "",
            variant: "",
            gpu_ms_median: timing.median_ms,
            gpu_ms_min: timing.min_ms,
            wall_ms_median: 0.0,
            gflops: per_second(problem.flops()),
            gbps: per_second(problem.bytes()),
            first_use_ms: 0.0,
            adapter: String::new(),
            driver: String::new(),
            verified: false,
            clock: if timing.on_gpu { "gpu" } else { "wall" },
        }
    }
}

fn milliseconds(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e3
}

fn same_bits(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits())
}

fn letter(problem: &Problem) -> Option<char> {
    let text = problem.to_string();
    WORKLOADS.iter().find(|workload| workload.problem == text).map(|workload| workload.letter)
}

fn table(rows: &[Row]) -> String {
    let mut table = output::table(
        Stream::Out,
        &[
            "",
            "problem",
            "kernel",
            "variant",
            ">GPU ms",
            ">min",
            ">whole call ms",
            ">GFLOP/s",
            ">GB/s",
            ">first use ms",
            "result",
        ],
    );
    for row in rows {
        let clock = if row.clock == "gpu" { "" } else { " wall" };
        table.add_row([
            row.workload.map(String::from).unwrap_or_default().into(),
            row.problem.clone().into(),
            row.kernel.into(),
            row.variant.into(),
            format!("{}{clock}", short(row.gpu_ms_median)).into(),
            short(row.gpu_ms_min).into(),
            short(row.wall_ms_median).into(),
            short(row.gflops).into(),
            short(row.gbps).into(),
            short(row.first_use_ms).into(),
            output::verdict(row.verified, if row.verified { "verified" } else { "WRONG" }),
        ]);
    }
    table.trim_fmt()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(on_gpu: bool) -> Row {
        let problem: Problem = "n1c64h56w56o64k3p1".parse().unwrap();
        let timing = Timing { median_ms: 10.0, min_ms: 8.0, on_gpu, samples_ms: vec![8.0, 10.0, 12.0] };
        Row { workload: letter(&problem), problem: problem.to_string(), ..Row::of_times(&problem, &timing) }
    }

    #[test]
    fn rates_follow_from_the_median() {
        let row = row(true);
        assert_eq!(row.workload, Some('A'));
        // 231,211,008 operations and 1,753,344 bytes in 10 ms.
        assert!((row.gflops - 23.1211008).abs() < 1e-9 && (row.gbps - 0.1753344).abs() < 1e-9, "{row:?}");
    }

    #[test]
    fn json_has_the_fields_that_readers_expect() {
        let json: serde_json::Value = serde_json::to_value([row(true)]).unwrap();
        for field in [
            "workload",
            "problem",
            "kernel",
            "variant",
            "gpu_ms_median",
            "gpu_ms_min",
            "wall_ms_median",
            "gflops",
            "gbps",
            "first_use_ms",
            "adapter",
            "driver",
            "verified",
        ] {
            assert!(json[0].get(field).is_some(), "{field}");
        }
    }

    #[test]
    fn a_wall_time_is_marked() {
        assert!(table(&[row(false)]).contains("10.0 wall"));
        assert!(!table(&[row(true)]).contains("wall "));
    }
}

//! How long convolutions take on the GPU: the workloads A to L, the layers of two networks with batch 1 and 8, and
//! convolutions along one axis and transposed ones, each beside a 2-D convolution of as many multiply-adds.
//!
//! ```sh
//! cargo bench --bench conv                                # all of it
//! cargo bench --bench conv -- workloads                   # A to L
//! cargo bench --bench conv -- 'resnet50-n8/res4'          # some layers of a network
//! cargo bench --bench conv -- axes                        # 1-D and transposed, and what they are compared with
//! cargo bench --bench conv -- workloads --save-baseline before
//! cargo bench --bench conv -- workloads --baseline before
//! ```
//!
//! Times are the GPU's own, by timestamp queries; where the adapter has none, or they make no sense, the wall time from
//! submitting until it is done, and a line says so. Throughput is counted in floating-point operations, two for each
//! multiply-add. A sample of each result is compared with the reference before anything is timed.

use std::time::{Duration, Instant};

use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use criterion::{BenchmarkId, Criterion, Throughput};
use wgpu_conv::{
    Bound, Buffers, Context, ContextOptions, Engine, PlanOptions, Problem, Result, Rounding, WeightData, reference,
};
use wgpu_conv_check::{DataKind, GpuClock, NETWORKS, ProblemData, WORKLOADS, measure};

/// Milliseconds of one pass at most: a driver may end a submission that takes seconds.
const PASS_MS: f64 = 100.0;
/// Most runs in one pass.
const PASS_RUNS: u64 = 64;
/// Outputs that are compared with the reference.
const CHECKED_OUTPUTS: u64 = 256;

/// Convolutions that are to be as fast as others of as many multiply-adds: the first of each list, and what it is compared with.
const COUNTERPARTS: [&[(&str, &str)]; 3] = [
    &[
        ("audio-k10s5", "n1c512w16000o512k10s5"),
        // The same input, each element read as often.
        ("audio-k10s5-as-image-k2x5s1x5", "n1c512h58w280o512k2x5s1x5"),
        ("audio-k10s5-as-image-k2x5", "n1c512h58w60o512k2x5"),
    ],
    &[("audio-k3g16", "n1c512w16000o512k3p1g16"), ("audio-k3g16-as-image", "n1c512h125w128o512k1x3p0x1g16")],
    &[
        ("transposed-k4s2", "n1c256h28w28o128k4s2p1:transposed"),
        // The convolution that it is the transpose of, and one with as many products in each output.
        ("transposed-k4s2-forward", "n1c128h56w56o256k4s2p1"),
        ("transposed-k4s2-same-sums", "n1c256h57w57o128k2"),
    ],
];
/// How far their multiply-adds may differ.
const COUNTERPART_TOLERANCE: f64 = 0.01;

fn main() {
    let context = match Context::new_blocking(&ContextOptions::default()) {
        Ok(context) => context,
        Err(error) => {
            eprintln!("error: {error}");
            std::process::exit(1);
        }
    };
    let info = context.adapter.get_info();
    eprintln!("{}, {} {}", info.name, info.driver, info.driver_info);
    let mut criterion = Criterion::default()
        .with_measurement(Flops(WallTime))
        .sample_size(10)
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(500))
        .configure_from_args();
    let workloads = WORKLOADS.map(|workload| (workload.letter.to_string(), workload.problem.parse()));
    group(&mut criterion, &context, "workloads", workloads);
    let layers = COUNTERPARTS.into_iter().flatten().map(|(name, text)| ((*name).to_owned(), text.parse()));
    check_counterparts();
    group(&mut criterion, &context, "axes", layers);
    for network in NETWORKS {
        for batch in [1, 8] {
            let layers = network.layers.iter().map(|layer| (layer.name.to_owned(), layer.with_batch(batch)));
            group(&mut criterion, &context, &format!("{}-n{batch}", network.name), layers);
        }
    }
    criterion.final_summary();
}

fn check_counterparts() {
    for list in COUNTERPARTS {
        let macs: Vec<f64> = list
            .iter()
            .map(|(name, text)| {
                let problem: Problem = text.parse().unwrap_or_else(|error| panic!("{name}: {error}"));
                problem.macs() as f64
            })
            .collect();
        let close = macs.iter().all(|other| (other / macs[0] - 1.0).abs() <= COUNTERPART_TOLERANCE);
        assert!(close, "multiply-adds of {list:?} are {macs:?}");
    }
}

/// Measures problems under `NAME/LAYER/PROBLEM`.
fn group(
    criterion: &mut Criterion<Flops>,
    context: &Context,
    name: &str,
    problems: impl IntoIterator<Item = (String, Result<Problem>)>,
) {
    let engine = context.engine();
    let mut group = criterion.benchmark_group(name);
    for (layer, problem) in problems {
        let problem = problem.expect("the tables hold problems");
        group.throughput(Throughput::Elements(problem.flops()));
        // Made for the benchmarks that the command line asks for, once each; the closure runs several times.
        let mut timed = None;
        group.bench_function(BenchmarkId::new(layer, problem), |bencher| {
            let timed = timed.get_or_insert_with(|| {
                Timed::new(&engine, &problem).unwrap_or_else(|error| panic!("{problem}: {error}"))
            });
            bencher.iter_custom(|runs| timed.run(runs).unwrap_or_else(|error| panic!("{problem}: {error}")));
        });
    }
    group.finish();
}

/// A verified convolution with the clock that times it.
struct Timed {
    bound: Bound,
    /// `None`: the wall clock.
    clock: Option<GpuClock>,
    pass_runs: u64,
}

impl Timed {
    fn new(engine: &Engine, problem: &Problem) -> Result<Self> {
        let data = ProblemData::generate(problem, DataKind::Uniform, 1)?;
        let plan = engine.plan_blocking(problem, &PlanOptions::default())?;
        let weights = plan.weights_blocking(&WeightData::from(&data.tensors()))?;
        let dtype = problem.output_dtype();
        let input = engine.buffer_from_as("input", &data.input, problem.dtype())?;
        let output = engine.buffer_zeroed_as("output", problem.output_len(), dtype)?;
        let bound = plan.bind_blocking(&weights, &Buffers::new(input.slice(..), output.slice(..)))?;
        let timing = measure(engine, &bound, 1)?;
        check(problem, &data, &engine.read_as_blocking(output.slice(..), dtype)?, plan.rounding())?;
        if !timing.on_gpu {
            eprintln!("{problem}: no timestamps that make sense; times are by the wall clock");
        }
        eprintln!("{problem}: {} {}", plan.kernel(), plan.variant());
        Ok(Self {
            bound,
            clock: if timing.on_gpu { GpuClock::new(engine) } else { None },
            pass_runs: ((PASS_MS / timing.median_ms) as u64).clamp(1, PASS_RUNS),
        })
    }

    /// The time of so many runs.
    fn run(&self, runs: u64) -> Result<Duration> {
        let mut total = Duration::ZERO;
        let (mut left, mut failures) = (runs, 0);
        while left > 0 {
            let now = left.min(self.pass_runs);
            total += match &self.clock {
                Some(clock) => match clock.sample(&self.bound, now as u32)? {
                    Some(ms) => Duration::from_secs_f64(ms * 1e-3),
                    // A clock may wrap around once.
                    None => {
                        failures += 1;
                        assert!(failures < 10, "timestamps made sense at first, and then did not {failures} times");
                        continue;
                    }
                },
                None => self.by_the_wall(now)?,
            };
            left -= now;
        }
        Ok(total)
    }

    fn by_the_wall(&self, runs: u64) -> Result<Duration> {
        let start = Instant::now();
        for _ in 0..runs {
            self.bound.run_blocking()?;
        }
        Ok(start.elapsed())
    }
}

/// Compares outputs from all over the result with the reference.
fn check(problem: &Problem, data: &ProblemData, output: &[f32], rounding: Rounding) -> Result<()> {
    let count = problem.output_len();
    // Multiples of a large odd number end up everywhere: in every image, channel and part of a row.
    let indices: Vec<u64> = (0..CHECKED_OUTPUTS).map(|i| i.wrapping_mul(0x9e37_79b9_7f4a_7c15) % count).collect();
    let sampled: Vec<f32> = indices.iter().map(|&index| output[index as usize]).collect();
    let comparison = reference::convolve_at_as(problem, &data.tensors(), &indices, rounding)?.compare(&sampled)?;
    assert!(comparison.passed(), "{problem} is wrong: {comparison:?}");
    Ok(())
}

/// Time whose throughput reads as FLOP/s.
struct Flops(WallTime);

impl Measurement for Flops {
    type Intermediate = <WallTime as Measurement>::Intermediate;
    type Value = Duration;

    fn start(&self) -> Self::Intermediate {
        self.0.start()
    }

    fn end(&self, started: Self::Intermediate) -> Duration {
        self.0.end(started)
    }

    fn add(&self, one: &Duration, other: &Duration) -> Duration {
        self.0.add(one, other)
    }

    fn zero(&self) -> Duration {
        self.0.zero()
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        self.0.to_f64(value)
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        self
    }
}

impl ValueFormatter for Flops {
    fn scale_values(&self, typical: f64, values: &mut [f64]) -> &'static str {
        self.0.formatter().scale_values(typical, values)
    }

    fn scale_throughputs(&self, typical: f64, throughput: &Throughput, values: &mut [f64]) -> &'static str {
        let &Throughput::Elements(flops) = throughput else {
            return self.0.formatter().scale_throughputs(typical, throughput, values);
        };
        // Values are nanoseconds, and an operation each nanosecond is a GFLOP/s.
        let (scale, unit) = if flops as f64 >= 1000.0 * typical { (1e-3, "TFLOP/s") } else { (1.0, "GFLOP/s") };
        for value in values {
            *value = flops as f64 / *value * scale;
        }
        unit
    }

    fn scale_for_machines(&self, values: &mut [f64]) -> &'static str {
        self.0.formatter().scale_for_machines(values)
    }
}

//! What the library costs on the CPU: planning, weights, binding, the first use, and recording, which is compared with
//! wgpu's own calls written by hand, round by round.
//!
//! ```sh
//! cargo bench --bench host
//! ```
//!
//! Without `--bench`, as `cargo test --benches` runs it, everything is done once and no time means anything. Compile times
//! are those of this machine as it is: `MESA_SHADER_CACHE_DISABLE=true` and its kin show them without a driver's cache.

#[path = "../tests/common/allocations.rs"]
mod allocations;
#[path = "../tests/common/recording.rs"]
mod recording;

use std::time::{Duration, Instant};

use allocations::{Counting, count};
use recording::{Chain, LENGTH};
use wgpu_conv::{Buffers, Context, ContextOptions, Engine, PlanOptions, Problem, Result, WeightData, wgpu};
use wgpu_conv_check::{WORKLOADS, timing::median};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Rounds of the recording benchmark, and of the others.
const ROUNDS: [usize; 2] = [500, 30];

fn main() -> Result<()> {
    let measured = std::env::args().any(|argument| argument == "--bench");
    let [record_rounds, rounds] = if measured { ROUNDS } else { [1, 1] };
    let context = Context::new_blocking(&ContextOptions::default())?;
    let info = context.adapter.get_info();
    println!("{}, {} {}\n", info.name, info.driver, info.driver_info);
    recording(&context.engine(), record_rounds)?;
    preparing(&context, rounds)?;
    pieces(rounds)?;
    first_use(&context)
}

/// Times of one piece of work, in nanoseconds.
#[derive(Default)]
struct Samples(Vec<f64>);

impl Samples {
    fn take<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = work();
        self.0.push(start.elapsed().as_secs_f64() * 1e9);
        result
    }

    fn min(&self) -> f64 {
        self.0.iter().copied().fold(f64::INFINITY, f64::min)
    }

    /// Median and minimum of each `count`-th part.
    fn text(&self, count: usize) -> String {
        let [median, min] = [median(&self.0), self.min()].map(|ns| Duration::from_nanos((ns / count as f64) as u64));
        format!("median {median:>10.2?}, smallest {min:>10.2?}")
    }
}

/// Records a chain of convolutions in one pass and finishes the encoder, through the library and by hand in turns.
fn recording(engine: &Engine, rounds: usize) -> Result<()> {
    let chain = Chain::new(engine)?;
    let ways: [&dyn Fn() -> wgpu_conv::wgpu::CommandBuffer; 2] =
        [&|| chain.record(engine), &|| chain.record_by_hand(engine)];
    let mut samples = [Samples::default(), Samples::default()];
    for way in ways {
        (0..3).for_each(|_| drop(way()));
    }
    for round in 0..rounds {
        for turn in [round % 2, 1 - round % 2] {
            // Dropping what was recorded is the same for both, and in no time.
            drop(samples[turn].take(ways[turn]));
        }
    }
    let allocations = ways.map(|way| count(|| drop(way())));
    println!("record and finish, {LENGTH} convolutions in one pass, for each convolution:");
    for (name, samples, allocations) in
        [("record_in_pass", &samples[0], allocations[0]), ("the same by hand", &samples[1], allocations[1])]
    {
        println!("  {name:<18} {}, {allocations} allocations in all", samples.text(LENGTH));
    }
    println!(
        "  ratio              median {:.3}, smallest {:.3}\n",
        median(&samples[0].0) / median(&samples[1].0),
        samples[0].min() / samples[1].min()
    );
    Ok(())
}

/// Plan, weights and bind of each workload, with the pipelines compiled.
fn preparing(context: &Context, rounds: usize) -> Result<()> {
    println!("preparing, with pipelines compiled (weights and bind make buffers; weights upload and pack):");
    let engine = context.engine();
    for workload in WORKLOADS {
        let problem: Problem = workload.problem.parse()?;
        let tensors = Zeros::new(&problem);
        let input = engine.buffer_zeroed("input", problem.input_len())?;
        let output = engine.buffer_zeroed("output", problem.output_len())?;
        let [mut plans, mut weights, mut binds] = <[Samples; 3]>::default();
        engine.plan_blocking(&problem, &PlanOptions::default())?.weights_blocking(&tensors.data())?;
        let mut allocations = 0;
        for _ in 0..rounds {
            let plan = plans.take(|| engine.plan_blocking(&problem, &PlanOptions::default()))?;
            let packed = weights.take(|| plan.weights_blocking(&tensors.data()))?;
            let buffers = Buffers::new(input.slice(..), output.slice(..));
            drop(binds.take(|| plan.bind_blocking(&packed, &buffers))?);
            allocations = count(|| drop(engine.plan_blocking(&problem, &PlanOptions::default())));
        }
        println!("  {}  plan     {}, {allocations} allocations", workload.letter, plans.text(1));
        println!("     weights  {}", weights.text(1));
        println!("     bind     {}", binds.text(1));
    }
    println!();
    Ok(())
}

/// Plan and bind of a problem in thousands of pieces, for a device that binds 32 KiB at once; on wgpu's noop backend, which does
/// nothing.
fn pieces(rounds: usize) -> Result<()> {
    let problem: Problem = "n3500c1w2000o1k3p1+residual".parse()?;
    let required_limits = wgpu::Limits { max_storage_buffer_binding_size: 1 << 15, ..wgpu::Limits::default() };
    let (device, queue) =
        wgpu::Device::noop(&wgpu::DeviceDescriptor { required_limits, ..wgpu::DeviceDescriptor::default() });
    let engine = Engine::new(&device, &queue);
    let [input, output] =
        [problem.input_len(), problem.output_len()].map(|count| engine.buffer_zeroed("tensor", count));
    let (input, output, tensors) = (input?, output?, Zeros::new(&problem));
    let [mut plans, mut binds] = <[Samples; 2]>::default();
    let mut segments = 0;
    for _ in 0..rounds {
        let plan = plans.take(|| engine.plan_blocking(&problem, &PlanOptions::default()))?;
        let weights = plan.weights_blocking(&tensors.data())?;
        // The residual is the output, so that shaders are not those of the plan.
        let buffers = Buffers::new(input.slice(..), output.slice(..)).residual(output.slice(..));
        drop(binds.take(|| plan.bind_blocking(&weights, &buffers))?);
        segments = plan.segments();
    }
    println!("{problem} in {segments} segments, each of a piece of its own:");
    println!("  plan     {}", plans.text(1));
    println!("  bind     {}\n", binds.text(1));
    Ok(())
}

/// The first plan and weights of each workload on a new engine, which compile, and the next ones.
fn first_use(context: &Context) -> Result<()> {
    println!("first use, on an engine that has compiled nothing (the driver may have its own cache):");
    for workload in WORKLOADS {
        let problem: Problem = workload.problem.parse()?;
        let tensors = Zeros::new(&problem);
        let engine = context.engine();
        let mut plan = Samples::default();
        let planned = plan.take(|| engine.plan_blocking(&problem, &PlanOptions::default()))?;
        let mut weights = Samples::default();
        weights.take(|| planned.weights_blocking(&tensors.data()))?;
        let [plan, weights] = [plan, weights].map(|samples| samples.min() * 1e-6);
        println!(
            "  {}  plan {plan:>8.2} ms, weights {weights:>8.2} ms ({} {})",
            workload.letter,
            planned.kernel(),
            planned.variant()
        );
    }
    Ok(())
}

/// Weight and bias; what they hold takes no part in the time.
struct Zeros {
    weight: Vec<f32>,
    bias: Vec<f32>,
}

impl Zeros {
    fn new(problem: &Problem) -> Self {
        let channels = problem.out_channels() as usize;
        Self { weight: vec![0.0; problem.weight_len() as usize], bias: vec![0.0; channels] }
    }

    fn data(&self) -> WeightData<'_> {
        WeightData::new(&self.weight).bias(&self.bias)
    }
}

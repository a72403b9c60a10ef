//! One engine, used from many threads at once: right results, each pipeline compiled once, nothing left behind.
//! `WGPU_CONV_THREAD_RUNS` says how many convolutions each thread does (default 25).

use std::sync::Barrier;

use wgpu_conv::{Buffers, Checks, Engine, Kernel, PlanOptions, WeightData, Weights, wgpu};

#[path = "common/exact.rs"]
mod exact;
#[path = "common/gpu.rs"]
mod gpu;

use exact::{Case, assert_same, device, forced};

const THREADS: usize = 16;

/// Convolutions of each thread.
fn runs() -> usize {
    let given = std::env::var("WGPU_CONV_THREAD_RUNS").ok().filter(|given| !given.is_empty());
    given.map_or(25, |given| given.parse().expect("WGPU_CONV_THREAD_RUNS is a number"))
}

/// Every kernel, with one and with several passes, workspaces, prepared inputs; some share pipelines, some do not.
fn cases() -> Vec<(Case, PlanOptions)> {
    let split = PlanOptions { variant: Some("split-m32n32k16".into()), ..forced(Kernel::Tiled, Checks::Trusted) };
    let [direct, broadcast, tiled, winograd] = [Kernel::Direct, Kernel::Broadcast, Kernel::Tiled, Kernel::Winograd]
        .map(|kernel| forced(kernel, Checks::Trusted));
    let generic = forced(Kernel::Direct, Checks::Checked);
    [
        ("c2h9w9o4k3p1:nobias", &direct),
        ("n2c3h20w17o6k3p1:nobias", &direct),
        ("c3h9w9o5k3p1+relu", &broadcast),
        ("c5h7w9o6k3s2p1", &tiled),
        ("c64h9w9o8k3p1+relu", &split),
        ("c5h16w12o6k3p1", &winograd),
        ("c4h7w6o6k3s2p1:transposed=1x1", &generic),
        ("c4h7w6o6k3p1d2:circular", &generic),
        ("c1w100o8k5s2", &generic),
        ("c4h7w6o6k3p1:deform:mask", &generic),
    ]
    .map(|(text, options)| (Case::new(text), options.clone()))
    .into()
}

fn weights(case: &Case, engine: &Engine, options: &PlanOptions) -> Weights {
    case.weights(&case.plan(engine, options))
}

/// All of it, as a program does that never heard of any other thread.
fn convolve(case: &Case, engine: &Engine, options: &PlanOptions, shared: &Weights, round: usize) -> Vec<f32> {
    let plan = if round.is_multiple_of(3) {
        engine.plan_for_blocking(shared, &case.problem, options).unwrap()
    } else {
        case.plan(engine, options)
    };
    let own = round.is_multiple_of(2).then(|| case.weights(&plan));
    let weights = own.as_ref().unwrap_or(shared);
    let buffer = |data: &[f32]| engine.buffer_from("a thread's", data).unwrap();
    let (input, output) = (buffer(&case.data.input), case.output(engine));
    let [offset, mask] = [&case.data.offset, &case.data.mask].map(|data| data.as_deref().map(buffer));
    let mut buffers = Buffers::new(input.slice(..), output.slice(..));
    buffers.offset = offset.as_ref().map(|buffer| buffer.slice(..));
    buffers.mask = mask.as_ref().map(|buffer| buffer.slice(..));
    let bound = plan.bind_blocking(weights, &buffers).unwrap();
    if round.is_multiple_of(4) {
        bound.run_blocking().unwrap();
    } else {
        pollster::block_on(bound.submit()).unwrap();
    }
    engine.read_blocking(output.slice(..)).unwrap()
}

#[test]
fn many_threads_share_one_engine() {
    let Some(gpu) = gpu::open() else { return };
    let (device, queue) = device(gpu.context(), |_| {});
    let cases = cases();
    // What one thread compiles.
    let alone = Engine::new(&device, &queue);
    for (case, options) in &cases {
        convolve(case, &alone, options, &weights(case, &alone, options), 0);
    }
    let pipelines = || device.get_internal_counters().hal.compute_pipelines.read() as usize;
    let compiled_before = pipelines();
    let engine = Engine::new(&device, &queue);
    let (runs, start) = (runs(), Barrier::new(THREADS));
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (cases, engine, start) = (&cases, &engine, &start);
            scope.spawn(move || {
                // All want the same pipelines at the same time at first, and go different ways then.
                start.wait();
                let shared: Vec<Weights> = cases.iter().map(|(case, options)| weights(case, engine, options)).collect();
                for round in 0..runs {
                    let number = (thread * 7 + round * (1 + 2 * (thread % 5))) % cases.len();
                    let (case, options) = &cases[number];
                    let what = format!("{}, thread {thread}, round {round}", case.problem);
                    assert_same(&convolve(case, engine, options, &shared[number], round), &case.expected, &what);
                }
            });
        }
    });
    assert_eq!(engine.pipeline_count(), alone.pipeline_count(), "each configuration once");
    assert_eq!(pipelines() - compiled_before, alone.pipeline_count(), "each compiled once");
    assert_eq!(engine.memory_in_use(), 0);
    // What is left is what the engines keep: pipelines, and no buffer of any convolution.
    drop((engine, alone));
    for _ in 0..2 {
        queue.submit([]);
        device.poll(wgpu::PollType::wait_indefinitely()).unwrap();
    }
    let fresh = gpu_without_engines(gpu.context());
    let hal = device.get_internal_counters().hal;
    assert_eq!(hal.buffers.read(), fresh, "buffers beside those of wgpu itself");
}

/// Buffers that wgpu makes for itself on a device that did something.
fn gpu_without_engines(context: &wgpu_conv::Context) -> isize {
    let (device, queue) = device(context, |_| {});
    queue.submit([]);
    device.poll(wgpu::PollType::wait_indefinitely()).unwrap();
    device.get_internal_counters().hal.buffers.read()
}

/// Threads that forget pipelines while others compile and use them.
#[test]
fn pipelines_can_be_forgotten_under_way() {
    let Some(gpu) = gpu::open() else { return };
    let (device, queue) = device(gpu.context(), |_| {});
    let engine = Engine::new(&device, &queue);
    let options = forced(Kernel::Direct, Checks::Trusted);
    let case = Case::new("c2h9w9o4k3p1:nobias");
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (case, engine, options) = (&case, &engine, &options);
            scope.spawn(move || {
                for round in 0..5 {
                    if thread == 0 {
                        engine.forget_pipelines();
                    }
                    let data: WeightData<'_> = case.weight_data();
                    let plan = case.plan(engine, options);
                    let weights = plan.weights_blocking(&data).unwrap();
                    let result = convolve(case, engine, options, &weights, round);
                    assert_same(&result, &case.expected, &format!("thread {thread}, round {round}"));
                }
            });
        }
    });
    assert!(engine.pipeline_count() <= 2);
}

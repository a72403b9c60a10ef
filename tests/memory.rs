//! Memory: what a plan takes is announced and counted, a limit holds, nothing leaks, and convolutions can share a workspace.

use wgpu_conv::{
    Bound, Buffers, Checks, Engine, EngineOptions, Error, Kernel, Plan, PlanOptions, Problem, Tensors, WeightData,
    Weights, Workspace, wgpu,
};
use wgpu_conv_check::{DataKind, ProblemData};

#[path = "common/exact.rs"]
mod exact;
#[path = "common/gpu.rs"]
mod gpu;

use exact::{Case, GUARD, device, forced};

/// Buffers of a device, and their bytes.
fn buffers(device: &wgpu::Device) -> [u64; 2] {
    let hal = device.get_internal_counters().hal;
    [hal.buffers.read() as u64, hal.buffer_memory.read() as u64]
}

/// What is dropped is gone once the GPU is done with it; what wgpu copies from is so with the next submission.
fn settle(device: &wgpu::Device, queue: &wgpu::Queue) {
    for _ in 0..2 {
        queue.submit([]);
        device.poll(wgpu::PollType::wait_indefinitely()).unwrap();
    }
}

fn variant(kernel: Kernel, variant: &str) -> PlanOptions {
    PlanOptions { variant: Some(variant.into()), ..forced(kernel, Checks::Trusted) }
}

/// Plans with every kind of memory: none but parameters, sums, prepared inputs, both; with bias, slopes, parts of a weight.
fn kinds() -> Vec<(&'static str, PlanOptions)> {
    vec![
        ("c2h9w9o4k3p1:nobias", forced(Kernel::Direct, Checks::Trusted)),
        ("c5h7w9o6k3p1+residual+prelu", forced(Kernel::Tiled, Checks::Trusted)),
        ("c64h9w9o8k3p1+relu", variant(Kernel::Tiled, "split-m32n32k16")),
        ("c5h16w12o6k3p1", forced(Kernel::Winograd, Checks::Trusted)),
        ("c4h7w6o6k3s2p1:transposed=1x1", forced(Kernel::Direct, Checks::Trusted)),
        ("c4h7w6o6k3p1:deform:mask", forced(Kernel::Tiled, Checks::Trusted)),
        ("c6h7w6o6k3p1:u8_i8z_u8", forced(Kernel::Direct, Checks::Trusted)),
        ("c3h7w6o5k3p1:f16", forced(Kernel::Broadcast, Checks::Trusted)),
    ]
}

/// A problem with what it takes to bind it, whatever its types.
struct Setup {
    problem: Problem,
    data: ProblemData,
    plan: Plan,
}

/// The caller's buffers.
struct Own {
    input: wgpu::Buffer,
    output: wgpu::Buffer,
    others: [Option<wgpu::Buffer>; 3],
}

impl Own {
    fn buffers(&self) -> Buffers<'_> {
        let mut buffers = Buffers::new(self.input.slice(..), self.output.slice(..));
        let [residual, offset, mask] =
            self.others.each_ref().map(|other| other.as_ref().map(|buffer| buffer.slice(..)));
        (buffers.residual, buffers.offset, buffers.mask) = (residual, offset, mask);
        buffers
    }
}

impl Setup {
    fn new(engine: &Engine, text: &str, options: &PlanOptions) -> Self {
        let problem: Problem = text.parse().unwrap();
        let data = ProblemData::generate(&problem, DataKind::Integers, 7).unwrap();
        let plan = engine.plan_blocking(&problem, options).unwrap_or_else(|error| panic!("{text}: {error}"));
        Self { problem, data, plan }
    }

    fn weights(&self, keep_raw: bool) -> wgpu_conv::Result<Weights> {
        self.plan.weights_blocking(&WeightData::from(&self.data.tensors()).keep_raw(keep_raw))
    }

    fn own(&self, engine: &Engine) -> Own {
        let Tensors { input, residual, offset, mask, .. } = self.data.tensors();
        let dtype = self.problem.output_dtype();
        let other = |data: Option<&[f32]>| data.map(|data| engine.buffer_from_as("other", data, dtype).unwrap());
        Own {
            input: engine.buffer_from_as("input", input, self.problem.dtype()).unwrap(),
            output: engine.buffer_zeroed_as("output", self.problem.output_len(), dtype).unwrap(),
            others: [residual, offset, mask].map(other),
        }
    }

    fn check(&self, engine: &Engine, own: &Own, what: &str) {
        let found = engine.read_as_blocking(own.output.slice(..), self.problem.output_dtype()).unwrap();
        let expected = self.data.reference_as(&self.problem, self.plan.rounding()).unwrap();
        for (at, ((found, expected), bound)) in found.iter().zip(&expected.values).zip(&expected.bounds).enumerate() {
            let off = (f64::from(*found) - expected).abs();
            assert!(off <= *bound, "{what}, {}: output {at} is {found} instead of {expected}", self.problem);
        }
    }
}

#[test]
fn what_a_plan_takes_is_what_it_announced() {
    let Some(gpu) = gpu::open() else { return };
    let (device, queue) = device(gpu.context(), |_| {});
    let engine = Engine::new(&device, &queue);
    for (text, options) in kinds() {
        let setup = Setup::new(&engine, text, &options);
        let announced = setup.plan.memory().unwrap();
        let own = setup.own(&engine);
        assert_eq!(engine.memory_in_use(), 0, "{text}: the caller's buffers do not count");
        settle(&device, &queue);
        let taken = |since: [u64; 2]| {
            settle(&device, &queue);
            let now = buffers(&device);
            [now[0] - since[0], now[1] - since[1]]
        };
        // wgpu aligns each buffer.
        let agrees = |[count, bytes]: [u64; 2], announced: u64, what: &str| {
            let slack = 256 * count;
            assert!((announced..=announced + slack).contains(&bytes), "{text}, {what}: {bytes} for {announced} bytes");
        };
        let before = buffers(&device);
        let weights = setup.weights(false).unwrap();
        assert_eq!(engine.memory_in_use(), announced.weights, "{text}");
        assert_eq!(weights.size(), announced.weights, "{text}");
        agrees(taken(before), announced.weights, "weights");
        let before = buffers(&device);
        let bound = setup.plan.bind_blocking(&weights, &own.buffers()).unwrap();
        let held = announced.workspace + announced.parameters;
        assert_eq!(engine.memory_in_use(), announced.weights + held, "{text}");
        assert_eq!(announced.workspace, setup.plan.workspace_size(), "{text}");
        agrees(taken(before), held, "bound");
        drop(weights);
        assert_eq!(engine.memory_in_use(), announced.weights + held, "{text}: what is bound is still there");
        bound.run_blocking().unwrap();
        setup.check(&engine, &own, "what was bound");
        drop(bound);
        assert_eq!(engine.memory_in_use(), 0, "{text}");
        let raw = setup.weights(true).unwrap();
        assert_eq!(engine.memory_in_use(), announced.weights + announced.raw_weight, "{text}");
        let repacked = setup.plan.repack_blocking(&raw).unwrap();
        drop(raw);
        assert_eq!(engine.memory_in_use(), announced.weights + announced.raw_weight, "{text}, repacked");
        drop(repacked);
        assert_eq!(engine.memory_in_use(), 0, "{text}");
    }
}

/// Just enough is enough, one byte less is an error with all numbers, and neither takes what it does not give back.
#[test]
fn the_limit_is_hard_and_exact() {
    let Some(gpu) = gpu::open() else { return };
    let (device, queue) = device(gpu.context(), |_| {});
    for (text, options) in kinds() {
        let with_limit = |bytes| Engine::with_options(&device, &queue, EngineOptions::default().max_memory(bytes));
        let announced = Setup::new(&with_limit(1 << 20), text, &options).plan.memory().unwrap();
        let enough = announced.peak();
        let engine = with_limit(enough);
        let setup = Setup::new(&engine, text, &options);
        let weights = setup.weights(false).unwrap();
        let own = setup.own(&engine);
        let bound = setup.plan.bind_blocking(&weights, &own.buffers()).unwrap();
        bound.run_blocking().unwrap();
        drop((bound, weights));
        setup.check(&Engine::new(&device, &queue), &own, "with just enough memory");

        let tight = with_limit(announced.weights + announced.upload - 1);
        let setup = Setup::new(&tight, text, &options);
        settle(&device, &queue);
        let before = buffers(&device)[0];
        let error = setup.weights(false).unwrap_err();
        let Error::MemoryLimit { required, in_use, limit, .. } = error else { panic!("{text}: {error:?}") };
        assert_eq!(required + in_use, limit + 1, "{text}: {error}");
        for number in [required, in_use, limit] {
            assert!(error.to_string().contains(&number.to_string()), "{error}");
        }
        assert_eq!((tight.memory_in_use(), buffers(&device)[0]), (0, before), "{text}: {error}");
    }
}

#[test]
fn beyond_the_limit_the_engine_goes_on() {
    let Some(gpu) = gpu::open() else { return };
    let (device, queue) = device(gpu.context(), |_| {});
    let engine = Engine::with_options(&device, &queue, EngineOptions::default().max_memory(100_000));
    let case = Case::new("c64h9w9o8k3p1+relu");
    let plan = case.plan(&engine, &variant(Kernel::Tiled, "split-m32n32k16"));
    let weights = case.weights(&plan);
    let (input, output) = (case.input(&engine), case.output(&engine));
    let given = Buffers::new(input.slice(..), output.slice(..));
    let mut held: Vec<Bound> = Vec::new();
    let error = loop {
        match plan.bind_blocking(&weights, &given) {
            Ok(bound) => held.push(bound),
            Err(error) => break error,
        }
    };
    let of_one = plan.memory().unwrap();
    assert_eq!(held.len() as u64, (100_000 - of_one.weights) / (of_one.workspace + of_one.parameters));
    assert!(matches!(error, Error::MemoryLimit { limit: 100_000, .. }), "{error:?}");
    // What was bound before still runs; reading and uploading need memory too, and are refused the same way.
    held[0].run_blocking().unwrap();
    let large = engine.buffer_zeroed("the caller's own does not count", 50_000).unwrap();
    let error = engine.read_blocking(large.slice(..)).unwrap_err();
    assert!(matches!(error, Error::MemoryLimit { required: 200_000, .. }), "{error:?}");
    let error = engine.convolve_blocking(&case.problem, &case.data.tensors()).unwrap_err();
    assert!(matches!(error, Error::MemoryLimit { .. }), "{error:?}");
    let error = engine.workspace(&[&plan]).unwrap_err();
    assert!(matches!(error, Error::MemoryLimit { what: "a workspace", .. }), "{error:?}");
    held.clear();
    plan.bind_blocking(&weights, &given).unwrap().run_blocking().unwrap();
    case.check(&engine, &output, "after some was given back");
    // A plan keeps its workspace below the limit where it can choose.
    assert_eq!(engine.capabilities().max_workspace, 100_000);
}

#[test]
fn nothing_leaks() {
    let Some(gpu) = gpu::open() else { return };
    let (device, queue) = device(gpu.context(), |_| {});
    let engine = Engine::with_options(&device, &queue, EngineOptions::default().max_memory(1 << 20));
    let setups: Vec<Setup> = kinds().iter().map(|(text, options)| Setup::new(&engine, text, options)).collect();
    let once = || {
        for setup in &setups {
            let own = setup.own(&engine);
            let weights = setup.weights(true).unwrap();
            let workspace = engine.workspace(&[&setup.plan]).unwrap();
            let bound = setup.plan.bind_blocking(&weights, &own.buffers().workspace(&workspace)).unwrap();
            bound.run_blocking().unwrap();
            engine.read_as_blocking(own.output.slice(..), setup.problem.output_dtype()).unwrap();
            // What fails gives back what it had, and so does what is never awaited.
            let short = Buffers::new(own.input.slice(..), own.output.slice(..4));
            setup.plan.bind_blocking(&weights, &short).unwrap_err();
            drop(setup.plan.bind(&weights, &own.buffers()));
            drop(setup.plan.weights(&WeightData::from(&setup.data.tensors())));
            drop(engine.read(own.output.slice(..)));
        }
        settle(&device, &queue);
        let hal = device.get_internal_counters().hal;
        let [count, bytes] = buffers(&device);
        let [groups, allocations] = [hal.bind_groups.read(), hal.memory_allocations.read()];
        (count, bytes, groups, hal.compute_pipelines.read(), allocations)
    };
    // wgpu keeps some for later.
    once();
    let before = once();
    for round in 0..10 {
        assert_eq!(once(), before, "round {round}");
        assert_eq!(engine.memory_in_use(), 0, "round {round}");
    }
}

/// Convolutions of all kinds on one workspace, one behind the other in one pass.
#[test]
fn a_workspace_can_be_shared() {
    let Some(gpu) = gpu::open() else { return };
    let (device, queue) = device(gpu.context(), |_| {});
    let engine = Engine::new(&device, &queue);
    let setups: Vec<Setup> = kinds().iter().map(|(text, options)| Setup::new(&engine, text, options)).collect();
    let plans: Vec<&Plan> = setups.iter().map(|setup| &setup.plan).collect();
    let workspace = engine.workspace(&plans).unwrap();
    assert_eq!(engine.memory_in_use(), workspace.size());
    let largest = plans.iter().map(|plan| plan.workspace_size()).max().unwrap();
    let sum: u64 = plans.iter().map(|plan| plan.workspace_size()).sum();
    assert!((largest..sum).contains(&workspace.size()), "{largest} {} {sum}", workspace.size());
    let all: Vec<(&Setup, Own, Bound)> = setups
        .iter()
        .map(|setup| {
            let own = setup.own(&engine);
            let weights = setup.weights(false).unwrap();
            let bound = setup.plan.bind_blocking(&weights, &own.buffers().workspace(&workspace)).unwrap();
            (setup, own, bound)
        })
        .collect();
    let announced: u64 = plans.iter().map(|plan| plan.memory().unwrap()).map(|of| of.weights + of.parameters).sum();
    assert_eq!(engine.memory_in_use(), workspace.size() + announced, "no bound has a workspace of its own");
    let blank = || {
        for (_, own, _) in &all {
            let bytes = own.output.size() as usize;
            queue.write_buffer(&own.output, 0, bytemuck::cast_slice(&vec![GUARD; bytes / 4]));
        }
    };
    let check = |what: &str| all.iter().for_each(|(setup, own, _)| setup.check(&engine, own, what));
    for backwards in [false, true] {
        blank();
        let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            let mut record = |(_, _, bound): &(&Setup, Own, Bound)| bound.record_in_pass(&mut pass);
            // Twice, so that each finds what others left.
            for _ in 0..2 {
                if backwards { all.iter().rev().for_each(&mut record) } else { all.iter().for_each(&mut record) }
            }
        }
        queue.submit([encoder.finish()]);
        check(if backwards { "in one pass, backwards" } else { "in one pass" });
    }
}

/// With segments that must follow each other, submitted from many threads.
#[test]
fn threads_can_submit_on_one_workspace() {
    let Some(gpu) = gpu::open() else { return };
    let (device, queue) = device(gpu.context(), |_| {});
    let engine = Engine::with_options(&device, &queue, EngineOptions::default().max_segment_macs(1));
    let split = variant(Kernel::Tiled, "split-m32n32k16");
    let setups = ["c64h9w9o8k3p1+relu", "c96h7w5o12k1"].map(|text| Setup::new(&engine, text, &split));
    let workspace = engine.workspace(&[&setups[0].plan, &setups[1].plan]).unwrap();
    std::thread::scope(|scope| {
        for number in 0..4 {
            let (setup, engine, workspace) = (&setups[number % 2], &engine, &workspace);
            scope.spawn(move || {
                let weights = setup.weights(false).unwrap();
                let own = setup.own(engine);
                let bound = setup.plan.bind_blocking(&weights, &own.buffers().workspace(workspace)).unwrap();
                assert!(bound.segments() > 10);
                for round in 0..5 {
                    bound.run_blocking().unwrap();
                    setup.check(engine, &own, &format!("thread {number}, round {round}"));
                }
            });
        }
    });
}

#[test]
fn a_workspace_that_does_not_fit_is_refused() {
    let (device, queue) = wgpu::Device::noop(&wgpu::DeviceDescriptor::default());
    let engine = Engine::new(&device, &queue);
    let split = variant(Kernel::Tiled, "split-m32n32k16");
    let [small, large, deformable] = [
        Setup::new(&engine, "c64h9w9o8k3p1", &split),
        Setup::new(&engine, "c64h9w9o16k3p1", &split),
        Setup::new(&engine, "c4h7w6o6k3p1:deform", &forced(Kernel::Tiled, Checks::Trusted)),
    ];
    let bind = |setup: &Setup, workspace: &Workspace| {
        let (weights, own) = (setup.weights(false).unwrap(), setup.own(&engine));
        setup.plan.bind_blocking(&weights, &own.buffers().workspace(workspace)).map(drop)
    };
    let workspace = engine.workspace(&[&small.plan]).unwrap();
    bind(&small, &workspace).unwrap();
    let [required, actual] = [large.plan.workspace_size(), small.plan.workspace_size()];
    let name = "the workspace's part for sums";
    assert_eq!(bind(&large, &workspace).unwrap_err(), Error::BufferTooSmall { name, required, actual });
    let (name, required) = ("the workspace's part for prepared inputs", deformable.plan.workspace_size());
    assert_eq!(bind(&deformable, &workspace).unwrap_err(), Error::BufferTooSmall { name, required, actual: 0 });
    let empty = engine.workspace(&[]).unwrap();
    assert_eq!(empty.size(), 0);
    assert!(matches!(bind(&small, &empty), Err(Error::BufferTooSmall { actual: 0, .. })));
    let other = Engine::new(&device, &queue);
    assert_eq!(other.workspace(&[&small.plan]).unwrap_err(), Error::ForeignEngine { what: "a plan" });
    let foreign = other.workspace(&[]).unwrap();
    assert_eq!(bind(&small, &foreign).unwrap_err(), Error::ForeignEngine { what: "the workspace" });
}

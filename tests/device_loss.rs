//! A lost device is a clear error from every call, at once, and never a panic or a wait without end.

use wgpu_conv::{Bound, Buffers, Engine, Error, Kernel, Plan, PlanOptions, Result, Weights, wgpu};

#[path = "common/exact.rs"]
mod exact;
#[path = "common/gpu.rs"]
mod gpu;

use exact::{Case, device, forced};
use wgpu_conv::Checks;

/// Everything that a program may hold when its device goes.
struct Held {
    case: Case,
    engine: Engine,
    plan: Plan,
    weights: Weights,
    input: wgpu::Buffer,
    output: wgpu::Buffer,
    bound: Bound,
}

impl Held {
    fn new(device: &wgpu::Device, queue: &wgpu::Queue) -> Self {
        let engine = Engine::new(device, queue);
        let case = Case::new("c2h9w9o4k3p1:nobias");
        let plan = case.plan(&engine, &forced(Kernel::Direct, Checks::Trusted));
        let weights = plan.weights_blocking(&case.weight_data().keep_raw(true)).unwrap();
        let (input, output) = (case.input(&engine), case.output(&engine));
        let bound = plan.bind_blocking(&weights, &Buffers::new(input.slice(..), output.slice(..))).unwrap();
        Self { case, engine, plan, weights, input, output, bound }
    }

    /// What cannot fail must not panic either.
    fn record(&self) {
        let mut encoder = self.engine.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        self.bound.record(&mut encoder);
        drop(encoder.finish());
    }
}

type Call = (&'static str, fn(&Held) -> Result<()>);

/// Every call that touches the device.
const CALLS: [Call; 11] = [
    ("plan", |held| held.engine.plan_blocking(&held.case.problem, &forced(Kernel::Tiled, Checks::Trusted)).map(drop)),
    ("plan_for", |held| {
        let options = PlanOptions { checks: Some(Checks::Checked), ..PlanOptions::default() };
        held.engine.plan_for_blocking(&held.weights, &held.case.problem, &options).map(drop)
    }),
    ("weights", |held| held.plan.weights_blocking(&held.case.weight_data()).map(drop)),
    ("repack", |held| held.plan.repack_blocking(&held.weights).map(drop)),
    ("bind", |held| {
        let buffers = Buffers::new(held.input.slice(..), held.output.slice(..));
        held.plan.bind_blocking(&held.weights, &buffers).map(drop)
    }),
    ("submit", |held| pollster::block_on(held.bound.submit())),
    ("run", |held| held.bound.run_blocking()),
    ("read", |held| held.engine.read_blocking(held.output.slice(..)).map(drop)),
    ("buffer_from", |held| held.engine.buffer_from("after", &[1.0]).map(drop)),
    ("buffer_zeroed", |held| held.engine.buffer_zeroed("after", 1).map(drop)),
    ("convolve", |held| held.engine.convolve_blocking(&held.case.problem, &held.case.data.tensors()).map(drop)),
];

fn assert_lost(name: &str, result: Result<()>, reason: &str) {
    match result {
        Err(Error::DeviceLost { reason: actual }) => assert!(actual.contains(reason), "{name}: {actual}"),
        other => panic!("{name}: {other:?}"),
    }
}

#[test]
fn whichever_call_comes_first_finds_out() {
    let Some(gpu) = gpu::open() else { return };
    let (device, queue) = device(gpu.context(), |_| {});
    // An engine for each call, so that none learns of the loss from another.
    let held: Vec<Held> = CALLS.iter().map(|_| Held::new(&device, &queue)).collect();
    for (held, (name, call)) in held.iter().zip(CALLS) {
        call(held).unwrap_or_else(|error| panic!("{name} works before: {error}"));
    }
    let held: Vec<Held> = CALLS.iter().map(|_| Held::new(&device, &queue)).collect();
    device.destroy();
    for (held, (name, call)) in held.iter().zip(CALLS) {
        assert_lost(name, call(held), "");
        held.record();
    }
    // From then on every call says so, also those that need no device.
    let first = forced(Kernel::Direct, Checks::Trusted);
    for held in &held {
        assert_lost("a plan that is compiled", held.engine.plan_blocking(&held.case.problem, &first).map(drop), "");
        for (name, call) in CALLS {
            assert_lost(name, call(held), "");
        }
    }
}

#[test]
fn what_the_app_tells_the_engine_is_the_reason() {
    let Some(gpu) = gpu::open() else { return };
    let (device, queue) = device(gpu.context(), |_| {});
    let held = Held::new(&device, &queue);
    let (other, clone) = (Engine::new(&device, &queue), held.engine.clone());
    clone.mark_device_lost("the cable was pulled");
    held.engine.mark_device_lost("a later reason");
    for (name, call) in CALLS {
        assert_lost(name, call(&held), "the cable was pulled");
    }
    held.record();
    assert!(other.buffer_zeroed("still there", 1).is_ok(), "another engine was told nothing");
}

#[test]
fn the_app_keeps_its_callback() {
    let Some(gpu) = gpu::open() else { return };
    let (device, queue) = device(gpu.context(), |_| {});
    let engine = Engine::new(&device, &queue);
    device.set_device_lost_callback({
        let engine = engine.clone();
        move |reason, _| engine.mark_device_lost(format!("told by the callback: {reason:?}"))
    });
    let case = Case::new("c2h9w9o4k3p1:nobias");
    let plan = case.plan(&engine, &forced(Kernel::Direct, Checks::Trusted));
    let (bound, output) = case.bind(&plan, &engine);
    bound.run_blocking().unwrap();
    case.check(&engine, &output, "before");
    device.destroy();
    let _ = device.poll(wgpu::PollType::Poll);
    let error = bound.run_blocking().unwrap_err();
    assert!(error.to_string().contains("told by the callback"), "{error}");
}

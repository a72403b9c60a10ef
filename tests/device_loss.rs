//! A lost device is a clear error from every call, at once, and never a panic or a wait without end.

use std::time::Duration;

use wgpu_conv::{
    Bound, Buffers, DType, Elements, Engine, EngineOptions, Error, Kernel, Plan, PlanOptions, Result, Timer,
    TuneOptions, Weights, wgpu,
};

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

    /// A source and a destination for a conversion.
    fn ends(&self) -> [Elements<'_>; 2] {
        [Elements::new(self.input.slice(..), DType::F32), Elements::new(self.output.slice(..), DType::F16)]
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
const CALLS: [Call; 16] = [
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
    ("read_bytes", |held| held.engine.read_bytes_blocking(held.output.slice(..)).map(drop)),
    ("conversion", |held| held.engine.conversion_blocking(2, held.ends()[0], held.ends()[1]).map(drop)),
    ("convert", |held| held.engine.convert_blocking(2, held.ends()[0], held.ends()[1])),
    ("tune", |held| {
        let options = TuneOptions::default().max_candidates(1).budget(Duration::ZERO);
        held.engine.tune_blocking(&held.case.problem, &options, |_| {}).map(drop)
    }),
    ("time", |held| Timer::new(&held.engine).time_blocking(&held.bound).map(drop)),
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

/// An answer that a lost device allows: the right one from before, or the loss.
fn fine_or_lost<T>(name: &str, result: Result<T>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(Error::DeviceLost { .. }) => None,
        Err(other) => panic!("{name}: {other:?}"),
    }
}

#[test]
fn an_engine_on_a_device_that_was_lost_before_says_so() {
    let Some(gpu) = gpu::open() else { return };
    let (device, queue) = device(gpu.context(), |_| {});
    let buffer = Engine::new(&device, &queue).buffer_zeroed("before", 64).unwrap();
    device.destroy();
    let case = Case::new("c2h9w9o4k3p1:nobias");
    let engine = Engine::new(&device, &queue);
    assert_lost("plan", engine.plan_blocking(&case.problem, &PlanOptions::default()).map(drop), "");
    assert_lost("read", Engine::new(&device, &queue).read_blocking(buffer.slice(..)).map(drop), "");
    assert_eq!(engine.pipeline_count(), 0, "what was not compiled is not kept");
}

#[test]
fn futures_survive_a_loss_before_they_are_awaited() {
    let Some(gpu) = gpu::open() else { return };
    let (device, queue) = device(gpu.context(), |_| {});
    let held = Held::new(&device, &queue);
    let checked = forced(Kernel::Direct, Checks::Checked);
    let plan = held.engine.plan(&held.case.problem, &checked);
    let weight_data = held.case.weight_data().keep_raw(true);
    let weights = held.plan.weights(&weight_data);
    let repacked = held.plan.repack(&held.weights);
    let bound = held.plan.bind(&held.weights, &Buffers::new(held.input.slice(..), held.output.slice(..)));
    let converted = held.engine.convert(2, held.ends()[0], held.ends()[1]);
    let submitted = held.bound.submit();
    let read = held.engine.read(held.output.slice(..));
    device.destroy();
    if let Some(plan) = fine_or_lost("plan", pollster::block_on(plan)) {
        assert_lost("bind", plan.weights_blocking(&held.case.weight_data()).map(drop), "");
    }
    assert_lost("weights", pollster::block_on(weights).map(drop), "");
    assert_lost("repack", pollster::block_on(repacked).map(drop), "");
    assert_lost("bind", pollster::block_on(bound).map(drop), "");
    assert_lost("convert", pollster::block_on(converted), "");
    // What was submitted before counts as done.
    fine_or_lost("submit", pollster::block_on(submitted));
    // The copy was submitted; whether it can still be looked at is the driver's affair.
    fine_or_lost("read", pollster::block_on(read));
}

/// Work on many threads when the device goes: none hangs, none panics, and what any of them got before is right.
#[test]
fn a_loss_under_way_ends_every_thread() {
    let Some(gpu) = gpu::open() else { return };
    for round in 0..8 {
        let (device, queue) = device(gpu.context(), |_| {});
        let engine = Engine::with_options(&device, &queue, EngineOptions::default().max_segment_macs(1));
        let case = Case::new("c2h40w40o4k3p1:nobias");
        let plan = case.plan(&engine, &forced(Kernel::Direct, Checks::Trusted));
        let weights = case.weights(&plan);
        let (done, results) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                let (case, engine, plan, weights, done) = (&case, &engine, &plan, &weights, done.clone());
                scope.spawn(move || {
                    let once = || -> Result<()> {
                        let input = engine.buffer_from("input", &case.data.input)?;
                        let output = engine.buffer_zeroed("output", case.expected.len() as u64)?;
                        let buffers = Buffers::new(input.slice(..), output.slice(..));
                        plan.bind_blocking(weights, &buffers)?.run_blocking()?;
                        exact::assert_same(&engine.read_blocking(output.slice(..))?, &case.expected, "before the loss");
                        Ok(())
                    };
                    while fine_or_lost("a convolution", once()).is_some() {
                        let _ = done.send(());
                    }
                });
            }
            // At another moment of their work each time.
            (0..4 + 3 * round).for_each(|_| results.recv().unwrap());
            device.destroy();
        });
        let error = engine.buffer_zeroed("after", 1).unwrap_err();
        assert!(matches!(error, Error::DeviceLost { .. }), "{error:?}");
    }
}

#[test]
fn everything_can_be_dropped_with_work_in_flight() {
    let Some(gpu) = gpu::open() else { return };
    let case = Case::new("c8h64w64o16k5p2:nobias");
    // Each time something else goes last; nothing waits for the work.
    for order in 0..4 {
        let (device, queue) = device(gpu.context(), |_| {});
        let engine = Engine::new(&device, &queue);
        let plan = case.plan(&engine, &forced(Kernel::Direct, Checks::Trusted));
        let (bound, output) = case.bind(&plan, &engine);
        for _ in 0..4 {
            pollster::block_on(bound.submit()).unwrap();
        }
        let read = engine.read(output.slice(..));
        match order {
            0 => drop((bound, plan, engine, output, read)),
            1 => drop((read, output, engine, plan, bound)),
            2 => {
                device.destroy();
                drop((engine, plan, bound));
                fine_or_lost("read", pollster::block_on(read));
            }
            _ => {
                drop((engine, plan, bound, output));
                exact::assert_same(&pollster::block_on(read).unwrap(), &case.expected, "read after all else is gone");
            }
        }
        drop((device, queue));
    }
}

#[test]
fn a_new_engine_on_a_new_device_goes_on() {
    let Some(gpu) = gpu::open() else { return };
    let (old_device, old_queue) = device(gpu.context(), |_| {});
    let old = Held::new(&old_device, &old_queue);
    old_device.destroy();
    assert_lost("run", old.bound.run_blocking(), "");
    let (device, queue) = device(gpu.context(), |_| {});
    let new = Held::new(&device, &queue);
    new.bound.run_blocking().unwrap();
    new.case.check(&new.engine, &new.output, "the new device");
    // What is left of the old one is refused by name, and harms nothing.
    let fresh = Buffers::new(new.input.slice(..), new.output.slice(..));
    let error = new.plan.bind_blocking(&old.weights, &fresh).unwrap_err();
    assert_eq!(error, Error::ForeignEngine { what: "the weights" });
    let stale = Buffers::new(old.input.slice(..), new.output.slice(..));
    let error = new.plan.bind_blocking(&new.weights, &stale).unwrap_err();
    assert!(matches!(error, Error::Gpu { during: "binding buffers", .. }), "{error:?}");
    let error = new.engine.read_blocking(old.output.slice(..)).unwrap_err();
    assert!(matches!(error, Error::Gpu { .. }), "{error:?}");
    drop(old);
    new.bound.run_blocking().unwrap();
    new.case.check(&new.engine, &new.output, "the new device, after the old one is gone");
}

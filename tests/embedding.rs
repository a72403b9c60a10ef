//! What a program relies on that has the convolutions in its own frame: recording makes and submits nothing, segments,
//! folded grids, pipelines compiled once, empty tensors, and what may cross threads.

use wgpu_conv::{
    Activation, Bound, Buffers, Capabilities, Context, ContextOptions, Conv2d, Engine, EngineOptions, Epilogue, Error,
    Kernel, Plan, PlanOptions, Problem, Selection, Tensors, WeightData, Weights, wgpu,
};

#[path = "common/exact.rs"]
mod exact;
#[path = "common/gpu.rs"]
mod gpu;

use exact::{Case, GUARD, all_forced, assert_same, device, forced};
use wgpu_conv::Checks;

/// How many objects of each kind the device has.
fn objects(device: &wgpu::Device) -> [isize; 7] {
    let hal = device.get_internal_counters().hal;
    [
        hal.buffers.read(),
        hal.bind_groups.read(),
        hal.bind_group_layouts.read(),
        hal.pipeline_layouts.read(),
        hal.compute_pipelines.read(),
        hal.shader_modules.read(),
        hal.memory_allocations.read(),
    ]
}

fn encoder(device: &wgpu::Device) -> wgpu::CommandEncoder {
    device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("test frame") })
}

fn pass(encoder: &mut wgpu::CommandEncoder) -> wgpu::ComputePass<'_> {
    encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default())
}

#[test]
fn recording_makes_nothing_and_submits_nothing() {
    let Some(gpu) = gpu::open() else { return };
    // A device that no other test uses while its objects are counted.
    let (device, queue) = device(gpu.context(), |_| {});
    let engine = Engine::with_options(&device, &queue, EngineOptions::default().max_segment_macs(1));
    let case = Case::new("c2h40w40o4k3p1+relu");
    for kernel in exact::kernels() {
        let plan = case.plan(&engine, &forced(kernel, Checks::Trusted));
        let weights = case.weights(&plan);
        let (input, output) = (case.input(&engine), case.output(&engine));
        let before = objects(&device);
        let bound = plan.bind_blocking(&weights, &Buffers::new(input.slice(..), output.slice(..))).unwrap();
        assert!(objects(&device)[1] > before[1], "bind makes a bind group, and the counters show it");
        assert!(bound.segments() > 1);

        let mut frame = encoder(&device);
        let before = objects(&device);
        bound.record(&mut frame);
        bound.record_in_pass(&mut pass(&mut frame));
        for segment in 0..bound.segments() {
            bound.record_segment(segment, &mut pass(&mut frame)).unwrap();
        }
        assert_eq!(objects(&device), before, "{kernel}: recording makes nothing");
        let commands = frame.finish();
        assert_eq!(objects(&device), before, "{kernel}: finishing makes nothing on its behalf");
        let untouched = engine.read_blocking(output.slice(..)).unwrap();
        assert_same(&untouched, &vec![GUARD; untouched.len()], "before the app submits");
        queue.submit([commands]);
        case.check(&engine, &output, "after the app submits");
    }
}

#[test]
fn segments_give_the_same_bits_however_they_are_recorded() {
    let Some(gpu) = gpu::open() else { return };
    let context = gpu.context();
    // 4 tiles of 64 × 8 pixels (direct, a tenth of them tails) and 50 of 32 pixels (tiled).
    let case = Case::new("c3h40w40o4k3p1");
    // With less than a tile's multiply-adds its sums are split: 3 channels, or K = 27 in slices of 16.
    for (kernel, macs, expected) in [
        (Kernel::Direct, 1, 4 * 3),
        (Kernel::Direct, 64 * 8 * 4 * 27, 4),
        (Kernel::Direct, 3 * 64 * 8 * 4 * 27, 2),
        (Kernel::Tiled, 1, 50 * 2),
        (Kernel::Tiled, 32 * 32 * 27, 50),
        (Kernel::Tiled, 11 * 32 * 32 * 27 + 5, 5),
        (Kernel::Tiled, u64::MAX, 1),
    ] {
        let name = format!("{kernel}, at most {macs} multiply-adds in a segment");
        let options = EngineOptions::default().max_segment_macs(macs);
        let engine = Engine::with_options(&context.device, &context.queue, options);
        let plan = case.plan(&engine, &forced(kernel, Checks::Trusted));
        assert_eq!(plan.segments(), expected, "{name}");
        let (bound, output) = case.bind(&plan, &engine);
        assert_eq!(bound.segments(), expected, "{name}");
        // No two of them have so few multiply-adds that they could go together.
        assert_eq!(bound.submissions().collect::<Vec<_>>(), (0..expected).map(|at| at..at + 1).collect::<Vec<_>>());
        let blank = engine.buffer_from("blank", &vec![GUARD; case.expected.len()]).unwrap();
        let blank_then = |what: &str, record: &dyn Fn(&mut wgpu::CommandEncoder)| {
            let mut frame = encoder(&context.device);
            frame.copy_buffer_to_buffer(&blank, 0, &output, 0, blank.size());
            record(&mut frame);
            context.queue.submit([frame.finish()]);
            case.check(&engine, &output, &format!("{name}, {what}"));
        };
        blank_then("recorded at once", &|frame| bound.record(frame));
        blank_then("one by one", &|frame| {
            for segment in 0..expected {
                bound.record_segment(segment, &mut pass(frame)).unwrap();
            }
        });
        blank_then("submitted by the engine", &|frame| {
            context.queue.submit([std::mem::replace(frame, encoder(&context.device)).finish()]);
            bound.run_blocking().unwrap();
        });
        let mut frame = encoder(&context.device);
        let result = bound.record_segment(expected, &mut pass(&mut frame));
        assert_eq!(result, Err(Error::Segment { index: expected, count: expected }), "{name}");
    }
}

#[test]
fn grids_fold_where_one_row_is_too_long() {
    let Some(gpu) = gpu::open() else { return };
    let (device, queue) = device(gpu.context(), |limits| limits.max_compute_workgroups_per_dimension = 7);
    let engine = Engine::new(&device, &queue);
    // The weight's 576 vectors take nine workgroups to pack, so that grid folds too.
    let large = Case::new("c8h40w40o32k3p1");
    // Here the programs around Winograd's products fold: they have to fit in one grid.
    let small = Case::new("c5h24w40o6k3p1");
    for (options, segments) in all_forced().iter().zip([1, 5, 5, 3, 2, 1, 5, 5]) {
        let case = if options.kernel == Some(Kernel::Winograd) { &small } else { &large };
        let plan = case.plan(&engine, options);
        let name = format!("{} {}", plan.kernel(), plan.variant());
        assert_eq!(plan.segments(), segments, "{name}: segments of at most 7 × 7 workgroups");
        let (bound, output) = case.bind(&plan, &engine);
        bound.run_blocking().unwrap();
        case.check(&engine, &output, &name);
    }
}

#[test]
fn a_pipeline_is_compiled_once() {
    let Some(gpu) = gpu::open() else { return };
    let (device, queue) = device(gpu.context(), |_| {});
    let engine = Engine::new(&device, &queue);
    // wgpu has some pipelines of its own.
    let at_first = objects(&device)[4];
    let compiled = || objects(&device)[4] - at_first;
    let case = Case::new("c2h9w9o4k3p1+relu");
    let options = forced(Kernel::Direct, Checks::Trusted);
    // Threads that all want the same: one compiles, the others wait for it.
    let start = std::sync::Barrier::new(8);
    let prepare = || {
        start.wait();
        let plan = case.plan(&engine, &options);
        let weights = case.weights(&plan);
        (plan, weights)
    };
    let kept: Vec<(Plan, Weights)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(prepare)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!((engine.pipeline_count(), compiled()), (2, 2), "the convolution and the packing");
    for other in ["n3c2h9w9o4k3p1+relu", "c2h33w5o4k3p1+relu", "c7h9w9o9k3p1+relu"] {
        let other = Case::new(other);
        let plan = other.plan(&engine, &options);
        let (bound, output) = other.bind(&plan, &engine);
        bound.run_blocking().unwrap();
        other.check(&engine, &output, "a plan that found its pipeline");
    }
    assert_eq!((engine.pipeline_count(), compiled()), (2, 2), "sizes and channels need no new one");
    case.plan(&engine, &forced(Kernel::Direct, Checks::Checked));
    assert_eq!((engine.pipeline_count(), compiled()), (3, 3), "another variant does");
    engine.forget_pipelines();
    assert_eq!(engine.pipeline_count(), 0);
    let (bound, output) = case.bind(&kept[0].0, &engine);
    bound.run_blocking().unwrap();
    case.check(&engine, &output, "a plan whose pipelines the engine forgot");
    assert_eq!(engine.pipeline_count(), 1, "the packing was compiled again");
    drop(kept);
}

#[test]
fn a_batch_of_nothing_records_nothing() {
    let Some(gpu) = gpu::open() else { return };
    let engine = gpu.engine();
    let case = Case::new("n0c3h9w9o4k3+residual+prelu");
    let plan = case.plan(engine, &PlanOptions::default());
    assert_eq!(plan.segments(), 0);
    let weights = case.weights(&plan);
    let empty = gpu.context().device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("empty"),
        size: 0,
        usage: wgpu::BufferUsages::STORAGE,
        mapped_at_creation: false,
    });
    let buffers = Buffers::new(empty.slice(..), empty.slice(..)).residual(empty.slice(..));
    let bound = plan.bind_blocking(&weights, &buffers).unwrap();
    assert_eq!((bound.segments(), bound.submissions().len()), (0, 0));
    let mut frame = encoder(&gpu.context().device);
    bound.record(&mut frame);
    bound.record_in_pass(&mut pass(&mut frame));
    assert_eq!(bound.record_segment(0, &mut pass(&mut frame)), Err(Error::Segment { index: 0, count: 0 }));
    gpu.context().queue.submit([frame.finish()]);
    bound.run_blocking().unwrap();
    assert!(engine.convolve_blocking(&case.problem, &case.data.tensors()).unwrap().is_empty());
    // What is there is still checked.
    let missing = plan.bind_blocking(&weights, &Buffers::new(empty.slice(..), empty.slice(..)));
    assert!(matches!(missing, Err(Error::Missing { name: "residual", .. })), "{missing:?}");
}

#[test]
fn without_input_channels_the_output_is_bias_and_residual() {
    let Some(gpu) = gpu::open() else { return };
    let engine = gpu.engine();
    let case = Case::new("n2c0h5w7o6k3p1+residual+relu");
    let [bias, residual] = [&case.data.bias, &case.data.residual].map(|data| data.as_ref().unwrap());
    let by_hand: Vec<f32> = (0..case.expected.len()).map(|at| (bias[at / 35 % 6] + residual[at]).max(0.0)).collect();
    assert_same(&case.expected, &by_hand, "the reference");
    for options in all_forced() {
        let plan = case.plan(engine, &options);
        let (input, output) = (case.input(engine), case.output(engine));
        let residual = engine.buffer_from("residual", residual).unwrap();
        // The input is empty, wherever it is said to lie.
        let buffers = Buffers::new(input.slice(..0), output.slice(..)).residual(residual.slice(..));
        plan.bind_blocking(&case.weights(&plan), &buffers).unwrap().run_blocking().unwrap();
        case.check(engine, &output, plan.variant());
    }
}

#[test]
fn the_one_call_form_is_the_reference() {
    let Some(gpu) = gpu::open() else { return };
    for text in ["c3h7w7o2k3s2", "n2c4h9w8o6k3x2p1,0,2,1g2:reflect+residual+prelu", "c0h2w2o1k1"] {
        let case = Case::new(text);
        let output = gpu.engine().convolve_blocking(&case.problem, &case.data.tensors()).unwrap();
        assert_same(&output, &case.expected, text);
    }
    let case = Case::new("c3h7w7o2k3s2");
    let short = Tensors { input: &case.data.input[1..], ..case.data.tensors() };
    let error = gpu.engine().convolve_blocking(&case.problem, &short).unwrap_err();
    assert_eq!(error, Error::Length { name: "input", required: 147, actual: 146 });
}

#[test]
fn a_bound_convolution_owns_what_it_needs() {
    let Some(gpu) = gpu::open() else { return };
    let context = gpu.context();
    let case = Case::new("c2h9w9o4k3p1+relu");
    let (bound, output) = {
        let engine = Engine::new(&context.device, &context.queue);
        let plan = case.plan(&engine, &forced(Kernel::Tiled, Checks::Trusted));
        case.bind(&plan, &engine)
        // Engine, plan, weights and the handle of the input go here.
    };
    let moved = std::thread::spawn(move || {
        bound.run_blocking().unwrap();
        bound
    });
    let bound = moved.join().unwrap();
    case.check(gpu.engine(), &output, "after everything else was dropped");
    bound.clone().run_blocking().unwrap();
    case.check(gpu.engine(), &output, "run again, as a clone");
}

#[test]
fn a_chain_in_one_pass_needs_no_read_back() {
    let Some(gpu) = gpu::open() else { return };
    let (engine, context) = (gpu.engine(), gpu.context());
    let first = Case::new("c2h9w9o4k3p1+relu");
    let mut second = Case::new("c4h9w9o3k3p1:nobias");
    second.data.input = first.expected.clone();
    second.expected =
        second.data.reference(&second.problem).unwrap().values.iter().map(|&value| value as f32).collect();
    for options in all_forced() {
        let (first_plan, second_plan) = (first.plan(engine, &options), second.plan(engine, &options));
        let (first_bound, between) = first.bind(&first_plan, engine);
        let output = second.output(engine);
        let buffers = Buffers::new(between.slice(..), output.slice(..));
        let second_bound = second_plan.bind_blocking(&second.weights(&second_plan), &buffers).unwrap();
        let mut frame = encoder(&context.device);
        {
            let mut pass = pass(&mut frame);
            first_bound.record_in_pass(&mut pass);
            second_bound.record_in_pass(&mut pass);
        }
        context.queue.submit([frame.finish()]);
        second.check(engine, &output, first_plan.variant());
    }
}

#[test]
fn public_types_cross_threads_and_borrow_nothing() {
    fn check<T: Send + Sync + 'static>() {}
    check::<Engine>();
    check::<EngineOptions>();
    check::<Plan>();
    check::<PlanOptions>();
    check::<Selection>();
    check::<Weights>();
    check::<Bound>();
    check::<WeightData<'static>>();
    check::<Buffers<'static>>();
    check::<Tensors<'static>>();
    check::<Problem>();
    check::<Conv2d>();
    check::<Epilogue>();
    check::<Activation>();
    check::<Capabilities>();
    check::<Context>();
    check::<ContextOptions>();
    check::<Error>();
    check::<wgpu_conv::NoAdapter>();
    check::<wgpu_conv::Timer>();
    check::<wgpu_conv::TuneOptions>();
    check::<wgpu_conv::TuneReport>();
    check::<wgpu_conv::Tuning>();
    check::<wgpu_conv::reference::Reference>();
}

#[test]
fn futures_are_send() {
    // Never called: that it compiles is the test. Those of `Engine` and `Plan` borrow nothing either.
    #[allow(dead_code)]
    fn of(context: &ContextOptions, engine: &Engine, problem: &Problem, weights: &Weights, plan: &Plan, bound: &Bound) {
        fn own<T: Send + 'static>(_: T) {}
        fn send<T: Send>(_: T) {}
        let options = PlanOptions::default();
        let buffer = engine.buffer_zeroed("any", 1).unwrap();
        own(Context::new(context));
        own(Context::adapters(context));
        own(engine.plan(problem, &options));
        own(engine.plan_for(weights, problem, &options));
        own(engine.read(buffer.slice(..)));
        own(plan.weights(&WeightData::new(buffer.slice(..))));
        own(plan.repack(weights));
        own(plan.bind(weights, &Buffers::new(buffer.slice(..), buffer.slice(..))));
        own(bound.submit());
        send(engine.convolve(problem, &Tensors::default()));
        send(engine.tune(problem, &wgpu_conv::TuneOptions::default(), |_| {}));
        send(wgpu_conv::Timer::new(engine).time(bound));
    }
}

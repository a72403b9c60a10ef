//! Weights: uploaded once for all input sizes, from either side of the bus, repacked on the GPU, and never mistaken.

use wgpu_conv::{Buffers, Engine, Error, Kernel, Packing, PlanOptions, WeightData, Weights, wgpu};

#[path = "common/exact.rs"]
mod exact;
#[path = "common/gpu.rs"]
mod gpu;

use exact::{Case, GUARD, all_forced, forced};
use wgpu_conv::Checks::Trusted;

/// Runs a case with weights that are there already.
fn run(case: &Case, engine: &Engine, plan: &wgpu_conv::Plan, weights: &Weights, what: &str) {
    let (input, output) = (case.input(engine), case.output(engine));
    plan.bind_blocking(weights, &Buffers::new(input.slice(..), output.slice(..))).unwrap().run_blocking().unwrap();
    case.check(engine, &output, what);
}

#[test]
fn one_upload_serves_every_input_size() {
    let Some(gpu) = gpu::open() else { return };
    let engine = gpu.engine();
    let first = Case::new("c3h9w9o6k3p1");
    for kernel in exact::kernels() {
        let plan = first.plan(engine, &forced(kernel, Trusted));
        let weights = first.weights(&plan);
        // Stride, padding, activation and size are no business of the weights.
        let last = match kernel {
            // Which takes no other stride.
            Kernel::Winograd => "c3h12w9o6k3p2:reflect+relu",
            _ => "c3h12w9o6k3s2p1:reflect+relu",
        };
        for text in ["c3h9w9o6k3p1", "n2c3h40w31o6k3p1", "c3h3w3o6k3", last] {
            let mut case = Case::new(text);
            (case.data.weight, case.data.bias) = (first.data.weight.clone(), first.data.bias.clone());
            case.expected = case.data.reference(&case.problem).unwrap().values.iter().map(|&v| v as f32).collect();
            let other = engine.plan_for_blocking(&weights, &case.problem, &PlanOptions::default()).unwrap();
            assert_eq!(other.packing(), weights.packing(), "{text}");
            run(&case, engine, &other, &weights, text);
        }
    }
}

#[test]
fn plans_for_weights_keep_to_their_packing() {
    let Some(gpu) = gpu::open() else { return };
    let engine = gpu.engine();
    let case = Case::new("c3h9w9o6k3p1");
    let plan = case.plan(engine, &forced(Kernel::Tiled, Trusted));
    let weights = case.weights(&plan);
    assert_eq!(weights.packing(), Packing::KMajor);
    let error = engine
        .plan_for_blocking(&weights, &case.problem, &PlanOptions { kernel: Some(Kernel::Direct), ..Default::default() })
        .unwrap_err();
    assert!(matches!(error, Error::Refused { .. }), "{error:?}");
    assert!(error.to_string().contains("blocked4") && error.to_string().contains("kmajor"), "{error}");

    let direct = case.plan(engine, &forced(Kernel::Direct, Trusted));
    let (input, output) = (case.input(engine), case.output(engine));
    let error = direct.bind_blocking(&weights, &Buffers::new(input.slice(..), output.slice(..))).map(drop).unwrap_err();
    assert_eq!(error, Error::Packing { required: "blocked4", actual: "kmajor".into() });
}

#[test]
fn kept_weights_are_repacked_on_the_gpu() {
    let Some(gpu) = gpu::open() else { return };
    let engine = gpu.engine();
    // Groups of 3 channels, which no packing has as they are.
    let case = Case::new("c4h9w9o6k3p1g2");
    let plans: Vec<_> = ["c4x8", "c1x8", "m32n32k16"]
        .map(|variant| case.plan(engine, &PlanOptions { variant: Some(variant.into()), ..Default::default() }))
        .into();
    for from in &plans {
        let kept = from.weights_blocking(&case.weight_data().keep_raw(true)).unwrap();
        for to in &plans {
            let repacked = to.repack_blocking(&kept).unwrap();
            assert_eq!(repacked.packing(), to.packing());
            run(&case, engine, to, &repacked, &format!("{} → {}", from.variant(), to.variant()));
        }
        run(&case, engine, from, &kept, "the weights that were repacked");
        let plain = case.weights(from);
        assert!(kept.size() > plain.size(), "{} bytes with the raw weight, {} without", kept.size(), plain.size());
        let error = plans[2].repack_blocking(&plain).map(drop).unwrap_err();
        assert!(matches!(error, Error::Missing { name: "raw weight", .. }), "{error:?}");
        assert!(error.to_string().contains("keep_raw") && error.to_string().contains("kmajor"), "{error}");
    }
}

#[test]
fn weights_from_the_gpu_are_those_from_the_host() {
    let Some(gpu) = gpu::open() else { return };
    let engine = gpu.engine();
    let case = Case::new("c3h9w9o5k3p1+prelu");
    let [bias, slopes] = [&case.data.bias, &case.data.slopes].map(|data| data.as_ref().unwrap());
    // All in one buffer at odd offsets, guards between: 135 weights, 5 biases, 5 slopes. A slice may be longer.
    let mut image = vec![GUARD; 200];
    for (start, data) in [(3, &case.data.weight), (141, bias), (149, slopes)] {
        image[start..start + data.len()].copy_from_slice(data);
    }
    let buffer = engine.buffer_from("all parameters", &image).unwrap();
    let slice = |start: u64, end: u64| buffer.slice(4 * start..4 * end);
    for options in all_forced() {
        let plan = case.plan(engine, &options);
        let data = WeightData::new(slice(3, 138)).bias(slice(141, 200)).slopes(slice(149, 154));
        let weights = plan.weights_blocking(&data).unwrap();
        run(&case, engine, &plan, &weights, plan.variant());
        // Mixed sources.
        let data = WeightData::new(&case.data.weight).bias(slice(141, 146)).slopes(slopes);
        run(&case, engine, &plan, &plan.weights_blocking(&data).unwrap(), "host and GPU mixed");
    }
}

#[test]
fn what_was_in_the_buffer_when_packed_counts() {
    let Some(gpu) = gpu::open() else { return };
    let engine = gpu.engine();
    let case = Case::new("c3h9w9o6k3p1:nobias");
    let plan = case.plan(engine, &forced(Kernel::Direct, Trusted));
    let buffer = engine.buffer_from("weight", &case.data.weight).unwrap();
    let weights = plan.weights_blocking(&WeightData::new(buffer.slice(..))).unwrap();
    engine.queue().write_buffer(&buffer, 0, &vec![0xff; buffer.size() as usize]);
    run(&case, engine, &plan, &weights, "the app changed its buffer afterwards");
}

#[test]
fn weights_of_another_convolution_are_refused() {
    let (device, queue) = wgpu::Device::noop(&wgpu::DeviceDescriptor::default());
    let engine = Engine::new(&device, &queue);
    let case = Case::new("c4h9w9o6k3p1");
    let plan = case.plan(&engine, &forced(Kernel::Direct, Trusted));
    let buffer = engine.buffer_zeroed("large enough for all", 4096).unwrap();
    let buffers = Buffers::new(buffer.slice(..4096), buffer.slice(4096..));
    for (other, actual) in [
        ("c8h9w9o6k3p1g2", "weight shape [6, 4, 3, 3] (oihw, f32), groups 2, with bias, without slopes"),
        ("c4h9w9o6k3p1:nobias", "weight shape [6, 4, 3, 3] (oihw, f32), groups 1, without bias, without slopes"),
        ("c4h9w9o6k3p1+prelu", "weight shape [6, 4, 3, 3] (oihw, f32), groups 1, with bias, with 6 slopes"),
        ("c4h9w9o8k3p1", "weight shape [8, 4, 3, 3] (oihw, f32), groups 1, with bias, without slopes"),
        ("c4h9w9o6k3x1p1", "weight shape [6, 4, 3, 1] (oihw, f32), groups 1, with bias, without slopes"),
        ("c5h9w9o6k3p1", "weight shape [6, 5, 3, 3] (oihw, f32), groups 1, with bias, without slopes"),
    ] {
        let other = Case::new(other);
        let weights = other.weights(&other.plan(&engine, &forced(Kernel::Direct, Trusted)));
        let expected = Error::WeightsMismatch {
            required: "weight shape [6, 4, 3, 3] (oihw, f32), groups 1, with bias, without slopes".into(),
            actual: actual.into(),
        };
        assert_eq!(plan.bind_blocking(&weights, &buffers).map(drop), Err(expected.clone()));
        assert_eq!(plan.repack_blocking(&weights).map(drop), Err(expected.clone()));
        let planned = engine.plan_for_blocking(&weights, &case.problem, &PlanOptions::default());
        assert_eq!(planned.map(drop), Err(expected));
    }
}

#[test]
fn weights_of_another_engine_are_refused() {
    let (device, queue) = wgpu::Device::noop(&wgpu::DeviceDescriptor::default());
    let (engine, other) = (Engine::new(&device, &queue), Engine::new(&device, &queue));
    let case = Case::new("c4h9w9o6k3p1");
    let plan = case.plan(&engine, &PlanOptions::default());
    let weights = case.weights(&case.plan(&other, &PlanOptions::default()));
    let buffer = engine.buffer_zeroed("large enough for all", 4096).unwrap();
    let buffers = Buffers::new(buffer.slice(..4096), buffer.slice(4096..));
    let foreign = Err(Error::ForeignEngine { what: "the weights" });
    assert_eq!(plan.bind_blocking(&weights, &buffers).map(drop), foreign);
    assert_eq!(plan.repack_blocking(&weights).map(drop), foreign);
    assert_eq!(engine.plan_for_blocking(&weights, &case.problem, &PlanOptions::default()).map(drop), foreign);
    // A clone of an engine is the same engine.
    let same = engine.clone();
    let weights = case.weights(&case.plan(&same, &PlanOptions::default()));
    assert!(plan.bind_blocking(&weights, &buffers).is_ok());
}

#[test]
fn buffers_of_another_device_are_an_error() {
    let Some(gpu) = gpu::open() else { return };
    let (other_device, other_queue) = exact::device(gpu.context(), |_| {});
    let (engine, other) = (gpu.engine(), Engine::new(&other_device, &other_queue));
    let case = Case::new("c4h9w9o6k3p1:nobias");
    let plan = case.plan(engine, &PlanOptions::default());
    let weights = case.weights(&plan);
    let foreign = other.buffer_zeroed("of another device", 4096).unwrap();
    let own = engine.buffer_zeroed("of this device", 4096).unwrap();
    let is_gpu_error = |result: Result<(), Error>| {
        let error = result.unwrap_err();
        assert!(matches!(error, Error::Gpu { .. }), "{error:?}");
    };
    is_gpu_error(plan.bind_blocking(&weights, &Buffers::new(foreign.slice(..), own.slice(..))).map(drop));
    is_gpu_error(plan.bind_blocking(&weights, &Buffers::new(own.slice(..), foreign.slice(..))).map(drop));
    is_gpu_error(plan.weights_blocking(&WeightData::new(foreign.slice(..))).map(drop));
    is_gpu_error(engine.read_blocking(foreign.slice(..)).map(drop));
}

//! Deformable convolutions beyond what the table, the random problems and the conformance cases show of them: offsets that are no
//! numbers or lead far away, on every variant in both modes; batches that take several passes; tensors that share buffers;
//! segments and workspace; mistakes.

use wgpu_conv::{
    Buffers, Checks, Engine, EngineOptions, Error, Kernel, PlanOptions, Problem, Tensors, WeightData, wgpu,
};
use wgpu_conv_check::runner::judge;
use wgpu_conv_check::{DataKind, Placement, ProblemData, Runner, Unit};

#[path = "common/exact.rs"]
mod exact;
#[path = "common/gpu.rs"]
mod gpu;

use exact::{Case, GUARD, assert_same, device};

fn parse(text: &str) -> Problem {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// What an app may have computed by mistake, or an attacker chosen: none of it may reach an index.
const HOSTILE: [f32; 26] = [
    f32::NAN,
    -f32::NAN,
    f32::from_bits(0x7f80_0001),
    f32::INFINITY,
    f32::NEG_INFINITY,
    1e30,
    -1e30,
    f32::MAX,
    f32::MIN,
    2_147_483_648.0,
    -2_147_483_648.0,
    2_147_483_520.0,
    4_294_967_296.0,
    -4_294_967_296.0,
    16_777_217.0,
    65504.0,
    -65504.0,
    1e-40,
    -1e-40,
    -0.0,
    -1.0,
    -0.999_999_94,
    0.999_999_94,
    7.0,
    -7.5,
    0.5,
];

/// Offsets that hold all of these, in all pairs of rows and columns, and some that lead to the image.
fn with_hostile_offsets(problem: &Problem, kind: DataKind) -> ProblemData {
    let mut data = ProblemData::generate(problem, kind, 1).unwrap();
    let plane = (problem.output_shape()[2] * problem.output_shape()[3]) as usize;
    for (index, offset) in data.offset.iter_mut().flatten().enumerate() {
        let (channel, pixel) = (index / plane, index % plane);
        let number = pixel + channel / 2 * plane;
        let turn = if channel % 2 == 0 { number } else { number / HOSTILE.len() + number };
        if turn % 3 != 0 {
            *offset = HOSTILE[turn % HOSTILE.len()];
        }
    }
    data.exact = false;
    data
}

/// What reads the offsets is one program for all variants; so each runs trusted shaders, and some checked ones and another type.
#[test]
fn hostile_offsets_reach_nothing_on_every_variant_in_both_modes() {
    let Some(gpu) = gpu::open_own() else { return };
    let runner = Runner::new(gpu.engine());
    for (text, every) in [("n2c5h6w7o9k3p1:deform:offset_groups=5:mask", 1), ("n1c3h5w9o4k3x2p1:deform:f16:nhwc", 4)] {
        let problem = parse(text);
        let data = with_hostile_offsets(&problem, DataKind::Uniform);
        let expected = data.reference(&problem).unwrap();
        assert!(expected.values.iter().all(|value| value.is_finite()), "what is outside counts nothing");
        let mut stage = runner.stage(&problem, &data, Placement::numbered(1)).unwrap();
        let (units, refusals) = runner.units(&problem);
        assert!(refusals.iter().all(|refusal| !refusal.unit.takes_everything()), "{refusals:?}");
        for (place, unit) in units.into_iter().enumerate() {
            let every = if unit.checks == Checks::Checked { 4 } else { every };
            if place / 2 % every != 0 {
                continue;
            }
            let result = judge(&problem, &expected, &stage.run(&runner.plan(&problem, &unit).unwrap()).unwrap());
            assert!(result.passed, "{text} on {unit:?}: {}", result.message);
        }
    }
}

/// Words and halves read the same hostile 16-bit offsets; engines without 16-bit floats in shaders add up elsewhere too.
#[test]
fn hostile_offsets_of_16_bits_in_words() {
    let Some(gpu) = gpu::open() else { return };
    let (device, queue) = (&gpu.context().device, &gpu.context().queue);
    let problem = parse("n2c5h6w7o9k3p1:deform:mask:f16");
    let data = with_hostile_offsets(&problem, DataKind::Uniform);
    let expected = data.reference(&problem).unwrap();
    let engine = Engine::with_options(device, queue, EngineOptions::default().shader_f16(false));
    let runner = Runner::new(&engine);
    for unit in Unit::all().into_iter().filter(|unit| unit.is_generic()) {
        let outcome = runner.run(&problem, &data, &unit, Placement::numbered(3)).unwrap();
        let result = judge(&problem, &expected, &outcome);
        assert!(result.passed, "{unit:?}: {}", result.message);
    }
}

/// Elements that are not finite make samples that are not, but only those between them and their neighbours.
#[test]
fn what_is_outside_is_not_read_even_if_it_is_infinite() {
    let Some(gpu) = gpu::open() else { return };
    let problem = parse("n1c1h3w3o1k1:nobias:deform");
    let input = [f32::INFINITY, 1.0, f32::NAN, 2.0, 3.0, 4.0, f32::NEG_INFINITY, 5.0, 6.0];
    // Every output looks at the middle, but the corners, which look beyond the image.
    let mut offset = [0.0; 18];
    for pixel in 0..9 {
        let [row, column] = [pixel / 3, pixel % 3].map(|at| at as f32);
        let corner = pixel % 2 == 0 && pixel != 4;
        (offset[pixel], offset[9 + pixel]) = if corner { (2.0 * (row - 1.0), 0.0) } else { (1.0 - row, 1.0 - column) };
    }
    let output = gpu.engine().convolve_blocking(&problem, &Tensors::new(&input, &[1.0]).offset(&offset)).unwrap();
    assert_eq!(output, [0.0, 3.0, 0.0, 3.0, 3.0, 3.0, 0.0, 3.0, 0.0]);
}

#[test]
fn without_offsets_it_is_the_plain_convolution() {
    let Some(gpu) = gpu::open() else { return };
    for (plain, deformable) in [
        ("n2c6h9w8o4k3x2s2x1p0,1,2,1d2x1g2", "n2c6h9w8o4k3x2s2x1p0,1,2,1d2x1g2:deform:mask"),
        ("n1c5h7w7o6k3p1:f16:nhwc+residual+relu", "n1c5h7w7o6k3p1:deform:mask:f16:nhwc+residual+relu"),
    ] {
        let (plain, deformable) = (parse(plain), parse(deformable));
        let data = ProblemData::generate(&plain, DataKind::Integers, 3).unwrap();
        let (offset, mask) = (vec![0.0; deformable.offset_len() as usize], vec![1.0; deformable.mask_len() as usize]);
        let expected = gpu.engine().convolve_blocking(&plain, &data.tensors()).unwrap();
        let tensors = data.tensors().offset(&offset).mask(&mask);
        let actual = gpu.engine().convolve_blocking(&deformable, &tensors).unwrap();
        assert_same(&actual, &expected, &deformable.to_string());
    }
}

/// More samples than fit a pass: each has some of the images, and all have one weight, which other batches made.
#[test]
fn large_batches_take_several_passes() {
    let Some(gpu) = gpu::open() else { return };
    let runner = Runner::new(gpu.engine());
    let problem = parse("n3c16h512w512o1k2p0,1,0,1:deform:mask+residual");
    let data = ProblemData::generate(&problem, DataKind::Integers, 1).unwrap();
    let plane = u64::from(problem.output_shape()[2] * problem.output_shape()[3]);
    let indices: Vec<u64> = (0..problem.output_len())
        .filter(|index| index % 4999 == 0 || index % plane < 3 || index % plane > plane - 4)
        .collect();
    let expected = wgpu_conv::reference::convolve_at(&problem, &data.tensors(), &indices).unwrap();
    let unit = Unit { kernel: Kernel::Direct, variant: "c1x8", checks: Checks::Trusted };
    let plan = runner.plan(&problem, &unit).unwrap();
    // Two images, then one; each is sampled and convolved.
    assert_eq!(plan.segments(), 4);
    assert_eq!(plan.workspace_size(), 4 * 16 * 4 * 2 * plane);
    let outcome = runner.run(&problem, &data, &unit, Placement::numbered(1)).unwrap();
    assert_eq!(outcome.defect, None);
    for (&index, &value) in indices.iter().zip(&expected.values) {
        assert_eq!(f64::from(outcome.output[index as usize]), value, "output {index}");
    }
    // Weights that an image of another size made.
    let engine = gpu.engine();
    let small = problem.with_input(&[1, 16, 5, 6]).unwrap();
    let mut weight_data = WeightData::new(&data.weight);
    weight_data.bias = data.bias.as_ref().map(Into::into);
    let weights = engine.plan_blocking(&small, &unit.options()).unwrap().weights_blocking(&weight_data).unwrap();
    let buffer = |values: &Option<Vec<f32>>| engine.buffer_from("test", values.as_deref().unwrap_or_default()).unwrap();
    let (offset, mask, residual) = (buffer(&data.offset), buffer(&data.mask), buffer(&data.residual));
    let input = engine.buffer_from("input", &data.input).unwrap();
    let output = engine.buffer_zeroed("output", problem.output_len()).unwrap();
    let buffers = Buffers::new(input.slice(..), output.slice(..))
        .residual(residual.slice(..))
        .offset(offset.slice(..))
        .mask(mask.slice(..));
    plan.bind_blocking(&weights, &buffers).unwrap().run_blocking().unwrap();
    assert_same(&engine.read_blocking(output.slice(..)).unwrap(), &outcome.output, "weights of another size");
}

/// Everything in one buffer: what is read may overlap each other, and lie right beside the output.
#[test]
fn tensors_may_share_the_outputs_buffer() {
    let Some(gpu) = gpu::open() else { return };
    let engine = gpu.engine();
    let mut case = Case::new("n1c2h5w4o3k1:deform:mask+residual");
    // 40 elements of input and offsets, 20 of mask, 60 of output and residual. The mask is a part of the offsets.
    let mut image = vec![GUARD; 400];
    let shared: Vec<f32> = (0..40).map(|at| [0.5, -1.0, 1.0, -0.5][at % 4]).collect();
    case.data.offset = Some(shared.clone());
    case.data.mask = Some(shared[7..27].to_vec());
    let residual = case.data.residual.clone().unwrap();
    let expected = case.data.reference(&case.problem).unwrap();
    for split in [None, Some("split-m32n32k16")] {
        let options = PlanOptions { variant: split.map(Into::into), ..PlanOptions::default() };
        let plan = case.plan(engine, &options);
        let weights = case.weights(&plan);
        // Input 3..43, output and residual in place 43..103, offsets 103..143, mask 110..130.
        image[3..43].copy_from_slice(&case.data.input);
        image[43..103].copy_from_slice(&residual);
        image[103..143].copy_from_slice(&shared);
        let buffer = engine.buffer_from("everything", &image).unwrap();
        let slice = |start: u64, end: u64| buffer.slice(4 * start..4 * end);
        let buffers = Buffers::new(slice(3, 43), slice(43, 103))
            .residual(slice(43, 103))
            .offset(slice(103, 143))
            .mask(slice(110, 130));
        let bound = plan.bind_blocking(&weights, &buffers).unwrap();
        let mut encoder = engine.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        bound.record(&mut encoder);
        engine.queue().submit([encoder.finish()]);
        let found = engine.read_blocking(buffer.slice(..)).unwrap();
        let mut after = image.clone();
        for (place, value) in after[43..103].iter_mut().zip(&expected.values) {
            *place = *value as f32;
        }
        assert_same(&found, &after, split.unwrap_or("the default"));
    }
}

/// Sampling is a segment of its own; partial sums have a workspace beside that of the samples.
#[test]
fn segments_and_workspaces_are_announced() {
    let Some(gpu) = gpu::open() else { return };
    let context = gpu.context();
    // K = 576 is 36 slices of 16, so that 9 workgroups share each of the 3 tiles of 32 × 32.
    let case = Case::new("n1c64h9w9o8k3p1:deform:mask+relu");
    let samples = 4 * 64 * 9 * 81;
    for (variant, macs, segments, workspace) in [
        ("split-m32n32k16", u64::MAX, 3, samples + 4 * 9 * 8 * 81),
        ("split-m32n32k16", 1, 1 + 3 * 9 * 4 + 1, samples + 4 * 9 * 8 * 81),
        ("m32n32k16", u64::MAX, 2, samples),
    ] {
        let options = EngineOptions::default().max_segment_macs(macs);
        let engine = Engine::with_options(&context.device, &context.queue, options);
        let name = format!("{variant}, at most {macs} multiply-adds in a segment");
        let plan = case.plan(&engine, &PlanOptions { variant: Some(variant.into()), ..PlanOptions::default() });
        assert_eq!((plan.segments(), plan.workspace_size()), (segments, workspace), "{name}");
        let (bound, output) = case.bind(&plan, &engine);
        let together = if macs == 1 { 1 } else { segments };
        let submissions: Vec<_> = bound.submissions().collect();
        assert_eq!(submissions.len() as u32, segments / together, "{name}");
        assert!(submissions.iter().all(|submission| submission.len() as u32 == together), "{name}: {submissions:?}");
        bound.run_blocking().unwrap();
        case.check(&engine, &output, &format!("{name}, submitted by the engine"));
        let blank = engine.buffer_from("blank", &vec![GUARD; case.expected.len()]).unwrap();
        let mut encoder = engine.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        encoder.copy_buffer_to_buffer(&blank, 0, &output, 0, blank.size());
        {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            // Without the first one, of samples that are still there.
            (1..segments).for_each(|segment| bound.record_segment(segment, &mut pass).unwrap());
        }
        engine.queue().submit([encoder.finish()]);
        case.check(&engine, &output, &format!("{name}, recorded without the sampling"));
    }
}

/// Grids fold: more workgroups of samples than a dimension may have.
#[test]
fn many_workgroups_are_folded() {
    let Some(gpu) = gpu::open() else { return };
    let (device, queue) = device(gpu.context(), |limits| limits.max_compute_workgroups_per_dimension = 7);
    let engine = Engine::new(&device, &queue);
    // 9 · 2 · 300 places are 22 workgroups of 256.
    let case = Case::new("n1c9h15w20o3k3p1:deform:offset_groups=1");
    let plan = case.plan(&engine, &PlanOptions { kernel: Some(Kernel::Direct), ..PlanOptions::default() });
    let (bound, output) = case.bind(&plan, &engine);
    bound.run_blocking().unwrap();
    case.check(&engine, &output, "folded");
}

fn noop(limit: Option<u64>) -> Engine {
    let mut required_limits = wgpu::Limits::default();
    required_limits.max_storage_buffer_binding_size = limit.unwrap_or(required_limits.max_storage_buffer_binding_size);
    let (device, queue) =
        wgpu::Device::noop(&wgpu::DeviceDescriptor { required_limits, ..wgpu::DeviceDescriptor::default() });
    Engine::new(&device, &queue)
}

#[test]
fn a_single_image_beyond_the_device_is_refused_with_its_numbers() {
    let engine = noop(Some(1 << 20));
    let plan = |text: &str| engine.plan_blocking(&parse(text), &PlanOptions::default());
    assert!(plan("n1c8h60w60o8k3p1:deform").is_ok());
    let error = plan("n1c8h61w61o8k3p1:deform").unwrap_err();
    for part in ["the sampled input", "1071648", "1048576"] {
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[test]
fn buffers_are_checked() {
    let engine = noop(None);
    // 18 elements of input, 18 of offsets, 9 of mask, 9 of output.
    let case = Case::new("n1c2h3w3o1k1:nobias:deform:mask");
    let plan = case.plan(&engine, &PlanOptions::default());
    let weights = case.weights(&plan);
    let buffer = engine.buffer_zeroed("all", 200).unwrap();
    let slice = |start: u64, end: u64| buffer.slice(4 * start..4 * end);
    let right = Buffers::new(slice(0, 18), slice(20, 29)).offset(slice(30, 48)).mask(slice(50, 59));
    assert!(plan.bind_blocking(&weights, &right).is_ok());
    let message = |buffers: Buffers<'_>| plan.bind_blocking(&weights, &buffers).unwrap_err().to_string();
    let none = Buffers::new(slice(0, 18), slice(20, 29));
    assert_eq!(message(none), "offset is missing: the convolution is deformable");
    assert_eq!(message(none.offset(slice(30, 48))), "mask is missing: the convolution has mask = true");
    assert_eq!(message(right.offset(slice(30, 47))), "offset buffer has 68 bytes; required are 72");
    assert_eq!(message(right.mask(slice(50, 58))), "mask buffer has 32 bytes; required are 36");
    let overlap = message(right.offset(slice(28, 46)));
    assert_eq!(overlap, "offset (bytes 112..184) overlaps output (bytes 80..116) of the same buffer");
    assert!(message(right.mask(slice(28, 37))).contains("mask (bytes 112..148) overlaps output"));
    let moved = Buffers::new(slice(5, 23), slice(20, 29)).offset(slice(30, 48)).mask(slice(50, 59));
    assert!(message(moved).contains("input (bytes 20..92) overlaps output"));
    let plain = Case::new("n1c2h3w3o1k1:nobias");
    let plan = plain.plan(&engine, &PlanOptions::default());
    let error = plan.bind_blocking(&plain.weights(&plan), &right).unwrap_err();
    assert_eq!(error.to_string(), "offset was given, but the convolution is not deformable");
    // The weight is the same, its use is not.
    let error = plan.bind_blocking(&weights, &none).unwrap_err();
    assert!(matches!(error, Error::WeightsMismatch { .. }), "{error}");
}

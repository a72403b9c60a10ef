//! Tensors that lie in one buffer: wherever they lie, the result is right, nothing else is written, and WebGPU has nothing
//! to object when the app finishes its encoder. What has no defined result is refused before, with the bytes named.

use std::sync::OnceLock;

use wgpu_conv::{Buffers, Engine, Error, PlanOptions, Result, wgpu};

#[path = "common/exact.rs"]
mod exact;
#[path = "common/gpu.rs"]
mod gpu;

use exact::{Case, GUARD, all_forced, assert_same, device};

/// Where a tensor lies, in elements.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// In a buffer of its own, with so many elements before it.
    Own(usize),
    /// In the output's buffer.
    Shared(usize),
}
use Place::{Own, Shared};

/// Input and output have 18 elements: all three fit one step of 256 bytes, at which bindings start.
const SMALL: &str = "c2h3w3o2k3p1+residual";
/// 162 elements each.
const LARGE: &str = "c2h9w9o2k3p1+residual";

struct Layout {
    name: &'static str,
    problem: &'static str,
    input: Place,
    residual: Option<Place>,
    output: usize,
}

const fn layout(
    name: &'static str,
    problem: &'static str,
    input: Place,
    residual: Option<Place>,
    output: usize,
) -> Layout {
    Layout { name, problem, input, residual, output }
}

const LAYOUTS: [Layout; 19] = [
    layout("input, output: neighbours", "c2h3w3o2k3p1", Shared(1), None, 19),
    layout("output, input: neighbours", "c2h3w3o2k3p1", Shared(21), None, 3),
    layout("input, output: far apart", "c2h9w9o2k3p1", Shared(3), None, 1001),
    layout("output, input: far apart", "c2h9w9o2k3p1", Shared(1003), None, 7),
    layout("output in the middle of a step that the input ends in", "c2h9w9o2k3p1", Shared(10), None, 172),
    layout("input, residual, output: one step", SMALL, Shared(1), Some(Shared(19)), 37),
    layout("output, input, residual: one step", SMALL, Shared(19), Some(Shared(37)), 1),
    layout("residual, output, input: one step", SMALL, Shared(38), Some(Shared(2)), 20),
    layout("residual in place, input beside it", SMALL, Shared(40), Some(Shared(3)), 3),
    layout("residual in place, input far away", LARGE, Shared(1001), Some(Shared(5)), 5),
    layout("residual in place, input elsewhere", LARGE, Own(5), Some(Shared(77)), 77),
    layout("residual is the input, output beside it", SMALL, Shared(5), Some(Shared(5)), 30),
    layout("residual is the input, output far away", LARGE, Shared(5), Some(Shared(5)), 1001),
    layout("residual and input overlap, output far away", LARGE, Shared(64), Some(Shared(101)), 1001),
    layout("all far apart", LARGE, Shared(1003), Some(Shared(2001)), 3),
    layout("input beside the output, residual far away", LARGE, Shared(3), Some(Shared(2001)), 165),
    layout("residual beside the output, input far away", LARGE, Shared(2001), Some(Shared(327)), 165),
    layout("residual far away, input elsewhere", LARGE, Own(3), Some(Shared(2001)), 165),
    layout("input far away, residual elsewhere", LARGE, Shared(2001), Some(Own(9)), 165),
];

/// A device whose bindings start at multiples of 256 bytes, as WebGPU's default has it; software drivers allow less.
fn coarse(gpu: &gpu::Gpu) -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| {
        let (device, queue) = device(gpu.context(), |_| {});
        assert_eq!(device.limits().min_storage_buffer_offset_alignment, 256);
        Engine::new(&device, &queue)
    })
}

/// The bytes of a tensor within its buffer.
fn bytes(start: usize, elements: usize) -> std::ops::Range<u64> {
    4 * start as u64..4 * (start + elements) as u64
}

impl Layout {
    fn run(&self, engine: &Engine, options: &PlanOptions) {
        let name = format!("{}, {}", self.name, options.variant.as_deref().unwrap_or_default());
        let mut case = Case::new(self.problem);
        let [input_len, output_len] = [case.data.input.len(), case.expected.len()];
        // What the output's buffer holds before, guards all around. The input is written last: a residual that overlaps it
        // is what lies there then.
        let mut image = vec![GUARD; 2500];
        let own = |start: usize, data: &[f32]| {
            let mut contents = vec![GUARD; start];
            contents.extend(data);
            engine.buffer_from("a buffer of its own", &contents).unwrap()
        };
        let mut own_buffers = Vec::new();
        if let (Some(place), Some(data)) = (self.residual, case.data.residual.clone()) {
            match place {
                Shared(start) => image[start..start + output_len].copy_from_slice(&data),
                Own(start) => own_buffers.push(own(start, &data)),
            }
        }
        match self.input {
            Shared(start) => image[start..start + input_len].copy_from_slice(&case.data.input),
            Own(start) => own_buffers.push(own(start, &case.data.input)),
        }
        if let Some(Shared(start)) = self.residual {
            case = case.with_residual(&image[start..start + output_len]);
        }
        let shared = engine.buffer_from("the output's buffer", &image).unwrap();
        // Another handle of the same buffer is the same buffer.
        let handle = shared.clone();
        let slice = |place: Place, elements: usize| match place {
            Shared(start) => handle.slice(bytes(start, elements)),
            Own(start) => own_buffers[0].slice(bytes(start, elements)),
        };
        let mut buffers = Buffers::new(slice(self.input, input_len), shared.slice(bytes(self.output, output_len)));
        buffers.residual = self.residual.map(|place| slice(place, output_len));
        let plan = case.plan(engine, options);
        let bound = plan.bind_blocking(&case.weights(&plan), &buffers).unwrap_or_else(|e| panic!("{name}: {e}"));
        // As an app records it: errors of finish and submit would be reported as the app's own, and panic.
        let mut encoder = engine.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        bound.record(&mut encoder);
        engine.queue().submit([encoder.finish()]);
        image[self.output..self.output + output_len].copy_from_slice(&case.expected);
        assert_same(&engine.read_blocking(shared.slice(..)).unwrap(), &image, &name);
    }
}

#[test]
fn tensors_may_share_the_output_buffer() {
    let Some(gpu) = gpu::open() else { return };
    for options in all_forced() {
        for layout in &LAYOUTS {
            layout.run(coarse(&gpu), &options);
        }
    }
}

#[test]
fn fine_alignment_works_too() {
    let Some(gpu) = gpu::open() else { return };
    let [options, ..] = &all_forced()[..] else { panic!("there are some") };
    for layout in &LAYOUTS[..9] {
        layout.run(gpu.engine(), options);
    }
}

/// Binds slices of one buffer (bytes) on a device that computes nothing.
fn bind(problem: &str, input: (u64, u64), residual: Option<(u64, u64)>, output: (u64, u64)) -> Result<()> {
    let (device, queue) = wgpu::Device::noop(&wgpu::DeviceDescriptor::default());
    let engine = Engine::new(&device, &queue);
    let case = Case::new(problem);
    let plan = case.plan(&engine, &PlanOptions::default());
    let weights = case.weights(&plan);
    let buffer = engine.buffer_zeroed("all", 1000).unwrap();
    let slice = |(start, end): (u64, u64)| buffer.slice(start..end);
    let mut buffers = Buffers::new(slice(input), slice(output));
    buffers.residual = residual.map(slice);
    plan.bind_blocking(&weights, &buffers).map(drop)
}

#[test]
fn overlaps_without_a_defined_result_are_refused() {
    // 18 elements are 72 bytes.
    let plain = "c2h3w3o2k3p1";
    for (problem, input, residual, output, message) in [
        (plain, (0, 72), None, (68, 140), "input (bytes 0..72) overlaps output (bytes 68..140) of the same buffer"),
        (plain, (68, 140), None, (0, 72), "input (bytes 68..140) overlaps output (bytes 0..72) of the same buffer"),
        (plain, (400, 472), None, (400, 472), "input (bytes 400..472) overlaps output (bytes 400..472)"),
        (plain, (400, 472), None, (404, 476), "input (bytes 400..472) overlaps output (bytes 404..476)"),
        // Only what is needed of a longer slice counts, and is named.
        (plain, (300, 900), None, (368, 2000), "input (bytes 300..372) overlaps output (bytes 368..440)"),
        // 162 elements around 18.
        ("c2h9w9o2k3s4p1", (0, 648), None, (300, 372), "input (bytes 0..648) overlaps output (bytes 300..372)"),
        (SMALL, (0, 72), Some((400, 472)), (404, 476), "residual (bytes 400..472) overlaps output (bytes 404..476)"),
        (SMALL, (0, 72), Some((408, 480)), (404, 476), "residual (bytes 408..480) overlaps output (bytes 404..476)"),
        (SMALL, (404, 476), Some((404, 476)), (404, 476), "input (bytes 404..476) overlaps output (bytes 404..476)"),
    ] {
        let error = bind(problem, input, residual, output).unwrap_err();
        assert!(matches!(error, Error::Overlap { .. }), "{error:?}");
        assert!(error.to_string().contains(message), "{error}\nexpected: {message}");
    }
}

#[test]
fn neighbours_and_longer_slices_are_no_overlap() {
    let plain = "c2h3w3o2k3p1";
    for (problem, input, residual, output) in [
        (plain, (0, 72), None, (72, 144)),
        (plain, (72, 144), None, (0, 72)),
        // What lies beyond the tensor in a longer slice is not touched.
        (plain, (0, 4000), None, (72, 4000)),
        (SMALL, (0, 72), Some((400, 4000)), (400, 472)),
        (SMALL, (0, 72), Some((0, 72)), (72, 144)),
        (SMALL, (0, 72), Some((36, 108)), (108, 180)),
        // A tensor of nothing overlaps nothing.
        ("c0h3w3o2k3p1", (100, 4000), None, (72, 144)),
        ("n0c2h3w3o2k3p1+residual", (100, 100), Some((100, 100)), (100, 100)),
    ] {
        bind(problem, input, residual, output)
            .unwrap_or_else(|error| panic!("{problem} {input:?} {output:?}: {error}"));
    }
}

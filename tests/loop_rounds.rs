//! Drivers that end an invocation's loops early: whether `Capabilities::max_loop_rounds` knows it of this one, and whether
//! the kernels keep to it with the longest sums that they take in one part.

#[path = "common/gpu.rs"]
mod gpu;

use wgpu_conv::{Problem, wgpu};
use wgpu_conv_check::runner::judge;
use wgpu_conv_check::{DataKind, Placement, ProblemData, Runner, Unit};

/// Counts rounds: `outer` times `inner` of them. No kernel has a part in it: where its count is wrong, it is what to send to the
/// driver's makers. What is added comes from the buffer, so that no compiler works the sum out.
const COUNT: &str = "
    struct Numbers { outer: u32, inner: u32, one: u32, count: u32 }
    @group(0) @binding(0) var<storage, read_write> numbers: Numbers;

    @compute @workgroup_size(1)
    fn main() {
        var count = 0u;
        for (var i = 0u; i < numbers.outer; i += 1u) {
            for (var k = 0u; k < numbers.inner; k += 1u) {
                count += numbers.one;
            }
        }
        numbers.count = count;
    }";

/// Rounds that are tried where no limit is known.
const MANY: u64 = 1_000_000;

/// The pipeline of [`COUNT`].
fn counter(device: &wgpu::Device) -> wgpu::ComputePipeline {
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: Some("count"),
        source: wgpu::ShaderSource::Wgsl(COUNT.into()),
    });
    device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: Some("count"),
        layout: None,
        module: &module,
        entry_point: None,
        compilation_options: wgpu::PipelineCompilationOptions::default(),
        cache: None,
    })
}

/// Rounds of the inner loop that `counter` does when asked for `outer` times `inner`.
fn count(gpu: &gpu::Gpu, counter: &wgpu::ComputePipeline, outer: u32, inner: u32) -> u32 {
    let (device, queue) = (&gpu.context().device, &gpu.context().queue);
    let buffer = gpu.engine().buffer_zeroed("numbers", 4).unwrap();
    queue.write_buffer(&buffer, 0, bytemuck::cast_slice(&[outer, inner, 1, 0]));
    let bind_group = device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: Some("count"),
        layout: &counter.get_bind_group_layout(0),
        entries: &[wgpu::BindGroupEntry { binding: 0, resource: buffer.as_entire_binding() }],
    });
    let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("count") });
    {
        let mut pass =
            encoder.begin_compute_pass(&wgpu::ComputePassDescriptor { label: Some("count"), timestamp_writes: None });
        pass.set_pipeline(counter);
        pass.set_bind_group(0, &bind_group, &[]);
        pass.dispatch_workgroups(1, 1, 1);
    }
    queue.submit([encoder.finish()]);
    let bytes = gpu.engine().read_bytes_blocking(buffer.slice(..)).unwrap();
    bytemuck::pod_collect_to_vec::<u8, u32>(&bytes)[3]
}

#[test]
fn loops_take_the_rounds_that_are_promised() {
    let Some(gpu) = gpu::open() else { return };
    let counter = counter(&gpu.context().device);
    let count = |outer, inner| count(&gpu, &counter, outer, inner);
    let promised = gpu.engine().capabilities().max_loop_rounds.min(MANY);
    // A round of the outer loop is one too, and so is the look at which a loop ends.
    for inner in [1, 5, 1000, promised - 3] {
        let outer = (promised - 1) / (inner + 2);
        let [outer, inner] = [outer, inner].map(|rounds| u32::try_from(rounds).unwrap());
        assert_eq!(count(outer, inner), outer * inner, "{outer} times {inner} rounds");
    }
    println!("of {MANY} rounds in one loop, {} were done", count(1, MANY as u32));
    println!("of 1,000 times 1,000 rounds, {} were done", count(1000, 1000));
}

/// The problem of this shape, whose `C` stands for the channels, with so many of them.
fn with_channels(shape: &str, channels: u32) -> Problem {
    shape.replace('C', &channels.to_string()).parse().unwrap()
}

/// As many channels as `unit` takes without cutting its sums into more parts than it does for a few, in a problem of this
/// shape.
fn longest_in_one_part(runner: &Runner, shape: &str, unit: &Unit) -> Problem {
    let segments = |channels| runner.plan(&with_channels(shape, channels), unit).ok().map(|plan| plan.segments());
    let least = segments(8);
    assert!(least.is_some(), "{unit:?} takes no problem of this shape: {shape}");
    let (mut fits, mut fails) = (8, 1 << 19);
    assert_ne!(segments(fails), least, "{unit:?} cuts no sum of {fails} channels, with a limit of rounds");
    while fails - fits > 1 {
        let middle = fits.midpoint(fails);
        if segments(middle) == least { fits = middle } else { fails = middle }
    }
    with_channels(shape, fits)
}

#[test]
fn the_longest_parts_are_whole() {
    let Some(gpu) = gpu::open() else { return };
    if gpu.engine().capabilities().max_loop_rounds == u64::MAX {
        println!("this driver has no limit of rounds that kernels could exceed");
        return;
    }
    let runner = Runner::new(gpu.engine());
    let special = ["m64n64k8", "split-m32n32k16"];
    for shape in ["n1cCh1w2o3k1", "n1cCh3w4o3k3p1"] {
        let (mut units, _) = runner.units(&with_channels(shape, 8));
        units.retain(|unit| unit.is_generic() || special.contains(&unit.variant));
        assert!(units.len() >= 10, "{units:?}");
        for unit in &units {
            let problem = longest_in_one_part(&runner, shape, unit);
            let data = ProblemData::generate(&problem, DataKind::Integers, 1).unwrap();
            let mut references = data.references(&problem).unwrap();
            let outcome = runner.run(&problem, &data, unit, Placement::numbered(5)).unwrap();
            let result = judge(&problem, references.of(unit.rounding().unwrap()).unwrap(), &outcome);
            assert!(result.passed, "{problem} on {unit:?}: {}", result.message);
        }
    }
}

//! The packing itself: a weight as it came goes through `shaders/pack.wgsl`, one dispatch for each part.

use std::ops::Range;

use super::{KOrder, Packing};
use crate::engine::Engine;
use crate::error::Result;
use crate::lowered::Lowered;
use crate::problem::Problem;

/// Bytes of what the weights of each output channel add up to, of integers.
pub(crate) fn sums_of_weights(passes: &[Lowered]) -> Option<u64> {
    passes.iter().find(|pass| pass.quads.is_some()).map(|pass| 4 * u64::from(pass.all_channels))
}

/// The passes that have a part of the packed weight of their own, and the first vector of it.
pub(crate) fn own_parts(packing: Packing, passes: &[Lowered]) -> Vec<(&Lowered, u64)> {
    let mut packed = 0;
    let parts = passes.iter().zip(packing.offsets(passes));
    let own = parts.filter(|(pass, first)| {
        let end = first + packing.vectors(pass);
        let own = end > packed;
        packed = packed.max(end);
        own
    });
    own.collect()
}

/// Bytes from the parameters of one pass to those of the next.
pub(crate) fn pack_stride(engine: &Engine) -> usize {
    let alignment = engine.capabilities().limits.min_uniform_buffer_offset_alignment.max(1) as usize;
    size_of::<Pack>().next_multiple_of(alignment)
}

/// Same fields as `Pack` in `shaders/pack_params.wgsl`.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Pack {
    groups: u32,
    group_out: u32,
    channels: u32,
    kernel: [u32; 3],
    first: u32,
    group_step: u32,
    output_step: u32,
    input_step: u32,
    tap_steps: [i32; 3],
    first_vector: u32,
    vectors: u32,
    grid_width: u32,
    channel_block: u32,
    rows: u32,
    single_channels: u32,
    single_step: u32,
    first_channel: u32,
}

/// A dispatch of a packing program, and what it reads and writes, in bytes.
struct Run {
    from: Range<u64>,
    to: Range<u64>,
    grid: [u32; 2],
}

fn part_of<'a>(buffer: &'a wgpu::Buffer, range: &Range<u64>) -> wgpu::BindingResource<'a> {
    let size = wgpu::BufferSize::new(range.end - range.start);
    wgpu::BindingResource::Buffer(wgpu::BufferBinding { buffer, offset: range.start, size })
}

/// Submits what `encoder` holds and the packing of `raw` behind it, pass by pass.
pub(crate) fn pack(
    engine: &Engine,
    mut encoder: wgpu::CommandEncoder,
    pipeline: &wgpu::ComputePipeline,
    problem: &Problem,
    packing: Packing,
    raw: &wgpu::Buffer,
) -> Result<(wgpu::Buffer, Option<wgpu::Buffer>)> {
    const THREADS: u64 = 64;
    let passes = &packing.passes(problem, engine.capabilities())?[..];
    let bytes = packing.bytes(passes);
    engine.check_buffer("the packed weight", bytes)?;
    let packed = engine.storage_buffer("wgpu-conv: packed weight", bytes, wgpu::BufferUsages::empty());
    // wgpu makes it zero; the packing adds to it.
    let weight_sums = sums_of_weights(passes)
        .map(|bytes| engine.storage_buffer("wgpu-conv: sums of weights", bytes, wgpu::BufferUsages::empty()));
    let stride = pack_stride(engine);
    let mut parameters = Vec::new();
    let mut runs: Vec<Run> = Vec::new();
    for (pass, first_vector) in own_parts(packing, passes) {
        let vectors = packing.vectors(pass);
        // One invocation for each vector, or for the vectors of all positions of a tile.
        let (positions, lines) = match &pass.winograd {
            None => (1, pass.lines),
            Some(transform) => (transform.tile().positions(), transform.lines),
        };
        let grid = engine.grid((vectors / u64::from(positions)).div_ceil(THREADS))?;
        let order = KOrder::of(pass);
        let place = &pass.weight;
        let element = problem.weight_dtype().size();
        let window = pass.weight_window();
        let from = engine.window_of("the weight", raw.size(), window.start * element..window.end * element)?;
        let vector = 4 * packing.element_size(pass);
        let to = engine.window_of(
            "the packed weight",
            packed.size(),
            first_vector * vector..(first_vector + vectors) * vector,
        )?;
        // The ranges are proved when a plan is made, and only a plan comes here: these all fit 32 bits.
        let pack = Pack {
            groups: pass.share.groups / positions,
            group_out: pass.share.group_out,
            channels: pass.group_in,
            kernel: lines.map(|line| line.kernel),
            first: (place.first - from.start / element) as u32,
            group_step: place.groups as u32,
            output_step: place.outputs as u32,
            input_step: place.inputs as u32,
            tap_steps: place.taps.map(|step| step as i32),
            first_vector: (first_vector - to.start / vector) as u32,
            vectors: vectors as u32,
            grid_width: grid[0],
            channel_block: order.block,
            rows: order.rows() as u32,
            single_channels: pass.quads.map_or(0, |quads| quads.channels),
            single_step: pass.quads.map_or(0, |quads| quads.step as u32),
            first_channel: pass.first_channel,
        };
        parameters.extend_from_slice(bytemuck::bytes_of(&pack));
        parameters.resize(stride * (runs.len() + 1), 0);
        runs.push(Run { from, to, grid });
    }
    if !runs.is_empty() {
        let uniform = engine.staged("wgpu-conv: packing parameters", &parameters, wgpu::BufferUsages::UNIFORM)?;
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
            label: Some("wgpu-conv: pack weights"),
            timestamp_writes: None,
        });
        pass.set_pipeline(pipeline);
        for (number, Run { from, to, grid }) in runs.into_iter().enumerate() {
            let uniform = wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                buffer: &uniform,
                offset: (number * stride) as u64,
                size: wgpu::BufferSize::new(size_of::<Pack>() as u64),
            });
            let bind_group = engine.device().create_bind_group(&wgpu::BindGroupDescriptor {
                label: Some("wgpu-conv: pack weights"),
                layout: &pipeline.get_bind_group_layout(0),
                entries: &[(0, uniform), (1, part_of(raw, &from)), (2, part_of(&packed, &to))]
                    .into_iter()
                    .chain(weight_sums.iter().map(|sums| (3, sums.as_entire_binding())))
                    .map(|(binding, resource)| wgpu::BindGroupEntry { binding, resource })
                    .collect::<Vec<_>>(),
            });
            pass.set_bind_group(0, &bind_group, &[]);
            pass.dispatch_workgroups(grid[0], grid[1], 1);
        }
    }
    engine.queue().submit([encoder.finish()]);
    Ok((packed, weight_sums))
}

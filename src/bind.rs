//! [`Bound`]: a plan with buffers, ready to record. Here the caller's buffers are checked and compared with each other.

use std::collections::HashMap;
use std::future::Future;
use std::ops::Range;

use crate::dtype::DType;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::gpu::{Pending, scoped};
use crate::kernels::{Access, Aliasing};
use crate::memory::Reservation;
use crate::params::{Block, Params, SampleParams};
use crate::plan::{Plan, Program, Role, Segment, View, Views, submissions};
use crate::tensors::{Needs, check_presence};
use crate::weights::{Packing, Weights};
use crate::workspace::Workspace;

/// The caller's buffers (usage STORAGE), as slices that start at any element of the problem's type. Of 16-bit elements a
/// whole word is bound, so the buffer itself reaches to a multiple of 4 bytes.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Buffers<'a> {
    /// (N, C_in, H, W).
    pub input: wgpu::BufferSlice<'a>,
    /// (N, C_out, OH, OW).
    pub output: wgpu::BufferSlice<'a>,
    /// (N, C_out, OH, OW); required exactly if the epilogue adds a residual.
    pub residual: Option<wgpu::BufferSlice<'a>>,
    /// (N, offset_groups · 2 · KH · KW, OH, OW); required exactly if the convolution is deformable.
    pub offset: Option<wgpu::BufferSlice<'a>>,
    /// (N, offset_groups · KH · KW, OH, OW); required exactly if the convolution has a mask.
    pub mask: Option<wgpu::BufferSlice<'a>>,
    /// A workspace to share with others, who say there what must not be done with it. Default: one of its own.
    pub workspace: Option<&'a Workspace>,
}

impl<'a> Buffers<'a> {
    /// Input and output.
    pub fn new(input: wgpu::BufferSlice<'a>, output: wgpu::BufferSlice<'a>) -> Self {
        Self { input, output, residual: None, offset: None, mask: None, workspace: None }
    }

    /// Sets the residual.
    #[must_use]
    pub fn residual(self, residual: wgpu::BufferSlice<'a>) -> Self {
        Self { residual: Some(residual), ..self }
    }

    /// Sets the offsets of a deformable convolution.
    #[must_use]
    pub fn offset(self, offset: wgpu::BufferSlice<'a>) -> Self {
        Self { offset: Some(offset), ..self }
    }

    /// Sets the mask of a deformable convolution.
    #[must_use]
    pub fn mask(self, mask: wgpu::BufferSlice<'a>) -> Self {
        Self { mask: Some(mask), ..self }
    }

    /// Sets the workspace.
    #[must_use]
    pub fn workspace(self, workspace: &'a Workspace) -> Self {
        Self { workspace: Some(workspace), ..self }
    }
}

/// A plan with its weights and buffers, ready to record any number of times. It owns what it needs: plan and weights may
/// be dropped.
#[derive(Debug, Clone)]
pub struct Bound {
    engine: Engine,
    /// `None` where there is nothing to compute.
    work: Option<BoundWork>,
}

#[derive(Debug, Clone)]
struct BoundWork {
    /// The convolution, what writes its input where that is prepared, and what adds up partial sums where there are any.
    steps: Vec<Step>,
    /// Bytes from one segment's parameters to the next.
    stride: u32,
    /// Segments that are submitted together.
    submissions: Vec<Range<u32>>,
    workspace: Workspace,
    #[expect(dead_code, reason = "what the bind groups hold counts as in use")]
    reservations: [Reservation; 3],
}

/// Segments that share a pipeline and a bind group.
#[derive(Debug, Clone)]
struct Step {
    pipeline: wgpu::ComputePipeline,
    bind_group: wgpu::BindGroup,
    segments: Vec<Segment>,
}

impl BoundWork {
    fn record(&self, pass: &mut wgpu::ComputePass<'_>, segments: Range<usize>) {
        let mut first = 0;
        for step in &self.steps {
            let own = segments.start.max(first)..segments.end.min(first + step.segments.len());
            if !own.is_empty() {
                pass.set_pipeline(&step.pipeline);
            }
            for index in own {
                let [x, y] = step.segments[index - first].grid;
                pass.set_bind_group(0, &step.bind_group, &[index as u32 * self.stride]);
                pass.dispatch_workgroups(x, y, 1);
            }
            first += step.segments.len();
        }
    }

    fn segments(&self) -> usize {
        self.steps.iter().map(|step| step.segments.len()).sum()
    }
}

impl Bound {
    /// Number of segments, as [`Plan::segments`].
    pub fn segments(&self) -> u32 {
        self.work.as_ref().map_or(0, |work| work.segments() as u32)
    }

    /// Records the convolution in a compute pass of its own. Allocates, submits and waits for nothing.
    pub fn record(&self, encoder: &mut wgpu::CommandEncoder) {
        if self.work.is_some() {
            self.record_in_pass(&mut begin_pass(encoder));
        }
    }

    /// Records the convolution into the caller's pass; sets the pipeline and bind group 0. Allocates, submits and waits for
    /// nothing.
    pub fn record_in_pass(&self, pass: &mut wgpu::ComputePass<'_>) {
        if let Some(work) = &self.work {
            work.record(pass, 0..work.segments());
        }
    }

    /// Records one segment into the caller's pass, for callers that submit some at a time: all of them, in order,
    /// since a later segment may continue the sums of an earlier one.
    ///
    /// # Errors
    /// [`Error::Segment`] if there is no such segment.
    pub fn record_segment(&self, index: u32, pass: &mut wgpu::ComputePass<'_>) -> Result<()> {
        match &self.work {
            Some(work) if (index as usize) < work.segments() => {
                work.record(pass, index as usize..index as usize + 1);
                Ok(())
            }
            _ => Err(Error::Segment { index, count: self.segments() }),
        }
    }

    /// Which segments may be submitted together: ranges of their numbers, in order, each of as many segments as keep below
    /// [`EngineOptions::max_segment_macs`](crate::EngineOptions::max_segment_macs). Most convolutions are one submission; each
    /// more costs the driver some ten microseconds.
    pub fn submissions(&self) -> impl ExactSizeIterator<Item = Range<u32>> + '_ {
        self.work.as_ref().map_or(&[][..], |work| &work.submissions).iter().cloned()
    }

    /// Submits the convolution as [`Bound::submissions`] says, without waiting for the GPU. Threads may do so at once: nobody else's
    /// segments on the same [`Workspace`] come between. (So wgpu must not call back into this from within a submission.)
    ///
    /// # Errors
    /// [`Error::Gpu`] or [`Error::DeviceLost`] from wgpu.
    pub fn submit(&self) -> impl Future<Output = Result<()>> + wgpu::WasmNotSend + use<> {
        let started = self.engine.lost().check().map(|()| self.start_submit());
        async move { started?.await }
    }

    fn start_submit(&self) -> Pending<()> {
        let submit = || {
            // Nobody else's segments come between on a workspace that is shared.
            let Some(work) = &self.work else { return };
            let _alone = work.workspace.submitting();
            for segments in &work.submissions {
                let mut encoder = self.engine.encoder("wgpu-conv: convolution");
                work.record(&mut begin_pass(&mut encoder), segments.start as usize..segments.end as usize);
                self.engine.queue().submit([encoder.finish()]);
            }
        };
        scoped(self.engine.device(), self.engine.lost(), "submitting a convolution", submit).1
    }

    /// [`Bound::submit`], then waits until the GPU is done with everything submitted so far.
    ///
    /// # Errors
    /// As [`Bound::submit`].
    #[cfg(not(target_family = "wasm"))]
    pub fn run_blocking(&self) -> Result<()> {
        pollster::block_on(self.submit())?;
        let (device, lost) = (self.engine.device(), self.engine.lost());
        crate::gpu::wait(device, lost)?;
        // Nobody reports a device that was lost while the work ran: this looks.
        pollster::block_on(scoped(device, lost, "waiting for the GPU", || ()).1)
    }

    pub(crate) fn start(plan: &Plan, weights: &Weights, buffers: &Buffers<'_>) -> Result<Pending<Self>> {
        let engine = plan.engine().clone();
        weights.check(&engine, plan.problem(), plan.packing())?;
        let tensors = Placed::check(plan, buffers)?;
        buffers.workspace.map_or(Ok(()), |workspace| workspace.check(plan))?;
        if plan.programs().is_empty() {
            return Ok(Box::pin(async { Ok(Self { engine, work: None }) }));
        }
        let sizes = plan.workspace_sizes();
        let prepared = sizes.prepared > 0;
        let stride = plan.parameter_stride();
        let parameters = engine.reserve("the parameters", u64::from(stride) * u64::from(plan.segments()))?;
        // Where nothing is cut, all programs have the same placement.
        let mut placements: Vec<(Views, Placement)> = Vec::new();
        let mut jobs: Vec<Job> = Vec::new();
        let mut pipelines = Vec::new();
        for program in plan.programs() {
            let mut known: Vec<(Aliasing, usize)> = Vec::new();
            let first_job = jobs.len();
            for segment in &program.segments {
                let views = plan.views(program, segment);
                let key = views.bound();
                let number = placements.iter().rposition(|(known, _)| *known == key);
                let number = match number {
                    Some(number) => number,
                    None => {
                        let placement = Placement::new(&engine, &tensors, &key, prepared, weights)?;
                        placements.push((key, placement));
                        placements.len() - 1
                    }
                };
                let placement = &placements[number].1;
                let aliasing = program.aliasing(placement.aliasing);
                let pipeline = match known.iter().find(|(known, _)| *known == aliasing) {
                    Some(&(_, index)) => index,
                    None => {
                        pipelines.push(plan.pipeline_with(program, aliasing)?);
                        known.push((aliasing, pipelines.len() - 1));
                        pipelines.len() - 1
                    }
                };
                let block = segment.apply(placement.offsets.apply(program, &views, plan.packing()));
                match jobs[first_job..].last_mut().filter(|job| (job.placement, job.pipeline) == (number, pipeline)) {
                    Some(job) => job.segments.push((*segment, block)),
                    None => jobs.push(Job {
                        role: program.role,
                        pipeline,
                        placement: number,
                        segments: vec![(*segment, block)],
                    }),
                }
            }
        }
        let shared = buffers.workspace.cloned();
        let [shared_weights, own_weights] = weights.reservations.clone();
        let reservations = [parameters, shared_weights, own_weights];
        // Buffers are cloned (they are handles), so that the future does not borrow from the caller.
        let tables: Vec<Table> = placements.iter().map(|(_, placement)| placement.table(weights)).collect();
        let stand_in = Binding::whole(&weights.channel_data);
        let weight_sums = weights.weight_sums.as_ref().map(Binding::whole);
        Ok(Box::pin(async move {
            let mut compiled = Vec::with_capacity(pipelines.len());
            for pipeline in pipelines {
                compiled.push(pipeline.await?);
            }
            let make = || {
                let scratch = shared.map_or_else(|| Workspace::new(&engine, sizes), Ok)?;
                let uniform = parameter_buffer(&engine, &parameter_bytes(&jobs, stride))?;
                let part = |buffer: Option<&wgpu::Buffer>, size| {
                    let part = |buffer: &wgpu::Buffer| Binding::part(&(buffer.clone(), 0..Engine::storage_size(size)));
                    buffer.filter(|_| size > 0).map(part)
                };
                let workspace = part(scratch.sums(), sizes.sums);
                let prepared = part(scratch.prepared(), sizes.prepared);
                let mut tables = Tables { tables, workspace, weight_sums, prepared, stand_in, made: HashMap::new() };
                let mut steps: Vec<Step> = Vec::new();
                let mut last = None;
                for Job { role, pipeline, placement, segments } in jobs {
                    let segments = segments.into_iter().map(|(segment, _)| segment);
                    let pipeline = &compiled[pipeline];
                    match steps.last_mut().filter(|step| step.pipeline == *pipeline && last == Some(placement)) {
                        Some(step) => step.segments.extend(segments),
                        None => {
                            let bind_group = tables.bind_group(&engine, role, placement, pipeline, &uniform);
                            steps.push(Step { pipeline: pipeline.clone(), bind_group, segments: segments.collect() });
                        }
                    }
                    last = Some(placement);
                }
                Ok((steps, scratch))
            };
            let (steps, pending) = scoped(engine.device(), engine.lost(), "binding buffers", make);
            pending.await?;
            let (steps, workspace) = steps?;
            let segments = steps.iter().flat_map(|step| &step.segments);
            let submissions = submissions(segments, engine.max_segment_macs());
            Ok(Self { engine, work: Some(BoundWork { steps, stride, submissions, workspace, reservations }) })
        }))
    }
}

/// Segments of a program that share a pipeline and a bind group, with their parameters.
struct Job {
    role: Role,
    /// Numbers of its pipeline and of its placement.
    pipeline: usize,
    placement: usize,
    segments: Vec<(Segment, Block)>,
}

/// The tensors of a placement, as programs bind them.
struct Table {
    /// Input, weight, bias and slopes, residual, output.
    bindings: [Binding; 5],
    /// What an input is prepared from.
    sources: [Binding; SOURCES],
    input_through_output: bool,
}

/// What the programs of a plan bind: one bind group for each role and placement.
struct Tables {
    tables: Vec<Table>,
    workspace: Option<Binding>,
    /// Of integers.
    weight_sums: Option<Binding>,
    /// What the convolution reads instead of the input.
    prepared: Option<Binding>,
    /// For what a program does not use.
    stand_in: Binding,
    made: HashMap<(Role, usize), wgpu::BindGroup>,
}

impl Tables {
    fn bind_group(
        &mut self,
        engine: &Engine,
        role: Role,
        placement: usize,
        pipeline: &wgpu::ComputePipeline,
        uniform: &Binding,
    ) -> wgpu::BindGroup {
        if let Some(made) = self.made.get(&(role, placement)) {
            return made.clone();
        }
        let table = &self.tables[placement];
        let [input, weight, channel_data, residual, output] = table.bindings.clone();
        let stand_in = self.stand_in.clone();
        let input = self.prepared.clone().unwrap_or(input);
        let bindings = match (role, self.workspace.clone()) {
            (Role::Prepare, _) => {
                let [first, second, third] = table.sources.clone();
                [first, second, third, stand_in, input]
            }
            // Where the input is too near the output for a binding of its own, it is read through the output's, which
            // this program does not need for anything else.
            (Role::ConvolvePartially, Some(workspace)) => {
                let input = if table.input_through_output { output } else { input };
                [input, weight, channel_data, stand_in, workspace]
            }
            (Role::Reduce, Some(workspace)) => [workspace, weight, channel_data, residual, output],
            (Role::Windows, Some(workspace)) => [input, weight, channel_data, stand_in, workspace],
            (Role::Requantize, Some(workspace)) => {
                let weight_sums = self.weight_sums.clone().unwrap_or(weight);
                [workspace, weight_sums, channel_data, stand_in, output]
            }
            _ => [input, weight, channel_data, residual, output],
        };
        let made = bind_group(engine, pipeline, uniform, &bindings);
        self.made.insert((role, placement), made.clone());
        made
    }
}

fn begin_pass(encoder: &mut wgpu::CommandEncoder) -> wgpu::ComputePass<'_> {
    encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
        label: Some("wgpu-conv: convolution"),
        timestamp_writes: None,
    })
}

/// The parameters of every segment, `stride` bytes apart.
fn parameter_bytes(jobs: &[Job], stride: u32) -> Vec<u8> {
    let count: usize = jobs.iter().map(|job| job.segments.len()).sum();
    let mut bytes = vec![0; count * stride as usize];
    let all = jobs.iter().flat_map(|job| &job.segments);
    for ((_, block), place) in all.zip(bytes.chunks_exact_mut(stride as usize)) {
        place[..block.bytes().len()].copy_from_slice(block.bytes());
    }
    bytes
}

/// A binding that owns its handle.
#[derive(Clone)]
struct Binding {
    buffer: wgpu::Buffer,
    offset: u64,
    size: Option<wgpu::BufferSize>,
}

impl Binding {
    fn whole(buffer: &wgpu::Buffer) -> Self {
        Self { buffer: buffer.clone(), offset: 0, size: None }
    }

    fn part((buffer, range): &Place) -> Self {
        let size = wgpu::BufferSize::new(range.end - range.start);
        Self { buffer: buffer.clone(), offset: range.start, size }
    }

    fn or_stand_in(place: &Option<Place>, stand_in: &Self) -> Self {
        place.as_ref().map_or_else(|| stand_in.clone(), Self::part)
    }
}

/// A uniform buffer, bound one segment's parameters at a time.
fn parameter_buffer(engine: &Engine, parameters: &[u8]) -> Result<Binding> {
    let buffer = engine.staged("wgpu-conv: parameters", parameters, wgpu::BufferUsages::UNIFORM)?;
    Ok(Binding { buffer, offset: 0, size: wgpu::BufferSize::new(Block::SIZE as u64) })
}

fn bind_group(
    engine: &Engine,
    pipeline: &wgpu::ComputePipeline,
    uniform: &Binding,
    bindings: &[Binding; 5],
) -> wgpu::BindGroup {
    let entries: Vec<_> = (0..)
        .zip(std::iter::once(uniform).chain(bindings))
        .map(|(binding, Binding { buffer, offset, size })| wgpu::BindGroupEntry {
            binding,
            resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding { buffer, offset: *offset, size: *size }),
        })
        .collect();
    engine.device().create_bind_group(&wgpu::BindGroupDescriptor {
        label: Some("wgpu-conv: convolution"),
        layout: &pipeline.get_bind_group_layout(0),
        entries: &entries,
    })
}

/// A tensor's place in a buffer, found large enough and aligned.
#[derive(Clone)]
pub(crate) struct Placed<'a> {
    pub name: &'static str,
    dtype: DType,
    pub buffer: &'a wgpu::Buffer,
    /// Where the tensor begins, and the bytes of it, or of a part of it.
    first: u64,
    bytes: Range<u64>,
}

/// The tensors of a bind.
struct PlacedTensors<'a> {
    input: Placed<'a>,
    output: Placed<'a>,
    residual: Option<Placed<'a>>,
    offset: Option<Placed<'a>>,
    mask: Option<Placed<'a>>,
}

impl<'a> Placed<'a> {
    pub fn new(name: &'static str, slice: wgpu::BufferSlice<'a>, elements: u64, dtype: DType) -> Result<Self> {
        let required = dtype.size() * elements;
        if slice.offset() % dtype.size() != 0 {
            return Err(Error::BufferAlignment { name, offset: slice.offset(), required: dtype.size() });
        }
        if slice.size() < required {
            return Err(Error::BufferTooSmall { name, required, actual: slice.size() });
        }
        // Bindings consist of whole words, so the last one has to be there.
        let end = (slice.offset() + required).next_multiple_of(4);
        if required > 0 && end > slice.buffer().size() {
            return Err(Error::BufferTooSmall { name, required: end, actual: slice.buffer().size() });
        }
        if required > 0 {
            check_usage(name, slice.buffer(), wgpu::BufferUsages::STORAGE)?;
        }
        let first = slice.offset();
        Ok(Self { name, dtype, buffer: slice.buffer(), first, bytes: first..first + required })
    }

    fn check(plan: &Plan, buffers: &Buffers<'a>) -> Result<PlacedTensors<'a>> {
        let problem = plan.problem();
        let needs = Needs::of(problem);
        for (name, needed, given) in [
            ("residual", needs.residual, buffers.residual),
            ("offset", needs.offset, buffers.offset),
            ("mask", needs.mask, buffers.mask),
        ] {
            check_presence(name, needed, given.is_some())?;
        }
        let (dtype, length) = (problem.output_dtype(), problem.output_len());
        let input = Self::new("input", buffers.input, problem.input_len(), problem.dtype())?;
        let output = Self::new("output", buffers.output, length, dtype)?;
        let optional =
            |name, slice: Option<_>, length| slice.map(|slice| Self::new(name, slice, length, dtype)).transpose();
        let residual = optional("residual", buffers.residual, length)?;
        let offset = optional("offset", buffers.offset, problem.offset_len())?;
        let mask = optional("mask", buffers.mask, problem.mask_len())?;
        let read = std::iter::once(&input).chain(&offset).chain(&mask).map(|tensor| (tensor, false));
        for (tensor, in_place) in read.chain(residual.iter().map(|tensor| (tensor, true))) {
            let same = in_place && tensor.bytes == output.bytes;
            if !same {
                tensor.check_apart(&output)?;
            }
        }
        Ok(PlacedTensors { input, output, residual, offset, mask })
    }

    /// What a program binds of it.
    fn within(&self, view: &View) -> Self {
        let start = self.bytes.start;
        let bytes = match &view.window {
            Some(window) if !self.bytes.is_empty() => {
                start + window.start * self.dtype.size()..start + window.end * self.dtype.size()
            }
            _ => self.bytes.clone(),
        };
        Self { bytes, ..self.clone() }
    }

    /// The whole tensor's first element, counted from the beginning of a binding of this part of it.
    fn first_of_whole(&self, binding: &Range<u64>) -> Result<i64> {
        let into_binding = i64::from(element_offset(self, binding)?);
        Ok(into_binding - ((self.bytes.start - self.first) / self.dtype.size()) as i64)
    }

    /// Whatever is read may not be where something is written.
    pub fn check_apart(&self, written: &Self) -> Result<()> {
        if self.buffer == written.buffer && overlap(&self.bytes, &written.bytes) {
            return Err(Error::Overlap {
                first: self.name,
                first_start: self.bytes.start,
                first_end: self.bytes.end,
                second: written.name,
                second_start: written.bytes.start,
                second_end: written.bytes.end,
            });
        }
        Ok(())
    }

    /// The bytes to bind: the start moved down to what the device can bind at, the end up to a whole word.
    pub fn bindable(&self, alignment: u64) -> Range<u64> {
        self.bytes.start - self.bytes.start % alignment..self.bytes.end.next_multiple_of(4)
    }
}

pub(crate) fn overlap(a: &Range<u64>, b: &Range<u64>) -> bool {
    !a.is_empty() && !b.is_empty() && a.start < b.end && b.start < a.end
}

/// Where the first elements of whole tensors are, counted from the beginning of their bindings; a binding of a window may begin
/// behind that.
#[derive(Clone, Copy, Default)]
struct Offsets {
    input: i64,
    output: i64,
    residual: i64,
    /// Of what an input is prepared from.
    sources: [i64; SOURCES],
    /// Of the packed weight, in bytes.
    weight: u64,
}

impl Offsets {
    /// The parameters of a program; in the workspace everything begins at its first element.
    fn apply(&self, program: &Program, views: &Views, packing: Packing) -> Block {
        // Modulo 2^32, as shaders count.
        let place = |offset: i64, view: &View| offset.wrapping_add(view.first as i64) as u32;
        let source = |index: usize| place(self.sources[index], &views.sources[index]);
        match program.params {
            Block::Convolution(params) => {
                let input = place(self.input, &views.input);
                let [output, residual] = [self.output, self.residual].map(|offset| place(offset, &views.output));
                let (input_offset, output_offset, residual_offset) = match program.role {
                    Role::Prepare => (source(0), 0, 0),
                    Role::Reduce | Role::Requantize => (0, output, residual),
                    // Behind the sums of products.
                    Role::Windows => (0, params.output_offset, 0),
                    Role::ConvolvePartially => (input, 0, 0),
                    Role::Convolve => (input, output, residual),
                };
                let vectors = views.weight.start - self.weight / views.vector;
                let unit = if packing == Packing::Oihw { 4 } else { 1 };
                let weight_offset = params.weight_offset + (unit * vectors) as u32;
                Block::Convolution(Params { input_offset, output_offset, residual_offset, weight_offset, ..params })
            }
            Block::Sample(params) => {
                let [input_first, offset_first, mask_first] = [0, 1, 2].map(source);
                Block::Sample(SampleParams { input_first, offset_first, mask_first, ..params })
            }
        }
    }
}

/// Most tensors that an input is prepared from.
const SOURCES: usize = 3;

/// A part of a buffer to bind.
type Place = (wgpu::Buffer, Range<u64>);

/// How each tensor is bound.
struct Placement {
    aliasing: Aliasing,
    offsets: Offsets,
    /// What the input is prepared from: the input itself, offsets, mask. They are only read, by a program that binds nothing else
    /// of the caller's, so that they need not be told apart.
    sources: [Option<Place>; SOURCES],
    input: Option<Place>,
    residual: Option<Place>,
    output: Place,
    weight: Place,
}

impl Placement {
    /// WebGPU knows one access per buffer and dispatch, and in browsers writable bindings of one buffer may not overlap.
    /// So a tensor in the output's buffer is bound read-write beside the output if the two bindings are disjoint, and
    /// else (neighbours within one alignment step, or the output itself) read through an output binding that spans both.
    fn new(
        engine: &Engine,
        tensors: &PlacedTensors<'_>,
        views: &Views,
        prepared: bool,
        weights: &Weights,
    ) -> Result<Self> {
        let alignment = u64::from(engine.capabilities().limits.min_storage_buffer_offset_alignment).max(1);
        let [of_input, of_offset, of_mask] = &views.sources;
        let input = &tensors.input.within(if prepared { of_input } else { &views.input });
        let output = &tensors.output.within(&views.output);
        let residual = &tensors.residual.as_ref().map(|tensor| tensor.within(&views.output));
        let offset = &tensors.offset.as_ref().map(|tensor| tensor.within(of_offset));
        let mask = &tensors.mask.as_ref().map(|tensor| tensor.within(of_mask));
        let not_empty = |tensor: &&Placed<'_>| !tensor.bytes.is_empty();
        // Kernels do not see an input that is prepared for them.
        let read = [Some(input).filter(|_| !prepared), residual.as_ref()].map(|tensor| tensor.filter(not_empty));
        let shares = read.map(|tensor| tensor.is_some_and(|tensor| tensor.buffer == output.buffer));
        let both_overlap = match read {
            [Some(a), Some(b)] => overlap(&a.bindable(alignment), &b.bindable(alignment)),
            _ => false,
        };
        let access = [0, 1].map(|index| match read[index] {
            Some(tensor) if shares[index] => {
                let crowded = overlap(&tensor.bindable(alignment), &output.bindable(alignment));
                if crowded || (both_overlap && shares == [true, true]) {
                    Access::ThroughOutput
                } else {
                    Access::SharedBuffer
                }
            }
            _ => Access::Separate,
        });
        // The output's binding spans all that is read through it.
        let through = [0, 1].into_iter().filter(|&index| access[index] == Access::ThroughOutput);
        let span = through.filter_map(|index| read[index]).fold(output.bindable(alignment), |span, tensor| {
            let range = tensor.bindable(alignment);
            span.start.min(range.start)..span.end.max(range.end)
        });
        let ranges = [0, 1].map(|index| {
            read[index].map(|tensor| match access[index] {
                Access::ThroughOutput => (tensor, span.clone()),
                _ => (tensor, tensor.bindable(alignment)),
            })
        });
        let mut first = [0, 0];
        for (index, range) in ranges.iter().enumerate() {
            if let Some((tensor, range)) = range {
                engine.check_binding(&format!("the binding of the {}", tensor.name), range.end - range.start)?;
                first[index] = tensor.first_of_whole(range)?;
            }
        }
        engine.check_binding("the binding of the output", span.end - span.start)?;
        let mut sources = [None, None, None];
        let mut first_of_sources = [0; SOURCES];
        let given = [Some(input).filter(|_| prepared), offset.as_ref(), mask.as_ref()];
        for (index, tensor) in given.into_iter().enumerate() {
            if let Some(tensor) = tensor.filter(not_empty) {
                let range = tensor.bindable(alignment);
                engine.check_binding(&format!("the binding of the {}", tensor.name), range.end - range.start)?;
                first_of_sources[index] = tensor.first_of_whole(&range)?;
                sources[index] = Some((tensor.buffer.clone(), range));
            }
        }
        let [own_input, own_residual] = [0, 1].map(|index| {
            let (tensor, range) = ranges[index].clone()?;
            (access[index] != Access::ThroughOutput).then(|| (tensor.buffer.clone(), range))
        });
        // Of a pass whose outputs no tap meets there is none, and no binding may be empty.
        let part = if views.weight.is_empty() { 0..1 } else { views.weight.clone() };
        let part = part.start * views.vector..part.end * views.vector;
        let weight = engine.window_of("the packed weight", weights.packed.size(), part)?;
        Ok(Self {
            aliasing: Aliasing { input: access[0], residual: access[1] },
            offsets: Offsets {
                input: first[0],
                output: output.first_of_whole(&span)?,
                residual: first[1],
                sources: first_of_sources,
                weight: weight.start,
            },
            sources,
            input: own_input,
            residual: own_residual,
            output: (output.buffer.clone(), span),
            weight: (weights.packed.clone(), weight),
        })
    }

    /// What programs bind. Where a tensor is absent, empty or read through the output, the shader never reads its binding, which
    /// may not be empty: the weight stands in.
    fn table(&self, weights: &Weights) -> Table {
        let weight = Binding::part(&self.weight);
        let channel_data = Binding::whole(&weights.channel_data);
        let or_stand_in = |place| Binding::or_stand_in(place, &weight);
        let [input, offset, mask] = &self.sources;
        let mask = match mask {
            Some(mask) => Binding::part(mask),
            // Integers have no mask; what they stand for is read in its place.
            None => channel_data.clone(),
        };
        Table {
            sources: [or_stand_in(input), or_stand_in(offset), mask],
            bindings: [
                or_stand_in(&self.input),
                weight.clone(),
                channel_data,
                or_stand_in(&self.residual),
                Binding::part(&self.output),
            ],
            input_through_output: self.aliasing.input == Access::ThroughOutput,
        }
    }
}

/// Where a tensor begins within its binding, in elements.
pub(crate) fn element_offset(tensor: &Placed<'_>, binding: &Range<u64>) -> Result<u32> {
    let elements = (tensor.bytes.start - binding.start) / tensor.dtype.size();
    // A shader adds this to an index below 2^31.
    if elements >= crate::ranges::INDEX_LIMIT {
        return Err(Error::TooLarge {
            what: "the distance between two tensors of one buffer",
            factors: format!("{elements} elements before the {}", tensor.name),
            limit: format!("{} elements", crate::ranges::INDEX_LIMIT),
        });
    }
    Ok(elements as u32)
}

/// A buffer needs this usage.
pub(crate) fn check_usage(name: &'static str, buffer: &wgpu::Buffer, required: wgpu::BufferUsages) -> Result<()> {
    if buffer.usage().contains(required) {
        return Ok(());
    }
    Err(Error::BufferUsage { name, required: usage_names(required), actual: usage_names(buffer.usage()) })
}

fn usage_names(usage: wgpu::BufferUsages) -> String {
    let names: Vec<&str> = usage.iter_names().map(|(name, _)| name).collect();
    if names.is_empty() { "none".into() } else { names.join(" | ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::WeightData;
    use Access::{Separate, SharedBuffer, ThroughOutput};

    /// Input, residual and output of 100 bytes each; `None` for the start means a buffer of its own.
    fn place(input: Option<u64>, residual: Option<u64>, output: u64) -> Placement {
        let (device, queue) = wgpu::Device::noop(&wgpu::DeviceDescriptor::default());
        let engine = Engine::new(&device, &queue);
        let buffer = || engine.buffer_zeroed("test", 2000).unwrap();
        let (shared, own_input, own_residual) = (buffer(), buffer(), buffer());
        let placed = |name, start: Option<u64>, own| Placed {
            dtype: DType::F32,
            name,
            buffer: if start.is_some() { &shared } else { own },
            first: start.unwrap_or(0),
            bytes: start.unwrap_or(0)..start.unwrap_or(0) + 100,
        };
        let tensors = PlacedTensors {
            input: placed("input", input, &own_input),
            output: placed("output", Some(output), &shared),
            residual: Some(placed("residual", residual, &own_residual)),
            offset: None,
            mask: None,
        };
        let plan = engine.plan_blocking(&"c1h5w5o1k1:nobias".parse().unwrap(), &Default::default()).unwrap();
        let weights = plan.weights_blocking(&WeightData::new(&[1.0][..])).unwrap();
        let all = View { first: 0, window: None };
        let views =
            Views { input: all.clone(), output: all.clone(), sources: Default::default(), weight: 0..1, vector: 16 };
        Placement::new(&engine, &tensors, &views, false, &weights).unwrap()
    }

    #[test]
    fn writable_bindings_of_one_buffer_never_overlap() {
        // Bindings start at multiples of 256 bytes.
        for (input, residual, output, expected) in [
            (None, None, 4, [Separate, Separate]),
            (Some(512), None, 4, [SharedBuffer, Separate]),
            (Some(252), None, 4, [ThroughOutput, Separate]),
            (None, Some(4), 4, [Separate, ThroughOutput]),
            (Some(512), Some(4), 4, [SharedBuffer, ThroughOutput]),
            (Some(512), Some(1024), 4, [SharedBuffer, SharedBuffer]),
            (Some(512), Some(612), 4, [ThroughOutput, ThroughOutput]),
            (Some(512), Some(512), 4, [ThroughOutput, ThroughOutput]),
            (Some(104), Some(1024), 4, [ThroughOutput, SharedBuffer]),
            (Some(1024), Some(104), 204, [SharedBuffer, ThroughOutput]),
            (Some(4), Some(104), 204, [ThroughOutput, ThroughOutput]),
        ] {
            let name = format!("{input:?} {residual:?} {output}");
            let placement = place(input, residual, output);
            let Aliasing { input: of_input, residual: of_residual } = placement.aliasing;
            assert_eq!([of_input, of_residual], expected, "{name}");
            let writable = [(of_input, &placement.input), (of_residual, &placement.residual)]
                .into_iter()
                .filter(|(access, _)| *access == SharedBuffer)
                .map(|(_, place)| place.as_ref().unwrap().1.clone())
                .chain([placement.output.1.clone()]);
            let mut ranges: Vec<Range<u64>> = writable.collect();
            ranges.sort_by_key(|range| range.start);
            assert!(ranges.windows(2).all(|pair| pair[0].end <= pair[1].start), "{name}: {ranges:?}");
            assert!(ranges.iter().all(|range| range.start % 256 == 0), "{name}: {ranges:?}");
        }
    }
}

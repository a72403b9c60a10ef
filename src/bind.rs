//! [`Bound`]: a plan with buffers, ready to record and to submit.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::future::Future;
use std::ops::Range;

use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::gpu::{Pending, scoped};
use crate::kernels::{Access, Aliasing};
use crate::memory::Reservation;
use crate::params::Block;
use crate::placement::{Place, Placed, Placement, SOURCES};
use crate::plan::{Plan, Role, Views};
use crate::segments::{Segment, submissions};
use crate::weights::Weights;
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
        let mut placements: Vec<Placement> = Vec::new();
        let mut placement_of: HashMap<Views, usize> = HashMap::new();
        let mut pipelines = Vec::new();
        let mut pipeline_of: HashMap<(usize, Aliasing), usize> = HashMap::new();
        let mut jobs: Vec<Job> = Vec::new();
        for program in plan.programs() {
            let first_job = jobs.len();
            for segment in &program.segments {
                let views = plan.views(program, segment);
                let key = views.bound();
                let number = match placement_of.get(&key) {
                    Some(&number) => number,
                    None => {
                        placements.push(Placement::new(&engine, &tensors, &key, prepared, weights)?);
                        placement_of.insert(key, placements.len() - 1);
                        placements.len() - 1
                    }
                };
                let placement = &placements[number];
                let aliasing = program.aliasing(placement.aliasing);
                let pipeline = match pipeline_of.entry((program.shader, aliasing)) {
                    Entry::Occupied(known) => *known.get(),
                    Entry::Vacant(unknown) => {
                        pipelines.push(plan.pipeline_with(program, aliasing)?);
                        *unknown.insert(pipelines.len() - 1)
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
        let tables: Vec<Table> = placements.iter().map(|placement| Table::of(placement, weights)).collect();
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

impl Table {
    /// What programs bind. Where a tensor is absent, empty or read through the output, the shader never reads its binding, which
    /// may not be empty: the weight stands in.
    fn of(placement: &Placement, weights: &Weights) -> Self {
        let weight = Binding::part(&placement.weight);
        let channel_data = Binding::whole(&weights.channel_data);
        let or_stand_in = |place| Binding::or_stand_in(place, &weight);
        let [input, offset, mask] = &placement.sources;
        let mask = match mask {
            Some(mask) => Binding::part(mask),
            // Integers have no mask; what they stand for is read in its place.
            None => channel_data.clone(),
        };
        Self {
            sources: [or_stand_in(input), or_stand_in(offset), mask],
            bindings: [
                or_stand_in(&placement.input),
                weight.clone(),
                channel_data,
                or_stand_in(&placement.residual),
                Binding::part(&placement.output),
            ],
            input_through_output: placement.aliasing.input == Access::ThroughOutput,
        }
    }
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

//! [`Plan`]: a problem with its kernel, its pipeline and its segments.

use std::collections::HashSet;
use std::fmt::Write;
use std::future::Future;
use std::ops::Range;
use std::sync::Arc;

use crate::accuracy::Rounding;
use crate::bind::{Bound, Buffers};
use crate::drafts::{Drafts, Of};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::gpu::Pending;
use crate::kernels::{
    Access, Aliasing, Build, Checks, Choice, INTEGERS_WORKGROUP, Kernel, REDUCE_WORKGROUP, Storage,
    output_transform_source, reduce_source, requantize_params, requantize_source, requantize_workgroups, window_params,
    window_sums_source, windows,
};
use crate::lowered::Lowered;
use crate::memory::PlanMemory;
use crate::packing::Packing;
use crate::params::{Block, Params};
use crate::pipelines::Layout;
use crate::prepare::Prepare;
use crate::problem::Problem;
use crate::ranges;
use crate::segments::{MAX_SEGMENTS, Segment, segments};
use crate::select::{Candidate, Selection};
use crate::weights::{WeightData, WeightSizes, Weights};
use crate::workspace::Sizes;

/// A problem with the kernel that will run it. Cheap to clone.
///
/// From here: [`Plan::weights`] once per weight, [`Plan::bind`] once per set of buffers, then
/// [`Bound::record`] as often as needed.
#[derive(Debug, Clone)]
pub struct Plan {
    engine: Engine,
    problem: Problem,
    /// What the kernel runs: the passes that have outputs.
    passes: Arc<[Lowered]>,
    checks: Checks,
    choice: Choice,
    candidates: Vec<Candidate>,
    /// For each of them, the part of the packed weight that it reads, in vectors.
    parts: Arc<[Range<u64>]>,
    /// What there is to run, in this order; nothing for a problem without outputs.
    programs: Vec<Program>,
    /// Bytes for partial sums, and for inputs that programs write; passes use both one after the other.
    workspace: u64,
    prepared: u64,
}

/// A shader with its parameters.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    pub role: Role,
    /// Number of its pass in the plan.
    pub pass: usize,
    /// Number of the program that its shader was made for.
    pub shader: usize,
    pub pipeline: wgpu::ComputePipeline,
    /// Parameters without offsets, segment and grid.
    pub params: Block,
    pub segments: Vec<Segment>,
    pub build: Build,
}

/// A tensor of the caller's as a program sees it, in elements.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct View {
    /// The element that is the program's first one.
    pub first: u64,
    /// What it binds; `None` for all of it.
    pub window: Option<Range<u64>>,
}

/// What a program binds. Of an absent tensor it says nothing.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Views {
    pub input: View,
    pub output: View,
    /// What an input is prepared from.
    pub sources: [View; 3],
    /// The part of the packed weight, in vectors, and the bytes of one.
    pub weight: Range<u64>,
    pub vector: u64,
}

/// What a program reads and writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Role {
    /// From the caller's input, and what belongs to it, to the prepared input, which the convolution then reads.
    Prepare,
    /// From the input, prepared or not, to the output.
    Convolve,
    /// From the input, prepared or not, to the workspace: partial sums, which several workgroups share.
    ConvolvePartially,
    /// From the workspace to the output: adds them up, or makes outputs of Winograd's products.
    Reduce,
    /// From the prepared input to the workspace, behind the sums of products: sums of windows of 8-bit integers.
    Windows,
    /// From the workspace to the output: what becomes of integer sums.
    Requantize,
}

impl Views {
    /// What of them decides what is bound, and not only where a program begins in it.
    pub fn bound(&self) -> Self {
        let bound = |view: &View| View { first: 0, window: view.window.clone() };
        let windows = self.output.window.is_some();
        Self {
            input: bound(&self.input),
            output: bound(&self.output),
            sources: self.sources.each_ref().map(bound),
            weight: if windows { self.weight.clone() } else { 0..0 },
            ..*self
        }
    }
}

impl Program {
    /// How it may have to tell tensors apart, of what a placement says: partial sums go to the workspace, so that the output is
    /// bound by the addition alone.
    pub fn aliasing(&self, placed: Aliasing) -> Aliasing {
        match self.role {
            Role::Convolve => placed,
            Role::Reduce => Aliasing { input: Access::Separate, ..placed },
            _ => Aliasing::default(),
        }
    }
}

#[cfg(all(test, feature = "context"))]
impl Role {
    fn is_convolution(self) -> bool {
        matches!(self, Self::Convolve | Self::ConvolvePartially)
    }
}

impl Plan {
    pub(crate) fn start(
        engine: Engine,
        problem: Problem,
        checks: Checks,
        selection: Selection,
    ) -> Result<Pending<Self>> {
        let Selection { choice, candidates, .. } = selection;
        let refused = |refusal: String| Error::Refused {
            kernel: format!("{} {}", choice.kernel, choice.name()),
            problem: problem.to_string(),
            refusal,
        };
        let all = choice.passes(&problem, engine.capabilities()).map_err(refused)?;
        let packing = choice.packing();
        let part = |(pass, first): (Lowered, u64)| (pass, first..first.saturating_add(packing.vectors(&pass)));
        let offsets = packing.offsets(&all);
        let with_outputs = all.into_iter().zip(offsets).map(part).filter(|(pass, _)| pass.outputs() > 0);
        let (passes, parts_of_weight): (Vec<Lowered>, Vec<Range<u64>>) = with_outputs.unzip();
        let mut plan = Self {
            engine,
            problem,
            passes: passes.into(),
            parts: parts_of_weight.into(),
            checks,
            choice,
            candidates,
            programs: Vec::new(),
            workspace: 0,
            prepared: 0,
        };
        let mut drafts = Drafts::default();
        let mut segments_left = MAX_SEGMENTS;
        let mut prepared: Option<Prepare> = None;
        for (number, pass) in plan.passes.iter().enumerate() {
            ranges::prove(pass).map_err(refused)?;
            let tiling = choice.tiling(pass).map_err(refused)?;
            let wanted = tiling.tile_macs.div_ceil(plan.engine.max_segment_macs().max(1)).min(MAX_SEGMENTS);
            let parts = choice.parts(pass, checks, plan.engine.capabilities(), wanted).map_err(refused)?;
            let depth = choice.depth(pass, checks);
            let mut segments = segments(&plan.engine, &tiling, &parts, segments_left)?;
            for segment in &mut segments {
                // Workgroups that share sums have parts of their own of all channels.
                let all = 0..pass.group_in;
                let channels = if pass.cuts_sums() { depth.channels(&segment.part, pass.group_in) } else { all };
                segment.channels = [channels.start, channels.end];
            }
            segments_left -= segments.len() as u64;
            let split = parts.len() > 1;
            let storage = Storage::of(pass.dtype, plan.engine.capabilities().shader_f16);
            // A sum of several parts waits in the output, unless that would round it.
            let partial = choice.workspace_of(pass) > 0 || storage.needs_workspace(split);
            let integers = plan.problem.integers();
            let windows = integers.filter(|integers| integers.needs_windows()).map_or(0, |_| windows(pass));
            if partial {
                let sums = choice.workspace_of(pass).max(pass.outputs().saturating_mul(4));
                let bytes = sums.saturating_add(windows.saturating_mul(4));
                plan.engine.check_binding("the workspace", bytes).map_err(|error| refused(error.to_string()))?;
                plan.workspace = plan.workspace.max(bytes);
            }
            // Where the pass begins in its part of the weight, which is below the limit of a binding, or the kernel had refused.
            let weight_offset = packing.first_of_share(pass) as u32;
            let params = |partial| Params::new(pass, &tiling, weight_offset, partial);
            let build = Build { split, partial, storage, ..Build::of(plan.engine.capabilities()) };
            let of = Of { number, pass, build };
            let whole = |workgroups| Segment::whole(&plan.engine, workgroups).map(|segment| vec![segment]);
            // What the pass before has prepared is still there.
            let new = pass.prepare.as_ref().filter(|prepare| prepare.bytes() > 0 && prepared.as_ref() != Some(prepare));
            prepared = pass.prepare;
            if let Some(prepare) = new {
                let bytes = prepare.bytes();
                plan.engine.check_binding(prepare.name(), bytes).map_err(|error| refused(error.to_string()))?;
                plan.prepared = plan.prepared.max(bytes);
                let segments = whole(prepare.workgroups())?;
                let plain = Of { build: Build::default(), ..of };
                drafts.add(Role::Prepare, plain, prepare.params(), segments, || plan.prepare_pipeline(prepare))?;
            }
            let role = if partial { Role::ConvolvePartially } else { Role::Convolve };
            let block = Block::Convolution(params(partial));
            drafts.add(role, of, block, segments, || plan.pipeline(number, &build))?;
            if let Some(integers) = integers {
                if windows > 0 {
                    let block = Block::Convolution(window_params(pass, params(false)));
                    let segments = whole(windows.div_ceil(INTEGERS_WORKGROUP))?;
                    drafts.add(Role::Windows, of, block, segments, || {
                        Ok(plan.integer_pipeline(window_sums_source()?, "wgpu-conv: sums of windows"))
                    })?;
                }
                let block = Block::Convolution(requantize_params(&plan.problem, pass, params(false)));
                let segments = whole(requantize_workgroups(pass, integers))?;
                drafts.add(Role::Requantize, of, block, segments, || {
                    let source = requantize_source(&plan.problem, integers)?;
                    Ok(plan.integer_pipeline(source, "wgpu-conv: requantize"))
                })?;
            } else if let Some(transform) = &pass.winograd {
                let convolution = transform.convolution(pass);
                let block = Block::Convolution(transform.params(Params::new(&convolution, &tiling, 0, false)));
                let segments = whole(transform.workgroups(pass))?;
                drafts.add(Role::Reduce, of, block, segments, || plan.reduce_pipeline(number, Access::Separate))?;
            } else if partial {
                let segments = whole(pass.outputs().div_ceil(REDUCE_WORKGROUP))?;
                // Whatever a kernel counts as its pixels, these are outputs.
                let block = Block::Convolution(Params { pixels: pass.pixels() as u32, ..params(false) });
                drafts.add(Role::Reduce, of, block, segments, || plan.reduce_pipeline(number, Access::Separate))?;
            }
        }
        Ok(Box::pin(async move {
            plan.programs = drafts.finish().await?;
            Ok(plan)
        }))
    }

    /// The problem.
    pub fn problem(&self) -> &Problem {
        &self.problem
    }

    /// The kernel chosen.
    pub fn kernel(&self) -> Kernel {
        self.choice.kernel
    }

    /// The variant chosen.
    pub fn variant(&self) -> &'static str {
        self.choice.name()
    }

    /// How it arrives at its results, for the error bound of [`reference::convolve_as`].
    ///
    /// [`reference::convolve_as`]: crate::reference::convolve_as
    pub fn rounding(&self) -> Rounding {
        self.choice.rounding()
    }

    /// Whether its shaders are checked.
    pub fn checks(&self) -> Checks {
        self.checks
    }

    /// Every kernel variant with its estimated cost or its refusal: the tuned choice if there is one, then by cost.
    pub fn candidates(&self) -> &[Candidate] {
        &self.candidates
    }

    /// The weight packing that the kernel reads.
    pub fn packing(&self) -> Packing {
        self.choice.packing()
    }

    /// Bytes of workspace that the plan needs beside the caller's buffers: for partial sums, where several workgroups share
    /// one, or sums of 16-bit tensors have several parts or the device's shaders no 16-bit floats; for the samples of a
    /// deformable convolution; and for input and sums of a convolution of integers. Every [`Bound`] has one of its own
    /// unless it is given a [`Workspace`](crate::Workspace). 0 for most variants of other convolutions.
    pub fn workspace_size(&self) -> u64 {
        self.workspace + self.prepared
    }

    /// Its parts; without prepared inputs kernels read the caller's.
    pub(crate) fn workspace_sizes(&self) -> Sizes {
        Sizes { sums: self.workspace, prepared: self.prepared }
    }

    /// What a program binds of the caller's tensors and of the weight, and where its own begins in them, for one of its segments.
    pub(crate) fn views(&self, program: &Program, segment: &Segment) -> Views {
        let pass = &self.passes[program.pass];
        let windowed = pass.windows.is_some();
        let written = match &pass.winograd {
            Some(transform) => transform.convolution(pass),
            None => *pass,
        };
        let view = |window: Range<u64>| View { first: window.start, window: windowed.then_some(window) };
        let input = match pass.prepare {
            // Of what is prepared, which is bound whole.
            Some(_) => View { first: pass.first_input, window: None },
            None => {
                let [begin, end] = segment.channels;
                View { first: pass.first_input, ..view(pass.input_window(begin..end)) }
            }
        };
        Views {
            input,
            output: view(written.output_window()),
            sources: pass.prepare.as_ref().map_or_else(Default::default, |prepare| prepare.windows().map(view)),
            weight: self.parts[program.pass].clone(),
            vector: 4 * self.packing().element_size(pass),
        }
    }

    /// All GPU memory that the engine takes for the plan, before it takes any: for its weights, and for each [`Bound`].
    ///
    /// # Errors
    /// [`Error::Internal`] only.
    pub fn memory(&self) -> Result<PlanMemory> {
        let weights = WeightSizes::of(&self.engine, &self.problem, self.packing())?;
        Ok(PlanMemory {
            workspace: self.workspace_sizes().bytes(),
            parameters: u64::from(self.parameter_stride()) * u64::from(self.segments()),
            weights: weights.kept(false),
            raw_weight: weights.raw,
            upload: weights.passing(false, weights.staged()),
        })
    }

    /// Bytes from the parameters of one segment to those of the next.
    pub(crate) fn parameter_stride(&self) -> u32 {
        let alignment = self.engine.capabilities().limits.min_uniform_buffer_offset_alignment.max(1);
        (Block::SIZE as u32).next_multiple_of(alignment)
    }

    /// Number of segments. A plan whose work exceeds the bound of [`EngineOptions::max_segment_macs`] is divided, so that
    /// each part can be submitted on its own: operating systems reset a GPU whose submission takes seconds
    /// ([`Bound::submissions`](crate::Bound::submissions) says which parts may go together). 0 if there are no outputs.
    ///
    /// [`EngineOptions::max_segment_macs`]: crate::EngineOptions::max_segment_macs
    pub fn segments(&self) -> u32 {
        self.programs.iter().map(|program| program.segments.len() as u32).sum()
    }

    /// What was chosen and why, in a few lines for a person; also how much workspace it takes, and how it is split where tensors
    /// are larger than what can be bound at once.
    pub fn explain(&self) -> String {
        let mut text = format!("{} {} ({})", self.kernel(), self.variant(), self.checks);
        if self.workspace_size() > 0 {
            let _ = write!(text, "\n  {} bytes of workspace", self.workspace_size());
        }
        if let Some(split) = self.explain_split() {
            let _ = write!(text, "\n  {split}");
        }
        for candidate in &self.candidates {
            let _ = write!(text, "\n  {} {}: ", candidate.kernel, candidate.variant);
            let _ = match (candidate.tuned_ms, &candidate.verdict) {
                (Some(ms), _) => write!(text, "tuned: measured {ms:.4} ms"),
                (None, Ok(cost)) => write!(text, "estimated cost {cost:.3e}"),
                (None, Err(refusal)) => write!(text, "no, {refusal}"),
            };
        }
        text
    }

    /// How it is split, if it is.
    fn explain_split(&self) -> Option<String> {
        let binding = self.engine.capabilities().limits.max_storage_buffer_binding_size;
        self.passes.iter().find(|pass| pass.windows.is_some())?;
        let (mut inputs, mut outputs, mut weights) = (HashSet::new(), HashSet::new(), HashSet::new());
        let mut parts = 1;
        for program in &self.programs {
            let mut channels = HashSet::new();
            for segment in &program.segments {
                let Views { input, output, sources: [source, ..], weight, .. } = self.views(program, segment);
                match program.role {
                    Role::Prepare => drop(inputs.insert(source.window)),
                    Role::Convolve | Role::ConvolvePartially => {
                        outputs.insert(output.window);
                        weights.insert(weight);
                        channels.insert(input.window.clone());
                        inputs.extend(input.window.map(Some));
                    }
                    _ => {}
                }
            }
            parts = parts.max(channels.len());
        }
        let mut text = format!(
            "split, since {binding} bytes can be bound at once: passes: {}; windows: {} of the input, {} of the output, {} of the weight",
            self.passes.len(),
            inputs.len(),
            outputs.len(),
            weights.len()
        );
        if parts > 1 {
            let _ = write!(text, "; sums in {parts} parts, each of a few input channels");
        }
        Some(text)
    }

    /// Uploads a weight (with bias and slopes, as the problem needs) and packs it on the GPU. Submits.
    ///
    /// # Errors
    /// [`Error::Length`], [`Error::Missing`], [`Error::Unexpected`], [`Error::BufferTooSmall`],
    /// [`Error::BufferAlignment`], [`Error::BufferUsage`], [`Error::Limit`], [`Error::MemoryLimit`], or wgpu's.
    pub fn weights(&self, data: &WeightData<'_>) -> impl Future<Output = Result<Weights>> + wgpu::WasmNotSend + use<> {
        let started = self
            .engine
            .lost()
            .check()
            .and_then(|()| Weights::create(&self.engine, &self.problem, self.packing(), data));
        async move { started?.await }
    }

    /// Packs weights that were made with [`WeightData::keep_raw`] for this plan's kernel, without an upload. Submits.
    ///
    /// # Errors
    /// [`Error::Missing`] if they do not carry the raw weight, and as [`Plan::weights`].
    pub fn repack(&self, weights: &Weights) -> impl Future<Output = Result<Weights>> + wgpu::WasmNotSend + use<> {
        let started = weights.repack(&self.engine, &self.problem, self.packing());
        async move { started?.await }
    }

    /// Checks the buffers and makes everything that recording needs.
    ///
    /// Slices may start at any element and may be longer than needed. Input, residual, offsets and mask may lie in the same
    /// buffer as the output if they do not overlap it; the residual may also be exactly the output, which is then updated in
    /// place. A tensor that comes within an alignment step of what can be bound at once, and for which only sums could be cut,
    /// has to start at a multiple of `min_storage_buffer_offset_alignment`; elsewhere it is [`Error::Limit`]. All buffers are of the engine's device; wgpu itself panics over one of another `wgpu::Instance`, which
    /// nobody can tell from outside. Submits nothing.
    ///
    /// # Errors
    /// [`Error::WeightsMismatch`], [`Error::Packing`], [`Error::ForeignEngine`], [`Error::Missing`],
    /// [`Error::Unexpected`], [`Error::BufferTooSmall`], [`Error::BufferAlignment`], [`Error::BufferUsage`],
    /// [`Error::Overlap`], [`Error::Limit`], [`Error::MemoryLimit`], or wgpu's.
    pub fn bind(
        &self,
        weights: &Weights,
        buffers: &Buffers<'_>,
    ) -> impl Future<Output = Result<Bound>> + wgpu::WasmNotSend + use<> {
        let started = self.engine.lost().check().and_then(|()| Bound::start(self, weights, buffers));
        async move { started?.await }
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    pub(crate) fn programs(&self) -> &[Program] {
        &self.programs
    }

    /// The pipeline of a program for this kind of access to what shares the output's buffer.
    pub(crate) fn pipeline_with(
        &self,
        program: &Program,
        aliasing: Aliasing,
    ) -> Result<Pending<wgpu::ComputePipeline>> {
        if aliasing == Aliasing::default() {
            let pipeline = program.pipeline.clone();
            return Ok(Box::pin(async { Ok(pipeline) }));
        }
        match program.role {
            Role::Reduce => self.reduce_pipeline(program.pass, aliasing.residual),
            _ => self.pipeline(program.pass, &Build { aliasing, ..program.build }),
        }
    }

    /// The pipeline that adds up partial sums of a pass, for this kind of access to the residual.
    fn reduce_pipeline(&self, pass: usize, residual: Access) -> Result<Pending<wgpu::ComputePipeline>> {
        let pass = &self.passes[pass];
        let shader_f16 = self.engine.capabilities().shader_f16;
        let source = match pass.winograd {
            Some(_) => output_transform_source(pass, residual, shader_f16)?,
            None => reduce_source(pass, residual, Storage::of(pass.dtype, shader_f16))?,
        };
        let layout = Layout::Convolution(Aliasing { input: Access::Separate, residual });
        Ok(self.engine.pipeline(source, self.checks, layout, "wgpu-conv: reduce"))
    }

    /// The pipeline of a program around a convolution of integers.
    fn integer_pipeline(&self, source: String, label: &'static str) -> Pending<wgpu::ComputePipeline> {
        self.engine.pipeline(source, self.checks, Layout::Convolution(Aliasing::default()), label)
    }

    /// The pipeline that writes what a pass reads. It reads the caller's tensors at bindings 1 to 3, none of which is in a buffer
    /// that it writes to, and writes to binding 5.
    fn prepare_pipeline(&self, prepare: &Prepare) -> Result<Pending<wgpu::ComputePipeline>> {
        let layout = Layout::Convolution(Aliasing::default());
        let source = prepare.source(self.engine.capabilities().shader_f16)?;
        Ok(self.engine.pipeline(source, self.checks, layout, prepare.label()))
    }

    /// The pipeline of a pass.
    fn pipeline(&self, pass: usize, build: &Build) -> Result<Pending<wgpu::ComputePipeline>> {
        let source = self.choice.source(&self.passes[pass], build)?;
        let label = match self.choice.kernel {
            Kernel::Direct => "wgpu-conv: direct",
            Kernel::Broadcast => "wgpu-conv: broadcast",
            Kernel::Tiled => "wgpu-conv: tiled",
            Kernel::Matrix => "wgpu-conv: matrix",
            Kernel::Winograd => "wgpu-conv: winograd",
        };
        Ok(self.engine.pipeline(source, self.checks, Layout::Convolution(build.aliasing), label))
    }
}

/// Damage for the tests of tuning, which must find it.
#[cfg(all(test, feature = "context"))]
impl Plan {
    /// Only the first step of every sum is added up.
    pub(crate) fn shorten_sums(&mut self) {
        for program in &mut self.programs {
            let depth = self.choice.depth(&self.passes[program.pass], self.checks);
            for segment in &mut program.segments {
                segment.part.end = depth.step.min(segment.part.end);
            }
        }
    }

    /// The last tile is left out.
    pub(crate) fn drop_last_tile(&mut self) {
        let convolution = self.programs.iter_mut().rfind(|program| program.role.is_convolution());
        if let Some(segment) = convolution.and_then(|program| program.segments.last_mut()) {
            segment.end -= 1;
        }
    }

    pub(crate) async fn replace_shader(&mut self, source: String) -> Result<()> {
        let layout = Layout::Convolution(Aliasing::default());
        let pipeline = self.engine.pipeline(source, self.checks, layout, "wgpu-conv: damaged").await?;
        for program in self.programs.iter_mut().filter(|program| program.role.is_convolution()) {
            program.pipeline = pipeline.clone();
        }
        Ok(())
    }
}

/// Blocking forms, for programs without an async runtime.
#[cfg(not(target_family = "wasm"))]
impl Plan {
    /// [`Plan::weights`], blocking.
    ///
    /// # Errors
    /// As [`Plan::weights`].
    pub fn weights_blocking(&self, data: &WeightData<'_>) -> Result<Weights> {
        pollster::block_on(self.weights(data))
    }

    /// [`Plan::repack`], blocking.
    ///
    /// # Errors
    /// As [`Plan::repack`].
    pub fn repack_blocking(&self, weights: &Weights) -> Result<Weights> {
        pollster::block_on(self.repack(weights))
    }

    /// [`Plan::bind`], blocking.
    ///
    /// # Errors
    /// As [`Plan::bind`].
    pub fn bind_blocking(&self, weights: &Weights, buffers: &Buffers<'_>) -> Result<Bound> {
        pollster::block_on(self.bind(weights, buffers))
    }
}

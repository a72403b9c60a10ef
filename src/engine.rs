//! [`Engine`]: convolution on a device that somebody else owns.

mod buffers;
mod options;

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, OnceLock};

use crate::bind::Buffers;
use crate::capabilities::{AdapterClass, Capabilities};
use crate::error::{Error, Result};
use crate::gpu::{Lost, lock};
use crate::matrix_units::MatrixUnits;
use crate::memory::{Memory, tensor_bytes};
use crate::pipelines::Pipelines;
use crate::plan::Plan;
use crate::problem::Problem;
use crate::select::{PlanOptions, Selection, select_for};
use crate::tensors::Tensors;
use crate::tuning_file::{DeviceKey, Learned, Tuning};
use crate::weights::{WeightData, Weights};
pub use options::EngineOptions;

/// Convolution on the caller's device. Cheap to clone; clones share everything.
///
/// An engine creates no device, sets no callback on the device, keeps no global state, and submits only where its
/// documentation says so: packing weights, reading back, and the `run` and one-call forms.
#[derive(Debug, Clone)]
pub struct Engine(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    device: wgpu::Device,
    queue: wgpu::Queue,
    capabilities: OnceLock<Capabilities>,
    options: EngineOptions,
    lost: Lost,
    memory: Memory,
    pipelines: Pipelines,
    learned: Mutex<HashMap<(String, &'static str), Learned>>,
}

impl Engine {
    /// An engine with default options on `device`, whose queue is `queue`.
    pub fn new(device: &wgpu::Device, queue: &wgpu::Queue) -> Self {
        Self::with_options(device, queue, EngineOptions::default())
    }

    /// An engine with these options.
    pub fn with_options(device: &wgpu::Device, queue: &wgpu::Queue, options: EngineOptions) -> Self {
        let engine = Self(Arc::new(Inner {
            device: device.clone(),
            queue: queue.clone(),
            capabilities: OnceLock::new(),
            memory: Memory::new(options.max_memory),
            options,
            lost: Lost::default(),
            pipelines: Pipelines::default(),
            learned: Mutex::default(),
        }));
        engine.add_tuning(&engine.0.options.tuning);
        engine
    }

    /// Takes over what `tuning` has for this device, beside what [`EngineOptions::tuning`] had, for plans made from now on
    /// (by all clones of this engine).
    pub fn add_tuning(&self, tuning: &Tuning) {
        let device = DeviceKey::of(self.device());
        let entries = tuning.for_device(&device).map(|(problem, checks, known)| ((problem.into(), checks), known));
        lock(&self.0.learned).extend(entries);
    }

    /// What tuning found for a problem on this device.
    fn learned(&self, problem: &Problem, options: &PlanOptions) -> Option<Learned> {
        let learned = lock(&self.0.learned);
        let checks = options.checks.unwrap_or(self.0.options.checks);
        // Most engines know nothing, and then no problem is written out.
        if learned.is_empty() { None } else { learned.get(&(problem.to_string(), checks.name())).copied() }
    }

    /// The device.
    pub fn device(&self) -> &wgpu::Device {
        &self.0.device
    }

    /// The queue.
    pub fn queue(&self) -> &wgpu::Queue {
        &self.0.queue
    }

    /// What the device can do. If the engine was told of matrix units, they are tested when this is first asked for.
    pub fn capabilities(&self) -> &Capabilities {
        self.tested_capabilities(|units| units.test(self.device(), self.queue(), self.lost()))
    }

    /// The same with this test of matrix units, if nobody asked before.
    pub(crate) fn tested_capabilities(
        &self,
        test: impl FnOnce(&MatrixUnits) -> std::result::Result<(), String>,
    ) -> &Capabilities {
        self.0.capabilities.get_or_init(|| {
            let Inner { device, options, .. } = &*self.0;
            let mut capabilities = Capabilities::of(device);
            capabilities.max_workspace = options.max_workspace.unwrap_or(capabilities.max_workspace);
            capabilities.max_workspace = capabilities.max_workspace.min(options.max_memory.unwrap_or(u64::MAX));
            capabilities.shader_f16 &= options.shader_f16.unwrap_or(true);
            let binding = &mut capabilities.limits.max_storage_buffer_binding_size;
            *binding = options.max_binding.unwrap_or(*binding).min(*binding);
            capabilities.matrix_units =
                MatrixUnits::of(device, &options.matrix_units).and_then(|units| test(&units).map(|()| units));
            capabilities
        })
    }

    /// The options that it was made with.
    pub fn options(&self) -> &EngineOptions {
        &self.0.options
    }

    /// Tells the engine that its device is lost: to be called from the app's device-lost callback (there is one per
    /// device, and it is the app's). From then on every call returns [`Error::DeviceLost`] with this reason. Without it
    /// the engine finds out by itself, at its next preparation or read-back.
    pub fn mark_device_lost(&self, reason: impl Into<String>) {
        self.0.lost.mark(reason);
    }

    /// Bytes of GPU memory that the engine's own buffers have at this moment; see [`EngineOptions::max_memory`]. What is
    /// dropped counts no longer, though the GPU keeps it until the work that uses it is done.
    pub fn memory_in_use(&self) -> u64 {
        self.memory().in_use()
    }

    pub(crate) fn memory(&self) -> &Memory {
        &self.0.memory
    }

    pub(crate) fn pipelines(&self) -> &Pipelines {
        &self.0.pipelines
    }

    pub(crate) fn pipeline_cache(&self) -> Option<&wgpu::PipelineCache> {
        self.0.options.pipeline_cache.as_ref()
    }

    /// Number of pipelines compiled so far and kept.
    pub fn pipeline_count(&self) -> usize {
        self.0.pipelines.count()
    }

    /// Forgets every compiled pipeline, for programs that meet ever new shapes. Plans and bound convolutions keep theirs; a new
    /// plan compiles again what it needs.
    pub fn forget_pipelines(&self) {
        self.pipelines().clear();
    }

    /// The data of [`EngineOptions::pipeline_cache`], to be stored and given back at the next start; `None` without a cache,
    /// or where the backend gives none.
    pub fn pipeline_cache_data(&self) -> Option<Vec<u8>> {
        self.pipeline_cache()?.get_data()
    }

    /// What [`Engine::plan`] would choose, tuning included, without compiling anything.
    ///
    /// # Errors
    /// As [`select`](crate::select).
    pub fn select(&self, problem: &Problem, options: &PlanOptions) -> Result<Selection> {
        let options = self.completed(options);
        select_for(problem, self.capabilities(), &options, None, self.learned(problem, &options))
    }

    /// Chooses a kernel for `problem` and compiles its pipeline (or finds it among those compiled before).
    ///
    /// The future is ready at once on native platforms; compiling happens before this returns.
    ///
    /// # Errors
    /// What [`select`](crate::select) says; [`Error::Gpu`], [`Error::OutOfMemory`] or [`Error::DeviceLost`] from wgpu.
    pub fn plan(
        &self,
        problem: &Problem,
        options: &PlanOptions,
    ) -> impl Future<Output = Result<Plan>> + wgpu::WasmNotSend + use<> {
        let selection = self.select(problem, options);
        self.start_plan(problem, &self.completed(options), selection)
    }

    /// As [`Engine::plan`], only among the kernels that read the packing that `weights` has: for a new input size without a
    /// new upload.
    ///
    /// # Errors
    /// As [`Engine::plan`], and [`Error::WeightsMismatch`] if the weights are of another convolution.
    pub fn plan_for(
        &self,
        weights: &Weights,
        problem: &Problem,
        options: &PlanOptions,
    ) -> impl Future<Output = Result<Plan>> + wgpu::WasmNotSend + use<> {
        let packing = weights.packing();
        let options = self.completed(options);
        let selection = weights.check(self, problem, packing).and_then(|()| {
            let learned = self.learned(problem, &options);
            select_for(problem, self.capabilities(), &options, Some(packing), learned)
        });
        self.start_plan(problem, &options, selection)
    }

    /// The options with the engine's own mode and accuracy where the caller left them open.
    fn completed(&self, options: &PlanOptions) -> PlanOptions {
        PlanOptions {
            checks: Some(options.checks.unwrap_or(self.0.options.checks)),
            accuracy: Some(options.accuracy.unwrap_or(self.0.options.accuracy)),
            ..options.clone()
        }
    }

    fn start_plan(
        &self,
        problem: &Problem,
        options: &PlanOptions,
        selection: Result<Selection>,
    ) -> impl Future<Output = Result<Plan>> + wgpu::WasmNotSend + use<> {
        let checks = options.checks.unwrap_or_default();
        let started = self
            .0
            .lost
            .check()
            .and(selection)
            .and_then(|selection| Plan::start(self.clone(), *problem, checks, selection));
        async move { started?.await }
    }

    /// Everything in one call: plans, uploads, runs, reads back. For scripts and first steps; a program that runs a
    /// convolution more than once keeps the plan, the weights and the buffers.
    ///
    /// Gives the output in the problem's layout. Numbers of other types than float32 are rounded on
    /// their way, 32-bit sums beyond 2^24 too: to have those, take the longer way and [`Engine::read_bytes`]. Natively it blocks until the GPU is done, in browsers it awaits.
    ///
    /// # Errors
    /// What [`Tensors::check`], [`Engine::plan`], [`Plan::weights`], [`Plan::bind`] and [`Engine::read`] say.
    pub async fn convolve(&self, problem: &Problem, tensors: &Tensors<'_>) -> Result<Vec<f32>> {
        tensors.check(problem)?;
        let plan = self.plan(problem, &PlanOptions::default()).await?;
        let weights = plan.weights(&WeightData::from(tensors)).await?;
        let (dtype, length) = (problem.output_dtype(), problem.output_len());
        let _reservation = self.reserve("the tensors of a convolution", tensor_bytes(problem))?;
        let input = self.buffer_from_as("wgpu-conv: input", tensors.input, problem.dtype())?;
        let optional =
            |label: &str, data: Option<&[f32]>| data.map(|data| self.buffer_from_as(label, data, dtype)).transpose();
        let residual = optional("wgpu-conv: residual", tensors.residual)?;
        let offset = optional("wgpu-conv: offset", tensors.offset)?;
        let mask = optional("wgpu-conv: mask", tensors.mask)?;
        let output = self.buffer_zeroed_as("wgpu-conv: output", length, dtype)?;
        let mut buffers = Buffers::new(input.slice(..), output.slice(..));
        buffers.residual = residual.as_ref().map(|buffer| buffer.slice(..));
        buffers.offset = offset.as_ref().map(|buffer| buffer.slice(..));
        buffers.mask = mask.as_ref().map(|buffer| buffer.slice(..));
        let bound = plan.bind(&weights, &buffers).await?;
        bound.submit().await?;
        let mut numbers = self.read_as(output.slice(..(dtype.size() * length).next_multiple_of(4)), dtype).await?;
        numbers.truncate(length as usize);
        Ok(numbers)
    }

    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    pub(crate) fn lost(&self) -> &Lost {
        &self.0.lost
    }

    pub(crate) fn encoder(&self, label: &str) -> wgpu::CommandEncoder {
        self.device().create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some(label) })
    }

    /// Most multiply-adds in a segment or submission: a fraction of a second on a slow device of the class, since operating
    /// systems reset a GPU whose submission takes seconds.
    pub(crate) fn max_segment_macs(&self) -> u64 {
        self.0.options.max_segment_macs.unwrap_or(match self.capabilities().class {
            AdapterClass::Discrete => 1 << 36,
            AdapterClass::Integrated => 1 << 33,
            AdapterClass::Software => 1 << 34,
        })
    }

    /// A grid of at least `count` workgroups, folded into rows where one row would exceed the device's limit.
    ///
    /// # Errors
    /// [`Error::Limit`] if that takes more rows than the limit, too.
    pub(crate) fn grid(&self, count: u64) -> Result<[u32; 2]> {
        let limit = u64::from(self.capabilities().limits.max_compute_workgroups_per_dimension).max(1);
        let rows = count.div_ceil(limit).max(1);
        if rows > limit {
            return Err(Error::Limit {
                what: format!("a grid of {count} workgroups"),
                limit: "max_compute_workgroups_per_dimension",
                required: rows,
                actual: limit,
            });
        }
        Ok([count.div_ceil(rows) as u32, rows as u32])
    }
}

/// Blocking forms, for programs without an async runtime.
#[cfg(not(target_family = "wasm"))]
impl Engine {
    /// [`Engine::plan`], blocking.
    ///
    /// # Errors
    /// As [`Engine::plan`].
    pub fn plan_blocking(&self, problem: &Problem, options: &PlanOptions) -> Result<Plan> {
        pollster::block_on(self.plan(problem, options))
    }

    /// [`Engine::plan_for`], blocking.
    ///
    /// # Errors
    /// As [`Engine::plan_for`].
    pub fn plan_for_blocking(&self, weights: &Weights, problem: &Problem, options: &PlanOptions) -> Result<Plan> {
        pollster::block_on(self.plan_for(weights, problem, options))
    }

    /// [`Engine::convolve`], blocking.
    ///
    /// # Errors
    /// As [`Engine::convolve`].
    pub fn convolve_blocking(&self, problem: &Problem, tensors: &Tensors<'_>) -> Result<Vec<f32>> {
        pollster::block_on(self.convolve(problem, tensors))
    }
}

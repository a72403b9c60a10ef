//! [`Engine`]: convolution on a device that somebody else owns.

use std::collections::HashMap;
use std::future::Future;
use std::ops::Range;
use std::sync::{Arc, Mutex, OnceLock};

use crate::accuracy::Accuracy;
use crate::bind::{Buffers, check_usage};
use crate::capabilities::{AdapterClass, Capabilities};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::gpu::{Lost, Pending, lock, map_and_copy, ready, scoped};
use crate::kernels::Checks;
use crate::matrix_units::MatrixUnits;
use crate::memory::{Memory, tensor_bytes};
use crate::pipelines::Pipelines;
use crate::plan::Plan;
use crate::problem::Problem;
use crate::select::{PlanOptions, Selection, select_for};
use crate::tensors::Tensors;
use crate::tuning_file::{DeviceKey, Learned, Tuning};
use crate::weights::{WeightData, Weights};

/// Settings of an engine.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct EngineOptions {
    /// Whether shaders run with wgpu's bounds checks. Default: trusted, without.
    pub checks: Checks,
    /// What kernels may do with the numbers. Default: Winograd's algorithm.
    pub accuracy: Accuracy,
    /// The adapter's matrix units, from `wgpu::Adapter::cooperative_matrix_properties`, for the kernel `matrix`. The device needs the
    /// features `EXPERIMENTAL_COOPERATIVE_MATRIX`, `SHADER_F16` and `SUBGROUP`. Before anything else the engine then multiplies known
    /// matrices (once, when its [`capabilities`](Engine::capabilities) are first needed; natively only: it submits that and waits); if a
    /// result is wrong the kernel is not used, and [`Capabilities::matrix_units`] says why. Default: none.
    pub matrix_units: Vec<wgpu::CooperativeMatrixProperties>,
    /// Most multiply-adds (tails included) in one segment of a plan, see [`Plan::segments`], and in one submission of several.
    /// Default: by the class of the adapter, so that one takes a fraction of a second.
    pub max_segment_macs: Option<u64>,
    /// Bytes of workspace that a plan may take in order to be fast; see [`Capabilities::max_workspace`]. Default: 256 MiB.
    pub max_workspace: Option<u64>,
    /// Most bytes of GPU memory that all buffers of the engine's own may have together at any time, a hard limit: weights,
    /// workspaces, parameters, what is on its way to the GPU or back, and the tensors of [`Engine::convolve`] and
    /// [`Engine::tune`]. What would exceed it is [`Error::MemoryLimit`], and takes nothing. Plans keep their workspace
    /// ([`max_workspace`](Self::max_workspace)) below it. The caller's own buffers do not count, nor do those that
    /// [`Engine::buffer_from`] and its like make for the caller. [`Plan::memory`] tells what a plan will take,
    /// [`Engine::memory_in_use`] what is in use. Default: none; the device's memory is the limit.
    pub max_memory: Option<u64>,
    /// Most bytes of a buffer that a plan binds at once, at most the device's `max_storage_buffer_binding_size`, which is the
    /// default. Tensors that are larger go through a plan piece by piece, and buffers of a plan's own (its workspace, and
    /// inputs that it prepares) are no larger than this each: for programs that have to do with little memory, and for
    /// drivers that do badly with large bindings. Pieces do not change results, but where so many input channels have to be
    /// cut that a sum is formed in parts.
    pub max_binding: Option<u64>,
    /// What was learned by tuning ([`Engine::tune`]); entries for other devices have no effect. Default: nothing.
    pub tuning: Tuning,
    /// Whether shaders use 16-bit floats where the device has `SHADER_F16`. Default true; without, they read and write them two
    /// at a time as 32-bit words, as on devices without the feature, with the same results.
    pub shader_f16: Option<bool>,
    /// Where compiled pipelines are kept for the next start of the program, on backends that have it (Vulkan). The caller
    /// makes it and stores its data:
    ///
    /// ```no_run
    /// # use wgpu_conv::{Engine, EngineOptions, wgpu};
    /// # fn example(device: &wgpu::Device, queue: &wgpu::Queue, stored: Option<Vec<u8>>) {
    /// let mut options = EngineOptions::default();
    /// if device.features().contains(wgpu::Features::PIPELINE_CACHE) {
    ///     // SAFETY: `stored` is nothing, or what `pipeline_cache_data` gave on an adapter with the same
    ///     // `wgpu::util::pipeline_cache_key`, from a file that only this program writes.
    ///     let cache = unsafe {
    ///         device.create_pipeline_cache(&wgpu::PipelineCacheDescriptor {
    ///             label: Some("convolutions"),
    ///             data: stored.as_deref(),
    ///             fallback: true,
    ///         })
    ///     };
    ///     options = options.pipeline_cache(cache);
    /// }
    /// let engine = Engine::with_options(device, queue, options);
    /// // … plan …, and before the program ends:
    /// let store: Option<Vec<u8>> = engine.pipeline_cache_data();
    /// # }
    /// ```
    ///
    /// Default: none. Many desktop drivers keep a cache of their own anyway.
    pub pipeline_cache: Option<wgpu::PipelineCache>,
}

impl EngineOptions {
    /// Sets [`checks`](Self::checks).
    #[must_use]
    pub fn checks(self, checks: Checks) -> Self {
        Self { checks, ..self }
    }

    /// Sets [`accuracy`](Self::accuracy).
    #[must_use]
    pub fn accuracy(self, accuracy: Accuracy) -> Self {
        Self { accuracy, ..self }
    }

    /// Sets [`matrix_units`](Self::matrix_units).
    #[must_use]
    pub fn matrix_units(self, properties: Vec<wgpu::CooperativeMatrixProperties>) -> Self {
        Self { matrix_units: properties, ..self }
    }

    /// Sets [`max_workspace`](Self::max_workspace).
    #[must_use]
    pub fn max_workspace(self, bytes: u64) -> Self {
        Self { max_workspace: Some(bytes), ..self }
    }

    /// Sets [`max_memory`](Self::max_memory).
    #[must_use]
    pub fn max_memory(self, bytes: u64) -> Self {
        Self { max_memory: Some(bytes), ..self }
    }

    /// Sets [`max_binding`](Self::max_binding).
    #[must_use]
    pub fn max_binding(self, bytes: u64) -> Self {
        Self { max_binding: Some(bytes), ..self }
    }

    /// Sets [`max_segment_macs`](Self::max_segment_macs).
    #[must_use]
    pub fn max_segment_macs(self, macs: u64) -> Self {
        Self { max_segment_macs: Some(macs), ..self }
    }

    /// Sets [`tuning`](Self::tuning).
    #[must_use]
    pub fn tuning(self, tuning: Tuning) -> Self {
        Self { tuning, ..self }
    }

    /// Sets [`shader_f16`](Self::shader_f16).
    #[must_use]
    pub fn shader_f16(self, shader_f16: bool) -> Self {
        Self { shader_f16: Some(shader_f16), ..self }
    }

    /// Sets [`pipeline_cache`](Self::pipeline_cache).
    #[must_use]
    pub fn pipeline_cache(self, cache: wgpu::PipelineCache) -> Self {
        Self { pipeline_cache: Some(cache), ..self }
    }
}

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

    /// A storage buffer that holds `data` (usages STORAGE, COPY_SRC and COPY_DST).
    ///
    /// # Errors
    /// [`Error::Limit`] if it exceeds the device's largest buffer; [`Error::OutOfMemory`], [`Error::Gpu`] or
    /// [`Error::DeviceLost`] from wgpu.
    pub fn buffer_from(&self, label: &str, data: &[f32]) -> Result<wgpu::Buffer> {
        self.buffer_from_as(label, data, DType::F32)
    }

    /// As [`Engine::buffer_from`], with elements of this type, each number rounded to the nearest.
    ///
    /// # Errors
    /// As [`Engine::buffer_from`].
    pub fn buffer_from_as(&self, label: &str, data: &[f32], dtype: DType) -> Result<wgpu::Buffer> {
        self.make_buffer(label, (data.len() as u64).saturating_mul(dtype.size()), Some(&dtype.encode(data)))
    }

    /// A storage buffer that begins with these bytes (usages STORAGE, COPY_SRC and COPY_DST): elements of any type as they lie in
    /// memory, little-endian.
    ///
    /// # Errors
    /// As [`Engine::buffer_from`].
    pub fn buffer_from_bytes(&self, label: &str, bytes: &[u8]) -> Result<wgpu::Buffer> {
        self.make_buffer(label, bytes.len() as u64, Some(bytes))
    }

    /// A storage buffer for so many 32-bit elements, all zero (usages STORAGE, COPY_SRC and COPY_DST).
    ///
    /// # Errors
    /// [`Error::Limit`] if it exceeds the device's largest buffer; [`Error::OutOfMemory`], [`Error::Gpu`] or
    /// [`Error::DeviceLost`] from wgpu.
    pub fn buffer_zeroed(&self, label: &str, elements: u64) -> Result<wgpu::Buffer> {
        self.buffer_zeroed_as(label, elements, DType::F32)
    }

    /// As [`Engine::buffer_zeroed`], for elements of this type.
    ///
    /// # Errors
    /// As [`Engine::buffer_zeroed`].
    pub fn buffer_zeroed_as(&self, label: &str, elements: u64, dtype: DType) -> Result<wgpu::Buffer> {
        self.make_buffer(label, elements.saturating_mul(dtype.size()), None)
    }

    /// A buffer that begins with `contents` and ends with a whole word; wgpu zeroes what nobody wrote.
    fn make_buffer(&self, label: &str, bytes: u64, contents: Option<&[u8]>) -> Result<wgpu::Buffer> {
        self.0.lost.check()?;
        let size = bytes.max(4).checked_next_multiple_of(4).unwrap_or(u64::MAX);
        self.check_buffer(label, size)?;
        let (buffer, pending) = scoped(self.device(), self.lost(), "making a buffer", || {
            let buffer = self.device().create_buffer(&wgpu::BufferDescriptor {
                label: Some(label),
                size,
                usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: contents.is_some(),
            });
            if let Some(bytes) = contents {
                // Without memory there is nothing to map, which the scopes report.
                if let Ok(mut view) = buffer.get_mapped_range_mut(..) {
                    view.slice(..bytes.len()).copy_from_slice(bytes);
                }
                buffer.unmap();
            }
            buffer
        });
        // In browsers an error shows where the buffer is used; natively it is known now.
        ready(pending).unwrap_or(Ok(()))?;
        Ok(buffer)
    }

    /// Copies a slice of a buffer (usage COPY_SRC, offset and size multiples of 4) to the host, after everything
    /// submitted so far. Submits; natively it blocks until the GPU is done, in browsers it awaits.
    ///
    /// # Errors
    /// [`Error::BufferUsage`], [`Error::BufferAlignment`] or [`Error::Parameter`] (the size) for the slice;
    /// [`Error::OutOfMemory`], [`Error::Gpu`] or [`Error::DeviceLost`] from wgpu.
    pub fn read(
        &self,
        slice: wgpu::BufferSlice<'_>,
    ) -> impl Future<Output = Result<Vec<f32>>> + wgpu::WasmNotSend + use<> {
        self.read_as(slice, DType::F32)
    }

    /// As [`Engine::read`], of elements of this type. A slice of shorter elements begins and ends with a whole word of its
    /// buffer too; leave what is too much away on the host.
    ///
    /// # Errors
    /// As [`Engine::read`].
    pub fn read_as(
        &self,
        slice: wgpu::BufferSlice<'_>,
        dtype: DType,
    ) -> impl Future<Output = Result<Vec<f32>>> + wgpu::WasmNotSend + use<> {
        let started = self.start_read(slice);
        async move { Ok(dtype.decode(&started?.await?)) }
    }

    /// As [`Engine::read`], the bytes as they lie in memory.
    ///
    /// # Errors
    /// As [`Engine::read`].
    pub fn read_bytes(
        &self,
        slice: wgpu::BufferSlice<'_>,
    ) -> impl Future<Output = Result<Vec<u8>>> + wgpu::WasmNotSend + use<> {
        let started = self.start_read(slice);
        async move { started?.await }
    }

    fn start_read(&self, slice: wgpu::BufferSlice<'_>) -> Result<Pending<Vec<u8>>> {
        self.0.lost.check()?;
        let (name, offset) = ("read-back", slice.offset());
        check_usage(name, slice.buffer(), wgpu::BufferUsages::COPY_SRC)?;
        if offset % 4 != 0 {
            return Err(Error::BufferAlignment { name, offset, required: 4 });
        }
        if slice.size() % 4 != 0 {
            return Err(Error::Parameter {
                parameter: "the size of the slice to read",
                actual: format!("{} bytes", slice.size()),
                required: "a multiple of 4 bytes, since elements are read".into(),
            });
        }
        if slice.size() == 0 {
            return Ok(Box::pin(async { Ok(Vec::new()) }));
        }
        let reservation = self.reserve("reading a buffer back", slice.size())?;
        let (target, pending) = scoped(self.device(), self.lost(), "copying a buffer for reading", || {
            let target = self.device().create_buffer(&wgpu::BufferDescriptor {
                label: Some("wgpu-conv: read back"),
                size: slice.size(),
                usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            });
            let mut encoder = self.encoder("wgpu-conv: read back");
            encoder.copy_buffer_to_buffer(slice.buffer(), slice.offset(), &target, 0, slice.size());
            self.queue().submit([encoder.finish()]);
            target
        });
        let (device, lost) = (self.device().clone(), self.lost().clone());
        Ok(Box::pin(async move {
            pending.await?;
            let bytes = map_and_copy(device, lost, target).await;
            drop(reservation);
            bytes
        }))
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

    /// Bytes of a storage buffer of the engine's own. Bindings may not be empty, so it never is.
    pub(crate) fn storage_size(size: u64) -> u64 {
        size.max(16)
    }

    /// A storage buffer of the engine's own, of so many bytes.
    pub(crate) fn storage_buffer(&self, label: &str, size: u64, usage: wgpu::BufferUsages) -> wgpu::Buffer {
        self.device().create_buffer(&wgpu::BufferDescriptor {
            label: Some(label),
            size: Self::storage_size(size),
            usage: usage | wgpu::BufferUsages::STORAGE,
            mapped_at_creation: false,
        })
    }

    /// A buffer that holds `bytes`.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] or [`Error::DeviceLost`] if its memory cannot be written.
    pub(crate) fn staged(&self, label: &'static str, bytes: &[u8], usage: wgpu::BufferUsages) -> Result<wgpu::Buffer> {
        let buffer = self.device().create_buffer(&wgpu::BufferDescriptor {
            label: Some(label),
            size: bytes.len() as u64,
            usage,
            mapped_at_creation: true,
        });
        match buffer.get_mapped_range_mut(..) {
            Ok(mut view) => view.copy_from_slice(bytes),
            Err(_) => {
                self.0.lost.check()?;
                return Err(Error::OutOfMemory { during: label });
            }
        }
        buffer.unmap();
        Ok(buffer)
    }

    /// # Errors
    /// [`Error::Limit`] if no buffer can have so many bytes.
    pub(crate) fn check_buffer(&self, what: &str, required: u64) -> Result<()> {
        let actual = self.capabilities().limits.max_buffer_size;
        if required > actual {
            return Err(Error::Limit { what: what.into(), limit: "max_buffer_size", required, actual });
        }
        Ok(())
    }

    /// What to bind of a buffer of `size` bytes for these: all of it where that can be bound at once, else from where the device
    /// can bind on.
    ///
    /// # Errors
    /// [`Error::Limit`] if they cannot be bound at once.
    pub(crate) fn window_of(&self, what: &str, size: u64, bytes: Range<u64>) -> Result<Range<u64>> {
        let limits = &self.capabilities().limits;
        if size <= limits.max_storage_buffer_binding_size {
            return Ok(0..size);
        }
        let alignment = u64::from(limits.min_storage_buffer_offset_alignment).max(1);
        let range = bytes.start - bytes.start % alignment..bytes.end.next_multiple_of(4);
        self.check_binding(what, range.end - range.start)?;
        Ok(range)
    }

    pub(crate) fn check_binding(&self, what: &str, required: u64) -> Result<()> {
        let actual = self.capabilities().limits.max_storage_buffer_binding_size;
        if required > actual {
            let limit = "max_storage_buffer_binding_size";
            return Err(Error::Limit { what: what.into(), limit, required, actual });
        }
        Ok(())
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

    /// [`Engine::read`], blocking.
    ///
    /// # Errors
    /// As [`Engine::read`].
    pub fn read_blocking(&self, slice: wgpu::BufferSlice<'_>) -> Result<Vec<f32>> {
        pollster::block_on(self.read(slice))
    }

    /// [`Engine::read_as`], blocking.
    ///
    /// # Errors
    /// As [`Engine::read`].
    pub fn read_as_blocking(&self, slice: wgpu::BufferSlice<'_>, dtype: DType) -> Result<Vec<f32>> {
        pollster::block_on(self.read_as(slice, dtype))
    }

    /// [`Engine::read_bytes`], blocking.
    ///
    /// # Errors
    /// As [`Engine::read`].
    pub fn read_bytes_blocking(&self, slice: wgpu::BufferSlice<'_>) -> Result<Vec<u8>> {
        pollster::block_on(self.read_bytes(slice))
    }

    /// [`Engine::convolve`], blocking.
    ///
    /// # Errors
    /// As [`Engine::convolve`].
    pub fn convolve_blocking(&self, problem: &Problem, tensors: &Tensors<'_>) -> Result<Vec<f32>> {
        pollster::block_on(self.convolve(problem, tensors))
    }
}

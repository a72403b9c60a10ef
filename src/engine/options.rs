//! [`EngineOptions`].

use crate::accuracy::Accuracy;
use crate::kernels::Checks;
use crate::tuning_file::Tuning;
#[cfg(doc)]
use crate::{Capabilities, Engine, Error, Plan};

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

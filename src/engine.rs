//! [`Engine`]: convolution on a device that somebody else owns.

use std::future::Future;

use crate::capabilities::Capabilities;
use crate::error::{Error, Result};
use crate::kernels::Checks;
use crate::plan::Plan;
use crate::problem::Problem;
use crate::select::PlanOptions;
use crate::tensors::Tensors;
use crate::weights::Weights;

fn stub<T>() -> Result<T> {
    Err(Error::Internal("stub".into()))
}

/// Settings of an engine.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct EngineOptions {
    /// Trusted (default) or checked shaders.
    pub checks: Checks,
    /// Most multiply-adds in one segment; `None`: by the class of the adapter.
    pub max_segment_macs: Option<u64>,
}

/// Convolution on the caller's device.
#[derive(Debug, Clone)]
pub struct Engine {
    device: wgpu::Device,
    queue: wgpu::Queue,
}

impl Engine {
    /// An engine with default options.
    pub fn new(device: &wgpu::Device, queue: &wgpu::Queue) -> Self {
        Self::with_options(device, queue, EngineOptions::default())
    }
    /// An engine.
    pub fn with_options(device: &wgpu::Device, queue: &wgpu::Queue, options: EngineOptions) -> Self {
        let _ = options;
        Self { device: device.clone(), queue: queue.clone() }
    }
    /// The device.
    pub fn device(&self) -> &wgpu::Device {
        &self.device
    }
    /// The queue.
    pub fn queue(&self) -> &wgpu::Queue {
        &self.queue
    }
    /// What the device can do.
    pub fn capabilities(&self) -> Capabilities {
        Capabilities::of(&self.device)
    }
    /// Plans.
    pub fn plan(
        &self,
        _problem: &Problem,
        _options: &PlanOptions,
    ) -> impl Future<Output = Result<Plan>> + Send + use<> {
        async { stub() }
    }
    /// Plans among the kernels that read the packing that `weights` has.
    pub fn plan_for(
        &self,
        _weights: &Weights,
        _problem: &Problem,
        _options: &PlanOptions,
    ) -> impl Future<Output = Result<Plan>> + Send + use<> {
        async { stub() }
    }
    /// [`Engine::plan`], blocking.
    pub fn plan_blocking(&self, problem: &Problem, options: &PlanOptions) -> Result<Plan> {
        pollster::block_on(self.plan(problem, options))
    }
    /// A storage buffer with these numbers (usages STORAGE, COPY_SRC, COPY_DST).
    pub fn buffer_from(&self, _label: &str, _data: &[f32]) -> Result<wgpu::Buffer> {
        stub()
    }
    /// An empty (zeroed) storage buffer of so many elements.
    pub fn buffer_empty(&self, _label: &str, _elements: u64) -> Result<wgpu::Buffer> {
        stub()
    }
    /// Reads a slice back.
    pub fn read_blocking(&self, _slice: wgpu::BufferSlice<'_>) -> Result<Vec<f32>> {
        stub()
    }
    /// Everything in one call.
    pub fn conv2d_blocking(&self, _problem: &Problem, _tensors: &Tensors<'_>) -> Result<Vec<f32>> {
        stub()
    }
}

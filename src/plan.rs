//! [`Plan`] and [`Bound`].

use crate::error::{Error, Result};
use crate::kernels::{Checks, Kernel};
use crate::problem::Problem;
use crate::select::Candidate;
use crate::weights::{Packing, WeightData, Weights};

fn stub<T>() -> Result<T> {
    Err(Error::Internal("stub".into()))
}

/// A problem with its kernel, variant and pipeline.
#[derive(Debug, Clone)]
pub struct Plan {
    problem: Problem,
}

impl Plan {
    /// The problem.
    pub fn problem(&self) -> &Problem {
        &self.problem
    }
    /// The kernel chosen.
    pub fn kernel(&self) -> Kernel {
        Kernel::Direct
    }
    /// The variant chosen.
    pub fn variant(&self) -> &'static str {
        ""
    }
    /// Whether its shaders are checked.
    pub fn checks(&self) -> Checks {
        Checks::Trusted
    }
    /// Every kernel variant with its cost or refusal, best first.
    pub fn candidates(&self) -> &[Candidate] {
        &[]
    }
    /// The weight packing that the kernel reads.
    pub fn packing(&self) -> Packing {
        Packing::Oihw
    }
    /// Bytes of workspace needed (0 for most kernels).
    pub fn workspace_size(&self) -> u64 {
        0
    }
    /// Number of segments.
    pub fn segments(&self) -> u32 {
        0
    }
    /// Uploads and packs weights.
    pub fn weights(&self, _data: &WeightData<'_>) -> impl Future<Output = Result<Weights>> + Send + use<> {
        async { stub() }
    }
    /// Blocking form.
    pub fn weights_blocking(&self, data: &WeightData<'_>) -> Result<Weights> {
        pollster::block_on(self.weights(data))
    }
    /// Binds buffers.
    pub fn bind(
        &self,
        _weights: &Weights,
        _buffers: &Buffers<'_>,
    ) -> impl Future<Output = Result<Bound>> + Send + use<> {
        async { stub() }
    }
    /// Blocking form.
    pub fn bind_blocking(&self, weights: &Weights, buffers: &Buffers<'_>) -> Result<Bound> {
        pollster::block_on(self.bind(weights, buffers))
    }
}

/// The caller's buffers, as slices at any element-aligned offset.
#[derive(Debug, Clone, Copy)]
pub struct Buffers<'a> {
    /// (N, C_in, H, W).
    pub input: wgpu::BufferSlice<'a>,
    /// (N, C_out, OH, OW).
    pub output: wgpu::BufferSlice<'a>,
    /// Same shape as the output.
    pub residual: Option<wgpu::BufferSlice<'a>>,
}

impl<'a> Buffers<'a> {
    /// Input and output.
    pub fn new(input: wgpu::BufferSlice<'a>, output: wgpu::BufferSlice<'a>) -> Self {
        Self { input, output, residual: None }
    }
    /// Sets the residual.
    #[must_use]
    pub fn residual(self, residual: wgpu::BufferSlice<'a>) -> Self {
        Self { residual: Some(residual), ..self }
    }
}

/// A plan with its buffers: ready to record any number of times.
#[derive(Debug)]
pub struct Bound {}

impl Bound {
    /// Records all segments in one compute pass.
    pub fn record(&self, _encoder: &mut wgpu::CommandEncoder) {}
    /// Records all segments into the caller's pass.
    pub fn record_in_pass(&self, _pass: &mut wgpu::ComputePass<'_>) {}
    /// Number of segments.
    pub fn segments(&self) -> u32 {
        0
    }
    /// Records one segment.
    pub fn record_segment(&self, _index: u32, _pass: &mut wgpu::ComputePass<'_>) -> Result<()> {
        stub()
    }
    /// Submits segment by segment, and waits until the GPU is done.
    pub fn run_blocking(&self) -> Result<()> {
        stub()
    }
}

//! Pipelines: each configuration is compiled once per engine, and shared.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::task::Poll;

use crate::engine::Engine;
use crate::gpu::{Pending, lock, poll_once, scoped};
use crate::kernels::{Access, Aliasing, Checks};
use crate::params::Block;
use crate::shader::unrolled;

/// The whole source, before loops are unrolled, is the key: what differs in nothing that reaches the compiler shares a
/// pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    source: String,
    checks: Checks,
}

/// Compiled pipelines.
#[derive(Debug, Default)]
pub(crate) struct Pipelines(Mutex<HashMap<Key, Slot>>);

impl Pipelines {
    /// How many there are.
    pub fn count(&self) -> usize {
        lock(&self.0).len()
    }

    /// Forgets all of them.
    pub fn clear(&self) {
        lock(&self.0).clear();
    }
}

/// Locked while its pipeline is compiled, so that threads that want the same one wait instead of compiling it again.
type Slot = Arc<Mutex<Option<wgpu::ComputePipeline>>>;

/// Bind group layout of a pipeline.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Layout {
    /// From the shader.
    Automatic,
    /// The bindings of `shaders/common.wgsl`, parameters with a dynamic offset. Programs that write a kernel's input have the same
    /// ones: what they read from 1 on, what they write at 5.
    Convolution(Aliasing),
}

impl Engine {
    /// The pipeline of a module with entry point `main`, compiled at most once.
    pub(crate) fn pipeline(
        &self,
        source: String,
        checks: Checks,
        layout: Layout,
        label: &'static str,
    ) -> Pending<wgpu::ComputePipeline> {
        let key = Key { source, checks };
        let slot = lock(&self.pipelines().0).entry(key.clone()).or_default().clone();
        let mut compiled = lock(&slot);
        if let Some(pipeline) = &*compiled {
            let pipeline = pipeline.clone();
            return Box::pin(async { Ok(pipeline) });
        }
        let source = match unrolled(&key.source) {
            Ok(source) => source,
            Err(error) => {
                lock(&self.pipelines().0).remove(&key);
                return Box::pin(async { Err(error) });
            }
        };
        let (pipeline, mut pending) = scoped(self.device(), self.lost(), "compiling a shader", || {
            self.compile(source, key.checks, layout, label)
        });
        match poll_once(&mut pending) {
            Poll::Ready(Ok(())) => {
                *compiled = Some(pipeline.clone());
                Box::pin(async { Ok(pipeline) })
            }
            Poll::Ready(Err(error)) => {
                lock(&self.pipelines().0).remove(&key);
                Box::pin(async { Err(error) })
            }
            Poll::Pending => {
                drop(compiled);
                Box::pin(async move {
                    pending.await?;
                    *lock(&slot) = Some(pipeline.clone());
                    Ok(pipeline)
                })
            }
        }
    }

    fn compile(&self, source: String, checks: Checks, layout: Layout, label: &'static str) -> wgpu::ComputePipeline {
        let device = self.device();
        let descriptor =
            wgpu::ShaderModuleDescriptor { label: Some(label), source: wgpu::ShaderSource::Wgsl(source.into()) };
        let module = match checks {
            // SAFETY: every index that these shaders form is in range and every loop ends: `ranges::prove` has settled the
            // sizes, `bind` the buffers, and the shaders clamp what lies beyond a tile's edge (claims in `ranges`).
            Checks::Trusted => unsafe {
                device.create_shader_module_trusted(descriptor, wgpu::ShaderRuntimeChecks::unchecked())
            },
            Checks::Checked => device.create_shader_module(descriptor),
        };
        let layout = match layout {
            Layout::Automatic => None,
            Layout::Convolution(aliasing) => Some(convolution_layout(device, aliasing)),
        };
        device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(label),
            layout: layout.as_ref(),
            module: &module,
            entry_point: Some("main"),
            compilation_options: wgpu::PipelineCompilationOptions {
                constants: &[],
                // Kernels write every element of workgroup memory before they read it.
                zero_initialize_workgroup_memory: false,
            },
            cache: self.pipeline_cache(),
        })
    }
}

/// Group 0 of `shaders/common.wgsl`.
fn convolution_layout(device: &wgpu::Device, aliasing: Aliasing) -> wgpu::PipelineLayout {
    let storage = |read_only| wgpu::BindingType::Buffer {
        ty: wgpu::BufferBindingType::Storage { read_only },
        has_dynamic_offset: false,
        min_binding_size: None,
    };
    let parameters = wgpu::BindingType::Buffer {
        ty: wgpu::BufferBindingType::Uniform,
        has_dynamic_offset: true,
        min_binding_size: wgpu::BufferSize::new(Block::SIZE as u64),
    };
    let shared = |access| access == Access::SharedBuffer;
    let bindings = [
        parameters,
        storage(!shared(aliasing.input)),
        storage(true),
        storage(true),
        storage(!shared(aliasing.residual)),
        storage(false),
    ];
    let entries: Vec<_> = (0..)
        .zip(bindings)
        .map(|(binding, ty)| wgpu::BindGroupLayoutEntry {
            binding,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty,
            count: None,
        })
        .collect();
    let group = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
        label: Some("wgpu-conv: parameters, input, weight, bias and slopes, residual, output"),
        entries: &entries,
    });
    device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
        label: Some("wgpu-conv: convolution"),
        bind_group_layouts: &[Some(&group)],
        immediate_size: 0,
    })
}

#[cfg(all(test, feature = "context"))]
mod tests;

//! A chain of convolutions, recorded in two ways: through [`Bound`]s, and with wgpu's own calls as one would write them by
//! hand. What both record is alike to wgpu: as many pipelines, bind groups of the same layout, dispatches.

use wgpu_conv::{Bound, Buffers, Engine, PlanOptions, Problem, Result, WeightData, shader_source, wgpu};

/// Convolutions in the chain.
pub const LENGTH: usize = 100;

/// Layers that take turns in the chain: each has a pipeline of its own, and all have input and output of one size.
const LAYERS: [&str; 4] = ["c8h16w16o8k1", "c8h16w16o8k3p1", "c8h16w16o8k5p2", "c8h16w16o8k3p2d2+relu"];

/// Bytes of a uniform buffer that hold the parameters of any kernel.
const PARAMETERS: u64 = 256;

/// Both ways to record the chain.
pub struct Chain {
    bounds: Vec<Bound>,
    by_hand: Vec<ByHand>,
}

/// What one convolution takes by hand.
struct ByHand {
    pipeline: wgpu::ComputePipeline,
    bind_group: wgpu::BindGroup,
    offset: u32,
    grid: [u32; 2],
}

impl Chain {
    /// Makes everything that recording needs.
    ///
    /// # Errors
    /// What preparing says.
    pub fn new(engine: &Engine) -> Result<Self> {
        let problems = LAYERS.iter().map(|layer| layer.parse()).collect::<Result<Vec<Problem>>>()?;
        let elements = problems[0].input_len();
        // Two buffers that change places from layer to layer.
        let buffers = [engine.buffer_zeroed("even", elements)?, engine.buffer_zeroed("odd", elements)?];
        let (mut layers, mut layers_by_hand) = (Vec::new(), Vec::new());
        for problem in &problems {
            let plan = engine.plan_blocking(problem, &PlanOptions::default())?;
            let weight = vec![0.5; problem.weight_len() as usize];
            let bias = vec![0.5; problem.out_channels() as usize];
            let weights = plan.weights_blocking(&WeightData::new(&weight).bias(&bias))?;
            let source = shader_source(problem, plan.kernel(), Some(plan.variant()), 0)?;
            layers_by_hand.push(LayerByHand::new(engine, &source));
            layers.push((plan, weights));
        }
        let mut chain = Self { bounds: Vec::new(), by_hand: Vec::new() };
        // The last one first: wgpu keeps lists as long as the largest number of a buffer that it met, so how often they
        // grow while recording would depend on who made buffers before whom.
        for index in (0..LENGTH).rev() {
            let (input, output) = (&buffers[index % 2], &buffers[(index + 1) % 2]);
            let (plan, weights) = &layers[index % LAYERS.len()];
            chain.bounds.push(plan.bind_blocking(weights, &Buffers::new(input.slice(..), output.slice(..)))?);
            chain.by_hand.push(layers_by_hand[index % LAYERS.len()].bind(engine, input, output));
        }
        chain.bounds.reverse();
        chain.by_hand.reverse();
        Ok(chain)
    }

    /// The whole chain in one pass, through the library.
    pub fn record(&self, engine: &Engine) -> wgpu::CommandBuffer {
        in_one_pass(engine, |pass| self.bounds.iter().for_each(|bound| bound.record_in_pass(pass)))
    }

    /// The whole chain in one pass, by hand.
    pub fn record_by_hand(&self, engine: &Engine) -> wgpu::CommandBuffer {
        in_one_pass(engine, |pass| {
            for ByHand { pipeline, bind_group, offset, grid } in &self.by_hand {
                pass.set_pipeline(pipeline);
                pass.set_bind_group(0, bind_group, &[*offset]);
                pass.dispatch_workgroups(grid[0], grid[1], 1);
            }
        })
    }
}

/// What the convolutions of one layer share.
struct LayerByHand {
    pipeline: wgpu::ComputePipeline,
    weight: wgpu::Buffer,
    bias: wgpu::Buffer,
}

impl LayerByHand {
    fn new(engine: &Engine, source: &str) -> Self {
        Self {
            pipeline: pipeline(engine, source),
            weight: buffer(engine, "weight", 1 << 16, wgpu::BufferUsages::STORAGE),
            bias: buffer(engine, "bias", 1 << 10, wgpu::BufferUsages::STORAGE),
        }
    }

    fn bind(&self, engine: &Engine, input: &wgpu::Buffer, output: &wgpu::Buffer) -> ByHand {
        let parameters = buffer(engine, "parameters", PARAMETERS, wgpu::BufferUsages::UNIFORM);
        // The shader never reads the residual here; something has to be bound.
        let entries = [&parameters, input, &self.weight, &self.bias, &self.weight, output];
        let entries: Vec<_> = (0..)
            .zip(entries)
            .map(|(binding, buffer)| wgpu::BindGroupEntry { binding, resource: buffer.as_entire_binding() })
            .collect();
        let bind_group = engine.device().create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some("by hand"),
            layout: &self.pipeline.get_bind_group_layout(0),
            entries: &entries,
        });
        ByHand { pipeline: self.pipeline.clone(), bind_group, offset: 0, grid: [1, 1] }
    }
}

/// A buffer whose contents are written: wgpu would otherwise note, when it records, that they have to be zeroed.
fn buffer(engine: &Engine, label: &str, size: u64, usage: wgpu::BufferUsages) -> wgpu::Buffer {
    let descriptor = wgpu::BufferDescriptor { label: Some(label), size, usage, mapped_at_creation: true };
    let buffer = engine.device().create_buffer(&descriptor);
    buffer.unmap();
    buffer
}

fn in_one_pass(engine: &Engine, record: impl FnOnce(&mut wgpu::ComputePass<'_>)) -> wgpu::CommandBuffer {
    let device = engine.device();
    let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("chain") });
    record(
        &mut encoder.begin_compute_pass(&wgpu::ComputePassDescriptor { label: Some("chain"), timestamp_writes: None }),
    );
    encoder.finish()
}

fn pipeline(engine: &Engine, source: &str) -> wgpu::ComputePipeline {
    let device = engine.device();
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: Some("by hand"),
        source: wgpu::ShaderSource::Wgsl(source.into()),
    });
    let entries: Vec<_> = (0..6)
        .map(|binding| wgpu::BindGroupLayoutEntry {
            binding,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty: wgpu::BindingType::Buffer {
                ty: match binding {
                    0 => wgpu::BufferBindingType::Uniform,
                    _ => wgpu::BufferBindingType::Storage { read_only: binding < 5 },
                },
                has_dynamic_offset: binding == 0,
                min_binding_size: wgpu::BufferSize::new(if binding == 0 { PARAMETERS } else { 0 }),
            },
            count: None,
        })
        .collect();
    let group =
        device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: Some("by hand"), entries: &entries });
    let layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
        label: Some("by hand"),
        bind_group_layouts: &[Some(&group)],
        immediate_size: 0,
    });
    device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: Some("by hand"),
        layout: Some(&layout),
        module: &module,
        entry_point: Some("main"),
        compilation_options: wgpu::PipelineCompilationOptions::default(),
        cache: None,
    })
}

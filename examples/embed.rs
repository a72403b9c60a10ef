//! How a program that owns a device uses this crate: a photo effect of two chained convolutions and a compute pass of the
//! program's own, recorded into one encoder each frame and submitted once, without a read-back in between.
//!
//! ```text
//! cargo run --example embed
//! ```
//!
//! frame (3 channels) → 3×3 convolution + relu → 8 feature maps → 3×3 convolution → 3 channels → the program's tone curve
//!
//! The last frame is read back and compared with the same chain on the CPU.

use std::error::Error;
use std::process::ExitCode;

use wgpu_conv::{Activation, Buffers, Conv2d, Engine, Epilogue, PlanOptions, Problem, WeightData, wgpu};
use wgpu_conv::{Tensors, reference};

/// Rows and columns of a frame.
const SIZE: [u32; 2] = [90, 120];

/// The program's own shader: y = x / (1 + |x|), in place.
const TONE_CURVE: &str = "
    @group(0) @binding(0) var<storage, read_write> image: array<f32>;

    @compute @workgroup_size(64)
    fn main(@builtin(global_invocation_id) id: vec3u) {
        if id.x < arrayLength(&image) {
            image[id.x] = image[id.x] / (1.0 + abs(image[id.x]));
        }
    }
";

fn main() -> ExitCode {
    match pollster::block_on(run()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn Error>> {
    // 1. The program's device, made with plain wgpu. Nothing here is for the convolutions: they work with what the device
    //    has. (A device with larger limits takes larger images; `Context` asks for all that an adapter has.)
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
    let adapter = instance.request_adapter(&wgpu::RequestAdapterOptions::default()).await?;
    let (device, queue) = adapter.request_device(&wgpu::DeviceDescriptor::default()).await?;
    println!("adapter     {}", adapter.get_info().name);

    // 2. Once: the engine on that device, what is to be computed, and the plans (this compiles the shaders).
    let engine = Engine::new(&device, &queue);
    // The app owns the device's one lost-device callback; it passes the news on.
    device.set_device_lost_callback({
        let engine = engine.clone();
        move |_, reason| engine.mark_device_lost(reason)
    });
    let [rows, columns] = SIZE;
    let first = Problem::new(&Conv2d::new(3, 8, 3).padding(1), [1, 3, rows, columns])?
        .with_epilogue(Epilogue::activation(Activation::Relu))?;
    let second = Problem::new(&Conv2d::new(8, 3, 3).padding(1).bias(false), first.output_shape().try_into()?)?;
    let options = PlanOptions::default();
    let first_plan = engine.plan(&first, &options).await?;
    let second_plan = engine.plan(&second, &options).await?;
    println!("first       {first}, {} {}", first_plan.kernel(), first_plan.variant());
    println!("second      {second}, {} {}", second_plan.kernel(), second_plan.variant());

    // 3. Once: the weights, uploaded and packed as those kernels want them.
    let numbers = |count: u64, step: f32| -> Vec<f32> { (0..count).map(|i| (i as f32 * step).sin() / 4.0).collect() };
    let (first_weight, first_bias) = (numbers(first.weight_len(), 0.7), numbers(8, 1.9));
    let second_weight = numbers(second.weight_len(), 1.1);
    let first_weights = first_plan.weights(&WeightData::new(&first_weight).bias(&first_bias)).await?;
    let second_weights = second_plan.weights(&WeightData::new(&second_weight)).await?;

    // 4. Once: the program's buffers. The first output is the second input and never leaves the GPU.
    let buffer = |label, elements: u64| {
        device.create_buffer(&wgpu::BufferDescriptor {
            label: Some(label),
            size: 4 * elements,
            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::COPY_SRC,
            mapped_at_creation: false,
        })
    };
    let frame_buffer = buffer("frame", first.input_len());
    let features = buffer("features", first.output_len());
    let image = buffer("image", second.output_len());

    // 5. Once per set of buffers: everything is checked and bound here, so that recording has nothing left to fail.
    let first_bound =
        first_plan.bind(&first_weights, &Buffers::new(frame_buffer.slice(..), features.slice(..))).await?;
    let second_bound = second_plan.bind(&second_weights, &Buffers::new(features.slice(..), image.slice(..))).await?;
    let tone_curve = ToneCurve::new(&device, &image);

    // 6. Every frame: record the chain into the program's own encoder and submit once. The convolutions make nothing here
    //    and submit nothing; wgpu orders passes that touch the same buffers.
    let mut frame = Vec::new();
    for number in 0..3u8 {
        frame = numbers(first.input_len(), 0.01 * (1.0 + f32::from(number)));
        queue.write_buffer(&frame_buffer, 0, bytemuck::cast_slice(&frame));
        let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("frame") });
        {
            // Both convolutions in one pass; `first_bound.record(&mut encoder)` opens a pass of its own instead.
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            first_bound.record_in_pass(&mut pass);
            second_bound.record_in_pass(&mut pass);
        }
        tone_curve.record(&mut encoder);
        queue.submit([encoder.finish()]);
        println!("frame {number}     submitted");
    }

    // 7. For this example only: is it right?
    let result = engine.read(image.slice(..)).await?;
    let between = reference::convolve(&first, &Tensors::new(&frame, &first_weight).bias(&first_bias))?;
    let between: Vec<f32> = between.values.iter().map(|&value| value as f32).collect();
    let expected = reference::convolve(&second, &Tensors::new(&between, &second_weight))?;
    let expected = expected.values.iter().map(|&x| x / (1.0 + x.abs()));
    let largest = result.iter().zip(expected).map(|(&y, e)| (f64::from(y) - e).abs()).fold(0.0, f64::max);
    println!("\nlargest difference of the last frame from the CPU reference: {largest:.1e}");
    // Three float32 steps with results below 1 in magnitude.
    if largest.is_nan() || largest > 1e-5 {
        return Err(format!("the result differs from the reference by {largest:e}").into());
    }
    Ok(())
}

/// A compute pass as any program has them: nothing in it knows of convolutions.
struct ToneCurve {
    pipeline: wgpu::ComputePipeline,
    bind_group: wgpu::BindGroup,
    workgroups: u32,
}

impl ToneCurve {
    fn new(device: &wgpu::Device, image: &wgpu::Buffer) -> Self {
        let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: Some("tone curve"),
            source: wgpu::ShaderSource::Wgsl(TONE_CURVE.into()),
        });
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some("tone curve"),
            layout: None,
            module: &module,
            entry_point: Some("main"),
            compilation_options: wgpu::PipelineCompilationOptions::default(),
            cache: None,
        });
        let bind_group = device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some("tone curve"),
            layout: &pipeline.get_bind_group_layout(0),
            entries: &[wgpu::BindGroupEntry { binding: 0, resource: image.as_entire_binding() }],
        });
        let workgroups = (image.size() / 4).div_ceil(64) as u32;
        Self { pipeline, bind_group, workgroups }
    }

    fn record(&self, encoder: &mut wgpu::CommandEncoder) {
        let mut pass = encoder
            .begin_compute_pass(&wgpu::ComputePassDescriptor { label: Some("tone curve"), timestamp_writes: None });
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.bind_group, &[]);
        pass.dispatch_workgroups(self.workgroups, 1, 1);
    }
}

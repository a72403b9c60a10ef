//! [`WholeCall`]: upload, run and read-back as a program does them that calls often: in buffers that stay.

use std::sync::mpsc;

use anyhow::{Context as _, Result, ensure};
use wgpu_conv::wgpu::{self, BufferUsages, MapMode};
use wgpu_conv::{Bound, Engine};

use crate::gpu::Prepared;

/// A convolution with the buffers through which its input and output go, and nothing to be made anew in a call.
///
/// Where the device can map buffers for storage, the convolution reads and writes what the host maps; elsewhere the tensors go
/// through buffers of the host's.
pub struct WholeCall {
    engine: Engine,
    bound: Bound,
    input: wgpu::Buffer,
    output: wgpu::Buffer,
    /// What the host maps: those two, or others. The first is mapped for writing between calls.
    upload: wgpu::Buffer,
    download: wgpu::Buffer,
    result: Vec<u8>,
}

impl WholeCall {
    /// For a problem with outputs.
    pub fn new(engine: &Engine, prepared: &Prepared) -> Result<Self> {
        let problem = prepared.plan.problem();
        ensure!(problem.output_len() > 0, "there are no outputs to measure (the batch is 0)");
        let [input_bytes, output_bytes] =
            [(problem.dtype(), problem.input_len()), (problem.output_dtype(), problem.output_len())]
                .map(|(dtype, elements)| (dtype.size() * elements).next_multiple_of(wgpu::COPY_BUFFER_ALIGNMENT));
        let device = engine.device();
        let scopes = [wgpu::ErrorFilter::OutOfMemory, wgpu::ErrorFilter::Validation]
            .map(|filter| device.push_error_scope(filter));
        let buffer = |label, size: u64, usage: BufferUsages| {
            let size = size.max(wgpu::COPY_BUFFER_ALIGNMENT);
            let mapped_at_creation = usage.contains(BufferUsages::MAP_WRITE);
            device.create_buffer(&wgpu::BufferDescriptor { label: Some(label), size, usage, mapped_at_creation })
        };
        let (input, output, upload, download);
        if device.features().contains(wgpu::Features::MAPPABLE_PRIMARY_BUFFERS) {
            input = buffer("input", input_bytes, BufferUsages::STORAGE | BufferUsages::MAP_WRITE);
            output = buffer("output", output_bytes, BufferUsages::STORAGE | BufferUsages::MAP_READ);
            (upload, download) = (input.clone(), output.clone());
        } else {
            input = buffer("input", input_bytes, BufferUsages::STORAGE | BufferUsages::COPY_DST);
            output = buffer("output", output_bytes, BufferUsages::STORAGE | BufferUsages::COPY_SRC);
            upload = buffer("upload", input_bytes, BufferUsages::MAP_WRITE | BufferUsages::COPY_SRC);
            download = buffer("download", output_bytes, BufferUsages::MAP_READ | BufferUsages::COPY_DST);
        }
        let [out_of_memory, validation] = scopes;
        let [validation, out_of_memory] = [validation.pop(), out_of_memory.pop()].map(pollster::block_on);
        if let Some(error) = out_of_memory.or(validation) {
            return Err(error).context("buffers for upload and read-back cannot be made");
        }
        Ok(Self {
            engine: engine.clone(),
            bound: prepared.bind(&input, &output)?,
            input,
            output,
            upload,
            download,
            result: vec![0; output_bytes as usize],
        })
    }

    /// One call: the input goes to the GPU, the convolution runs, and the output is on the host when this returns.
    /// Both are elements of the problem's type as they lie in memory; the output may end with a few bytes more.
    pub fn run(&mut self, bytes: &[u8]) -> Result<&[u8]> {
        ensure!(
            bytes.len() as u64 <= self.upload.size(),
            "the input has {} bytes; the problem's has {}",
            bytes.len(),
            self.upload.size()
        );
        if !bytes.is_empty() {
            self.upload.get_mapped_range_mut(..)?.slice(..bytes.len()).copy_from_slice(bytes);
        }
        self.upload.unmap();
        self.submit((bytes.len() as u64).next_multiple_of(wgpu::COPY_BUFFER_ALIGNMENT))?;
        let (sender, receiver) = mpsc::channel();
        let [read, write] = [sender.clone(), sender];
        // Nobody listens any more only if this call has failed already.
        self.download.map_async(MapMode::Read, .., move |mapped| drop(read.send(mapped)));
        self.upload.map_async(MapMode::Write, .., move |mapped| drop(write.send(mapped)));
        self.engine.device().poll(wgpu::PollType::wait_indefinitely())?;
        for _ in 0..2 {
            receiver.try_recv().context("the GPU is done, and a buffer is still not mapped")??;
        }
        self.result.copy_from_slice(&self.download.get_mapped_range(..)?);
        self.download.unmap();
        Ok(&self.result)
    }

    /// In parts where a driver might end a submission that takes too long; copies, where there are any, ride along.
    fn submit(&self, input_bytes: u64) -> Result<()> {
        for segments in self.bound.submissions() {
            let device = self.engine.device();
            let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("call") });
            if segments.start == 0 && input_bytes > 0 && self.upload != self.input {
                encoder.copy_buffer_to_buffer(&self.upload, 0, &self.input, 0, input_bytes);
            }
            {
                let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
                segments.clone().try_for_each(|segment| self.bound.record_segment(segment, &mut pass))?;
            }
            if segments.end == self.bound.segments() && self.download != self.output {
                encoder.copy_buffer_to_buffer(&self.output, 0, &self.download, 0, self.download.size());
            }
            self.engine.queue().submit([encoder.finish()]);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use wgpu_conv::{Context, ContextOptions, PlanOptions};
    use wgpu_conv_check::{DataKind, ProblemData};

    use super::*;

    /// Two calls on a device that maps storage, where there is one, and on one that does not: the same results, and the right ones.
    #[test]
    fn copied_or_mapped_results_are_the_same() {
        if std::env::var("WGPU_CONV_SKIP_GPU_TESTS").is_ok_and(|value| value == "1") {
            println!("SKIPPED: WGPU_CONV_SKIP_GPU_TESTS=1");
            return;
        }
        let context = Context::new_blocking(&ContextOptions::default()).unwrap();
        let descriptor =
            wgpu::DeviceDescriptor { required_limits: context.adapter.limits(), ..wgpu::DeviceDescriptor::default() };
        let (device, queue) = pollster::block_on(context.adapter.request_device(&descriptor)).unwrap();
        let problem = "n2c4h9w11o6k3p1".parse().unwrap();
        let data = ProblemData::generate(&problem, DataKind::Uniform, 1).unwrap();
        let input = problem.dtype().encode(&data.input).into_owned();
        for engine in [context.engine(), Engine::new(&device, &queue)] {
            let prepared = Prepared::new(&engine, &problem, &data.tensors(), &PlanOptions::default()).unwrap();
            let mut call = WholeCall::new(&engine, &prepared).unwrap();
            let maps = engine.device().features().contains(wgpu::Features::MAPPABLE_PRIMARY_BUFFERS);
            assert_eq!(maps, call.upload == call.input && call.download == call.output);
            let reference = data.reference_as(&problem, prepared.plan.rounding()).unwrap();
            let first = call.run(&input).unwrap().to_vec();
            assert!(reference.compare(&problem.output_dtype().decode(&first)).unwrap().passed());
            assert_eq!(call.run(&input).unwrap(), first, "once more");
        }
        assert!(!device.features().contains(wgpu::Features::MAPPABLE_PRIMARY_BUFFERS), "or nothing was copied");
    }
}

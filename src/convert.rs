//! [`Conversion`]: elements of one type to another, on the GPU.

use std::future::Future;

use crate::dtype::DType;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::gpu::{Pending, scoped};
use crate::kernels::Access;
use crate::memory::Reservation;
use crate::pipelines::Layout;
use crate::placement::{Placed, element_offset, overlap};
use crate::ranges::INDEX_LIMIT;
use crate::shader::Source;

/// Invocations of a workgroup of `shaders/convert.wgsl`.
const THREADS: u64 = 64;

/// Elements of one type in a buffer (usage STORAGE): a slice that starts at a multiple of 4 bytes. A whole word is bound
/// where a count of 16-bit elements is odd, so the buffer itself reaches to a multiple of 4 bytes.
#[derive(Debug, Clone, Copy)]
pub struct Elements<'a> {
    /// Where they are.
    pub slice: wgpu::BufferSlice<'a>,
    /// What they are.
    pub dtype: DType,
}

impl<'a> Elements<'a> {
    /// Elements of type `dtype`.
    pub fn new(slice: wgpu::BufferSlice<'a>, dtype: DType) -> Self {
        Self { slice, dtype }
    }
}

/// Elements of a buffer written to another place as another type, ready to record any number of times:
/// [`Engine::conversion`].
///
/// From 32 to 16 bits each number is rounded to the nearest, ties to even; what is beyond the largest becomes infinity. From
/// 16 to 32 bits it stays what it is. Infinity stays infinity, NaN stays NaN (of whatever payload). No device needs
/// `SHADER_F16` for it, and the bits are the same on all of them.
///
/// Nothing but these elements changes: where an odd count of 16-bit elements ends within a word of 32 bits, the other half
/// is written with what it held.
#[derive(Debug, Clone)]
pub struct Conversion {
    /// `None` where there are no elements.
    work: Option<Work>,
}

#[derive(Debug, Clone)]
struct Work {
    pipeline: wgpu::ComputePipeline,
    bind_group: wgpu::BindGroup,
    grid: [u32; 2],
    #[expect(dead_code, reason = "what the bind group holds counts as in use")]
    reservation: Reservation,
}

impl Conversion {
    /// Records the conversion in a compute pass of its own. Allocates, submits and waits for nothing.
    pub fn record(&self, encoder: &mut wgpu::CommandEncoder) {
        if self.work.is_some() {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
                label: Some("wgpu-conv: conversion"),
                timestamp_writes: None,
            });
            self.record_in_pass(&mut pass);
        }
    }

    /// Records the conversion into the caller's pass; sets the pipeline and bind group 0. Allocates, submits and waits for
    /// nothing.
    pub fn record_in_pass(&self, pass: &mut wgpu::ComputePass<'_>) {
        if let Some(Work { pipeline, bind_group, grid: [columns, rows], .. }) = &self.work {
            pass.set_pipeline(pipeline);
            pass.set_bind_group(0, bind_group, &[]);
            pass.dispatch_workgroups(*columns, *rows, 1);
        }
    }

    fn start(engine: &Engine, count: u64, from: Elements<'_>, to: Elements<'_>) -> Result<Pending<Self>> {
        engine.lost().check()?;
        for (parameter, dtype) in [("the type of the source", from.dtype), ("the type of the destination", to.dtype)] {
            if !dtype.is_float() {
                let required = "a type of floats: integers are made with a scale and a zero point".into();
                return Err(Error::Parameter { parameter, actual: dtype.to_string(), required });
            }
        }
        // Together with a first word, a shader's indices stay below 2^32.
        if count >= INDEX_LIMIT {
            return Err(Error::TooLarge {
                what: "the number of elements to convert",
                factors: count.to_string(),
                limit: format!("{}", INDEX_LIMIT - 1),
            });
        }
        let place = |name, elements: Elements<'_>| {
            let offset = elements.slice.offset();
            if offset % 4 != 0 {
                return Err(Error::BufferAlignment { name, offset, required: 4 });
            }
            Ok(())
        };
        place("source", from)?;
        place("destination", to)?;
        let source = Placed::new("source", from.slice, count, from.dtype)?;
        let destination = Placed::new("destination", to.slice, count, to.dtype)?;
        source.check_apart(&destination)?;
        if count == 0 {
            return Ok(Box::pin(async { Ok(Self { work: None }) }));
        }
        // As with the tensors of a convolution (see `bind`): one access for a buffer, and no two writable bindings of one
        // buffer that overlap.
        let alignment = u64::from(engine.capabilities().limits.min_storage_buffer_offset_alignment).max(1);
        let (mut read, mut written) = (source.bindable(alignment), destination.bindable(alignment));
        let access = match source.buffer == destination.buffer {
            false => Access::Separate,
            true if !overlap(&read, &written) => Access::SharedBuffer,
            true => {
                written = read.start.min(written.start)..read.end.max(written.end);
                read = written.clone();
                Access::ThroughOutput
            }
        };
        for (placed, range) in [(&source, &read), (&destination, &written)] {
            placed.check_binding(engine, range)?;
        }
        let first = |placed: &Placed<'_>, range, dtype: DType| -> Result<u32> {
            Ok((u64::from(element_offset(placed, range)?) * dtype.size() / 4) as u32)
        };
        let words = (count * to.dtype.size()).div_ceil(4);
        let grid = engine.grid(words.div_ceil(THREADS))?;
        // Same fields as `Convert` in the shader; all below 2^32, as shown above.
        let parameters =
            [count as u32, first(&source, &read, from.dtype)?, first(&destination, &written, to.dtype)?, grid[0]];
        let label = "wgpu-conv: conversion";
        // Parameters, and a stand-in where one is needed.
        let reservation = engine.reserve("a conversion", size_of_val(&parameters) as u64 + Engine::storage_size(0))?;
        let text = source_text(from.dtype, to.dtype, access)?;
        let pipeline = engine.pipeline(text, engine.options().checks, Layout::Automatic, label);
        // Buffers are handles: the future owns its own.
        let buffers = [source.buffer.clone(), destination.buffer.clone()];
        let engine = engine.clone();
        Ok(Box::pin(async move {
            let pipeline = pipeline.await?;
            let make = || {
                let uniform = engine.staged(label, bytemuck::bytes_of(&parameters), wgpu::BufferUsages::UNIFORM)?;
                let stand_in = (access == Access::ThroughOutput)
                    .then(|| engine.storage_buffer(label, 4, wgpu::BufferUsages::empty()));
                let part = |buffer, range: std::ops::Range<u64>| {
                    let size = wgpu::BufferSize::new(range.end - range.start);
                    wgpu::BindingResource::Buffer(wgpu::BufferBinding { buffer, offset: range.start, size })
                };
                // A buffer that the shader reads through the destination stands there for nothing.
                let read = stand_in.as_ref().map_or_else(|| part(&buffers[0], read), |one| one.as_entire_binding());
                let resources = [uniform.as_entire_binding(), read, part(&buffers[1], written)];
                let entries: Vec<_> = (0..)
                    .zip(resources)
                    .map(|(binding, resource)| wgpu::BindGroupEntry { binding, resource })
                    .collect();
                Ok(engine.device().create_bind_group(&wgpu::BindGroupDescriptor {
                    label: Some(label),
                    layout: &pipeline.get_bind_group_layout(0),
                    entries: &entries,
                }))
            };
            let (bind_group, pending) = scoped(engine.device(), engine.lost(), "preparing a conversion", make);
            pending.await?;
            Ok(Self { work: Some(Work { bind_group: bind_group?, pipeline, grid, reservation }) })
        }))
    }
}

/// The module for such a pair.
fn source_text(from: DType, to: DType, access: Access) -> Result<String> {
    let mut source = Source::new(&[include_str!("../shaders/half.wgsl"), include_str!("../shaders/convert.wgsl")]);
    source.set(&[
        ("SOURCE_HALVES", (from == DType::F16).into()),
        ("DESTINATION_HALVES", (to == DType::F16).into()),
        ("SOURCE_IN_DESTINATION", (access == Access::ThroughOutput).into()),
    ])?;
    if access == Access::SharedBuffer {
        source.make_writable("source")?;
    }
    Ok(source.finish())
}

/// Conversion between types of elements, on the GPU. (On the host: [`DType::encode`] and [`DType::decode`].)
impl Engine {
    /// Prepares writing the first `count` elements of `from` to `to` as elements of its type. The two may be the same type
    /// (then it is a copy), and lie in one buffer, but not overlap.
    ///
    /// The future is ready at once on native platforms.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a type of integers, [`Error::BufferAlignment`] where a slice does not start at a multiple of 4 bytes, [`Error::BufferTooSmall`],
    /// [`Error::BufferUsage`], [`Error::Overlap`]; [`Error::TooLarge`] from 2^31 elements on, [`Error::Limit`] where a
    /// binding or the grid exceeds the device's limits; [`Error::MemoryLimit`], [`Error::Gpu`], [`Error::OutOfMemory`] or [`Error::DeviceLost`] from wgpu.
    pub fn conversion(
        &self,
        count: u64,
        from: Elements<'_>,
        to: Elements<'_>,
    ) -> impl Future<Output = Result<Conversion>> + wgpu::WasmNotSend + use<> {
        let started = Conversion::start(self, count, from, to);
        async move { started?.await }
    }

    /// [`Engine::conversion`], recorded and submitted once, without waiting for the GPU.
    ///
    /// ```no_run
    /// # use wgpu_conv::{DType, Elements, Engine, wgpu};
    /// # fn example(engine: &Engine, photo: &wgpu::Buffer) -> wgpu_conv::Result<()> {
    /// let count = 3 * 480 * 640;
    /// let halves = engine.buffer_zeroed_as("half as large", count, DType::F16)?;
    /// let (from, to) = (Elements::new(photo.slice(..), DType::F32), Elements::new(halves.slice(..), DType::F16));
    /// engine.convert_blocking(count, from, to)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Engine::conversion`].
    pub fn convert(
        &self,
        count: u64,
        from: Elements<'_>,
        to: Elements<'_>,
    ) -> impl Future<Output = Result<()>> + wgpu::WasmNotSend + use<> {
        let (engine, prepared) = (self.clone(), self.conversion(count, from, to));
        async move {
            let conversion = prepared.await?;
            let submit = || {
                let mut encoder = engine.encoder("wgpu-conv: conversion");
                conversion.record(&mut encoder);
                engine.queue().submit([encoder.finish()]);
            };
            let pending = scoped(engine.device(), engine.lost(), "submitting a conversion", submit).1;
            pending.await
        }
    }
}

/// Blocking forms, for programs without an async runtime.
#[cfg(not(target_family = "wasm"))]
impl Engine {
    /// [`Engine::conversion`], blocking.
    ///
    /// # Errors
    /// As [`Engine::conversion`].
    pub fn conversion_blocking(&self, count: u64, from: Elements<'_>, to: Elements<'_>) -> Result<Conversion> {
        pollster::block_on(self.conversion(count, from, to))
    }

    /// [`Engine::convert`], blocking until it is submitted.
    ///
    /// # Errors
    /// As [`Engine::conversion`].
    pub fn convert_blocking(&self, count: u64, from: Elements<'_>, to: Elements<'_>) -> Result<()> {
        pollster::block_on(self.convert(count, from, to))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::tests::wgsl;

    #[test]
    fn shaders_are_taken_by_every_back_end_and_need_no_capability() {
        for (from, to) in DType::FLOATS.iter().flat_map(|from| DType::FLOATS.map(|to| (*from, to))) {
            for access in [Access::Separate, Access::SharedBuffer, Access::ThroughOutput] {
                let name = format!("{from} to {to}, {access:?}");
                let source = source_text(from, to, access).unwrap();
                let module = wgsl::translate(&source).unwrap_or_else(|message| panic!("{name}: {message}"));
                let mut plain = naga::valid::Validator::new(
                    naga::valid::ValidationFlags::all(),
                    naga::valid::Capabilities::empty(),
                );
                plain.validate(&module).unwrap_or_else(|error| panic!("{name}: {error:?}"));
            }
        }
    }
}

//! The engine's buffers: those that it makes for the caller and reads back, those of its own, and what can be bound of them.

use std::future::Future;
use std::ops::Range;

use super::Engine;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::gpu::{Pending, map_and_copy, ready, scoped};
use crate::placement::check_usage;

impl Engine {
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
    /// [`Error::Limit`] if no buffer can have so many, [`Error::OutOfMemory`] or [`Error::DeviceLost`] if its memory cannot be
    /// written.
    pub(crate) fn staged(&self, label: &'static str, bytes: &[u8], usage: wgpu::BufferUsages) -> Result<wgpu::Buffer> {
        self.check_buffer(label, bytes.len() as u64)?;
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
}

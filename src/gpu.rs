//! The only places where wgpu's asynchronous errors are collected and where anybody waits for a GPU.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Poll;

use crate::error::{Error, Result};

/// Something to await before a result may be used. Not `Send` in browsers, where nothing of WebGPU is.
#[cfg(not(target_family = "wasm"))]
pub(crate) type Pending<T> = Pin<Box<dyn Future<Output = Result<T>> + Send>>;
/// Something to await before a result may be used.
#[cfg(target_family = "wasm")]
pub(crate) type Pending<T> = Pin<Box<dyn Future<Output = Result<T>>>>;

/// Whether the device is known to be lost, and why; shared by everything that an engine made.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lost(Arc<OnceLock<String>>);

impl Lost {
    /// Notes the loss; the first reason stays.
    pub fn mark(&self, reason: impl Into<String>) {
        let _ = self.0.set(reason.into());
    }

    pub fn check(&self) -> Result<()> {
        match self.0.get() {
            Some(reason) => Err(Error::DeviceLost { reason: reason.clone() }),
            None => Ok(()),
        }
    }
}

/// Runs `body` with wgpu's three kinds of error caught, so that they reach our caller and not the app's handler.
///
/// The scopes belong to this thread and nest, so they are popped before this returns; only the popped futures are awaited.
/// wgpu reports nothing at all of a lost device through scopes, which is why a probe follows.
pub(crate) fn scoped<T>(
    device: &wgpu::Device,
    lost: &Lost,
    during: &'static str,
    body: impl FnOnce() -> T,
) -> (T, Pending<()>) {
    let scopes = [wgpu::ErrorFilter::OutOfMemory, wgpu::ErrorFilter::Internal, wgpu::ErrorFilter::Validation]
        .map(|filter| device.push_error_scope(filter));
    let value = body();
    look_for_loss(device, lost);
    let [out_of_memory, internal, validation] = scopes;
    let popped = (validation.pop(), internal.pop(), out_of_memory.pop());
    let lost = lost.clone();
    let pending = async move {
        let (validation, internal, out_of_memory) = (popped.0.await, popped.1.await, popped.2.await);
        // What lacks its memory is invalid wherever it is used, too: the cause first.
        let errors = [out_of_memory, internal, validation];
        lost.check()?;
        errors.into_iter().flatten().next().map_or(Ok(()), |error| Err(from_wgpu(error, during)))
    };
    (value, Box::pin(pending))
}

fn look_for_loss(device: &wgpu::Device, lost: &Lost) {
    if is_lost(device) {
        lost.mark("it no longer makes buffers");
    }
}

/// Whether the device no longer makes a buffer whose memory can be written, for no reason that wgpu would tell: it tells
/// if there is no memory, and nothing of a lost device.
fn is_lost(device: &wgpu::Device) -> bool {
    let scope = device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
    let buffer = device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("wgpu-conv: is the device still there?"),
        size: 4,
        usage: wgpu::BufferUsages::COPY_SRC,
        mapped_at_creation: true,
    });
    let mapped = buffer.get_mapped_range_mut(..).is_ok();
    if mapped {
        unmap(device, &buffer);
    }
    let popped = std::pin::pin!(scope.pop()).poll(&mut no_waker());
    !mapped && !matches!(popped, Poll::Ready(Some(_)))
}

/// Ends a mapping. If the device has been destroyed meanwhile, wgpu calls that a mistake, which is nothing to trouble the app with.
fn unmap(device: &wgpu::Device, buffer: &wgpu::Buffer) {
    let scope = device.push_error_scope(wgpu::ErrorFilter::Validation);
    buffer.unmap();
    drop(scope);
}

fn from_wgpu(error: wgpu::Error, during: &'static str) -> Error {
    match error {
        wgpu::Error::OutOfMemory { .. } => Error::OutOfMemory { during },
        wgpu::Error::Validation { description, .. } | wgpu::Error::Internal { description, .. } => {
            Error::Gpu { during, message: description }
        }
    }
}

/// Waits until everything submitted so far is done and callbacks have run. In browsers the event loop does that.
///
/// `Device::poll` can panic inside wgpu (on a lost device, for one): that is contained here and becomes an error.
pub(crate) fn wait(device: &wgpu::Device, lost: &Lost) -> Result<()> {
    let polled =
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| device.poll(wgpu::PollType::wait_indefinitely())));
    match polled {
        Ok(Ok(_)) => lost.check(),
        Ok(Err(error)) => Err(Error::Gpu { during: "waiting for the GPU", message: error.to_string() }),
        Err(_) => {
            lost.mark("wgpu panicked while waiting for it");
            lost.check()
        }
    }
}

/// Reads a buffer that was made for it (MAP_READ) once the work submitted so far is done.
pub(crate) fn map_and_copy(device: wgpu::Device, lost: Lost, buffer: wgpu::Buffer) -> Pending<Vec<u8>> {
    let state: Arc<MapState> = Arc::default();
    let callback_state = state.clone();
    let callback = MapCallback(callback_state);
    buffer.map_async(wgpu::MapMode::Read, .., move |result| callback.finish(result));
    // Natively nobody else may poll the device, so we wait here; in browsers this does nothing.
    let waited = wait(&device, &lost);
    Box::pin(async move {
        waited?;
        let mapped = MapFuture(state).await;
        let failed = |message: String| {
            look_for_loss(&device, &lost);
            lost.check().err().unwrap_or(Error::Gpu { during: "reading a buffer back", message })
        };
        mapped.map_err(|error| failed(error.to_string()))?;
        let view = buffer.get_mapped_range(..).map_err(|error| failed(error.to_string()))?;
        let bytes = view.to_vec();
        drop(view);
        unmap(&device, &buffer);
        Ok(bytes)
    })
}

type MapResult = Result<(), wgpu::BufferAsyncError>;

/// Where a map callback leaves its result for [`MapFuture`].
#[derive(Default)]
struct MapState(Mutex<(Option<MapResult>, Option<std::task::Waker>)>);

impl MapState {
    fn lock(&self) -> MutexGuard<'_, (Option<MapResult>, Option<std::task::Waker>)> {
        lock(&self.0)
    }

    /// The first result stays.
    fn finish(&self, result: MapResult) {
        let mut state = self.lock();
        if state.0.is_none() {
            state.0 = Some(result);
        }
        if let Some(waker) = state.1.take() {
            waker.wake();
        }
    }
}

/// The callback's end of a [`MapState`]. If wgpu drops the callback without a call (it does where it panics in between),
/// whoever waits for the result is told, too.
struct MapCallback(Arc<MapState>);

impl MapCallback {
    fn finish(&self, result: MapResult) {
        self.0.finish(result);
    }
}

impl Drop for MapCallback {
    fn drop(&mut self) {
        self.finish(Err(wgpu::BufferAsyncError));
    }
}

struct MapFuture(Arc<MapState>);

impl Future for MapFuture {
    type Output = MapResult;

    fn poll(self: Pin<&mut Self>, context: &mut std::task::Context<'_>) -> std::task::Poll<MapResult> {
        let mut state = self.0.lock();
        match state.0.take() {
            Some(result) => std::task::Poll::Ready(result),
            None => {
                state.1 = Some(context.waker().clone());
                std::task::Poll::Pending
            }
        }
    }
}

/// Nothing that panics runs under these locks; if it did, what they guard would still be whole.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn poll_once<T>(pending: &mut Pending<T>) -> Poll<Result<T>> {
    pending.as_mut().poll(&mut no_waker())
}

/// The result if it is there already, as it always is natively.
pub(crate) fn ready<T>(mut pending: Pending<T>) -> Option<Result<T>> {
    match poll_once(&mut pending) {
        Poll::Ready(result) => Some(result),
        Poll::Pending => None,
    }
}

fn no_waker() -> std::task::Context<'static> {
    std::task::Context::from_waker(std::task::Waker::noop())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// wgpu's own handler panics. (The device goes between two lines of the library if another thread destroys it.)
    #[test]
    fn mappings_end_on_a_destroyed_device() {
        let (device, _queue) = wgpu::Device::noop(&wgpu::DeviceDescriptor::default());
        let buffer = device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: 4,
            usage: wgpu::BufferUsages::MAP_READ,
            mapped_at_creation: false,
        });
        buffer.map_async(wgpu::MapMode::Read, .., |result| result.unwrap());
        wait(&device, &Lost::default()).unwrap();
        assert!(buffer.get_mapped_range(..).is_ok());
        device.destroy();
        // Now it lets its buffers go.
        assert!(wait(&device, &Lost::default()).is_ok());
        unmap(&device, &buffer);
        assert!(is_lost(&device));
    }
}

//! What the buffers that an engine makes for itself take of the GPU's memory: counted, and limited if the caller says so.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::problem::Problem;
use crate::tensors::Needs;

/// Counts the bytes of an engine's own buffers.
#[derive(Debug)]
pub(crate) struct Memory {
    limit: u64,
    in_use: AtomicU64,
}

impl Memory {
    pub fn new(limit: Option<u64>) -> Self {
        Self { limit: limit.unwrap_or(u64::MAX), in_use: AtomicU64::new(0) }
    }

    pub fn in_use(&self) -> u64 {
        self.in_use.load(Ordering::Relaxed)
    }

    /// Counts `bytes` as in use, unless that would exceed the limit.
    fn take(&self, what: &'static str, bytes: u64) -> Result<()> {
        let taken = self.in_use.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |in_use| {
            in_use.checked_add(bytes).filter(|sum| *sum <= self.limit)
        });
        let refused = |in_use| Error::MemoryLimit { what, required: bytes, in_use, limit: self.limit };
        taken.map(drop).map_err(refused)
    }
}

/// Bytes that count as in use for as long as this, or a clone of it, is there. Made before the buffers that it stands for
/// and kept as long as their handles; the GPU itself has them until the work that uses them is done.
#[derive(Debug, Clone)]
pub(crate) struct Reservation {
    #[expect(dead_code, reason = "it is there to be dropped")]
    taken: Arc<Taken>,
}

#[derive(Debug)]
struct Taken {
    engine: Engine,
    bytes: u64,
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.engine.memory().in_use.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Bytes of the buffers for the tensors of a problem, but for what belongs to the weights.
pub(crate) fn tensor_bytes(problem: &Problem) -> u64 {
    let residual = if Needs::of(problem).residual { problem.output_len() } else { 0 };
    let others = [problem.output_len(), residual, problem.offset_len(), problem.mask_len()];
    let of_output = others.iter().map(|&length| (problem.output_dtype().size() * length).next_multiple_of(4));
    of_output.sum::<u64>() + (problem.dtype().size() * problem.input_len()).next_multiple_of(4)
}

impl Engine {
    /// Takes `bytes` of what the engine may use.
    ///
    /// # Errors
    /// [`Error::MemoryLimit`] if that is more than is left.
    pub(crate) fn reserve(&self, what: &'static str, bytes: u64) -> Result<Reservation> {
        self.memory().take(what, bytes)?;
        Ok(Reservation { taken: Arc::new(Taken { engine: self.clone(), bytes }) })
    }
}

/// Bytes of GPU memory that an engine makes buffers of for a plan, beside the caller's own: [`Plan::memory`].
///
/// [`Plan::memory`]: crate::Plan::memory
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct PlanMemory {
    /// The workspace that each [`Bound`](crate::Bound) has, unless several share a [`Workspace`](crate::Workspace).
    pub workspace: u64,
    /// The parameters that each [`Bound`](crate::Bound) has.
    pub parameters: u64,
    /// What [`Weights`](crate::Weights) hold, once they are packed.
    pub weights: u64,
    /// What they hold in addition if they keep the raw weight.
    pub raw_weight: u64,
    /// What is in use beside the weights while they come from the host and are packed.
    pub upload: u64,
}

impl PlanMemory {
    /// The most that is in use at a time on the way from one weight on the host to one [`Bound`](crate::Bound).
    pub fn peak(&self) -> u64 {
        let uploading = self.weights.saturating_add(self.upload);
        let bound = self.weights.saturating_add(self.workspace).saturating_add(self.parameters);
        uploading.max(bound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_given_back_and_the_limit_holds() {
        let (device, queue) = wgpu::Device::noop(&wgpu::DeviceDescriptor::default());
        let engine = Engine::with_options(&device, &queue, crate::EngineOptions::default().max_memory(100));
        let first = engine.reserve("one", 60).unwrap();
        let refused = Error::MemoryLimit { what: "two", required: 41, in_use: 60, limit: 100 };
        assert_eq!(engine.reserve("two", 41).unwrap_err(), refused);
        let again = first.clone();
        let second = engine.reserve("two", 40).unwrap();
        assert_eq!(engine.memory_in_use(), 100);
        drop(first);
        assert_eq!(engine.memory_in_use(), 100, "a clone is left");
        drop(again);
        assert_eq!(engine.memory_in_use(), 40);
        drop(second);
        assert_eq!(engine.memory_in_use(), 0);
        assert!(engine.reserve("too much to count", u64::MAX).is_err());
        let unlimited = Engine::new(&device, &queue);
        let held = unlimited.reserve("nearly all", u64::MAX - 1).unwrap();
        assert!(unlimited.reserve("more than can be counted", 2).is_err());
        drop(held);
    }
}

//! [`Workspace`]: memory for what lies between the programs of a plan.

use std::sync::{Arc, Mutex, MutexGuard};

use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::gpu::{lock, ready, scoped};
use crate::memory::Reservation;
use crate::plan::Plan;

/// Memory for partial sums and prepared inputs, made once by [`Engine::workspace`] and given to any number of
/// [`Bound`](crate::Bound)s with [`Buffers::workspace`](crate::Buffers::workspace). Cheap to clone.
///
/// What is in it has no meaning once a convolution is done, so convolutions that run one after the other can share it: any
/// number of them recorded behind each other into one pass, into encoders that are submitted to the queue in any order, or
/// submitted by [`Bound::submit`](crate::Bound::submit) from any number of threads. What must not be done is to record
/// another convolution on the same workspace between two segments of one
/// ([`Bound::record_segment`](crate::Bound::record_segment)): the sums of the first would be gone. Nobody can see that from
/// outside, and the result is wrong without a word. Segments that several threads record and submit one by one need
/// workspaces of their own.
///
/// Convolutions that share a workspace wait for each other on the GPU, where they might have run side by side with one each.
#[derive(Debug, Clone)]
pub struct Workspace(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    engine: Engine,
    sizes: Sizes,
    sums: Option<wgpu::Buffer>,
    prepared: Option<wgpu::Buffer>,
    submitting: Mutex<()>,
    #[expect(dead_code, reason = "it is there to be dropped")]
    reservation: Reservation,
}

/// Bytes of the two parts, neither of which exists where a plan needs none: a program may read one and write the other, and
/// WebGPU knows one access per buffer and dispatch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Sizes {
    pub sums: u64,
    pub prepared: u64,
}

impl Workspace {
    /// To be called where errors of wgpu are caught.
    pub(crate) fn new(engine: &Engine, sizes: Sizes) -> Result<Self> {
        let own = |label, size| {
            let make = || engine.storage_buffer(label, size, wgpu::BufferUsages::empty());
            (size > 0).then(make)
        };
        let reservation = engine.reserve("a workspace", sizes.bytes())?;
        Ok(Self(Arc::new(Inner {
            engine: engine.clone(),
            sizes,
            sums: own("wgpu-conv: workspace", sizes.sums),
            prepared: own("wgpu-conv: prepared input", sizes.prepared),
            submitting: Mutex::default(),
            reservation,
        })))
    }

    /// Bytes of GPU memory that it holds.
    pub fn size(&self) -> u64 {
        self.0.sizes.bytes()
    }

    /// Checks that a plan can use it.
    pub(crate) fn check(&self, plan: &Plan) -> Result<()> {
        if !self.0.engine.is_same(plan.engine()) {
            return Err(Error::ForeignEngine { what: "the workspace" });
        }
        let (required, actual) = (plan.workspace_sizes(), self.0.sizes);
        for (name, required, actual) in [
            ("the workspace's part for sums", required.sums, actual.sums),
            ("the workspace's part for prepared inputs", required.prepared, actual.prepared),
        ] {
            if required > actual {
                return Err(Error::BufferTooSmall { name, required, actual });
            }
        }
        Ok(())
    }

    pub(crate) fn sums(&self) -> Option<&wgpu::Buffer> {
        self.0.sums.as_ref()
    }

    pub(crate) fn prepared(&self) -> Option<&wgpu::Buffer> {
        self.0.prepared.as_ref()
    }

    /// Held while all segments of one convolution are submitted.
    pub(crate) fn submitting(&self) -> MutexGuard<'_, ()> {
        lock(&self.0.submitting)
    }
}

impl Sizes {
    pub fn bytes(self) -> u64 {
        [self.sums, self.prepared].into_iter().filter(|&size| size > 0).map(Engine::storage_size).sum()
    }

    fn max(self, other: Self) -> Self {
        Self { sums: self.sums.max(other.sums), prepared: self.prepared.max(other.prepared) }
    }
}

impl Engine {
    /// A workspace that is large enough for each of these plans, to be shared by convolutions that run one after the other.
    /// Without one, each [`Bound`](crate::Bound) has its own, of [`Plan::workspace_size`] bytes.
    ///
    /// # Errors
    /// [`Error::ForeignEngine`] for a plan of another engine; [`Error::MemoryLimit`] beyond
    /// [`EngineOptions::max_memory`](crate::EngineOptions::max_memory); [`Error::OutOfMemory`], [`Error::Gpu`] or
    /// [`Error::DeviceLost`] from wgpu.
    pub fn workspace(&self, plans: &[&Plan]) -> Result<Workspace> {
        self.lost().check()?;
        if plans.iter().any(|plan| !plan.engine().is_same(self)) {
            return Err(Error::ForeignEngine { what: "a plan" });
        }
        let sizes = plans.iter().map(|plan| plan.workspace_sizes()).fold(Sizes::default(), Sizes::max);
        let (made, pending) = scoped(self.device(), self.lost(), "making a workspace", || Workspace::new(self, sizes));
        // In browsers an error shows where the buffers are used; natively it is known now.
        ready(pending).unwrap_or(Ok(()))?;
        made
    }
}

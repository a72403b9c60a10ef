//! [`Context`]: an adapter and a device for programs that own none.

use crate::error::{Error, Result};

/// What to look for.
#[derive(Debug, Clone, Default)]
pub struct ContextOptions {
    /// Part of the adapter's name; default: WGPU_ADAPTER_NAME.
    pub adapter_name: Option<String>,
    /// Backends; default: WGPU_BACKEND, else all.
    pub backends: Option<wgpu::Backends>,
    /// Instance flags; default: wgpu's own (validation in debug builds, WGPU_VALIDATION and others from the environment).
    pub flags: Option<wgpu::InstanceFlags>,
}

/// An adapter with a device and a queue.
#[derive(Debug, Clone)]
pub struct Context {
    /// The adapter.
    pub adapter: wgpu::Adapter,
    /// The device, with the adapter's limits and the features that this crate can use.
    pub device: wgpu::Device,
    /// Its queue.
    pub queue: wgpu::Queue,
}

impl Context {
    /// Picks an adapter and makes a device.
    pub fn new_blocking(_options: &ContextOptions) -> Result<Self> {
        Err(Error::Internal("stub".into()))
    }
    /// Every adapter that matches, without making a device.
    pub fn adapters_blocking(_options: &ContextOptions) -> Vec<wgpu::Adapter> {
        Vec::new()
    }
    /// An engine on this device.
    pub fn engine(&self) -> crate::Engine {
        crate::Engine::new(&self.device, &self.queue)
    }
}

//! [`Capabilities`]: what a device can do, as far as it matters for choosing and running kernels.

/// What kind of adapter a device belongs to; kernel choice depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AdapterClass {
    /// A GPU with memory of its own.
    Discrete,
    /// A GPU that shares the processor's memory (and anything whose kind is not known).
    Integrated,
    /// A software rasteriser (lavapipe, SwiftShader, WARP).
    Software,
}

/// Limits of a device that matter here.
#[derive(Debug, Clone, PartialEq)]
pub struct Capabilities {
    /// Kind of adapter.
    pub class: AdapterClass,
    /// The device's limits.
    pub limits: wgpu::Limits,
}

impl Capabilities {
    /// What `device` can do.
    pub fn of(device: &wgpu::Device) -> Self {
        let class = match device.adapter_info().device_type {
            wgpu::DeviceType::DiscreteGpu => AdapterClass::Discrete,
            wgpu::DeviceType::Cpu => AdapterClass::Software,
            _ => AdapterClass::Integrated,
        };
        Self { class, limits: device.limits() }
    }

    /// The limits that every WebGPU device has, on a discrete GPU: for looking at plans and shaders without an adapter.
    pub fn baseline() -> Self {
        Self { class: AdapterClass::Discrete, limits: wgpu::Limits::default() }
    }
}

//! [`Capabilities`]: what a device can do, as far as it matters for choosing and running kernels.

use crate::matrix_units::MatrixUnits;

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
    /// Most rounds that all loops of one invocation may take together, where the driver ends them without a word beyond
    /// that: longer sums are split into parts. The look at which a loop finds that it has ended is a round too. `u64::MAX`
    /// where there is no such limit.
    pub max_loop_rounds: u64,
    /// Whether shaders can read and write 16-bit floats as they are (`SHADER_F16`); without, they do so two at a time.
    pub shader_f16: bool,
    /// The device's matrix units, once they have passed a test; or why the kernel `matrix` is not used.
    pub matrix_units: Result<MatrixUnits, String>,
    /// Bytes of workspace that a plan may take in order to be fast: Winograd's algorithm goes through images in strips
    /// that keep to it, as far as a single row of tiles does.
    pub max_workspace: u64,
}

/// What a plan may take unless somebody says otherwise: 256 MiB.
const MAX_WORKSPACE: u64 = 1 << 28;

impl Capabilities {
    /// What `device` can do, but for matrix units: only its adapter and a test can tell ([`MatrixUnits::of`]).
    pub fn of(device: &wgpu::Device) -> Self {
        let info = device.adapter_info();
        let class = match info.device_type {
            wgpu::DeviceType::DiscreteGpu => AdapterClass::Discrete,
            wgpu::DeviceType::Cpu => AdapterClass::Software,
            _ => AdapterClass::Integrated,
        };
        let shader_f16 = device.features().contains(wgpu::Features::SHADER_F16);
        Self {
            class,
            limits: device.limits(),
            max_loop_rounds: loop_rounds(&info.name),
            shader_f16,
            matrix_units: MatrixUnits::of(device, &[]),
            max_workspace: MAX_WORKSPACE,
        }
    }

    /// The limits that every WebGPU device has, on a discrete GPU: for looking at plans and shaders without an adapter.
    pub fn baseline() -> Self {
        Self {
            class: AdapterClass::Discrete,
            limits: wgpu::Limits::default(),
            max_loop_rounds: u64::MAX,
            shader_f16: false,
            matrix_units: Err("WebGPU has no matrix units".into()),
            max_workspace: MAX_WORKSPACE,
        }
    }

    /// The same on a device with `SHADER_F16`, the usual matrix units and 32 KiB of workgroup memory, which come with them.
    pub fn with_matrix_units(self) -> Self {
        let limits = wgpu::Limits { max_compute_workgroup_storage_size: 1 << 15, ..self.limits };
        Self { limits, shader_f16: true, matrix_units: Ok(MatrixUnits::usual()), ..self }
    }

    /// Invocations of a subgroup, where kernels are laid out for it.
    pub(crate) fn subgroup_size(&self) -> u32 {
        self.matrix_units.as_ref().map_or(32, |units| units.subgroup_size)
    }
}

/// Mesa's llvmpipe (which is lavapipe's engine) stops every loop of an invocation after 65,535 rounds of all its loops:
/// LP_MAX_TGSI_LOOP_ITERATIONS. Seen with Mesa 22.3 to cut sums short; Mesa 26 runs a million. Which version
/// ended it is not known here, so every one counts as limited.
fn loop_rounds(adapter_name: &str) -> u64 {
    if adapter_name.contains("llvmpipe") { 65_535 } else { u64::MAX }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_llvmpipe_limits_loops() {
        assert_eq!(loop_rounds("llvmpipe (LLVM 15.0.6, 256 bits)"), 65_535);
        assert_eq!(loop_rounds("NVIDIA H200"), u64::MAX);
        assert_eq!(loop_rounds("SwiftShader Device (LLVM 10.0.0)"), u64::MAX);
    }
}

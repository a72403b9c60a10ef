//! Flags that several commands share: which adapter, which kernel; and one convolution from host to host.

use anyhow::Result;
use clap::Args;
use wgpu_conv::wgpu::{AdapterInfo, Backends, Buffer};
use wgpu_conv::{
    Accuracy, Bound, Buffers, Checks, Context, ContextOptions, Engine, Kernel, Plan, PlanOptions, Problem, Tensors,
    WeightData, Weights,
};

use crate::UsageError;

/// Which adapter to use.
#[derive(Args, Debug, Clone, Default)]
#[command(next_help_heading = "Adapter")]
pub struct GpuArgs {
    /// Use an adapter with this in its name [default: WGPU_ADAPTER_NAME, or the most powerful one]
    #[arg(long, value_name = "NAME")]
    pub adapter: Option<String>,
    /// Use these backends: vulkan, dx12, metal; several with commas [default: WGPU_BACKEND, or all]
    #[arg(long, value_name = "BACKEND", value_parser = parse_backends)]
    pub backend: Option<Backends>,
}

impl GpuArgs {
    /// The library's form of these flags.
    pub fn options(&self) -> ContextOptions {
        ContextOptions { adapter_name: self.adapter.clone(), backends: self.backend, ..ContextOptions::default() }
    }

    /// Whether the user asked for particular adapters.
    pub fn any(&self) -> bool {
        self.adapter.is_some() || self.backend.is_some()
    }

    /// A device on the adapter asked for.
    pub fn context(&self) -> Result<Context> {
        Ok(Context::new_blocking(&self.options())?)
    }
}

fn parse_backends(text: &str) -> Result<Backends, String> {
    text.split(',').try_fold(Backends::empty(), |all, name| {
        let backend = match name.trim().to_ascii_lowercase().as_str() {
            "vulkan" | "vk" => Backends::VULKAN,
            "dx12" | "d3d12" => Backends::DX12,
            "metal" | "mtl" => Backends::METAL,
            _ => return Err(format!("there is no backend {name:?}; known are vulkan, dx12, metal")),
        };
        Ok(all | backend)
    })
}

/// Which kernel to use.
#[derive(Args, Debug, Clone, Default)]
#[command(next_help_heading = "Kernel")]
pub struct KernelArgs {
    /// Force a kernel (direct, broadcast, tiled, matrix, winograd); an error if it cannot run the problem [default: chosen by the problem and the adapter]
    #[arg(long, value_name = "NAME")]
    pub kernel: Option<Kernel>,
    /// Force a variant of the kernel (`wgpu-conv info` lists them)
    #[arg(long, value_name = "VARIANT")]
    pub variant: Option<String>,
    /// What kernels may do with the numbers: sums (of products, nothing else), winograd (Winograd's algorithm too, and matrix units for
    /// 16-bit tensors) or reduced (32-bit factors rounded to 16-bit floats for matrix units too) [default: winograd]
    #[arg(long, value_name = "WHAT")]
    pub accuracy: Option<Accuracy>,
}

impl KernelArgs {
    /// The library's form of these flags.
    ///
    /// # Errors
    /// If there is no such variant, or the forced kernel has none of that name.
    pub fn options(&self) -> Result<PlanOptions> {
        if let Some(variant) = &self.variant {
            let kernels = match &self.kernel {
                Some(kernel) => std::slice::from_ref(kernel),
                None => Kernel::ALL,
            };
            let known: Vec<String> =
                kernels.iter().map(|kernel| format!("{kernel}: {}", kernel.variants().join(", "))).collect();
            if !kernels.iter().any(|kernel| kernel.variants().contains(&variant.as_str())) {
                return Err(
                    UsageError(format!("there is no variant {variant:?}; known are {}", known.join("; "))).into()
                );
            }
        }
        Ok(PlanOptions { kernel: self.kernel, variant: self.variant.clone(), checks: None, accuracy: self.accuracy })
    }
}

/// With [`KernelArgs::options`], the checked mode too.
pub fn with_checks(options: PlanOptions, checked: bool) -> PlanOptions {
    PlanOptions { checks: checked.then_some(Checks::Checked), ..options }
}

/// A problem string, or one of the letters A to L.
pub fn parse_problem(text: &str) -> Result<Problem, String> {
    wgpu_conv_check::problem_or_workload(text).map_err(|error| error.to_string())
}

/// One convolution with the buffers that it runs on, ready to run any number of times.
pub struct Prepared {
    /// Kernel and variant.
    pub plan: Plan,
    /// Plan and buffers.
    pub bound: Bound,
    weights: Weights,
    output: Buffer,
    others: Others,
}

/// The tensors that only some convolutions have.
struct Others {
    residual: Option<Buffer>,
    offset: Option<Buffer>,
    mask: Option<Buffer>,
}

impl Others {
    /// With these in their places.
    fn beside<'a>(&'a self, input: &'a Buffer, output: &'a Buffer) -> Buffers<'a> {
        let mut buffers = Buffers::new(input.slice(..), output.slice(..));
        buffers.residual = self.residual.as_ref().map(|buffer| buffer.slice(..));
        buffers.offset = self.offset.as_ref().map(|buffer| buffer.slice(..));
        buffers.mask = self.mask.as_ref().map(|buffer| buffer.slice(..));
        buffers
    }
}

impl Prepared {
    /// Plans, uploads and binds.
    pub fn new(engine: &Engine, problem: &Problem, tensors: &Tensors<'_>, options: &PlanOptions) -> Result<Self> {
        tensors.check(problem)?;
        let plan = engine.plan_blocking(problem, options)?;
        let weights = plan.weights_blocking(&WeightData::from(tensors))?;
        let dtype = problem.output_dtype();
        let input = engine.buffer_from_as("input", tensors.input, problem.dtype())?;
        let output = engine.buffer_zeroed_as("output", problem.output_len(), dtype)?;
        let optional =
            |label: &str, data: Option<&[f32]>| data.map(|data| engine.buffer_from_as(label, data, dtype)).transpose();
        let others = Others {
            residual: optional("residual", tensors.residual)?,
            offset: optional("offset", tensors.offset)?,
            mask: optional("mask", tensors.mask)?,
        };
        let bound = plan.bind_blocking(&weights, &others.beside(&input, &output))?;
        Ok(Self { plan, bound, weights, output, others })
    }

    /// The same convolution from another input buffer to another output buffer.
    pub fn bind(&self, input: &Buffer, output: &Buffer) -> Result<Bound> {
        Ok(self.plan.bind_blocking(&self.weights, &self.others.beside(input, output))?)
    }

    /// Runs it, waits, and reads the output back.
    pub fn run(&self, engine: &Engine) -> Result<Vec<f32>> {
        Ok(self.plan.problem().output_dtype().decode(&self.run_bytes(engine)?))
    }

    /// The same, elements as they lie in memory.
    pub fn run_bytes(&self, engine: &Engine) -> Result<Vec<u8>> {
        self.bound.run_blocking()?;
        let problem = self.plan.problem();
        let mut output = engine.read_bytes_blocking(self.output.slice(..))?;
        // The buffer is not empty, and ends with a whole word.
        output.truncate((problem.output_dtype().size() * problem.output_len()) as usize);
        Ok(output)
    }
}

/// An adapter in a few words: `llvmpipe (LLVM 15.0.6, 256 bits), Vulkan`.
pub fn adapter_text(info: &AdapterInfo) -> String {
    format!("{}, {:?}", info.name, info.backend)
}

/// Driver and version in a few words.
pub fn driver_text(info: &AdapterInfo) -> String {
    match (info.driver.is_empty(), info.driver_info.is_empty()) {
        (true, true) => "unknown".into(),
        (false, true) => info.driver.clone(),
        (true, false) => info.driver_info.clone(),
        (false, false) => format!("{} ({})", info.driver, info.driver_info),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backends_are_named() {
        assert_eq!(parse_backends("vulkan").unwrap(), Backends::VULKAN);
        assert_eq!(parse_backends("dx12, Metal").unwrap(), Backends::DX12 | Backends::METAL);
        for bad in ["", "vulcan", "vulkan,,", "all", "gl"] {
            assert!(parse_backends(bad).unwrap_err().contains("known are"), "{bad:?}");
        }
    }

    #[test]
    fn a_variant_must_belong_to_the_kernel() {
        let [direct, tiled] = [Kernel::Direct, Kernel::Tiled];
        let of = |kernel, variant: &str| KernelArgs { kernel, variant: Some(variant.into()), accuracy: None }.options();
        let name = tiled.variants()[0];
        assert!(of(Some(tiled), name).is_ok() && of(None, name).is_ok());
        let error = of(Some(direct), name).unwrap_err();
        assert!(error.is::<UsageError>() && error.to_string().contains(direct.variants()[0]), "{error}");
    }
}

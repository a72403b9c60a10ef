//! `wgpu-conv shader`: the WGSL of a kernel.

use anyhow::Result;
use clap::Args;
use wgpu_conv::{Kernel, Problem, shader_source};

use crate::{gpu, output};

/// Print the WGSL of a kernel for a problem
///
/// It is printed as it is handed to wgpu: a whole module and nothing else. No adapter is needed.
#[derive(Args)]
pub struct ShaderArgs {
    /// A problem string, or A to L
    #[arg(value_parser = gpu::parse_problem)]
    problem: Problem,
    /// The kernel: direct, broadcast, tiled, matrix, winograd
    #[arg(long, value_name = "NAME")]
    kernel: Kernel,
    /// The variant [default: the kernel's first, on every machine the same]
    #[arg(long)]
    variant: Option<String>,
    /// Which of the kernel's programs: 0 is the convolution, 1 the one that packs its weights; where sums are split, the one
    /// that adds them; of a deformable convolution the one that samples the input; then the further convolutions of a problem
    /// that takes several, as transposed ones do
    #[arg(long, default_value_t = 0)]
    part: u32,
}

pub fn run(args: &ShaderArgs) -> Result<()> {
    output::print(&shader_source(&args.problem, args.kernel, args.variant.as_deref(), args.part)?)
}

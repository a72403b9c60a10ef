//! `wgpu-conv`: convolution on the GPU from the command line. A library for the sake of its tests: the program is
//! [`main`], and [`untrusted`] what reads files of unknown origin.

mod bench;
mod conv_args;
mod explain;
mod filter;
mod formats;
mod gpu;
mod info;
mod meter;
mod npy;
mod output;
mod quantized;
mod run;
mod serve;
mod shader;
mod tensor_file;
mod tune;
pub mod untrusted;
mod verify;
mod whole_call;

use std::fmt;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Exit code for arguments that make no sense, as clap has it.
const USAGE: u8 = 2;

const AFTER_HELP: &str = "\
A PROBLEM is one convolution in one word, or a workload of the benchmarks, A to L:

  n8c64h56w56o128k3s2p1         batch 8, 64 channels, 56 x 56 image,
                                128 output channels, kernel 3 x 3, stride 2, padding 1
  c32h9w9o32k3x5p0,1,2,3d2g32   kernel 3 x 5; padding top,bottom,left,right;
                                dilation 2; 32 groups
  c3h32w32o8k7psame:reflect:nobias+residual+relu
                                padding mode, no bias; residual and activation
  c1w16000o512k10s5             one axis: no h; with z, h and w there are three
  c64h28w28o32k4s2p1:transposed=1x0
                                transposed, with output padding
  c64h28w28o32k3p1:f16:nhwc:hwio
                                16-bit floats, channels last, the weight as TensorFlow has it
  c64h28w28o64k3p1:deform:offset_groups=2:mask
                                deformable, with two offset groups and a mask
  c64h28w28o32k3p1:u8_i8_u8     integers: input, weight and output

Where no flag does, the environment variables WGPU_BACKEND (vulkan, dx12, metal)
and WGPU_ADAPTER_NAME (part of a name) choose the adapter.
Exit codes: 0 all is well, 1 something failed, 2 the arguments are wrong.";

#[derive(Parser)]
#[command(name = "wgpu-conv", version, after_help = AFTER_HELP, max_term_width = 120)]
/// Convolutions of PyTorch on the GPU: filter images, convolve tensors, verify the kernels, measure them, look inside.
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Filter(Box<filter::FilterArgs>),
    Run(Box<run::RunArgs>),
    Verify(verify::VerifyArgs),
    Bench(bench::BenchArgs),
    Tune(tune::TuneArgs),
    Explain(explain::ExplainArgs),
    Info(info::InfoArgs),
    Shader(shader::ShaderArgs),
}

/// Arguments that are each fine, but not together.
#[derive(Debug)]
struct UsageError(String);

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UsageError {}

/// The program, with the arguments of the process.
pub fn main() -> ExitCode {
    let result = execute(Cli::parse().command);
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read our output has seen enough.
        Err(error) if output::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            output::note(&format!("error: {error:#}"));
            if error.is::<UsageError>() { ExitCode::from(USAGE) } else { ExitCode::FAILURE }
        }
    }
}

fn execute(command: Command) -> Result<()> {
    match command {
        Command::Filter(args) => filter::run(*args),
        Command::Run(args) => run::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Tune(args) => tune::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Info(args) => info::run(&args),
        Command::Shader(args) => shader::run(&args),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_examples_in_the_help_are_problems() {
        let words = AFTER_HELP.lines().filter_map(|line| line.strip_prefix("  ")?.split_whitespace().next());
        let examples: Vec<&str> = words.filter(|word| word.contains('k') && word.contains('w')).collect();
        assert_eq!(examples.len(), 8, "{examples:?}");
        for example in examples {
            gpu::parse_problem(example).unwrap_or_else(|error| panic!("{example}: {error}"));
        }
    }
}

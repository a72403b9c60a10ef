//! `wgpu-conv run`: one convolution over tensors in files.

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use wgpu_conv::{Activation, Conv2d, Epilogue, Padding, PaddingMode, PerAxis, Problem, Tensors, reference};

use crate::gpu::{self, GpuArgs, KernelArgs, Prepared};
use crate::output::{self, thousands};
use crate::tensor_file::{Tensor, TensorPath, shape_text};
use crate::tune::TuningArgs;

/// Convolve tensors in .npy or .safetensors files
///
/// All parameters of torch.nn.Conv2d are flags; in_channels, out_channels and kernel_size follow from the weight.
///
/// Tensors are float32. A tensor in a .safetensors file is FILE.safetensors:NAME; the name may be left out where the file
/// has only one. The output is written whole or not at all.
#[derive(Args)]
pub struct RunArgs {
    /// Input, (N, C_in, H, W) or (C_in, H, W)
    #[arg(long, value_name = "FILE")]
    input: TensorPath,
    /// Weight, (C_out, C_in / groups, KH, KW)
    #[arg(long, value_name = "FILE")]
    weight: TensorPath,
    /// Bias, (C_out)
    #[arg(long, value_name = "FILE")]
    bias: Option<TensorPath>,
    /// Tensor of the output's shape, added before the activation
    #[arg(long, value_name = "FILE")]
    residual: Option<TensorPath>,
    /// Slopes of the activation prelu, (C_out) or (1)
    #[arg(long, value_name = "FILE")]
    slopes: Option<TensorPath>,
    /// Where the output goes: FILE.npy, FILE.safetensors or FILE.safetensors:NAME
    #[arg(long, value_name = "FILE")]
    output: TensorPath,

    #[command(flatten)]
    conv: ConvArgs,
    #[command(flatten)]
    kernel: KernelArgs,
    #[command(flatten)]
    tuning: TuningArgs,
    /// Use shaders with bounds checks
    #[arg(long, help_heading = "Kernel")]
    checked: bool,
    /// Compare with the CPU reference; outside the error bound, fail and write nothing
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    gpu: GpuArgs,
}

/// torch.nn.Conv2d's parameters. N is one number for both axes, or rows,columns.
#[derive(Args)]
#[command(next_help_heading = "Parameters of torch.nn.Conv2d (N: one number, or rows,columns)")]
struct ConvArgs {
    /// Step between neighbouring outputs
    #[arg(long, value_name = "N", default_value = "1", value_parser = parse_pair)]
    stride: [u32; 2],
    /// N, or top,bottom,left,right, or same, same-lower, valid
    #[arg(long, default_value = "0", value_parser = parse_padding)]
    padding: Padding,
    /// Distance between neighbouring taps
    #[arg(long, value_name = "N", default_value = "1", value_parser = parse_pair)]
    dilation: [u32; 2],
    /// Number of independent groups of channels
    #[arg(long, default_value_t = 1)]
    groups: u32,
    /// What padded elements hold: zeros, reflect, replicate, circular
    #[arg(long, value_name = "MODE", default_value = "zeros", value_parser = parse_mode)]
    padding_mode: PaddingMode,
    /// relu, relu6, clip=MIN,MAX, leaky_relu=SLOPE, prelu, sigmoid, tanh, silu, gelu, gelu_tanh, hard_swish, elu=ALPHA
    #[arg(long, value_name = "NAME", default_value = "identity")]
    activation: Activation,
    /// Must be the input's [default: the input's]
    #[arg(long, value_name = "COUNT")]
    in_channels: Option<u32>,
    /// Must be the weight's [default: the weight's]
    #[arg(long, value_name = "COUNT")]
    out_channels: Option<u32>,
    /// Must be the weight's [default: the weight's]
    #[arg(long, value_name = "N", value_parser = parse_pair)]
    kernel_size: Option<[u32; 2]>,
}

/// The tensors of one run, as they were in the files.
struct Files {
    input: Tensor,
    weight: Tensor,
    bias: Option<Tensor>,
    residual: Option<Tensor>,
    slopes: Option<Tensor>,
}

pub fn run(args: &RunArgs) -> Result<()> {
    // Everything that can be wrong without a GPU comes first.
    let options = gpu::with_checks(args.kernel.options()?, args.checked);
    output::check_writable(&args.output.file)?;
    args.tuning.check()?;
    let mut files = Files::read(args)?;
    let activation = files.take_single_slope(args.conv.activation);
    let problem = files.problem(args, activation)?;
    files.check_shapes(&problem)?;
    let tensors = files.tensors();
    tensors.check(&problem)?;

    let context = args.gpu.context()?;
    let engine = args.tuning.engine(&context)?;
    let prepared = Prepared::new(&engine, &problem, &tensors, &options)?;
    let data = prepared.run(&engine)?;
    let mut report = format!(
        "{problem}\non {}, kernel {}, variant {}, {}",
        gpu::adapter_text(&context.adapter.get_info()),
        prepared.plan.kernel(),
        prepared.plan.variant(),
        prepared.plan.checks().name()
    );
    if args.check {
        report.push('\n');
        report.push_str(&check(&problem, &tensors, &data)?);
    }
    let shape = files.output_shape(&problem);
    report.push_str(&format!("\noutput {} written to {}", shape_text(&shape), args.output));
    args.output.write(&Tensor { shape, data })?;
    output::print(&report)
}

/// Compares with the CPU reference: a sentence, or an error with the same numbers.
fn check(problem: &Problem, tensors: &Tensors<'_>, data: &[f32]) -> Result<String> {
    let comparison = reference::convolve(problem, tensors)?.compare(data)?;
    let [expected, actual, bound] = comparison.worst;
    let mut text = format!(
        "largest difference from the CPU reference {:.3e} over {} outputs",
        comparison.max_error,
        thousands(comparison.count as u64)
    );
    if let Some(index) = comparison.worst_index {
        text.push_str(&format!(
            "; closest to its bound is output {index}: {actual:e} for {expected:e}, difference {:.3e}, bound {bound:.3e}",
            (actual - expected).abs()
        ));
    }
    ensure!(comparison.failures == 0, "{} outputs are outside their bounds: {text}", comparison.failures);
    Ok(text)
}

impl Files {
    fn read(args: &RunArgs) -> Result<Self> {
        let optional = |path: &Option<TensorPath>, flag| path.as_ref().map(|path| path.read(flag)).transpose();
        Ok(Self {
            input: args.input.read("--input")?,
            weight: args.weight.read("--weight")?,
            bias: optional(&args.bias, "--bias")?,
            residual: optional(&args.residual, "--residual")?,
            slopes: optional(&args.slopes, "--slopes")?,
        })
    }

    /// torch.nn.PReLU has one slope for all channels by default, which makes it a leaky ReLU.
    fn take_single_slope(&mut self, activation: Activation) -> Activation {
        let several_channels = self.weight.shape.first() != Some(&1);
        let single =
            self.slopes.take_if(|slopes| activation == Activation::Prelu && slopes.shape == [1] && several_channels);
        match single.as_ref().and_then(|slopes| slopes.data.first()) {
            Some(&slope) => Activation::LeakyRelu { slope },
            None => activation,
        }
    }

    /// The convolution that the shapes and the flags describe.
    fn problem(&self, args: &RunArgs, activation: Activation) -> Result<Problem> {
        let input = match self.input.shape.len() {
            3 => [&[1], &self.input.shape[..]].concat(),
            _ => self.input.shape.clone(),
        };
        let input = four("input", &input, "(N, C_in, H, W), or (C_in, H, W) without a batch")
            .with_context(|| format!("--input {}", args.input))?;
        let weight = four("weight", &self.weight.shape, "(C_out, C_in / groups, KH, KW)")
            .with_context(|| format!("--weight {}", args.weight))?;
        let args = &args.conv;
        let conv = Conv2d {
            stride: args.stride,
            padding: args.padding,
            dilation: args.dilation,
            padding_mode: args.padding_mode,
            bias: self.bias.is_some(),
            ..Conv2d::from_weight_shape(weight, args.groups)?
        };
        for (name, wanted, given) in [
            ("--in-channels", args.in_channels, input[1]),
            ("--out-channels", args.out_channels, conv.out_channels),
            ("--kernel-size (rows)", args.kernel_size.map(|size| size[0]), conv.kernel_size[0]),
            ("--kernel-size (columns)", args.kernel_size.map(|size| size[1]), conv.kernel_size[1]),
        ] {
            if let Some(wanted) = wanted.filter(|&wanted| wanted != given) {
                bail!("{name} is {wanted}; the tensors have {given}");
            }
        }
        let epilogue = Epilogue { residual: self.residual.is_some(), activation };
        Problem::new(&conv, input).and_then(|problem| problem.with_epilogue(epilogue)).with_context(|| {
            let [input, weight] = [&self.input, &self.weight].map(|tensor| shape_text(&tensor.shape));
            format!("input {input} and weight {weight} with groups {} make no convolution", args.groups)
        })
    }

    /// The shapes of the other tensors.
    fn check_shapes(&self, problem: &Problem) -> Result<()> {
        let channels = u64::from(problem.out_channels());
        let output = self.output_shape(problem);
        for (name, tensor, required) in [
            ("bias", &self.bias, vec![channels]),
            ("residual", &self.residual, output),
            ("slopes", &self.slopes, vec![channels]),
        ] {
            if let Some(tensor) = tensor {
                let [actual, wanted] = [&tensor.shape, &required].map(|shape| shape_text(shape));
                ensure!(tensor.shape == required, "{name} has shape {actual}; required is {wanted}");
            }
        }
        Ok(())
    }

    /// As PyTorch has it: without a batch axis where the input has none.
    fn output_shape(&self, problem: &Problem) -> Vec<u64> {
        let shape = problem.output_shape().map(u64::from);
        shape[4 - self.input.shape.len().min(4)..].to_vec()
    }

    fn tensors(&self) -> Tensors<'_> {
        fn optional(tensor: &Option<Tensor>) -> Option<&[f32]> {
            tensor.as_ref().map(|tensor| tensor.data.as_slice())
        }
        Tensors {
            input: &self.input.data,
            weight: &self.weight.data,
            bias: optional(&self.bias),
            residual: optional(&self.residual),
            slopes: optional(&self.slopes),
        }
    }
}

/// Four sizes in 32 bits.
fn four(name: &str, shape: &[u64], axes: &str) -> Result<[u32; 4]> {
    let sizes: Option<Vec<u32>> = shape.iter().map(|&size| u32::try_from(size).ok()).collect();
    let sizes =
        sizes.with_context(|| format!("{name} has shape {}; a size may be at most {}", shape_text(shape), u32::MAX))?;
    sizes
        .try_into()
        .ok()
        .with_context(|| format!("{name} has {} axes, shape {}; required is {axes}", shape.len(), shape_text(shape)))
}

fn numbers(text: &str) -> Result<Vec<u32>, String> {
    text.split(',')
        .map(|part| {
            let part = part.trim();
            let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
            let number = digits.then(|| part.parse().ok()).flatten();
            number.ok_or_else(|| format!("{part:?} is not a whole number from 0 to {}", u32::MAX))
        })
        .collect()
}

fn parse_pair(text: &str) -> Result<[u32; 2], String> {
    match numbers(text)?[..] {
        [both] => Ok(PerAxis::from(both).0),
        [rows, columns] => Ok([rows, columns]),
        ref other => Err(format!("{} numbers; required are one, or rows,columns", other.len())),
    }
}

fn parse_padding(text: &str) -> Result<Padding, String> {
    match text {
        "same" => return Ok(Padding::Same),
        "same-lower" => return Ok(Padding::SameLower),
        "valid" => return Ok(Padding::Valid),
        _ => {}
    }
    let numbers = numbers(text).map_err(|error| format!("{error}, nor is it same, same-lower or valid"))?;
    match numbers[..] {
        [all] => Ok(all.into()),
        [rows, columns] => Ok([rows, columns].into()),
        [top, bottom, left, right] => Ok(Padding::sides(top, bottom, left, right)),
        ref other => {
            Err(format!("{} numbers; required are one, or rows,columns, or top,bottom,left,right", other.len()))
        }
    }
}

/// PyTorch's name of a padding mode.
pub fn parse_mode(text: &str) -> Result<PaddingMode, String> {
    PaddingMode::from_name(text).ok_or_else(|| {
        let known: Vec<&str> = PaddingMode::ALL.iter().map(|mode| mode.name()).collect();
        format!("known are {}", known.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_output_fails_the_check_with_its_numbers() {
        let problem: Problem = "n1c1h1w2o1k1:nobias".parse().unwrap();
        let tensors = Tensors::new(&[2.0, 3.0], &[5.0]);
        let text = check(&problem, &tensors, &[10.0, 15.0]).unwrap();
        assert!(text.contains("over 2 outputs"), "{text}");
        let error = check(&problem, &tensors, &[10.0, 15.5]).unwrap_err().to_string();
        for part in ["1 outputs are outside", "output 1", "1.55e1 for 1.5e1", "5.000e-1"] {
            assert!(error.contains(part), "{part} is not in {error}");
        }
        assert!(check(&problem, &tensors, &[f32::NAN, 15.0]).is_err());
    }

    #[test]
    fn flags_are_read() {
        assert_eq!(parse_pair("2").unwrap(), [2, 2]);
        assert_eq!(parse_pair("2,1").unwrap(), [2, 1]);
        assert_eq!(parse_padding("3").unwrap(), Padding::sides(3, 3, 3, 3));
        assert_eq!(parse_padding("3,1").unwrap(), Padding::sides(3, 3, 1, 1));
        assert_eq!(parse_padding("0,1,2,3").unwrap(), Padding::sides(0, 1, 2, 3));
        assert_eq!(parse_padding("same-lower").unwrap(), Padding::SameLower);
        assert_eq!(parse_mode("circular").unwrap(), PaddingMode::Circular);
        for bad in ["", "1,", "-1", "+1", "1.5", "x", "1,2,3", "99999999999"] {
            assert!(parse_pair(bad).is_err() && parse_padding(bad).is_err(), "{bad:?}");
        }
        assert!(parse_mode("mirror").unwrap_err().contains("reflect"));
    }
}

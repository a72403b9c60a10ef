//! `wgpu-conv run`: one convolution over tensors in files.

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use wgpu_conv::{Activation, DType, Epilogue, Error, Parameters, Problem, Rounding, Shape, Tensors, reference};

use crate::conv_args::ConvArgs;
use crate::formats::FormatArgs;
use crate::gpu::{self, GpuArgs, KernelArgs, Prepared};
use crate::output::{self, thousands};
use crate::quantized::{QuantizedArgs, whole_output};
use crate::tensor_file::{Tensor, TensorPath, Whole, shape_text};
use crate::tune::TuningArgs;

/// Convolve tensors in .npy or .safetensors files
///
/// All parameters of torch.nn.Conv1d/2d/3d, ConvTranspose1d/2d/3d and torchvision.ops.DeformConv2d are flags. The weight's axes say whether it is 1-D,
/// 2-D or 3-D; in_channels, out_channels and kernel_size follow from it.
///
/// Tensors are float32 or float16; the output is of the type that input and weight have (sums are float32 in any case). Or input
/// and weight are int8 or uint8, and the output what --output-type says. A
/// tensor in a .safetensors file is FILE.safetensors:NAME; the name may be left out where the file
/// has only one. The output is written whole or not at all.
#[derive(Args)]
pub struct RunArgs {
    /// Input, (N, C_in, W), (N, C_in, H, W) or (N, C_in, D, H, W); N may be left out. (For other orders see --layout)
    #[arg(long, value_name = "FILE")]
    input: TensorPath,
    /// Weight, (C_out, C_in / groups, KW), (…, KH, KW) or (…, KD, KH, KW); transposed: (C_in, C_out / groups, …)
    #[arg(long, value_name = "FILE")]
    weight: TensorPath,
    /// Bias, (C_out)
    #[arg(long, value_name = "FILE")]
    bias: Option<TensorPath>,
    /// Tensor of the output's shape, added before the activation
    #[arg(long, value_name = "FILE")]
    residual: Option<TensorPath>,
    /// Slopes of the activation prelu, (C_out) or (1); of prelu_each, the output's shape without its batch
    #[arg(long, value_name = "FILE")]
    slopes: Option<TensorPath>,
    /// Offsets of the taps (with --deform), (N, offset_groups · 2 · KH · KW, OH, OW): of each tap down, then to the right
    #[arg(long, value_name = "FILE")]
    offset: Option<TensorPath>,
    /// What the samples are multiplied by (with --deform), (N, offset_groups · KH · KW, OH, OW)
    #[arg(long, value_name = "FILE")]
    mask: Option<TensorPath>,
    /// Where the output goes: FILE.npy, FILE.safetensors or FILE.safetensors:NAME
    #[arg(long, value_name = "FILE")]
    output: TensorPath,

    #[command(flatten)]
    formats: FormatArgs,
    #[command(flatten)]
    conv: ConvArgs,
    #[command(flatten)]
    quantized: QuantizedArgs,
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

/// The tensors of one run, as they were in the files.
struct Files {
    input: Tensor,
    weight: Tensor,
    bias: Option<Tensor>,
    /// In place of that one, of integers.
    whole_bias: Option<Whole>,
    residual: Option<Tensor>,
    slopes: Option<Tensor>,
    offset: Option<Tensor>,
    mask: Option<Tensor>,
}

pub fn run(args: &RunArgs) -> Result<()> {
    // Everything that can be wrong without a GPU comes first.
    let options = gpu::with_checks(args.kernel.options()?, args.checked);
    output::check_writable(&args.output.file)?;
    args.tuning.check()?;
    let mut files = Files::read(args)?;
    let (dtype, quantized) = if files.are_integers(args) {
        let tensors = [(&args.input, &files.input), (&args.weight, &files.weight)];
        (files.input.dtype, Some(args.quantized.read(tensors, files.whole_bias.as_ref())?))
    } else {
        args.quantized.refuse(&args.input, files.input.dtype)?;
        (files.unify_types(args)?, None)
    };
    let parameters = files.parameters(args)?;
    let activation = files.take_single_slope(args.conv.activation, &parameters);
    let problem = files.problem(args, &parameters, activation)?;
    let problem = match &quantized {
        None => problem.with_dtype(dtype)?,
        Some((integers, _)) => problem.with_integers(*integers)?,
    };
    files.check_shapes(args, &problem)?;
    let quantization = quantized.as_ref().map(|(_, data)| data.borrowed());
    let tensors = Tensors { quantization, ..files.tensors() };
    tensors.check(&problem)?;

    let context = args.gpu.context()?;
    let engine = args.tuning.engine(&context)?;
    let prepared = Prepared::new(&engine, &problem, &tensors, &options)?;
    let bytes = prepared.run_bytes(&engine)?;
    let shape = files.output_shape(args, &problem);
    let whole = whole_output(&problem, shape.clone(), &bytes);
    let data = problem.output_dtype().decode(&bytes);
    let mut report = format!(
        "{problem}\non {}, kernel {}, variant {}, {}",
        gpu::adapter_text(&context.adapter.get_info()),
        prepared.plan.kernel(),
        prepared.plan.variant(),
        prepared.plan.checks().name()
    );
    if args.check {
        report.push('\n');
        let rounding = prepared.plan.rounding();
        report.push_str(&match &whole {
            Some(whole) => check(&problem, &tensors, rounding, &whole.data)?,
            None => check(&problem, &tensors, rounding, &data)?,
        });
    }
    report.push_str(&format!("\noutput {} written to {}", shape_text(&shape), args.output));
    match whole.filter(|_| problem.output_dtype() == DType::I32) {
        Some(whole) => args.output.write_whole(&whole)?,
        None => args.output.write(&Tensor { shape, dtype: problem.output_dtype(), data })?,
    }
    output::print(&report)
}

/// Compares with the CPU reference: a sentence, or an error with the same numbers.
fn check<T: Copy + Into<f64>>(
    problem: &Problem,
    tensors: &Tensors<'_>,
    rounding: Rounding,
    data: &[T],
) -> Result<String> {
    let comparison = reference::convolve_as(problem, tensors, rounding)?.compare(data)?;
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
        let input = args.input.read("--input")?;
        // Integers, unless they are converted, have a bias of integers.
        let whole = !input.dtype.is_float() && !args.formats.converts();
        let whole_bias = args.bias.as_ref().filter(|_| whole).map(|path| path.read_whole("--bias")).transpose()?;
        Ok(Self {
            weight: args.weight.read("--weight")?,
            bias: if whole { None } else { optional(&args.bias, "--bias")? },
            whole_bias,
            input,
            residual: optional(&args.residual, "--residual")?,
            slopes: optional(&args.slopes, "--slopes")?,
            offset: optional(&args.offset, "--offset")?,
            mask: optional(&args.mask, "--mask")?,
        })
    }

    /// Whether the convolution is one of integers.
    fn are_integers(&self, args: &RunArgs) -> bool {
        !self.input.dtype.is_float() && !args.formats.converts()
    }

    /// Input, weight, residual, offsets and mask are of one type. (Bias and slopes are float32 in every problem.)
    fn unify_types(&mut self, args: &RunArgs) -> Result<DType> {
        let mut tensors = vec![("--input", &args.input, &mut self.input), ("--weight", &args.weight, &mut self.weight)];
        for (flag, path, tensor) in [
            ("--residual", &args.residual, &mut self.residual),
            ("--offset", &args.offset, &mut self.offset),
            ("--mask", &args.mask, &mut self.mask),
        ] {
            if let (Some(path), Some(tensor)) = (path, tensor) {
                tensors.push((flag, path, tensor));
            }
        }
        args.formats.common_type(&mut tensors)
    }

    fn has_bias(&self) -> bool {
        self.bias.is_some() || self.whole_bias.is_some()
    }

    /// The convolution that the weight and the flags describe.
    fn parameters(&self, args: &RunArgs) -> Result<Parameters> {
        sizes("weight", &self.weight.shape)
            .and_then(|weight| {
                let weight = args.formats.weight_to_library(&weight);
                let made = args.conv.parameters(&weight, self.has_bias(), self.mask.is_some());
                // What the library says of a shape is of the shape that it was given.
                made.map_err(|error| match error.downcast() {
                    Ok(Error::Shape { tensor, required, .. }) => {
                        Error::Shape { tensor, actual: plain_text(&self.weight.shape), required }.into()
                    }
                    Ok(error) => error.into(),
                    Err(error) => error,
                })
            })
            .with_context(|| format!("--weight {}", args.weight))
    }

    /// torch.nn.PReLU has one slope for all channels by default, which makes it a leaky ReLU.
    fn take_single_slope(&mut self, activation: Activation, parameters: &Parameters) -> Activation {
        let several_channels = parameters.out_channels != 1;
        let single =
            self.slopes.take_if(|slopes| activation == Activation::Prelu && slopes.shape == [1] && several_channels);
        match single.as_ref().and_then(|slopes| slopes.data.first()) {
            Some(&slope) => Activation::LeakyRelu { slope },
            None => activation,
        }
    }

    /// The convolution on this input.
    fn problem(&self, args: &RunArgs, parameters: &Parameters, activation: Activation) -> Result<Problem> {
        let sizes = sizes("input", &self.input.shape).with_context(|| format!("--input {}", args.input))?;
        let mut input = args.formats.to_library(&sizes, !self.has_no_batch());
        if self.has_no_batch() {
            input.insert(0, 1);
        }
        if let Some(&channels) = input.get(1) {
            args.conv.check(parameters, channels)?;
        }
        let epilogue = Epilogue { residual: self.residual.is_some(), activation };
        let made = Problem::from_parameters(parameters, &input).map_err(|error| match error {
            Error::Shape { tensor: tensor @ "input", .. } if !args.formats.channels_first() => {
                let channels = parameters.in_channels;
                let shape = args.formats.input_in_file(channels, parameters.kernel_size.len());
                let required = format!("{shape}: the convolution has in_channels = {channels}");
                Error::Shape { tensor, actual: plain_text(&self.input.shape), required }
            }
            error => error,
        });
        let problem = made.and_then(|problem| problem.with_epilogue(epilogue)).with_context(|| {
            let [x, w] = [&self.input, &self.weight].map(|tensor| shape_text(&tensor.shape));
            let (input, weight, groups) = (&args.input, &args.weight, args.conv.groups());
            let FormatArgs { layout, weight_layout, .. } = &args.formats;
            format!(
                "--input {input}, {x} ({layout}), and --weight {weight}, {w} ({weight_layout}), with groups {groups} make no \
                 convolution"
            )
        })?;
        Ok(problem.with_layout(args.formats.layout).with_weight_layout(args.formats.weight_layout))
    }

    /// The weight has an axis for input and one for output channels, the input one for channels alone.
    fn has_no_batch(&self) -> bool {
        self.input.shape.len() + 1 == self.weight.shape.len()
    }

    /// The shapes of the other tensors.
    fn check_shapes(&self, args: &RunArgs, problem: &Problem) -> Result<()> {
        let channels = u64::from(problem.out_channels());
        let output = self.output_shape(args, problem);
        // What the convolution does not have is left to the library, which says so.
        let deformation = |shape: Option<Shape>, tensor: &Option<Tensor>| match (shape, tensor) {
            (Some(shape), _) => self.in_file(args, shape),
            (None, Some(tensor)) => tensor.shape.clone(),
            (None, None) => Vec::new(),
        };
        let offset = deformation(problem.offset_shape(), &self.offset);
        let mask = deformation(problem.mask_shape(), &self.mask);
        let slopes = match problem.epilogue().activation {
            Activation::PreluEach => {
                let image: Vec<u64> = problem.output_shape().iter().skip(1).copied().map(u64::from).collect();
                args.formats.in_file(&image, false)
            }
            _ => vec![channels],
        };
        if let Some(bias) = &self.whole_bias {
            let [actual, wanted] = [&bias.shape, &vec![channels]].map(|shape| shape_text(shape));
            ensure!(actual == wanted, "bias has shape {actual}; required is {wanted}");
        }
        for (name, tensor, required) in [
            ("bias", &self.bias, vec![channels]),
            ("residual", &self.residual, output),
            ("slopes", &self.slopes, slopes),
            ("offset", &self.offset, offset),
            ("mask", &self.mask, mask),
        ] {
            if let Some(tensor) = tensor {
                let [actual, wanted] = [&tensor.shape, &required].map(|shape| shape_text(shape));
                ensure!(tensor.shape == required, "{name} has shape {actual}; required is {wanted}");
            }
        }
        Ok(())
    }

    /// As PyTorch has it, without a batch axis where the input has none; in the file's order.
    fn output_shape(&self, args: &RunArgs, problem: &Problem) -> Vec<u64> {
        self.in_file(args, problem.output_shape())
    }

    fn in_file(&self, args: &RunArgs, shape: Shape) -> Vec<u64> {
        let left_out = usize::from(self.has_no_batch());
        let shape: Vec<u64> = shape.iter().skip(left_out).copied().map(u64::from).collect();
        args.formats.in_file(&shape, !self.has_no_batch())
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
            quantization: None,
            offset: optional(&self.offset),
            mask: optional(&self.mask),
        }
    }
}

/// A shape as the library writes it.
fn plain_text(shape: &[u64]) -> String {
    let sizes: Vec<String> = shape.iter().map(ToString::to_string).collect();
    format!("({})", sizes.join(", "))
}

/// Sizes in 32 bits.
fn sizes(name: &str, shape: &[u64]) -> Result<Vec<u32>> {
    let sizes: Option<Vec<u32>> = shape.iter().map(|&size| u32::try_from(size).ok()).collect();
    sizes.with_context(|| format!("{name} has shape {}; a size may be at most {}", shape_text(shape), u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_output_fails_the_check_with_its_numbers() {
        let problem: Problem = "n1c1h1w2o1k1:nobias".parse().unwrap();
        let tensors = Tensors::new(&[2.0, 3.0], &[5.0]);
        let text = check(&problem, &tensors, Rounding::Sums, &[10.0, 15.0]).unwrap();
        assert!(text.contains("over 2 outputs"), "{text}");
        let error = check(&problem, &tensors, Rounding::Sums, &[10.0, 15.5]).unwrap_err().to_string();
        for part in ["1 outputs are outside", "output 1", "1.55e1 for 1.5e1", "5.000e-1"] {
            assert!(error.contains(part), "{part} is not in {error}");
        }
        assert!(check(&problem, &tensors, Rounding::Sums, &[f32::NAN, 15.0]).is_err());
    }
}

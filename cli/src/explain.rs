//! `wgpu-conv explain`: what a problem amounts to, and what would run it.

use std::fmt::{Display, Write as _};

use anyhow::Result;
use clap::Args;
use wgpu_conv::{AnyPadding, Capabilities, Error, Layout, Op, PlanOptions, Problem, Selection, WeightLayout, select};

use crate::gpu::{self, GpuArgs};
use crate::output::{self, Stream, bytes_text, short, thousands};
use crate::tensor_file::shape_text;
use crate::tune::TuningArgs;

/// Explain a problem: its shapes and cost, and what would run it
///
/// Shows the weight's and the output's shape, the formula of the output size with its numbers, multiply-adds, bytes and
/// receptive field, and which kernel and variant this adapter gets and why not the others.
#[derive(Args)]
pub struct ExplainArgs {
    /// A problem string, or A to L
    #[arg(value_parser = gpu::parse_problem)]
    problem: Problem,
    #[command(flatten)]
    tuning: TuningArgs,
    #[command(flatten)]
    gpu: GpuArgs,
}

pub fn run(args: &ExplainArgs) -> Result<()> {
    let problem = &args.problem;
    // First what needs no GPU: loading a driver may take a while, or fail.
    let mut text = arithmetic(problem);
    args.tuning.check()?;
    let (selection, adapter) = match args.gpu.context() {
        Ok(context) => {
            let engine = args.tuning.engine(&context)?;
            (engine.select(problem, &PlanOptions::default()), gpu::adapter_text(&context.adapter.get_info()))
        }
        Err(error) if matches!(error.downcast_ref(), Some(Error::NoAdapter(_))) && !args.gpu.any() => {
            let reason =
                "none was found; what follows is for a discrete GPU with the limits that every WebGPU device has";
            (select(problem, &Capabilities::baseline(), &PlanOptions::default()), reason.into())
        }
        Err(error) => return Err(error),
    };
    line(&mut text, "adapter", &adapter);
    match selection {
        Ok(selection) => {
            line(&mut text, "kernel", &format!("{}, variant {}", selection.kernel, selection.variant));
            write!(text, "\n{}", candidates(&selection))?;
        }
        Err(error) => line(&mut text, "kernel", &error.to_string()),
    }
    output::print(&text)
}

fn line(text: &mut String, name: &str, value: &str) {
    text.push_str(&format!("{name:<16}{value}\n"));
}

/// Everything that follows from the numbers alone.
fn arithmetic(problem: &Problem) -> String {
    let transposed = problem.op() == Op::ConvTranspose;
    let mut text = String::new();
    let mut add = |name: &str, value: String| line(&mut text, name, &value);
    add("problem", problem.to_string());
    let shape = |shape: &[u32], axes: String, count| {
        format!("{:<22}({axes}), {} elements", shape_text(shape), thousands(count))
    };
    let spatial = |before: &str| {
        let names: Vec<String> = axes(problem).map(|axis| format!(", {before}{}", axis.letter)).collect();
        names.concat()
    };
    add("input", shape(&problem.input_shape(), format!("N, C_in{}", spatial("")), problem.input_len()));
    for (name, channels, count) in [
        ("offset", problem.offset_shape().map(|shape| (shape, "offset groups * 2 * KH * KW")), problem.offset_len()),
        ("mask", problem.mask_shape().map(|shape| (shape, "offset groups * KH * KW")), problem.mask_len()),
    ]
    .into_iter()
    .filter_map(|(name, shape, count)| Some((name, shape?, count)))
    {
        let (sizes, channels) = channels;
        add(name, shape(&sizes, format!("N, {channels}{}", spatial("O")), count));
    }
    let channels = if transposed { "C_in, C_out / groups" } else { "C_out, C_in / groups" };
    add("weight", shape(&problem.weight_shape(), format!("{channels}{}", spatial("K")), problem.weight_len()));
    if problem.bias() {
        add("bias", format!("({},)", problem.out_channels()));
    }
    add("output", shape(&problem.output_shape(), format!("N, C_out{}", spatial("O")), problem.output_len()));
    let elements = match problem.integers() {
        None => format!("{}, {} bytes each; sums are f32", problem.dtype(), problem.dtype().size()),
        Some(integers) => format!(
            "input {}, weight {}{}, output {}; sums are i32",
            integers.input,
            integers.weight,
            if integers.weight_zero_points { " with zero points" } else { "" },
            integers.output
        ),
    };
    add("elements", elements);
    add(
        "order in memory",
        format!("input and output {}, weight {}", order(problem.layout()), weight_order(problem.weight_layout())),
    );
    let amounts: Vec<String> = axes(problem)
        .zip(problem.padding())
        .flat_map(|(axis, [before, after])| {
            [format!("{} {before}", axis.sides[0]), format!("{} {after}", axis.sides[1])]
        })
        .collect();
    let named = match problem.parameters().padding {
        AnyPadding::Explicit(_) => "",
        AnyPadding::Same => " (from same)",
        AnyPadding::SameLower => " (from same-lower)",
        AnyPadding::Valid => " (from valid)",
    };
    let means =
        if transposed { "outputs that are left out".into() } else { format!("mode {}", problem.padding_mode()) };
    add("padding", format!("{}{named}, {means}", amounts.join(", ")));
    for (index, axis) in axes(problem).enumerate() {
        let [formula, numbers] = output_size(problem, index);
        add(&format!("output {}", axis.name), formula);
        add("", numbers);
    }
    let [_, per_group, kernel @ ..] = &problem.weight_shape()[..] else { return text };
    let outer = if transposed { problem.input_shape() } else { problem.output_shape() };
    let met: u64 = u64::from(*per_group) * kernel.iter().map(|&size| u64::from(size)).product::<u64>();
    add(
        "multiply-adds",
        format!(
            "{} = {} {} x {} products each ({} x {})",
            thousands(problem.macs()),
            times(&outer),
            if transposed { "inputs" } else { "outputs" },
            thousands(met),
            per_group,
            times(kernel),
        ),
    );
    if transposed {
        add("", format!("at most {} of them are added up in one output", thousands(problem.sum_length())));
    }
    add("", format!("{} GFLOP, counting each as two operations", short(problem.flops() as f64 * 1e-9)));
    add("bytes", format!("{} when each tensor moves once", bytes_text(problem.bytes())));
    let intensity = problem.flops() as f64 / problem.bytes().max(1) as f64;
    add("intensity", format!("{} operations per byte", short(intensity)));
    let field = times(&problem.receptive_field());
    if transposed {
        add("reach", format!("{field} output elements in {per_group} of the channels, for each input"));
    } else if problem.op() == Op::DeformConv {
        add(
            "receptive field",
            format!("{field} input elements in {per_group} of the channels, where all offsets are 0"),
        );
    } else {
        add("receptive field", format!("{field} input elements in {per_group} of the channels, for each output"));
    }
    text
}

fn order(layout: Layout) -> String {
    let means = match layout {
        Layout::Nchw => "as their shapes",
        Layout::Nhwc => "channels last",
    };
    format!("{layout} ({means})")
}

fn weight_order(layout: WeightLayout) -> String {
    let means = match layout {
        WeightLayout::Oihw => "as its shape",
        WeightLayout::Ohwi => "taps in the middle",
        WeightLayout::Hwio => "taps first, then the second axis of its shape and the first",
    };
    format!("{layout} ({means})")
}

/// What a spatial axis is called.
struct AxisNames {
    name: &'static str,
    /// As in the shape of the input; with a K in front in that of the weight, with an O in that of the output.
    letter: &'static str,
    /// Behind a parameter.
    suffix: &'static str,
    sides: [&'static str; 2],
}

const AXES: [AxisNames; 3] = [
    AxisNames { name: "slices", letter: "D", suffix: "d", sides: ["front", "back"] },
    AxisNames { name: "rows", letter: "H", suffix: "h", sides: ["top", "bottom"] },
    AxisNames { name: "columns", letter: "W", suffix: "w", sides: ["left", "right"] },
];

/// The spatial axes of a problem, outermost first.
fn axes(problem: &Problem) -> impl Iterator<Item = &'static AxisNames> {
    AXES.iter().skip(AXES.len().saturating_sub(problem.dimensions()))
}

/// `2 x 3 x 4`.
fn times<T: Display>(numbers: &[T]) -> String {
    let words: Vec<String> = numbers.iter().map(ToString::to_string).collect();
    words.join(" x ")
}

/// The formula of one output size, and the same with the numbers in it.
fn output_size(problem: &Problem, axis: usize) -> [String; 2] {
    let Some(&AxisNames { letter, suffix, sides: [before_name, after_name], .. }) = axes(problem).nth(axis) else {
        return [String::new(), String::new()];
    };
    let [size, result] = [problem.input_shape()[2 + axis], problem.output_shape()[2 + axis]];
    let [kernel, stride, dilation] = [problem.kernel_size()[axis], problem.stride()[axis], problem.dilation()[axis]];
    let [before, after] = problem.padding()[axis];
    match (problem.op(), problem.parameters().padding) {
        (Op::ConvTranspose, AnyPadding::Same | AnyPadding::SameLower) => [
            format!("O{letter} = {letter} * s_{suffix}, as the padding is called same"),
            format!("   = {size} * {stride} = {result}"),
        ],
        (Op::ConvTranspose, _) => [
            format!(
                "O{letter} = ({letter} - 1) * s_{suffix} - p_{before_name} - p_{after_name} + d_{suffix} * (K{letter} - 1) + \
                 output_padding_{suffix} + 1"
            ),
            format!(
                "   = ({size} - 1) * {stride} - {before} - {after} + {dilation} * ({kernel} - 1) + {} + 1 = {result}",
                problem.output_padding()[axis]
            ),
        ],
        _ => [
            format!(
                "O{letter} = floor(({letter} + p_{before_name} + p_{after_name} - d_{suffix} * (K{letter} - 1) - 1) / \
                 s_{suffix}) + 1"
            ),
            format!(
                "   = floor(({size} + {before} + {after} - {dilation} * ({kernel} - 1) - 1) / {stride}) + 1 = {result}"
            ),
        ],
    }
}

/// Every kernel variant, with the reason why it is or is not the one.
fn candidates(selection: &Selection) -> String {
    let mut table = output::table(Stream::Out, &["kernel", "variant", "verdict"]);
    let best = selection.candidates.iter().filter_map(|candidate| candidate.verdict.as_ref().ok()).copied();
    let best = best.fold(f64::INFINITY, f64::min);
    for candidate in &selection.candidates {
        let chosen = candidate.kernel == selection.kernel && candidate.variant == selection.variant;
        let tuned = candidate.tuned_ms.map(|ms| format!("chosen: tuned, measured {} ms", short(ms)));
        let verdict = match &candidate.verdict {
            Ok(_) if chosen => output::verdict(true, tuned.as_deref().unwrap_or("chosen: the lowest estimated cost")),
            Ok(cost) if best > 0.0 && best.is_finite() => {
                format!("could run; estimated at {} times the cost", short(cost / best)).into()
            }
            Ok(_) => "could run".into(),
            Err(refusal) => output::verdict(false, format!("cannot run: {refusal}")),
        };
        table.add_row([candidate.kernel.name().into(), candidate.variant.into(), verdict]);
    }
    table.trim_fmt()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(problem: &str) -> String {
        arithmetic(&problem.parse().unwrap())
    }

    /// Reads the numbers back out of a line.
    fn numbers_of(line: &str) -> Vec<i64> {
        line.split(|c: char| !c.is_ascii_digit())
            .filter(|part| !part.is_empty())
            .map(|part| part.parse().unwrap())
            .collect()
    }

    #[test]
    fn the_formulas_hold_what_they_say() {
        for problem in [
            "n1c3h7w7o2k3s2",
            "n2c4h9w12o6k3x5s2x3p0,1,2,3d2x1g2",
            "n1c1h10w11o1k4s3psame",
            "c1w16000o2k10s5p1,2",
            "c1z9h8w7o1k3x2x4s2x1x3p1,0,0,2,1,1d1x2x1",
        ] {
            let problem: Problem = problem.parse().unwrap();
            for axis in 0..problem.dimensions() {
                let [_, numbers] = output_size(&problem, axis);
                let found = numbers_of(&numbers);
                let [size, begin, end, dilation, kernel, one, less, stride, more, result] = found[..] else {
                    panic!("{numbers}")
                };
                let formula = (size + begin + end - dilation * (kernel - one) - less) / stride + more;
                assert_eq!(formula, result, "{numbers}");
                assert_eq!(result, i64::from(problem.output_shape()[2 + axis]));
            }
        }
    }

    #[test]
    fn a_deformable_problem_has_offsets_and_a_mask() {
        let text = text("n2c4h9w10o6k3p1:deform:offset_groups=2:mask");
        for part in ["(2, 36, 9, 10)", "6,480 elements", "(2, 18, 9, 10)", "where all offsets are 0"] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
        assert!(!super::tests::text("n2c4h9w10o6k3p1").contains("offset"));
    }

    #[test]
    fn the_transposed_formulas_hold_what_they_say() {
        for problem in [
            "c2h7w9o3k4s2p1:transposed",
            "c2h7w9o3k3x5s3x2p0,1,2,0d1x2:transposed=2x1",
            "c1w7o1k3s2:transposed=1",
            "c1z3h4w5o1k3x2x4s2x1x3p1:transposed=1x0x2",
        ] {
            let problem: Problem = problem.parse().unwrap();
            for axis in 0..problem.dimensions() {
                let [_, numbers] = output_size(&problem, axis);
                let found = numbers_of(&numbers);
                let [size, less, stride, begin, end, dilation, kernel, one, output_padding, more, result] = found[..]
                else {
                    panic!("{numbers}")
                };
                let formula = (size - less) * stride - begin - end + dilation * (kernel - one) + output_padding + more;
                assert_eq!(formula, result, "{numbers}");
                assert_eq!(result, i64::from(problem.output_shape()[2 + axis]));
            }
        }
        // A stride beyond the kernel: the other formula would be short by what no tap reaches.
        let [formula, numbers] = output_size(&"c1w5o1k1s3psame:transposed".parse().unwrap(), 0);
        assert!(formula.starts_with("OW = W * s_w") && numbers.ends_with("5 * 3 = 15"), "{formula} {numbers}");
    }

    #[test]
    fn axes_have_their_names() {
        for (problem, parts) in [
            (
                "c6w20o4k5s2g2",
                &["(N, C_in, W)", "(C_out, C_in / groups, KW)", "(N, C_out, OW)", "left 0, right 0, mode zeros"][..],
            ),
            ("c6w20o4k5s2g2", &["1 x 4 x 8 outputs x 15 products each (3 x 5)", "5 input elements in 3"]),
            (
                "c2z4h5w6o3k2p1,0,0,1,2,2",
                &["(N, C_in, D, H, W)", "KD, KH, KW", "output slices", "front 1, back 0, top 0, bottom 1, left 2"],
            ),
            (
                "c6h5w5o4k4s2p1g2:transposed=1x0",
                &[
                    "(6, 2, 4, 4)",
                    "(C_in, C_out / groups, KH, KW)",
                    "left 1, right 1, outputs that are left out",
                    "1 x 6 x 5 x 5 inputs x 32 products each (2 x 4 x 4)",
                    "at most 12 of them",
                    "4 x 4 output elements in 2",
                    "output_padding_h + 1",
                    "= (5 - 1) * 2 - 1 - 1 + 1 * (4 - 1) + 1 + 1 = 11",
                ],
            ),
        ] {
            let text = text(problem);
            for part in parts {
                assert!(text.contains(part), "{part} is not in:\n{text}");
            }
        }
    }

    #[test]
    fn types_and_orders_are_there() {
        for (problem, parts) in [
            ("c3h7w7o2k3", ["f32, 4 bytes each", "input and output nchw", "weight oihw", "1012 bytes"]),
            (
                "c3h7w7o2k3:f16:nhwc:hwio",
                ["f16, 2 bytes each", "input and output nhwc (channels last)", "weight hwio", "510 bytes"],
            ),
        ] {
            let text = text(problem);
            for part in parts {
                assert!(text.contains(part), "{part} is not in:\n{text}");
            }
        }
    }

    #[test]
    fn every_number_is_there() {
        let text = text("n1c64h56w56o64k3p1");
        for part in [
            "(1, 64, 56, 56)",
            "(64, 64, 3, 3)",
            "115,605,504",
            "0.2312 GFLOP",
            "floor((56 + 1 + 1 - 1 * (3 - 1) - 1) / 1) + 1 = 56",
            "3 x 3",
            "576 products",
            "1.67 MiB",
        ] {
            assert!(text.contains(part), "{part} is not in:\n{text}");
        }
        assert!(
            self::text("n0c0h5w5o3k1").contains("0 operations per byte")
                || self::text("n0c0h5w5o3k1").contains("0.0000")
        );
    }
}

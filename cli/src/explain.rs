//! `wgpu-conv explain`: what a problem amounts to, and what would run it.

use std::fmt::Write as _;

use anyhow::Result;
use clap::Args;
use wgpu_conv::{Capabilities, Error, Padding, PlanOptions, Problem, Selection, select};

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
    let conv = problem.conv();
    let mut text = String::new();
    let mut add = |name: &str, value: String| line(&mut text, name, &value);
    add("problem", problem.to_string());
    let shape =
        |shape: [u32; 4], axes: &str, count| format!("{:<22}{axes}, {} elements", shape_text(&shape), thousands(count));
    add("input", shape(problem.input_shape(), "(N, C_in, H, W)", problem.input_len()));
    add("weight", shape(problem.weight_shape(), "(C_out, C_in / groups, KH, KW)", problem.weight_len()));
    if conv.bias {
        add("bias", format!("({},)", conv.out_channels));
    }
    add("output", shape(problem.output_shape(), "(N, C_out, OH, OW)", problem.output_len()));
    let padding = problem.padding();
    let named = match conv.padding {
        Padding::Explicit(_) => "",
        Padding::Same => " (from same)",
        Padding::SameLower => " (from same-lower)",
        Padding::Valid => " (from valid)",
    };
    add(
        "padding",
        format!(
            "top {}, bottom {}, left {}, right {}{named}, mode {}",
            padding.top, padding.bottom, padding.left, padding.right, conv.padding_mode
        ),
    );
    for (axis, name) in ["rows", "columns"].into_iter().enumerate() {
        let [formula, numbers] = output_size(problem, axis);
        add(&format!("output {name}"), formula);
        add("", numbers);
    }
    let [_, per_group, rows, columns] = problem.weight_shape();
    let [batch, channels, height, width] = problem.output_shape();
    add(
        "multiply-adds",
        format!(
            "{} = {batch} x {channels} x {height} x {width} outputs x {} products each ({per_group} x {rows} x {columns})",
            thousands(problem.macs()),
            thousands(problem.sum_length())
        ),
    );
    add("", format!("{} GFLOP, counting each as two operations", short(problem.flops() as f64 * 1e-9)));
    add("bytes", format!("{} when each tensor moves once, as float32", bytes_text(problem.bytes())));
    let intensity = problem.flops() as f64 / problem.bytes().max(1) as f64;
    add("intensity", format!("{} operations per byte", short(intensity)));
    let [rows, columns] = problem.receptive_field();
    add(
        "receptive field",
        format!("{rows} x {columns} input elements in {per_group} of the channels, for each output"),
    );
    text
}

/// The formula of one output size, and the same with the numbers in it.
fn output_size(problem: &Problem, axis: usize) -> [String; 2] {
    let conv = problem.conv();
    let sides = problem.padding();
    let (begin, end) = [(sides.top, sides.bottom), (sides.left, sides.right)][axis];
    let letter = ["H", "W"][axis];
    let [begin_name, end_name] = [["p_top", "p_bottom"], ["p_left", "p_right"]][axis];
    let suffix = ["h", "w"][axis];
    [
        format!(
            "O{letter} = floor(({letter} + {begin_name} + {end_name} - d_{suffix} * (K{letter} - 1) - 1) / s_{suffix}) + 1"
        ),
        format!(
            "   = floor(({} + {begin} + {end} - {} * ({} - 1) - 1) / {}) + 1 = {}",
            problem.input_shape()[2 + axis],
            conv.dilation[axis],
            conv.kernel_size[axis],
            conv.stride[axis],
            problem.output_shape()[2 + axis]
        ),
    ]
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

    #[test]
    fn the_formulas_hold_what_they_say() {
        for problem in ["n1c3h7w7o2k3s2", "n2c4h9w12o6k3x5s2x3p0,1,2,3d2x1g2", "n1c1h10w11o1k4s3psame"] {
            let problem: Problem = problem.parse().unwrap();
            for axis in 0..2 {
                let [_, numbers] = output_size(&problem, axis);
                // Reads the numbers back out of the line, and computes.
                let n: Vec<i64> = numbers
                    .split(|c: char| !c.is_ascii_digit())
                    .filter(|part| !part.is_empty())
                    .map(|part| part.parse().unwrap())
                    .collect();
                let [size, begin, end, dilation, kernel, _, _, stride, _, result] = n[..] else { panic!("{numbers}") };
                assert_eq!((size + begin + end - dilation * (kernel - 1) - 1) / stride + 1, result, "{numbers}");
                assert_eq!(result, i64::from(problem.output_shape()[2 + axis]));
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

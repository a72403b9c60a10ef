//! Host side of the programs around a convolution of integers: `quads_of_input.wgsl`, `window_sums.wgsl` and
//! `requantize.wgsl`.

use super::modules::{ACTIVATION, COMMON, INPUT_QUADS, QUADS, joined};
use crate::dtype::DType;
use crate::error::Result;
use crate::integers::Integers;
use crate::layout::Layout;
use crate::lowered::{Lowered, Steps};
use crate::params::{Params, activation_code};
use crate::problem::Problem;
use crate::shader::Source;

/// Invocations of a workgroup of each of them.
pub(crate) const INTEGERS_WORKGROUP: u64 = 256;

fn generic(mut source: Source, unsigned: Option<bool>) -> Result<String> {
    source.set(&[("GENERIC", true.into())])?;
    if let Some(unsigned) = unsigned {
        source.set(&[("UNSIGNED", unsigned.into())])?;
    }
    Ok(source.finish())
}

/// The WGSL that makes words of an input of 8-bit integers, a whole module.
pub(crate) fn quads_source(input: DType) -> Result<String> {
    let files = [COMMON, include_str!("../../shaders/quads_of_input.wgsl")];
    generic(joined(files.into_iter()), Some(input == DType::U8))
}

/// The WGSL that adds up windows of the input, a whole module.
pub(crate) fn window_sums_source() -> Result<String> {
    let files = [COMMON, QUADS, INPUT_QUADS, include_str!("../../shaders/window_sums.wgsl")];
    generic(joined(files.into_iter()), None)
}

/// The WGSL that makes outputs of sums, a whole module.
pub(crate) fn requantize_source(problem: &Problem, integers: Integers) -> Result<String> {
    let files = [COMMON, ACTIVATION, include_str!("../../shaders/requantize.wgsl")];
    let mut source = joined(files.into_iter());
    let kind: u32 = match integers.output {
        DType::I8 => 1,
        DType::U8 => 2,
        _ => 0,
    };
    source.set(&[
        ("OUTPUT_KIND", kind.into()),
        ("CHANNELS_LAST", (problem.layout() == Layout::Nhwc).into()),
        ("WEIGHT_ZERO_POINTS", integers.needs_windows().into()),
        ("ACTIVATION", activation_code(problem.epilogue().activation).into()),
    ])?;
    Ok(source.finish())
}

/// Sums of windows of a pass: one for each group and output pixel.
pub(crate) fn windows(pass: &Lowered) -> u64 {
    pass.pixels().saturating_mul(pass.groups.into())
}

/// Parameters of `window_sums.wgsl`, for sums behind the `splits` times as many as there are outputs.
pub(crate) fn window_params(pass: &Lowered, params: Params) -> Params {
    let behind = u64::from(params.splits) * pass.outputs();
    Params { pixels: windows(pass) as u32, output_offset: behind as u32, ..params }
}

/// Parameters of `requantize.wgsl`, which finds out whose a place of the output is: it divides by the steps. Where there is a
/// single image, channel or pixel no place is a step further, however long that is.
pub(crate) fn requantize_params(problem: &Problem, pass: &Lowered, params: Params) -> Params {
    let Steps { image, channel, axes } = pass.output_steps;
    let divisor = |count: u64, step: u64| if count > 1 { step as u32 } else { u32::MAX };
    let pixels = pass.pixels();
    Params {
        pixels: pixels as u32,
        out_image: divisor(pass.batch.into(), image),
        out_channel: divisor(pass.out_channels().into(), channel),
        out_column: divisor(pixels / u64::from(pass.batch.max(1)), axes[2]),
        ..params.with_activation(problem.epilogue().activation)
    }
}

/// Workgroups of `requantize.wgsl`, wherever in a word the output begins.
pub(crate) fn requantize_workgroups(pass: &Lowered, integers: Integers) -> u64 {
    let window = pass.output_window();
    let places = window.end - window.start;
    let words = match integers.output.size() {
        1 => places.div_ceil(4) + 1,
        _ => places,
    };
    words.div_ceil(INTEGERS_WORKGROUP)
}

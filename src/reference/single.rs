//! One output at a time: the formulas, read from left to right.

use super::deform::{Plane, Uncertain, position};
use super::{finish, finish_uncertain, size};
use crate::conv::PaddingMode;
use crate::parameters::Op;
use crate::problem::{Axis, Problem};
use crate::tensors::Tensors;

/// Value and bound of the output at `index` of the row-major output, with so many roundings (of which a deformable convolution has
/// its own).
pub(super) fn output(problem: &Problem, tensors: &Tensors<'_>, index: u64, terms: f64) -> (f64, f64) {
    if problem.op() == Op::DeformConv {
        return deformed(problem, tensors, index as usize);
    }
    let [_, in_channels, depth, height, width] = problem.input_shape().five().map(u64::from);
    let [_, out_channels, slices, rows, columns] = problem.output_shape().five().map(u64::from);
    let [_, _, kernel @ ..] = problem.weight_shape().five().map(u64::from);
    let [in_group, out_group] = [problem.in_channels_per_group(), problem.out_channels_per_group()].map(u64::from);
    let axes = problem.axes();
    let x = index % columns;
    let y = index / columns % rows;
    let z = index / columns / rows % slices;
    let o = index / columns / rows / slices % out_channels;
    let n = index / columns / rows / slices / out_channels;
    let group = o / out_group;
    let meets = |axis: usize, output: u64, tap: u64| match problem.op() {
        Op::Conv | Op::DeformConv => {
            let Axis { stride, dilation, before, input, .. } = axes[axis];
            let at = output * u64::from(stride) + tap * u64::from(dilation);
            source(at, before, input.into(), problem.padding_mode())
        }
        Op::ConvTranspose => origin(&axes[axis], output, tap),
    };
    let [mut sum, mut magnitude] = [0.0, 0.0];
    for c in 0..in_group {
        let from_channel = group * in_group + c;
        // (C_out, C_in / groups), or transposed (C_in, C_out / groups).
        let of_weight = match problem.op() {
            Op::Conv | Op::DeformConv => o * in_group + c,
            Op::ConvTranspose => from_channel * out_group + o % out_group,
        };
        for a in 0..kernel[0] {
            let Some(slice) = meets(0, z, a) else { continue };
            for b in 0..kernel[1] {
                let Some(row) = meets(1, y, b) else { continue };
                for t in 0..kernel[2] {
                    let Some(column) = meets(2, x, t) else { continue };
                    let from = (((n * in_channels + from_channel) * depth + slice) * height + row) * width + column;
                    let by = ((of_weight * kernel[0] + a) * kernel[1] + b) * kernel[2] + t;
                    let product = f64::from(tensors.input[from as usize]) * f64::from(tensors.weight[by as usize]);
                    sum += product;
                    magnitude += product.abs();
                }
            }
        }
    }
    finish(problem, tensors, o as usize, index as usize, [sum, magnitude], terms)
}

/// Of a deformable convolution: each tap sees every element within a step of its place, along both axes, the less the farther
/// away.
fn deformed(problem: &Problem, tensors: &Tensors<'_>, index: usize) -> (f64, f64) {
    let [_, channels, _, height, width] = problem.input_shape().five().map(size);
    let [_, out_channels, _, rows, columns] = problem.output_shape().five().map(size);
    let [_, in_group, _, kernel_rows, kernel_columns] = problem.weight_shape().five().map(size);
    let [_, vertical, horizontal] = problem.axes();
    let (ox, oy) = (index % columns, index / columns % rows);
    let (o, n) = (index / columns / rows % out_channels, index / columns / rows / out_channels);
    let of_pixel = |tensor: Option<&[f32]>, channel: usize| tensor.map(|t| t[(channel * rows + oy) * columns + ox]);
    let on_grid = |axis: &Axis, output: usize, tap: usize| {
        (output as i64) * i64::from(axis.stride) + (tap as i64) * i64::from(axis.dilation) - i64::from(axis.before)
    };
    let share = |distance: f64| (1.0 - distance.abs()).max(0.0);
    let groups = size(problem.offset_groups());
    let mut sums = [0.0; 3];
    for c in 0..in_group {
        let channel = o / (out_channels / size(problem.groups())) * in_group + c;
        let plane = &tensors.input[(n * channels + channel) * height * width..][..height * width];
        for b in 0..kernel_rows {
            for t in 0..kernel_columns {
                let place = ((n * groups + channel / (channels / groups)) * kernel_rows + b) * kernel_columns + t;
                let offset = |axis: usize| of_pixel(tensors.offset, 2 * place + axis).unwrap_or(f32::NAN);
                let y = position(on_grid(&vertical, oy, b), offset(0));
                let x = position(on_grid(&horizontal, ox, t), offset(1));
                let mut sample = Uncertain { value: 0.0, error: 0.0 };
                if let (Some(y), Some(x)) = (y, x) {
                    let near = |place: f64, size: usize| {
                        let end = (place.floor() + 2.0).clamp(0.0, size as f64) as usize;
                        (place.ceil() - 1.0).clamp(0.0, size as f64) as usize..end
                    };
                    for row in near(y.value, height) {
                        for column in near(x.value, width) {
                            let shares = share(y.value - row as f64) * share(x.value - column as f64);
                            sample.value += shares * f64::from(plane[row * width + column]);
                        }
                    }
                    sample.error = Plane { elements: plane, rows: height, columns: width }.sampling_error(y, x);
                }
                if let Some(factor) = of_pixel(tensors.mask, place) {
                    sample = sample.times(factor.into());
                }
                let weight = tensors.weight[((o * in_group + c) * kernel_rows + b) * kernel_columns + t];
                sums[0] += f64::from(weight) * sample.value;
                sums[1] += f64::from(weight).abs() * (sample.value.abs() + sample.error);
                sums[2] += f64::from(weight).abs() * sample.error;
            }
        }
    }
    finish_uncertain(problem, tensors, o, index, sums)
}

/// The input that a tap spreads to an output of a transposed convolution, if there is one.
fn origin(axis: &Axis, output: u64, tap: u64) -> Option<u64> {
    let spread = (output + u64::from(axis.before)).checked_sub(tap * u64::from(axis.dilation))?;
    let input = spread / u64::from(axis.stride);
    (spread % u64::from(axis.stride) == 0 && input < u64::from(axis.input)).then_some(input)
}

/// The element that position `at` of the padded axis shows; none for zero padding. All in counts from the far left,
/// never negative, unlike the other rule.
pub(super) fn source(at: u64, before: u32, size: u64, mode: PaddingMode) -> Option<u64> {
    let before = u64::from(before);
    let missing = before.saturating_sub(at);
    let place = at.saturating_sub(before);
    let beyond = (place + 1).saturating_sub(size);
    if missing == 0 && beyond == 0 {
        return Some(place);
    }
    match mode {
        PaddingMode::Zeros => None,
        PaddingMode::Reflect if missing > 0 => Some(missing),
        PaddingMode::Reflect => Some(size - 1 - beyond),
        PaddingMode::Replicate => Some(if missing > 0 { 0 } else { size - 1 }),
        PaddingMode::Circular => Some((at + size - before) % size),
    }
}

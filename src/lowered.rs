//! [`Lowered`]: what kernels run. A problem becomes one pass or several of one kind: a convolution over slices, rows and
//! columns, whose tensors lie in memory with any distance between neighbours.
//!
//! - Axes of one element move to the front, so that a line is always a row, whichever axis it lay along.
//! - Where every output depends on one input (1×1, stride 1, no padding), all pixels of an image become one row, which divides
//!   into tiles with less waste than many short ones.
//! - A transposed convolution is done by gathering: outputs whose index has the same remainder by the stride meet the same
//!   taps, every stride-th of them, and are an ordinary convolution of stride 1 over the input (the sub-pixel view of
//!   Shi et al. 2016, "Is the deconvolution layer the same as a convolutional layer?"). Each remainder is a pass. Every output
//!   is computed once; nothing is scattered.
//! - A deformable convolution is a 1×1 convolution of what its taps sample: a program of its own writes the samples first
//!   ([`Prepare`]), a channel for each input channel and tap. Each pass has as many images as keep the samples small.

use crate::conv::PaddingMode;
use crate::dtype::DType;
use crate::epilogue::Epilogue;
use crate::layout::{Layout, WeightLayout};
use crate::parameters::Op;
use crate::prepare::{Prepare, Regrouping, Sampling};
use crate::problem::{Axis, Problem, greatest_common_divisor};
use crate::ranges::INDEX_LIMIT;
use crate::shape::MAX_AXES;
use crate::split::Share;
use crate::winograd::OutputTransform;

/// Most passes of a problem: each is a dispatch with parameters of its own.
pub(crate) const MAX_PASSES: u64 = 4096;

/// Samples of a deformable convolution that a pass has at most, unless a single image has more: 128 MiB.
const MOST_SAMPLES: u64 = 1 << 25;

/// A pass along one axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Line {
    pub input: u32,
    pub output: u32,
    pub kernel: u32,
    pub stride: u32,
    pub dilation: u32,
    /// Input position of the first tap of the first output is minus this.
    pub before: i64,
}

impl Line {
    /// What the taps of one output cover.
    pub fn extent(&self) -> u64 {
        u64::from(self.dilation) * u64::from(self.kernel.saturating_sub(1)) + 1
    }

    /// Whether some tap of some output lies outside.
    pub fn is_padded(&self) -> bool {
        let last = (i64::from(self.output) - 1) * i64::from(self.stride) + self.extent() as i64 - 1 - self.before;
        self.before > 0 || last >= i64::from(self.input)
    }

    /// Outputs and inputs correspond one to one.
    pub fn is_plain(&self) -> bool {
        self.kernel == 1 && self.stride == 1 && self.before == 0 && self.input == self.output
    }
}

/// Distances in memory between neighbours, in elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Steps {
    pub image: u64,
    pub channel: u64,
    /// Along slices, rows and columns.
    pub axes: [u64; MAX_AXES],
}

impl Steps {
    /// Of a dense tensor in this order.
    fn dense(layout: Layout, shape: [u32; 5]) -> Self {
        let [_, channels, slices, rows, columns] = shape.map(u64::from);
        match layout {
            Layout::Nchw => Self::planar(shape),
            Layout::Nhwc => {
                let row = columns * channels;
                Self { image: slices * rows * row, channel: 1, axes: [rows * row, row, channels] }
            }
        }
    }

    /// Of a dense tensor with the columns (NCHW) last.
    pub fn planar([_, channels, slices, rows, columns]: [u32; 5]) -> Self {
        let [channels, slices, rows, columns] = [channels, slices, rows, columns].map(u64::from);
        let plane = rows.saturating_mul(columns);
        let channel = slices.saturating_mul(plane);
        Self { image: channels.saturating_mul(channel), channel, axes: [plane, columns, 1] }
    }
}

/// Where a pass finds its part of the weight: the tap (a, b, c) of input channel i (of its group) for output channel o (of its
/// group) is element `first + group · groups + o · outputs + i · inputs + a · taps[0] + b · taps[1] + c · taps[2]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WeightPlace {
    pub first: u64,
    pub groups: u64,
    pub outputs: u64,
    pub inputs: u64,
    pub taps: [i64; MAX_AXES],
}

/// How the 8-bit integers of a weight lie, whose input channels kernels see by fours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Quads {
    /// Input channels of a group.
    pub channels: u32,
    /// Elements of the weight from one of them to the next.
    pub step: u64,
}

/// A pass of a problem.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Lowered {
    /// Of the output, the residual, the weight and, unless it is prepared, the input; of integers of the weight alone.
    pub dtype: DType,
    /// Of 8-bit integers: an input channel, wherever else they are counted, is four of them.
    pub quads: Option<Quads>,
    pub batch: u32,
    pub groups: u32,
    /// Channels of a group.
    pub group_in: u32,
    pub group_out: u32,
    /// Slices, rows, columns.
    pub lines: [Line; MAX_AXES],
    pub padding_mode: PaddingMode,
    pub bias: bool,
    pub epilogue: Epilogue,
    pub input_steps: Steps,
    pub output_steps: Steps,
    /// Element of the input, as it comes or as it is prepared, that is the first of this pass.
    pub first_input: u64,
    /// Element of the output (and of the residual) that is the first of this pass.
    pub first_output: u64,
    /// The problem's output channel that is the first of this pass, and how many the problem has.
    pub first_channel: u32,
    pub all_channels: u32,
    pub weight: WeightPlace,
    /// What it has of the packed part that this weight becomes.
    pub share: Share,
    /// Tensors are bound a window at a time, which holds no more input channels than this.
    pub windows: Option<u32>,
    /// Output pixels, groups and channels of a group of what it is a piece of.
    pub whole: (u64, u32, u32),
    /// What writes its input first.
    pub prepare: Option<Prepare>,
    /// What makes outputs of its sums, which are products of Winograd's algorithm.
    pub winograd: Option<OutputTransform>,
}

impl Lowered {
    /// Kernel rows and columns.
    pub fn kernel(&self) -> [u32; 2] {
        [self.lines[1].kernel, self.lines[2].kernel]
    }

    pub fn stride(&self) -> [u32; 2] {
        [self.lines[1].stride, self.lines[2].stride]
    }

    pub fn dilation(&self) -> [u32; 2] {
        [self.lines[1].dilation, self.lines[2].dilation]
    }

    /// Taps of a channel, along slices too.
    pub fn taps(&self) -> u64 {
        self.lines.iter().map(|line| u64::from(line.kernel)).product()
    }

    /// K: products of an output.
    pub fn sum_length(&self) -> u64 {
        u64::from(self.group_in).saturating_mul(self.taps())
    }

    pub fn out_channels(&self) -> u32 {
        self.group_out * self.groups
    }

    /// Output planes of one channel: slices of all images.
    pub fn planes(&self) -> u64 {
        u64::from(self.batch) * u64::from(self.lines[0].output)
    }

    /// Output pixels of one channel.
    pub fn pixels(&self) -> u64 {
        let [_, rows, columns] = self.lines.map(|line| u64::from(line.output));
        self.planes().saturating_mul(rows).saturating_mul(columns)
    }

    /// Inputs of this pass, of one group.
    pub fn group_inputs(&self) -> u64 {
        let sizes = self.lines.iter().map(|line| u64::from(line.input));
        sizes.chain([self.batch.into(), self.group_in.into()]).fold(1, u64::saturating_mul)
    }

    /// Outputs of this pass.
    pub fn outputs(&self) -> u64 {
        self.pixels().saturating_mul(self.out_channels().into())
    }

    /// Whether there is more than one slice along the outermost axis, or padding or taps along it.
    pub fn is_deep(&self) -> bool {
        let line = &self.lines[0];
        !(line.is_plain() && line.output == 1)
    }

    /// Whether some tap lies outside along rows or columns, or along any axis.
    pub fn is_padded(&self) -> bool {
        self.lines.iter().any(Line::is_padded)
    }

    /// Bytes of an element of the input or the packed weight as kernels read it.
    pub fn element_size(&self) -> u64 {
        if self.quads.is_some() { 4 } else { self.dtype.size() }
    }

    /// The same at the beginning of all tensors: passes that differ in nothing else have the same shaders.
    pub fn without_place(&self) -> Self {
        Self {
            first_input: 0,
            first_output: 0,
            first_channel: 0,
            weight: WeightPlace { first: 0, ..self.weight },
            share: Share { first_group: 0, first_out: 0, ..self.share },
            ..*self
        }
    }

    /// Distances of the partial sums of this pass in a workspace: dense.
    pub fn workspace_steps(&self) -> Steps {
        let [slices, rows, columns] = self.lines.map(|line| line.output);
        Steps::planar([self.batch, self.out_channels(), slices, rows, columns])
    }
}

/// The passes of a problem: every one, also those without outputs. Their weights, each counted once, do not depend on the
/// sizes of the input, so that weights serve all sizes.
///
/// # Errors
/// A sentence, if there would be too many.
#[cfg(test)]
pub(crate) fn passes(problem: &Problem) -> Result<Vec<Lowered>, String> {
    Ok(phases(problem)?.into_iter().map(|pass| finished(problem, pass)).collect())
}

/// The passes of a problem before they are [`finished`], while they can still be cut into pieces (`split.rs`).
///
/// # Errors
/// A sentence, if there would be too many.
pub(crate) fn phases(problem: &Problem) -> Result<Vec<Lowered>, String> {
    if problem.op() == Op::DeformConv {
        return sampled(problem);
    }
    Ok(all_phases(problem)?.into_iter().map(|phases| with_axes_in_order(problem, phases)).collect())
}

/// A pass, or a piece of one, as kernels run it.
pub(crate) fn finished(problem: &Problem, pass: Lowered) -> Lowered {
    let pass = if problem.integers().is_some() { pass.in_quads(problem) } else { pass };
    pass.unit_axes_first().flattened()
}

/// One axis of a pass.
#[derive(Debug, Clone, Copy)]
struct Phase {
    line: Line,
    /// Outputs: the first one, and from one to the next.
    first_output: u64,
    output_step: u64,
    /// Taps in the order in which the pass takes them: the first one, and from one to the next.
    first_tap: u64,
    tap_step: i64,
    /// No tap meets these outputs.
    empty: bool,
}

/// For each pass, what it is along slices, rows and columns.
fn all_phases(problem: &Problem) -> Result<Vec<[Phase; MAX_AXES]>, String> {
    let axes = problem.axes();
    if problem.op() == Op::ConvTranspose {
        let count: u64 = axes.iter().fold(1, |count: u64, axis| count.saturating_mul(axis.stride.into()));
        if count > MAX_PASSES {
            return Err(format!(
                "strides {:?} make {count} passes of a transposed convolution; there may be {MAX_PASSES}",
                problem.stride()
            ));
        }
    }
    let [slices, rows, columns] = axes.map(|axis| match problem.op() {
        Op::Conv | Op::DeformConv => vec![forward(&axis)],
        Op::ConvTranspose => (0..axis.stride).map(|remainder| transposed(&axis, remainder)).collect(),
    });
    let mut all = Vec::with_capacity(slices.len() * rows.len() * columns.len());
    for &slice in &slices {
        for &row in &rows {
            all.extend(columns.iter().map(|&column| [slice, row, column]));
        }
    }
    Ok(all)
}

fn forward(axis: &Axis) -> Phase {
    let line = Line {
        input: axis.input,
        output: axis.output,
        kernel: axis.kernel,
        stride: axis.stride,
        dilation: axis.dilation,
        before: axis.before.into(),
    };
    Phase { line, first_output: 0, output_step: 1, first_tap: 0, tap_step: 1, empty: false }
}

/// The outputs o with (o + padding) mod stride = remainder. A tap i meets them if i · dilation has the same remainder, and
/// then the input (o + padding - i · dilation) / stride.
fn transposed(axis: &Axis, remainder: u32) -> Phase {
    let [stride, before, output] = [axis.stride, axis.before, axis.output].map(u64::from);
    let first_output = (u64::from(remainder) + stride - before % stride) % stride;
    let outputs = if first_output < output { (output - first_output - 1) / stride + 1 } else { 0 };
    let common = greatest_common_divisor(axis.stride, axis.dilation);
    let apart = axis.stride / common;
    let meets = |tap: &u32| u64::from(*tap) * u64::from(axis.dilation) % stride == u64::from(remainder);
    let first = (0..apart.min(axis.kernel)).find(meets);
    let taps = first.map_or(0, |first| (axis.kernel - 1 - first) / apart + 1);
    let first = i64::from(first.unwrap_or(0));
    let dilation = axis.dilation / common;
    // From the last tap to the first one the input moves forward.
    let last = i64::from(taps.saturating_sub(1));
    let reached =
        (first_output as i64 + i64::from(axis.before) - first * i64::from(axis.dilation)).div_euclid(stride as i64);
    let line = Line {
        input: axis.input,
        output: outputs as u32,
        kernel: taps.max(1),
        stride: 1,
        dilation,
        before: last * i64::from(dilation) - reached,
    };
    Phase {
        line,
        first_output,
        output_step: stride,
        first_tap: (first + last * i64::from(apart)) as u64,
        tap_step: -i64::from(apart),
        empty: taps == 0,
    }
}

fn with_axes_in_order(problem: &Problem, phases: [Phase; MAX_AXES]) -> Lowered {
    let (input, output) = (problem.input_shape().five(), problem.output_shape().five());
    let input_steps = Steps::dense(problem.layout(), input);
    let dense = Steps::dense(problem.layout(), output);
    let output_steps = Steps { axes: std::array::from_fn(|axis| dense.axes[axis] * phases[axis].output_step), ..dense };
    let first_output = (0..MAX_AXES).map(|axis| dense.axes[axis] * phases[axis].first_output).sum();
    let [outer, per_group, kernel @ ..] = problem.weight_shape().five().map(u64::from);
    let [first_step, second_step, tap_step] =
        problem.weight_layout().steps([outer, per_group, kernel.iter().product()]);
    let tap_steps = [kernel[1] * kernel[2] * tap_step, kernel[2] * tap_step, tap_step];
    let [group_in, group_out] = [problem.in_channels_per_group(), problem.out_channels_per_group()];
    let (outputs, inputs, of_group) = match problem.op() {
        Op::Conv | Op::DeformConv => (first_step, second_step, u64::from(group_out)),
        Op::ConvTranspose => (second_step, first_step, u64::from(group_in)),
    };
    let weight = WeightPlace {
        first: (0..MAX_AXES).map(|axis| phases[axis].first_tap * tap_steps[axis]).sum(),
        groups: of_group * first_step,
        outputs,
        inputs,
        taps: std::array::from_fn(|axis| phases[axis].tap_step * tap_steps[axis] as i64),
    };
    // Outputs that no tap meets are sums of nothing.
    let empty = phases.iter().any(|phase| phase.empty);
    let pass = Lowered {
        dtype: problem.weight_dtype(),
        quads: None,
        batch: input[0],
        groups: problem.groups(),
        group_in: if empty { 0 } else { group_in },
        group_out,
        lines: phases.map(|phase| phase.line),
        padding_mode: problem.padding_mode(),
        bias: problem.bias(),
        epilogue: problem.epilogue(),
        input_steps,
        output_steps,
        first_input: 0,
        first_output,
        first_channel: 0,
        all_channels: problem.out_channels(),
        weight,
        share: Share::all(problem.groups(), group_out),
        windows: None,
        whole: (0, problem.groups(), group_out),
        prepare: None,
        winograd: None,
    };
    Lowered { whole: (pass.pixels(), pass.groups, pass.group_out), ..pass }
}

/// The passes of a deformable convolution.
fn sampled(problem: &Problem) -> Result<Vec<Lowered>, String> {
    let whole = with_axes_in_order(problem, problem.axes().map(|axis| forward(&axis)));
    let rows_and_columns = |numbers: [u32; MAX_AXES]| [numbers[1], numbers[2]];
    let of_axes = |number: fn(&Axis) -> u32| rows_and_columns(problem.axes().map(|axis| number(&axis)));
    let [kernel, output] = [of_axes(|axis| axis.kernel), of_axes(|axis| axis.output)];
    let [channels, group_in] = [problem.in_channels(), problem.in_channels_per_group()];
    let taps = u64::from(kernel[0]) * u64::from(kernel[1]);
    // Channels and taps become channels, in the order in which their weights lie: so these are all one step apart.
    let columns = |channels: u32| {
        u32::try_from(u64::from(channels).saturating_mul(taps)).map_err(|_| {
            format!("{channels} channels × {taps} taps are sampled; there may be {} of both together", u32::MAX)
        })
    };
    let group_columns = columns(group_in)?;
    let all_columns = columns(channels)?;
    let (channel_columns, tap_columns, step) = match problem.weight_layout() {
        WeightLayout::Oihw => (taps as u32, 1, 1),
        WeightLayout::Ohwi => (1, group_in, 1),
        WeightLayout::Hwio => (1, group_in, u64::from(problem.out_channels())),
    };
    let shape = |shape: Option<crate::shape::Shape>| shape.map_or([0; 5], |shape| shape.five());
    let steps = |shape| Steps::dense(problem.layout(), shape);
    let sampling = Sampling {
        dtype: problem.dtype(),
        masked: problem.mask(),
        first_image: 0,
        images: 0,
        channels,
        group_in,
        offset_groups: problem.offset_groups(),
        input: of_axes(|axis| axis.input),
        output,
        kernel,
        stride: of_axes(|axis| axis.stride),
        dilation: of_axes(|axis| axis.dilation),
        before: of_axes(|axis| axis.before),
        input_steps: steps(problem.input_shape().five()),
        offset_steps: steps(shape(problem.offset_shape())),
        mask_steps: steps(shape(problem.mask_shape())),
        channel_columns,
        tap_columns,
    };
    let of_image = Sampling::of_image(channels, kernel, output);
    let batch = problem.input_shape()[0];
    let most = (MOST_SAMPLES / of_image.max(1)).clamp(1, u64::from(u32::MAX)) as u32;
    let count = u64::from(batch.div_ceil(most).max(1));
    if count > MAX_PASSES {
        return Err(format!(
            "a batch of {batch} images makes {count} passes of {of_image} samples an image; there may be {MAX_PASSES}"
        ));
    }
    let point =
        |axis: &Axis| Line { input: axis.output, output: axis.output, kernel: 1, stride: 1, dilation: 1, before: 0 };
    let passes = (0..count as u32).map(|number| {
        let first_image = number * most;
        let images = most.min(batch - first_image);
        let sampling = Sampling { first_image, images, ..sampling };
        let lowered = Lowered {
            batch: images,
            group_in: group_columns,
            lines: problem.axes().map(|axis| point(&axis)),
            input_steps: Steps::planar([images, all_columns, 1, output[0], output[1]]),
            first_output: u64::from(first_image) * whole.output_steps.image,
            weight: WeightPlace { inputs: step, taps: [0; MAX_AXES], ..whole.weight },
            prepare: Some(Prepare::Sample(sampling)),
            ..whole
        };
        lowered.unit_axes_first().flattened()
    });
    Ok(passes.collect())
}

impl Lowered {
    /// The same on an input whose channels lie by fours in words, dense, with its padding in place; sums only.
    fn in_quads(self, problem: &Problem) -> Self {
        let quads = self.group_in.div_ceil(4);
        let lines = self.lines.map(|line| {
            let padded = u64::from(line.output.saturating_sub(1)) * u64::from(line.stride) + line.extent();
            // Longer ones are refused when ranges are proved.
            Line { input: padded.min(u32::MAX.into()) as u32, before: 0, ..line }
        });
        let [slices, rows, columns] = lines.map(|line| line.input);
        let input = [self.batch, quads.saturating_mul(self.groups), slices, rows, columns];
        Self {
            quads: Some(Quads { channels: self.group_in, step: self.weight.inputs }),
            prepare: Some(Prepare::Quads(Regrouping {
                dtype: problem.dtype(),
                groups: self.groups,
                group_in: self.group_in,
                lines: self.lines,
                padding_mode: self.padding_mode,
                steps: self.input_steps,
                first: self.first_input,
                quads: input,
            })),
            group_in: quads,
            lines,
            padding_mode: PaddingMode::Zeros,
            bias: false,
            epilogue: Epilogue::NONE,
            input_steps: Steps::planar(input),
            first_input: 0,
            weight: WeightPlace { inputs: 4 * self.weight.inputs, ..self.weight },
            ..self
        }
    }

    /// Moves axes of one element to the front.
    fn unit_axes_first(self) -> Self {
        let mut order = [0, 1, 2];
        // Stable: the others keep their order.
        order.sort_by_key(|&axis| {
            let line = &self.lines[axis];
            !(line.is_plain() && line.output == 1)
        });
        let steps = |steps: Steps| Steps { axes: order.map(|axis| steps.axes[axis]), ..steps };
        Self {
            lines: order.map(|axis| self.lines[axis]),
            input_steps: steps(self.input_steps),
            output_steps: steps(self.output_steps),
            weight: WeightPlace { taps: order.map(|axis| self.weight.taps[axis]), ..self.weight },
            ..self
        }
    }

    /// Makes one row of all pixels where outputs and inputs correspond one to one and rows follow each other in memory.
    fn flattened(self) -> Self {
        let pixels: u64 = self.lines.iter().map(|line| u64::from(line.output)).product();
        let follow = |steps: &Steps| {
            let [_, rows, columns] = self.lines.map(|line| u64::from(line.output));
            let [slice, row, column] = steps.axes;
            row == columns * column && slice == rows * row
        };
        let plain = self.lines.iter().all(Line::is_plain);
        if !plain || pixels >= INDEX_LIMIT || !follow(&self.input_steps) || !follow(&self.output_steps) {
            return self;
        }
        let one = Line { input: 1, output: 1, kernel: 1, stride: 1, dilation: 1, before: 0 };
        let row = Line { input: pixels as u32, output: pixels as u32, ..one };
        Self { lines: [one, one, row], ..self }
    }
}

#[cfg(test)]
pub(crate) mod tests;

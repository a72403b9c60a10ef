//! [`Prepare`]: what a program writes before the convolution of a pass runs, which then reads that as its input instead of the
//! caller's. Kernels know nothing of it.

use std::ops::Range;

use crate::conv::PaddingMode;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::kernels::{INTEGERS_WORKGROUP, Storage, input_transform_source, quads_source};
use crate::lowered::{Line, Steps};
use crate::params::{Block, Params, SampleParams};
use crate::ranges;
use crate::shader::Source;
use crate::split::reach;
use crate::winograd::InputTransform;

/// How the input of a pass comes to be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Prepare {
    /// The samples of a deformable convolution.
    Sample(Sampling),
    /// Words of four 8-bit integers.
    Quads(Regrouping),
    /// The transformed tiles of Winograd's algorithm.
    Winograd(InputTransform),
}

impl Prepare {
    /// What it writes, in messages.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Sample(_) => "the sampled input",
            Self::Quads(_) => "the rearranged input",
            Self::Winograd(_) => "the transformed input",
        }
    }

    /// Bytes that it writes.
    pub fn bytes(&self) -> u64 {
        match self {
            Self::Sample(sampling) => sampling.samples().saturating_mul(4),
            Self::Quads(regrouping) => regrouping.words().saturating_mul(4),
            Self::Winograd(transform) => transform.numbers().saturating_mul(4),
        }
    }

    /// How kernels read what it writes.
    pub fn storage(&self) -> Storage {
        match self {
            Self::Sample(_) | Self::Winograd(_) => Storage::Words,
            Self::Quads(_) => Storage::Quads,
        }
    }

    /// The stretches of the caller's tensors that it reads, of input, offsets and mask, which are bound at 1 to 3 of its
    /// shader; each begins with the first element of its pass. It writes to binding 5.
    pub fn windows(&self) -> [Range<u64>; 3] {
        match self {
            Self::Sample(sampling) => sampling.windows(),
            Self::Quads(regrouping) => [regrouping.window(), 0..0, 0..0],
            Self::Winograd(transform) => [transform.window(), 0..0, 0..0],
        }
    }

    /// Workgroups that it takes.
    pub fn workgroups(&self) -> u64 {
        match self {
            Self::Sample(sampling) => sampling.items().div_ceil(SAMPLE_WORKGROUP),
            Self::Quads(regrouping) => regrouping.words().div_ceil(INTEGERS_WORKGROUP),
            Self::Winograd(transform) => transform.workgroups(),
        }
    }

    /// Its WGSL, a whole module, for a device that can have 16-bit floats in shaders or cannot.
    pub fn source(&self, shader_f16: bool) -> Result<String> {
        match self {
            Self::Sample(sampling) => sampling.source(),
            Self::Quads(regrouping) => quads_source(regrouping.dtype),
            Self::Winograd(transform) => input_transform_source(transform, shader_f16),
        }
    }

    /// Its parameters without offsets, segment and grid.
    pub fn params(&self) -> Block {
        match self {
            Self::Sample(sampling) => Block::Sample(sampling.params()),
            Self::Quads(regrouping) => Block::Convolution(regrouping.params()),
            Self::Winograd(transform) => Block::Convolution(transform.params()),
        }
    }

    pub fn label(&self) -> &'static str {
        match self {
            Self::Sample(_) => "wgpu-conv: sample",
            Self::Quads(_) => "wgpu-conv: rearrange integers",
            Self::Winograd(_) => "wgpu-conv: transform the input",
        }
    }

    /// Proves what [`ranges`] claims, or says which number is too large.
    pub fn prove(&self) -> Result<(), String> {
        match self {
            Self::Sample(sampling) => sampling.prove(),
            Self::Quads(regrouping) => regrouping.prove(),
            Self::Winograd(transform) => transform.prove(),
        }
    }
}

/// Invocations of a workgroup of `shaders/sample.wgsl`.
pub(crate) const SAMPLE_WORKGROUP: u64 = 256;
/// Channels that an invocation of it samples at one place.
const SAMPLE_CHANNELS: u64 = 8;

/// Samples of a few images: for each output pixel, tap and input channel, the input at the tap's place there.
///
/// They lie as (images, columns, pixels), where a column is a channel and a tap.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Sampling {
    pub dtype: DType,
    pub masked: bool,
    pub first_image: u32,
    pub images: u32,
    pub channels: u32,
    /// Channels of a group of the weight.
    pub group_in: u32,
    pub offset_groups: u32,
    /// Rows and columns.
    pub input: [u32; 2],
    pub output: [u32; 2],
    pub kernel: [u32; 2],
    pub stride: [u32; 2],
    pub dilation: [u32; 2],
    pub before: [u32; 2],
    pub input_steps: Steps,
    pub offset_steps: Steps,
    pub mask_steps: Steps,
    /// From one channel of a group to the next, and from one tap to the next, in columns.
    pub channel_columns: u32,
    pub tap_columns: u32,
}

impl Sampling {
    fn taps(&self) -> u64 {
        u64::from(self.kernel[0]) * u64::from(self.kernel[1])
    }

    fn pixels(&self) -> u64 {
        u64::from(self.output[0]) * u64::from(self.output[1])
    }

    /// Samples of one image.
    pub fn of_image(channels: u32, kernel: [u32; 2], output: [u32; 2]) -> u64 {
        let factors = [channels, kernel[0], kernel[1], output[0], output[1]];
        factors.into_iter().fold(1, |product: u64, factor| product.saturating_mul(factor.into()))
    }

    pub fn samples(&self) -> u64 {
        Self::of_image(self.channels, self.kernel, self.output).saturating_mul(self.images.into())
    }

    /// Channels of an offset group, in pieces for one invocation each.
    fn pieces(&self) -> u64 {
        u64::from(self.channels / self.offset_groups).div_ceil(SAMPLE_CHANNELS)
    }

    /// Invocations that have something to do.
    fn items(&self) -> u64 {
        [self.images.into(), self.offset_groups.into(), self.pieces(), self.taps(), self.pixels()]
            .into_iter()
            .fold(1, u64::saturating_mul)
    }

    fn prove(&self) -> Result<(), String> {
        let below = ranges::below;
        for (what, window) in
            ["the number of input elements", "the number of offset elements", "the number of mask elements"]
                .into_iter()
                .zip(self.windows())
        {
            below(what, window.end - window.start)?;
        }
        below("the number of samples of a pass", self.samples())?;
        below("the number of sampling invocations", self.items().saturating_add(SAMPLE_WORKGROUP))?;
        for (axis, name) in ["row", "column"].into_iter().enumerate() {
            let [output, stride, kernel, dilation, before] =
                [self.output, self.stride, self.kernel, self.dilation, self.before].map(|pair| u64::from(pair[axis]));
            let reach = (output * stride).saturating_add(kernel * dilation).saturating_add(before);
            below(&format!("the largest padded {name} that a tap begins at"), reach)?;
        }
        let [rows, columns] = self.input.map(u64::from);
        below("the number of elements of an input plane", rows * columns)
    }

    /// The stretches of input, offsets and mask that its images have.
    fn windows(&self) -> [Range<u64>; 3] {
        let of = |steps: &Steps, channels: u64, [rows, columns]: [u32; 2]| {
            let first = u64::from(self.first_image).saturating_mul(steps.image);
            first..first.saturating_add(reach(steps, self.images, channels, [1, rows, columns]))
        };
        let places = u64::from(self.offset_groups).saturating_mul(self.taps());
        [
            of(&self.input_steps, self.channels.into(), self.input),
            of(&self.offset_steps, places.saturating_mul(2), self.output),
            if self.masked { of(&self.mask_steps, places, self.output) } else { 0..0 },
        ]
    }

    fn source(&self) -> Result<String> {
        let tensors = match self.dtype {
            DType::F32 => include_str!("../shaders/sample_words.wgsl"),
            DType::F16 => include_str!("../shaders/sample_halves.wgsl"),
            integers => return Err(Error::Internal(format!("samples of {integers}"))),
        };
        let mut source = Source::new(&[tensors, include_str!("../shaders/sample.wgsl")]);
        source.set(&[("MASKED", self.masked.into())])?;
        Ok(source.finish())
    }

    /// Everything but where the tensors begin in their bindings, and the segment. The ranges are proved: every number fits.
    fn params(&self) -> SampleParams {
        let narrow = |steps: &Steps| [steps.image, steps.channel, steps.axes[1], steps.axes[2]].map(|step| step as u32);
        let [in_image, in_channel, in_row, in_column] = narrow(&self.input_steps);
        let [offset_image, offset_channel, offset_row, offset_column] = narrow(&self.offset_steps);
        let [mask_image, mask_channel, mask_row, mask_column] = narrow(&self.mask_steps);
        SampleParams {
            in_height: self.input[0],
            in_width: self.input[1],
            in_image,
            in_channel,
            in_row,
            in_column,
            offset_image,
            offset_channel,
            offset_row,
            offset_column,
            mask_image,
            mask_channel,
            mask_row,
            mask_column,
            input_first: 0,
            offset_first: 0,
            mask_first: 0,
            channels: self.channels,
            group_in: self.group_in,
            group_offset: self.channels / self.offset_groups,
            pieces: self.pieces() as u32,
            offset_groups: self.offset_groups,
            taps: self.taps() as u32,
            kernel_w: self.kernel[1],
            stride_h: self.stride[0],
            stride_w: self.stride[1],
            dilation_h: self.dilation[0],
            dilation_w: self.dilation[1],
            pad_top: self.before[0] as i32,
            pad_left: self.before[1] as i32,
            out_width: self.output[1],
            pixels: self.pixels() as u32,
            channel_columns: self.channel_columns,
            tap_columns: self.tap_columns,
            items: self.items() as u32,
            tile_begin: 0,
            grid_width: 0,
        }
    }
}

/// An input of 8-bit integers as kernels read it: four channels of a group in a word, dense, its padding in place.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Regrouping {
    /// Of the input.
    pub dtype: DType,
    pub groups: u32,
    /// Channels of a group.
    pub group_in: u32,
    /// Of the convolution on the input as it comes.
    pub lines: [Line; 3],
    pub padding_mode: PaddingMode,
    pub steps: Steps,
    /// Element of the input that is the first of its pass.
    pub first: u64,
    /// Images, words of all groups, and slices, rows and columns of what is written.
    pub quads: [u32; 5],
}

impl Regrouping {
    fn words(&self) -> u64 {
        self.quads.iter().fold(1, |product: u64, &size| product.saturating_mul(size.into()))
    }

    fn prove(&self) -> Result<(), String> {
        let below = ranges::below;
        // Invocations beyond the last one compute an index, too.
        below("the number of words of the rearranged input", self.words().saturating_add(INTEGERS_WORKGROUP))?;
        for (line, size) in self.lines.iter().zip(&self.quads[2..]) {
            below("the size of the padded input", u64::from(*size).saturating_add(line.before.unsigned_abs()))?;
            below("the size of the input", line.input.into())?;
        }
        let window = self.window();
        below("the number of input elements", window.end - window.start)
    }

    /// The stretch of the input that it reads.
    fn window(&self) -> Range<u64> {
        let channels = u64::from(self.groups) * u64::from(self.group_in);
        let sizes = self.lines.map(|line| line.input);
        self.first..self.first.saturating_add(reach(&self.steps, self.quads[0], channels, sizes))
    }

    /// Everything but where the input begins in its binding, and the segment. The ranges are proved: every number fits.
    fn params(&self) -> Params {
        let [slices, rows, columns] = self.lines;
        let [_, _, out_depth, out_height, out_width] = self.quads;
        let Steps { image, channel, axes: [slice, row, column] } = self.steps;
        Params {
            in_depth: slices.input,
            in_height: rows.input,
            in_width: columns.input,
            in_image: image as u32,
            in_channel: channel as u32,
            in_slice: slice as u32,
            in_row: row as u32,
            in_column: column as u32,
            pad_front: slices.before as i32,
            pad_top: rows.before as i32,
            pad_left: columns.before as i32,
            padding_mode: self.padding_mode as u32,
            out_depth,
            out_height,
            out_width,
            // There are as many groups as one channel of each makes.
            out_channels: self.groups,
            group_out: 1,
            group_in: self.group_in,
            pixels: self.words() as u32,
            ..bytemuck::Zeroable::zeroed()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lowered;

    fn sampling(text: &str) -> Sampling {
        let pass = lowered::passes(&text.parse().unwrap()).unwrap()[0];
        let Some(Prepare::Sample(sampling)) = pass.prepare else { panic!("{text} is not deformable") };
        sampling
    }

    #[test]
    fn each_limit_names_its_number() {
        assert_eq!(sampling("n2c4h9w8o4k3p1:deform:mask").prove(), Ok(()));
        for (text, part) in [
            ("n2c131072h128w128o1k1:deform", "input elements is 2147483648"),
            ("n1c32h1000w1000o1k15:deform:offset_groups=32", "offset elements"),
            ("c1h1w1o1k1s4294967295:deform", "padded row"),
        ] {
            let refusal = sampling(text).prove().unwrap_err();
            assert!(refusal.contains(part), "{refusal}");
        }
    }
}

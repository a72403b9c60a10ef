//! All outputs of a convolution: blocks of output pixels times output channels.

use super::fold::fold;
use super::{Reference, Tasks, finish, size};
use crate::conv::PaddingMode;
use crate::problem::{Axis, Problem};
use crate::tensors::Tensors;

/// Output channels of one block; each uses every input value that is fetched for the block.
const BLOCK_CHANNELS: usize = 8;
/// Output pixels of one block. A block (both sums) takes 16 KiB, which stays in the nearest cache.
const BLOCK_PIXELS: usize = 128;

/// The two sums of each output of a block, and the input that one tap of the kernel sees from all its pixels.
pub(super) struct Block {
    seen: [f64; BLOCK_PIXELS],
    sums: [[f64; BLOCK_PIXELS]; BLOCK_CHANNELS],
    magnitudes: [[f64; BLOCK_PIXELS]; BLOCK_CHANNELS],
}

impl Default for Block {
    fn default() -> Self {
        let zeros = [[0.0; BLOCK_PIXELS]; BLOCK_CHANNELS];
        Self { seen: [0.0; BLOCK_PIXELS], sums: zeros, magnitudes: zeros }
    }
}

/// Which outputs a block holds: some channels (of one group), some pixels (of the plane, row by row) of one image.
#[derive(Clone, Copy)]
struct Place {
    image: usize,
    group: usize,
    first_channel: usize,
    channels: usize,
    first_pixel: usize,
    pixels: usize,
}

/// All outputs, cut into blocks.
pub(super) struct Sweep<'a> {
    problem: &'a Problem,
    tensors: &'a Tensors<'a>,
    /// Roundings between the products and the sum.
    terms: f64,
    tasks: usize,
    plane: usize,
    pixel_blocks: usize,
    channel_blocks: usize,
}

impl<'a> Sweep<'a> {
    pub fn new(problem: &'a Problem, tensors: &'a Tensors<'a>, terms: f64) -> Self {
        let [images, _, output @ ..] = problem.output_shape().five().map(size);
        let groups = size(problem.groups());
        let channel_blocks = size(problem.out_channels_per_group()).div_ceil(BLOCK_CHANNELS);
        // Without images nothing below is ever used, and a plane need not fit the address space.
        let plane = if images == 0 { 0 } else { output.iter().product() };
        let pixel_blocks = plane.div_ceil(BLOCK_PIXELS);
        let tasks = if images == 0 { 0 } else { images * groups * channel_blocks * pixel_blocks };
        Self { problem, tensors, terms, tasks, plane, pixel_blocks, channel_blocks }
    }

    fn place(&self, task: usize) -> Place {
        let per_group = size(self.problem.out_channels_per_group());
        let groups = size(self.problem.groups());
        let (rest, pixel_block) = (task / self.pixel_blocks, task % self.pixel_blocks);
        let (rest, channel_block) = (rest / self.channel_blocks, rest % self.channel_blocks);
        let (image, group) = (rest / groups, rest % groups);
        let (first_pixel, in_group) = (pixel_block * BLOCK_PIXELS, channel_block * BLOCK_CHANNELS);
        Place {
            image,
            group,
            first_channel: group * per_group + in_group,
            channels: BLOCK_CHANNELS.min(per_group - in_group),
            first_pixel,
            pixels: BLOCK_PIXELS.min(self.plane - first_pixel),
        }
    }

    /// What one tap of the kernel sees from each pixel of a block, padding included.
    fn look(&self, volume: &[f32], tap: [u32; 3], first_pixel: usize, seen: &mut [f64]) {
        let mode = self.problem.padding_mode();
        let axes = self.problem.axes();
        let at = |axis: usize, output: usize| {
            let Axis { stride, dilation, before, .. } = axes[axis];
            output as i64 * i64::from(stride) + i64::from(tap[axis]) * i64::from(dilation) - i64::from(before)
        };
        let [_, rows, columns] = axes.map(|axis| size(axis.output));
        let (mut line, mut x) = (first_pixel / columns, first_pixel % columns);
        let mut rest = seen;
        while !rest.is_empty() {
            let (part, after) = rest.split_at_mut(rest.len().min(columns - x));
            let slice = fold(at(0, line / rows), axes[0].input, mode);
            let row = fold(at(1, line % rows), axes[1].input, mode);
            match slice.zip(row) {
                None => part.fill(0.0),
                Some((slice, row)) => {
                    let width = size(axes[2].input);
                    let row = &volume[(slice * size(axes[1].input) + row) * width..][..width];
                    look_along(row, at(2, x), axes[2].stride, mode, part);
                }
            }
            (rest, x, line) = (after, 0, line + 1);
        }
    }

    /// Index of a block's first output in one of its channels.
    fn first_output(&self, place: Place, local: usize) -> usize {
        let out_channels = size(self.problem.out_channels());
        (place.image * out_channels + place.first_channel + local) * self.plane + place.first_pixel
    }
}

impl Tasks for Sweep<'_> {
    type Block = Block;

    fn count(&self) -> usize {
        self.tasks
    }

    /// Adds up all products of one block, one tap of the kernel after the other, and turns the two sums of each output
    /// into its value and bound.
    fn compute(&self, task: usize, block: &mut Block) {
        let place = self.place(task);
        let [_, in_channels, input @ ..] = self.problem.input_shape().five().map(size);
        let [_, per_group, kernel @ ..] = self.problem.weight_shape().five();
        let (volume_len, taps) = (input.iter().product::<usize>(), kernel.map(size).iter().product::<usize>());
        *block = Block::default();
        let seen = &mut block.seen[..place.pixels];
        let mut tap = 0;
        for channel in 0..size(per_group) {
            let volume = place.image * in_channels + place.group * size(per_group) + channel;
            let volume = &self.tensors.input[volume * volume_len..][..volume_len];
            for slice in 0..kernel[0] {
                for row in 0..kernel[1] {
                    for column in 0..kernel[2] {
                        self.look(volume, [slice, row, column], place.first_pixel, seen);
                        for local in 0..place.channels {
                            let weights = (place.first_channel + local) * size(per_group) * taps;
                            let weight = self.tensors.weight[weights + tap];
                            add_products(seen, weight, &mut block.sums[local], &mut block.magnitudes[local]);
                        }
                        tap += 1;
                    }
                }
            }
        }
        for local in 0..place.channels {
            let (channel, first) = (place.first_channel + local, self.first_output(place, local));
            let both = block.sums[local].iter_mut().zip(&mut block.magnitudes[local]).take(place.pixels);
            for (pixel, (sum, magnitude)) in both.enumerate() {
                (*sum, *magnitude) =
                    finish(self.problem, self.tensors, channel, first + pixel, [*sum, *magnitude], self.terms);
            }
        }
    }

    fn store(&self, task: usize, block: &Block, result: &mut Reference) {
        let place = self.place(task);
        for local in 0..place.channels {
            let outputs = self.first_output(place, local)..self.first_output(place, local) + place.pixels;
            result.values[outputs.clone()].copy_from_slice(&block.sums[local][..place.pixels]);
            result.bounds[outputs].copy_from_slice(&block.magnitudes[local][..place.pixels]);
        }
    }
}

/// The innermost loop. A product of two f32 is exact in f64.
fn add_products(seen: &[f64], weight: f32, sums: &mut [f64], magnitudes: &mut [f64]) {
    let weight = f64::from(weight);
    for ((x, sum), magnitude) in seen.iter().zip(sums).zip(magnitudes) {
        let product = x * weight;
        *sum += product;
        *magnitude += product.abs();
    }
}

/// Values of an input row at `first`, `first + step`, …: a plain copy inside of the image, folded back outside of it.
fn look_along(row: &[f32], first: i64, step: u32, mode: PaddingMode, seen: &mut [f64]) {
    let width = row.len() as u32;
    let stride = i64::from(step);
    // How many steps it takes to reach `limit`, if so many are made.
    let reach = |limit: i64| {
        let distance = (limit - first).max(0).unsigned_abs();
        distance.div_ceil(u64::from(step)).min(seen.len() as u64) as usize
    };
    let (start, end) = (reach(0), reach(i64::from(width)));
    if start < end {
        let inside = &row[(first + start as i64 * stride) as usize..];
        if step == 1 {
            seen[start..end].iter_mut().zip(inside).for_each(|(to, from)| *to = f64::from(*from));
        } else {
            let every = inside.iter().step_by(size(step));
            seen[start..end].iter_mut().zip(every).for_each(|(to, from)| *to = f64::from(*from));
        }
    }
    for at in (0..start).chain(end..seen.len()) {
        let column = fold(first + at as i64 * stride, width, mode);
        seen[at] = column.map_or(0.0, |column| f64::from(row[column]));
    }
}

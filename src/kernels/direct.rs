//! Host side of `shaders/direct.wgsl`.

use super::{Checks, Depth, Prices, Recipe, Tiling, is_generic, sum_block};
use crate::problem::Problem;
use crate::ranges::TILE_MARGIN;
use crate::shader::Constant;
use crate::weights::Packing;

/// A register block, and how many of them a workgroup has.
struct Variant {
    name: &'static str,
    /// Output channels of an invocation: 1, or a multiple of 4.
    channels: u32,
    /// Output pixels of an invocation, along a row.
    pixels: u32,
    /// Invocations along pixel blocks and along channel blocks.
    group: [u32; 2],
}

const fn variant(name: &'static str, channels: u32, pixels: u32, group: [u32; 2]) -> Variant {
    Variant { name, channels, pixels, group }
}

static VARIANTS: [Variant; 8] = [
    variant("c4x8", 4, 8, [64, 1]),
    variant("c4x14", 4, 14, [64, 1]),
    variant("c8x8", 8, 8, [64, 1]),
    // For small images with many channels: few pixel blocks, so the workgroup spreads over channels.
    variant("c4x7", 4, 7, [16, 4]),
    // For one channel per group (depthwise, filters of images): a block of four channels would be three quarters idle.
    variant("c1x8", 1, 8, [64, 1]),
    variant("c1x16", 1, 16, [64, 1]),
    variant("generic-c4x4", 4, 4, [64, 1]),
    variant("generic-c1x4", 1, 4, [64, 1]),
];

/// Most input values of a row that an invocation keeps in registers.
const MAX_WINDOW: u64 = 64;
/// Channels of a partial sum where the configuration is not known to the compiler.
const GENERIC_SUM_CHANNELS: u64 = 16;

pub(super) struct Direct;

impl Direct {
    /// Input values that one kernel row needs for a block's pixels.
    fn window(problem: &Problem, variant: &Variant) -> u64 {
        u64::from(variant.pixels - 1) * u64::from(problem.conv().stride[1]) + problem.receptive_field()[1]
    }

    fn slides(problem: &Problem, variant: &Variant) -> bool {
        !is_generic(variant.name) && Self::window(problem, variant) <= MAX_WINDOW
    }
}

impl Recipe for Direct {
    fn variant_count(&self) -> usize {
        VARIANTS.len()
    }

    fn variant_name(&self, variant: usize) -> &'static str {
        VARIANTS[variant].name
    }

    fn source(&self) -> &'static str {
        include_str!("../../shaders/direct.wgsl")
    }

    fn constants(&self, problem: &Problem, variant: usize) -> Vec<Constant> {
        let variant = &VARIANTS[variant];
        let (slides, generic) = (Self::slides(problem, variant), is_generic(variant.name));
        let taps: u64 = problem.conv().kernel_size.into_iter().map(u64::from).product();
        let sum_channels = match sum_block(problem, generic) {
            Some(_) if generic => GENERIC_SUM_CHANNELS,
            Some(products) => (products / taps).max(1),
            None => 0,
        };
        vec![
            ("CHANNELS", variant.channels.into()),
            ("PIXELS", variant.pixels.into()),
            ("GROUP_X", variant.group[0].into()),
            ("GROUP_Y", variant.group[1].into()),
            ("SLIDE", slides.into()),
            ("WINDOW", if slides { Self::window(problem, variant) as u32 } else { 1 }.into()),
            ("SUM_CHANNELS", (sum_channels as u32).into()),
        ]
    }

    fn packing(&self, variant: usize) -> Packing {
        if VARIANTS[variant].channels == 1 { Packing::Oihw } else { Packing::Blocked4 }
    }

    fn workgroup(&self, variant: usize) -> ([u32; 2], u32) {
        (VARIANTS[variant].group, 0)
    }

    fn workspace(&self, _: &Problem, _: usize) -> u64 {
        0
    }

    fn tiling(&self, problem: &Problem, variant: usize) -> Result<Tiling, String> {
        let Variant { channels, pixels, group: [x, y], .. } = VARIANTS[variant];
        debug_assert!(u64::from(pixels) <= TILE_MARGIN);
        let [batch, _, rows, columns] = problem.output_shape().map(u64::from);
        // A refusal, not an overflow, where the product is beyond 64 bits: the ranges are proved first, but not by us.
        let blocks = batch.saturating_mul(rows).saturating_mul(columns.div_ceil(pixels.into()));
        Tiling::new(problem, blocks, pixels.into(), x, y * channels)
    }

    fn depth(&self, problem: &Problem, variant: usize, checks: Checks) -> Depth {
        let variant = &VARIANTS[variant];
        let [rows, columns] = problem.conv().kernel_size.map(u64::from);
        let [channels, pixels] = [variant.channels, variant.pixels].map(u64::from);
        let rounds = match checks {
            // The loops over channels, rows and columns; twice that, for what a compiler may not unroll after all.
            Checks::Trusted => 2 * (1 + rows * (1 + columns)),
            Checks::Checked => {
                let window = if Self::slides(problem, variant) { Self::window(problem, variant) } else { 0 };
                let tap = 1 + channels / 4 * 5 + pixels * (1 + channels);
                1 + rows * (1 + window + columns * tap) + channels * pixels
            }
        };
        Depth { length: problem.in_channels_per_group(), step: 1, rounds }
    }

    fn unit_cost(&self, problem: &Problem, variant: usize, prices: &Prices) -> f64 {
        let variant = &VARIANTS[variant];
        let (channels, pixels) = (f64::from(variant.channels), f64::from(variant.pixels));
        let taps = f64::from(problem.conv().kernel_size[1]);
        let inputs = if Self::slides(problem, variant) { Self::window(problem, variant) as f64 } else { taps * pixels };
        1.0 + prices.load * (inputs + taps * channels) / (taps * channels * pixels)
    }
}

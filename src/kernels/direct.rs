//! Host side of `shaders/direct.wgsl`.

use super::window::{Taps, Window};
use super::{Build, Checks, Depth, Prices, Recipe, TileChannels, Tiling, is_generic, long_in_parts, sum_block};
use crate::lowered::Lowered;
use crate::packing::Packing;
use crate::shader::Constant;

/// A register block, and how many of them a workgroup has.
struct Variant {
    name: &'static str,
    /// Output channels of an invocation: 1, or a multiple of 4.
    channels: u32,
    /// Output rows × columns of an invocation.
    pixels: [u32; 2],
    /// Invocations along pixel blocks and along channel blocks.
    group: [u32; 2],
    /// Whether a workgroup's channels may be of several groups.
    across_groups: bool,
}

impl Variant {
    fn window(&self, pass: &Lowered) -> Window {
        let most = match self {
            _ if is_generic(self.name) => Taps::One,
            // One row of pixels shares no input between kernel rows, so nothing is lost by taking them in turn.
            Self { pixels: [1, _], channels: 4.., .. } => Taps::Row,
            _ => Taps::Kernel { live: 64, row: 64 },
        };
        Window::of(pass, self.pixels, most)
    }
}

const fn variant(name: &'static str, channels: u32, pixels: [u32; 2], group: [u32; 2]) -> Variant {
    Variant { name, channels, pixels, group, across_groups: false }
}

/// A channel for each invocation of a workgroup, whatever their groups.
const fn across_groups(name: &'static str, pixels: [u32; 2], invocations: u32) -> Variant {
    Variant { name, channels: 1, pixels, group: [1, invocations], across_groups: true }
}

static VARIANTS: [Variant; 9] = [
    variant("c4x8", 4, [1, 8], [64, 1]),
    variant("c4x14", 4, [1, 14], [64, 1]),
    variant("c8x8", 8, [1, 8], [64, 1]),
    // For small images with many channels: few pixel blocks, so the workgroup spreads over channels.
    variant("c4x7", 4, [1, 7], [16, 4]),
    // For one channel per group (depthwise, filters of images): a block of four channels would be three quarters idle.
    variant("c1x8", 1, [1, 8], [64, 1]),
    variant("c1x4x8", 1, [4, 8], [64, 1]),
    // The same for tensors with their channels last: invocations side by side read elements side by side.
    across_groups("across-c1x7x7", [7, 7], 32),
    variant("generic-c4x4", 4, [1, 4], [64, 1]),
    variant("generic-c1x4", 1, [1, 4], [64, 1]),
];

pub(super) struct Direct;

impl Recipe for Direct {
    fn variant_count(&self) -> usize {
        VARIANTS.len()
    }

    fn variant_name(&self, variant: usize) -> &'static str {
        VARIANTS[variant].name
    }

    fn source(&self, _: usize) -> &'static str {
        concat!(include_str!("../../shaders/window.wgsl"), "\n", include_str!("../../shaders/direct.wgsl"))
    }

    fn constants(&self, pass: &Lowered, variant: usize, _: &Build) -> Vec<Constant> {
        let variant = &VARIANTS[variant];
        let mut constants = vec![
            ("CHANNELS", variant.channels.into()),
            ("QUADS", (variant.channels / 4).into()),
            ("ROWS", variant.pixels[0].into()),
            ("COLUMNS", variant.pixels[1].into()),
            ("GROUP_X", variant.group[0].into()),
            ("GROUP_Y", variant.group[1].into()),
            ("ACROSS_GROUPS", variant.across_groups.into()),
        ];
        let generic = is_generic(variant.name);
        let sum_block = sum_block(pass, generic).filter(|_| !variant.across_groups);
        constants.extend(variant.window(pass).constants(pass, variant.pixels, generic, sum_block));
        constants
    }

    fn packing(&self, variant: usize) -> Packing {
        if VARIANTS[variant].channels == 1 { Packing::Oihw } else { Packing::Blocked4 }
    }

    fn workgroup(&self, variant: usize, _: u32) -> ([u32; 2], u32) {
        (VARIANTS[variant].group, 0)
    }

    fn tiling(&self, pass: &Lowered, variant: usize) -> Result<Tiling, String> {
        let Variant { channels, pixels, group: [x, y], across_groups, .. } = VARIANTS[variant];
        let of = if across_groups { TileChannels::OfAnyGroup } else { TileChannels::OfOneGroup };
        Tiling::of_blocks(pass, pixels, x, of(y * channels))
    }

    fn depth(&self, pass: &Lowered, variant: usize, _: Checks) -> Depth {
        let variant = &VARIANTS[variant];
        let depth = Depth::of_channels(pass, &variant.window(pass));
        if variant.across_groups { long_in_parts(pass, depth) } else { depth }
    }

    fn unit_cost(&self, pass: &Lowered, variant: usize, prices: &Prices) -> f64 {
        let variant = &VARIANTS[variant];
        let window = variant.window(pass);
        let channels = f64::from(variant.channels);
        let pixels = f64::from(variant.pixels[0] * variant.pixels[1]);
        let taps = window.taps() as f64;
        // Elements that are neighbours for the invocations are neighbours in memory, too, or are not.
        let last = pass.input_steps.axes[2] != 1;
        let scattered = if last == variant.across_groups { 1.0 } else { prices.scattered };
        let weight = if variant.across_groups { prices.load * prices.scattered } else { prices.uniform };
        let loads = window.loads() as f64 * prices.load * scattered + taps * channels * weight;
        1.0 + (loads + channels * pixels * prices.carry) / (taps * channels * pixels)
    }
}

const _: () = {
    let mut index = 0;
    while index < VARIANTS.len() {
        let Variant { channels, group: [x, _], .. } = VARIANTS[index];
        assert!(channels == 1 || channels.is_multiple_of(4));
        // `small_quotient` counts on no more.
        assert!(x <= 64);
        index += 1;
    }
};

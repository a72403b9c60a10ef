//! Host side of `shaders/broadcast.wgsl`.

use super::window::{Taps, Window};
use super::{Build, Checks, Depth, Prices, Recipe, TileChannels, Tiling, is_generic, long_in_parts, sum_block};
use crate::dtype::DType;
use crate::lowered::Lowered;
use crate::packing::Packing;
use crate::shader::Constant;

/// Most input values at a time: AMD's chips have 106 scalar registers, and the window lies there.
const LIVE: u64 = 40;
const LIVE_IN_ROW: u64 = 32;
/// Vector registers for sums and weights, of 256 on AMD's chips, and how many of them 16-bit weights take on their way.
const REGISTERS: u32 = 240;
const WIDENING: u32 = 40;

/// What an invocation computes, and how many of them a workgroup has.
struct Variant {
    name: &'static str,
    /// Output rows × columns.
    pixels: [u32; 2],
    /// Output channels of an invocation.
    channels: u32,
    /// Invocations: neighbouring channels.
    lanes: u32,
}

impl Variant {
    fn window(&self, pass: &Lowered) -> Window {
        let [rows, columns] = self.pixels;
        let most = match rows {
            _ if is_generic(self.name) => Taps::One,
            // Beside the sums, weights lie in vector registers.
            1 => {
                let registers = REGISTERS - if pass.dtype == DType::F16 { WIDENING } else { 0 };
                let taps = (registers - columns * self.channels) / self.channels;
                Taps::Strips { live: LIVE, taps: taps.into() }
            }
            _ => Taps::Kernel { live: LIVE, row: LIVE_IN_ROW },
        };
        Window::of_channels(pass, self.pixels, most).unwrap_or_else(|| Window::of(pass, self.pixels, most))
    }
}

const fn variant(name: &'static str, pixels: [u32; 2], channels: u32, lanes: u32) -> Variant {
    Variant { name, pixels, channels, lanes }
}

static VARIANTS: [Variant; 11] = [
    variant("r6x8c2", [6, 8], 2, 32),
    variant("r7x7c2", [7, 7], 2, 32),
    // For small images with many channels, and where stride or dilation widen the window.
    variant("r4x7c4", [4, 7], 4, 16),
    // For 1×1 kernels, whose images are flattened to one row.
    variant("r1x28c4", [1, 28], 4, 16),
    variant("r1x16c4", [1, 16], 4, 16),
    // For lines, whose stride may spread the window.
    variant("r1x16c8", [1, 16], 8, 16),
    // For processors, whose vectors have eight lanes: as many channels as r1x28c4, and each input value serves twice as many.
    variant("r1x20c8", [1, 20], 8, 8),
    // For lines with few channels in a group.
    variant("r1x28c2", [1, 28], 2, 16),
    // For few output channels.
    variant("r4x8c1", [4, 8], 1, 16),
    variant("r4x4c1", [4, 4], 1, 16),
    variant("generic-r4x4c2", [4, 4], 2, 32),
];

pub(super) struct Broadcast;

impl Recipe for Broadcast {
    fn variant_count(&self) -> usize {
        VARIANTS.len()
    }

    fn variant_name(&self, variant: usize) -> &'static str {
        VARIANTS[variant].name
    }

    fn block(&self, variant: usize) -> u32 {
        VARIANTS[variant].pixels[1]
    }

    fn source(&self, _: usize) -> &'static str {
        concat!(include_str!("../../shaders/window.wgsl"), "\n", include_str!("../../shaders/broadcast.wgsl"))
    }

    fn constants(&self, pass: &Lowered, variant: usize, _: &Build) -> Vec<Constant> {
        let variant = &VARIANTS[variant];
        let mut constants = vec![
            ("LANES", variant.lanes.into()),
            ("CHANNELS", variant.channels.into()),
            ("ROWS", variant.pixels[0].into()),
            ("COLUMNS", variant.pixels[1].into()),
        ];
        let generic = is_generic(variant.name);
        let window = variant.window(pass);
        constants.extend(window.strips(variant.pixels[1]));
        constants.extend(window.constants(pass, variant.pixels, generic, sum_block(pass, generic).filter(|_| generic)));
        constants
    }

    fn packing(&self, _: usize) -> Packing {
        Packing::KMajor
    }

    fn workgroup(&self, variant: usize, _: u32) -> ([u32; 2], u32) {
        ([VARIANTS[variant].lanes, 1], 0)
    }

    fn tiling(&self, pass: &Lowered, variant: usize) -> Result<Tiling, String> {
        let Variant { pixels, channels, lanes, .. } = VARIANTS[variant];
        Tiling::of_blocks(pass, pixels, 1, TileChannels::OfOneGroup(channels * lanes))
    }

    fn depth(&self, pass: &Lowered, variant: usize, _: Checks) -> Depth {
        let variant = &VARIANTS[variant];
        let depth = Depth::of_channels(pass, &variant.window(pass));
        if is_generic(variant.name) { depth } else { long_in_parts(pass, depth) }
    }

    fn unit_cost(&self, pass: &Lowered, variant: usize, prices: &Prices) -> f64 {
        let variant = &VARIANTS[variant];
        let window = variant.window(pass);
        let channels = f64::from(variant.channels);
        let pixels = f64::from(variant.pixels[0] * variant.pixels[1]);
        let taps = window.taps() as f64;
        let loads = window.loads() as f64 * prices.uniform + taps * channels * prices.neighbours;
        1.0 + (loads + channels * pixels * prices.carry) / (taps * channels * pixels)
    }

    fn other_cost(&self, pass: &Lowered, variant: usize, prices: &Prices) -> f64 {
        let bytes = (pass.group_inputs().saturating_mul(pass.groups.into()).saturating_add(pass.outputs()))
            .saturating_mul(pass.element_size());
        let Ok(tiling) = self.tiling(pass, variant) else { return 0.0 };
        if bytes <= prices.cache {
            return 0.0;
        }
        let Variant { pixels: [rows, _], channels, lanes, .. } = VARIANTS[variant];
        let [slices, line, _] = pass.lines;
        let of_image = u64::from(rows - 1) * u64::from(line.stride) + line.extent();
        let read = u64::from(pass.group_in) * u64::from(slices.kernel) * of_image.min(line.input.into());
        let written = u64::from((channels * lanes).min(pass.group_out)) * u64::from(rows);
        f64::from(tiling.tiles) * (read + written) as f64 * prices.stretch
    }
}

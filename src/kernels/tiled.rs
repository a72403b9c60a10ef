//! Host side of `shaders/tiled.wgsl`.

use super::{Build, Checks, Depth, Prices, Recipe, TileChannels, Tiling, gather, is_generic, sum_block};
use crate::lowered::Lowered;
use crate::packing::{KOrder, Packing};
use crate::ranges::INDEX_LIMIT;
use crate::shader::Constant;

/// A tile of the output matrix, and the part of it that an invocation holds.
struct Variant {
    name: &'static str,
    /// Output channels × pixels × depth of a slice.
    tile: [u32; 3],
    /// Output channels × pixels of an invocation; the channels a multiple of 4.
    thread: [u32; 2],
    /// Slices that workgroup memory holds.
    buffers: u32,
    /// Whether several workgroups share a tile's sums.
    split: bool,
}

impl Variant {
    const fn threads(&self) -> u32 {
        (self.tile[0] / self.thread[0]) * (self.tile[1] / self.thread[1])
    }
}

const fn variant(name: &'static str, tile: [u32; 3], thread: [u32; 2], buffers: u32) -> Variant {
    let variant = Variant { name, tile, thread, buffers, split: false };
    let threads = variant.threads();
    // Every invocation gathers whole columns or the same part of each, so that a position along K is the same for all.
    assert!(tile[1].is_multiple_of(threads) || threads.is_multiple_of(tile[1]));
    assert!(threads.is_multiple_of(tile[0] / 4) && tile[2].is_multiple_of(8) && 16 % tile[2] == 0);
    assert!(thread[0].is_multiple_of(4));
    variant
}

const fn split(name: &'static str, tile: [u32; 3], thread: [u32; 2]) -> Variant {
    Variant { split: true, ..variant(name, tile, thread, 2) }
}

/// Workgroups that splitting a sum aims at, how many may share one, and the slices that each has at least.
const SPLIT_WORKGROUPS: u64 = 256;
const MOST_SPLITS: u64 = 16;
const LEAST_SLICES: u64 = 4;

static VARIANTS: [Variant; 12] = [
    variant("m64n64k8", [64, 64, 8], [8, 8], 2),
    variant("m128n128k8", [128, 128, 8], [8, 8], 2),
    variant("m128n64k8", [128, 64, 8], [8, 8], 2),
    variant("m64n128k8", [64, 128, 8], [8, 8], 2),
    variant("m32n128k8", [32, 128, 8], [8, 8], 2),
    variant("m16n128k8", [16, 128, 8], [4, 8], 2),
    variant("m32n64k16", [32, 64, 16], [4, 8], 2),
    variant("m32n32k16", [32, 32, 16], [4, 4], 2),
    // For few channels per group.
    variant("m4n256k8", [4, 256, 8], [4, 4], 1),
    // For few tiles and long sums.
    split("split-m64n64k8", [64, 64, 8], [8, 8]),
    split("split-m32n32k16", [32, 32, 16], [4, 4]),
    variant("generic-m32n64k8", [32, 64, 8], [4, 8], 1),
];

pub(super) struct Tiled;

impl Recipe for Tiled {
    fn variant_count(&self) -> usize {
        VARIANTS.len()
    }

    fn variant_name(&self, variant: usize) -> &'static str {
        VARIANTS[variant].name
    }

    fn source(&self, _: usize) -> &'static str {
        concat!(include_str!("../../shaders/gather.wgsl"), "\n", include_str!("../../shaders/tiled.wgsl"))
    }

    fn constants(&self, pass: &Lowered, variant: usize, build: &Build) -> Vec<Constant> {
        let variant = &VARIANTS[variant];
        let Variant { name, tile, thread, buffers, split } = *variant;
        let generic = is_generic(name);
        let sum_slices = sum_block(pass, generic).map_or(0, |products| products as u32 / tile[2]);
        let mut constants = gather::constants(pass, tile, variant.threads(), generic, build.partial);
        constants.extend([
            ("THREAD_M", thread[0].into()),
            ("THREAD_N", thread[1].into()),
            ("BUFFERS", buffers.into()),
            ("SPLIT_K", split.into()),
            ("SUM_SLICES", sum_slices.into()),
        ]);
        constants
    }

    fn packing(&self, _: usize) -> Packing {
        Packing::KMajor
    }

    fn workgroup(&self, variant: usize, _: u32) -> ([u32; 2], u32) {
        let variant = &VARIANTS[variant];
        ([variant.threads(), 1], 4 * variant.buffers * variant.tile[2] * (variant.tile[0] + variant.tile[1]))
    }

    fn has_workspace(&self, variant: usize) -> bool {
        VARIANTS[variant].split
    }

    fn workspace(&self, pass: &Lowered, variant: usize) -> u64 {
        match self.tiling(pass, variant) {
            Ok(tiling) if VARIANTS[variant].split => (4 * u64::from(tiling.splits)).saturating_mul(pass.outputs()),
            _ => 0,
        }
    }

    fn tiling(&self, pass: &Lowered, variant: usize) -> Result<Tiling, String> {
        let [m, n, _] = VARIANTS[variant].tile;
        let packed = Packing::KMajor.vectors(pass).saturating_mul(4);
        if packed >= INDEX_LIMIT {
            return Err(format!("the packed weight has {packed} elements; there may be less than {INDEX_LIMIT}"));
        }
        let tiling = Tiling::new(pass, pass.pixels(), 1, n, TileChannels::OfOneGroup(m))?;
        if VARIANTS[variant].split { split_sums(pass, &VARIANTS[variant], tiling) } else { Ok(tiling) }
    }

    fn depth(&self, pass: &Lowered, variant: usize, checks: Checks) -> Depth {
        let [m, n, k] = VARIANTS[variant].tile.map(u64::from);
        let [quads, thread_n] = [VARIANTS[variant].thread[0] / 4, VARIANTS[variant].thread[1]].map(u64::from);
        let threads = u64::from(VARIANTS[variant].threads());
        // A slice: its weights and the columns of its input, fetched and put away; its multiply-adds and their loads, four
        // positions at a time; its partial sum.
        let (weights, columns) = ((k * m / 4).div_ceil(threads), n.div_ceil(threads));
        let block = match checks {
            Checks::Trusted => 0,
            Checks::Checked => thread_n + 4 * (1 + quads * (1 + thread_n)),
        };
        let rounds = 1 + 2 * weights + k * (2 + 3 * columns) + k / 4 * (1 + block) + quads * thread_n;
        // A problem whose K does not fit is refused before anything is split.
        let length = KOrder::of(pass).length.min(u64::from(u32::MAX)) as u32;
        let length = match self.tiling(pass, variant) {
            Ok(tiling) if VARIANTS[variant].split => tiling.split_length.min(length),
            _ => length,
        };
        let block = KOrder::of(pass).block;
        // Beyond 32 bits it is refused, too.
        let run = u64::from(block).saturating_mul(pass.taps()).min(u64::from(u32::MAX)) as u32;
        Depth { length, step: VARIANTS[variant].tile[2], rounds, longest: u32::MAX, run: [run, block] }
    }

    fn unit_cost(&self, pass: &Lowered, variant: usize, prices: &Prices) -> f64 {
        let Variant { tile, thread, .. } = VARIANTS[variant];
        let [m, n] = thread.map(f64::from);
        // Per position along K, an invocation does m · n multiply-adds, reads m + n values and gathers its columns and its
        // share of the weight; a last slice that is not full costs as much as a full one.
        let threads = f64::from(VARIANTS[variant].threads());
        let [tile_m, tile_n, tile_k] = tile.map(f64::from);
        let gathered = prices.gather * tile_n / threads + prices.load * tile_m / threads;
        let k = (pass.sum_length() as f64).max(1.0);
        let slices = (k / tile_k).ceil() * tile_k / k;
        slices * (1.0 + (prices.shared * (m + n) + gathered) / (m * n))
    }
}

/// Gives each tile's sums to as many workgroups as it takes to keep a large GPU busy, whole slices to each. Where there is
/// nothing to share one workgroup has it all.
fn split_sums(pass: &Lowered, variant: &Variant, tiling: Tiling) -> Result<Tiling, String> {
    let step = u64::from(variant.tile[2]);
    let slices = KOrder::of(pass).length.div_ceil(step).max(1);
    // As of the whole, so that a piece of it has the same bits.
    let (pixels, groups, channels) = pass.whole;
    let [tile_m, tile_n, _] = variant.tile.map(u64::from);
    let tiles_channels = u64::from(channels).div_ceil(tile_m) * u64::from(groups);
    let tiles = pixels.div_ceil(tile_n).saturating_mul(tiles_channels).max(1);
    let wanted = SPLIT_WORKGROUPS.div_ceil(tiles).min(MOST_SPLITS).min(slices / LEAST_SLICES).max(1);
    let length = slices.div_ceil(wanted) * step;
    // With whole slices, fewer parts may do.
    let splits = (slices * step).div_ceil(length);
    let partial_sums = pass.outputs().saturating_mul(splits);
    if partial_sums >= INDEX_LIMIT {
        return Err(format!("{partial_sums} partial sums; there may be less than {INDEX_LIMIT}"));
    }
    tiling.split(splits as u32, length as u32)
}

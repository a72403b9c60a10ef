//! Host side of `shaders/tiled.wgsl`.

use super::{Checks, Depth, Prices, Recipe, Tiling, is_generic, sum_block};
use crate::problem::Problem;
use crate::shader::Constant;
use crate::weights::Packing;

/// A tile of the output matrix, and the part of it that an invocation holds.
struct Variant {
    name: &'static str,
    /// Output channels × pixels × depth of a slice.
    tile: [u32; 3],
    /// Output channels × pixels of an invocation, multiples of 4.
    thread: [u32; 2],
}

impl Variant {
    const fn threads(&self) -> u32 {
        (self.tile[0] / self.thread[0]) * (self.tile[1] / self.thread[1])
    }
}

const fn variant(name: &'static str, tile: [u32; 3], thread: [u32; 2]) -> Variant {
    let variant = Variant { name, tile, thread };
    // Every invocation gathers whole columns, so that a position along K is the same for all of them.
    assert!(tile[1].is_multiple_of(variant.threads()));
    assert!(thread[0].is_multiple_of(4) && thread[1].is_multiple_of(4));
    variant
}

static VARIANTS: [Variant; 7] = [
    variant("m64n64k16", [64, 64, 16], [8, 8]),
    variant("m64n128k8", [64, 128, 8], [8, 8]),
    variant("m32n128k16", [32, 128, 16], [8, 8]),
    variant("m32n64k16", [32, 64, 16], [4, 8]),
    variant("m16n64k16", [16, 64, 16], [4, 4]),
    // For few channels per group.
    variant("m4n256k8", [4, 256, 8], [4, 4]),
    variant("generic-m32n64k16", [32, 64, 16], [4, 8]),
];

pub(super) struct Tiled;

impl Recipe for Tiled {
    fn variant_count(&self) -> usize {
        VARIANTS.len()
    }

    fn variant_name(&self, variant: usize) -> &'static str {
        VARIANTS[variant].name
    }

    fn source(&self) -> &'static str {
        include_str!("../../shaders/tiled.wgsl")
    }

    fn constants(&self, problem: &Problem, variant: usize) -> Vec<Constant> {
        let Variant { name, tile, thread } = VARIANTS[variant];
        let sum_slices = sum_block(problem, is_generic(name)).map_or(0, |products| products as u32 / tile[2]);
        vec![
            ("TILE_M", tile[0].into()),
            ("TILE_N", tile[1].into()),
            ("TILE_K", tile[2].into()),
            ("THREAD_M", thread[0].into()),
            ("THREAD_N", thread[1].into()),
            ("SUM_SLICES", sum_slices.into()),
        ]
    }

    fn packing(&self, _: usize) -> Packing {
        Packing::KMajor
    }

    fn workgroup(&self, variant: usize) -> ([u32; 2], u32) {
        let variant = &VARIANTS[variant];
        ([variant.threads(), 1], 4 * variant.tile[2] * (variant.tile[0] + variant.tile[1]))
    }

    fn workspace(&self, _: &Problem, _: usize) -> u64 {
        0
    }

    fn tiling(&self, problem: &Problem, variant: usize) -> Result<Tiling, String> {
        let [m, n, _] = VARIANTS[variant].tile;
        let [batch, _, rows, columns] = problem.output_shape().map(u64::from);
        let pixels = batch.saturating_mul(rows).saturating_mul(columns);
        Tiling::new(problem, pixels, 1, n, m)
    }

    fn depth(&self, problem: &Problem, variant: usize, checks: Checks) -> Depth {
        let [m, n, k] = VARIANTS[variant].tile.map(u64::from);
        let [thread_m, thread_n] = VARIANTS[variant].thread.map(u64::from);
        let threads = u64::from(VARIANTS[variant].threads());
        // A slice: its weights, its rows with the columns of each, its multiply-adds and their loads, its partial sum.
        let block = match checks {
            Checks::Trusted => 0,
            Checks::Checked => 5 * (thread_m + thread_n) / 4 + thread_m * (1 + thread_n),
        };
        let rounds = 1 + (k * m / 4).div_ceil(threads) + k * (1 + n / threads) + k * (1 + block) + thread_m * thread_n;
        // A problem whose K does not fit is refused before anything is split.
        let length = problem.sum_length().min(u64::from(u32::MAX)) as u32;
        Depth { length, step: VARIANTS[variant].tile[2], rounds }
    }

    fn unit_cost(&self, problem: &Problem, variant: usize, prices: &Prices) -> f64 {
        let Variant { tile, thread, .. } = VARIANTS[variant];
        let [m, n] = thread.map(f64::from);
        // Per position along K, an invocation does m · n multiply-adds, reads m + n values and gathers its columns and its
        // share of the weight; a last slice that is not full costs as much as a full one.
        let threads = f64::from(VARIANTS[variant].threads());
        let [tile_m, tile_n, tile_k] = tile.map(f64::from);
        let gathered = prices.gather * tile_n / threads + prices.load * tile_m / threads;
        let k = (problem.sum_length() as f64).max(1.0);
        let slices = (k / tile_k).ceil() * tile_k / k;
        slices * (1.0 + (prices.shared * (m + n) + gathered) / (m * n))
    }
}

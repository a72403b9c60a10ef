//! Host side of `shaders/matrix.wgsl`.

use super::{Build, Checks, Depth, Prices, Products, Recipe, TileChannels, Tiling, gather};
use crate::accuracy::Rounding;
use crate::capabilities::Capabilities;
use crate::dtype::DType;
use crate::lowered::Lowered;
use crate::packing::{KOrder, Packing};
use crate::shader::Constant;

/// A tile of the output matrix, and how subgroups share it.
struct Variant {
    name: &'static str,
    /// Rows and columns of a matrix.
    side: u32,
    /// Output channels × pixels × depth of a slice.
    tile: [u32; 3],
    /// Parts along output channels and pixels, one for each subgroup.
    parts: [u32; 2],
    /// Slices that workgroup memory holds.
    buffers: u32,
}

const fn variant(name: &'static str, side: u32, tile: [u32; 3], parts: [u32; 2], buffers: u32) -> Variant {
    let variant = Variant { name, side, tile, parts, buffers };
    // Whole matrices in each part; slices that the packed weight has whole.
    assert!(tile[0].is_multiple_of(parts[0] * side) && tile[1].is_multiple_of(parts[1] * side));
    assert!(tile[2].is_multiple_of(16) && tile[2].is_multiple_of(side) && 32_u32.is_multiple_of(tile[2]));
    variant
}

static VARIANTS: [Variant; 7] = [
    variant("x16-m128n128", 16, [128, 128, 32], [4, 2], 1),
    variant("x16-m128n64", 16, [128, 64, 32], [4, 1], 1),
    variant("x16-m64n128", 16, [64, 128, 32], [2, 2], 1),
    variant("x16-m64n64", 16, [64, 64, 32], [2, 2], 1),
    variant("x16-m32n128", 16, [32, 128, 16], [1, 2], 1),
    variant("x8-m64n64", 8, [64, 64, 16], [2, 4], 2),
    variant("x8-m32n32", 8, [32, 32, 16], [1, 2], 2),
];

impl Variant {
    const fn parts(&self) -> u32 {
        self.parts[0] * self.parts[1]
    }

    const fn threads(&self, subgroup_size: u32) -> u32 {
        self.parts() * subgroup_size
    }
}

pub(super) struct Matrix;

impl Recipe for Matrix {
    fn variant_count(&self) -> usize {
        VARIANTS.len()
    }

    fn variant_name(&self, variant: usize) -> &'static str {
        VARIANTS[variant].name
    }

    fn rounding(&self, _: usize) -> Rounding {
        Rounding::Matrix
    }

    fn products(&self) -> Products {
        Products::Halves
    }

    fn passes(
        &self,
        variant: usize,
        passes: Vec<Vec<Lowered>>,
        capabilities: &Capabilities,
    ) -> Result<Vec<Lowered>, String> {
        let passes = passes.concat();
        let units = capabilities.matrix_units.as_ref().map_err(Clone::clone)?;
        let side = VARIANTS[variant].side;
        if !units.sides.contains(&side) {
            return Err(format!("this device has no matrices of {side}×{side}, but of {:?}", units.sides));
        }
        if passes.iter().any(|pass| pass.quads.is_some()) {
            return Err("matrix units are used for floats, not for integers".into());
        }
        if passes.iter().any(|pass| pass.prepare.is_some()) {
            return Err("samples are 32-bit floats, and matrix units multiply 16-bit ones".into());
        }
        if passes.iter().any(|pass| pass.dtype == DType::F16) && !capabilities.shader_f16 {
            return Err("16-bit floats are taken out of words here (EngineOptions::shader_f16)".into());
        }
        Ok(passes)
    }

    fn source(&self, _: usize) -> &'static str {
        concat!(include_str!("../../shaders/gather.wgsl"), "\n", include_str!("../../shaders/matrix.wgsl"))
    }

    fn constants(&self, pass: &Lowered, variant: usize, build: &Build) -> Vec<Constant> {
        let variant = &VARIANTS[variant];
        let Variant { side, tile, parts, buffers, .. } = *variant;
        let threads = variant.threads(build.subgroup_size);
        let mut constants = gather::constants(pass, tile, threads, false, build.partial);
        constants.extend([
            ("SIDE", side.into()),
            ("PARTS_M", parts[0].into()),
            ("PARTS_N", parts[1].into()),
            ("COUNT_M", (tile[0] / parts[0] / side).into()),
            ("COUNT_N", (tile[1] / parts[1] / side).into()),
            ("STEPS", (tile[2] / side).into()),
            ("THREADS", threads.into()),
            ("BUFFERS", buffers.into()),
        ]);
        constants
    }

    fn matrix_side(&self, variant: usize) -> Option<u32> {
        Some(VARIANTS[variant].side)
    }

    fn packing(&self, _: usize) -> Packing {
        Packing::Matrix
    }

    fn workgroup(&self, variant: usize, subgroup_size: u32) -> ([u32; 2], u32) {
        let variant = &VARIANTS[variant];
        let [m, n, k] = variant.tile;
        // Rows of 16-bit floats, with eight more between them; finished matrices; places; a number of turns.
        let slices = 2 * variant.buffers * (m + n) * (k + 8);
        let finished = 4 * (variant.parts() + 1) * variant.side * variant.side;
        ([variant.threads(subgroup_size), 1], slices + finished + 4 * n + 4)
    }

    fn tiling(&self, pass: &Lowered, variant: usize) -> Result<Tiling, String> {
        let [m, n, _] = VARIANTS[variant].tile;
        Tiling::new(pass, pass.pixels(), 1, n, TileChannels::OfOneGroup(m))
    }

    fn depth(&self, pass: &Lowered, variant: usize, _: Checks) -> Depth {
        let Variant { side, tile, parts, .. } = VARIANTS[variant];
        let [m, n, k] = tile.map(u64::from);
        let side = u64::from(side);
        // With the narrowest subgroups there are; every loop counts, and all turns.
        let threads = u64::from(VARIANTS[variant].threads(4));
        let (weights, columns) = ((k * m / 4).div_ceil(threads), n.div_ceil(threads));
        let matrices = m / side * (n / side) / u64::from(parts[0] * parts[1]);
        let rounds = 2 + 2 * weights + k * (3 + 4 * columns) + k / side * 4 * (matrices + 2);
        let order = KOrder::of(pass);
        // Beyond 32 bits both are refused.
        let [length, run] = [order.length, u64::from(order.block).saturating_mul(pass.taps())]
            .map(|number| number.min(u32::MAX.into()) as u32);
        Depth { length, step: tile[2], rounds, longest: u32::MAX, run: [run, order.block] }
    }

    fn unit_cost(&self, pass: &Lowered, variant: usize, prices: &Prices) -> f64 {
        let Variant { tile, parts, .. } = VARIANTS[variant];
        let [m, n, tile_k] = tile.map(f64::from);
        let [part_m, part_n] = [m / f64::from(parts[0]), n / f64::from(parts[1])];
        // Of a position along K: what is gathered and loaded for the tile, and what subgroups read of it.
        let gathered = (prices.gather * n + prices.load * m / 4.0) / (m * n);
        let read = prices.shared * (part_m + part_n) / (4.0 * part_m * part_n);
        let k = (pass.sum_length() as f64).max(1.0);
        let slices = (k / tile_k).ceil() * tile_k / k;
        slices * (prices.matrix + gathered + read)
    }
}

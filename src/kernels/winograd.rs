//! Host side of Winograd's algorithm: variants of other kernels multiply, between `shaders/winograd_input.wgsl` and
//! `shaders/winograd_output.wgsl`.

use super::modules::{
    Access, COMMON, FLOATS, PACK_PARAMS, PACK_WORDS, Products, input_file, joined, module, raw_weight_file,
    set_epilogue, set_residual_access, typed_input,
};
use super::{Build, Checks, Choice, Depth, Kernel, Prices, Recipe, Storage, Tiling};
use crate::accuracy::Rounding;
use crate::capabilities::Capabilities;
use crate::error::Result;
use crate::lowered::Lowered;
use crate::packing::Packing;
use crate::prepare::Prepare;
use crate::shader::{Constant, Source};
use crate::winograd::{self, Block, InputTransform};

const TRANSFORMS: &str = include_str!("../../shaders/winograd.wgsl");
const TILES: &str = include_str!("../../shaders/winograd_tiles.wgsl");

struct Variant {
    name: &'static str,
    /// Outputs of a tile along an axis.
    outputs: u32,
    /// What multiplies: this variant of another kernel.
    inner: (Kernel, &'static str),
}

const fn variant(name: &'static str, outputs: u32, kernel: Kernel, variant: &'static str) -> Variant {
    Variant { name, outputs, inner: (kernel, variant) }
}

static VARIANTS: [Variant; 9] = [
    variant("f6-m64n64k8", 6, Kernel::Tiled, "m64n64k8"),
    variant("f6-r1x20c8", 6, Kernel::Broadcast, "r1x20c8"),
    variant("f4-m64n64k8", 4, Kernel::Tiled, "m64n64k8"),
    variant("f4-m32n32k16", 4, Kernel::Tiled, "m32n32k16"),
    variant("f4-r1x20c8", 4, Kernel::Broadcast, "r1x20c8"),
    variant("f4-r1x16c8", 4, Kernel::Broadcast, "r1x16c8"),
    variant("f2-m64n64k8", 2, Kernel::Tiled, "m64n64k8"),
    variant("f2-m32n32k16", 2, Kernel::Tiled, "m32n32k16"),
    variant("f2-r1x20c8", 2, Kernel::Broadcast, "r1x20c8"),
];

impl Variant {
    /// What multiplies.
    fn inner(&self) -> Choice {
        let (kernel, name) = self.inner;
        let recipe = kernel.recipe();
        let variant = (0..recipe.variant_count()).find(|&variant| recipe.variant_name(variant) == name);
        // Tests look each of them up.
        Choice { kernel, variant: variant.unwrap_or(0) }
    }
}

pub(super) struct Winograd;

impl Recipe for Winograd {
    fn variant_count(&self) -> usize {
        VARIANTS.len()
    }

    fn variant_name(&self, variant: usize) -> &'static str {
        VARIANTS[variant].name
    }

    fn rounding(&self, variant: usize) -> Rounding {
        Rounding::Winograd { outputs: VARIANTS[variant].outputs }
    }

    fn passes(
        &self,
        variant: usize,
        passes: Vec<Vec<Lowered>>,
        capabilities: &Capabilities,
    ) -> Result<Vec<Lowered>, String> {
        let Choice { kernel, variant: inner } = VARIANTS[variant].inner();
        let block = Block { places: kernel.recipe().block(inner), together: kernel == Kernel::Broadcast };
        winograd::passes(&passes, VARIANTS[variant].outputs, block, capabilities)
    }

    fn source(&self, variant: usize) -> &'static str {
        let Choice { kernel, variant } = VARIANTS[variant].inner();
        kernel.recipe().source(variant)
    }

    fn constants(&self, pass: &Lowered, variant: usize, build: &Build) -> Vec<Constant> {
        let Choice { kernel, variant } = VARIANTS[variant].inner();
        kernel.recipe().constants(pass, variant, build)
    }

    fn packing(&self, variant: usize) -> Packing {
        match VARIANTS[variant].outputs {
            2 => Packing::Winograd2,
            4 => Packing::Winograd4,
            _ => Packing::Winograd6,
        }
    }

    fn workgroup(&self, variant: usize, subgroup_size: u32) -> ([u32; 2], u32) {
        let Choice { kernel, variant } = VARIANTS[variant].inner();
        kernel.recipe().workgroup(variant, subgroup_size)
    }

    fn has_workspace(&self, _: usize) -> bool {
        true
    }

    fn workspace(&self, pass: &Lowered, variant: usize) -> u64 {
        let Choice { kernel, variant } = VARIANTS[variant].inner();
        kernel.recipe().workspace(pass, variant).max(pass.outputs().saturating_mul(4))
    }

    fn tiling(&self, pass: &Lowered, variant: usize) -> Result<Tiling, String> {
        let Choice { kernel, variant } = VARIANTS[variant].inner();
        kernel.recipe().tiling(pass, variant)
    }

    fn depth(&self, pass: &Lowered, variant: usize, checks: Checks) -> Depth {
        let Choice { kernel, variant } = VARIANTS[variant].inner();
        kernel.recipe().depth(pass, variant, checks)
    }

    fn unit_cost(&self, pass: &Lowered, variant: usize, prices: &Prices) -> f64 {
        let Choice { kernel, variant } = VARIANTS[variant].inner();
        kernel.recipe().unit_cost(pass, variant, prices)
    }

    fn other_cost(&self, pass: &Lowered, _: usize, prices: &Prices) -> f64 {
        let inputs = pass.prepare.as_ref().map_or(0, Prepare::bytes) / 4;
        let numbers = (inputs + pass.outputs()) as f64;
        2.0 * prices.pass + numbers * prices.transform
    }
}

/// The WGSL of the input transform, a whole module.
pub(crate) fn input_transform_source(transform: &InputTransform, shader_f16: bool) -> Result<String> {
    let storage = Storage::of(transform.dtype, shader_f16);
    let enable = if storage == Storage::Halves { "enable f16;" } else { "" };
    let files = [
        enable,
        COMMON,
        FLOATS,
        input_file(storage),
        TRANSFORMS,
        TILES,
        include_str!("../../shaders/winograd_input.wgsl"),
    ];
    let mut source = joined(files.into_iter());
    typed_input(&mut source, storage)?;
    source.set(&transform.tile().constants())?;
    source.set(&[
        ("PADDING_MODE", (transform.padding_mode as u32).into()),
        ("INPUT_DENSE", (transform.steps.axes[2] == 1).into()),
    ])?;
    Ok(source.finish())
}

/// The WGSL of the output transform with the epilogue, a whole module.
pub(crate) fn output_transform_source(pass: &Lowered, residual: Access, shader_f16: bool) -> Result<String> {
    let Some(transform) = &pass.winograd else {
        return Err(crate::error::Error::Internal("an output transform without products".into()));
    };
    let storage = Storage::of(transform.dtype, shader_f16);
    let main = [TRANSFORMS, TILES, include_str!("../../shaders/winograd_output.wgsl")];
    let mut source = module(Products::AsStored, [storage; 3], &main)?;
    source.set(&transform.tile().constants())?;
    source.set(&[("OUTPUT_DENSE", (transform.output_steps.axes[2] == 1).into())])?;
    set_epilogue(&mut source, &transform.convolution(pass))?;
    set_residual_access(&mut source, residual)?;
    Ok(source.finish())
}

/// The WGSL that transforms a weight, a whole module.
pub(crate) fn weight_transform_source(transform: &crate::winograd::OutputTransform) -> Result<String> {
    let raw = raw_weight_file(Storage::of(transform.dtype, false));
    let mut source =
        Source::new(&[PACK_PARAMS, raw, PACK_WORDS, TRANSFORMS, include_str!("../../shaders/pack_winograd.wgsl")]);
    source.set(&transform.tile().constants())?;
    Ok(source.finish())
}

//! How the files of `shaders/` become a module: which declare its tensors, and what is set in them.

use super::winograd::weight_transform_source;
use crate::capabilities::Capabilities;
use crate::dtype::DType;
use crate::error::Result;
use crate::lowered::Lowered;
use crate::matrix_units;
use crate::packing::Packing;
use crate::params::activation_code;
use crate::shader::Source;

pub(super) const COMMON: &str = include_str!("../../shaders/common.wgsl");
pub(super) const ACTIVATION: &str = include_str!("../../shaders/activation.wgsl");

/// The subgroups of most GPUs.
pub(super) const USUAL_SUBGROUP: u32 = 32;

/// The numbers that a kernel multiplies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Products {
    /// As they are stored, 16-bit floats as 32-bit ones.
    AsStored,
    /// 16-bit floats.
    Halves,
}

/// How a pass becomes a module, apart from what the pass itself says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Build {
    pub aliasing: Aliasing,
    /// Sums are formed in parts, one dispatch after another.
    pub split: bool,
    /// Sums go to a workspace, to be added up by `reduce.wgsl`.
    pub partial: bool,
    pub storage: Storage,
    /// Of the device, for kernels whose subgroups work together.
    pub subgroup_size: u32,
    /// Whether matrices are loaded from single numbers.
    pub scalar_slices: bool,
}

impl Default for Build {
    fn default() -> Self {
        Self {
            aliasing: Aliasing::default(),
            split: false,
            partial: false,
            storage: Storage::default(),
            subgroup_size: USUAL_SUBGROUP,
            scalar_slices: false,
        }
    }
}

impl Build {
    /// For a device.
    pub fn of(capabilities: &Capabilities) -> Self {
        let scalar_slices = capabilities.matrix_units.as_ref().is_ok_and(|units| units.scalar_slices);
        Self { subgroup_size: capabilities.subgroup_size(), scalar_slices, ..Self::default() }
    }
}

/// How tensors are declared in shaders.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) enum Storage {
    /// 32-bit floats.
    #[default]
    Words,
    /// 16-bit floats, as such.
    Halves,
    /// 16-bit floats, two to a word.
    PackedHalves,
    /// 8-bit integers, four to a word.
    Quads,
}

impl Storage {
    /// For tensors of this type, on a device that can have 16-bit floats in shaders or cannot.
    pub const fn of(dtype: DType, shader_f16: bool) -> Self {
        match dtype {
            DType::F32 => Self::Words,
            DType::F16 if shader_f16 => Self::Halves,
            DType::F16 => Self::PackedHalves,
            DType::I8 | DType::U8 | DType::I32 => Self::Quads,
        }
    }

    /// Whether sums go to a workspace of 32-bit numbers first: where they would be rounded between parts, and where outputs
    /// share words. Of those only `reduce.wgsl` and `requantize.wgsl` write any: it takes atomic operations, which kernels full of unrolled stores
    /// are better without (on lavapipe they took ten times as long to compile).
    pub const fn needs_workspace(self, split: bool) -> bool {
        match self {
            Self::Words => false,
            Self::Halves => split,
            Self::PackedHalves | Self::Quads => true,
        }
    }
}

/// A module that reads an input of one kind, a weight and a residual of another, and writes an output of a third.
pub(super) fn module(
    products: Products,
    [input, tensors, output]: [Storage; 3],
    main: &[&'static str],
) -> Result<Source> {
    let enable = match products {
        Products::Halves => matrix_units::ENABLE,
        Products::AsStored if [input, tensors, output].contains(&Storage::Halves) => "enable f16;",
        Products::AsStored => "",
    };
    let tensors_file = match tensors {
        Storage::Words | Storage::Halves => include_str!("../../shaders/tensors.wgsl"),
        Storage::PackedHalves => include_str!("../../shaders/tensors_packed.wgsl"),
        Storage::Quads => include_str!("../../shaders/tensors_quads.wgsl"),
    };
    let rounds_output = [Storage::Halves, Storage::PackedHalves].contains(&output);
    let numbers = match (products, tensors) {
        (Products::Halves, _) => [if rounds_output { "" } else { HALF }, include_str!("../../shaders/halves.wgsl")],
        (_, Storage::Quads) => ["", QUADS],
        _ => ["", FLOATS],
    };
    let epilogue = [ACTIVATION, include_str!("../../shaders/epilogue.wgsl")];
    let output_files = match output {
        Storage::Words => [include_str!("../../shaders/output.wgsl"), "", epilogue[0], epilogue[1]],
        Storage::Halves => [HALF, include_str!("../../shaders/output_half.wgsl"), epilogue[0], epilogue[1]],
        Storage::PackedHalves => [HALF, include_str!("../../shaders/output_packed.wgsl"), epilogue[0], epilogue[1]],
        Storage::Quads => [include_str!("../../shaders/sums.wgsl"), "", "", ""],
    };
    let files = [enable, COMMON, numbers[0], numbers[1], input_file(input), tensors_file];
    let mut source = joined(files.into_iter().chain(output_files).chain(main.iter().copied()));
    typed_input(&mut source, input)?;
    if tensors == Storage::Halves {
        source.set_types(&[("ResidualElement", "f16")])?;
    }
    if tensors == Storage::Halves || products == Products::Halves {
        source.set_types(&[("WeightElement", "f16"), ("WeightVector", "vec4<f16>")])?;
    }
    if products == Products::Halves && input == Storage::Words {
        source.set_types(&[("Value", "f32"), ("Values", "vec4f")])?;
        source.set(&[("ROUNDED", true.into())])?;
    }
    Ok(source)
}

/// What declares an input.
pub(super) const fn input_file(input: Storage) -> &'static str {
    match input {
        Storage::Words | Storage::Halves => include_str!("../../shaders/input.wgsl"),
        Storage::PackedHalves => include_str!("../../shaders/input_packed.wgsl"),
        Storage::Quads => INPUT_QUADS,
    }
}

pub(super) fn typed_input(source: &mut Source, input: Storage) -> Result<()> {
    if input == Storage::Halves { source.set_types(&[("InputElement", "f16")]) } else { Ok(()) }
}

pub(super) const HALF: &str = include_str!("../../shaders/half.wgsl");
pub(super) const FLOATS: &str = include_str!("../../shaders/floats.wgsl");
pub(super) const QUADS: &str = include_str!("../../shaders/quads.wgsl");
pub(super) const INPUT_QUADS: &str = include_str!("../../shaders/input_quads.wgsl");

/// One module of these files; empty ones are left out.
pub(super) fn joined(files: impl Iterator<Item = &'static str>) -> Source {
    Source::new(&files.map(str::trim_start).filter(|file| !file.is_empty()).collect::<Vec<_>>())
}

pub(super) fn set_epilogue(source: &mut Source, pass: &Lowered) -> Result<()> {
    source.set(&[
        ("ACTIVATION", activation_code(pass.epilogue.activation).into()),
        ("HAS_BIAS", pass.bias.into()),
        ("HAS_RESIDUAL", pass.epilogue.residual.into()),
    ])
}

/// How a tensor that is only read shares a buffer with the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) enum Access {
    /// It does not: bound read-only.
    #[default]
    Separate,
    /// Same buffer, disjoint bindings: WebGPU wants one access for one buffer, so it is bound read-write.
    SharedBuffer,
    /// Same buffer, and the bindings would overlap: read through the output's binding.
    ThroughOutput,
}

/// Access of everything that may share the output's buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Aliasing {
    pub input: Access,
    pub residual: Access,
}

/// The WGSL that adds up partial sums and applies the epilogue, a whole module.
pub(crate) fn reduce_source(pass: &Lowered, residual: Access, storage: Storage) -> Result<String> {
    let mut source = module(Products::AsStored, [storage; 3], &[include_str!("../../shaders/reduce.wgsl")])?;
    let same_order = pass.output_steps == pass.workspace_steps();
    source.set(&[
        ("DEEP", pass.is_deep().into()),
        ("OUTPUT_DENSE", (pass.output_steps.axes[2] == 1).into()),
        ("SAME_ORDER", same_order.into()),
    ])?;
    set_epilogue(&mut source, pass)?;
    set_residual_access(&mut source, residual)?;
    Ok(source.finish())
}

/// Of a program that stores finished outputs and reads nothing else of the caller's.
pub(super) fn set_residual_access(source: &mut Source, residual: Access) -> Result<()> {
    match residual {
        Access::Separate => Ok(()),
        Access::SharedBuffer => source.make_writable("residual"),
        Access::ThroughOutput => source.set(&[("RESIDUAL_IN_OUTPUT", true.into())]),
    }
}

/// Invocations of a workgroup of `reduce.wgsl`.
pub(crate) const REDUCE_WORKGROUP: u64 = 256;

/// What declares a weight as the caller has it; that of integers is declared where they are packed.
pub(super) const fn raw_weight_file(storage: Storage) -> &'static str {
    match storage {
        Storage::Words => include_str!("../../shaders/weight_words.wgsl"),
        Storage::Halves | Storage::PackedHalves => include_str!("../../shaders/weight_halves.wgsl"),
        Storage::Quads => "",
    }
}

pub(super) const PACK_PARAMS: &str = include_str!("../../shaders/pack_params.wgsl");
pub(super) const PACK_WORDS: &str = include_str!("../../shaders/pack_words.wgsl");

/// The WGSL that packs a weight of this type for passes like this one, a whole module.
pub(crate) fn pack_source(packing: Packing, pass: Option<&Lowered>, dtype: DType) -> Result<String> {
    if let Some(transform) = pass.and_then(|pass| pass.winograd.as_ref()) {
        return weight_transform_source(transform);
    }
    let storage = Storage::of(dtype, false);
    let (half, packed) = match storage {
        Storage::Words if packing != Packing::Matrix => ("", PACK_WORDS),
        Storage::Quads => ("", include_str!("../../shaders/pack_quads.wgsl")),
        _ => (HALF, include_str!("../../shaders/pack_halves.wgsl")),
    };
    let files = [PACK_PARAMS, raw_weight_file(storage), half, packed, include_str!("../../shaders/pack.wgsl")];
    let mut source = joined(files.into_iter());
    source.set(&[("PACKING", packing.code().into())])?;
    if dtype == DType::U8 {
        source.set(&[("UNSIGNED", true.into())])?;
    }
    Ok(source.finish())
}

#[cfg(test)]
pub(crate) fn common_source_for_tests() -> String {
    module(Products::AsStored, [Storage::Words; 3], &[]).map(Source::finish).unwrap_or_default()
}

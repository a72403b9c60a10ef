//! The kernels: an ordered list, and what each must answer.

mod broadcast;
mod direct;
mod gather;
mod integers;
mod matrix;
mod prices;
mod tiled;
mod tiling;
mod window;
mod winograd;

use std::fmt;
use std::str::FromStr;

use crate::accuracy::Rounding;
use crate::capabilities::{AdapterClass, Capabilities};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::integers::Integers;
use crate::lowered::Lowered;
use crate::matrix_units;
use crate::params::activation_code;
use crate::prepare::Prepare;
use crate::problem::Problem;
use crate::ranges;
use crate::shader::{Constant, Source, unrolled};
use crate::split;
use crate::weights::Packing;
pub(crate) use integers::{
    INTEGERS_WORKGROUP, quads_source, requantize_params, requantize_source, requantize_workgroups, window_params,
    window_sums_source, windows,
};
use prices::Prices;
pub(crate) use tiling::{Depth, Part, TileChannels, Tiling};
pub(crate) use winograd::{input_transform_source, output_transform_source};

const COMMON: &str = include_str!("../../shaders/common.wgsl");
const ACTIVATION: &str = include_str!("../../shaders/activation.wgsl");

/// Most taps for which a kernel's size, stride and dilation are compiled into the shader.
pub(crate) const MAX_SPECIAL_TAPS: u64 = 49;

/// Whether a variant of this name takes its configuration at run time.
fn is_generic(variant: &str) -> bool {
    variant.starts_with("generic")
}

/// K beyond which sums are formed in blocks, and the products of a block.
const LONG_SUM: u64 = 4096;
const SUM_BLOCK: u64 = 1024;

/// Products that are added up on their own before they join the total, which keeps rounding small in long sums; `None` for
/// one plain sum, as always of integers. Generic variants, which serve any length, always have blocks.
fn sum_block(pass: &Lowered, generic: bool) -> Option<u64> {
    (pass.quads.is_none() && (generic || pass.sum_length() > LONG_SUM)).then_some(SUM_BLOCK)
}

/// Where there are no registers left for the totals of long sums, those are split: each part waits in the output.
fn long_in_parts(pass: &Lowered, depth: Depth) -> Depth {
    let taps: u64 = pass.kernel().into_iter().map(u64::from).product();
    match sum_block(pass, false) {
        Some(_) => Depth { longest: (LONG_SUM / taps).max(1) as u32, ..depth },
        None => depth,
    }
}

/// A GPU program for convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Kernel {
    /// No workgroup memory: each invocation computes a block of output pixels × output channels in registers.
    Direct,
    /// No workgroup memory: the lanes of a workgroup are output channels and share one block of pixels, so that every input
    /// value is a scalar, broadcast to the lanes.
    Broadcast,
    /// Implicit GEMM: a workgroup computes a tile of the output matrix, slices of weight and gathered input going
    /// through workgroup memory.
    Tiled,
    /// As `Tiled`, on matrix units: 16-bit factors, 32-bit sums. For tensors of 16-bit floats, and for those of 32-bit floats where
    /// rounding them is allowed ([`Accuracy::Reduced`](crate::Accuracy::Reduced)).
    Matrix,
    /// Winograd's algorithm for three taps with stride 1: a tile of 2 outputs along an axis takes 4 products instead of 6, one
    /// of 4 takes 6 instead of 12. Its results are not those of sums in order: its error bound is wider.
    Winograd,
}

impl Kernel {
    /// All kernels, in the order in which selection looks at them.
    pub const ALL: &'static [Self] = &[Self::Direct, Self::Broadcast, Self::Tiled, Self::Matrix, Self::Winograd];

    /// Its name, which is also the stem of its shader and of its host file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Broadcast => "broadcast",
            Self::Tiled => "tiled",
            Self::Matrix => "matrix",
            Self::Winograd => "winograd",
        }
    }

    /// Names of its variants; the first is the one that [`shader_source`] shows when none is named. Those that begin with
    /// `generic` read the whole configuration at run time, the others have it compiled in.
    pub fn variants(self) -> Vec<&'static str> {
        let recipe = self.recipe();
        (0..recipe.variant_count()).map(|variant| recipe.variant_name(variant)).collect()
    }

    /// How one of its variants arrives at its results, for the error bound of [`reference::convolve_as`].
    ///
    /// # Errors
    /// [`Error::Unknown`] with the variants that there are.
    ///
    /// [`reference::convolve_as`]: crate::reference::convolve_as
    pub fn rounding(self, variant: &str) -> Result<Rounding> {
        Ok(self.variant(variant)?.rounding())
    }

    pub(crate) fn recipe(self) -> &'static dyn Recipe {
        match self {
            Self::Direct => &direct::Direct,
            Self::Broadcast => &broadcast::Broadcast,
            Self::Tiled => &tiled::Tiled,
            Self::Matrix => &matrix::Matrix,
            Self::Winograd => &winograd::Winograd,
        }
    }

    /// The variant of that name.
    pub(crate) fn variant(self, name: &str) -> Result<Choice> {
        self.variants()
            .iter()
            .position(|&known| known == name)
            .map(|variant| Choice { kernel: self, variant })
            .ok_or_else(|| Error::Unknown {
                what: "variant",
                name: name.into(),
                known: format!("{} ({self})", self.variants().join(", ")),
            })
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Kernel {
    type Err = Error;

    /// # Errors
    /// [`Error::Unknown`] with the names that exist.
    fn from_str(name: &str) -> Result<Self> {
        Self::ALL.iter().copied().find(|kernel| kernel.name() == name).ok_or_else(|| Error::Unknown {
            what: "kernel",
            name: name.into(),
            known: Self::ALL.iter().map(|kernel| kernel.name()).collect::<Vec<_>>().join(", "),
        })
    }
}

/// Whether shaders run with wgpu's bounds checks and loop bounding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Checks {
    /// No checks: the host has proved every index in range. Two to three times as fast on some drivers.
    #[default]
    Trusted,
    /// With wgpu's checks.
    Checked,
}

impl Checks {
    /// Both modes.
    pub const ALL: [Self; 2] = [Self::Trusted, Self::Checked];

    /// `trusted` or `checked`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Trusted => "trusted",
            Self::Checked => "checked",
        }
    }
}

impl fmt::Display for Checks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What each kernel answers. Variants are numbered from 0; a number comes only from the kernel's own list.
pub(crate) trait Recipe: Sync {
    fn variant_count(&self) -> usize;
    fn variant_name(&self, variant: usize) -> &'static str;
    /// Whether the variant takes its configuration at run time: those are named so.
    fn generic(&self, variant: usize) -> bool {
        is_generic(self.variant_name(variant))
    }
    /// How it arrives at its results.
    fn rounding(&self, _: usize) -> Rounding {
        Rounding::Sums
    }
    /// The passes that it runs for those of a problem, each of which may be in pieces.
    ///
    /// # Errors
    /// A sentence, if it does not run them.
    fn passes(&self, _: usize, passes: Vec<Vec<Lowered>>, _: &Capabilities) -> Result<Vec<Lowered>, String> {
        Ok(passes.concat())
    }
    /// Pixels of a row that it takes at a time: it is better off where these divide the row.
    fn block(&self, _: usize) -> u32 {
        1
    }
    /// The numbers that it multiplies.
    fn products(&self) -> Products {
        Products::AsStored
    }
    /// The side of the matrices that it computes with, if it does.
    fn matrix_side(&self, _: usize) -> Option<u32> {
        None
    }
    /// The kernel's own WGSL, to follow `common.wgsl`.
    fn source(&self, variant: usize) -> &'static str;
    /// Its constants for a pass.
    fn constants(&self, pass: &Lowered, variant: usize, build: &Build) -> Vec<Constant>;
    /// The layout of the weight that it reads.
    fn packing(&self, variant: usize) -> Packing;
    /// Invocations of a workgroup along x and y, and bytes of workgroup memory, where subgroups have that size.
    fn workgroup(&self, variant: usize, subgroup_size: u32) -> ([u32; 2], u32);
    /// Bytes of workspace.
    fn workspace(&self, pass: &Lowered, variant: usize) -> u64;
    /// The dispatch grid.
    fn tiling(&self, pass: &Lowered, variant: usize) -> Result<Tiling, String>;
    /// How it walks along a sum. Compilers unroll the loops over a block in trusted shaders; in checked ones, whose loops
    /// carry a counter of their own, every round of every loop counts.
    fn depth(&self, pass: &Lowered, variant: usize, checks: Checks) -> Depth;
    /// Estimated cost of one multiply-add of a tile, in multiply-adds.
    fn unit_cost(&self, pass: &Lowered, variant: usize, prices: &Prices) -> f64;
    /// Estimated cost of what runs before and behind, in multiply-adds.
    fn other_cost(&self, _: &Lowered, _: usize, _: &Prices) -> f64 {
        0.0
    }
}

/// One variant of one kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Choice {
    pub kernel: Kernel,
    variant: usize,
}

impl Choice {
    /// Every variant of every kernel, in order.
    pub fn all() -> impl Iterator<Item = Self> {
        Kernel::ALL
            .iter()
            .flat_map(|&kernel| (0..kernel.recipe().variant_count()).map(move |variant| Self { kernel, variant }))
    }

    pub fn name(self) -> &'static str {
        self.kernel.recipe().variant_name(self.variant)
    }

    pub fn packing(self) -> Packing {
        self.kernel.recipe().packing(self.variant)
    }

    /// How it arrives at its results.
    pub fn rounding(self) -> Rounding {
        self.kernel.recipe().rounding(self.variant)
    }

    /// The passes of a problem, as this variant runs it.
    ///
    /// # Errors
    /// A sentence, if it does not.
    pub fn passes(self, problem: &Problem, capabilities: &Capabilities) -> Result<Vec<Lowered>, String> {
        split::passes(self, problem, capabilities)
    }

    /// What this variant makes of passes, each of which may be in pieces.
    ///
    /// # Errors
    /// A sentence, if it does not run them.
    pub fn adapt(self, passes: Vec<Vec<Lowered>>, capabilities: &Capabilities) -> Result<Vec<Lowered>, String> {
        self.kernel.recipe().passes(self.variant, passes, capabilities)
    }

    pub fn workspace_of(self, pass: &Lowered) -> u64 {
        self.kernel.recipe().workspace(pass, self.variant)
    }

    pub fn tiling(self, pass: &Lowered) -> Result<Tiling, String> {
        self.kernel.recipe().tiling(pass, self.variant)
    }

    pub fn depth(self, pass: &Lowered, checks: Checks) -> Depth {
        self.kernel.recipe().depth(pass, self.variant, checks)
    }

    /// The parts in which sums are formed: at least so many, where they have so many steps.
    ///
    /// # Errors
    /// A sentence, if a step takes more than the driver's loops or a window of the input allow.
    pub fn parts(
        self,
        pass: &Lowered,
        checks: Checks,
        capabilities: &Capabilities,
        at_least: u64,
    ) -> Result<Vec<Part>, String> {
        let depth = self.depth(pass, checks);
        let rounds = capabilities.max_loop_rounds;
        match pass.windows.filter(|_| pass.cuts_sums()) {
            Some(_) if self.tiling(pass)?.splits > 1 => {
                Err("its workgroups share sums, and a window of the input holds a part of the channels only".into())
            }
            Some(most) => depth.parts_of_windows(most, pass.group_in, rounds, at_least),
            None => depth.parts(rounds, at_least),
        }
    }

    /// Whether the kernel takes all passes of a problem on such a device, or a sentence with numbers why not.
    pub fn supports(self, passes: &[Lowered], capabilities: &Capabilities, checks: Checks) -> Result<(), String> {
        let recipe = self.kernel.recipe();
        if passes.is_empty() {
            return Ok(());
        }
        for pass in passes {
            let taps = pass.taps();
            if !recipe.generic(self.variant) && taps > MAX_SPECIAL_TAPS {
                let sizes: Vec<String> = pass.lines.iter().map(|line| line.kernel.to_string()).collect();
                // A kernel of one slice is known as rows × columns.
                let sizes = sizes[usize::from(pass.lines[0].kernel == 1)..].join("×");
                return Err(format!(
                    "{sizes} has {taps} taps; up to {MAX_SPECIAL_TAPS} are compiled into a shader, the generic variants take any"
                ));
            }
            ranges::prove(pass)?;
            self.tiling(pass)?;
            self.parts(pass, checks, capabilities, 1)?;
        }
        let limits = &capabilities.limits;
        let ([x, y], shared) = recipe.workgroup(self.variant, capabilities.subgroup_size());
        for (what, limit, required, actual) in [
            ("the workgroup's width", "max_compute_workgroup_size_x", x, limits.max_compute_workgroup_size_x),
            ("the workgroup's height", "max_compute_workgroup_size_y", y, limits.max_compute_workgroup_size_y),
            (
                "the workgroup",
                "max_compute_invocations_per_workgroup",
                x * y,
                limits.max_compute_invocations_per_workgroup,
            ),
            (
                "workgroup memory",
                "max_compute_workgroup_storage_size",
                shared,
                limits.max_compute_workgroup_storage_size,
            ),
            ("bindings", "max_storage_buffers_per_shader_stage", 5, limits.max_storage_buffers_per_shader_stage),
        ] {
            check_limit(what, limit, required.into(), actual.into())?;
        }
        check_limit("the packed weight", "max_buffer_size", self.packing().bytes(passes), limits.max_buffer_size)
    }

    /// Estimated cost of a problem in multiply-adds of one invocation: what is computed (tails included) times what each
    /// multiply-add costs, times how much of the device would idle.
    pub fn cost(self, passes: &[Lowered], class: AdapterClass) -> f64 {
        let prices = Prices::of(class);
        passes.iter().map(|pass| self.pass_cost(pass, class, &prices)).sum()
    }

    fn pass_cost(self, pass: &Lowered, class: AdapterClass, prices: &Prices) -> f64 {
        let recipe = self.kernel.recipe();
        let Ok(tiling) = self.tiling(pass) else { return f64::INFINITY };
        let work = f64::from(tiling.tiles) * tiling.tile_macs as f64;
        // A GPU is busy when it has invocations enough and they fill its subgroups, a processor when it has workgroups enough.
        let ([x, y], _) = recipe.workgroup(self.variant, USUAL_SUBGROUP);
        let invocations = f64::from(x * y);
        let (size, filled) = match class {
            AdapterClass::Software => (1.0, 1.0),
            _ => (invocations / 64.0, (invocations / f64::from(USUAL_SUBGROUP)).min(1.0)),
        };
        let idle = (prices.workgroups / (f64::from(tiling.tiles.max(1)) * size)).max(1.0) / filled;
        // Partial sums are written, and read by one more dispatch.
        let reduce = match self.workspace_of(pass) {
            0 => 0.0,
            _ if pass.winograd.is_some() => 0.0,
            bytes => prices.pass + 2.0 * prices.load * bytes as f64 / 4.0,
        };
        // Run-time sizes keep the compiler from unrolling taps.
        let generic = if recipe.generic(self.variant) { 2.0 } else { 1.0 };
        let other = recipe.other_cost(pass, self.variant, prices);
        work * recipe.unit_cost(pass, self.variant, prices) * idle * generic + reduce + other
    }

    /// The convolution's WGSL, a whole module whose marked loops are still to be unrolled; `split` if sums are formed in parts.
    pub fn source(self, pass: &Lowered, build: &Build) -> Result<String> {
        let recipe = self.kernel.recipe();
        let Build { aliasing, split, partial, storage, subgroup_size: _, scalar_slices } = *build;
        let output = if partial && storage != Storage::Quads { Storage::Words } else { storage };
        let input = pass.prepare.as_ref().map_or(storage, Prepare::storage);
        let slices = recipe.matrix_side(self.variant).map(|_| matrix_units::slices_file(scalar_slices));
        let main = [slices.unwrap_or_default(), recipe.source(self.variant)];
        let mut source = module(recipe.products(), [input, storage, output], &main)?;
        if let Some(side) = recipe.matrix_side(self.variant) {
            source.set_types(&matrix_units::matrix_types(side))?;
        }
        if recipe.generic(self.variant) {
            source.set(&[("GENERIC", true.into()), ("INPUT_DENSE", false.into()), ("OUTPUT_DENSE", false.into())])?;
        } else {
            let [kernel, stride, dilation] = [pass.kernel(), pass.stride(), pass.dilation()];
            source.set(&[
                ("KERNEL_H", kernel[0].into()),
                ("KERNEL_W", kernel[1].into()),
                ("STRIDE_H", stride[0].into()),
                ("STRIDE_W", stride[1].into()),
                ("DILATION_H", dilation[0].into()),
                ("DILATION_W", dilation[1].into()),
                ("PADDING_MODE", (pass.padding_mode as u32).into()),
                ("DEEP", pass.is_deep().into()),
                ("INPUT_DENSE", (pass.input_steps.axes[2] == 1).into()),
                // Partial sums lie dense in their workspace.
                ("OUTPUT_DENSE", (pass.output_steps.axes[2] == 1 || partial).into()),
            ])?;
            set_epilogue(&mut source, pass)?;
        }
        source.set(&[("SPLIT", split.into()), ("PARTIAL", partial.into())])?;
        source.set(&recipe.constants(pass, self.variant, build))?;
        for (name, constant, access) in
            [("input", "INPUT_IN_OUTPUT", aliasing.input), ("residual", "RESIDUAL_IN_OUTPUT", aliasing.residual)]
        {
            match access {
                Access::Separate => {}
                Access::SharedBuffer => source.make_writable(name)?,
                Access::ThroughOutput => source.set(&[(constant, true.into())])?,
            }
        }
        Ok(source.finish())
    }
}

/// The subgroups of most GPUs.
const USUAL_SUBGROUP: u32 = 32;

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
}

impl Storage {
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
fn module(products: Products, [input, tensors, output]: [Storage; 3], main: &[&'static str]) -> Result<Source> {
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
const fn input_file(input: Storage) -> &'static str {
    match input {
        Storage::Words | Storage::Halves => include_str!("../../shaders/input.wgsl"),
        Storage::PackedHalves => include_str!("../../shaders/input_packed.wgsl"),
        Storage::Quads => INPUT_QUADS,
    }
}

fn typed_input(source: &mut Source, input: Storage) -> Result<()> {
    if input == Storage::Halves { source.set_types(&[("InputElement", "f16")]) } else { Ok(()) }
}

const HALF: &str = include_str!("../../shaders/half.wgsl");
const FLOATS: &str = include_str!("../../shaders/floats.wgsl");
const QUADS: &str = include_str!("../../shaders/quads.wgsl");
const INPUT_QUADS: &str = include_str!("../../shaders/input_quads.wgsl");

/// One module of these files; empty ones are left out.
fn joined(files: impl Iterator<Item = &'static str>) -> Source {
    Source::new(&files.map(str::trim_start).filter(|file| !file.is_empty()).collect::<Vec<_>>())
}

fn set_epilogue(source: &mut Source, pass: &Lowered) -> Result<()> {
    source.set(&[
        ("ACTIVATION", activation_code(pass.epilogue.activation).into()),
        ("HAS_BIAS", pass.bias.into()),
        ("HAS_RESIDUAL", pass.epilogue.residual.into()),
    ])
}

fn check_limit(what: &str, limit: &str, required: u64, actual: u64) -> Result<(), String> {
    if required <= actual {
        return Ok(());
    }
    Err(format!("{what} needs {limit} of {required}; this device has {actual}"))
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
fn set_residual_access(source: &mut Source, residual: Access) -> Result<()> {
    match residual {
        Access::Separate => Ok(()),
        Access::SharedBuffer => source.make_writable("residual"),
        Access::ThroughOutput => source.set(&[("RESIDUAL_IN_OUTPUT", true.into())]),
    }
}

/// Invocations of a workgroup of `reduce.wgsl`.
pub(crate) const REDUCE_WORKGROUP: u64 = 256;

/// What declares a weight as the caller has it; that of integers is declared where they are packed.
const fn raw_weight_file(storage: Storage) -> &'static str {
    match storage {
        Storage::Words => include_str!("../../shaders/weight_words.wgsl"),
        Storage::Halves | Storage::PackedHalves => include_str!("../../shaders/weight_halves.wgsl"),
        Storage::Quads => "",
    }
}

const PACK_PARAMS: &str = include_str!("../../shaders/pack_params.wgsl");
const PACK_WORDS: &str = include_str!("../../shaders/pack_words.wgsl");

/// The WGSL that packs a weight of this type for passes like this one, a whole module.
pub(crate) fn pack_source(packing: Packing, pass: Option<&Lowered>, dtype: DType) -> Result<String> {
    if let Some(transform) = pass.and_then(|pass| pass.winograd.as_ref()) {
        return winograd::weight_transform_source(transform);
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

/// The WGSL of a kernel for a problem as it is handed to wgpu: a whole module, and nothing else. Part 0 is the
/// convolution, part 1 the program that packs its weight, part 2, where sums go to a
/// workspace, what becomes of them there; then the program that makes what the convolution reads, if there is one (of a
/// deformable one, or of integers, and there the sums of windows too); then the other convolutions of a problem that takes
/// several. Needs no adapter: it is a device of WebGPU's default limits (for kernel `matrix`, one with matrix units as usual).
/// Without a name, the kernel's first variant that takes the problem there.
///
/// # Errors
/// [`Error::Unknown`] for a variant or a part that does not exist, [`Error::Refused`] if the variant (or every one)
/// refuses the problem.
pub fn shader_source(problem: &Problem, kernel: Kernel, variant: Option<&str>, part: u32) -> Result<String> {
    let capabilities = match kernel {
        Kernel::Matrix => Capabilities::baseline().with_matrix_units(),
        _ => Capabilities::baseline(),
    };
    let refused = |name: &str, refusal| Error::Refused {
        kernel: format!("{kernel}{name}"),
        problem: problem.to_string(),
        refusal,
    };
    let supported = |choice: Choice| {
        let passes = choice.passes(problem, &capabilities)?;
        choice.supports(&passes, &capabilities, Checks::default()).map(|()| (choice, passes))
    };
    let (choice, passes) = match variant {
        Some(name) => supported(kernel.variant(name)?).map_err(|refusal| refused(&format!(" {name}"), refusal))?,
        None => {
            let mut last = String::new();
            Choice::all()
                .filter(|choice| choice.kernel == kernel)
                .find_map(|choice| supported(choice).map_err(|refusal| last = refusal).ok())
                .ok_or_else(|| refused("", last))?
        }
    };
    let mut modules = Vec::new();
    for (number, pass) in passes.iter().enumerate() {
        let storage = Storage::of(pass.dtype, capabilities.shader_f16);
        let partial = choice.workspace_of(pass) > 0 || storage.needs_workspace(false);
        let build = Build { partial, storage, ..Build::default() };
        let module = choice.source(pass, &build)?;
        if !modules.contains(&module) {
            modules.push(module);
        }
        if number == 0 {
            modules.push(pack_source(choice.packing(), Some(pass), problem.weight_dtype())?);
            match problem.integers() {
                Some(integers) => modules.push(requantize_source(problem, integers)?),
                None if pass.winograd.is_some() => {
                    modules.push(output_transform_source(pass, Access::Separate, capabilities.shader_f16)?);
                }
                None if partial => modules.push(reduce_source(pass, Access::Separate, build.storage)?),
                None => {}
            }
            if let Some(prepare) = &pass.prepare {
                modules.push(prepare.source(capabilities.shader_f16)?);
            }
            if problem.integers().is_some_and(Integers::needs_windows) {
                modules.push(window_sums_source()?);
            }
        }
    }
    match modules.get(part as usize) {
        Some(module) => unrolled(module),
        None => Err(Error::Unknown {
            what: "part",
            name: part.to_string(),
            known: format!(
                "0 to {}: the convolution, the packing of its weight, where there are such programs what becomes of sums in a workspace and what makes the input, further convolutions",
                modules.len() - 1
            ),
        }),
    }
}

#[cfg(test)]
pub(crate) mod tests;

#[cfg(test)]
pub(crate) fn common_source_for_tests() -> String {
    module(Products::AsStored, [Storage::Words; 3], &[]).map(Source::finish).unwrap_or_default()
}

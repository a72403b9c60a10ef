//! The kernels: an ordered list, and what each must answer.

mod broadcast;
mod direct;
mod prices;
mod tiled;
mod tiling;
mod window;

use std::fmt;
use std::str::FromStr;

use crate::capabilities::{AdapterClass, Capabilities};
use crate::error::{Error, Result};
use crate::params::activation_code;
use crate::problem::Problem;
use crate::ranges;
use crate::shader::{Constant, Source, unrolled};
use crate::tensors::Needs;
use crate::weights::Packing;
use prices::Prices;
pub(crate) use tiling::{Depth, Part, Tiling};

const COMMON: &str = include_str!("../../shaders/common.wgsl");

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
/// one plain sum. Generic variants, which serve any length, always have blocks.
fn sum_block(problem: &Problem, generic: bool) -> Option<u64> {
    (generic || problem.sum_length() > LONG_SUM).then_some(SUM_BLOCK)
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
}

impl Kernel {
    /// All kernels, in the order in which selection looks at them.
    pub const ALL: &'static [Self] = &[Self::Direct, Self::Broadcast, Self::Tiled];

    /// Its name, which is also the stem of its shader and of its host file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Broadcast => "broadcast",
            Self::Tiled => "tiled",
        }
    }

    /// Names of its variants; the first is the one that [`shader_source`] shows when none is named. Those that begin with
    /// `generic` read the whole configuration at run time, the others have it compiled in.
    pub fn variants(self) -> Vec<&'static str> {
        let recipe = self.recipe();
        (0..recipe.variant_count()).map(|variant| recipe.variant_name(variant)).collect()
    }

    pub(crate) fn recipe(self) -> &'static dyn Recipe {
        match self {
            Self::Direct => &direct::Direct,
            Self::Broadcast => &broadcast::Broadcast,
            Self::Tiled => &tiled::Tiled,
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
    /// The kernel's own WGSL, to follow `common.wgsl`.
    fn source(&self) -> &'static str;
    /// Its constants for a problem.
    fn constants(&self, problem: &Problem, variant: usize) -> Vec<Constant>;
    /// The layout of the weight that it reads.
    fn packing(&self, variant: usize) -> Packing;
    /// Invocations of a workgroup along x and y, and bytes of workgroup memory.
    fn workgroup(&self, variant: usize) -> ([u32; 2], u32);
    /// Bytes of workspace.
    fn workspace(&self, problem: &Problem, variant: usize) -> u64;
    /// The dispatch grid.
    fn tiling(&self, problem: &Problem, variant: usize) -> Result<Tiling, String>;
    /// How it walks along a sum. Compilers unroll the loops over a block in trusted shaders; in checked ones, whose loops
    /// carry a counter of their own, every round of every loop counts.
    fn depth(&self, problem: &Problem, variant: usize, checks: Checks) -> Depth;
    /// Estimated cost of one multiply-add of a tile, in multiply-adds.
    fn unit_cost(&self, problem: &Problem, variant: usize, prices: &Prices) -> f64;
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

    pub fn workspace(self, problem: &Problem) -> u64 {
        self.kernel.recipe().workspace(problem, self.variant)
    }

    pub fn tiling(self, problem: &Problem) -> Result<Tiling, String> {
        self.kernel.recipe().tiling(problem, self.variant)
    }

    pub fn depth(self, problem: &Problem, checks: Checks) -> Depth {
        self.kernel.recipe().depth(problem, self.variant, checks)
    }

    /// Whether the kernel takes the problem on such a device, or a sentence with numbers why not.
    pub fn supports(self, problem: &Problem, capabilities: &Capabilities, checks: Checks) -> Result<(), String> {
        let recipe = self.kernel.recipe();
        let [rows, columns] = problem.conv().kernel_size.map(u64::from);
        if !recipe.generic(self.variant) && rows * columns > MAX_SPECIAL_TAPS {
            return Err(format!(
                "{rows}×{columns} has {} taps; up to {MAX_SPECIAL_TAPS} are compiled into a shader, the generic variants take any",
                rows * columns
            ));
        }
        ranges::prove(problem)?;
        self.tiling(problem)?;
        self.depth(problem, checks).parts(capabilities.max_loop_rounds, 1)?;
        let limits = &capabilities.limits;
        let ([x, y], shared) = recipe.workgroup(self.variant);
        let binding = limits.max_storage_buffer_binding_size;
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
        for (what, bytes) in [
            ("the input", 4 * problem.input_len()),
            ("the output", 4 * problem.output_len()),
            ("the packed weight", self.packing().bytes(problem)),
            ("the workspace", self.workspace(problem)),
        ] {
            check_limit(what, "max_storage_buffer_binding_size", bytes, binding)?;
        }
        Ok(())
    }

    /// Estimated cost of a problem in multiply-adds of one invocation: what is computed (tails included) times what each
    /// multiply-add costs, times how much of the device would idle.
    pub fn cost(self, problem: &Problem, class: AdapterClass) -> f64 {
        let recipe = self.kernel.recipe();
        let prices = Prices::of(class);
        let Ok(tiling) = self.tiling(problem) else { return f64::INFINITY };
        let work = f64::from(tiling.tiles) * tiling.tile_macs as f64;
        // A GPU is busy when it has invocations enough, a processor when it has workgroups enough.
        let ([x, y], _) = recipe.workgroup(self.variant);
        let size = if class == AdapterClass::Software { 1.0 } else { f64::from(x * y) / 64.0 };
        let idle = (prices.workgroups / (f64::from(tiling.tiles.max(1)) * size)).max(1.0);
        // Partial sums are written, and read by one more dispatch.
        let reduce = match self.workspace(problem) {
            0 => 0.0,
            bytes => prices.pass + 2.0 * prices.load * bytes as f64 / 4.0,
        };
        // Run-time sizes keep the compiler from unrolling taps.
        let generic = if recipe.generic(self.variant) { 2.0 } else { 1.0 };
        work * recipe.unit_cost(problem, self.variant, &prices) * idle * generic + reduce
    }

    /// The convolution's WGSL, a whole module whose marked loops are still to be unrolled; `split` if sums are formed in parts.
    pub fn source(self, problem: &Problem, aliasing: Aliasing, split: bool) -> Result<String> {
        let recipe = self.kernel.recipe();
        let conv = problem.conv();
        let mut source = Source::new(&[COMMON, recipe.source()]);
        if recipe.generic(self.variant) {
            source.set(&[("GENERIC", true.into())])?;
        } else {
            let needs = Needs::of(problem);
            source.set(&[
                ("KERNEL_H", conv.kernel_size[0].into()),
                ("KERNEL_W", conv.kernel_size[1].into()),
                ("STRIDE_H", conv.stride[0].into()),
                ("STRIDE_W", conv.stride[1].into()),
                ("DILATION_H", conv.dilation[0].into()),
                ("DILATION_W", conv.dilation[1].into()),
                ("PADDING_MODE", (conv.padding_mode as u32).into()),
                ("ACTIVATION", activation_code(problem.epilogue().activation).into()),
                ("HAS_BIAS", needs.bias.into()),
                ("HAS_RESIDUAL", needs.residual.into()),
            ])?;
        }
        source.set(&[("SPLIT", split.into())])?;
        source.set(&recipe.constants(problem, self.variant))?;
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
pub(crate) fn reduce_source(problem: &Problem, residual: Access) -> Result<String> {
    let needs = Needs::of(problem);
    let mut source = Source::new(&[COMMON, include_str!("../../shaders/reduce.wgsl")]);
    source.set(&[
        ("ACTIVATION", activation_code(problem.epilogue().activation).into()),
        ("HAS_BIAS", needs.bias.into()),
        ("HAS_RESIDUAL", needs.residual.into()),
    ])?;
    match residual {
        Access::Separate => {}
        Access::SharedBuffer => source.make_writable("residual")?,
        Access::ThroughOutput => source.set(&[("RESIDUAL_IN_OUTPUT", true.into())])?,
    }
    Ok(source.finish())
}

/// Invocations of a workgroup of `reduce.wgsl`.
pub(crate) const REDUCE_WORKGROUP: u64 = 256;

/// The WGSL that packs a weight, a whole module.
pub(crate) fn pack_source(packing: Packing) -> Result<String> {
    let mut source = Source::new(&[include_str!("../../shaders/pack.wgsl")]);
    source.set(&[("PACKING", packing.code().into())])?;
    Ok(source.finish())
}

/// The WGSL of a kernel for a problem as it is handed to wgpu: a whole module, and nothing else. Part 0 is the
/// convolution, part 1 the program that packs its weight, part 2 of a variant that splits sums their addition. Needs no adapter. Without a name, the kernel's first variant
/// that takes the problem on a device of WebGPU's default limits.
///
/// # Errors
/// [`Error::Unknown`] for a variant or a part that does not exist, [`Error::Refused`] if the variant (or every one)
/// refuses the problem.
pub fn shader_source(problem: &Problem, kernel: Kernel, variant: Option<&str>, part: u32) -> Result<String> {
    let capabilities = Capabilities::baseline();
    let run = &problem.as_run();
    let refused = |name: &str, refusal| Error::Refused {
        kernel: format!("{kernel}{name}"),
        problem: problem.to_string(),
        refusal,
    };
    let choice = match variant {
        Some(name) => {
            let choice = kernel.variant(name)?;
            choice
                .supports(run, &capabilities, Checks::default())
                .map_err(|refusal| refused(&format!(" {name}"), refusal))?;
            choice
        }
        None => {
            let mut last = String::new();
            Choice::all()
                .filter(|choice| choice.kernel == kernel)
                .find(|choice| {
                    choice.supports(run, &capabilities, Checks::default()).map_err(|refusal| last = refusal).is_ok()
                })
                .ok_or_else(|| refused("", last))?
        }
    };
    match part {
        0 => unrolled(&choice.source(run, Aliasing::default(), false)?),
        1 => pack_source(choice.packing()),
        2 if choice.workspace(run) > 0 => reduce_source(run, Access::Separate),
        _ => Err(Error::Unknown {
            what: "part",
            name: part.to_string(),
            known: "0 (the convolution), 1 (the packing of its weight), where sums are split 2 (their addition)".into(),
        }),
    }
}

#[cfg(test)]
mod tests;

#[cfg(test)]
pub(crate) fn common_source_for_tests() -> String {
    COMMON.into()
}

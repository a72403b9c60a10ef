//! The kernels: an ordered list, and what each must answer.

mod broadcast;
mod choice;
mod direct;
mod gather;
mod integers;
mod listing;
mod matrix;
mod modules;
mod prices;
mod tiled;
mod tiling;
mod window;
mod winograd;

use std::fmt;
use std::str::FromStr;

use crate::accuracy::Rounding;
use crate::capabilities::Capabilities;
use crate::error::{Error, Result};
use crate::lowered::Lowered;
use crate::packing::Packing;
use crate::shader::Constant;
pub(crate) use choice::Choice;
pub(crate) use integers::{
    INTEGERS_WORKGROUP, quads_source, requantize_params, requantize_source, requantize_workgroups, window_params,
    window_sums_source, windows,
};
pub use listing::shader_source;
#[cfg(test)]
pub(crate) use modules::common_source_for_tests;
pub(crate) use modules::{Access, Aliasing, Build, Products, REDUCE_WORKGROUP, Storage, pack_source, reduce_source};
use prices::Prices;
pub(crate) use tiling::{Depth, Part, TileChannels, Tiling};
pub(crate) use winograd::{input_transform_source, output_transform_source};

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
    /// Whether it may have a workspace.
    fn has_workspace(&self, _variant: usize) -> bool {
        false
    }
    /// Bytes of workspace.
    fn workspace(&self, _pass: &Lowered, _variant: usize) -> u64 {
        0
    }
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

#[cfg(test)]
pub(crate) mod tests;

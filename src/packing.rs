//! [`Packing`]: how a kernel wants its weight, and where a pass finds its part.

pub(crate) mod program;

use std::collections::HashMap;

use crate::capabilities::Capabilities;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::lowered::{self, Lowered, WeightPlace};
use crate::problem::Problem;
use crate::split::{Share, weight_parts};
use crate::winograd::{self, Block};

/// A layout of the weight in GPU memory. K counts (input channel of the group, row, column), the last fastest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Packing {
    /// As PyTorch has it: (C_out, C_in / groups, KH, KW).
    Oihw,
    /// (groups, blocks of four output channels, K, 4), the last block of each group filled up with zeros.
    Blocked4,
    /// (groups, blocks of input channels, rows and columns of the kernel, channels of a block, output channels of the
    /// group rounded up to a multiple of four): K with a tap's channels next to each other. Blocks are the longest of 8, 4, 2
    /// and 1 channels that fill up little with zeros; each group's K is filled up to a multiple of 16.
    KMajor,
    /// The positions along K of `KMajor` for matrix units: (groups, ceil(K / 16), channels of the group rounded up to a multiple of
    /// four, 16), 16-bit floats whatever the weight's type.
    Matrix,
    /// As `KMajor`, for the products of Winograd's algorithm with tiles of two outputs along an axis: a group for each position
    /// in the tile and each group, float32 whatever the weight's type.
    Winograd2,
    /// The same with tiles of four outputs.
    Winograd4,
    /// The same with tiles of six outputs.
    Winograd6,
}

impl Packing {
    /// Its name in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Oihw => "oihw",
            Self::Blocked4 => "blocked4",
            Self::KMajor => "kmajor",
            Self::Matrix => "matrix",
            Self::Winograd2 => "winograd2",
            Self::Winograd4 => "winograd4",
            Self::Winograd6 => "winograd6",
        }
    }

    /// Its number in `shaders/pack.wgsl`; those of Winograd's algorithm have a shader of their own.
    pub(crate) const fn code(self) -> u32 {
        match self {
            Self::Oihw => 0,
            Self::Blocked4 => 1,
            Self::KMajor | Self::Winograd2 | Self::Winograd4 | Self::Winograd6 => 2,
            Self::Matrix => 3,
        }
    }

    /// The passes whose weights lie behind each other.
    pub(crate) fn passes(self, problem: &Problem, capabilities: &Capabilities) -> Result<Vec<Lowered>> {
        // Only a plan comes here, which has made them before.
        let parts = weight_parts(problem, self, capabilities).map_err(Error::Internal)?;
        let finished = |pass: Lowered| lowered::finished(problem, pass);
        let passes: Vec<Vec<Lowered>> =
            parts.into_iter().map(|parts| parts.into_iter().map(finished).collect()).collect();
        match self.tile_outputs() {
            None => Ok(passes.concat()),
            Some(outputs) => winograd::passes(&passes, outputs, Block::ONE, capabilities).map_err(Error::Internal),
        }
    }

    /// Outputs of a tile along an axis, of Winograd's algorithm.
    const fn tile_outputs(self) -> Option<u32> {
        match self {
            Self::Oihw | Self::Blocked4 | Self::KMajor | Self::Matrix => None,
            Self::Winograd2 => Some(2),
            Self::Winograd4 => Some(4),
            Self::Winograd6 => Some(6),
        }
    }

    /// Vectors of four numbers that the packed part has which a pass reads.
    pub(crate) fn vectors(self, pass: &Lowered) -> u64 {
        let Share { groups, group_out, .. } = pass.share;
        match self {
            Self::Oihw => (u64::from(groups) * u64::from(group_out)).saturating_mul(pass.sum_length()).div_ceil(4),
            Self::Blocked4 | Self::KMajor | Self::Matrix | Self::Winograd2 | Self::Winograd4 | Self::Winograd6 => {
                let quads = u64::from(group_out).div_ceil(4);
                let depth = if self == Self::Blocked4 { pass.sum_length() } else { KOrder::of(pass).rows() };
                u64::from(groups).saturating_mul(quads).saturating_mul(depth)
            }
        }
    }

    /// Where in that part the pass begins: elements in the packing `oihw`, else vectors.
    pub(crate) fn first_of_share(self, pass: &Lowered) -> u64 {
        let Share { group_out, first_group, first_out, .. } = pass.share;
        let [group_out, first_group, first_out] = [group_out, first_group, first_out].map(u64::from);
        let quads = group_out.div_ceil(4);
        match self {
            Self::Oihw => (first_group * group_out + first_out) * pass.sum_length(),
            Self::Blocked4 => (first_group * quads + first_out / 4) * pass.sum_length(),
            Self::KMajor | Self::Winograd2 | Self::Winograd4 | Self::Winograd6 => {
                first_group * KOrder::of(pass).rows() * quads + first_out / 4
            }
            Self::Matrix => first_group * KOrder::of(pass).rows() * quads + first_out * 4,
        }
    }

    /// Bytes of a number of a packed weight.
    pub(crate) fn element_size(self, pass: &Lowered) -> u64 {
        match self {
            Self::Matrix => DType::F16.size(),
            Self::Winograd2 | Self::Winograd4 | Self::Winograd6 => 4,
            Self::Oihw | Self::Blocked4 | Self::KMajor => pass.element_size(),
        }
    }

    /// Bytes of the packed parts of these passes, as they are before a kernel makes others of them.
    ///
    /// # Errors
    /// A sentence, if the packing is not for them.
    pub(crate) fn estimate(self, passes: &[Lowered]) -> Result<u64, String> {
        if self.tile_outputs().is_some() {
            winograd::of_one(passes.len())?;
        }
        passes.iter().try_fold(0_u64, |sum, pass| {
            let positions = match self.tile_outputs() {
                None => 1,
                Some(outputs) => winograd::Tile::of(pass, outputs)?.positions(),
            };
            let vectors = self.vectors(pass).saturating_mul(positions.into());
            Ok(sum.saturating_add(vectors.saturating_mul(4 * self.element_size(pass))))
        })
    }

    /// Bytes of a packed weight, the parts of all passes behind each other.
    pub(crate) fn bytes(self, passes: &[Lowered]) -> u64 {
        let ends = passes
            .iter()
            .zip(self.offsets(passes))
            .map(|(pass, first)| first.saturating_add(self.vectors(pass)).saturating_mul(4 * self.element_size(pass)));
        ends.max().unwrap_or(0)
    }

    /// The first vector of the part that each pass reads: passes with the same weight read the same one.
    pub(crate) fn offsets(self, passes: &[Lowered]) -> Vec<u64> {
        let mut parts = HashMap::new();
        let mut next = 0_u64;
        passes
            .iter()
            .map(|pass| {
                // Axes may be in another order in a piece of one element along one of them, which then has one tap, too.
                let axes = pass.lines.iter().zip(pass.weight.taps).filter(|(line, _)| line.kernel > 1);
                let taps: Vec<(u32, i64)> = axes.map(|(line, step)| (line.kernel, step)).collect();
                let WeightPlace { first, groups, outputs, inputs, .. } = pass.weight;
                let place = [first, groups, outputs, inputs];
                let sizes = [pass.share.groups, pass.share.group_out, pass.group_in];
                *parts.entry((place, taps, sizes)).or_insert_with(|| {
                    let first = next;
                    next = next.saturating_add(self.vectors(pass));
                    first
                })
            })
            .collect()
    }
}

/// The order of K in the packing `kmajor`: blocks of channels, then taps, then the channels of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KOrder {
    /// Channels of a block.
    pub block: u32,
    /// Positions along K, the last block filled up.
    pub length: u64,
}

impl KOrder {
    pub fn of(pass: &Lowered) -> Self {
        let channels = u64::from(pass.group_in);
        let taps = pass.taps();
        // Up to an eighth is filled up: what a kernel saves by asking less often where a tap lies is worth no more.
        let fits = |block: &u64| channels.next_multiple_of(*block) * 8 <= channels * 9;
        let block = [8, 4, 2].into_iter().find(fits).unwrap_or(1);
        Self { block: block as u32, length: channels.next_multiple_of(block).saturating_mul(taps) }
    }

    /// Rows of a group's packed weight: slices of up to 32 rows are read whole.
    pub fn rows(&self) -> u64 {
        self.length.checked_next_multiple_of(32).unwrap_or(u64::MAX)
    }
}

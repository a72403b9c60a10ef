//! How a dispatch is divided into segments, and which of them go into one submission.

use std::ops::Range;

use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::kernels::{Part, Tiling};
use crate::params::{Block, Params, SampleParams};

/// Tiles `begin..end` and a part of their sums, dispatched as a grid of workgroups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Segment {
    begin: u32,
    pub end: u32,
    pub part: Part,
    unfinished: bool,
    /// The input channels of a group that it reads, of a convolution.
    pub channels: [u32; 2],
    pub grid: [u32; 2],
    /// Multiply-adds, tails included, or what takes as long.
    macs: u64,
}

/// What a workgroup of a program that is never divided counts in multiply-adds: each of its invocations (64 or 256) loads, transforms and
/// stores some numbers, up to a hundred where there are 64.
const SMALL_WORKGROUP_MACS: u64 = 1 << 18;

impl Segment {
    /// The parameters of this segment.
    pub fn apply(&self, block: Block) -> Block {
        match block {
            Block::Convolution(params) => Block::Convolution(Params {
                tile_begin: self.begin,
                tile_end: self.end,
                grid_width: self.grid[0],
                part_begin: self.part.begin,
                part_end: self.part.end,
                unfinished: self.unfinished.into(),
                ..params
            }),
            Block::Sample(params) => {
                Block::Sample(SampleParams { tile_begin: self.begin, grid_width: self.grid[0], ..params })
            }
        }
    }

    /// All workgroups of a program that is never divided: each does a few numbers.
    pub fn whole(engine: &Engine, workgroups: u64) -> Result<Self> {
        let grid = engine.grid(workgroups)?;
        let part = Part { begin: 0, end: 0 };
        let macs = workgroups.saturating_mul(SMALL_WORKGROUP_MACS);
        Ok(Self { begin: 0, end: workgroups as u32, part, unfinished: false, channels: [0, 0], grid, macs })
    }
}

/// Most segments of a plan: each has parameters of its own, and their place in a buffer is counted with 32 bits.
pub(crate) const MAX_SEGMENTS: u64 = 1 << 16;

/// Divides the tiles so that no segment has more multiply-adds than the engine's bound (or more than one part of one tile,
/// where that exceeds it), nor more workgroups than a grid can have. The parts of a tile follow each other.
pub(crate) fn segments(engine: &Engine, tiling: &Tiling, parts: &[Part], at_most: u64) -> Result<Vec<Segment>> {
    let per_dimension = u64::from(engine.capabilities().limits.max_compute_workgroups_per_dimension);
    let most_tiles = per_dimension.saturating_mul(per_dimension).max(1);
    let part_macs = tiling.tile_macs.div_ceil(parts.len() as u64).max(1);
    let most = (engine.max_segment_macs() / part_macs).clamp(1, most_tiles);
    let step = most.min(tiling.tiles.into()).max(1) as u32;
    let count = u64::from(tiling.tiles.div_ceil(step)).saturating_mul(parts.len() as u64);
    if count > at_most {
        return Err(Error::TooLarge {
            what: "the number of segments",
            factors: format!(
                "{} tiles, {step} in a segment, each in {} parts of {part_macs} multiply-adds",
                tiling.tiles,
                parts.len()
            ),
            limit: format!(
                "{MAX_SEGMENTS}; raise EngineOptions::max_segment_macs, which is {}",
                engine.max_segment_macs()
            ),
        });
    }
    let mut segments = Vec::new();
    let mut begin = 0;
    while begin < tiling.tiles {
        let end = begin.saturating_add(step).min(tiling.tiles);
        let grid = engine.grid((end - begin).into())?;
        segments.extend((1..).zip(parts).map(|(number, &part)| Segment {
            begin,
            end,
            part,
            unfinished: number < parts.len(),
            channels: [0, 0],
            grid,
            macs: u64::from(end - begin).saturating_mul(part_macs),
        }));
        begin = end;
    }
    Ok(segments)
}

/// The numbers of the segments that one submission takes: in order, as many as have `most` multiply-adds together, and one at least.
pub(crate) fn submissions<'a>(segments: impl Iterator<Item = &'a Segment>, most: u64) -> Vec<Range<u32>> {
    let mut submissions: Vec<Range<u32>> = Vec::new();
    let mut together = 0_u64;
    for (number, segment) in (0..).zip(segments) {
        together = together.saturating_add(segment.macs);
        match submissions.last_mut() {
            Some(last) if together <= most => last.end = number + 1,
            _ => {
                together = segment.macs;
                submissions.push(number..number + 1);
            }
        }
    }
    submissions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_go_together_up_to_the_limit() {
        let of = |macs: &[u64], most| {
            let part = Part { begin: 0, end: 0 };
            let segment = |&macs: &u64| Segment {
                begin: 0,
                end: 1,
                part,
                unfinished: false,
                channels: [0, 0],
                grid: [1, 1],
                macs,
            };
            let segments: Vec<Segment> = macs.iter().map(segment).collect();
            submissions(segments.iter(), most).into_iter().map(|at| [at.start, at.end]).collect::<Vec<_>>()
        };
        assert_eq!(of(&[], 10), [[0; 2]; 0]);
        assert_eq!(of(&[3, 4, 3, 1], 10), [[0, 3], [3, 4]]);
        assert_eq!(of(&[3, 8, 2, 20, 1, 9], 10), [[0, 1], [1, 3], [3, 4], [4, 6]]);
        assert_eq!(of(&[5, u64::MAX, u64::MAX], 10), [[0, 1], [1, 2], [2, 3]]);
        assert_eq!(of(&[u64::MAX, u64::MAX], u64::MAX), [[0, 2]]);
    }
}

//! How a problem is divided: into tiles, and sums into parts.

use std::ops::Range;

use super::window::Window;
use crate::lowered::Lowered;
use crate::problem::greatest_common_divisor;
use crate::ranges::{self, INDEX_LIMIT};
use crate::segments::MAX_SEGMENTS;

/// A tile's output channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TileChannels {
    /// Each group has tiles of its own.
    OfOneGroup(u32),
    /// The channels of all groups are divided together.
    OfAnyGroup(u32),
}

/// How a kernel divides a problem among workgroups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tiling {
    /// What is divided along the pixels: pixel blocks (direct) or pixels (tiled) of the whole batch.
    pub pixels: u32,
    /// Tiles along the pixels.
    pub tiles_pixels: u32,
    /// Tiles along the output channels: of one group, or of all together.
    pub tiles_channels: u32,
    /// Tiles along the pixels that all tiles along the channels take in turn, before the next so many: as many as share an
    /// input of [`RUN_BYTES`], so that it comes from memory once.
    pub tiles_run: u32,
    /// All tiles: those two times the groups that are divided apart, times the workgroups that share a tile's sums.
    pub tiles: u32,
    /// Workgroups that share a tile's sums, and the part of a sum that each has, in the unit of [`Depth::length`].
    pub splits: u32,
    pub split_length: u32,
    /// Multiply-adds that one tile executes, tails included.
    pub tile_macs: u64,
}

/// Bytes of input that stay in a cache next to the processor's core while each of the tiles along the channels reads them.
const RUN_BYTES: u64 = 512 << 10;

/// How many of these tiles along the pixels read so many bytes of input: all of them, where that is little more.
fn run_of(pass: &Lowered, tiles_pixels: u64) -> u64 {
    let runs = pass.group_inputs().saturating_mul(pass.element_size()) / RUN_BYTES;
    if runs < 2 { tiles_pixels } else { tiles_pixels.div_ceil(runs) }
}

impl Tiling {
    /// Divides `pixels` and the channels into tiles of that size. `pixel_size` says how many output pixels one of `pixels`
    /// stands for.
    pub fn new(
        pass: &Lowered,
        pixels: u64,
        pixel_size: u64,
        tile_pixels: u32,
        tile_channels: TileChannels,
    ) -> Result<Self, String> {
        let [group_out, groups] = [pass.group_out, pass.groups].map(u64::from);
        let (channels, times, tile_channels) = match tile_channels {
            TileChannels::OfOneGroup(size) => (group_out, groups, size),
            TileChannels::OfAnyGroup(size) => (group_out * groups, 1, size),
        };
        let tiles_pixels = pixels.div_ceil(tile_pixels.into());
        let tiles_channels = channels.div_ceil(tile_channels.into());
        let tiles =
            tiles_pixels.checked_mul(tiles_channels).and_then(|tiles| tiles.checked_mul(times)).unwrap_or(u64::MAX);
        if pixels >= INDEX_LIMIT || tiles >= INDEX_LIMIT {
            return Err(format!("{tiles} tiles; tiles are counted with 32 bits, so that there may be {INDEX_LIMIT}"));
        }
        let outputs = u64::from(tile_pixels) * pixel_size * u64::from(tile_channels);
        Ok(Self {
            pixels: pixels as u32,
            tiles_pixels: tiles_pixels as u32,
            tiles_channels: tiles_channels as u32,
            tiles_run: run_of(pass, tiles_pixels) as u32,
            tiles: tiles as u32,
            splits: 1,
            split_length: 0,
            tile_macs: outputs.saturating_mul(pass.sum_length()),
        })
    }
}

impl Tiling {
    /// Divides into tiles of `blocks` blocks, each of rows × columns of output pixels, by `channels`.
    pub fn of_blocks(
        pass: &Lowered,
        [rows, columns]: [u32; 2],
        blocks: u32,
        channels: TileChannels,
    ) -> Result<Self, String> {
        debug_assert!(u64::from(rows.max(columns)) <= ranges::TILE_MARGIN);
        let [_, height, width] = pass.lines.map(|line| u64::from(line.output));
        // A refusal, not an overflow, where the product is beyond 64 bits: the ranges are proved first, but not by us.
        let blocks_of_plane = height.div_ceil(rows.into()) * width.div_ceil(columns.into());
        let all = pass.planes().saturating_mul(blocks_of_plane);
        Self::new(pass, all, u64::from(rows * columns), blocks, channels)
    }

    /// Shares every tile's sums among `splits` workgroups, each of which does `length` of them.
    ///
    /// # Errors
    /// A sentence, if that makes too many tiles.
    pub fn split(self, splits: u32, length: u32) -> Result<Self, String> {
        let tiles = u64::from(self.tiles) * u64::from(splits);
        if tiles >= INDEX_LIMIT {
            return Err(format!("{tiles} tiles; tiles are counted with 32 bits, so that there may be {INDEX_LIMIT}"));
        }
        let tile_macs = self.tile_macs.div_ceil(splits.into());
        Ok(Self { tiles: tiles as u32, splits, split_length: length, tile_macs, ..self })
    }
}

/// How a kernel walks along a sum, and so how the sum can be split into parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Depth {
    /// Length in the kernel's own unit: channels of a group times slices of the kernel (direct) or positions along K (tiled).
    pub length: u32,
    /// Parts begin at multiples of this.
    pub step: u32,
    /// Rounds that an invocation's loops take for one step.
    pub rounds: u64,
    /// Most of the length that a part may have: where rounding is kept small by parts instead of blocks within a sum.
    pub longest: u32,
    /// The length that a few input channels take, and how many those are.
    pub run: [u32; 2],
}

/// Rounds to spare for what a shader does once: the loops around its stores.
const ROUNDS_TO_SPARE: u64 = 1024;

/// A part of every sum: positions `begin..end` in the kernel's own unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part {
    pub begin: u32,
    pub end: u32,
}

impl Depth {
    /// For a kernel that walks along the channels and takes taps in such blocks: those are its loops, and all others are
    /// unrolled before a compiler sees them.
    pub(super) fn of_channels(pass: &Lowered, window: &Window) -> Self {
        let [rows, columns] = window.blocks(pass);
        let length = pass.group_in.saturating_mul(pass.lines[0].kernel);
        // A loop takes one more round to find that it has ended. Twice that, for what drivers make loops of themselves: seen
        // are six rounds where a kernel has one row and one column.
        Self {
            length,
            step: window.step(),
            rounds: 2 * (1 + (rows + 1) + rows * (columns + 1)),
            longest: u32::MAX,
            run: [pass.lines[0].kernel, 1],
        }
    }

    /// Splits into parts of at most `max_rounds` rounds, at least `min_parts` of them if there are so many steps.
    ///
    /// # Errors
    /// A sentence, if a single step takes more rounds, or if there would be more parts than segments in a plan.
    pub fn parts(&self, max_rounds: u64, min_parts: u64) -> Result<Vec<Part>, String> {
        let steps = u64::from(self.length.div_ceil(self.step)).max(1);
        let most = max_rounds.saturating_sub(ROUNDS_TO_SPARE) / self.rounds.max(1);
        if most == 0 {
            return Err(format!(
                "one step along its sums takes {} loop rounds; this driver ends an invocation's loops after {max_rounds}",
                self.rounds
            ));
        }
        let most = most.min(u64::from(self.longest / self.step).max(1));
        let parts = steps.div_ceil(most).max(min_parts.min(steps));
        check_parts(parts)?;
        let length = steps.div_ceil(parts) * u64::from(self.step);
        let mut all = Vec::new();
        let mut begin = 0;
        loop {
            let end = (u64::from(begin) + length).min(self.length.into()) as u32;
            all.push(Part { begin, end });
            if end == self.length {
                return Ok(all);
            }
            begin = end;
        }
    }

    /// As [`parts`](Self::parts), each within `most` of the `channels` input channels, wherever these begin with a step.
    ///
    /// # Errors
    /// A sentence, if a step takes more channels, or more rounds, or if there would be more parts than segments in a plan.
    pub fn parts_of_windows(
        &self,
        most: u32,
        channels: u32,
        max_rounds: u64,
        min_parts: u64,
    ) -> Result<Vec<Part>, String> {
        let [length, of_run] = self.run.map(u64::from);
        // Windows begin where a step and a run of channels do.
        let common = length * u64::from(self.step) / greatest_common_divisor(self.run[0], self.step).max(1) as u64;
        let of_common = common / length.max(1) * of_run;
        let most_runs = u64::from(most) / of_common.max(1);
        if most_runs == 0 {
            return Err(format!(
                "it takes {of_common} input channels at a time, and a window of the input holds {most} of {channels}"
            ));
        }
        let all = u64::from(self.length).div_ceil(common).max(1);
        let windows = all.div_ceil(most_runs);
        check_parts(windows)?;
        let of_window = all.div_ceil(windows) * common;
        let mut parts = Vec::new();
        let mut begin = 0;
        while begin < u64::from(self.length) {
            let end = (begin + of_window).min(self.length.into());
            let own = Self { length: (end - begin) as u32, ..*self };
            let inner = own.parts(max_rounds, min_parts.div_ceil(windows))?;
            let from = begin as u32;
            parts.extend(inner.into_iter().map(|part| Part { begin: from + part.begin, end: from + part.end }));
            check_parts(parts.len() as u64)?;
            begin = end;
        }
        Ok(parts)
    }

    /// The input channels, of so many, that a part takes.
    pub fn channels(&self, part: &Part, all: u32) -> Range<u32> {
        let [length, of_run] = self.run.map(|number| u64::from(number.max(1)));
        let end = u64::from(part.end).div_ceil(length) * of_run;
        let begin = u64::from(part.begin) / length * of_run;
        begin.min(all.into()) as u32..end.min(all.into()) as u32
    }
}

/// Each part is a segment, or several. Asked before they are made: of a long sum they may be millions.
fn check_parts(parts: u64) -> Result<(), String> {
    if parts > MAX_SEGMENTS {
        return Err(format!("its sums have {parts} parts or more; a plan has at most {MAX_SEGMENTS} segments"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_share_half_a_megabyte_of_input() {
        let tiling = |text: &str| {
            let pass = crate::lowered::tests::one(text);
            Tiling::of_blocks(&pass, [1, 16], 1, TileChannels::OfOneGroup(128)).unwrap()
        };
        let line = tiling("c512w16000o512k10s5");
        assert_eq!((line.tiles_pixels, line.tiles_channels, line.tiles_run), (200, 4, 4), "62 times half a megabyte");
        let small = tiling("c256h28w28o256k3p1");
        assert_eq!((small.tiles_pixels, small.tiles_run), (56, 56), "800 KB are one run");
        // Each group has an input of its own.
        let groups = tiling("c512w16000o512k3p1g16");
        assert_eq!((groups.tiles_pixels, groups.tiles_run), (1000, 334), "2 MB");
        let nothing = tiling("n0c256h28w28o256k3p1");
        assert_eq!((nothing.tiles, nothing.tiles_run), (0, 0));
    }

    #[test]
    fn sums_split_into_whole_steps_that_cover_them() {
        let depth = Depth { length: 1000, step: 16, rounds: 40, longest: u32::MAX, run: [9, 1] };
        assert_eq!(depth.parts(u64::MAX, 1).unwrap(), [Part { begin: 0, end: 1000 }]);
        for (max_rounds, min_parts, count) in [(ROUNDS_TO_SPARE + 400, 1, 7), (u64::MAX, 5, 5), (u64::MAX, 1000, 63)] {
            let parts = depth.parts(max_rounds, min_parts).unwrap();
            assert_eq!(parts.len(), count);
            assert_eq!((parts[0].begin, parts[count - 1].end), (0, 1000));
            assert!(parts.windows(2).all(|pair| pair[0].end == pair[1].begin && pair[0].end % 16 == 0));
        }
        let refusal = depth.parts(ROUNDS_TO_SPARE + 39, 1).unwrap_err();
        assert!(refusal.contains("40 loop rounds"), "{refusal}");
        assert_eq!(Depth { longest: 300, ..depth }.parts(u64::MAX, 1).unwrap().len(), 4, "18 steps of 63 in a part");
        assert_eq!(Depth { length: 0, ..depth }.parts(u64::MAX, 3).unwrap(), [Part { begin: 0, end: 0 }]);
    }

    /// Found by fuzzing: making the parts of such a sum for every variant took half a minute.
    #[test]
    fn parts_are_counted_before_they_are_made() {
        let depth = Depth { length: 3_250_236, step: 1, rounds: 1, longest: u32::MAX, run: [1, 1] };
        for refusal in [
            depth.parts_of_windows(1, 3_250_236, u64::MAX, 1).unwrap_err(),
            depth.parts(ROUNDS_TO_SPARE + 1, 1).unwrap_err(),
        ] {
            assert_eq!(refusal, "its sums have 3250236 parts or more; a plan has at most 65536 segments");
        }
        let refusal = depth.parts_of_windows(100, 3_250_236, ROUNDS_TO_SPARE + 2, 1).unwrap_err();
        assert!(refusal.contains("a plan has at most 65536 segments"), "{refusal}");
        assert_eq!(depth.parts_of_windows(100, 3_250_236, u64::MAX, 1).unwrap().len(), 32503);
    }
}

//! Host side of `shaders/window.wgsl`: the block of taps that a kernel takes at once, and the input that it needs.

use crate::conv::PaddingMode;
use crate::lowered::Lowered;
use crate::problem::greatest_common_divisor;
use crate::shader::Constant;

/// Channels of a partial sum where the configuration is not known to the compiler.
const GENERIC_SUM_CHANNELS: u64 = 16;

/// What of a kernel a variant may take at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taps {
    /// Everything, if no more than so many input values are needed at a time; of a row of the kernel, for which rows of pixels
    /// share nothing and are loaded ahead, no more than `row`.
    Kernel { live: u64, row: u64 },
    /// As `Kernel`, in strips of the block's columns that are narrow enough, and so many taps at most.
    Strips { live: u64, taps: u64 },
    /// A row of the kernel, or a part of it.
    Row,
    /// One: for configurations that are known at run time only.
    One,
}

impl Taps {
    /// Widths of the strips in which columns of pixels may be taken, the widest first.
    fn strips(self, columns: u64) -> impl Iterator<Item = u64> {
        let narrowest = if matches!(self, Self::Strips { .. }) { 1 } else { columns };
        (narrowest..=columns).rev().filter(move |strip| columns.is_multiple_of(*strip))
    }
}

/// Most taps of a block.
const MAX_TAPS: u64 = 49;
/// Most input values that a block may need: what is unrolled has to be compiled.
const MAX_LOADS: u64 = 160;
/// Most positions of a window for each that is needed: all are unrolled, and long strides make many that nobody needs. (With
/// stride 169 a plan took minutes.)
const MAX_POSITIONS: u64 = 16;
/// Most loads of several channels of a 1×1 kernel: 128 made AMD's compiler spill scalar registers.
const MAX_CHANNEL_LOADS: u64 = 112;
/// Most input values that are needed in registers at a time.
const MAX_LIVE: u64 = 64;

/// A block of taps, and its window: along rows and along columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    taps: [u64; 2],
    size: [u64; 2],
    /// Elements along each axis that some pixel of the block needs; the others are never loaded.
    needed: [u64; 2],
    /// Columns of pixels whose part of the window is loaded together, and how wide that part is.
    strip: u64,
    strip_size: u64,
    /// Input values that are needed at a time.
    live: u64,
    /// The kernel is 1×1, and the rows of taps are input channels.
    of_channels: bool,
}

impl Window {
    /// The largest block of taps that is allowed, for an invocation's rows × columns of output pixels.
    pub fn of(pass: &Lowered, pixels: [u32; 2], most: Taps) -> Self {
        let kernel = pass.kernel().map(u64::from);
        let pixels = pixels.map(u64::from);
        let fitting = |taps: [u64; 2], most_live: u64, most_taps: u64| {
            most.strips(pixels[1])
                .map(|strip| Self::new(pass, pixels, taps, strip))
                .find(|window| window.taps() <= most_taps && window.is_small() && window.live <= most_live)
        };
        let (most_live, most_taps) = match most {
            Taps::One => return Self::one_tap(pixels),
            Taps::Strips { live, taps } => (live, taps),
            Taps::Kernel { row, .. } => (row, MAX_TAPS),
            Taps::Row => (MAX_LIVE, MAX_TAPS),
        };
        // Of one row, the whole kernel is the first part below.
        let whole = match most {
            Taps::Kernel { live, .. } | Taps::Strips { live, .. } if kernel[0] > 1 => fitting(kernel, live, most_taps),
            _ => None,
        };
        // A row, half a row, a third of it, …; of long rows, and of long strides, no more fits.
        let mut parts = (1..=kernel[1]).filter(|parts| kernel[1].is_multiple_of(*parts));
        whole
            .or_else(|| parts.find_map(|parts| fitting([1, kernel[1] / parts], most_live, most_taps)))
            .unwrap_or_else(|| Self::new(pass, pixels, [1, 1], pixels[1]))
    }

    /// A value for each pixel, of whatever kernel.
    fn one_tap([rows, columns]: [u64; 2]) -> Self {
        let size = [rows, columns];
        Self {
            taps: [1, 1],
            size,
            needed: size,
            strip: columns,
            strip_size: columns,
            live: columns,
            of_channels: false,
        }
    }

    /// Of a 1×1 kernel, where it is worth it: several input channels at once in place of rows of taps, as many as divide those
    /// of a group and fit.
    pub fn of_channels(pass: &Lowered, pixels: [u32; 2], most: Taps) -> Option<Self> {
        let (most_live, most_taps) = match most {
            Taps::Strips { live, taps } => (live, taps),
            Taps::Kernel { live, .. } => (live, MAX_TAPS),
            Taps::Row | Taps::One => return None,
        };
        if pass.taps() > 1 || pass.is_deep() {
            return None;
        }
        let pixels = pixels.map(u64::from);
        let counts = [8, 4, 2].into_iter().filter(|&count| pass.group_in.is_multiple_of(count) && pass.group_in > 0);
        counts.map(u64::from).filter(|&count| count <= most_taps).find_map(|count| {
            most.strips(pixels[1]).find_map(|strip| {
                let one = Self::new(pass, pixels, [1, 1], strip);
                let rows = pixels[0] * count;
                let many = Self {
                    taps: [count, 1],
                    size: [rows, one.size[1]],
                    needed: [rows, one.needed[1]],
                    live: one.live * count,
                    of_channels: true,
                    ..one
                };
                (many.loads() <= MAX_CHANNEL_LOADS && many.live <= most_live).then_some(many)
            })
        })
    }

    fn new(pass: &Lowered, pixels: [u64; 2], taps: [u64; 2], strip: u64) -> Self {
        let axis = |axis: usize, pixels: u64| {
            let [stride, dilation] = [pass.stride()[axis], pass.dilation()[axis]];
            // One tap out of several: an element for each pixel.
            if taps[axis] == 1 && pass.kernel()[axis] != 1 {
                return (pixels, pixels);
            }
            let size = (pixels - 1) * u64::from(stride) + (taps[axis] - 1) * u64::from(dilation) + 1;
            // Long axes are refused in any case.
            let long = size > 4 * MAX_LOADS;
            (size, if long { size } else { positions(pixels, taps[axis], stride, dilation) })
        };
        let [rows, columns, of_strip] = [axis(0, pixels[0]), axis(1, pixels[1]), axis(1, strip)];
        // Rows from the first one that a row of pixels needs to the last.
        let live_rows = (taps[0] - 1).saturating_mul(u64::from(pass.dilation()[0])).saturating_add(1).min(rows.1);
        Self {
            taps,
            size: [rows.0, columns.0],
            needed: [rows.1, columns.1],
            strip,
            strip_size: of_strip.0,
            live: live_rows.saturating_mul(of_strip.1),
            of_channels: false,
        }
    }

    /// Input values that a block of taps needs.
    pub fn loads(&self) -> u64 {
        self.needed[0].saturating_mul(self.needed[1])
    }

    /// Whether what is unrolled is short enough to be compiled.
    fn is_small(&self) -> bool {
        let positions = self.size[0].saturating_mul(self.size[1]);
        self.loads() <= MAX_LOADS && positions <= MAX_POSITIONS * self.loads()
    }

    /// Taps of a block.
    pub fn taps(&self) -> u64 {
        self.taps[0] * self.taps[1]
    }

    /// Blocks of the whole kernel, along rows and along columns.
    pub fn blocks(&self, pass: &Lowered) -> [u64; 2] {
        if self.of_channels {
            return [1, 1];
        }
        let kernel = pass.kernel().map(u64::from);
        [kernel[0] / self.taps[0], kernel[1] / self.taps[1]]
    }

    /// Steps along a sum that a block of taps makes: input channels.
    pub fn step(&self) -> u32 {
        if self.of_channels { self.taps[0] as u32 } else { 1 }
    }

    /// How a kernel takes its `columns` of pixels in strips.
    pub fn strips(&self, columns: u32) -> [Constant; 4] {
        let strips = u64::from(columns) / self.strip;
        // From a strip's window to the next one's.
        let step = if strips > 1 { (self.size[1] - self.strip_size) / (strips - 1) } else { 0 };
        let number = |value: u64| (value as u32).into();
        [
            ("STRIPS", number(strips)),
            ("STRIP", number(self.strip)),
            ("STRIP_WINDOW", number(self.strip_size)),
            ("STRIP_KEPT", number(self.strip_size.saturating_sub(step))),
        ]
    }

    /// The constants of `window.wgsl`; `sum_block` products are added up on their own.
    pub fn constants(&self, pass: &Lowered, pixels: [u32; 2], generic: bool, sum_block: Option<u64>) -> Vec<Constant> {
        // A block then reaches over no edge: the first and the last position that it touches are those of outputs.
        let inside = !generic
            && !pass.is_deep()
            && !pass.is_padded()
            && pass.lines[1..].iter().zip(pixels).all(|(line, block)| line.output >= block);
        let zeros = generic || (pass.is_padded() && pass.padding_mode == PaddingMode::Zeros);
        let kernel: u64 = pass.kernel().into_iter().map(u64::from).product();
        let sum_channels = match sum_block {
            Some(_) if generic => GENERIC_SUM_CHANNELS,
            Some(products) => (products / kernel).max(1),
            None => 0,
        };
        let reuse = match [pass.stride()[0], pass.dilation()[0]] {
            _ if self.taps[0] == 1 => [1, 1],
            // Nothing is shared.
            _ if self.of_channels => [1, self.taps[0]],
            [stride, dilation] => {
                let common = greatest_common_divisor(stride, dilation);
                [dilation / common, stride / common].map(u64::from)
            }
        };
        let number = |value: u64| (value as u32).into();
        vec![
            ("CHANNEL_TAPS", self.of_channels.into()),
            ("TAP_ROWS", number(self.taps[0])),
            ("TAP_COLUMNS", number(self.taps[1])),
            ("WINDOW_H", number(self.size[0])),
            ("WINDOW_W", number(self.size[1])),
            ("REUSE_ROWS", number(reuse[0])),
            ("REUSE_TAPS", number(reuse[1])),
            ("ZEROS", zeros.into()),
            ("INSIDE", inside.into()),
            ("SUM_CHANNELS", number(sum_channels)),
        ]
    }
}

/// How many different positions `p · stride + t · dilation` there are, for p below `pixels` and t below `taps`. The tap t of
/// pixel p is where tap t + s of pixel p − d is, with s : d as stride : dilation in lowest terms; each position is counted at the
/// first pixel that has it.
fn positions(pixels: u64, taps: u64, stride: u32, dilation: u32) -> u64 {
    let common = greatest_common_divisor(stride, dilation);
    let [stride, dilation] = [stride / common, dilation / common].map(u64::from);
    let again = pixels.saturating_sub(dilation) * taps.saturating_sub(stride);
    pixels * taps - again
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::lowered::tests::one as lowered;

    fn window(text: &str, pixels: [u32; 2], most: Taps) -> Window {
        Window::of(&lowered(text), pixels, most)
    }

    #[test]
    fn windows_span_taps_and_pixels() {
        let all = |window: Window| (window.taps, window.size, window.needed);
        let whole = window("c4h30w30o4k3", [6, 8], Taps::Kernel { live: 64, row: 64 });
        assert_eq!(all(whole), ([3, 3], [8, 10], [8, 10]));
        let row = window("c4h30w30o4k3", [6, 8], Taps::Row);
        assert_eq!(all(row), ([1, 3], [6, 10], [6, 10]));
        assert_eq!(all(window("c4h30w30o4k3", [2, 2], Taps::One)), ([1, 1], [2, 2], [2, 2]));
        // Two pixels 5 apart, three taps 4 apart: 0 4 8 5 9 13.
        let sparse = window("c4h30w30o4k3s5d4", [1, 2], Taps::Row);
        assert_eq!(all(sparse), ([1, 3], [1, 14], [1, 6]));
    }

    /// Where the shader is told so, every position that a block of pixels touches is one of the image.
    #[test]
    fn inside_is_inside() {
        let mut found = 0;
        for size in 1..=20_u32 {
            for (kernel, stride, dilation, padding) in [
                (1, 1, 1, 0),
                (1, 1, 1, 1),
                (1, 2, 1, 0),
                (3, 1, 1, 0),
                (3, 1, 1, 1),
                (3, 2, 1, 0),
                (2, 3, 2, 0),
                (3, 2, 1, 1),
            ] {
                let text = format!("c1h9w{size}o1k{kernel}s{stride}d{dilation}p{padding}");
                let Ok(problem) = text.parse::<crate::problem::Problem>() else { continue };
                // The row alone: a 1×1 convolution of stride 1 is one.
                let Ok([pass]) = crate::lowered::passes(&problem).as_deref().map(|passes| [passes[0]]) else {
                    continue;
                };
                for columns in [1, 4, 7] {
                    let pixels = [1, columns];
                    let window = Window::of(&pass, pixels, Taps::Row);
                    let constants = window.constants(&pass, pixels, false, None);
                    let inside = constants.iter().any(|(name, value)| *name == "INSIDE" && value.to_string() == "true");
                    let [_, _, line] = pass.lines;
                    let blocks = line.output.div_ceil(columns);
                    // As `stretch_at` of the shader says.
                    let first = move |block: u32| (block * columns).min(line.output.max(columns) - columns);
                    let outputs = (0..blocks).flat_map(move |block| first(block)..first(block) + columns);
                    let positions = outputs.flat_map(|x| (0..line.kernel).map(move |tap| (x, tap)));
                    let within = positions.map(|(x, tap)| {
                        i64::from(x) * i64::from(line.stride) + i64::from(tap) * i64::from(line.dilation) - line.before
                    });
                    let all = within.clone().all(|position| (0..i64::from(line.input)).contains(&position));
                    assert!(!inside || all, "{text}, {columns} columns");
                    found += usize::from(inside);
                }
            }
        }
        assert!(found > 150, "{found}");
    }

    #[test]
    fn what_no_pixel_needs_does_not_count() {
        assert_eq!(window("c4h30w30o4k1s3", [4, 4], Taps::Kernel { live: 64, row: 64 }).loads(), 16);
        assert_eq!(window("c4h30w30o4k3s5d4", [1, 2], Taps::Row).loads(), 6);
    }

    #[test]
    fn positions_are_counted() {
        for case in 0..7 * 7 * 9 * 9 {
            let [pixels, taps] = [case % 7 + 1, case / 7 % 7 + 1];
            let [stride, dilation] = [case / 49 % 9 + 1, case / 441 + 1];
            let all: HashSet<u32> =
                (0..pixels * taps).map(|at| at % pixels * stride + at / pixels * dilation).collect();
            let counted = positions(pixels.into(), taps.into(), stride, dilation);
            assert_eq!(counted, all.len() as u64, "{pixels} {taps} {stride} {dilation}");
        }
    }

    #[test]
    fn points_take_channels() {
        let most = Taps::Strips { live: 40, taps: 49 };
        let many = |text| Window::of_channels(&lowered(text), [1, 28], most);
        let four = many("c64h30w30o4k1").unwrap();
        assert_eq!((four.taps, four.size, four.step(), four.strip), ([4, 1], [4, 28], 4, 7), "8 × 28 are too many");
        assert_eq!(many("c6h30w30o4k1").unwrap().step(), 2);
        assert_eq!(many("c7h30w30o4k1").map(|window| window.step()), None);
        assert_eq!(many("c64h30w30o4k3"), None);
        let of_strides =
            Window::of_channels(&lowered("c64h30w30o4k1s2"), [4, 4], Taps::Kernel { live: 40, row: 32 }).unwrap();
        assert_eq!((of_strides.taps, of_strides.size, of_strides.loads()), ([4, 1], [16, 7], 64));
    }

    #[test]
    fn strips_share_what_reaches_over_their_edges() {
        let strips = |text, most| window(text, [1, 28], most).strips(28).map(|(_, value)| value.to_string());
        let most = Taps::Strips { live: 40, taps: 49 };
        assert_eq!(strips("c4w3000o4k3", most), ["1u", "28u", "30u", "30u"]);
        // Ten of a pixel's elements, five of them new, are 40 for seven pixels.
        assert_eq!(strips("c4w3000o4k10s5", most), ["4u", "7u", "40u", "5u"]);
        // Nothing in common, and gaps between pixels.
        assert_eq!(strips("c4w3000o4k2s4", most), ["2u", "14u", "54u", "0u"]);
        // Too many taps: five at a time, which the stride spreads.
        let five = Taps::Strips { live: 40, taps: 5 };
        assert_eq!(window("c4w3000o4k10s5", [1, 28], five).taps, [1, 5]);
        // Without strips: two at a time, of which nobody needs what lies between.
        let two = window("c4w3000o4k10s5", [1, 28], Taps::Kernel { live: 64, row: 64 });
        assert_eq!((two.taps, two.loads()), ([1, 2], 56));
    }

    #[test]
    fn large_blocks_give_way_to_smaller_ones() {
        assert_eq!(window("c4h30w30o4k7s2", [6, 8], Taps::Kernel { live: 64, row: 64 }).taps, [1, 7]);
        // 49 columns of taps 5 apart: seven of them reach over 38.
        assert_eq!(window("c4h300w300o4k1x49d1x5", [1, 8], Taps::Kernel { live: 64, row: 64 }).taps, [1, 7]);
        assert_eq!(window("c4h300w300o4k1x47d1x5", [1, 8], Taps::Kernel { live: 64, row: 64 }).taps, [1, 1]);
        assert_eq!(window("c4h30w30000o4k1x2d1x20000", [1, 8], Taps::Kernel { live: 64, row: 64 }).taps, [1, 1]);
    }
}

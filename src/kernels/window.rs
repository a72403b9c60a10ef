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

/// Most taps of a block.
const MAX_TAPS: u64 = 49;
/// Most input values that a block may need: what is unrolled has to be compiled.
const MAX_LOADS: u64 = 160;
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
}

impl Window {
    /// The largest block of taps that is allowed, for an invocation's rows × columns of output pixels.
    pub fn of(pass: &Lowered, pixels: [u32; 2], most: Taps) -> Self {
        let kernel = pass.kernel().map(u64::from);
        let pixels = pixels.map(u64::from);
        let narrowest = if matches!(most, Taps::Strips { .. }) { 1 } else { pixels[1] };
        let strips = || (narrowest..=pixels[1]).rev().filter(|strip| pixels[1].is_multiple_of(*strip));
        let fitting = |taps: [u64; 2], most_live: u64, most_taps: u64| {
            strips()
                .map(|strip| Self::new(pass, pixels, taps, strip))
                .find(|window| window.taps() <= most_taps && window.loads() <= MAX_LOADS && window.live <= most_live)
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
        Self { taps: [1, 1], size, needed: size, strip: columns, strip_size: columns, live: columns }
    }

    fn new(pass: &Lowered, pixels: [u64; 2], taps: [u64; 2], strip: u64) -> Self {
        let axis = |axis: usize, pixels: u64| {
            let [stride, dilation] = [pass.stride()[axis], pass.dilation()[axis]].map(u64::from);
            // One tap out of several: an element for each pixel.
            if taps[axis] == 1 && pass.kernel()[axis] != 1 {
                return (pixels, pixels);
            }
            let size = (pixels - 1) * stride + (taps[axis] - 1) * dilation + 1;
            // Short axes are counted, long ones would be refused in any case.
            let needed = if size > 4 * MAX_LOADS {
                size
            } else {
                let used = |at: u64| (0..pixels).any(|p| (0..taps[axis]).any(|t| p * stride + t * dilation == at));
                (0..size).filter(|&at| used(at)).count() as u64
            };
            (size, needed)
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
        }
    }

    /// Input values that a block of taps needs.
    pub fn loads(&self) -> u64 {
        self.needed[0].saturating_mul(self.needed[1])
    }

    /// Taps of a block.
    pub fn taps(&self) -> u64 {
        self.taps[0] * self.taps[1]
    }

    /// Blocks of the whole kernel, along rows and along columns.
    pub fn blocks(&self, pass: &Lowered) -> [u64; 2] {
        let kernel = pass.kernel().map(u64::from);
        [kernel[0] / self.taps[0], kernel[1] / self.taps[1]]
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
    pub fn constants(&self, pass: &Lowered, generic: bool, sum_block: Option<u64>) -> Vec<Constant> {
        let zeros = generic || (pass.is_padded() && pass.padding_mode == PaddingMode::Zeros);
        let kernel: u64 = pass.kernel().into_iter().map(u64::from).product();
        let sum_channels = match sum_block {
            Some(_) if generic => GENERIC_SUM_CHANNELS,
            Some(products) => (products / kernel).max(1),
            None => 0,
        };
        let reuse = match [pass.stride()[0], pass.dilation()[0]] {
            _ if self.taps[0] == 1 => [1, 1],
            [stride, dilation] => {
                let common = greatest_common_divisor(stride, dilation);
                [dilation / common, stride / common].map(u64::from)
            }
        };
        let number = |value: u64| (value as u32).into();
        vec![
            ("TAP_ROWS", number(self.taps[0])),
            ("TAP_COLUMNS", number(self.taps[1])),
            ("WINDOW_H", number(self.size[0])),
            ("WINDOW_W", number(self.size[1])),
            ("REUSE_ROWS", number(reuse[0])),
            ("REUSE_TAPS", number(reuse[1])),
            ("ZEROS", zeros.into()),
            ("SUM_CHANNELS", number(sum_channels)),
        ]
    }
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn what_no_pixel_needs_does_not_count() {
        assert_eq!(window("c4h30w30o4k1s3", [4, 4], Taps::Kernel { live: 64, row: 64 }).loads(), 16);
        assert_eq!(window("c4h30w30o4k3s5d4", [1, 2], Taps::Row).loads(), 6);
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

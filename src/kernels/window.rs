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
    /// Everything, if no more than so many input values are needed at a time.
    Kernel { live: u64 },
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
}

impl Window {
    /// The largest block of taps that is allowed, for an invocation's rows × columns of output pixels.
    pub fn of(pass: &Lowered, pixels: [u32; 2], most: Taps) -> Self {
        let kernel = pass.kernel().map(u64::from);
        let block = |taps: [u64; 2]| Self::new(pass, pixels.map(u64::from), taps);
        let dilation = u64::from(pass.dilation()[0]);
        let fits = |window: &Self, most_live: u64| {
            // Rows from the first one that a row of pixels needs to the last.
            let rows = (window.taps[0] - 1).saturating_mul(dilation).saturating_add(1).min(window.needed[0]);
            let live = rows.saturating_mul(window.needed[1]);
            window.taps() <= MAX_TAPS && window.loads() <= MAX_LOADS && live <= most_live
        };
        let [whole, row] = [block(kernel), block([1, kernel[1]])];
        match most {
            Taps::Kernel { live } if fits(&whole, live) => whole,
            Taps::Kernel { .. } | Taps::Row if fits(&row, MAX_LIVE) => row,
            Taps::One => Self { taps: [1, 1], size: pixels.map(u64::from), needed: pixels.map(u64::from) },
            // Half a row, a third of it, …; of long rows, and of long strides, no more fits.
            _ => {
                let parts = (2..=kernel[1]).filter(|parts| kernel[1].is_multiple_of(*parts));
                let blocks = parts.map(|parts| block([1, kernel[1] / parts]));
                blocks.into_iter().find(|part| fits(part, MAX_LIVE)).unwrap_or_else(|| block([1, 1]))
            }
        }
    }

    fn new(pass: &Lowered, pixels: [u64; 2], taps: [u64; 2]) -> Self {
        let axis = |axis: usize| {
            let [stride, dilation] = [pass.stride()[axis], pass.dilation()[axis]].map(u64::from);
            // One tap out of several: an element for each pixel.
            if taps[axis] == 1 && pass.kernel()[axis] != 1 {
                return (pixels[axis], pixels[axis]);
            }
            let size = (pixels[axis] - 1) * stride + (taps[axis] - 1) * dilation + 1;
            // Short axes are counted, long ones would be refused in any case.
            let needed = if size > 4 * MAX_LOADS {
                size
            } else {
                let used =
                    |at: u64| (0..pixels[axis]).any(|p| (0..taps[axis]).any(|t| p * stride + t * dilation == at));
                (0..size).filter(|&at| used(at)).count() as u64
            };
            (size, needed)
        };
        let [rows, columns] = [axis(0), axis(1)];
        Self { taps, size: [rows.0, columns.0], needed: [rows.1, columns.1] }
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
        let whole = window("c4h30w30o4k3", [6, 8], Taps::Kernel { live: 64 });
        assert_eq!(whole, Window { taps: [3, 3], size: [8, 10], needed: [8, 10] });
        let row = window("c4h30w30o4k3", [6, 8], Taps::Row);
        assert_eq!(row, Window { taps: [1, 3], size: [6, 10], needed: [6, 10] });
        assert_eq!(window("c4h30w30o4k3", [2, 2], Taps::One), Window { taps: [1, 1], size: [2, 2], needed: [2, 2] });
    }

    #[test]
    fn what_no_pixel_needs_does_not_count() {
        assert_eq!(window("c4h30w30o4k1s3", [4, 4], Taps::Kernel { live: 64 }).loads(), 16);
        // Two pixels 5 apart, three taps 4 apart: 0 4 8 5 9 13.
        assert_eq!(
            window("c4h30w30o4k3s5d4", [1, 2], Taps::Row),
            Window { taps: [1, 3], size: [1, 14], needed: [1, 6] }
        );
    }

    #[test]
    fn large_blocks_give_way_to_smaller_ones() {
        assert_eq!(window("c4h30w30o4k7s2", [6, 8], Taps::Kernel { live: 64 }).taps, [1, 7]);
        // 49 columns of taps 5 apart: seven of them reach over 38.
        assert_eq!(window("c4h300w300o4k1x49d1x5", [1, 8], Taps::Kernel { live: 64 }).taps, [1, 7]);
        assert_eq!(window("c4h300w300o4k1x47d1x5", [1, 8], Taps::Kernel { live: 64 }).taps, [1, 1]);
        assert_eq!(window("c4h30w30000o4k1x2d1x20000", [1, 8], Taps::Kernel { live: 64 }).taps, [1, 1]);
    }
}

//! The proof that every index a shader forms is in range of 32-bit arithmetic and of its binding.
//!
//! Kernels run without bounds checks, so what they index is settled here, once, for all of them. The claims:
//!
//! 1. What a pass binds of a tensor has fewer than 2^31 elements, so that the index of an element there plus an offset below
//!    2^31 fits `u32`. Indices are sums of products of numbers of the pass, formed modulo 2^32: where a tensor has more
//!    elements than that, steps and offsets are such remainders, and what an index comes to is right nevertheless.
//! 2. A kernel reads the input only where the padding rule gave a row and a column of the image, or at the first element
//!    (or, with `INSIDE`, where the host has shown that every position is one of the image: `kernels/window.rs`);
//!    the weight only at k < K of an existing channel quad; everything else only where an output is stored.
//! 3. Coordinates are formed in `i32`: (last output of a tile, beyond the image's edge) · stride + tap · dilation stays
//!    below 2^31 with [`TILE_MARGIN`] outputs to spare.
//! 4. `sample.wgsl` takes positions from the caller's buffer: they are limited to the image's surroundings as floats, what is no
//!    number included, before they become integers, and these are clamped again before they become an index.

use std::ops::Range;

use crate::lowered::Lowered;

/// Most outputs that a tile may reach beyond the last column (pixel blocks are at most so long).
pub(crate) const TILE_MARGIN: u64 = 64;

/// Elements, tiles and positions stay below this.
pub(crate) const INDEX_LIMIT: u64 = 1 << 31;

pub(crate) fn below(what: &str, value: u64) -> Result<(), String> {
    if value < INDEX_LIMIT {
        return Ok(());
    }
    Err(format!("{what} is {value}; kernels index with 32 bits and take less than {INDEX_LIMIT}"))
}

/// Proves the claims for a pass, or says which number is too large.
pub(crate) fn prove(pass: &Lowered) -> Result<(), String> {
    if let Some(prepare) = &pass.prepare {
        prepare.prove()?;
    }
    let channels = |of_group: u32| u64::from(pass.groups) * u64::from(of_group);
    below("the number of output channels", channels(pass.group_out))?;
    below("the number of input channels", channels(pass.group_in))?;
    let length = |window: Range<u64>| window.end - window.start;
    // With fewer channels in a window, each of its parts is a smaller one.
    let channels = pass.windows.unwrap_or(u32::MAX).min(pass.group_in);
    below("the number of input elements", length(pass.input_window(0..channels)))?;
    below("the number of output elements", length(pass.output_window()))?;
    below("the number of output pixels of the batch", pass.pixels())?;
    below("the number of weight elements", length(pass.weight_window()))?;
    // Packings round the channels of a group up to a multiple of four.
    let rounded = u64::from(pass.share.groups) * u64::from(pass.share.group_out).next_multiple_of(4);
    let packed = rounded.saturating_mul(pass.sum_length());
    below("the number of weight elements (channels of a group rounded up to 4)", packed)?;
    for (line, name) in pass.lines.iter().zip(["slice", "row", "column"]) {
        // A transposed convolution's image may begin ahead of the first tap or far behind it.
        let outputs = u64::from(line.output) + TILE_MARGIN;
        let reach =
            (outputs * u64::from(line.stride)).saturating_add(line.extent()).saturating_add(line.before.unsigned_abs());
        below(&format!("the largest padded {name} that a tile touches"), reach)?;
    }
    let [slices, rows, columns] = pass.lines.map(|line| u64::from(line.input));
    // Without images there are no elements, and planes may be of any size.
    below("the number of elements of an input plane", rows * columns)?;
    below("the number of slices", slices)?;
    below("K", pass.sum_length())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lowered::tests::one;
    use crate::split::Share;

    fn refusal(text: &str) -> String {
        prove(&one(text)).unwrap_err()
    }

    #[test]
    fn ordinary_problems_fit() {
        assert_eq!(prove(&one("n8c64h56w57o128k3p1,0,2,0")), Ok(()));
    }

    #[test]
    fn each_limit_names_its_number() {
        assert!(refusal("c1h65536w32768o1k65536x32768").contains("input elements is 2147483648"));
        assert!(refusal("c1h1w1o1k1p16384,16383,32767,32768").contains("output elements is 2147483648"));
        assert!(refusal("c65536h1w1o32768k1").contains("weight elements"));
        assert!(refusal("c0h1w1o1k1p40000").contains("output elements is 6400160001"));
        assert!(refusal("c1h1w1o1k1s4294967295").contains("largest padded row"));
        assert!(refusal("c1h1w1o1k2d2147483647p2147483647,0,2147483647,0").contains("2147483"));
        assert!(refusal("n0c1h65536w65536o1k65536x65536").contains("weight elements"));
        assert!(refusal("n0c1h65536w65536o1k1s65536").contains("plane"));
    }

    /// What becomes of an ordinary pass with this change.
    fn with(change: impl FnOnce(&mut Lowered)) -> Result<(), String> {
        let mut pass = one("n2c4z3h5w6o8k3p1g2");
        change(&mut pass);
        pass.share = Share::all(pass.groups, pass.group_out);
        prove(&pass)
    }

    /// Every number that becomes an index or a part of one, each alone at the limit in a pass that is otherwise ordinary.
    #[test]
    fn no_number_is_left_out() {
        const LIMIT: u32 = 1 << 31;
        const WIDE: u64 = INDEX_LIMIT;
        assert_eq!(with(|_| ()), Ok(()));
        type Change = fn(&mut Lowered);
        let once: [(&str, Change); 12] = [
            ("the batch", |pass| pass.batch = LIMIT),
            ("the groups", |pass| pass.groups = LIMIT),
            ("input channels of a group", |pass| pass.group_in = LIMIT),
            ("output channels of a group", |pass| pass.group_out = LIMIT),
            ("images of the input", |pass| pass.input_steps.image = WIDE),
            ("channels of the input", |pass| pass.input_steps.channel = WIDE),
            ("images of the output", |pass| pass.output_steps.image = WIDE),
            ("channels of the output", |pass| pass.output_steps.channel = WIDE),
            ("groups of the weight", |pass| pass.weight.groups = WIDE),
            ("outputs of the weight", |pass| pass.weight.outputs = WIDE),
            ("inputs of the weight", |pass| pass.weight.inputs = WIDE),
            ("taps backwards", |pass| (pass.weight.first, pass.weight.taps[2]) = (4 * WIDE, -(WIDE as i64))),
        ];
        for (name, change) in once {
            assert!(with(change).is_err(), "{name}");
        }
        type OfAxis = fn(&mut Lowered, usize);
        let for_each_axis: [(&str, OfAxis); 10] = [
            ("inputs", |pass, axis| pass.lines[axis].input = LIMIT),
            ("outputs", |pass, axis| pass.lines[axis].output = LIMIT),
            ("the kernel", |pass, axis| pass.lines[axis].kernel = LIMIT),
            ("the stride", |pass, axis| pass.lines[axis].stride = LIMIT),
            ("the dilation", |pass, axis| pass.lines[axis].dilation = LIMIT),
            ("the padding", |pass, axis| pass.lines[axis].before = WIDE as i64),
            ("the padding, of the other sign", |pass, axis| pass.lines[axis].before = -(WIDE as i64)),
            ("neighbours in the input", |pass, axis| pass.input_steps.axes[axis] = WIDE),
            ("neighbours in the output", |pass, axis| pass.output_steps.axes[axis] = WIDE),
            ("taps", |pass, axis| pass.weight.taps[axis] = WIDE as i64),
        ];
        for ((name, change), axis) in for_each_axis.iter().flat_map(|change| (0..3).map(move |axis| (change, axis))) {
            assert!(with(|pass| change(pass, axis)).is_err(), "{name} along axis {axis}");
        }
    }

    /// Together they are too large where each alone is not.
    #[test]
    fn products_and_sums_count() {
        let along = |axis: usize, change: fn(&mut crate::lowered::Line)| with(|pass| change(&mut pass.lines[axis]));
        for axis in 0..3 {
            assert!(along(axis, |line| (line.dilation, line.kernel) = (1 << 20, 1 << 12)).is_err(), "axis {axis}");
            assert!(along(axis, |line| (line.output, line.stride) = (1 << 16, 1 << 15)).is_err(), "axis {axis}");
        }
        assert!(with(|pass| (pass.lines[1].input, pass.lines[2].input) = (1 << 16, 1 << 15)).is_err());
        assert!(with(|pass| (pass.batch, pass.lines[0].output) = (1 << 16, 1 << 15)).is_err());
        assert!(with(|pass| (pass.groups, pass.group_out) = (1 << 16, 1 << 15)).is_err());
        // 3 channels of a group are 4 in a packed weight.
        assert!(with(|pass| (pass.groups, pass.group_out, pass.group_in) = (1 << 21, 3, 10)).is_err());
    }

    #[test]
    fn the_margin_counts() {
        // (1 + 64) · stride + 1 crosses 2^31 between these two strides.
        let stride = (INDEX_LIMIT - 2) / 65;
        assert!(prove(&one(&format!("c1h1w1o1k1s{stride}"))).is_ok());
        assert!(prove(&one(&format!("c1h1w1o1k1s{}", stride + 1))).is_err());
    }
}

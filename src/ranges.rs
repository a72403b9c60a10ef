//! The proof that every index a shader forms is in range of 32-bit arithmetic and of its binding.
//!
//! Kernels run without bounds checks, so what they index is settled here, once, for all of them. The claims:
//!
//! 1. Tensors have fewer than 2^31 elements, so an element's index plus an offset below 2^31 fits `u32`.
//! 2. A kernel reads the input only where the padding rule gave a row and a column of the image, or at the first element;
//!    the weight only at k < K of an existing channel quad; everything else only where an output is stored.
//! 3. Coordinates are formed in `i32`: (last output of a tile, beyond the image's edge) · stride + tap · dilation stays
//!    below 2^31 with [`TILE_MARGIN`] outputs to spare.

use crate::problem::Problem;

/// Most outputs that a tile may reach beyond the last column (pixel blocks are at most so long).
pub(crate) const TILE_MARGIN: u64 = 64;

/// Elements, tiles and positions stay below this.
pub(crate) const INDEX_LIMIT: u64 = 1 << 31;

/// Sizes of a problem, proved to fit 32 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sizes {
    pub in_plane: u32,
    pub out_plane: u32,
    pub sum_length: u32,
    pub pad_top: i32,
    pub pad_left: i32,
}

/// Proves the claims for a problem, or says which number is too large.
pub(crate) fn prove(problem: &Problem) -> Result<Sizes, String> {
    let below = |what: &str, value: u64| {
        if value < INDEX_LIMIT {
            Ok(value as u32)
        } else {
            Err(format!("{what} is {value}; kernels index with 32 bits and take less than {INDEX_LIMIT}"))
        }
    };
    let conv = problem.conv();
    let [_, _, height, width] = problem.input_shape().map(u64::from);
    let [batch, _, out_height, out_width] = problem.output_shape().map(u64::from);
    below("the number of input elements", problem.input_len())?;
    below("the number of output elements", problem.output_len())?;
    below("the number of output pixels of the batch", batch * out_height * out_width)?;
    // Packings round the channels of a group up to a multiple of four.
    let rounded = u64::from(conv.groups) * u64::from(problem.out_channels_per_group()).next_multiple_of(4);
    let packed = rounded.saturating_mul(problem.sum_length());
    below("the number of weight elements (channels of a group rounded up to 4)", packed)?;
    let padding = problem.padding();
    for (axis, name, output) in [(0, "row", out_height), (1, "column", out_width)] {
        let reach = (output + TILE_MARGIN) * u64::from(conv.stride[axis]) + problem.receptive_field()[axis];
        below(&format!("the largest padded {name} that a tile touches"), reach)?;
    }
    // Padding is below the padded size, which the reach bounds; the planes are below the tensors unless those are empty.
    Ok(Sizes {
        in_plane: below("the number of elements of an input plane", height * width)?,
        out_plane: below("the number of elements of an output plane", out_height * out_width)?,
        sum_length: below("K", problem.sum_length())?,
        pad_top: below("the padding above", padding.top.into())? as i32,
        pad_left: below("the padding on the left", padding.left.into())? as i32,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        prove(&text.parse().unwrap()).unwrap_err()
    }

    #[test]
    fn ordinary_problems_fit() {
        let sizes = prove(&"n8c64h56w57o128k3p1,0,2,0".parse().unwrap()).unwrap();
        assert_eq!((sizes.in_plane, sizes.sum_length, sizes.pad_top, sizes.pad_left), (56 * 57, 576, 1, 2));
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

    #[test]
    fn the_margin_counts() {
        // (1 + 64) · stride + 1 crosses 2^31 between these two strides.
        let stride = (INDEX_LIMIT - 2) / 65;
        assert!(prove(&format!("c1h1w1o1k1s{stride}").parse().unwrap()).is_ok());
        assert!(prove(&format!("c1h1w1o1k1s{}", stride + 1).parse().unwrap()).is_err());
    }
}

//! Orders in memory and element types. A few configurations serve all: neither changes what a kernel computes, only where and
//! how it reads and writes.

use super::{Entry, listed};

pub(super) fn layouts() -> Vec<Entry> {
    listed(&[
        ("channels-last", "n1c4h9w10o6k3p1:nhwc"),
        ("channels-last-ohwi", "n1c4h9w10o6k3p1:nhwc:ohwi"),
        ("channels-last-hwio", "n1c4h9w10o6k3p1:nhwc:hwio"),
        ("weights-ohwi", "n1c4h9w10o6k3p1:ohwi"),
        ("weights-hwio", "n1c4h9w10o6k3p1:hwio"),
        ("weights-hwio-grouped", "n1c8h9w10o6k3p1g2:hwio"),
        ("channels-last-tails", "n3c17h5w7o33k3p1:nhwc:hwio"),
        ("channels-last-grouped", "n2c12h5w6o18k3p1g3:nhwc:ohwi"),
        ("channels-last-depthwise", "n2c7h9w10o7k3p1g7:nhwc"),
        ("channels-last-one-channel", "n2c1h9w10o1k3p1:nhwc"),
        ("channels-last-pointwise", "n2c9h5w7o21k1:nhwc:hwio"),
        ("channels-last-pointwise-residual", "n2c9h5w7o21k1:nhwc+residual+relu"),
        ("channels-last-strided", "n1c4h9w10o6k3s2x1p1:nhwc"),
        ("channels-last-long-sums", "n1c600h5w5o9k3p1:nhwc"),
        ("channels-last-line", "n2c4w33o6k3p1:nhwc:hwio"),
        ("channels-last-volume", "n2c4z4h5w6o6k3p1:nhwc:ohwi"),
        ("channels-last-transposed", "n2c6h5w7o8k3s2p1:transposed=1:nhwc:hwio"),
        ("transposed-weights-ohwi", "n2c6h5w7o8k3s2p1g2:transposed=1:ohwi"),
    ])
}

pub(super) fn halves() -> Vec<Entry> {
    listed(&[
        ("half", "n1c4h9w10o6k3p1:f16"),
        ("half-odd-sizes", "n3c5h7w9o7k3p1:f16"),
        ("half-one-output", "n1c3h3w3o1k3:f16"),
        ("half-depthwise", "n1c7h9w10o7k3p1g7:f16"),
        ("half-long-sums", "n1c600h5w5o9k3p1:f16"),
        ("half-pointwise-residual-relu", "n2c9h5w7o21k1:f16+residual+relu"),
        ("half-channels-last", "n2c9h5w7o21k1:f16:nhwc:hwio+residual+relu"),
        ("half-sums-of-several-parts", "n1c5000h3w3o5k1:f16+residual+relu"),
        ("half-transposed", "n2c6h5w7o8k3s2p1:transposed=1:f16"),
    ])
}

pub(super) fn integers() -> Vec<Entry> {
    listed(&[
        ("integers", "n1c4h9w10o6k3p1:i8_i8_i32"),
        ("integers-unsigned-input", "n1c4h9w10o6k3p1:u8_i8_i32:nobias"),
        ("integers-unsigned-both", "n1c5h9w10o6k3p1:u8_u8_i32"),
        ("integers-weight-zero-points", "n2c7h8w9o9k3p1:i8_i8z_i32"),
        ("integers-all-zero-points", "n2c7h8w9o9k3p1,0,2,1:u8_u8z_i32"),
        ("integers-requantized", "n2c8h9w10o12k3p1:i8_i8_i8"),
        ("integers-requantized-unsigned", "n2c8h9w10o12k3p1:u8_i8_u8"),
        ("integers-requantized-all-zero-points", "n3c6h7w9o10k3p1:u8_u8z_u8"),
        ("integers-odd-sizes", "n3c5h7w9o7k3:i8_i8_i8"),
        ("integers-one-output", "n1c3h3w3o1k3:u8_i8_u8"),
        ("integers-stride-and-dilation", "n1c6h13w15o8k3s2x3p2d2x1:u8_i8_i8"),
        ("integers-groups", "n2c12h8w9o18k3p1g3:u8_u8_u8"),
        ("integers-depthwise", "n1c9h9w10o9k3p1g9:u8_i8z_u8"),
        ("integers-pointwise", "n2c33h7w9o20k1:u8_i8_u8"),
        ("integers-pointwise-strided", "n1c16h9w9o8k1s2:i8_i8_i8"),
        ("integers-long-sums", "n1c700h4w4o2k3p1:i8_i8_i8"),
        ("integers-large-kernel", "n1c3h20w21o5k9p4:u8_i8_u8"),
        ("integers-reflect", "n1c5h8w9o6k3p2:reflect:u8_i8_u8"),
        ("integers-circular", "n1c5h8w9o6k3p2:circular:u8_u8_i32"),
        ("integers-line", "n2c10w57o12k5s2p3:u8_i8_u8"),
        ("integers-volume", "n1c5z5h6w7o6k3p1:u8_u8z_i8"),
        ("integers-channels-last", "n2c9h5w7o21k3p1:u8_i8_u8:nhwc:ohwi"),
        ("integers-channels-last-sums", "n2c6h5w7o5k2x3:i8_u8z_i32:nhwc:hwio"),
        ("integers-relu", "n1c8h9w10o12k3p1:i8_i8_i8+relu"),
        ("integers-clip", "n1c8h9w10o12k3p1:u8_i8_u8+clip=-0.5,2"),
        ("integers-sigmoid", "n1c8h9w10o12k3p1:u8_i8_u8+sigmoid"),
        ("integers-prelu", "n1c8h9w10o12k3p1:u8_i8_i8+prelu"),
        ("integers-no-batch", "n0c4h9w10o6k3p1:u8_i8_u8"),
        ("integers-no-input-channels", "n1c0h4w4o3k3p1:u8_i8_i32"),
    ])
}

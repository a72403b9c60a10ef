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

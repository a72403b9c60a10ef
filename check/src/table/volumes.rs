//! Volumes: problems of three spatial axes. What lies along slices is no part of a shader, so that sweeps of it are cheap.

use super::{Entry, listed};

pub(super) fn volumes() -> Vec<Entry> {
    listed(&[
        ("volume", "n1c3z4h5w6o4k3p1"),
        ("volume-only-batch", "n2c3z4h5w6o4k3p1"),
        ("volume-only-unpadded", "n1c3z4h5w6o4k3"),
        ("volume-only-pointwise", "n2c9z3h4w5o7k1"),
        ("volume-only-groups", "n1c4z4h5w6o6k3p1g2"),
        ("volume-only-nobias", "n1c3z4h5w6o4k3p1:nobias"),
        ("volume-only-residual", "n1c3z4h5w6o4k3p1+residual"),
        ("volume-only-activation", "n1c3z4h5w6o4k3p1+relu"),
        ("volume-all-at-once", "n2c4z6h5w6o6k3s2x1x1p2,1,0,1,1,0d2x1x1g2:reflect:nobias+residual+relu"),
        // Kernels.
        ("volume-kernel-of-one-slice", "n1c3z4h5w6o4k1x3x3p0x1x1"),
        ("volume-kernel-of-slices-only", "n1c3z6h5w4o4k3x1x1p1x0x0"),
        ("volume-kernel-of-slices-only-strided", "n1c3z9h3w4o4k3x1x1s2x1x1p1x0x0"),
        ("volume-kernel-2", "n2c3z4h5w6o4k2"),
        ("volume-kernel-5x3x3", "n1c3z6h4w5o4k5x3x3p2x1x1"),
        ("volume-kernel-2x5x5-beyond-49-taps", "n1c2z4h6w7o3k2x5x5p1x2x2"),
        ("volume-kernel-4", "n1c2z5h6w5o3k4p1"),
        ("volume-kernel-as-large-as-the-volume", "n1c5z3h3w3o9k3"),
        // Strides, dilations.
        ("volume-stride-of-slices", "n1c3z7h4w5o4k3s2x1x1p1"),
        ("volume-stride-of-rows-and-columns", "n1c3z3h7w8o4k3s1x2x2p1"),
        ("volume-stride-2", "n1c3z6h7w8o4k3s2p1"),
        ("volume-stride-3-of-slices-unused-last", "n1c3z9h3w4o4k3s3x1x1p0x1x1"),
        ("volume-stride-2-pointwise", "n1c3z5h6w7o4k1s2"),
        ("volume-dilation-of-slices", "n1c3z7h4w5o4k3p2x1x1d2x1x1"),
        ("volume-dilation-2", "n1c3z6h6w7o4k3p2d2"),
        ("volume-dilation-beyond-the-slices", "n1c3z3h4w5o4k3p5x1x1d5x1x1"),
        ("volume-stride-and-dilation-of-slices", "n1c3z9h4w5o4k3s2x1x1p2x1x1d3x1x1"),
        // Paddings: each side of the slices, and all six sides different.
        ("volume-padding-of-slices", "n1c3z4h5w6o4k3p1x0x0"),
        ("volume-padding-ahead-of-slices", "n1c3z4h5w6o4k3p2,0,0,0,0,0"),
        ("volume-padding-behind-slices", "n1c3z4h5w6o4k3p0,2,0,0,0,0"),
        ("volume-padding-six-sides", "n1c3z3h4w3o4k3p1,2,0,3,2,1"),
        ("volume-padding-larger-than-the-volume", "n1c2z1h2w1o3k3p4,0,3,1,2,5"),
        ("volume-causal", "n1c3z5h4w5o4k3p2,0,1,1,1,1"),
        ("volume-same", "n1c3z5h6w7o4k3s2psame"),
        ("volume-reflect", "n1c3z4h5w6o4k3p1:reflect"),
        ("volume-reflect-slices", "n1c3z4h5w6o4k3p3,2,0,0,0,0:reflect"),
        ("volume-replicate", "n1c3z4h5w6o4k3p1:replicate"),
        ("volume-replicate-slices", "n1c3z2h5w6o4k3p5,4,0,0,0,0:replicate"),
        ("volume-circular", "n1c3z4h5w6o4k3p1:circular"),
        ("volume-circular-slices", "n1c3z3h5w6o4k3p3,2,0,0,0,0:circular"),
        // Groups.
        ("volume-depthwise", "n1c5z4h5w6o5k3p1g5"),
        ("volume-depthwise-of-slices", "n2c9z5h3w4o9k3x1x1p1x0x0g9"),
        ("volume-multiplier-2", "n1c3z3h4w5o6k3p1g3"),
        ("volume-groups-3-of-5-to-7", "n1c15z3h3w4o21k3p1g3"),
        // Sizes.
        ("volume-of-one-slice", "n1c3z1h5w6o4k3p1"),
        ("volume-of-one-row", "n1c3z5h1w6o4k3p1"),
        ("volume-of-one-element", "n3c5z1h1w1o9k3p1"),
        ("volume-wide", "n1c2z2h2w65o3k3p1"),
        ("volume-of-many-slices", "n1c1z300h2w2o2k3p1"),
        ("volume-pointwise-of-many-slices", "n1c2z1001h1w2o3k1"),
        ("volume-out-channels-33", "n1c3z3h3w4o33k3p1"),
        ("volume-in-channels-17", "n2c17z2h3w4o5k3p1"),
        ("volume-channels-16-to-16", "n1c16z3h3w3o16k3p1"),
        ("volume-long-sum", "n1c200z2h3w3o2k3p1"),
        ("volume-few-outputs-of-long-sums", "n1c64z2h2w2o8k3p1"),
        ("volume-no-input-channels", "n1c0z3h4w5o6k3p1"),
        // More than 49 taps.
        ("volume-first-layer-of-video", "n1c3z4h10w10o6k3x7x7s1x2x2p1x3x3"),
    ])
}

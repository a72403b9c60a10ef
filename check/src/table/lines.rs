//! Lines: problems of one spatial axis. Most have a kernel of three taps, so that they share few shaders.

use super::{Entry, listed};

pub(super) fn lines() -> Vec<Entry> {
    let mut entries = listed(&[
        ("line", "n1c4w33o6k3p1"),
        ("line-only-batch", "n3c4w33o6k3p1"),
        ("line-only-pointwise", "n3c9w21o7k1"),
        ("line-only-kernel-7", "n1c4w33o6k7p3"),
        ("line-only-stride", "n1c4w33o6k3s2p1"),
        ("line-only-padding", "n1c4w33o6k3p0,4"),
        ("line-only-dilation", "n1c4w33o6k3p4d4"),
        ("line-only-groups", "n1c8w33o6k3p1g2"),
        ("line-only-reflect", "n1c4w33o6k3p4:reflect"),
        ("line-only-replicate", "n1c4w33o6k3p4:replicate"),
        ("line-only-circular", "n1c4w33o6k3p4:circular"),
        ("line-only-nobias", "n1c4w33o6k3p1:nobias"),
        ("line-only-residual", "n1c4w33o6k3p1+residual"),
        ("line-only-activation", "n1c4w33o6k3p1+relu"),
        ("line-all-at-once", "n2c8w33o6k3s2p3,4d4g2:reflect:nobias+residual+relu"),
        ("line-causal", "n2c4w33o6k3p2,0"),
        ("line-causal-dilated", "n1c4w33o6k3p8,0d4"),
        ("line-depthwise", "n2c9w33o9k3p1g9"),
        ("line-groups-16", "n1c32w40o32k3p1g16"),
        ("line-first-layer-of-audio", "n1c1w400o17k10s5"),
        ("line-layer-of-audio", "n1c24w85o20k10s5"),
        ("line-long", "n1c3w4099o3k3p1"),
        ("line-columns-70000", "n1c1w70000o1k1"),
        ("line-kernel-64", "n1c2w100o3k64s2p32"),
        ("line-kernel-as-long-as-the-line", "n1c5w7o9k7"),
        ("line-same", "n1c3w10o4k3s2psame"),
        ("line-reflect-extreme", "n1c3w5o4k3p4:reflect"),
        ("line-one-output-of-a-long-sum", "n1c1500w3o4k3p1"),
        ("line-few-outputs-of-long-sums", "n1c512w5o8k3p1"),
        ("line-no-input-channels", "n1c0w33o6k3p1"),
        ("line-channels-17-to-33", "n1c17w9o33k3p1"),
    ]);
    let tail = |w| Entry::new(format!("line-of-{w}"), format!("n1c3w{w}o5k3p1"));
    entries.extend([1, 2, 8, 15, 16, 17, 32, 65].map(tail));
    entries
}

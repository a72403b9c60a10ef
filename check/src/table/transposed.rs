//! Transposed convolutions over lines, images and volumes. Which taps meet in an output depends on its remainder by the
//! stride, so that one problem has several shaders: kernels, strides and dilations recur.

use super::Entry;

/// Each is written without its last option, `:transposed`, which comes after the sizes; `rest` is what follows it.
fn transposed(rows: &[(&str, &str, &str)]) -> Vec<Entry> {
    let entry = |&(name, sizes, rest): &(&str, &str, &str)| {
        Entry::new(format!("transposed-{name}"), format!("{sizes}:transposed{rest}"))
    };
    rows.iter().map(entry).collect()
}

pub(super) fn lines() -> Vec<Entry> {
    let mut entries = transposed(&[
        ("line", "n1c4w9o6k4s2p1", ""),
        ("line-stride-1", "n1c4w9o6k3", ""),
        ("line-stride-1-padded", "n1c4w9o6k3p1", ""),
        ("line-kernel-beyond-stride", "n1c4w9o6k3s2", ""),
        ("line-output-padding", "n1c4w9o6k3s2p1", "=1"),
        ("line-kernel-as-stride", "n1c4w9o6k2s2", ""),
        ("line-kernel-below-stride", "n1c4w9o6k3s4", ""),
        ("line-kernel-below-stride-output-padding", "n1c4w9o6k3s4", "=3"),
        ("line-pointwise-stride-3", "n2c4w9o6k1s3", ""),
        ("line-kernel-5-stride-3", "n1c4w9o6k5s3p1", "=2"),
        ("line-padding-larger-than-the-stride", "n1c4w9o6k4s2p3", ""),
        ("line-padding-at-the-beginning", "n1c4w9o6k4s2p5,0", ""),
        ("line-padding-at-the-end", "n1c4w9o6k4s2p0,6", ""),
        ("line-one-output-left", "n1c4w3o6k4s2p3,4", ""),
        ("line-dilation", "n1c4w9o6k3p1d2", ""),
        ("line-dilation-output-padding", "n1c4w9o6k3p1d2", "=1"),
        ("line-stride-and-dilation-2", "n1c4w9o6k3s2d2", ""),
        ("line-stride-2-dilation-3", "n1c4w9o6k3s2p2d3", ""),
        ("line-stride-4-dilation-6", "n1c4w9o6k3s4p2d6", "=5"),
        ("line-same", "n1c4w9o6k3s2psame", ""),
        ("line-batch", "n3c4w9o6k4s2p1", ""),
        ("line-groups", "n1c8w9o6k4s2p1g2", ""),
        ("line-depthwise", "n2c9w11o9k4s2p1g9", ""),
        ("line-vocoder", "n1c16w12o8k16s8p4", ""),
        ("line-long", "n1c2w1001o3k4s2p1", ""),
        ("line-channels-17-to-33", "n1c17w9o33k4s2p1", ""),
        ("line-long-sum", "n1c2200w3o2k4s2p1", ""),
        ("line-everything", "n2c8w9o6k4s2p3,1g2", "=1:nobias+residual+relu"),
    ]);
    let tail = |w| Entry::new(format!("transposed-line-of-{w}"), format!("n1c3w{w}o5k3s2p1:transposed=1"));
    entries.extend([1, 2, 8, 17, 33].map(tail));
    entries
}

pub(super) fn images() -> Vec<Entry> {
    transposed(&[
        ("image", "n1c4h5w6o6k4s2p1", ""),
        ("image-stride-1", "n1c4h5w6o6k3", ""),
        ("image-stride-1-padding-beyond-the-kernel", "n1c4h9w10o6k3p4", ""),
        ("image-stride-2", "n1c4h5w6o6k3s2", ""),
        ("image-stride-2-output-padding", "n1c4h5w6o6k3s2p1", "=1"),
        ("image-stride-2x1", "n1c4h5w6o6k3s2x1p1", "=1x0"),
        ("image-stride-1x2", "n1c4h5w6o6k3s1x2p1", "=0x1"),
        ("image-stride-2x3", "n1c4h5w6o6k3s2x3p1", "=1x2"),
        ("image-kernel-as-stride", "n1c4h5w6o6k2s2", ""),
        ("image-kernel-below-stride", "n1c4h4w5o6k2s4", ""),
        ("image-kernel-below-stride-everything", "n2c4h4w5o6k2s4p1g2", "=3x2:nobias+residual+relu"),
        ("image-pointwise", "n1c4h5w6o6k1", ""),
        ("image-pointwise-stride-2", "n1c4h5w6o6k1s2", "=1"),
        ("image-kernel-8-stride-2", "n1c3h4w5o4k8s2p3", ""),
        ("image-kernel-8-stride-1", "n1c2h5w6o3k8p3", ""),
        ("image-kernel-4x3-stride-2x1", "n1c4h5w6o6k4x3s2x1p1", ""),
        ("image-padding-sides", "n1c4h5w6o6k4s2p0,3,2,1", ""),
        ("image-dilation", "n1c4h5w6o6k3p2d2", ""),
        ("image-stride-and-dilation-2", "n1c4h5w6o6k3s2p1d2", ""),
        ("image-same", "n1c4h5w6o6k3s2psame", ""),
        ("image-samelower", "n1c4h5w6o6k4s2psamelower", ""),
        ("image-batch", "n3c4h5w6o6k4s2p1", ""),
        ("image-no-input-channels", "n2c0h5w6o6k4s2p1", ""),
        ("image-groups", "n1c6h5w6o4k4s2p1g2", ""),
        ("image-depthwise", "n1c9h5w6o9k4s2p1g9", ""),
        ("image-multiplier-3", "n1c3h5w6o9k4s2p1g3", ""),
        ("image-residual-relu-tails", "n2c3h5w7o17k4s2p1", "+residual+relu"),
        ("image-prelu-grouped", "n1c4h3w4o6k2s2g2", "+prelu"),
        ("image-gelu-between-taps", "n1c2h3w4o5k2s4", "+gelu"),
        ("image-channels-16-to-64", "n1c16h3w4o64k4s2p1", ""),
        ("image-wide", "n1c2h2w65o3k4s2p1", ""),
        ("image-few-outputs-of-long-sums", "n1c300h2w2o4k4s2p1", ""),
        ("image-decoder", "n1c32h7w7o16k4s2p1", ""),
    ])
}

pub(super) fn volumes() -> Vec<Entry> {
    transposed(&[
        ("volume", "n1c3z3h4w3o4k4s2p1", ""),
        ("volume-stride-1", "n1c3z3h4w5o4k3p1", ""),
        ("volume-stride-of-slices", "n1c3z3h4w5o4k3s2x1x1p1", "=1x0x0"),
        ("volume-stride-of-images", "n1c3z3h4w3o4k3x4x4s1x2x2p1", "=0x1x0"),
        ("volume-kernel-as-stride", "n2c3z3h4w3o4k2s2", ""),
        ("volume-kernel-below-stride", "n1c3z2h3w2o4k2s3", "=2"),
        ("volume-kernel-of-slices-only", "n1c3z5h3w4o4k4x1x1s2x1x1p1x0x0", ""),
        ("volume-kernel-of-one-slice", "n1c3z3h4w5o4k1x4x4s1x2x2p0x1x1", ""),
        ("volume-padding-six-sides", "n1c3z4h5w4o4k4s2p3,0,1,2,0,4", ""),
        ("volume-dilation-of-slices", "n1c3z3h4w5o4k3p1d2x1x1", "=1x0x0"),
        ("volume-stride-2-dilation-3-of-slices", "n1c3z3h3w4o4k3s2x1x1p1d3x1x1", ""),
        ("volume-dilation-2", "n1c3z3h4w3o4k3p2d2", ""),
        ("volume-tails", "n1c3z2h3w5o17k4s2p1", ""),
        ("volume-same", "n1c3z3h4w3o4k4s2psame", ""),
        ("volume-groups", "n1c4z3h4w3o6k4s2p1g2", ""),
        ("volume-depthwise", "n1c5z3h4w3o5k4s2p1g5", ""),
        ("volume-everything", "n2c4z2h3w4o6k4s2p1,0,2,1,0,1g2", "=1:nobias+residual+relu"),
        ("volume-long-sum", "n1c300z2h2w1o2k4s2p1", ""),
    ])
}

//! Geometry: kernel sizes, strides, dilations and paddings.

use super::{Entry, listed};

pub(super) fn kernels() -> Vec<Entry> {
    let sizes = ["2", "1x3", "3x1", "2x3", "4", "5", "5x3", "1x7", "7x1", "7", "8", "11", "5x10", "9x7"];
    let entry = |k| Entry::new(format!("kernel-{k}"), format!("n1c3h15w16o4k{k}"));
    let grouped = |k| Entry::new(format!("kernel-{k}-grouped"), format!("n2c4h11w9o6k{k}p1g2"));
    let tails = |k| Entry::new(format!("kernel-{k}-tails"), format!("n1c5h8w12o17k{k}p3"));
    // More than 49 taps are for the generic pipelines.
    let mut entries: Vec<Entry> = sizes.into_iter().map(entry).collect();
    entries.extend(["2", "1x3", "3x1", "2x3", "4", "5", "5x3", "1x7", "7x1", "7", "8", "9x7"].map(grouped));
    entries.extend(["2", "1x3", "3x1", "2x3", "4", "5", "5x3", "1x7", "7x1", "7", "8", "9x7"].map(tails));
    entries.extend(listed(&[
        ("kernel-1x51", "n1c3h2w55o4k1x51"),
        ("kernel-51x1", "n1c3h55w2o4k51x1"),
        ("kernel-as-large-as-the-image", "n1c3h5w5o4k5"),
        ("kernel-larger-than-the-image", "n1c3h3w2o4k5p2"),
        ("kernel-11-stride-4", "n1c3h35w35o6k11s4p2"),
        ("kernel-8-padded", "n1c2h9w10o3k8p4"),
        ("kernel-8-everything", "n2c4h12w11o6k8s2x1p3,4,2,5d1x2g2:replicate+residual+relu"),
        ("kernel-9-depthwise", "n1c5h12w11o5k9p4g5"),
        ("kernel-10-reflect", "n1c2h11w12o3k10p5:reflect"),
        ("kernel-8-sigmoid", "n1c2h9w9o3k8+sigmoid"),
        ("kernel-8-nobias", "n1c2h9w9o3k8p1:nobias"),
        ("kernel-8-prelu", "n1c2h9w9o3k8p1:nobias+residual+prelu"),
    ]));
    entries
}

pub(super) fn strides_and_dilations() -> Vec<Entry> {
    listed(&[
        ("stride-2", "n1c3h17w19o4k3s2"),
        ("stride-2-even-input", "n1c3h16w18o4k3s2"),
        ("stride-2-unused-last-column", "n1c3h6w6o4k3s2p1"),
        ("stride-2-without-effect", "n1c4h3w3o5k3s2"),
        ("stride-3", "n1c3h17w19o4k3s3"),
        ("stride-3-unused-columns", "n1c3h8w9o4k3s3"),
        ("stride-2x1", "n1c3h17w19o4k3s2x1"),
        ("stride-2x3", "n1c3h17w19o4k3s2x3"),
        ("stride-2x3-padded", "n1c3h8w11o5k3s2x3p1"),
        ("stride-2x3-grouped", "n2c4h8w11o6k3s2x3p2g2"),
        ("stride-larger-than-the-kernel", "n1c3h40w41o4k3s17"),
        ("stride-larger-than-the-image", "n1c3h5w6o4k3s17p1"),
        ("stride-2-pointwise", "n1c3h17w19o4k1s2"),
        ("stride-2-pointwise-grouped", "n2c6h8w9o4k1s2g2"),
        ("stride-3-pointwise", "n1c3h17w19o4k1s3"),
        ("stride-4-row-kernel-4", "n1c3h2w23o5k1x4s1x4"),
        ("dilation-2", "n1c3h17w19o4k3d2"),
        ("dilation-2-padded-to-the-same-size", "n1c3h9w10o4k3p2d2"),
        ("dilation-3", "n1c3h17w19o4k3d3"),
        ("dilation-3-mostly-padding", "n1c3h5w4o4k3p3d3"),
        ("dilation-1x2", "n1c3h17w19o4k3d1x2"),
        ("dilation-2x3", "n1c3h17w19o4k3d2x3"),
        ("dilation-2x3-padded", "n1c3h8w9o5k3p2x3d2x3"),
        ("dilation-as-far-as-the-image", "n1c3h17w19o4k3d8x9"),
        ("dilation-beyond-the-image", "n1c3h4w5o4k3p8x9d8x9"),
        ("dilation-2-stride-2", "n1c3h17w19o4k3s2d2"),
        ("dilation-2-stride-2-padded", "n1c3h9w10o4k3s2p2d2"),
        ("dilation-1x2-stride-2x1", "n1c3h17w19o4k3s2x1d1x2"),
        ("dilation-2x3-stride-5x4", "n1c3h17w19o4k3s5x4d2x3"),
        ("dilation-2x3-stride-5x4-padded", "n1c3h9w10o4k3s5x4p4d2x3"),
    ])
}

pub(super) fn paddings() -> Vec<Entry> {
    let amounts = [
        ("1x0", "1x0"),
        ("0x1", "0x1"),
        ("2", "2"),
        ("2x1", "2x1"),
        ("end", "0,1,0,1"),
        ("begin", "1,0,1,0"),
        ("left", "0,0,2,0"),
        ("right", "0,0,0,2"),
        ("top", "2,0,0,0"),
        ("bottom", "0,2,0,0"),
        ("four-sides", "1,2,3,0"),
        ("larger-than-the-kernel", "5"),
        ("larger-than-the-kernel-at-the-end", "0,6,0,7"),
    ];
    let entry = |(name, p)| Entry::new(format!("padding-{name}"), format!("n1c3h6w7o4k3p{p}"));
    let mut entries: Vec<Entry> = amounts.into_iter().map(entry).collect();
    entries.extend(listed(&[
        ("padding-larger-than-the-input", "n1c3h2w3o4k3p4"),
        ("padding-much-larger-than-the-input", "n1c2h1w1o3k3p20"),
        ("padding-larger-than-the-input-strided", "n1c3h2w3o4k3s2p5,0,0,6"),
        ("padding-pointwise", "n1c3h4w5o4k1p1"),
        ("padding-pointwise-strided", "n1c3h4w5o4k1s2p1,0,2,1"),
        ("padding-even-kernel", "n1c3h6w7o4k2p1"),
        ("padding-four-sides-strided", "n1c3h9w10o4k3s2p1,2,0,3"),
        ("padding-four-sides-dilated", "n1c3h9w10o4k3p1,2,3,0d2"),
        ("padding-four-sides-grouped", "n2c4h6w7o6k3p2,0,1,3g2"),
        ("padding-only-seen-by-the-last-output", "n1c3h5w5o4k3p0,1,0,2"),
    ]));
    entries
}

pub(super) fn padding_modes() -> Vec<Entry> {
    let mut entries = Vec::new();
    // The extremes: reflect reaches the opposite edge, circular the whole image; replicate has no limit.
    for (mode, extreme) in [("reflect", "3x4"), ("replicate", "9,7,8,11"), ("circular", "4x5")] {
        for (what, problem) in [
            ("", "n1c3h6w7o4k3p1"),
            ("-four-sides", "n1c3h6w7o4k3p1,2,3,0"),
            ("-begin", "n1c3h6w7o4k3p2,0,1,0"),
            ("-end", "n1c3h6w7o4k3p0,3,0,2"),
            ("-grouped", "n2c4h6w7o6k3p1g2"),
            ("-depthwise", "n1c5h6w7o5k3p1g5"),
            ("-wide", "n1c2h3w65o3k3p2"),
            ("-tails", "n3c5h4w6o17k3p1"),
            ("-strided-dilated", "n1c3h9w10o4k3s2p2d2"),
            ("-strided-dilated-four-sides", "n2c4h8w9o6k3s2p2,1,1,2d2g2"),
        ] {
            entries.push(Entry::new(format!("{mode}{what}"), format!("{problem}:{mode}")));
        }
        entries.push(Entry::new(format!("{mode}-extreme"), format!("n1c2h4w5o3k3p{extreme}:{mode}")));
    }
    entries.extend(listed(&[
        ("replicate-one-pixel", "n1c3h1w1o4k3p3:replicate"),
        ("circular-one-pixel", "n1c3h1w1o4k3p1:circular"),
        ("reflect-two-by-two", "n1c3h2w2o4k3p1:reflect"),
        ("reflect-one-row", "n1c3h1w7o4k1x3p0x1:reflect"),
        ("reflect-same-strided-dilated", "n1c3h7w8o4k3s2psamed2:reflect"),
        ("circular-samelower", "n1c3h7w8o4k3psamelower:circular"),
        ("replicate-pointwise", "n1c3h4w5o4k1p2:replicate"),
        ("replicate-pointwise-four-sides", "n2c3h4w5o4k1p9,0,2,7:replicate"),
        ("reflect-nobias", "n1c3h7w8o9k3p1:reflect:nobias"),
        ("reflect-residual", "n1c3h7w8o9k3p1:reflect+residual"),
        ("reflect-relu", "n1c3h7w8o9k3p1:reflect+relu"),
    ]));
    entries
}

pub(super) fn named_paddings() -> Vec<Entry> {
    let mut entries = Vec::new();
    for padding in ["same", "samelower"] {
        for (kernel, stride) in [(3, 1), (3, 2), (3, 3), (4, 1), (4, 2), (4, 3)] {
            let s = if stride == 1 { String::new() } else { format!("s{stride}") };
            for (parity, size) in [("even", "h8w12"), ("odd", "h9w7")] {
                let name = format!("{padding}-kernel-{kernel}-stride-{stride}-{parity}");
                entries.push(Entry::new(name, format!("n1c3{size}o4k{kernel}{s}p{padding}")));
            }
        }
        for (what, problem) in [
            ("kernel-2", "n1c3h5w6o4k2"),
            ("kernel-5", "n1c2h10w11o3k5"),
            ("kernel-below-stride", "n1c3h10w11o4k1s3"),
            ("two-axes", "n1c3h9w8o4k2x3s2x1"),
        ] {
            entries.push(Entry::new(format!("{padding}-{what}"), format!("{problem}p{padding}")));
        }
        entries.push(Entry::new(format!("{padding}-dilated"), format!("n1c3h9w10o4k3s2p{padding}d2")));
        entries.push(Entry::new(format!("{padding}-dilated-even"), format!("n1c3h9w10o4k2p{padding}d3")));
    }
    entries.extend(listed(&[("valid", "n1c3h6w7o4k3pvalid"), ("valid-stride-2", "n1c3h9w8o4k3s2pvalid")]));
    entries
}

//! Parameters alone and in pairs, groups, rows of one dimension, epilogues, and shapes that broke others.

use super::{Entry, listed};

/// A problem of which some fields are set; the rest is as plain as it can be.
#[derive(Clone, Copy)]
struct Fields {
    n: u32,
    k: &'static str,
    s: &'static str,
    p: &'static str,
    d: &'static str,
    g: &'static str,
    mode: &'static str,
    bias: &'static str,
    residual: &'static str,
    activation: &'static str,
}

/// 4 channels of 9 × 10 to 6 channels, 3 × 3, padding 1.
const PLAIN: Fields =
    Fields { n: 1, k: "3", s: "", p: "p1", d: "", g: "", mode: "", bias: "", residual: "", activation: "" };

impl Fields {
    fn text(&self) -> String {
        let Self { n, k, s, p, d, g, mode, bias, residual, activation } = self;
        format!("n{n}c4h9w10o6k{k}{s}{p}{d}{g}{mode}{bias}{residual}{activation}")
    }
}

/// A name and what it changes.
type Change = (&'static str, fn(&mut Fields));

/// One change for every parameter; no two touch the same field.
const CHANGES: [Change; 10] = [
    ("batch", |f| f.n = 2),
    ("kernel", |f| f.k = "2x3"),
    ("stride", |f| f.s = "s2x1"),
    ("padding", |f| f.p = "p0,1,2,1"),
    ("dilation", |f| f.d = "d1x2"),
    ("groups", |f| f.g = "g2"),
    ("mode", |f| f.mode = ":reflect"),
    ("nobias", |f| f.bias = ":nobias"),
    ("residual", |f| f.residual = "+residual"),
    ("activation", |f| f.activation = "+relu"),
];

pub(super) fn alone() -> Vec<Entry> {
    let mut entries = vec![Entry::new("plain", PLAIN.text())];
    for (name, change) in CHANGES {
        let mut fields = PLAIN;
        change(&mut fields);
        entries.push(Entry::new(format!("only-{name}"), fields.text()));
    }
    entries
}

pub(super) fn pairs() -> Vec<Entry> {
    let mut entries = Vec::new();
    for (index, (first_name, first)) in CHANGES.into_iter().enumerate() {
        for (second_name, second) in CHANGES.into_iter().skip(index + 1) {
            let mut fields = PLAIN;
            first(&mut fields);
            second(&mut fields);
            entries.push(Entry::new(format!("{first_name}-and-{second_name}"), fields.text()));
        }
    }
    let mut all = PLAIN;
    CHANGES.iter().for_each(|(_, change)| change(&mut all));
    entries.push(Entry::new("all-parameters-at-once", all.text()));
    entries
}

pub(super) fn groups() -> Vec<Entry> {
    listed(&[
        ("groups-2", "n1c8h6w7o8k3p1g2"),
        ("groups-3-of-5-to-5", "n1c15h6w7o15k3p1g3"),
        ("groups-3-of-2-to-3", "n1c6h6w7o9k3p1g3"),
        ("groups-2-of-2-to-5", "n1c4h6w7o10k3p1g2"),
        ("groups-5-of-3-to-7", "n2c15h5w6o35k3p1g5"),
        ("groups-4-of-16-to-16", "n1c64h4w5o64k3p1g4"),
        ("groups-2-of-33-to-17", "n1c66h4w5o34k1g2"),
        ("groups-3-of-7-to-1", "n1c21h5w6o3k3p1g3"),
        ("groups-8-pointwise", "n1c32h6w7o40k1g8"),
        ("groups-2-strided", "n1c8h9w10o6k3s2p1g2"),
        ("groups-2-dilated", "n1c8h9w10o6k3p2d2g2"),
        ("groups-2-of-65-channels-out", "n1c4h4w5o130k3p1g2"),
        ("depthwise-1-channel-each", "n1c7h9w10o7k3p1g7"),
        ("depthwise-batch-3", "n3c4h6w7o4k3p1g4"),
        ("depthwise-strided", "n1c6h9w10o6k3s2p1g6"),
        ("depthwise-dilated", "n1c6h9w10o6k3p2d2g6"),
        ("depthwise-dilated-and-strided", "n1c6h11w12o6k3s2p2d2g6"),
        ("depthwise-5x5", "n1c6h9w10o6k5p2g6"),
        ("depthwise-7x7", "n1c6h11w12o6k7p3g6"),
        ("depthwise-pointwise", "n1c9h5w6o9k1g9"),
        ("depthwise-33-channels", "n1c33h6w7o33k3p1g33"),
        ("depthwise-wide", "n1c2h5w67o2k3p1g2"),
        ("depthwise-same-stride-2", "n1c5h8w9o5k3s2psameg5"),
        ("multiplier-2", "n1c5h6w7o10k3p1g5"),
        ("multiplier-3", "n1c5h6w7o15k3p1g5"),
        ("multiplier-5-strided", "n1c3h9w10o15k3s2p1g3"),
        ("multiplier-17", "n1c2h6w7o34k3p1g2"),
        ("depthwise-relu", "n1c8h6w7o8k3p1g8+relu"),
        ("depthwise-relu6-pointwise", "n1c8h6w7o8k1g8+clip=0,6"),
        ("depthwise-residual-relu", "n1c8h6w7o8k3p1g8+residual+relu"),
    ])
}

/// A row of one dimension is an image with one row.
pub(super) fn one_dimensional() -> Vec<Entry> {
    listed(&[
        ("row-kernel-3", "n1c4h1w33o6k1x3p0x1"),
        ("row-unpadded", "n2c4h1w20o6k1x3"),
        ("row-causal", "n1c4h1w33o6k1x3p0,0,2,0"),
        ("row-causal-dilated", "n1c4h1w33o6k1x3p0,0,8,0d1x4"),
        ("row-strided", "n1c4h1w33o6k1x3s1x2p0x1"),
        ("row-kernel-stride-both-4", "n1c4h1w32o6k1x4s1x4"),
        ("row-pointwise", "n3c9h1w21o7k1"),
        ("row-grouped", "n1c8h1w33o8k1x3p0x1g4"),
        ("row-depthwise", "n1c9h1w33o9k1x3p0x1g9"),
        ("row-depthwise-causal", "n2c6h1w17o6k1x3p0,0,2,0g6"),
        ("row-long", "n1c2h1w1000o3k1x7p0x3"),
        ("row-long-odd", "n1c2h1w257o3k1x7p0x3"),
        ("row-first-layer-of-audio", "n1c1h1w800o8k1x4s1x4p0x2"),
        ("row-reflect", "n1c3h1w12o4k1x3p0x4:reflect"),
        ("row-kernel-64", "n1c2h1w100o3k1x64s1x2p0x32"),
        ("row-square-kernel", "n1c3h1w12o4k3p1"),
        ("column-kernel-3", "n1c4h33w1o6k3x1p1x0"),
        ("column-causal", "n1c4h33w1o6k3x1p2,0,0,0"),
        ("column-depthwise", "n1c6h33w1o6k3x1p1x0g6"),
    ])
}

pub(super) fn activations() -> Vec<Entry> {
    const ALL: [(&str, &str); 17] = [
        ("relu", "relu"),
        ("relu6", "clip=0,6"),
        ("clip", "clip=-2,3.5"),
        ("clip-above", "clip=-inf,5"),
        ("clip-below", "clip=-4,inf"),
        ("leaky-relu", "leaky_relu=0.1"),
        ("leaky-relu-exact", "leaky_relu=0.25"),
        ("prelu", "prelu"),
        ("sigmoid", "sigmoid"),
        ("tanh", "tanh"),
        ("silu", "silu"),
        ("gelu", "gelu"),
        ("gelu-tanh", "gelu_tanh"),
        ("hard-swish", "hard_swish"),
        ("elu", "elu=1"),
        ("elu-half", "elu=0.5"),
        ("hard-sigmoid", "hard_sigmoid=0.2,0.5"),
    ];
    // A 1 × 1 kernel keeps the sums small, so that functions which saturate are also seen where they do not.
    let few = |(name, activation): &(&str, &str)| {
        Entry::new(format!("activation-{name}"), format!("n2c2h5w7o9k1+{activation}"))
    };
    let many = |(name, activation): &(&str, &str)| {
        Entry::new(format!("activation-{name}-of-long-sums"), format!("n1c300h3w4o5k1+{activation}"))
    };
    let mut entries: Vec<Entry> = ALL.iter().map(few).collect();
    entries.extend(ALL.iter().map(many));
    entries.extend(listed(&[
        ("relu-tails", "n1c3h5w7o17k3p1+relu"),
        ("slopes-for-each-element", "n3c3h5w7o17k3p1+prelu_each"),
        ("slopes-for-each-element-channels-last", "n2c9h5w7o21k1:nhwc+residual+prelu_each"),
        ("slopes-for-each-element-transposed", "n2c6h5w7o8k3s2p1:transposed=1+prelu_each"),
        ("residual-tails", "n3c3h5w7o17k3p1+residual"),
        ("residual-grouped", "n2c6h5w6o9k3p1g3+residual"),
        ("residual-wide", "n1c2h3w65o3k3p1+residual"),
        ("residual-relu-grouped", "n2c6h5w6o9k3p1g3+residual+relu"),
        ("residual-relu-tails", "n1c3h5w7o33k3p1+residual+relu"),
        ("nobias-tails", "n1c3h5w7o17k3p1:nobias"),
        ("nobias-relu", "n1c3h5w7o9k3p1:nobias+relu"),
        ("nobias-residual", "n1c3h5w7o9k3p1:nobias+residual"),
        ("nobias-residual-prelu", "n2c3h5w7o6k1:nobias+residual+prelu"),
        ("nobias-residual-prelu-grouped", "n1c6h5w7o10k1g2:nobias+residual+prelu"),
        ("prelu-grouped", "n2c6h5w6o10k1g2+prelu"),
        ("prelu-tails", "n1c3h5w6o33k1+prelu"),
    ]));
    entries
}

/// Sums of no products: only what is added to them is left.
pub(super) fn no_input_channels() -> Vec<Entry> {
    listed(&[
        ("no-input-channels", "n1c0h5w6o7k3p1"),
        ("no-input-channels-pointwise", "n2c0h5w6o5k1"),
        ("no-input-channels-nobias", "n1c0h5w6o7k3p1:nobias"),
        ("no-input-channels-relu", "n1c0h5w6o7k3p1+relu"),
        ("no-input-channels-residual", "n2c0h5w6o6k3p1+residual+relu"),
        ("no-input-channels-groups", "n1c0h5w6o6k3p1g2"),
        ("no-input-channels-batch-0", "n0c0h5w6o6k3p1"),
        ("no-input-channels-reflect", "n1c0h5w6o6k3p1:reflect"),
    ])
}

/// Shapes with which other implementations gave wrong results, failed, or read out of range.
pub(super) fn traps() -> Vec<Entry> {
    listed(&[
        // Sums whose length is no multiple of the depth of a tile: reads past the end of the weights.
        ("trap-pointwise-104-channels", "n1c104h9w9o32k1"),
        ("trap-pointwise-440-channels", "n1c440h7w7o16k1"),
        ("trap-pointwise-104-to-104", "n1c104h4w5o104k1"),
        // Many pixels with a number of channels that is no power of two.
        ("trap-96-channels-32768-pixels", "n1c96h128w256o1k1"),
        ("trap-96-channels", "n1c96h6w6o96k1"),
        ("trap-96-channels-depthwise", "n1c96h5w5o96k3p1g96"),
        // Grouped convolution, wrong in a kernel and in its reference alike.
        ("trap-groups-4-strided-dilated", "n2c8h11w12o12k3s2p2d2g4"),
        ("trap-groups-as-many-as-inputs", "n1c6h7w8o18k3p1g6"),
        // Depthwise convolution that ignored its dilation.
        ("trap-depthwise-dilation-3", "n1c8h13w14o8k3p3d3g8"),
        ("trap-depthwise-dilation-2x3", "n1c4h13w14o4k3d2x3g4"),
        ("trap-dilation-3-small", "n1c4h7w8o5k3d3"),
        // SAME with a stride: the padding depends on the input size.
        ("trap-same-stride-2-224", "n1c1h14w224o2k3s2psame"),
        ("trap-same-stride-2-225", "n1c1h15w225o2k3s2psame"),
        ("trap-samelower-stride-2-even-kernel", "n1c2h11w12o3k4s2psamelower"),
        // Results that changed when the same convolution ran a second time in another layout.
        ("trap-second-run", "n2c3h12w13o8k3p1+relu"),
        // More workgroups along one axis than a dispatch may have, in a tiled kernel.
        ("trap-320-pixels-wide", "n1c2h20w320o4k3p1"),
        ("trap-first-layer", "n1c3h33w35o16k3s2p1"),
        // Sums that overflow half precision.
        ("trap-long-sum", "n1c5000h3w3o4k1"),
        // llvmpipe ends every loop of an invocation, without a word, after 65,535 rounds of all its loops together.
        ("trap-sum-of-30000", "n1c30000h1w1o1k1"),
        ("trap-sum-of-63000", "n1c7000h3w3o1k3"),
    ])
}

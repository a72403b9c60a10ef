//! Sizes: channels, images and batches around the edges of tiles, primes, very long axes.

use super::{Entry, listed};

/// Around every power of two that a tile or a vector may have.
const TAILS: [u32; 21] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129];

pub(super) fn channel_tails() -> Vec<Entry> {
    let out = |o| Entry::new(format!("out-channels-{o}"), format!("n1c3h4w7o{o}k3p1"));
    let pointwise = |c| Entry::new(format!("in-channels-{c}"), format!("n1c{c}h5w6o5k1"));
    let dense = |c| Entry::new(format!("in-channels-{c}-3x3"), format!("n1c{c}h4w5o6k3p1"));
    let mut entries: Vec<Entry> = TAILS.into_iter().map(out).collect();
    entries.extend(TAILS.into_iter().map(pointwise));
    entries.extend([2, 5, 7, 9, 15, 17, 31, 33].map(dense));
    // Both at once, so that a block of output channels meets a ragged end of K.
    let both = |[c, o]: [u32; 2]| Entry::new(format!("channels-{c}-to-{o}"), format!("n1c{c}h6w5o{o}k1"));
    entries.extend([[17, 33], [33, 17], [65, 31], [31, 65], [129, 9], [63, 63]].map(both));
    entries
}

pub(super) fn image_tails() -> Vec<Entry> {
    let widths = (1..=20).chain([31, 32, 33, 55, 56, 57, 63, 64, 65]);
    let mut entries: Vec<Entry> =
        widths.map(|w| Entry::new(format!("width-{w}"), format!("n1c2h3w{w}o3k3p1"))).collect();
    entries.extend(
        [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 33, 64]
            .map(|h| Entry::new(format!("height-{h}"), format!("n1c3h{h}w5o4k3p1"))),
    );
    entries.extend(
        [1, 4, 7, 8, 9, 16, 17, 33].map(|w| Entry::new(format!("width-{w}-pointwise"), format!("n1c5h3w{w}o7k1"))),
    );
    entries.extend(
        [1, 2, 5, 13, 14, 15, 16, 29, 34]
            .map(|w| Entry::new(format!("width-{w}-stride-2"), format!("n1c3h5w{w}o4k3s2p1"))),
    );
    // Without padding, the last output uses the last column.
    entries.extend([3, 4, 10, 17, 34].map(|w| Entry::new(format!("width-{w}-unpadded"), format!("n1c3h5w{w}o4k3"))));
    entries
}

pub(super) fn batches_and_primes() -> Vec<Entry> {
    let mut entries: Vec<Entry> =
        [0, 2, 3, 5, 17].map(|n| Entry::new(format!("batch-{n}"), format!("n{n}c3h5w7o5k3p1"))).into();
    entries.extend(listed(&[
        ("batch-0-with-everything", "n0c4h5w7o6k3p1g2+residual+relu"),
        ("batch-3-pointwise", "n3c7h3w3o5k1"),
        ("batch-9-one-pixel", "n9c5h1w1o6k1"),
        ("batch-2-residual", "n2c4h5w6o5k3p1+residual"),
        ("one-of-everything", "n1c1h1w1o1k1"),
        ("one-pixel-under-3x3", "n1c6h1w1o5k3p1"),
        ("one-output", "n1c5h3w3o4k3"),
        ("one-output-element", "n1c9h3w3o1k3"),
        ("primes-small", "n1c7h11w13o17k3p1"),
        ("primes-pointwise", "n1c13h17w19o23k1"),
        ("primes-unpadded", "n3c11h7w5o13k3"),
        ("primes-stride-2", "n1c5h23w29o7k3s2p1"),
        ("sum-of-37-by-9", "n1c37h3w4o3k3p1"),
        ("sum-of-101", "n1c101h4w3o11k1"),
        ("sum-of-257", "n1c257h3w3o6k1"),
        ("sum-of-1031", "n1c1031h2w3o4k1"),
    ]));
    entries
}

/// Axes beyond the 65,535 workgroups that one dimension of a dispatch may have.
pub(super) fn long_axes() -> Vec<Entry> {
    listed(&[
        ("batch-70000", "n70000c1h1w1o1k1"),
        ("rows-70000", "n1c1h70000w1o1k1"),
        ("columns-70000", "n1c1h1w70000o1k1"),
        ("out-channels-70000", "n1c1h1w1o70000k1"),
        ("in-channels-70000", "n1c70000h1w1o1k1"),
        ("groups-70000", "n1c70000h1w1o70000k1g70000"),
        ("columns-4099-3x3", "n1c1h3w4099o2k3p1"),
        ("rows-4099-3x3", "n1c1h4099w3o2k3p1"),
    ])
}

/// The workloads of the benchmarks, made small.
pub(super) fn small_workloads() -> Vec<Entry> {
    listed(&[
        ("edges-cut-no-block", "n1c2h86w114o4k3"),
        ("edges-cut-no-block-of-a-line", "n2c4h4w84o6k1"),
        // The last ones begin earlier.
        ("edges-cut-no-block-where-blocks-overlap", "n2c3h35w44o5k2"),
        ("edges-cut-no-block-where-blocks-overlap-in-a-line", "n2c4h9w11o6k1"),
        ("small-a", "n1c64h7w7o64k3p1"),
        ("small-b", "n1c128h8w8o32k3s2p1"),
        ("small-c", "n1c256h3w3o64k3p1"),
        ("small-d", "n1c3h32w32o16k7s2p3"),
        ("small-e", "n1c256h7w7o64k1"),
        ("small-f", "n1c64h7w7o256k1"),
        ("small-g", "n1c96h14w14o96k3p1g96"),
        ("small-h", "n1c64h9w9o32k3p2d2"),
        ("small-i", "n1c128h7w7o128k3p1g32"),
        ("small-j", "n1c3h24w36o3k5p2g3"),
        ("small-k", "n1c64h6w10o32k3p1"),
        ("small-l", "n8c16h7w7o16k3p1"),
    ])
}

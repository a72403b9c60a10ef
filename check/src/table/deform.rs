//! Deformable convolutions. Kernels run them as 1×1 convolutions of samples, so that one shader of each variant serves most of
//! them; what differs is how the samples are made.

use super::Entry;

/// Each is written without its first option, `:deform`, which comes after the sizes; `rest` is what follows it.
pub(super) fn deformable() -> Vec<Entry> {
    let rows = [
        ("plain", "n1c4h9w10o6k3p1", ""),
        ("mask", "n1c4h9w10o6k3p1", ":mask"),
        ("offset-groups", "n1c6h9w10o6k3p1", ":offset_groups=3"),
        ("offset-groups-mask", "n2c6h9w10o6k3p1", ":offset_groups=2:mask"),
        ("offset-group-for-each-channel", "n1c5h7w8o3k3p1", ":offset_groups=5:mask"),
        ("offset-groups-of-9-channels", "n1c18h5w7o5k3p1", ":offset_groups=2:mask"),
        ("groups", "n1c8h9w10o6k3p1g2", ""),
        ("groups-across-offset-groups", "n1c12h7w8o6k3p1g2", ":offset_groups=3:mask"),
        ("depthwise", "n2c7h9w10o7k3p1g7", ":mask"),
        ("pointwise", "n2c9h5w7o21k1", ":mask"),
        ("kernel-2x5", "n1c4h9w10o6k2x5p1x2", ":mask"),
        ("kernel-7", "n1c3h9w10o5k7p3", ":offset_groups=3"),
        ("kernel-8-beyond-49-taps", "n1c2h10w11o3k8p4", ":mask"),
        ("stride-2x1", "n1c4h9w10o6k3s2x1p1", ":mask"),
        ("dilation-1x3", "n1c4h9w10o6k3p1x3d1x3", ":mask"),
        ("padding-sides", "n1c4h9w10o6k3p0,3,2,1", ""),
        ("padding-beyond-the-kernel", "n1c4h3w4o6k3p5", ":mask"),
        ("same", "n1c4h9w10o6k3s2psame", ":mask"),
        ("one-row", "n2c4h1w33o6k1x3p0x1", ":mask"),
        ("one-column", "n2c4h33w1o6k3x1p1x0", ":mask"),
        ("one-element", "n1c4h1w1o5k3p1", ":mask"),
        ("one-output", "n1c4h3w3o5k3", ":mask"),
        ("batch", "n5c4h5w6o6k3p1", ":mask"),
        ("no-images", "n0c4h5w6o6k3p1", ":mask"),
        ("no-input-channels", "n2c0h5w6o6k3p1", ":mask"),
        ("channels-17-to-33", "n1c17h5w7o33k3p1", ":mask"),
        ("long-sums", "n1c520h3w4o5k3p1", ":mask"),
        ("channels-last", "n2c6h9w10o6k3p1g2", ":offset_groups=3:mask:nhwc"),
        ("channels-last-ohwi", "n2c6h9w10o6k3p1g2", ":offset_groups=3:mask:nhwc:ohwi"),
        ("channels-last-hwio", "n2c6h9w10o6k3p1g2", ":offset_groups=3:mask:nhwc:hwio"),
        ("weights-hwio", "n1c4h9w10o6k2x3p1", ":hwio"),
        ("half", "n2c6h9w11o7k3p1", ":offset_groups=2:mask:f16"),
        ("half-channels-last", "n3c5h5w7o9k3p1", ":mask:f16:nhwc:hwio+residual+relu"),
        ("residual-relu", "n2c4h9w10o17k3p1", ":mask+residual+relu"),
        ("prelu", "n1c4h9w10o6k3p1g2", ":nobias+prelu"),
        ("everything", "n2c12h9w8o6k3x2s2x1p0,1,2,1d2x1g2", ":offset_groups=4:mask:nobias+residual+gelu"),
    ];
    let entry =
        |(name, sizes, rest): (&str, &str, &str)| Entry::new(format!("deform-{name}"), format!("{sizes}:deform{rest}"));
    rows.into_iter().map(entry).collect()
}

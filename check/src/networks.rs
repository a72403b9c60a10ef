//! The convolution layers of two well-known networks, as the benchmarks of others list them.
//!
//! Names and sizes are those of benchdnn's lists `shapes_resnet_50`, `shapes_resnet_50_v1_5`, `shapes_mobilenet` and
//! `shapes_mobilenet_dw` (oneDNN, Apache-2.0, commit 515bfba68c0254e23c876d4c1a7cc26c2d4b690b), each shape once. Padding is the
//! same on all sides, as in the networks; benchdnn leaves out what lies beyond the last step of a stride.

use wgpu_conv::{Error, Problem, Result};

/// A network's layers, each shape once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    /// What it is called on command lines.
    pub name: &'static str,
    /// Its layers, in the order of the lists.
    pub layers: &'static [Layer],
}

/// A layer of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layer {
    /// Its name in the network.
    pub name: &'static str,
    /// The problem string, with batch 1.
    pub problem: &'static str,
}

impl Layer {
    /// The layer's problem with this batch.
    ///
    /// # Errors
    /// What [`Problem::new`] says of the batch.
    pub fn with_batch(&self, batch: u32) -> Result<Problem> {
        let problem: Problem = self.problem.parse()?;
        let mut input = problem.input_shape().to_vec();
        input[0] = batch;
        problem.with_input(&input)
    }
}

/// All networks.
pub const NETWORKS: [Network; 2] =
    [Network { name: "resnet50", layers: RESNET50 }, Network { name: "mobilenet", layers: MOBILENET }];

/// The network of that name.
///
/// # Errors
/// [`Error::Unknown`], which says what there is.
pub fn network(name: &str) -> Result<Network> {
    NETWORKS.iter().find(|network| network.name == name).copied().ok_or_else(|| Error::Unknown {
        what: "network",
        name: name.into(),
        known: NETWORKS.map(|network| network.name).join(", "),
    })
}

const fn layer(name: &'static str, problem: &'static str) -> Layer {
    Layer { name, problem }
}

/// ResNet-50 v1.5, which PyTorch has, and those layers of v1 (its strides are in the 1×1 layers) that differ.
const RESNET50: &[Layer] = &[
    layer("conv1", "n1c3h224w224o64k7s2p3"),
    layer("res2a_branch1", "n1c64h56w56o256k1"),
    layer("res2a_branch2a", "n1c64h56w56o64k1"),
    layer("res2a_branch2b", "n1c64h56w56o64k3p1"),
    layer("res2b_branch2a", "n1c256h56w56o64k1"),
    layer("res3a_branch1", "n1c256h56w56o512k1s2"),
    layer("res3a_branch2a", "n1c256h56w56o128k1"),
    layer("res3a_branch2b", "n1c128h56w56o128k3s2p1"),
    layer("res3a_branch2c", "n1c128h28w28o512k1"),
    layer("res3b_branch2a", "n1c512h28w28o128k1"),
    layer("res3b_branch2b", "n1c128h28w28o128k3p1"),
    layer("res4a_branch1", "n1c512h28w28o1024k1s2"),
    layer("res4a_branch2a", "n1c512h28w28o256k1"),
    layer("res4a_branch2b", "n1c256h28w28o256k3s2p1"),
    layer("res4a_branch2c", "n1c256h14w14o1024k1"),
    layer("res4b_branch2a", "n1c1024h14w14o256k1"),
    layer("res4b_branch2b", "n1c256h14w14o256k3p1"),
    layer("res5a_branch1", "n1c1024h14w14o2048k1s2"),
    layer("res5a_branch2a", "n1c1024h14w14o512k1"),
    layer("res5a_branch2b", "n1c512h14w14o512k3s2p1"),
    layer("res5a_branch2c", "n1c512h7w7o2048k1"),
    layer("res5b_branch2a", "n1c2048h7w7o512k1"),
    layer("res5b_branch2b", "n1c512h7w7o512k3p1"),
    layer("v1_res3a_branch2a", "n1c256h56w56o128k1s2"),
    layer("v1_res4a_branch2a", "n1c512h28w28o256k1s2"),
    layer("v1_res5a_branch2a", "n1c1024h14w14o512k1s2"),
];

/// MobileNet: its dense layers, then the depthwise ones.
const MOBILENET: &[Layer] = &[
    layer("conv1", "n1c3h224w224o32k3s2p1"),
    layer("conv2", "n1c32h112w112o64k1"),
    layer("conv3", "n1c64h56w56o128k1"),
    layer("conv4", "n1c128h56w56o128k1"),
    layer("conv5", "n1c128h28w28o256k1"),
    layer("conv6", "n1c256h28w28o256k1"),
    layer("conv7", "n1c256h14w14o512k1"),
    layer("conv8", "n1c512h14w14o512k1"),
    layer("conv9", "n1c512h7w7o1024k1"),
    layer("conv10", "n1c1024h7w7o1024k1"),
    layer("conv11", "n1c1024h1w1o5k1"),
    layer("conv2_1_dw", "n1c32h112w112o32k3p1g32"),
    layer("conv2_2_dw", "n1c64h112w112o64k3s2p1g64"),
    layer("conv3_1_dw", "n1c128h56w56o128k3p1g128"),
    layer("conv3_2_dw", "n1c128h56w56o128k3s2p1g128"),
    layer("conv4_1_dw", "n1c256h28w28o256k3p1g256"),
    layer("conv4_2_dw", "n1c256h28w28o256k3s2p1g256"),
    layer("conv5_1_dw", "n1c512h14w14o512k3p1g512"),
    layer("conv5_6_dw", "n1c512h14w14o512k3s2p1g512"),
    layer("conv6_dw", "n1c1024h7w7o1024k3p1g1024"),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::{Path, PathBuf};

    use super::*;

    #[test]
    fn layers_are_problems_and_none_is_there_twice() {
        for network in NETWORKS {
            let mut names = BTreeSet::new();
            let mut problems = BTreeSet::new();
            for layer in network.layers {
                assert_eq!(layer.with_batch(1).unwrap().to_string(), layer.problem);
                assert!(layer.with_batch(8).unwrap().to_string().starts_with("n8"));
                assert!(names.insert(layer.name) && problems.insert(layer.problem), "{}", layer.name);
            }
        }
        assert_eq!(network("resnet50").unwrap().layers.len(), 26);
        assert_eq!(network("mobilenet").unwrap().layers.len(), 20);
        assert!(network("vgg").unwrap_err().to_string().contains("mobilenet"));
    }

    /// The multiply-adds of a whole ResNet-50 v1.5, counted over its 53 convolutions: a number that others published.
    #[test]
    fn resnet_50_has_its_published_size() {
        // How often each of the first 23 shapes occurs.
        const COUNTS: [u64; 23] = [1, 4, 1, 3, 2, 1, 1, 1, 4, 3, 3, 1, 1, 1, 6, 5, 5, 1, 1, 1, 3, 2, 2];
        assert_eq!(COUNTS.iter().sum::<u64>(), 53);
        let macs: u64 =
            COUNTS.iter().zip(RESNET50).map(|(count, layer)| count * layer.with_batch(1).unwrap().macs()).sum();
        assert_eq!(macs, 4_087_136_256);
    }

    /// Where the lists are at hand, in the form of `tests/data/FORMAT.md`, the table has exactly their shapes.
    #[test]
    fn the_lists_have_these_shapes_and_no_others() {
        let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/conformance");
        let folder = std::env::var_os("WGPU_CONV_SUITE_DIR").map_or(beside, PathBuf::from);
        let Ok(text) = std::fs::read_to_string(folder.join("benchdnn_shapes.json")) else {
            eprintln!("no benchdnn_shapes.json in {}: nothing to compare with", folder.display());
            return;
        };
        let rows: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
        let mut listed = BTreeSet::new();
        for row in &rows {
            let number = |value: &serde_json::Value| value.as_u64().unwrap();
            let [input, kernel, stride, padding, output] =
                ["input", "kernel", "stride", "padding_begin", "output"].map(|field| &row[field]);
            let text = format!(
                "n1c{}h{}w{}o{}k{}x{}s{}x{}p{}x{}g{}",
                number(&row["cin"]),
                number(&input[0]),
                number(&input[1]),
                number(&row["cout"]),
                number(&kernel[0]),
                number(&kernel[1]),
                number(&stride[0]),
                number(&stride[1]),
                number(&padding[0]),
                number(&padding[1]),
                number(&row["groups"]),
            );
            let problem: Problem = text.parse().unwrap();
            let [_, _, _, rows, columns] = problem.output_shape().five().map(u64::from);
            assert_eq!([rows, columns], [number(&output[0]), number(&output[1])], "{text}");
            listed.insert(problem.to_string());
        }
        let ours = NETWORKS.iter().flat_map(|network| network.layers).map(|layer| layer.problem.to_string());
        assert_eq!(ours.collect::<BTreeSet<_>>(), listed);
    }
}

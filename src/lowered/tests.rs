use super::*;

fn lower(text: &str) -> Vec<Lowered> {
    passes(&text.parse().unwrap()).unwrap()
}

pub(crate) fn one(text: &str) -> Lowered {
    let all = lower(text);
    assert_eq!(all.len(), 1, "{text}");
    all[0]
}

#[test]
fn pointwise_images_run_as_one_row() {
    let row = one("n2c3h5w7o4k1+relu");
    assert_eq!(row.lines.map(|line| (line.input, line.output)), [(1, 1), (1, 1), (35, 35)]);
    assert_eq!((row.input_steps.channel, row.output_steps.image), (35, 140));
    assert_eq!(one("n2c3z4h5w7o4k1").lines[2].output, 140);
    for text in ["n2c3h5w7o4k1s2", "n2c3h5w7o4k1p1", "n2c3h5w7o4k1x2", "c1h65536w65536o1k1"] {
        assert_ne!(one(text).lines[1].output, 1, "{text}");
    }
}

#[test]
fn axes_of_one_element_go_to_the_front() {
    for text in ["n1c2w9o3k3", "n1c2h1w9o3k1x3", "n1c2h9w1o3k3x1", "n1c2z9h1w1o3k3x1x1"] {
        let lowered = one(text);
        assert_eq!(lowered.lines.map(|line| (line.input, line.kernel)), [(1, 1), (1, 1), (9, 3)], "{text}");
        assert!(!lowered.is_deep());
        assert_eq!((lowered.input_steps.axes[2], lowered.weight.taps[2]), (1, 1), "{text}");
    }
    assert!(one("n1c2z9h8w7o3k3").is_deep());
}

/// Every output and every product of a transposed convolution belongs to exactly one pass, by brute force.
#[test]
fn transposed_passes_partition_outputs_and_products() {
    for text in [
        "n1c1w5o1k4s2p1:transposed",
        "n1c1w5o1k3s2p1:transposed=1",
        "n1c1w4o1k5s3d2:transposed=2",
        "n1c1w4o1k3s4d6p2:transposed=5",
        "n1c1w7o1k2s5p1:transposed",
        "n1c1w6o1k7s1p3:transposed",
        "n1c1w3o1k3s6d4:transposed=1",
    ] {
        let problem: Problem = text.parse().unwrap();
        let axis = problem.axes()[2];
        let mut expected = Vec::new();
        for output in 0..i64::from(axis.output) {
            for tap in 0..i64::from(axis.kernel) {
                let reached = output + i64::from(axis.before) - tap * i64::from(axis.dilation);
                let input = reached.div_euclid(axis.stride.into());
                if reached % i64::from(axis.stride) == 0 && (0..i64::from(axis.input)).contains(&input) {
                    expected.push((output, tap, input));
                }
            }
        }
        let (mut products, mut outputs) = (Vec::new(), Vec::new());
        for pass in lower(text) {
            let line = pass.lines[2];
            for y in 0..i64::from(line.output) {
                let output = pass.first_output as i64 + y * pass.output_steps.axes[2] as i64;
                outputs.push(output);
                for t in 0..i64::from(line.kernel) {
                    let input = y - line.before + t * i64::from(line.dilation);
                    if pass.group_in > 0 && (0..i64::from(line.input)).contains(&input) {
                        products.push((output, pass.weight.first as i64 + t * pass.weight.taps[2], input));
                    }
                }
            }
        }
        products.sort_unstable();
        outputs.sort_unstable();
        assert_eq!(products, expected, "{text}");
        assert_eq!(outputs, (0..i64::from(axis.output)).collect::<Vec<_>>(), "{text}");
    }
}

#[test]
fn too_many_passes_are_refused() {
    let refusal = passes(&"n1c1h3w3o1k3s65x64:transposed".parse().unwrap()).unwrap_err();
    assert!(refusal.contains("4160") && refusal.contains("4096"), "{refusal}");
}

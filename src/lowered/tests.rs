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

#[test]
fn samples_of_a_batch_are_a_few_images_at_a_time() {
    // 9 · 2^20 samples an image: three images are below 2^25.
    for (batch, images) in [(0, vec![0]), (1, vec![1]), (3, vec![3]), (4, vec![3, 1]), (8, vec![3, 3, 2])] {
        let all = lower(&format!("n{batch}c1h1024w1024o2k3p1:deform"));
        assert_eq!(all.iter().map(|pass| pass.batch).collect::<Vec<_>>(), images);
        let mut first = 0;
        for pass in &all {
            let Some(Prepare::Sample(sampling)) = pass.prepare else { panic!("it is deformable") };
            assert_eq!((sampling.first_image, sampling.images), (first, pass.batch));
            assert_eq!((pass.first_output, pass.weight), (u64::from(first) << 21, all[0].weight));
            assert_eq!((sampling.samples(), pass.sum_length()), ((u64::from(pass.batch) * 9) << 20, 9));
            first += pass.batch;
        }
    }
    // A single image may have more.
    assert_eq!(lower("n2c64h1024w1024o2k3p1:deform").len(), 2);
    let refusal = passes(&"n4097c64h1024w1024o2k3p1:deform".parse().unwrap()).unwrap_err();
    assert!(refusal.contains("4097") && refusal.contains("603979776") && refusal.contains("4096"), "{refusal}");
}

/// Whatever the order of the weight, a column meets the weight of its channel and tap.
#[test]
fn columns_follow_the_weight() {
    for layout in ["oihw", "ohwi", "hwio"] {
        let problem: Problem = format!("n1c6h4w4o4k2x3g2:deform:{layout}").parse().unwrap();
        let pass = lower(&problem.to_string())[0];
        let Some(Prepare::Sample(sampling)) = pass.prepare else { panic!("it is deformable") };
        let plain: Problem = problem.to_string().replace(":deform", "").parse().unwrap();
        let expected = lower(&plain.to_string())[0].weight;
        let mut columns = Vec::new();
        for (channel, tap) in (0..3).flat_map(|channel| (0..6).map(move |tap| (channel, tap))) {
            let column = channel * sampling.channel_columns + tap * sampling.tap_columns;
            columns.push(column);
            let [row, of_row] = [i64::from(tap / 3), i64::from(tap % 3)];
            let place =
                i64::from(channel) * expected.inputs as i64 + row * expected.taps[1] + of_row * expected.taps[2];
            assert_eq!(u64::from(column) * pass.weight.inputs, place as u64, "{layout}");
        }
        columns.sort_unstable();
        assert_eq!(columns, (0..18).collect::<Vec<_>>());
        assert_eq!((pass.weight.groups, pass.weight.outputs), (expected.groups, expected.outputs), "{layout}");
    }
}

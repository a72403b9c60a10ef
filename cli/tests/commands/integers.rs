//! Convolutions of integers with `run`: results worked out by hand, and what is refused.

use crate::bad_input::{case, check};
use crate::support::{Lab, npy_header, npy_with_header, safetensors, skip_gpu_test};

fn words(args: &str) -> Vec<&str> {
    args.split_whitespace().collect()
}

fn whole(dtype: &str, shape: &[usize], bytes: &[u8]) -> Vec<u8> {
    npy_with_header(&npy_header(dtype, false, shape), bytes)
}

fn le_i32(values: &[i32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// An image of 2 to 10, which are 1 to 9 with zero point 1, and weights that add up four neighbours, or subtract two columns.
fn files() -> Lab {
    let lab = Lab::new();
    let image: Vec<u8> = (2..=10).collect();
    lab.write("x.npy", whole("|u1", &[1, 1, 3, 3], &image))
        .write("w.npy", whole("|i1", &[2, 1, 2, 2], &[1, 1, 1, 1, 1, 0xff, 1, 0xff]))
        .write("shifted.npy", whole("|u1", &[2, 1, 2, 2], &[6, 6, 6, 6, 9, 7, 9, 7]))
        .write("spread.npy", whole("|i1", &[1, 2, 2, 2], &[1; 8]))
        .write("points.npy", whole("|u1", &[2], &[5, 8]))
        .write("bias.npy", whole("<i4", &[2], &le_i32(&[100, 1 << 30])))
        .write("bias_big.npy", whole(">i4", &[2], &[0, 0, 0, 100, 0x40, 0, 0, 0]))
        .npy("scales.npy", &[2], [0.5, 2.0])
        .npy("wf.npy", &[2, 1, 2, 2], [1.0; 8])
        .npy("bf.npy", &[2], [1.0, 2.0])
        .npy("xf.npy", &[1, 1, 3, 3], [1.0; 9])
        .write(
            "all.safetensors",
            safetensors(
                r#"{"x":{"dtype":"U8","shape":[1,1,3,3],"data_offsets":[0,9]},"w":{"dtype":"I8","shape":[2,1,2,2],"data_offsets":[9,17]},"b":{"dtype":"I32","shape":[2],"data_offsets":[17,25]}}"#,
                &[&image[..], &[1, 1, 1, 1, 1, 0xff, 1, 0xff], &le_i32(&[100, 1 << 30])].concat(),
            ),
        );
    lab
}

#[test]
fn run_takes_and_makes_integers() {
    if skip_gpu_test() {
        return;
    }
    let lab = files();
    let sums = [12, 16, 24, 28, -2, -2, -2, -2];
    let biased = [112, 116, 124, 128, (1 << 30) - 2, (1 << 30) - 2, (1 << 30) - 2, (1 << 30) - 2];
    for (args, expected) in [
        ("--input x.npy --weight w.npy --input-zero-point 1", sums),
        (
            "--input x.npy --weight shifted.npy --input-zero-point 1 --weight-zero-points points.npy",
            sums.map(|y| y.max(-2)),
        ),
        ("--input x.npy --weight w.npy --bias bias.npy --input-zero-point 1 --kernel tiled --checked", biased),
        ("--input x.npy --weight w.npy --bias bias_big.npy --input-zero-point 1", biased),
        ("--input all.safetensors:x --weight all.safetensors:w --bias all.safetensors:b --input-zero-point 1", biased),
    ] {
        let printed = lab.succeed(&words(&format!("run {args} --output y.npy --check")));
        assert_eq!(lab.read_npy_of("y.npy", "<i4"), ("(1, 2, 2, 2)".into(), le_i32(&expected)), "{args}");
        assert!(printed.contains("_i32") && printed.contains("largest difference"), "{printed}");
    }
    // In steps of 4 for the first channel, of 1 for the second.
    let scaled = "--input x.npy --weight w.npy --input-zero-point 1 --input-scale 0.5 --weight-scales scales.npy";
    for (args, dtype, expected) in [
        ("--output-type i8 --output-scale 1", "|i1", [3, 4, 6, 7, -2, -2, -2, -2]),
        ("--output-type u8 --output-scale 1 --output-zero-point 200", "|u1", [203, 204, 206, 207, 198, 198, 198, 198]),
        ("--output-type u8 --output-scale 1 --output-zero-point 1 --activation relu", "|u1", [4, 5, 7, 8, 1, 1, 1, 1]),
    ] {
        lab.succeed(&words(&format!("run {scaled} {args} --output y.npy --check")));
        let bytes = expected.map(|number: i32| number.to_le_bytes()[0]).to_vec();
        assert_eq!(lab.read_npy_of("y.npy", dtype), ("(1, 2, 2, 2)".into(), bytes), "{args}");
    }
    // As floats, where that is asked for.
    lab.succeed(&words("run --input x.npy --weight w.npy --dtype f32 --output y.npy --check"));
    assert_eq!(lab.read_npy("y.npy").1, [16.0, 20.0, 28.0, 32.0, -2.0, -2.0, -2.0, -2.0]);
    lab.succeed(&words("run --input x.npy --weight w.npy --output out.safetensors:y --check"));
    let bytes = std::fs::read(lab.path("out.safetensors")).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(file.tensor("y").unwrap().dtype(), safetensors::Dtype::I32);
}

#[test]
fn what_is_refused() {
    let lab = files();
    let run = |rest: &str, contains: &str| case(&format!("run --output y.npy {rest}"), contains);
    let plain = "--input x.npy --weight w.npy";
    check(
        &lab,
        &[
            run("--input x.npy --weight wf.npy", "--weight wf.npy of type f32: both are integers, or both are floats"),
            run("--input xf.npy --weight w.npy", "say with --dtype"),
            run("--input xf.npy --weight wf.npy --input-zero-point 3", "--input-zero-point is for integers"),
            run(
                "--input xf.npy --weight wf.npy --output-type i8",
                "--output-type is for integers; --input xf.npy is of type f32",
            ),
            run(&format!("{plain} --bias bf.npy"), "required is int32, int8 or uint8"),
            run("--input bias.npy --weight w.npy", "(int32); required is float32, float16, int8 or uint8"),
            run(
                &format!("{plain} --bias points.npy --input-zero-point 256"),
                "input_zero_point is 256; it must be from 0 to 255",
            ),
            run(&format!("{plain} --input-zero-point -1"), "input_zero_point is -1"),
            run(
                &format!("{plain} --weight-zero-points x.npy"),
                "--weight-zero-points x.npy has 4 axes; required is one",
            ),
            run(&format!("{plain} --weight-zero-points 128"), "weight_zero_points is 128; it must be from -128 to 127"),
            run(&format!("{plain} --weight-scales much"), "names no tensor file"),
            run(&format!("{plain} --output-type i8 --output-scale 0"), "output_scale is 0; it must be positive"),
            run(&format!("{plain} --output-type f16"), "known are i32, i8, u8"),
            run("--input x.npy --weight spread.npy --transposed", "the convolution is transposed"),
            run(&format!("{plain} --activation relu"), "activation is relu"),
            run(&format!("{plain} --bias scales.npy"), "required is int32"),
        ],
    );
}

//! Tensors of 16-bit floats, and in other orders of axes: results worked out by hand, and what is refused.

use serde_json::json;

use crate::bad_input::{case, check, good_files};
use crate::serve::Server;
use crate::support::{
    Lab, counting, le_bytes, le_halves, npy_header, npy_with_header, safetensors, skip_gpu_test, text,
};

fn words(args: &str) -> Vec<&str> {
    args.split_whitespace().collect()
}

/// Two channels of a line of three, and three outputs over two columns: the first adds up one channel's column and the other
/// channel's next, the second both columns of the second channel, the third those of the first channel, the one twice.
#[test]
fn run_takes_every_order_of_axes() {
    if skip_gpu_test() {
        return;
    }
    let lab = Lab::new();
    let last = [1.0, 10.0, 2.0, 20.0, 3.0, 30.0];
    lab.npy("first.npy", &[1, 2, 1, 3], [1.0, 2.0, 3.0, 10.0, 20.0, 30.0])
        .npy("last.npy", &[1, 1, 3, 2], last)
        .npy("image.npy", &[1, 3, 2], last)
        .npy("oihw.npy", &[3, 2, 1, 2], [1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 1.0, 2.0, 1.0, 0.0, 0.0])
        .npy("ohwi.npy", &[3, 1, 2, 2], [1.0, 0.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 2.0, 0.0, 1.0, 0.0])
        .npy("hwio.npy", &[1, 2, 2, 3], [1.0, 0.0, 2.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.0])
        // A line, which is the same without its rows.
        .npy("hwio1.npy", &[2, 2, 3], [1.0, 0.0, 2.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.0])
        .npy("residual.npy", &[1, 1, 2, 3], [-22.0, 0.0, 0.0, 0.0, 0.0, -8.0])
        .npy("each.npy", &[1, 2, 3], [0.5, 9.0, 9.0, 9.0, 9.0, 0.25])
        // Transposed, (KH, KW, C_out, C_in): tap 0 takes either input to an output of its own, tap 1 both to a third.
        .npy("spread.npy", &[1, 2, 3, 2], [1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0])
        .npy("two.npy", &[1, 1, 2, 2], [1.0, 10.0, 2.0, 20.0]);
    let channels_first = ("(1, 3, 1, 2)", [21.0, 32.0, 30.0, 50.0, 4.0, 7.0]);
    let channels_last = ("(1, 1, 2, 3)", [21.0, 30.0, 4.0, 32.0, 50.0, 7.0]);
    for (args, (shape, expected)) in [
        ("--input first.npy --weight oihw.npy --layout nchw --weight-layout oihw", channels_first),
        ("--input first.npy --weight ohwi.npy --weight-layout ohwi", channels_first),
        ("--input first.npy --weight hwio.npy --weight-layout hwio", channels_first),
        ("--input last.npy --weight oihw.npy --layout nhwc", channels_last),
        ("--input last.npy --weight ohwi.npy --layout nhwc --weight-layout ohwi", channels_last),
        ("--input last.npy --weight hwio.npy --layout nhwc --weight-layout hwio --kernel direct", channels_last),
        ("--input last.npy --weight hwio.npy --layout nhwc --weight-layout hwio --dtype f32", channels_last),
        ("--input image.npy --weight hwio.npy --layout nhwc --weight-layout hwio", ("(1, 2, 3)", channels_last.1)),
        ("--input image.npy --weight hwio1.npy --layout nhwc --weight-layout hwio", ("(1, 2, 3)", channels_last.1)),
        (
            "--input last.npy --weight oihw.npy --layout nhwc --residual residual.npy --activation prelu_each --slopes each.npy",
            ("(1, 1, 2, 3)", [-0.5, 30.0, 4.0, 32.0, 50.0, -0.25]),
        ),
    ] {
        let printed = lab.succeed(&words(&format!("run {args} --output y.npy --check")));
        assert_eq!(lab.read_npy("y.npy"), (shape.to_owned(), expected.to_vec()), "{args}");
        assert!(printed.contains("largest difference") && printed.contains(&format!("output {shape}")), "{printed}");
    }
    lab.succeed(&words(
        "run --transposed --input two.npy --weight spread.npy --layout nhwc --weight-layout hwio --output y.npy --check",
    ));
    let spread = [1.0, 10.0, 0.0, 2.0, 20.0, 11.0, 0.0, 0.0, 22.0];
    assert_eq!(lab.read_npy("y.npy"), ("(1, 1, 3, 3)".into(), spread.to_vec()));
}

/// Odd counts throughout, so that the last element of each tensor has half a word.
#[test]
fn run_takes_and_makes_halves() {
    if skip_gpu_test() {
        return;
    }
    let lab = Lab::new();
    let swapped: Vec<u8> = le_halves(counting(5)).chunks(2).flat_map(|pair| [pair[1], pair[0]]).collect();
    lab.npy_halves("x.npy", &[1, 1, 5], counting(5))
        .npy_halves("w.npy", &[1, 1, 3], counting(3))
        .npy("x32.npy", &[1, 1, 5], counting(5))
        .npy("w32.npy", &[1, 1, 3], counting(3))
        .npy("b32.npy", &[1], [0.5])
        .npy_halves("b.npy", &[1], [0.25])
        .npy_halves("r.npy", &[1, 1, 3], [-14.0, -21.0, -26.0])
        .npy("r32.npy", &[1, 1, 3], [-14.0, -21.0, -26.0])
        .npy("slope32.npy", &[1], [0.5])
        // 2049 and 0.1 are no 16-bit floats: the output, or what comes in, is rounded.
        .npy_halves("large.npy", &[1, 1, 2], [2048.0, 1.0])
        .npy("tenth.npy", &[1, 1, 1], [0.1])
        .npy_halves("ones.npy", &[1, 1, 2], [1.0, 1.0])
        .npy_halves("one.npy", &[1, 1, 1], [1.0])
        .npy_halves("x4.npy", &[1, 1, 5, 1], counting(5))
        .npy_halves("w4.npy", &[1, 1, 3, 1], counting(3))
        .write("big.npy", npy_with_header(&npy_header(">f2", false, &[1, 1, 5]), &swapped))
        .write(
            "fortran.npy",
            npy_with_header(&npy_header("<f2", true, &[1, 1, 5]), &le_halves(counting(5))),
        )
        .write(
            "all.safetensors",
            safetensors(
                r#"{"x":{"dtype":"F16","shape":[1,1,5],"data_offsets":[0,10]},"w":{"dtype":"F16","shape":[1,1,3],"data_offsets":[10,16]}}"#,
                &le_halves(counting(5).chain(counting(3))),
            ),
        );
    let three = [14.0, 20.0, 26.0];
    for (args, expected) in [
        ("--input x.npy --weight w.npy", &three[..]),
        ("--input x.npy --weight w.npy --kernel tiled --checked", &three),
        ("--input x.npy --weight w.npy --dtype f16", &three),
        ("--input x32.npy --weight w.npy --dtype f16", &three),
        ("--input x32.npy --weight w32.npy --dtype f16", &three),
        ("--input big.npy --weight w.npy", &three),
        ("--input fortran.npy --weight w.npy", &three),
        ("--input all.safetensors:x --weight all.safetensors:w", &three),
        // Bias and slopes are of either type.
        ("--input x.npy --weight w.npy --bias b32.npy", &[14.5, 20.5, 26.5]),
        ("--input x.npy --weight w.npy --bias b.npy", &[14.25, 20.25, 26.25]),
        ("--input x.npy --weight w.npy --residual r.npy --activation prelu --slopes slope32.npy", &[0.0, -0.5, 0.0]),
        ("--input x.npy --weight w.npy --residual r32.npy --dtype f16", &[0.0, -1.0, 0.0]),
        ("--input large.npy --weight ones.npy", &[2048.0]),
        ("--input tenth.npy --weight one.npy --dtype f16", &[0.099_975_586]),
        ("--input x4.npy --weight w4.npy --layout nhwc --weight-layout ohwi", &three),
    ] {
        let printed = lab.succeed(&words(&format!("run {args} --output y.npy --check")));
        assert_eq!(lab.read_npy_halves("y.npy").1, expected, "{args}");
        assert!(printed.contains(":f16") && printed.contains("largest difference"), "{printed}");
    }
    for args in ["--input x.npy --weight w.npy --dtype f32", "--input x.npy --weight w32.npy --dtype f32"] {
        lab.succeed(&words(&format!("run {args} --output y.npy --check")));
        assert_eq!(lab.read_npy("y.npy"), ("(1, 1, 3)".into(), three.to_vec()), "{args}");
    }
    lab.succeed(&words("run --input x.npy --weight w.npy --output out.safetensors:y --check"));
    let bytes = std::fs::read(lab.path("out.safetensors")).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let y = file.tensor("y").unwrap();
    assert_eq!((y.dtype(), y.shape(), y.data()), (safetensors::Dtype::F16, &[1, 1, 3][..], &le_halves(three)[..]));
}

#[test]
fn what_is_refused_is_named_as_it_stands_in_the_file() {
    let lab = good_files();
    let half = |count| le_halves(counting(count));
    lab.npy_halves("xh.npy", &[1, 3, 7, 7], counting(147))
        .npy_halves("wh.npy", &[2, 3, 3, 3], counting(54))
        .npy("r.npy", &[1, 2, 5, 5], counting(50))
        .npy_halves("rh.npy", &[1, 2, 5, 5], counting(50))
        .npy("rl.npy", &[1, 5, 5, 2], counting(50))
        .npy("xl.npy", &[1, 7, 7, 3], counting(147))
        .npy("xl3.npy", &[7, 7, 4], counting(196))
        .npy("large.npy", &[1, 3, 7, 7], (0..147).map(|i| if i == 99 { 65_520.0 } else { 1.0 }))
        .npy("w1.npy", &[2], counting(2))
        .npy("w6.npy", &[2, 1, 1, 1, 1, 3], counting(6))
        .npy("wl.npy", &[3, 5, 4, 2], counting(120))
        .npy("slopes.npy", &[2, 5, 5], counting(50))
        .write("cut.npy", npy_with_header(&npy_header("<f2", false, &[1, 3, 7, 7]), &half(147)[..293]))
        .write("long.npy", npy_with_header(&npy_header("<f2", false, &[1, 3, 7, 7]), &half(148)))
        .write("wide.npy", npy_with_header(&npy_header("<f2", false, &[1, 3, 7, 7]), &le_bytes(counting(147))))
        .write(
            "cut.safetensors",
            safetensors(r#"{"x":{"dtype":"F16","shape":[3],"data_offsets":[0,6]}}"#, &half(3)[..5]),
        )
        .write("size.safetensors", safetensors(r#"{"x":{"dtype":"F16","shape":[3],"data_offsets":[0,12]}}"#, &half(6)));
    let run = |input: &str, weight: &str, args: &str, contains: &str| {
        case(&format!("run --input {input} --weight {weight} --output y.npy {args}"), contains)
    };
    check(
        &lab,
        &[
            run("x.npy", "wh.npy", "", "--input x.npy is of type f32, --weight wh.npy is of type f16"),
            run("xh.npy", "w.npy", "", "--dtype f32 or --dtype f16"),
            run("xh.npy", "wh.npy", "--residual r.npy", "--residual r.npy is of type f32"),
            run(
                "x.npy",
                "w.npy",
                "--residual rh.npy",
                "--input x.npy is of type f32, --residual rh.npy is of type f16",
            ),
            run(
                "large.npy",
                "w.npy",
                "--dtype f16",
                "--input large.npy has 6.552e4, which is beyond what f16 can hold",
            ),
            run("x.npy", "w.npy", "--dtype f64", "known are f32, f16"),
            run("x.npy", "w.npy", "--dtype float16", "--dtype"),
            run("x.npy", "w.npy", "--layout NHWC", "known are nchw, nhwc"),
            run("x.npy", "w.npy", "--layout hwc", "--layout"),
            run("x.npy", "w.npy", "--weight-layout iohw", "known are oihw, ohwi, hwio"),
            run("cut.npy", "wh.npy", "", "147 elements of 2 bytes; after the header the file has 293 bytes"),
            run("long.npy", "wh.npy", "", "147 elements of 2 bytes; after the header the file has 296 bytes"),
            run("wide.npy", "wh.npy", "", "147 elements of 2 bytes; after the header the file has 588 bytes"),
            run("cut.safetensors", "wh.npy", "", "reaches to byte 6 of the data; the file has 5"),
            run("size.safetensors", "wh.npy", "", "valid"),
            run("x.npy", "w.npy", "--layout nhwc", "input has shape (1, 3, 7, 7); required is (N, H, W, 3)"),
            run("xl.npy", "w.npy", "", "input has shape (1, 7, 7, 3); required is (N, 3, H, W)"),
            run("xl3.npy", "w.npy", "--layout nhwc", "input has shape (7, 7, 4); required is (N, H, W, 3)"),
            run("xl.npy", "wl.npy", "--layout nhwc --weight-layout hwio", "(1, 7, 7, 3); required is (N, H, W, 4)"),
            run("xl.npy", "wl.npy", "--layout nhwc --weight-layout hwio", "wl.npy, (3, 5, 4, 2) (hwio)"),
            run("x.npy", "w1.npy", "--weight-layout ohwi", "weight has shape (2)"),
            run("x.npy", "w6.npy", "--weight-layout ohwi", "weight has shape (2, 1, 1, 1, 1, 3)"),
            run("x.npy", "w6.npy", "--weight-layout hwio", "weight has shape (2, 1, 1, 1, 1, 3)"),
            run("xl.npy", "w.npy", "--layout nhwc --residual r.npy", "(1, 2, 5, 5); required is (1, 5, 5, 2)"),
            run("x.npy", "w.npy", "--residual rl.npy", "(1, 5, 5, 2); required is (1, 2, 5, 5)"),
            run(
                "xl.npy",
                "w.npy",
                "--layout nhwc --activation prelu_each --slopes slopes.npy",
                "slopes has shape (2, 5, 5); required is (5, 5, 2)",
            ),
            run("xl.npy", "w.npy", "--layout nhwc --in-channels 7", "--in-channels is 7; the tensors have 3"),
            run("x.npy", "wl.npy", "--weight-layout hwio --kernel-size 3", "the weight has (3, 5)"),
        ],
    );
}

/// What a problem string says of types and orders, the other commands take from there.
#[test]
fn other_commands_know_types_and_orders() {
    let lab = Lab::new();
    let problem = "c4h9w9o6k3p1:f16:nhwc:hwio";
    let explained = text(&lab.run_without_adapter(&["explain", problem]).stdout);
    for part in ["n1c4h9w9o6k3p1:f16:nhwc:hwio", "f16, 2 bytes each", "input and output nhwc", "weight hwio", "chosen"]
    {
        assert!(explained.contains(part), "{part} is not in:\n{explained}");
    }
    if skip_gpu_test() {
        return;
    }
    let printed = lab.succeed(&["bench", problem, "--runs", "1"]);
    assert!(printed.contains(":f16:nhwc:hwio") && printed.contains("verified"), "{printed}");
    let printed = lab.succeed(&["tune", problem, "--budget", "0", "--file", "tuning.txt"]);
    assert!(printed.contains(":f16:nhwc:hwio"), "{printed}");
    let mut server = Server::start(&lab, &[]);
    let folder = lab.path("");
    let prepared =
        server.succeed(json!({ "op": "prepare", "problem": "c2h3w5o4k3x1:f16:nhwc:ohwi", "folder": folder }));
    for (field, value) in [("dtype", "f16"), ("layout", "nhwc"), ("weight_layout", "ohwi")] {
        assert_eq!(prepared[field], json!(value), "{prepared}");
    }
    assert_eq!(prepared["verified"], json!(true));
    let shapes = ["input", "weight", "expected", "bounds"].map(|name| lab.read_npy(&format!("{name}.npy")).0);
    assert_eq!(shapes, ["(1, 3, 5, 2)", "(4, 3, 1, 2)", "(1, 1, 5, 4)", "(1, 1, 5, 4)"]);
    server.end();
}

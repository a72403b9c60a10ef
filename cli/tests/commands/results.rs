//! The program as a user runs it, with results that were worked out by hand.

use std::process::Stdio;

use crate::support::{
    Lab, NO_ADAPTER, counting, le_bytes, npy, npy_header, npy_with_header, safetensors, skip_gpu_test, text,
};

fn words(args: &str) -> Vec<&str> {
    args.split_whitespace().collect()
}

/// A 3×3 image of 1 to 9 and a 2×2 weight of ones: each output is the sum of four neighbours.
fn sums() -> Lab {
    let lab = Lab::new();
    lab.npy("x.npy", &[1, 1, 3, 3], counting(9)).npy("w.npy", &[1, 1, 2, 2], [1.0; 4]);
    lab
}

#[test]
fn run_computes_what_the_formula_says() {
    if skip_gpu_test() {
        return;
    }
    let lab = sums();
    lab.npy("b.npy", &[1], [0.5])
        .npy("r.npy", &[1, 1, 2, 2], [-100.0, 0.0, 1.0, 2.0])
        .npy("slope.npy", &[1], [0.25])
        .npy("x3.npy", &[1, 3, 3], counting(9))
        .npy("w2.npy", &[2, 1, 1, 1], [1.0, -1.0])
        .npy("x2.npy", &[1, 2, 1, 2], [1.0, 2.0, 10.0, 20.0])
        .npy("none.npy", &[0, 1, 3, 3], [])
        .write("big.npy", npy_with_header(&npy_header(">f4", false, &[1, 1, 3, 3]), &counting(9).flat_map(f32::to_be_bytes).collect::<Vec<u8>>()))
        .write("fortran.npy", npy_with_header(&npy_header("<f4", true, &[1, 1, 3, 3]), &le_bytes([1.0, 4.0, 7.0, 2.0, 5.0, 8.0, 3.0, 6.0, 9.0])))
        .write("all.safetensors", safetensors(
            r#"{"x":{"dtype":"F32","shape":[1,1,3,3],"data_offsets":[0,36]},"w":{"dtype":"F32","shape":[1,1,2,2],"data_offsets":[36,52]}}"#,
            &le_bytes(counting(9).chain([1.0; 4])),
        ));
    let square = "(1, 1, 2, 2)";
    let wide = "(1, 1, 3, 3)";
    for (args, shape, expected) in [
        ("--input x.npy --weight w.npy", square, &[12.0, 16.0, 24.0, 28.0][..]),
        ("--input x.npy --weight w.npy --kernel direct --checked", square, &[12.0, 16.0, 24.0, 28.0]),
        ("--input x.npy --weight w.npy --kernel tiled", square, &[12.0, 16.0, 24.0, 28.0]),
        ("--input big.npy --weight w.npy", square, &[12.0, 16.0, 24.0, 28.0]),
        ("--input fortran.npy --weight w.npy", square, &[12.0, 16.0, 24.0, 28.0]),
        ("--input all.safetensors:x --weight all.safetensors:w", square, &[12.0, 16.0, 24.0, 28.0]),
        ("--input x3.npy --weight w.npy", "(1, 2, 2)", &[12.0, 16.0, 24.0, 28.0]),
        ("--input x.npy --weight w.npy --bias b.npy", square, &[12.5, 16.5, 24.5, 28.5]),
        ("--input x.npy --weight w.npy --residual r.npy", square, &[-88.0, 16.0, 25.0, 30.0]),
        ("--input x.npy --weight w.npy --residual r.npy --activation relu", square, &[0.0, 16.0, 25.0, 30.0]),
        (
            "--input x.npy --weight w.npy --residual r.npy --activation prelu --slopes slope.npy",
            square,
            &[-22.0, 16.0, 25.0, 30.0],
        ),
        ("--input x.npy --weight w.npy --activation clip=13,25.5", square, &[13.0, 16.0, 24.0, 25.5]),
        ("--input x.npy --weight w.npy --stride 2,1 --padding 1,0", "(1, 1, 2, 2)", &[3.0, 5.0, 24.0, 28.0]),
        ("--input x.npy --weight w.npy --padding 1,0,1,0", wide, &[1.0, 3.0, 5.0, 5.0, 12.0, 16.0, 11.0, 24.0, 28.0]),
        ("--input x.npy --weight w.npy --padding same", wide, &[12.0, 16.0, 9.0, 24.0, 28.0, 15.0, 15.0, 17.0, 9.0]),
        (
            "--input x.npy --weight w.npy --padding same-lower",
            wide,
            &[1.0, 3.0, 5.0, 5.0, 12.0, 16.0, 11.0, 24.0, 28.0],
        ),
        ("--input x.npy --weight w.npy --padding valid", square, &[12.0, 16.0, 24.0, 28.0]),
        ("--input x.npy --weight w.npy --dilation 2", "(1, 1, 1, 1)", &[20.0]),
        (
            "--input x.npy --weight w.npy --padding same --padding-mode replicate",
            wide,
            &[12.0, 16.0, 18.0, 24.0, 28.0, 30.0, 30.0, 34.0, 36.0],
        ),
        (
            "--input x2.npy --weight w2.npy --groups 2 --in-channels 2 --out-channels 2 --kernel-size 1",
            "(1, 2, 1, 2)",
            &[1.0, 2.0, -10.0, -20.0],
        ),
        // One slope for two channels, as torch.nn.PReLU has it by default.
        (
            "--input x2.npy --weight w2.npy --groups 2 --activation prelu --slopes slope.npy",
            "(1, 2, 1, 2)",
            &[1.0, 2.0, -2.5, -5.0],
        ),
        ("--input none.npy --weight w.npy", "(0, 1, 2, 2)", &[]),
    ] {
        let printed = lab.succeed(&words(&format!("run {args} --output y.npy --check")));
        assert_eq!(lab.read_npy("y.npy"), (shape.to_owned(), expected.to_vec()), "{args}");
        assert!(printed.contains("largest difference") && printed.contains(&format!("output {shape}")), "{printed}");
        std::fs::remove_file(lab.path("y.npy")).unwrap();
    }
}

/// One and three axes, and transposed convolutions: sums of neighbours, and what each input is spread over.
#[test]
fn run_knows_every_number_of_axes_and_transposed() {
    if skip_gpu_test() {
        return;
    }
    let lab = Lab::new();
    lab.npy("x1.npy", &[1, 1, 5], counting(5))
        .npy("x1u.npy", &[1, 5], counting(5))
        .npy("w1.npy", &[1, 1, 2], [1.0, 10.0])
        .npy("x2.npy", &[1, 1, 2, 2], counting(4))
        .npy("w2.npy", &[1, 1, 2, 2], [1.0, 2.0, 3.0, 4.0])
        .npy("x3.npy", &[1, 1, 2, 2, 2], counting(8))
        .npy("x3u.npy", &[1, 2, 2, 2], counting(8))
        .npy("w3.npy", &[1, 1, 2, 1, 2], [1.0, 1.0, 1.0, 1.0])
        .npy("ones3.npy", &[1, 1, 2, 2, 2], [1.0; 8])
        .npy("xg.npy", &[1, 2, 2], [1.0, 2.0, 10.0, 20.0])
        .npy("wg.npy", &[2, 2, 1], [1.0, 2.0, 3.0, 4.0])
        .npy("bg.npy", &[4], [0.5, 0.0, 0.0, 0.0])
        .npy("slope.npy", &[1], [0.5]);
    for (args, shape, expected) in [
        ("--input x1.npy --weight w1.npy", "(1, 1, 4)", &[21.0, 32.0, 43.0, 54.0][..]),
        ("--input x1u.npy --weight w1.npy", "(1, 4)", &[21.0, 32.0, 43.0, 54.0]),
        ("--input x1.npy --weight w1.npy --stride 2 --padding 1,0", "(1, 1, 3)", &[10.0, 32.0, 54.0]),
        ("--input x1.npy --weight w1.npy --dilation 3 --kernel-size 2", "(1, 1, 2)", &[41.0, 52.0]),
        (
            "--input x1.npy --weight w1.npy --padding 1 --padding-mode circular",
            "(1, 1, 6)",
            &[15.0, 21.0, 32.0, 43.0, 54.0, 15.0],
        ),
        ("--input x3.npy --weight w3.npy", "(1, 1, 1, 2, 1)", &[14.0, 22.0]),
        ("--input x3u.npy --weight w3.npy", "(1, 1, 2, 1)", &[14.0, 22.0]),
        // Slices 0, 0 to 1 and 1, columns to the right of which there is nothing.
        (
            "--input x3.npy --weight w3.npy --padding 1,1,0,0,0,1",
            "(1, 1, 3, 2, 2)",
            &[3.0, 2.0, 7.0, 4.0, 14.0, 8.0, 22.0, 12.0, 11.0, 6.0, 15.0, 8.0],
        ),
        ("--input x3.npy --weight ones3.npy --stride 1,2,1 --padding 0,1,0", "(1, 1, 1, 2, 1)", &[14.0, 22.0]),
        (
            "--transposed --input x1.npy --weight w1.npy --stride 2",
            "(1, 1, 10)",
            &[1.0, 10.0, 2.0, 20.0, 3.0, 30.0, 4.0, 40.0, 5.0, 50.0],
        ),
        ("--transposed --input x1u.npy --weight w1.npy --padding 1", "(1, 4)", &[12.0, 23.0, 34.0, 45.0]),
        (
            "--transposed --input x1.npy --weight w1.npy --stride 3 --padding 2,1 --output-padding 1",
            "(1, 1, 12)",
            &[0.0, 2.0, 20.0, 0.0, 3.0, 30.0, 0.0, 4.0, 40.0, 0.0, 5.0, 50.0],
        ),
        (
            "--transposed --input x1.npy --weight w1.npy --stride 2 --padding same",
            "(1, 1, 10)",
            &[1.0, 10.0, 2.0, 20.0, 3.0, 30.0, 4.0, 40.0, 5.0, 50.0],
        ),
        (
            "--transposed --input x2.npy --weight w2.npy --stride 2,1 --output-padding 1,0",
            "(1, 1, 5, 3)",
            &[1.0, 4.0, 4.0, 3.0, 10.0, 8.0, 3.0, 10.0, 8.0, 9.0, 24.0, 16.0, 0.0, 0.0, 0.0],
        ),
        (
            "--transposed --input x3.npy --weight w3.npy --padding 1,0,0",
            "(1, 1, 1, 2, 3)",
            &[6.0, 14.0, 8.0, 10.0, 22.0, 12.0],
        ),
        // (C_in, C_out / groups, KW): each input channel makes two output channels.
        (
            "--transposed --input xg.npy --weight wg.npy --bias bg.npy --groups 2 --out-channels 4",
            "(1, 4, 2)",
            &[1.5, 2.5, 2.0, 4.0, 30.0, 60.0, 40.0, 80.0],
        ),
        (
            "--transposed --input xg.npy --weight wg.npy --groups 2 --activation prelu --slopes slope.npy --kernel tiled",
            "(1, 4, 2)",
            &[1.0, 2.0, 2.0, 4.0, 30.0, 60.0, 40.0, 80.0],
        ),
    ] {
        let printed = lab.succeed(&words(&format!("run {args} --output y.npy --check")));
        assert_eq!(lab.read_npy("y.npy"), (shape.to_owned(), expected.to_vec()), "{args}");
        assert!(printed.contains("largest difference") && printed.contains(&format!("output {shape}")), "{printed}");
        std::fs::remove_file(lab.path("y.npy")).unwrap();
    }
}

/// Deformable convolutions of a 2 × 3 image: every tap has an offset, down and to the right, for each output.
#[test]
fn run_knows_deformable_convolutions() {
    if skip_gpu_test() {
        return;
    }
    let lab = Lab::new();
    let zeros = [0.0; 12];
    let mut moved = zeros;
    // The first output looks half a row further down, the last one a quarter of a column to the left.
    (moved[0], moved[11]) = (0.5, -0.25);
    lab.npy("x.npy", &[1, 1, 2, 3], [1.0, 2.0, 4.0, 10.0, 20.0, 40.0])
        .npy("xu.npy", &[1, 2, 3], [1.0, 2.0, 4.0, 10.0, 20.0, 40.0])
        .npy("w.npy", &[1, 1, 1, 1], [2.0])
        .npy("o.npy", &[1, 2, 2, 3], moved)
        .npy("ou.npy", &[2, 2, 3], moved)
        .npy("m.npy", &[1, 1, 2, 3], [1.0, 1.0, 0.5, 1.0, 0.0, 1.0])
        .npy("x2.npy", &[1, 2, 1, 2], counting(4))
        .npy("w2.npy", &[1, 2, 1, 1], [1.0, 10.0])
        // The first group stays, the second one looks at the left neighbour.
        .npy("o2.npy", &[1, 4, 1, 2], [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -1.0, -1.0]);
    for (args, shape, expected) in [
        ("--input x.npy --weight w.npy --offset o.npy", "(1, 1, 2, 3)", &[11.0, 4.0, 8.0, 20.0, 40.0, 70.0][..]),
        ("--input xu.npy --weight w.npy --offset ou.npy", "(1, 2, 3)", &[11.0, 4.0, 8.0, 20.0, 40.0, 70.0]),
        (
            "--input x.npy --weight w.npy --offset o.npy --mask m.npy --kernel tiled",
            "(1, 1, 2, 3)",
            &[11.0, 4.0, 4.0, 20.0, 0.0, 70.0],
        ),
        ("--input x2.npy --weight w2.npy --offset o2.npy --offset-groups 2", "(1, 1, 1, 2)", &[1.0, 32.0]),
    ] {
        let printed = lab.succeed(&words(&format!("run --deform {args} --output y.npy --check")));
        assert_eq!(lab.read_npy("y.npy"), (shape.to_owned(), expected.to_vec()), "{args}");
        assert!(printed.contains("largest difference") && printed.contains(&format!("output {shape}")), "{printed}");
        std::fs::remove_file(lab.path("y.npy")).unwrap();
    }
}

/// The example of PyTorch's users: nn.Conv2d(3, 2, kernel_size=3, stride=2, padding=0) on a 1×3×7×7 input.
#[test]
fn the_known_example_through_safetensors() {
    if skip_gpu_test() {
        return;
    }
    let lab = Lab::new();
    lab.npy("x.npy", &[1, 3, 7, 7], [1.0; 147]).npy(
        "w.npy",
        &[2, 3, 3, 3],
        (0..54).map(|i| if i < 27 { 1.0 } else { -2.0 }),
    );
    lab.succeed(&words("run --input x.npy --weight w.npy --stride 2 --output out.safetensors:y --check"));
    let bytes = std::fs::read(lab.path("out.safetensors")).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(file.names(), ["y"]);
    let y = file.tensor("y").unwrap();
    assert_eq!(y.shape(), [1, 2, 3, 3]);
    assert_eq!(y.data(), le_bytes([27.0; 9].into_iter().chain([-54.0; 9])));
    assert_eq!(lab.names().len(), 3, "no temporary file is left: {:?}", lab.names());
}

#[test]
fn bench_verifies_and_writes_rows() {
    if skip_gpu_test() {
        return;
    }
    let lab = Lab::new();
    let problems = "n1c4h9w9o6k3p1 c8h8w8o8k1 c4w40o6k5s2 c2z4h5w6o3k2x3x3p1 c4h5w6o3k4s2p1:transposed=1x0 c4h5w6o3k3p1:deform:mask";
    let printed = lab.succeed(&words(&format!("bench {problems} --runs 2 --json rows.json")));
    assert!(printed.contains("n1c4h9w9o6k3p1") && printed.contains("verified"), "{printed}");
    let rows: serde_json::Value = serde_json::from_slice(&std::fs::read(lab.path("rows.json")).unwrap()).unwrap();
    assert_eq!(rows.as_array().unwrap().len(), 6);
    for row in rows.as_array().unwrap() {
        assert_eq!(row["verified"], true);
        for field in ["gpu_ms_median", "gpu_ms_min", "wall_ms_median", "gflops", "gbps", "first_use_ms"] {
            assert!(row[field].as_f64().unwrap() > 0.0, "{field}: {row}");
        }
        for field in ["problem", "kernel", "variant", "adapter", "driver"] {
            assert!(!row[field].as_str().unwrap().is_empty(), "{field}: {row}");
        }
    }
}

/// Tuned, kept beside what the file had, shown and used; a damaged file is ignored in words.
#[test]
fn tuning_is_kept_and_used() {
    if skip_gpu_test() {
        return;
    }
    let lab = Lab::new();
    let tune = "tune n1c4h9w9o6k3p1 --budget 0 --file tuning.txt --json times.json";
    let printed = lab.succeed(&words(tune));
    assert!(printed.contains("n1c4h9w9o6k3p1") && printed.contains("1 entries in tuning.txt"), "{printed}");
    let times: serde_json::Value = serde_json::from_slice(&std::fs::read(lab.path("times.json")).unwrap()).unwrap();
    let candidates = times[0]["candidates"].as_array().unwrap();
    assert_eq!((&times[0]["chosen"], &candidates[0]["outcome"]), (&times[0]["default"], &"measured".into()));
    assert!(candidates.iter().any(|candidate| candidate["outcome"] == "not tried"), "the time was 0");
    assert!(times[0]["chosen_ms"].as_f64().unwrap() > 0.0 && candidates[0]["samples"] == 1);
    let printed = lab.succeed(&words("tune c8h8w8o8k1 --budget 0 --file tuning.txt"));
    assert!(printed.contains("2 entries in tuning.txt"), "{printed}");

    for problem in ["n1c4h9w9o6k3p1", "c8h8w8o8k1"] {
        let explained = lab.succeed(&["explain", problem, "--tuning", "tuning.txt"]);
        assert!(explained.contains("chosen: tuned, measured "), "{explained}");
    }
    let explained = lab.succeed(&words("explain n1c4h9w9o7k3p1 --tuning tuning.txt"));
    assert!(explained.contains("chosen: the lowest estimated cost"), "{explained}");
    lab.succeed(&words("bench n1c4h9w9o6k3p1 --runs 1 --tuning tuning.txt"));

    let whole = std::fs::read_to_string(lab.path("tuning.txt")).unwrap();
    lab.write("tuning.txt", whole.replacen("ms = ", "ms = 1", 1));
    lab.npy("x.npy", &[1, 4, 9, 9], counting(324)).npy("w.npy", &[6, 4, 3, 3], counting(216));
    let run = words("run --input x.npy --weight w.npy --padding 1 --output y.npy --check --tuning tuning.txt");
    let output = lab.command(&run).output().unwrap();
    let error = text(&output.stderr);
    assert!(output.status.success() && error.contains("warning: tuning.txt: the entry at line"), "{error}");
    lab.write("tuning.txt", [0xff; 1000]);
    let output = lab.command(&words("explain A --tuning tuning.txt")).output().unwrap();
    let error = text(&output.stderr);
    assert!(output.status.success() && error.contains("ignored as a whole"), "{error}");
}

#[test]
fn verify_ends_with_the_counts() {
    if skip_gpu_test() {
        return;
    }
    let lab = Lab::new();
    // A name that is part of no other.
    let entries = wgpu_conv_check::table::entries();
    let alone = |name: &str| entries.iter().filter(|entry| entry.name.contains(name)).count() == 1;
    let entry = entries.iter().find(|entry| alone(&entry.name)).unwrap();
    let args = ["verify", "--filter", &entry.name, "--kernel", "direct", "--mode", "checked", "--json", "rows.json"];
    let printed = lab.succeed(&args);
    let last = printed.lines().last().unwrap();
    let counts: Vec<&str> = last.split([' ', ',']).filter(|word| word.parse::<u32>().is_ok()).collect();
    assert!(last.ends_with(" skipped") && counts.len() == 3 && counts[1] == "0" && counts[0] != "0", "{last}");
    let rows: serde_json::Value = serde_json::from_slice(&std::fs::read(lab.path("rows.json")).unwrap()).unwrap();
    let rows = rows.as_array().unwrap();
    assert!(!rows.is_empty());
    assert!(rows.iter().all(|row| row["kernel"] == "direct" && row["mode"] == "checked"), "{rows:?}");
}

#[test]
fn verify_draws_the_same_problems_again() {
    if skip_gpu_test() {
        return;
    }
    let lab = Lab::new();
    let mut runs = Vec::new();
    // In one run, and one by one.
    for (count, from) in [(3, 5), (1, 5), (1, 6), (1, 7)] {
        let command = format!("verify --random {count} --seed 4 --from {from} --json rows.json");
        let printed = lab.succeed(&words(&command));
        assert_eq!(printed.trim_end(), format!("{count} passed, 0 failed, 0 skipped"));
        let rows: serde_json::Value = serde_json::from_slice(&std::fs::read(lab.path("rows.json")).unwrap()).unwrap();
        runs.push(rows.as_array().unwrap().clone());
    }
    let all = runs.remove(0);
    assert_eq!(all, runs.concat());
    assert_eq!(all[2]["case"], "random-4-7");
}

/// A suite whose expected value is wrong must fail, and say so in every way that it has.
#[test]
fn verify_fails_on_a_wrong_result() {
    if skip_gpu_test() {
        return;
    }
    let lab = Lab::new();
    std::fs::create_dir(lab.path("suite")).unwrap();
    // 2 times 3 is said to be 7, and to be 6.
    let tensor = |name: &str, at: usize| {
        format!(r#""{name}":{{"dtype":"F32","shape":[1,1,1,1],"data_offsets":[{at},{}]}}"#, at + 4)
    };
    let header = [tensor("input", 0), tensor("weight", 4), tensor("seven", 8), tensor("six", 12)].join(",");
    lab.write("suite/one.safetensors", safetensors(&format!("{{{header}}}"), &le_bytes([2.0, 3.0, 7.0, 6.0])));
    let case = |expected: &str| {
        format!(
            r#"{{"name":"two_times_three_is_{expected}","source":"here","op":"conv","spatial_dims":2,"dtype":"float32",
                "stride":[1,1],"padding_begin":[0,0],"padding_end":[0,0],"dilation":[1,1],"groups":1,"auto_pad":null,
                "padding_mode":"zeros","activation":null,"input":"input","weight":"weight","bias":null,
                "expected":"{expected}","tolerance":{{"abs":1e-5,"rel":1e-5}}}}"#
        )
    };
    lab.write("suite/one.json", format!("[{},{}]", case("seven"), case("six")));
    let args = words("verify --suite suite --no-table --kernel tiled --mode trusted --json rows.json");
    let output = lab.command(&args).output().unwrap();
    let (out, error) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(1), "{error}");
    let variants = wgpu_conv::Kernel::Tiled.variants().len();
    assert_eq!(out, format!("{variants} passed, {variants} failed, 0 skipped\n"));
    assert!(error.contains("is_seven") && error.contains("n1c1h1w1o1k1:nobias"), "{error}");
    assert!(!error.contains("is_six"), "{error}");
    assert!(text(&std::fs::read(lab.path("rows.json")).unwrap()).contains("\"failed\""));

    let args = words("verify --suite suite --no-table --filter three_times");
    let output = lab.run_without_adapter(&args);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("\"three_times\""), "{}", text(&output.stderr));
}

#[test]
fn info_names_the_adapter_and_every_kernel() {
    if skip_gpu_test() {
        return;
    }
    let printed = Lab::new().succeed(&["info"]);
    assert!(printed.contains("Adapter 1: ") && printed.contains("largest storage binding"), "{printed}");
    for &kernel in wgpu_conv::Kernel::ALL {
        for variant in kernel.variants() {
            let line = printed.lines().find(|line| line.contains(variant));
            assert!(line.is_some_and(|line| line.contains(kernel.name())), "{kernel} {variant}:\n{printed}");
        }
    }
}

#[test]
fn explain_works_with_and_without_an_adapter() {
    let lab = Lab::new();
    let without = lab.run_without_adapter(&["explain", "A"]);
    let mut texts = vec![text(&without.stdout)];
    assert!(without.status.success(), "{}", text(&without.stderr));
    assert!(texts[0].contains("none was found"), "{}", texts[0]);
    if !skip_gpu_test() {
        texts.push(lab.succeed(&["explain", "n1c64h56w56o64k3p1"]));
        assert!(!texts[1].contains("none was found"), "{}", texts[1]);
    }
    for text in texts {
        for part in ["(64, 64, 3, 3)", "115,605,504", "floor((56 + 1 + 1 - 1 * (3 - 1) - 1) / 1) + 1 = 56", "chosen"] {
            assert!(text.contains(part), "{part} is not in:\n{text}");
        }
        // Whoever pipes it to a file gets no colours.
        assert!(!text.contains('\u{1b}'), "{text}");
    }
}

#[test]
fn shader_prints_the_module_and_needs_no_adapter() {
    let lab = Lab::new();
    // The transposed one is several convolutions, of which the second differs from the first.
    let transposed = "c4h5w6o3k3s2p1:transposed";
    let deformable = "c4h5w6o3k3s2p1:deform";
    let of_all =
        [("B", 0), ("B", 1), ("c4w40o6k5s2", 0), (transposed, 0), (transposed, 1), (transposed, 2), (deformable, 2)];
    let of_winograd = [("A", 0), ("A", 1), ("A", 2), ("A", 3), ("c4w40o6k3", 0)];
    for &kernel in wgpu_conv::Kernel::ALL {
        let parts = match kernel {
            wgpu_conv::Kernel::Winograd => &of_winograd[..],
            // Which takes no samples.
            wgpu_conv::Kernel::Matrix => &of_all[..6],
            _ => &of_all,
        };
        for &(name, part) in parts {
            let args = ["shader", "--kernel", kernel.name(), "--part", &part.to_string(), name];
            let output = lab.run_without_adapter(&args);
            assert!(output.status.success(), "{}", text(&output.stderr));
            let problem = wgpu_conv_check::problem_or_workload(name).unwrap();
            let source = wgpu_conv::shader_source(&problem, kernel, None, part).unwrap();
            assert_eq!(text(&output.stdout).trim_end(), source.trim_end());
            assert!(output.stderr.is_empty());
        }
    }
}

#[test]
fn without_an_adapter_the_error_names_what_was_asked_for() {
    let lab = sums();
    for args in
        ["run --input x.npy --weight w.npy --output y.npy", "info", "bench A", "verify", "explain A --adapter nobody"]
    {
        let output = lab.run_without_adapter(&words(args));
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{args}: {error}");
        let name = if args.contains("nobody") { "nobody" } else { NO_ADAPTER };
        assert!(error.starts_with("error: ") && error.contains(name), "{args}: {error}");
    }
    assert!(!lab.path("y.npy").exists());
}

#[test]
fn help_and_version() {
    let lab = Lab::new();
    for command in ["", "run", "verify", "bench", "explain", "info", "shader"] {
        let printed = lab.succeed(&words(&format!("{command} --help")));
        assert!(printed.contains("Usage: wgpu-conv"), "{command}: {printed}");
    }
    assert_eq!(lab.succeed(&["--version"]), concat!("wgpu-conv ", env!("CARGO_PKG_VERSION"), "\n"));
}

/// As with `wgpu-conv shader … | head -0`: the reader is gone before anything is written.
#[test]
fn a_closed_pipe_ends_it_quietly() {
    let lab = Lab::new();
    for args in ["shader --kernel direct A", "explain A", "--help"] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let child = lab
            .command(&words(args))
            .env("WGPU_ADAPTER_NAME", NO_ADAPTER)
            .stdout(Stdio::from(writer))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{args}: {:?}", output.status);
        // (A Vulkan loader may have something to say of its own.)
        let error = text(&output.stderr);
        assert!(!error.contains("panicked") && !error.to_lowercase().contains("pipe"), "{args}: {error}");
    }
}

/// The file format that the other tests stand on is the one that NumPy documents.
#[test]
fn the_test_files_are_right() {
    let bytes = npy(&[2], [1.0, -2.0]);
    assert_eq!(&bytes[..10], b"\x93NUMPY\x01\x00\x3b\x00");
    assert_eq!(bytes[bytes.len() - 8..], [0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0]);
}

//! Malformed input of every kind: each is an error that names what is wrong, with exit code 1 or 2; none panics, none
//! leaves a file, and none needs a GPU to be found.

use crate::support::{Lab, NO_ADAPTER, counting, le_bytes, npy, npy_header, npy_with_header, safetensors, text};

/// Arguments (words separated by spaces), and what the error must contain.
pub struct Case {
    args: Vec<String>,
    contains: String,
}

pub fn case(args: &str, contains: &str) -> Case {
    Case { args: args.split_whitespace().map(Into::into).collect(), contains: contains.into() }
}

/// Arguments in which `{}` stands for a word that may hold spaces or nothing.
fn case_with(args: &str, word: &str, contains: &str) -> Case {
    let args = args.split_whitespace().map(|arg| arg.replace("{}", word)).collect();
    Case { args, contains: contains.into() }
}

/// Input 1×3×7×7, weight 2×3×3×3, and the other tensors that go with them.
pub fn good_files() -> Lab {
    let lab = Lab::new();
    lab.npy("x.npy", &[1, 3, 7, 7], counting(147)).npy("w.npy", &[2, 3, 3, 3], counting(54)).npy(
        "b.npy",
        &[2],
        counting(2),
    );
    lab
}

const RUN: &str = "run --input x.npy --weight w.npy --output y.npy";

pub fn check(lab: &Lab, cases: &[Case]) {
    let before = lab.names();
    let mut wrong = Vec::new();
    for case in cases {
        let args: Vec<&str> = case.args.iter().map(String::as_str).collect();
        let output = lab.run_without_adapter(&args);
        let (code, error) = (output.status.code(), text(&output.stderr));
        let mut complain = |what: &str| wrong.push(format!("{args:?}: {what} (code {code:?}):\n{error}"));
        if !matches!(code, Some(1 | 2)) {
            complain("the exit code is neither 1 nor 2");
        }
        if !error.contains(&case.contains) {
            complain(&format!("{:?} is not in the error", case.contains));
        }
        if !error.starts_with("error: ") || error.contains("panicked") || error.contains("internal error") {
            complain("this is no proper error");
        }
        if error.contains(NO_ADAPTER) {
            complain("it was not found before an adapter was looked for");
        }
        if !output.stdout.is_empty() {
            complain("there is something on standard output");
        }
    }
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    assert_eq!(lab.names(), before, "files were left or removed");
}

#[test]
fn flags() {
    let mut cases = vec![
        case("nothing", "'nothing'"),
        case("--nothing", "'--nothing'"),
        case("run", "--input"),
        case("run --input x.npy --output y.npy", "--weight"),
        case("run --input x.npy --weight w.npy", "--output"),
        case("run --weight w.npy --output y.npy", "--input"),
        case(&format!("{RUN} --nothing 3"), "'--nothing'"),
        case(&format!("{RUN} --stride 1 --stride 2"), "cannot be used multiple times"),
        case(&format!("{RUN} --stride"), "--stride"),
        case(&format!("{RUN} more"), "'more'"),
        case(&format!("{RUN} --kernel winograd9"), "known are direct"),
        case(&format!("{RUN} --variant none"), "there is no variant \"none\""),
        case(&format!("{RUN} --kernel direct --variant none"), "known are direct"),
        case(&format!("{RUN} --backend vulcan"), "\"vulcan\""),
        case(&format!("{RUN} --backend vulkan,"), "\"\""),
        case("explain", "<PROBLEM>"),
        case("explain A B", "'B'"),
        case("info A", "'A'"),
        case("info --backend directx", "\"directx\""),
        case("shader A", "--kernel"),
        case("shader --kernel direct", "<PROBLEM>"),
        case("shader --kernel gemm A", "\"gemm\""),
        case("shader --kernel direct --variant none A", "none"),
        case("shader --kernel direct --part 99 A", "99"),
        case("shader --kernel direct --part -1 A", "-1"),
        case("shader --kernel direct --part x A", "'x'"),
        case("bench --runs 0", "'0'"),
        case("bench --runs x", "'x'"),
        case("bench --kernel x A", "\"x\""),
        case("bench --variant x A", "\"x\""),
        case("bench --json no/such/file.json A", "no/such"),
        case("bench --json . A", "folder"),
        case("bench A Z", "\"Z\""),
        case("tune --budget x A", "'x'"),
        case("tune --budget -1 A", "-1"),
        case("tune --budget NaN A", "86400"),
        case("tune --file no/such/tuning.txt A", "no/such"),
        case("tune --file . A", "folder"),
        case("tune --json no/such/file.json A", "no/such"),
        case("tune --kernel direct A", "'--kernel'"),
        case("tune A Z", "\"Z\""),
        case("bench --tuning none.txt A", "none.txt cannot be read"),
        case("explain --tuning none.txt A", "none.txt cannot be read"),
        case("explain --tuning . A", "cannot be read"),
        case(&format!("{RUN} --tuning none.txt"), "none.txt cannot be read"),
        case("verify --mode both", "trusted, checked"),
        case("verify --kernel x", "\"x\""),
        case("verify --variant x", "\"x\""),
        case("verify --no-table", "--suite"),
        case("verify --all --random 5", "--random"),
        case("verify --shapes", "--suite"),
        case("verify --max-macs 5", "--shapes"),
        case("verify --suite . --shapes --max-macs x", "'x'"),
        case("verify --suite no_such_folder", "no_such_folder"),
        case("verify --suite .", "no conformance suite"),
        case("verify --suite x.npy", "x.npy"),
        case("verify --filter no-problem-has-this", "no-problem-has-this"),
        case("verify --json no/such/file.json", "no/such"),
        case("verify --random x", "'x'"),
        case("verify --seed 5", "--random"),
        case("verify --random 5 --from -1", "'-1'"),
        case("verify --random 5 --suite .", "--suite"),
        case("verify A", "'A'"),
    ];
    for value in ["x", "1.5", "99999999999", "1,", ",1", "1x2", "\u{663}", "1e1", "+1", "", " "] {
        for flag in ["stride", "dilation", "kernel-size", "output-padding"] {
            cases.push(case_with(&format!("{RUN} --{flag}={{}}"), value, &format!("--{flag}")));
        }
    }
    for value in ["SAME", "same_upper", "1.5", "4294967296", ",", "", "valid,1"] {
        cases.push(case_with(&format!("{RUN} --padding={{}}"), value, "--padding"));
    }
    for value in ["-1", "x", "4294967296", "1.0", ""] {
        for flag in ["groups", "in-channels", "out-channels"] {
            cases.push(case_with(&format!("{RUN} --{flag}={{}}"), value, &format!("--{flag}")));
        }
    }
    for value in ["mirror", "ZEROS", "constant", ""] {
        cases.push(case_with(&format!("{RUN} --padding-mode={{}}"), value, "zeros, reflect, replicate, circular"));
    }
    for value in [
        "swish",
        "RELU",
        "clip",
        "clip=1",
        "clip=6,0",
        "clip=nan,1",
        "elu=nan",
        "elu=inf",
        "relu=1",
        "leaky_relu=x",
        "elu=",
        "",
    ] {
        cases.push(case_with(&format!("{RUN} --activation={{}}"), value, "--activation"));
    }
    for path in ["x", "x.npz", "x.npy:name", ".npy", "x.safetensors:", ".safetensors", "x.pt", ""] {
        for flag in ["input", "bias", "output"] {
            let rest: String = ["input", "weight", "output"]
                .into_iter()
                .filter(|other| *other != flag)
                .map(|other| format!(" --{other} w.npy"))
                .collect();
            cases.push(case_with(&format!("run --{flag}={{}}{rest}"), path, &format!("--{flag}")));
        }
    }
    let lab = good_files();
    check(&lab, &cases);
}

#[test]
fn problem_strings() {
    let long = "n1".repeat(30_000);
    let cases: Vec<Case> = [
        ("", "character 1"),
        ("M", "A to L"),
        ("AA", "character 1"),
        ("n1", "\"c\""),
        ("n1c64h56w56o64", "\"k\""),
        ("n1c64h56w56k3", "\"o\""),
        ("n1c64z8w56o64k3", "\"h\""),
        ("n1c64h56o64k3", "\"w\""),
        ("n1c64z8h56o64k3", "\"w\""),
        ("c3h7w7o2k0", "kernel_size is 0"),
        ("c3h7w7o2k3x0", "kernel_size is 0"),
        ("c3h7w7o2k3s0", "stride is 0"),
        ("c3h7w7o2k3s1x0", "stride is 0"),
        ("c3h7w7o2k3d0", "dilation is 0"),
        ("c3h7w7o2k3g0", "groups is 0"),
        ("c3h7w7o3k3g2", "in_channels = 3"),
        ("c4h7w7o3k3g2", "out_channels = 3"),
        ("c3h7w7o0k3", "out_channels is 0"),
        ("c3h0w7o2k3", "input height is 0"),
        ("c3h7w0o2k3", "input width is 0"),
        ("c3h7w7o2k9", "covers 9"),
        ("c3h7w7o2k3d4", "covers 9"),
        ("c3h7w7o2k3x9p0x0", "columns"),
        ("c3h7w7o2k3p8:circular", "circular padding of 8"),
        ("c3h7w7o2k3p7:reflect", "reflect padding of 7"),
        ("c3h7w7o2k3p0,0,0,9:reflect", "columns"),
        ("c3h7w7o2k3p-1", "without a sign"),
        ("c3h7w7o2k3p1,2", "p has 2 numbers for both sides of 2"),
        ("c3h7w7o2k3p1,2,3", "p has 3 numbers for both sides of 2"),
        ("c3h7w7o2k3p1,2,3,4,5", "p has 5 numbers for both sides of 2"),
        ("c3w7o2k3p1,2,3,4", "p has 4 numbers for both sides of 1"),
        ("c3z7h7w7o2k3p1,2,3,4", "p has 4 numbers for both sides of 3"),
        ("c3w7o2k3x3", "k has 2 numbers for 1"),
        ("c3h7w7o2k3s1x2x3", "s has 3 numbers for 2"),
        ("c3z7h7w7o2k3d1x2", "d has 2 numbers for 3"),
        ("c3z0h7w7o2k3", "input depth is 0"),
        ("c3z2h7w7o2k3", "no slices"),
        ("c3w7o2k3:transposed=1", "output_padding is 1; it must be below 1"),
        ("c3h7w7o2k3s2:transposed=1x2", "output_padding is 2; it must be below 2"),
        ("c3h7w7o2k3s2:transposed=1x1x1", "transposed has 3 numbers for 2"),
        ("c3h7w7o2k3s2:transposed=", "expected a number"),
        ("c3h7w7o2k3s2:transposed:transposed", "transposed once"),
        ("c3h7w7o2k3s2:transposed1", "transposed once"),
        ("c3h7w7o2k3p1:transposed:reflect", "padding_mode is reflect; it must be zeros"),
        ("c3w2o2k1p2:transposed", "no columns"),
        ("c3h7w7o2k3g2:transposed", "in_channels = 3"),
        ("c4h7w7o3k3g2:transposed", "out_channels = 3"),
        ("c4h7w7o3k3:deform:offset_groups=3", "offset_groups is 3; it must be a divisor of in_channels, which is 4"),
        ("c4h7w7o3k3:deform:transposed", "not with deform"),
        ("c4h7w7o3k3:mask", "only deformable"),
        ("c4w7o3k3:deform", "2 numbers, rows and columns"),
        ("c1w4294967295o1k1s4294967295:transposed", "18446744060824649731"),
        ("c3h7w7o2k3pfoo", "expected a number"),
        ("c3h7w7o2k3k3", "twice"),
        ("c3h7w7o2k3x", "expected a number"),
        ("c3h7w7o2k3q1", "expected one of"),
        ("c3h7w7o2k3 ", "expected one of"),
        (" c3h7w7o2k3", "expected one of"),
        ("c+3h7w7o2k3", "without a sign"),
        ("c99999999999h7w7o2k3", "4294967295"),
        ("c3h7w7o2k3:mirror", "reflect"),
        ("c3h7w7o2k3:", "reflect"),
        ("c3h7w7o2k3:nobias:nobias", "twice"),
        ("c3h7w7o2k3:reflect:zeros", "twice"),
        ("c3h7w7o2k3+", "no activation"),
        ("c3h7w7o2k3+swish", "swish"),
        ("c3h7w7o2k3+relu+relu", "second activation"),
        ("c3h7w7o2k3+residual+residual", "twice"),
        ("c3h7w7o2k3+clip=1", "clip"),
        ("c3h7w7o2k3+clip=6,0", "6,0"),
        ("c3h7w7o2k3+elu=inf", "finite"),
        ("c3h7w7o2k3+relu:nobias", "nobias"),
        ("c4294967295h4294967295w4294967295o4294967295k1", "4294967295"),
        ("n4294967295c1h65536w65536o65536k1", "64 bits"),
        ("c1h7w7o1k4294967295d4294967295", "18446744060824649731"),
        ("c1h1w1o1k1p4294967295,4294967295,0,0", "rows"),
        ("c1h4294967295w1o1k4294967295d4294967295psame", "padding"),
        ("🦀", "character 1"),
        ("c3h7w7o2k3🦀", "character 11"),
        (&long, "twice"),
    ]
    .into_iter()
    .flat_map(|(problem, contains)| {
        ["explain {}", "bench {}", "tune {}"].map(|command| case_with(command, problem, contains))
    })
    .collect();
    check(&good_files(), &cases);
}

#[test]
fn npy_files() {
    let lab = good_files();
    let good = npy(&[1, 3, 7, 7], counting(147));
    let mut cases = Vec::new();
    let mut add = |name: String, bytes: Vec<u8>, contains: &str| {
        lab.write(&name, bytes);
        let args = format!("run --input {name} --weight w.npy --output y.npy");
        cases.push(case(&args, contains));
        // The name of the file is always part of the error.
        cases.push(case(&args, &name));
    };
    for length in (0..80).chain([100, 200, 600, good.len() - 4, good.len() - 1]) {
        let contains = if length == 0 { "0 bytes" } else { "bytes" };
        add(format!("cut{length}.npy"), good[..length].to_vec(), contains);
    }
    add("long.npy".into(), [&good[..], &[0]].concat(), "589 bytes");
    add("magic.npy".into(), [b"\x94NUMPY", &good[6..]].concat(), "94");
    add("text.npy".into(), b"these are no tensors".to_vec(), "start with");
    add("zip.npy".into(), b"PK\x03\x04 and so on, as an .npz file".to_vec(), "50, 4b");
    add("version.npy".into(), [&good[..6], &[9, 3], &good[8..]].concat(), "9.3");
    add("length1.npy".into(), [&good[..8], &[0xff, 0xff], &good[10..]].concat(), "65535 bytes");
    add("length2.npy".into(), [b"\x93NUMPY\x02\x00\xff\xff\xff\xff", &good[10..]].concat(), "4294967295 bytes");
    add("length3.npy".into(), npy_with_header(&" ".repeat(20_000), &[]), "20000 bytes");
    add("utf8.npy".into(), [b"\x93NUMPY\x01\x00\x02\x00\xff\xfe".as_slice()].concat(), "UTF-8");

    let data = &good[good.len() - 588..];
    let shape = "'shape': (1, 3, 7, 7)";
    for (index, (header, contains)) in [
        (String::new(), "expected '{'"),
        ("{}".into(), "\"descr\" is missing"),
        (format!("{{'descr': '<f4', {shape}}}"), "\"fortran_order\" is missing"),
        ("{'descr': '<f4', 'fortran_order': False}".into(), "\"shape\" is missing"),
        (format!("{{'fortran_order': False, {shape}}}"), "\"descr\" is missing"),
        (format!("{{'descr': '<f4', 'fortran_order': 0, {shape}}}"), "True or False"),
        (format!("{{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, {shape}}}"), "twice"),
        (format!("{{'descr': '<f4', 'fortran_order': False, {shape}, 'more': 1}}"), "\"more\""),
        (format!("{{'descr': '<f4', 'fortran_order': False, {shape}"), "end of the header"),
        (format!("{{'descr': '<f4', 'fortran_order': False, {shape}}} x"), "after the closing brace"),
        (format!("{{'descr': '<f4, {shape}}}"), "expected"),
        (format!("{{'descr: '<f4', {shape}}}"), "expected ':'"),
        ("{'descr': '<f4".into(), "no end"),
        (format!("{{'descr': [('a', '<f4')], 'fortran_order': False, {shape}}}"), "structure"),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (1, -3, 7, 7)}".into(), "'-'"),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (1, 3.0, 7, 7)}".into(), "'.'"),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': [1, 3, 7, 7]}".into(), "'['"),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (1, 3, 7, 7}".into(), "')'"),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': 147}".into(), "'('"),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (1, 3, 7, 8)}".into(), "168 elements"),
        (
            "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 3, 7, 99999999999999999999)}".into(),
            "99999999999999999999",
        ),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296, 4, 4)}".into(), "64 bits"),
        (
            "{'descr': '<f4', 'fortran_order': True, 'shape': (4611686018427387904, 1, 1, 1)}".into(),
            "4611686018427387904",
        ),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (0, 4294967296, 7, 7)}".into(), "588 bytes"),
        ("(".repeat(9_000), "'('"),
        (format!("{{'shape': {}", "(".repeat(9_000)), "'('"),
    ]
    .into_iter()
    .enumerate()
    {
        add(format!("header{index}.npy"), npy_with_header(&header, data), contains);
    }
    let data_free = npy_with_header(&npy_header("<f4", false, &[0, 4_294_967_296, 7, 7]), &[]);
    add("wide.npy".into(), data_free, "4294967296");
    for (dtype, name) in [
        ("<f8", "float64"),
        (">f8", "float64"),
        ("<f2", "147 elements of 2 bytes; after the header the file has 588 bytes"),
        ("<i4", "int32"),
        ("<i8", "int64"),
        ("|u1", "147 elements of 1 bytes; after the header the file has 588 bytes"),
        ("|b1", "bool"),
        ("<c8", "complex64"),
        ("|O", "astype"),
        ("<U4", "astype"),
        ("f4", "astype"),
        ("", "astype"),
    ] {
        let file = format!("dtype{}.npy", dtype.replace(['<', '>', '|'], "_"));
        add(file, npy_with_header(&npy_header(dtype, false, &[1, 3, 7, 7]), data), name);
    }
    for rank in [0, 1, 2, 5, 9] {
        let shape = [&[147][..rank.min(1)], &vec![1; rank.max(1) - 1][..]].concat();
        let count = shape.iter().product();
        let sizes: Vec<String> = shape.iter().map(ToString::to_string).collect();
        // Without a batch there would be three.
        let contains = format!("input has shape ({}); required is (N, 3, H, W)", sizes.join(", "));
        add(format!("rank{rank}.npy"), npy(&shape, counting(count)), &contains);
    }
    check(&lab, &cases);
}

#[test]
fn safetensors_files() {
    let lab = good_files();
    let data = le_bytes(counting(147));
    let header = r#"{"x":{"dtype":"F32","shape":[1,3,7,7],"data_offsets":[0,588]}}"#;
    let good = safetensors(header, &data);
    let mut cases = Vec::new();
    let mut add = |name: &str, bytes: &[u8], tensor: &str, contains: &str| {
        let file = format!("{name}.safetensors");
        lab.write(&file, bytes);
        let args = format!("run --input {file}{tensor} --weight w.npy --output y.npy");
        cases.push(case(&args, contains));
        cases.push(case(&args, &file));
    };
    for length in (0..8 + header.len()).step_by(3) {
        add(&format!("cut{length}"), &good[..length], "", "bytes");
    }
    for length in [8 + header.len(), 300, good.len() - 1] {
        add(&format!("cut{length}"), &good[..length], "", "byte 588");
    }
    add("long", &[&good[..], &[0]].concat(), "", "bytes");
    add("huge", &[&u64::MAX.to_le_bytes(), &good[8..]].concat(), "", "18446744073709551615 bytes");
    add("json", &safetensors("{\"x\":", &data), "", "not JSON");
    add("list", &safetensors("[1, 2]", &data), "", "valid");
    add("nested", &safetensors(&"[".repeat(100_000), &data), "", "not JSON");
    add("utf8", &[&2u64.to_le_bytes()[..], &[0xff, 0xfe]].concat(), "", "JSON");
    add("none", &safetensors("{}", &[]), "", "0 tensors");
    add("missing", &good, ":y", "there are: x");
    let edit = |from: &str, to: &str| safetensors(&header.replace(from, to), &data);
    for (index, dtype) in ["F64", "F8_E4M3", "BF16", "I32", "I64", "BOOL"].into_iter().enumerate() {
        // As many bytes as the header says, so that the type alone is wrong.
        let size = [8, 1, 2, 4, 8, 1][index];
        let text = header.replace("F32", dtype).replace("588", &(147 * size).to_string());
        add(&format!("dtype{dtype}"), &safetensors(&text, &vec![0; 147 * size]), "", dtype);
    }
    add("dtypeX", &edit("F32", "X99"), "", "valid");
    add("shape1", &edit("[1,3,7,7]", "[1,3,7,8]"), "", "valid");
    add("shape2", &edit("[1,3,7,7]", "[1,3,7,-7]"), "", "valid");
    add("shape3", &edit("[1,3,7,7]", "[4294967296,4294967296,4294967296]"), "", "valid");
    add("offset1", &edit("[0,588]", "[0,592]"), "", "byte 592");
    add("offset2", &edit("[0,588]", "[588,0]"), "", "valid");
    add("offset3", &edit("[0,588]", "[0,18446744073709551615]"), "", "byte 18446744073709551615");
    add("offset4", &edit("[0,588]", "[4,588]"), "", "valid");
    add("offset5", &edit("[0,588]", "[0]"), "", "valid");
    add("fields", &edit(r#""dtype":"F32","#, ""), "", "valid");
    let two = r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#;
    add("two", &safetensors(two, &data[..8]), "", "2 tensors");
    add("two_named", &safetensors(two, &data[..8]), ":c", "there are: a, b");
    add("two_rank", &safetensors(two, &data[..8]), ":b", "input has shape (1);");
    check(&lab, &cases);
}

#[test]
fn shapes_that_do_not_fit() {
    let lab = good_files();
    lab.npy("x1.npy", &[1, 4, 7, 7], counting(196))
        .npy("x3.npy", &[3, 7, 7], counting(147))
        .npy("x0.npy", &[1, 3, 0, 7], [])
        .npy("w3.npy", &[2, 3, 3], counting(18))
        .npy("w5.npy", &[2, 3, 2, 2, 2], counting(48))
        .npy("w6.npy", &[2, 3, 1, 1, 1, 1], counting(6))
        .npy("w0.npy", &[2, 3, 0, 3], [])
        .npy("wo.npy", &[0, 3, 3, 3], [])
        .npy("wide.npy", &[2, 4_000_000_000, 0, 3], [])
        .npy("b1.npy", &[1, 2], counting(2))
        .npy("b3.npy", &[3], counting(3))
        .npy("b0.npy", &[], counting(1))
        .npy("r.npy", &[1, 2, 5, 5], counting(50))
        .npy("y2.npy", &[1, 2, 4, 4], counting(32))
        .npy("r3.npy", &[2, 5, 5], counting(50))
        .npy("r4.npy", &[1, 2, 4, 5], counting(40))
        .npy("o.npy", &[1, 18, 5, 5], [0.0; 450])
        .npy("w1d.npy", &[2, 4, 3], [0.0; 24])
        .npy("nan.npy", &[1], [f32::NAN]);
    let run = |args: &str, contains: &str| case(&format!("{RUN} {args}"), contains);
    let with = |input: &str, weight: &str, args: &str, contains: &str| {
        case(&format!("run --input {input}.npy --weight {weight}.npy --output y.npy {args}"), contains)
    };
    let cases = [
        with("x1", "w", "", "(1, 4, 7, 7)"),
        with("x0", "w", "", "input height is 0"),
        with("w", "x", "", "(2, 3, 3, 3)"),
        with("x", "w3", "", "input has shape (1, 3, 7, 7); required is (N, 3, W)"),
        with("x3", "w", "--transposed", "(N, 2, H, W)"),
        with("x", "b", "", "--weight b.npy: weight has shape (2)"),
        with("x", "w6", "", "one to three spatial axes"),
        with("b", "w", "", "--input b.npy, (2,) (nchw), and --weight w.npy, (2, 3, 3, 3) (oihw), with groups 1"),
        with("x", "w0", "", "kernel_size is 0"),
        with("x", "wo", "", "out_channels is 0"),
        with("x", "wide", "--groups 4", "4000000000 per group × 4 groups"),
        with("nowhere", "w", "", "nowhere.npy"),
        with("x", "nowhere", "", "nowhere.npy"),
        run("--bias nowhere.npy", "--bias nowhere.npy"),
        run("--bias b1.npy", "bias has shape (1, 2); required is (2,)"),
        run("--bias b3.npy", "bias has shape (3,); required is (2,)"),
        run("--bias b0.npy", "bias has shape ()"),
        run("--residual r4.npy", "residual has shape (1, 2, 4, 5); required is (1, 2, 5, 5)"),
        run("--residual r3.npy", "residual has shape (2, 5, 5)"),
        with("x3", "w", "--residual r.npy", "required is (2, 5, 5)"),
        run("--residual r.npy --stride 2", "required is (1, 2, 3, 3)"),
        run("--activation prelu", "slopes is missing"),
        run("--slopes b.npy", "the activation is not prelu"),
        run("--slopes b.npy --activation relu", "the activation is not prelu"),
        run("--slopes b3.npy --activation prelu", "slopes has shape (3,); required is (2,)"),
        run("--slopes nan.npy --activation prelu", "finite"),
        run("--stride 0", "stride is 0"),
        run("--stride 1,0", "stride is 0"),
        run("--dilation 0", "dilation is 0"),
        run("--dilation 4", "covers 9"),
        run("--groups 0", "groups is 0"),
        run("--groups 3", "out_channels = 2"),
        run("--groups 2", "(N, 6, H, W)"),
        run("--groups 4294967295", "4294967295 groups"),
        run("--padding 7 --padding-mode reflect", "reflect padding of 7"),
        run("--padding 0,0,8,0 --padding-mode circular", "circular padding of 8"),
        run("--padding 4294967295,4294967295,0,0", "rows"),
        run("--padding same --dilation 4294967295 --stride 1 --padding-mode reflect", "reflect padding of 4294967295"),
        run("--in-channels 4", "--in-channels is 4; the tensors have 3"),
        run("--out-channels 3", "--out-channels is 3; the tensors have 2"),
        run("--kernel-size 5", "--kernel-size is (5, 5); the weight has (3, 3)"),
        run("--kernel-size 3,5", "--kernel-size is (3, 5); the weight has (3, 3)"),
        run("--kernel-size 3,3,3", "--kernel-size is (3, 3, 3); the weight has (3, 3)"),
        run("--stride 1,2,3", "stride is 3 numbers; it must be 2 numbers"),
        run("--dilation 1,2,3", "dilation is 3 numbers; it must be 2 numbers"),
        run("--padding 1,2,3", "padding is 3 numbers; it must be 2 numbers"),
        run("--padding 1,2,3,4,5", "padding is 5 numbers; it must be 2 numbers"),
        with("x3", "w3", "--stride 1,2", "stride is 2 numbers; it must be 1 number,"),
        with("x", "w5", "--padding 1,2", "padding is 2 numbers; it must be 3 numbers"),
        run("--output-padding 1", "output_padding is 1; it must be 0"),
        with("y2", "w", "--transposed --output-padding 1", "output_padding is 1; it must be below 1"),
        with("y2", "w", "--transposed --stride 3,2 --output-padding 2", "output_padding is 2; it must be below 2"),
        with("y2", "w", "--transposed --output-padding 0,0,0", "output_padding is 3 numbers; it must be 2 numbers"),
        with("y2", "w", "--transposed --padding-mode circular", "padding_mode is circular; it must be zeros"),
        with("y2", "w", "--transposed --padding 5", "no rows"),
        with("y2", "w", "--transposed --groups 4", "in_channels = 2"),
        with("y2", "w", "--transposed --out-channels 2", "--out-channels is 2; the tensors have 3"),
        with("y2", "w", "--transposed --bias b.npy", "bias has shape (2,); required is (3,)"),
        with("y2", "w", "--transposed --residual r.npy", "required is (1, 3, 6, 6)"),
        run("--deform", "offset is missing: the convolution is deformable"),
        run("--deform --transposed --offset r.npy", "--transposed"),
        run("--deform --offset r.npy", "offset has shape (1, 2, 5, 5); required is (1, 18, 5, 5)"),
        run("--deform --offset r.npy --offset-groups 3", "required is (1, 54, 5, 5)"),
        run("--deform --offset r.npy --offset-groups 2", "offset_groups is 2; it must be a divisor of in_channels"),
        run("--deform --offset r.npy --offset-groups 0", "offset_groups is 0"),
        run("--deform --offset r.npy --mask r.npy", "offset has shape"),
        run("--deform --offset o.npy --mask r.npy", "mask has shape (1, 2, 5, 5); required is (1, 9, 5, 5)"),
        run("--deform --offset o.npy --padding-mode reflect", "padding_mode is reflect; it must be zeros"),
        run("--offset o.npy", "offset was given, but the convolution is not deformable"),
        run("--mask r.npy", "mask is true; it must be false"),
        run("--offset-groups 2", "offset_groups is 2; it must be 1"),
        with("x1", "w1d", "--deform --offset o.npy", "deformable convolutions are of images"),
        case("run --input x.npy --weight w.npy --output no/such/y.npy", "no/such"),
        case("run --input x.npy --weight w.npy --output folder.npy", "folder"),
        case("run --input folder.npy --weight w.npy --output y.npy", "folder.npy"),
    ];
    std::fs::create_dir(lab.path("folder.npy")).unwrap();
    check(&lab, &cases);
}

#[test]
fn an_old_output_survives_a_failure() {
    let lab = good_files();
    lab.write("y.npy", "old");
    check(&lab, &[case(&format!("{RUN} --stride 0"), "stride")]);
    let output = lab.run_without_adapter(&RUN.split_whitespace().collect::<Vec<_>>());
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains(NO_ADAPTER), "{}", text(&output.stderr));
    assert_eq!(std::fs::read(lab.path("y.npy")).unwrap(), b"old");
}

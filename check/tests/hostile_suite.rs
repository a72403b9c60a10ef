//! Suites whose files lie, are cut off or make no sense: loading gives an error that names the file and what is wrong
//! with it, or a case that the library refuses with a typed error; nothing panics.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};
use wgpu_conv_check::{Suite, SuiteError, SuiteOptions};

/// A folder that is removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("wgpu-conv-hostile-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn with(self, name: &str, bytes: impl AsRef<[u8]>) -> Self {
        fs::write(self.0.join(name), bytes).unwrap();
        self
    }

    fn load(&self) -> Result<Suite, SuiteError> {
        self.load_with(&SuiteOptions::default())
    }

    fn load_with(&self, options: &SuiteOptions) -> Result<Suite, SuiteError> {
        Suite::load(&self.0, options)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A safetensors file.
fn safetensors(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
}

/// Input (1, 2, 3, 3), weight (2, 2, 1, 1), bias (2), expected (1, 2, 3, 3); all zero.
const TENSORS: [(&str, &[u64]); 4] = [("x", &[1, 2, 3, 3]), ("w", &[2, 2, 1, 1]), ("b", &[2]), ("y", &[1, 2, 3, 3])];

fn header() -> Value {
    let mut header = json!({});
    let mut start = 0;
    for (name, shape) in TENSORS {
        let end = start + 4 * shape.iter().product::<u64>();
        header[name] = json!({"dtype": "F32", "shape": shape, "data_offsets": [start, end]});
        start = end;
    }
    header
}

const DATA: [u8; 4 * (18 + 4 + 2 + 18)] = [0; 4 * (18 + 4 + 2 + 18)];

fn good_tensors() -> Vec<u8> {
    safetensors(&header().to_string(), &DATA)
}

fn good_case() -> Value {
    json!({"name": "the case", "op": "conv", "spatial_dims": 2, "dtype": "float32", "stride": [1, 1],
        "padding_begin": [0, 0], "padding_end": [0, 0], "dilation": [1, 1], "groups": 1, "padding_mode": "zeros",
        "activation": null, "input": "x", "weight": "w", "bias": "b", "expected": "y",
        "tolerance": {"abs": 1e-6, "rel": 1e-6}})
}

fn pair(json: &Value, tensors: &[u8]) -> Folder {
    Folder::new().with("bad.json", json.to_string()).with("bad.safetensors", tensors)
}

/// The message with which a folder is refused.
#[track_caller]
fn refused(what: &str, folder: &Folder) -> String {
    match folder.load() {
        Err(error) => error.to_string(),
        Ok(_) => panic!("{what}: the suite was accepted"),
    }
}

/// The good case with a field set (or, with `None`, removed).
fn changed(field: &str, value: Option<Value>) -> Value {
    let mut case = good_case();
    let map = case.as_object_mut().unwrap();
    match value {
        Some(value) => map.insert(field.into(), value),
        None => map.remove(field),
    };
    case
}

#[test]
fn the_suite_that_the_others_are_made_from_is_good() {
    let suite = pair(&json!([good_case()]), &good_tensors()).load().unwrap();
    assert_eq!((suite.len(), suite.unusable_cases().count()), (1, 0));
}

#[test]
fn safetensors_cut_off_anywhere_are_refused() {
    let good = good_tensors();
    let header_end = good.len() - DATA.len();
    let lengths = (0..=16).chain((17..header_end).step_by(13)).chain((header_end..good.len()).step_by(5));
    for length in lengths.chain([good.len() - 1]) {
        let message = refused(&format!("{length} bytes"), &pair(&json!([good_case()]), &good[..length]));
        assert!(message.starts_with("bad.safetensors: "), "{length} bytes: {message}");
    }
}

#[test]
fn safetensors_that_lie_are_refused() {
    let whole = |header: Value| safetensors(&header.to_string(), &DATA);
    let lie = |name: &str, field: &str, value: Value| {
        let mut header = header();
        header[name][field] = value;
        whole(header)
    };
    let with_length = |length: u64| {
        let mut bytes = good_tensors();
        bytes[..8].copy_from_slice(&length.to_le_bytes());
        bytes
    };
    let half = u64::MAX / 2;
    let mut many = json!({});
    for index in 0..8_u64 {
        let size = (1_u64 << 61) - 1;
        many[format!("t{index}")] =
            json!({"dtype": "U8", "shape": [size], "data_offsets": [index * size, (index + 1) * size]});
    }
    for (what, bytes) in [
        ("an empty file", Vec::new()),
        ("something else", b"\x89PNG\r\n\x1a\n and so on, for more than eight bytes".to_vec()),
        ("a header length of 0", with_length(0)),
        ("a header length one too small", with_length(header().to_string().len() as u64 - 1)),
        ("a header length one too large", with_length(header().to_string().len() as u64 + 1)),
        ("a header length beyond the file", with_length(1 << 20)),
        ("a header length beyond memory", with_length(u64::MAX)),
        ("a header length that overflows", with_length(u64::MAX - 7)),
        ("a header that is no JSON", safetensors("{\"x\": ", &DATA)),
        ("a header that is a list", safetensors("[]", &DATA)),
        ("a header that is no text", [&4_u64.to_le_bytes()[..], &[0xff; 4]].concat()),
        ("a header nested without end", safetensors(&"[".repeat(100_000), &DATA)),
        ("a tensor that is a number", whole(json!({"x": 3}))),
        ("offsets beyond the file", lie("y", "data_offsets", json!([96, 4096]))),
        ("offsets backwards", lie("x", "data_offsets", json!([72, 0]))),
        ("offsets that overlap", lie("w", "data_offsets", json!([0, 16]))),
        ("negative offsets", lie("x", "data_offsets", json!([-72, 0]))),
        ("three offsets", lie("x", "data_offsets", json!([0, 72, 72]))),
        ("offsets near the largest number", lie("x", "data_offsets", json!([half, u64::MAX]))),
        ("a shape larger than its data", lie("x", "shape", json!([1, 2, 3, 4]))),
        ("a shape smaller than its data", lie("x", "shape", json!([1, 2, 3]))),
        ("a shape that overflows", lie("x", "shape", json!([half, half, half, half]))),
        ("a negative shape", lie("x", "shape", json!([1, 2, 3, -3]))),
        ("a fractional shape", lie("x", "shape", json!([1, 2, 3, 3.5]))),
        ("an unknown dtype", lie("x", "dtype", json!("F31"))),
        ("a dtype of another size", lie("x", "dtype", json!("F64"))),
        ("ends that add up to more than 64 bits", whole(many)),
        ("trailing bytes", [good_tensors(), vec![0; 4]].concat()),
    ] {
        let message = refused(what, &pair(&json!([good_case()]), &bytes));
        assert!(message.starts_with("bad.safetensors: "), "{what}: {message}");
    }
}

#[test]
fn json_that_is_no_list_of_cases_is_refused() {
    for (what, text) in [
        ("an empty file", ""),
        ("an object", "{}"),
        ("a number", "17"),
        ("cut off", "[{\"name\": \"a\", "),
        ("a number too large for any float", "[{\"name\": 1e999}]"),
        ("NaN", "[{\"name\": NaN}]"),
        ("two documents", "[] []"),
        ("a list of numbers", "[1, 2]"),
        ("a case without a name", "[{\"op\": \"conv\"}]"),
        ("a name that is a number", "[{\"name\": 7, \"op\": \"conv\"}]"),
    ] {
        for name in ["bad.json", "bad_refusals.json"] {
            let folder = Folder::new().with(name, text).with("bad.safetensors", good_tensors());
            let message = refused(what, &folder);
            assert!(message.contains("bad"), "{what}: {message}");
        }
    }
    let nested = "[".repeat(100_000);
    assert!(refused("nested", &Folder::new().with("x_refusals.json", nested)).starts_with("x_refusals.json: "));
    let bytes = [b"[\"".as_slice(), &[0xff, 0xfe], b"\"]"].concat();
    assert!(refused("not UTF-8", &Folder::new().with("x_refusals.json", bytes)).starts_with("x_refusals.json: "));
}

#[test]
fn cases_without_a_field_are_refused() {
    for field in [
        "name",
        "op",
        "spatial_dims",
        "dtype",
        "stride",
        "padding_begin",
        "padding_end",
        "dilation",
        "groups",
        "padding_mode",
        "input",
        "weight",
        "expected",
        "tolerance",
    ] {
        let message = refused(field, &pair(&json!([changed(field, None)]), &good_tensors()));
        assert!(message.contains(&format!("{field:?}")) && message.contains("bad.json, case "), "{field}: {message}");
    }
}

#[test]
fn cases_that_contradict_their_tensors_are_refused() {
    for (field, value, part) in [
        ("op", json!(3), "\"op\""),
        ("spatial_dims", json!(0), "spatial_dims"),
        ("spatial_dims", json!(-2), "spatial_dims"),
        ("spatial_dims", json!("two"), "spatial_dims"),
        ("dtype", json!(32), "\"dtype\""),
        ("input", json!("nowhere"), "nowhere"),
        ("weight", json!(null), "\"weight\""),
        ("bias", json!("nothing"), "nothing"),
        ("bias", json!(0), "\"bias\""),
        ("residual", json!("absent"), "absent"),
        ("expected", json!(["y"]), "\"expected\""),
        ("tolerance", json!(1e-6), "tolerance"),
        ("tolerance", json!({"abs": 1e-6}), "\"rel\""),
        ("tolerance", json!({"abs": -1e-6, "rel": 0}), "\"abs\""),
        ("tolerance", json!({"abs": "NaN", "rel": 0}), "\"abs\""),
        ("tolerance", json!({"abs": null, "rel": 0}), "\"abs\""),
    ] {
        let message = refused(field, &pair(&json!([changed(field, Some(value.clone()))]), &good_tensors()));
        assert!(message.contains("bad.json, case the case") && message.contains(part), "{field} {value}: {message}");
    }
    for (tensor, dtype) in [("x", "I32"), ("w", "U32"), ("y", "I32")] {
        let mut header = header();
        header[tensor]["dtype"] = json!(dtype);
        let message = refused(dtype, &pair(&json!([good_case()]), &safetensors(&header.to_string(), &DATA)));
        assert!(message.contains("case the case") && message.contains(dtype), "{message}");
    }
}

/// What the library refuses is a failure of the case, with the library's error; the other cases still run.
#[test]
fn senseless_numbers_are_typed_errors() {
    for (field, value, part) in [
        ("stride", json!([0, 1]), "stride is 0"),
        ("stride", json!([-1, 1]), "stride is -1"),
        ("stride", json!([1]), "stride is 1 number;"),
        ("stride", json!([1, 1, 1]), "stride is 3 numbers"),
        ("stride", json!([1.5, 1]), "stride is 1.5"),
        ("stride", json!("1"), "stride is \"1\""),
        ("stride", json!({}), "stride is {}"),
        ("dilation", json!([1, 0]), "dilation is 0"),
        ("dilation", json!([1, 1e30]), "dilation is 1e+30"),
        ("padding_begin", json!([-1, 0]), "padding is -1"),
        ("padding_end", json!([0, 4_294_967_296_u64]), "padding is 4294967296"),
        ("padding_end", json!([4_294_967_295_u64, 4_294_967_295_u64]), "the output size"),
        ("padding_end", json!([true, 0]), "padding is true"),
        ("groups", json!(0), "groups is 0"),
        ("groups", json!(-1), "groups is -1"),
        ("groups", json!(4_294_967_295_u64), "4294967295"),
        ("groups", json!(null), "groups is null"),
        ("padding_mode", json!("mirror"), "padding_mode is \"mirror\""),
        ("spatial_dims", json!(1), "weight has shape [2,2,1,1]"),
        ("spatial_dims", json!(3), "weight has shape [2,2,1,1]"),
        ("padding_begin", json!([0]), "padding is [0] at the beginning"),
        ("output_padding", json!([1, 0]), "output_padding is 1"),
        ("output_padding", json!([0, -3]), "output_padding is -3"),
        ("activation", json!("relu"), "activation is"),
        ("activation", json!({"type": "softmax"}), "softmax"),
        ("activation", json!({"type": "clip", "min": 2, "max": 1}), "clip=2,1"),
        ("activation", json!({"type": "prelu", "alpha": [1, 2, 3]}), "slopes has 3"),
        ("activation", json!({"type": "prelu"}), "prelu with alpha null"),
        ("bias", json!("w"), "bias has shape [2,2,1,1]"),
        ("residual", json!("b"), "residual has shape [2]"),
        ("expected", json!("w"), "expected has shape [2,2,1,1]"),
        ("weight", json!("b"), "weight has shape [2]"),
        ("weight", json!("x"), "bias has shape [2]"),
        ("input", json!("w"), "expected has shape"),
    ] {
        let cases = json!([good_case(), changed(field, Some(value.clone()))]);
        let suite = pair(&cases, &good_tensors()).load().unwrap_or_else(|error| panic!("{field} {value}: {error}"));
        let errors: Vec<String> = suite.unusable_cases().map(|(_, error)| error.to_string()).collect();
        assert_eq!((suite.len(), errors.len()), (2, 1), "{field} {value}");
        assert!(errors[0].contains(part), "{field} {value}: {}", errors[0]);
    }
}

#[test]
fn refusal_files_with_gaps_are_refused() {
    let good = json!({"name": "no stride", "op": "conv", "spatial_dims": 2, "dtype": "float32", "stride": [0, 1],
        "padding_begin": [0, 0], "padding_end": [0, 0], "dilation": [1, 1], "groups": 1, "padding_mode": "zeros",
        "input_shape": [1, 2, 3, 3], "weight_shape": [2, 2, 1, 1], "bias_shape": null, "expect": "error", "why": ""});
    assert_eq!(Folder::new().with("refusals.json", json!([good]).to_string()).load().unwrap().len(), 1);
    for field in ["stride", "groups", "input_shape", "weight_shape", "expect"] {
        let mut case = good.clone();
        case.as_object_mut().unwrap().remove(field);
        let message = refused(field, &Folder::new().with("refusals.json", json!([case]).to_string()));
        assert!(message.starts_with("refusals.json, case no stride: ") && message.contains(field), "{message}");
    }
    let mut case = good.clone();
    case["expect"] = json!("success");
    assert!(refused("success", &Folder::new().with("refusals.json", json!([case]).to_string())).contains("expect"));
}

#[test]
fn folders_without_whole_suites_are_refused() {
    let message = refused("nothing", &Folder::new());
    assert!(message.contains("no conformance suite"), "{message}");
    assert!(refused("text", &Folder::new().with("readme.txt", "hello")).contains("no conformance suite"));
    let message = refused("no tensors", &Folder::new().with("a.json", "[]"));
    assert!(message.starts_with("a.json: ") && message.contains("a.safetensors"), "{message}");
    let message = refused("no cases", &Folder::new().with("a.safetensors", good_tensors()));
    assert!(message.starts_with("a.safetensors: ") && message.contains("a.json"), "{message}");
    let folder = Folder::new().with("a.safetensors", good_tensors());
    fs::create_dir(folder.0.join("a.json")).unwrap();
    assert!(refused("a folder for a file", &folder).starts_with("a.json: "));
    let nowhere = Suite::load(Path::new("/no such folder"), &SuiteOptions::default()).unwrap_err();
    assert!(matches!(&nowhere, SuiteError::Folder { folder, .. } if folder == "/no such folder"), "{nowhere}");
    let file = Folder::new().with("file", "");
    assert!(Suite::load(&file.0.join("file"), &SuiteOptions::default()).is_err());
}

#[test]
fn rows_of_sizes_are_read_only_when_asked_for() {
    let row = |n: Value, kernel: Value, groups: Value| {
        json!({"name": "row", "op": "conv", "spatial_dims": 2, "n": n, "cin": 4, "input": [8, 8], "cout": 4,
            "kernel": kernel, "stride": [1, 1], "padding_begin": [1, 1], "padding_end": [1, 1], "dilation": [1, 1],
            "groups": groups})
    };
    let good = || row(json!(50), json!([3, 3]), json!(1));
    let asked = SuiteOptions { shapes: true, max_macs: 40_000 };
    let load = |rows: Value| Folder::new().with("a_shapes.json", rows.to_string()).load_with(&asked);
    assert_eq!(load(json!([good()])).unwrap().len(), 1);
    assert_eq!(Folder::new().with("a_shapes.json", "nonsense").load().unwrap().len(), 0);
    assert!(Folder::new().with("a_shapes.json", "nonsense").load_with(&asked).is_err());
    for (n, kernel, groups) in [
        (json!(-1), json!([3, 3]), json!(1)),
        (json!(1), json!([0, 3]), json!(1)),
        (json!(1), json!([3]), json!(1)),
        (json!(1), json!(null), json!(1)),
        (json!(1), json!([3, 3]), json!(0)),
        (json!(1), json!([3, 3]), json!(3)),
        (json!(1), json!([3, 3]), json!(null)),
        (json!(1), json!([99, 3]), json!(1)),
    ] {
        let row = row(n, kernel, groups);
        let suite = load(json!([row])).unwrap();
        assert_eq!(suite.unusable_cases().count(), 1, "{row}");
    }
}

//! `bench --serve`: requests and answers, one JSON object a line.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use serde_json::{Value, json};

use crate::support::{Lab, NO_ADAPTER, skip_gpu_test, text};

/// The program, answering.
pub struct Server {
    process: Child,
    requests: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Server {
    pub fn start(lab: &Lab, args: &[&str]) -> Self {
        let mut command = lab.command(&[&["bench", "--serve"], args].concat());
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let requests = process.stdin.take();
        let answers = BufReader::new(process.stdout.take().unwrap());
        Self { process, requests, answers }
    }

    fn ask_text(&mut self, request: &[u8]) -> Value {
        let requests = self.requests.as_mut().unwrap();
        requests.write_all(request).unwrap();
        requests.write_all(b"\n").unwrap();
        let mut answer = String::new();
        self.answers.read_line(&mut answer).unwrap();
        serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{answer:?}: {error}"))
    }

    fn ask(&mut self, request: Value) -> Value {
        self.ask_text(request.to_string().as_bytes())
    }

    pub fn succeed(&mut self, request: Value) -> Value {
        let answer = self.ask(request.clone());
        assert_eq!(answer["ok"], json!(true), "{request}: {answer}");
        answer
    }

    fn fail(&mut self, request: &[u8]) -> String {
        let answer = self.ask_text(request);
        assert_eq!(answer["ok"], json!(false), "{}: {answer}", text(request));
        answer["error"].as_str().unwrap().to_owned()
    }

    pub fn end(mut self) {
        drop(self.requests.take());
        assert!(self.process.wait().unwrap().success());
    }
}

#[test]
fn a_convolution_is_prepared_timed_and_released() {
    if skip_gpu_test() {
        return;
    }
    let lab = Lab::new();
    let mut server = Server::start(&lab, &[]);
    let info = server.succeed(json!({ "op": "info" }));
    assert!(!info["adapter"].as_str().unwrap().is_empty());
    let folder = lab.path("");
    let prepared =
        server.succeed(json!({ "op": "prepare", "problem": "c2h3w3o1k1", "kernel": "tiled", "folder": folder }));
    assert_eq!(prepared["verified"], json!(true), "{prepared}");
    for (field, value) in [
        ("kernel", json!("tiled")),
        ("output", json!([1, 1, 3, 3])),
        ("padding", json!([0, 0, 0, 0])),
        ("flops", json!(36)),
    ] {
        assert_eq!(prepared[field], value, "{field}: {prepared}");
    }
    // What is written is the convolution that was verified: worked out here once more.
    let [input, weight, bias, expected, bounds] =
        ["input.npy", "weight.npy", "bias.npy", "expected.npy", "bounds.npy"].map(|name| lab.read_npy(name));
    assert_eq!((input.0.as_str(), weight.0.as_str(), bias.0.as_str()), ("(1, 2, 3, 3)", "(1, 2, 1, 1)", "(1)"));
    for pixel in 0..9 {
        let sum = input.1[pixel] * weight.1[0] + input.1[9 + pixel] * weight.1[1] + bias.1[0];
        assert!((sum - expected.1[pixel]).abs() <= 1e-6 && bounds.1[pixel] > 0.0);
    }
    for (problem, fields) in [
        ("c2w9o3k4s3p1,0", json!({ "padding": [1, 0], "stride": [3], "output": [1, 3, 3], "transposed": false })),
        (
            "c2z3h4w5o3k2p1:transposed",
            json!({ "padding": [1, 1, 1, 1, 1, 1], "weight": [2, 3, 2, 2, 2], "output": [1, 3, 2, 3, 4] }),
        ),
        (
            "c2h4w5o3k3s2p1:transposed=1x0",
            json!({ "transposed": true, "output_padding": [1, 0], "output": [1, 3, 8, 9] }),
        ),
        (
            "c4h4w5o3k3p1:deform:offset_groups=2",
            json!({ "deformable": true, "offset_groups": 2, "offset": [1, 36, 4, 5], "mask": null }),
        ),
    ] {
        let other = server.succeed(json!({ "op": "prepare", "problem": problem }));
        assert_eq!(other["verified"], json!(true), "{other}");
        for (field, value) in fields.as_object().unwrap() {
            assert_eq!(other[field], *value, "{field}: {other}");
        }
        server.succeed(json!({ "op": "release", "id": other["id"] }));
    }
    let id = prepared["id"].clone();
    assert!(server.succeed(json!({ "op": "call", "id": id }))["ms"].as_f64().unwrap() > 0.0);
    let gpu = server.succeed(json!({ "op": "gpu", "id": id, "repeats": 3 }));
    assert_eq!(gpu["ms"].is_number(), info["timestamps"].as_bool().unwrap(), "{gpu}");
    server.succeed(json!({ "op": "release", "id": id }));
    let error = server.fail(json!({ "op": "call", "id": id }).to_string().as_bytes());
    assert!(error.contains("id 0"), "{error}");
    server.end();
}

#[test]
fn layers_are_listed() {
    if skip_gpu_test() {
        return;
    }
    let lab = Lab::new();
    let mut server = Server::start(&lab, &[]);
    let workloads = server.succeed(json!({ "op": "layers" }));
    assert_eq!(workloads["layers"].as_array().unwrap().len(), 12);
    let layers = server.succeed(json!({ "op": "layers", "network": "resnet50", "batch": 32 }));
    assert_eq!(layers["layers"][0], json!({ "name": "conv1", "problem": "n32c3h224w224o64k7s2p3" }));
    server.end();
}

#[test]
fn bad_requests_are_answered_and_the_next_one_is_read() {
    if skip_gpu_test() {
        return;
    }
    let lab = Lab::new();
    let mut server = Server::start(&lab, &[]);
    for (request, part) in [
        (&b"nonsense"[..], "no request"),
        (b"[]", "no request"),
        (b"\xff\xfe", "no request"),
        (br#"{"op": "dance"}"#, "dance"),
        (br#"{"op": "info", "more": 1}"#, "more"),
        (br#"{"op": "call"}"#, "id"),
        (br#"{"op": "call", "id": -1}"#, "-1"),
        (br#"{"op": "call", "id": 7}"#, "id 7"),
        (br#"{"op": "gpu", "id": 0, "repeats": 0}"#, "repeats is 0"),
        (br#"{"op": "gpu", "id": 0, "repeats": 4294967295}"#, "repeats is 4294967295"),
        (br#"{"op": "release", "id": 0}"#, "id 0"),
        (br#"{"op": "layers", "network": "vgg"}"#, "mobilenet"),
        (br#"{"op": "prepare", "problem": "Z"}"#, "A to L"),
        (br#"{"op": "prepare", "problem": "n0c1h3w3o1k1"}"#, "no outputs"),
        (br#"{"op": "prepare", "problem": "c1h3w3o1k1", "kernel": "fft"}"#, "fft"),
        (br#"{"op": "prepare", "problem": "c1h3w3o1k1", "variant": "huge"}"#, "huge"),
        (br#"{"op": "prepare", "problem": "n4000000000c1h999999w9999o1k1"}"#, ""),
        (br#"{"op": "prepare", "problem": "c1h3w3o1k1", "folder": "no/such"}"#, "no/such"),
    ] {
        let error = server.fail(request);
        assert!(error.contains(part), "{}: {error}", text(request));
    }
    server.succeed(json!({ "op": "info" }));
    server.end();
}

#[test]
fn serving_goes_with_nothing_else() {
    let lab = Lab::new();
    for args in
        [&["bench", "--serve", "A"][..], &["bench", "--serve", "--runs", "1"], &["bench", "--serve", "--json", "x"]]
    {
        let output = lab.run_without_adapter(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
    }
    let output = lab.run_without_adapter(&["bench", "--serve"]);
    assert!(text(&output.stderr).contains(NO_ADAPTER));
    assert_eq!(output.status.code(), Some(1));
}

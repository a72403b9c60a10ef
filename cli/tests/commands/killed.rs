//! The program is killed (by SIGKILL, which nobody can catch) at any moment: its output is then not there, the old one, or
//! whole. Nothing but a file named `.wgpu-conv-…` may be left beside it.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::{Duration, Instant};

use wgpu_conv::Tuning;

use crate::support::{Lab, counting, skip_gpu_test, text};

/// Kills of each command at moments spread over its run, and as soon as it has touched the folder.
const SPREAD: u32 = 5;
const ON_TOUCH: u32 = 4;

/// Names and sizes of what is in the folder.
fn contents(lab: &Lab) -> BTreeMap<String, u64> {
    let size = |name: &String| std::fs::metadata(lab.path(name)).map_or(0, |metadata| metadata.len());
    lab.names().into_iter().map(|name| (name.clone(), size(&name))).collect()
}

/// Runs the program to its end once, then kills it many times. `is_whole` says whether a file is what a whole run leaves.
fn kill_often(lab: &Lab, args: &[&str], output: &str, is_whole: impl Fn(&[u8]) -> bool) {
    let start = || lab.command(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let began = Instant::now();
    lab.succeed(args);
    // How long to wait before a kill, and no verdict on anything.
    let usual = began.elapsed();
    let whole = std::fs::read(lab.path(output)).unwrap();
    assert!(is_whole(&whole), "{args:?}");
    let old = whole.clone();
    for round in 0..SPREAD + ON_TOUCH {
        let replaced = round % 2 == 0;
        if replaced {
            lab.write(output, &old);
        } else if lab.path(output).exists() {
            std::fs::remove_file(lab.path(output)).unwrap();
        }
        let before = contents(lab);
        let mut child = start();
        if round < SPREAD {
            std::thread::sleep(usual * (round + 1) / SPREAD);
        } else {
            while contents(lab) == before && child.try_wait().unwrap().is_none() {
                std::thread::sleep(Duration::from_micros(200));
            }
        }
        // It may have ended.
        let _ = child.kill();
        child.wait().unwrap();
        match std::fs::read(lab.path(output)) {
            Ok(bytes) => assert!(
                is_whole(&bytes),
                "{args:?}, round {round}: {} bytes: {:?}",
                bytes.len(),
                text(&bytes[..bytes.len().min(99)])
            ),
            Err(error) => assert!(!replaced, "{args:?}, round {round}: the old file is gone: {error}"),
        }
        for name in lab.names() {
            let known = before.contains_key(&name) || name == output;
            assert!(known || name.starts_with(".wgpu-conv-"), "{args:?}, round {round}: it left {name}");
        }
    }
    // What a kill left stands in nobody's way.
    lab.succeed(args);
    assert!(is_whole(&std::fs::read(lab.path(output)).unwrap()), "{args:?}, afterwards");
}

#[test]
fn a_killed_run_leaves_no_part_of_a_tensor() {
    if skip_gpu_test() {
        return;
    }
    // 4 MiB of output, so that writing takes a while.
    let lab = Lab::new();
    lab.npy("x.npy", &[1, 1, 1024, 1024], counting(1 << 20)).npy("w.npy", &[1, 1, 1, 1], [2.0]);
    let args = ["run", "--input", "x.npy", "--weight", "w.npy", "--output", "y.npy"];
    lab.succeed(&args);
    let whole = std::fs::read(lab.path("y.npy")).unwrap();
    kill_often(&lab, &args, "y.npy", |bytes| bytes == whole);
}

#[test]
fn a_killed_filter_leaves_no_part_of_a_picture() {
    if skip_gpu_test() {
        return;
    }
    let lab = Lab::new();
    let photo = concat!(env!("CARGO_MANIFEST_DIR"), "/../assets/chelsea.png");
    lab.write("in.png", std::fs::read(photo).unwrap());
    let args = ["filter", "--kernel", "gaussian:1", "in.png", "out.png"];
    lab.succeed(&args);
    let whole = std::fs::read(lab.path("out.png")).unwrap();
    kill_often(&lab, &args, "out.png", |bytes| bytes == whole);
}

#[test]
fn a_killed_bench_leaves_no_part_of_a_report() {
    if skip_gpu_test() {
        return;
    }
    let lab = Lab::new();
    let args = ["bench", "c2h9w9o4k3p1", "--runs", "1", "--json", "report.json"];
    let rows = |bytes: &[u8]| serde_json::from_slice::<Vec<serde_json::Value>>(bytes).is_ok_and(|rows| rows.len() == 1);
    kill_often(&lab, &args, "report.json", rows);
}

#[test]
fn a_killed_tune_leaves_a_tuning_file_that_is_whole() {
    if skip_gpu_test() {
        return;
    }
    let lab = Lab::new();
    // Written after each problem; a run adds to what is there.
    let args = ["tune", "c2h9w9o4k3p1", "c3h9w9o4k1", "--budget", "0", "--file", "tuning.txt"];
    kill_often(&lab, &args, "tuning.txt", |bytes| {
        let read = Tuning::parse(bytes);
        read.warnings.is_empty() && (1..=2).contains(&read.tuning.len())
    });
}

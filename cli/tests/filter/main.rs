//! `wgpu-conv filter`, run as a process on good and bad files.

mod files;
mod malformed;
mod oracle;
mod output;
mod results;

use std::path::Path;
use std::process::{Command, Output};

/// Runs `wgpu-conv filter` with `folder` as the current folder.
fn filter(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wgpu-conv"));
    command.current_dir(folder).arg("filter").args(arguments);
    command
}

/// Runs it and requires success; returns its standard output.
fn filtered(folder: &Path, arguments: &[&str]) -> String {
    let output = filter(folder, arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
    String::from_utf8(output.stdout).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Whether tests that need a GPU are to run. Without an adapter they fail: only this variable leaves them out.
fn gpu_tests() -> bool {
    let skip = std::env::var("WGPU_CONV_SKIP_GPU_TESTS").is_ok_and(|value| value == "1");
    if skip {
        println!("SKIPPED: WGPU_CONV_SKIP_GPU_TESTS=1");
    }
    !skip
}

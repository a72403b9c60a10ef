//! Cases that others wrote: ONNX's own node tests (`tests/data`, see SOURCES.md there) on all variants of all kernels in both
//! modes, and a larger suite where there is one, in the format of `tests/data/FORMAT.md`: the folder that
//! `WGPU_CONV_SUITE_DIR` names, else `../shared/conformance` beside the repository.
//!
//! Of the larger suite each kernel's first variant runs here, and in checked mode the generic ones; the program's
//! `wgpu-conv verify --suite DIR` runs it on all, in both modes.

#[path = "common/gpu.rs"]
mod gpu;

use std::path::{Path, PathBuf};

use wgpu_conv::{Checks, Kernel};
use wgpu_conv_check::{Event, Filter, Report, Suite, SuiteOptions};

const SUITE_VARIABLE: &str = "WGPU_CONV_SUITE_DIR";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn load(folder: &Path) -> Suite {
    let suite = Suite::load(folder, &SuiteOptions::default()).unwrap_or_else(|error| panic!("{error}"));
    let unusable: Vec<_> = suite.unusable_cases().collect();
    assert!(unusable.is_empty(), "the library refuses these cases: {unusable:?}");
    suite
}

fn run(gpu: &gpu::Gpu, suite: &Suite, filter: &Filter) -> Report {
    let report = suite.run(gpu.engine(), filter, &mut |_: Event<'_>| {});
    let failures: Vec<String> = report
        .failures()
        .map(|row| {
            format!(
                "{} {:?} on {:?} {:?} {:?}: {}",
                row.case, row.problem, row.kernel, row.variant, row.mode, row.message
            )
        })
        .collect();
    assert!(failures.is_empty(), "{}\n{}", report.closing_line(), failures.join("\n"));
    report
}

/// The committed cases on the kernel's variants in this mode: each variant takes a fifth of them, neighbours in the list of
/// variants another fifth. (Nearly every case is a shader of its own; `wgpu-conv verify --suite tests/data` runs all on all.)
fn node_cases(kernel: Kernel, checks: Checks) {
    let Some(gpu) = gpu::open_own() else { return };
    let suite = load(&root().join("tests/data"));
    let share = |name: &str| name.bytes().map(usize::from).sum::<usize>() % 5;
    let mut passed = [0; 5];
    for (place, variant) in kernel.variants().into_iter().enumerate() {
        let mut part = suite.clone();
        part.retain(|name| share(name) == (place + checks as usize) % 5);
        let filter = Filter { kernel: Some(kernel), variant: Some(variant.into()), checks: Some(checks) };
        let report = run(&gpu, &part, &filter);
        // No variant refuses any.
        let runs = (report.passed() + report.skipped(), report.refused());
        assert_eq!(runs, (part.len(), 0), "{variant}: {}", report.closing_line());
        passed[(place + checks as usize) % 5] = report.passed();
    }
    // 9 cases are transposed convolutions, 4 deformable ones, 2 of 16-bit floats, 3 of integers.
    assert_eq!(passed.iter().sum::<usize>(), 34, "{passed:?}");
}

#[test]
fn onnx_node_cases_on_direct_trusted() {
    node_cases(Kernel::Direct, Checks::Trusted);
}

#[test]
fn onnx_node_cases_on_direct_checked() {
    node_cases(Kernel::Direct, Checks::Checked);
}

#[test]
fn onnx_node_cases_on_broadcast_trusted() {
    node_cases(Kernel::Broadcast, Checks::Trusted);
}

#[test]
fn onnx_node_cases_on_broadcast_checked() {
    node_cases(Kernel::Broadcast, Checks::Checked);
}

#[test]
fn onnx_node_cases_on_tiled_trusted() {
    node_cases(Kernel::Tiled, Checks::Trusted);
}

#[test]
fn onnx_node_cases_on_tiled_checked() {
    node_cases(Kernel::Tiled, Checks::Checked);
}

/// The larger suite's folder, if there is one.
fn larger_suite() -> Option<PathBuf> {
    if let Some(folder) = std::env::var_os(SUITE_VARIABLE).filter(|folder| !folder.is_empty()) {
        return Some(folder.into());
    }
    let beside = root().join("../shared/conformance");
    beside.is_dir().then_some(beside)
}

#[test]
fn larger_suite_cases_and_refusals() {
    let Some(folder) = larger_suite() else {
        println!("no {SUITE_VARIABLE} and no ../shared/conformance: only the committed cases were run");
        return;
    };
    let Some(gpu) = gpu::open_own() else { return };
    let suite = load(&folder);
    let mut passed = 0;
    for &kernel in Kernel::ALL {
        let variants = kernel.variants();
        let chosen = variants.iter().take(1).chain(variants.iter().filter(|variant| variant.starts_with("generic")));
        for (place, &variant) in chosen.enumerate() {
            let checks = if place == 0 { Checks::Trusted } else { Checks::Checked };
            let filter = Filter { kernel: Some(kernel), variant: Some(variant.into()), checks: Some(checks) };
            passed += run(&gpu, &suite, &filter).passed();
        }
    }
    assert!(passed > 0, "{} holds no case that this library runs", folder.display());
}

//! Cases that others wrote: ONNX's own node tests (`tests/data`, see SOURCES.md there) on all variants of all kernels in both
//! modes, and a larger suite where there is one, in the format of `tests/data/FORMAT.md`: the folder that
//! `WGPU_CONV_SUITE_DIR` names, else `../shared/conformance` beside the repository.
//!
//! Of the larger suite each case runs here on one variant of each kernel, in turn, and in checked mode on the generic ones; the
//! program's `wgpu-conv verify --suite DIR` runs it on all, in both modes.

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

/// A number for a case's turn.
fn sum(name: &str) -> usize {
    name.bytes().map(usize::from).sum()
}

/// The committed cases on the kernel's variants in this mode: each variant takes a fifth of them, neighbours in the list of
/// variants another fifth. (Nearly every case is a shader of its own; `wgpu-conv verify --suite tests/data` runs all on all.)
fn node_cases(kernel: Kernel, checks: Checks) {
    let Some(gpu) = gpu::open_own() else { return };
    let suite = load(&root().join("tests/data"));
    let share = |name: &str| sum(name) % 5;
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

/// The larger suite, its refusals too, on a kernel: each case on one of its specialised variants, and on all that are generic.
fn larger_suite_on(kernel: Kernel) {
    let Some(folder) = larger_suite() else {
        println!("no {SUITE_VARIABLE} and no ../shared/conformance: only the committed cases were run");
        return;
    };
    let Some(gpu) = gpu::open_own() else { return };
    let suite = load(&folder);
    let run = |suite: &Suite, variant: &str, checks| {
        let filter = Filter { kernel: Some(kernel), variant: Some(variant.into()), checks: Some(checks) };
        let report = run(&gpu, suite, &filter);
        assert_eq!(report.skipped(), 0, "{kernel} {variant}: {}", report.closing_line());
        [report.passed(), report.passed() + report.refused()]
    };
    let (generic, special): (Vec<_>, Vec<_>) =
        kernel.variants().into_iter().partition(|variant| variant.starts_with("generic"));
    let mut runs = [0; 2];
    for (place, variant) in special.iter().enumerate() {
        let mut part = suite.clone();
        part.retain(|name| sum(name) % special.len() == place);
        let of_variant = run(&part, variant, Checks::Trusted);
        runs = [0, 1].map(|which| runs[which] + of_variant[which]);
    }
    assert_eq!(runs[1], suite.len(), "{kernel}");
    assert!(runs[0] > 0 || kernel == Kernel::Matrix, "{kernel} took no case of {}", folder.display());
    // These refuse nothing.
    for variant in generic {
        assert_eq!(run(&suite, variant, Checks::Checked), [suite.len(); 2], "{kernel} {variant}");
    }
}

#[test]
fn larger_suite_on_direct() {
    larger_suite_on(Kernel::Direct);
}

#[test]
fn larger_suite_on_broadcast() {
    larger_suite_on(Kernel::Broadcast);
}

#[test]
fn larger_suite_on_tiled() {
    larger_suite_on(Kernel::Tiled);
}

#[test]
fn larger_suite_on_winograd() {
    larger_suite_on(Kernel::Winograd);
}

#[test]
fn larger_suite_on_matrix() {
    larger_suite_on(Kernel::Matrix);
}

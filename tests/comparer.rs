//! The comparer itself: one wrong element, one NaN or one changed guard element fails a run, and so does an output that
//! nobody wrote. A check that cannot fail proves nothing.
//!
//! Here on a real run's results; `wgpu-conv-check` tests its runner and its judge by themselves without a GPU.

#[path = "common/gpu.rs"]
mod gpu;

use wgpu_conv::{Checks, Kernel, Problem};
use wgpu_conv_check::runner::judge;
use wgpu_conv_check::{DataKind, Outcome, Placement, ProblemData, Runner, Unit, UnitResult};

const UNIT: Unit = Unit { kernel: Kernel::Direct, variant: "generic-c4x4", checks: Checks::Trusted };

/// Runs a problem, lets `damage` change what came out, and judges it.
fn judge_damaged(text: &str, kind: DataKind, damage: impl FnOnce(&mut Outcome)) -> Option<UnitResult> {
    let gpu = gpu::open()?;
    let problem: Problem = text.parse().unwrap();
    let data = ProblemData::generate(&problem, kind, 7).unwrap();
    let mut outcome = Runner::new(gpu.engine()).run(&problem, &data, &UNIT, Placement::numbered(3)).unwrap();
    damage(&mut outcome);
    Some(judge(&problem, &data.reference(&problem).unwrap(), &outcome))
}

#[test]
fn an_undamaged_run_passes() {
    for kind in DataKind::ALL {
        let Some(result) = judge_damaged("n2c5h7w6o3k3p1", kind, |_| ()) else { return };
        assert!(result.passed, "{}: {}", kind.name(), result.message);
    }
}

#[test]
fn one_wrong_element_fails() {
    // The last bit, where the result must be exact.
    let flip = |outcome: &mut Outcome| outcome.output[41] = f32::from_bits(outcome.output[41].to_bits() ^ 1);
    let Some(result) = judge_damaged("n2c5h7w6o3k3p1", DataKind::Integers, flip) else { return };
    assert!(!result.passed && result.message.starts_with("1 of 252 outputs"), "{result:?}");

    // Four times the bound, where there is one.
    let nudge = |outcome: &mut Outcome| outcome.output[41] += 4.0 * 2.0_f32.powi(-24) * 5.0 * 9.0 * 49.0;
    let Some(result) = judge_damaged("n2c5h7w6o3k3p1", DataKind::Uniform, nudge) else { return };
    assert!(!result.passed && result.message.starts_with("1 of 252 outputs"), "{result:?}");
}

#[test]
fn one_nan_fails() {
    for kind in DataKind::ALL {
        let poison = |outcome: &mut Outcome| outcome.output[0] = f32::NAN;
        let Some(result) = judge_damaged("n1c2h4w4o2k1", kind, poison) else { return };
        assert!(!result.passed && result.error == f64::INFINITY, "{result:?}");
    }
}

/// A plan for one image, run on the stage of two: the second image's outputs are never written.
#[test]
fn outputs_that_nobody_wrote_fail() {
    let Some(gpu) = gpu::open() else { return };
    let [one, two] = ["n1c2h4w4o2k1", "n2c2h4w4o2k1"].map(|text| text.parse::<Problem>().unwrap());
    let data = ProblemData::generate(&two, DataKind::Integers, 7).unwrap();
    let runner = Runner::new(gpu.engine());
    let mut stage = runner.stage(&two, &data, Placement::numbered(3)).unwrap();
    let outcome = stage.run(&runner.plan(&one, &UNIT).unwrap()).unwrap();
    let result = judge(&two, &data.reference(&two).unwrap(), &outcome);
    assert!(!result.passed && result.message.contains("32 of 64 outputs were not written"), "{result:?}");
}

/// A changed guard element fails, whatever the values are. That the runner sees a changed one is among its own tests,
/// which need no GPU; tests/README.md lists kernels damaged on purpose that wrote into the guard zones.
#[test]
fn a_defect_fails_whatever_the_values() {
    let mark = |outcome: &mut Outcome| outcome.defect = Some("element 1 after the output was overwritten".into());
    let Some(result) = judge_damaged("n1c2h4w4o2k1", DataKind::Integers, mark) else { return };
    assert!(!result.passed && result.message.contains("overwritten"), "{result:?}");
}

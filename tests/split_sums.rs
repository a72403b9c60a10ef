//! Sums that several workgroups share: partial sums in a workspace, added up by a second pass (split-K).

use wgpu_conv::{Buffers, Checks, Engine, EngineOptions, Kernel, PlanOptions, wgpu};

#[path = "common/exact.rs"]
mod exact;
#[path = "common/gpu.rs"]
mod gpu;

use exact::{Case, GUARD, assert_same};

fn split(checks: Checks) -> PlanOptions {
    let variant = Some("split-m32n32k16".into());
    PlanOptions { kernel: Some(Kernel::Tiled), variant, checks: Some(checks), ..PlanOptions::default() }
}

fn record(engine: &Engine, times: u32, record: impl Fn(&mut wgpu::CommandEncoder)) {
    let mut encoder = engine.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    for _ in 0..times {
        record(&mut encoder);
    }
    engine.queue().submit([encoder.finish()]);
}

#[test]
fn workspace_and_segments_are_announced() {
    let Some(gpu) = gpu::open() else { return };
    let context = gpu.context();
    // 3 tiles of 32 × 32; K = 576 is 36 slices of 16, so that 9 workgroups with 4 slices each share a tile.
    let case = Case::new("c64h9w9o8k3p1+relu");
    let all_alone = [(Checks::Trusted, 1, 3 * 9 * 4 + 1), (Checks::Checked, 1, 3 * 9 * 4 + 1)];
    for (checks, macs, segments) in [(Checks::Trusted, u64::MAX, 2)].into_iter().chain(all_alone) {
        let options = EngineOptions::default().max_segment_macs(macs);
        let engine = Engine::with_options(&context.device, &context.queue, options);
        let plan = case.plan(&engine, &split(checks));
        let name = format!("{checks}, at most {macs} multiply-adds in a segment");
        assert_eq!(plan.workspace_size(), 4 * 9 * 8 * 81, "{name}");
        assert_eq!(plan.segments(), segments, "{name}");
        let (bound, output) = case.bind(&plan, &engine);
        assert_eq!(bound.segments(), segments, "{name}");
        // Twice, so that the second finds the workspace used.
        record(&engine, 2, |encoder| bound.record(encoder));
        case.check(&engine, &output, &format!("{name}, recorded twice"));
        bound.run_blocking().unwrap();
        case.check(&engine, &output, &format!("{name}, submitted by the engine"));
        let last = bound.segments() - 1;
        let blank = engine.buffer_from("blank", &vec![GUARD; case.expected.len()]).unwrap();
        record(&engine, 1, |encoder| {
            encoder.copy_buffer_to_buffer(&blank, 0, &output, 0, blank.size());
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            bound.record_segment(last, &mut pass).unwrap();
        });
        case.check(&engine, &output, &format!("{name}, the addition alone, of what the workspace still has"));
    }
}

#[test]
fn nothing_but_the_addition_touches_the_output() {
    let Some(gpu) = gpu::open() else { return };
    let engine = gpu.engine();
    // The residual in place: had a partial sum been stored there, the result would be wrong.
    let mut case = Case::new("n2c64h7w5o12k3p1g2+residual");
    let residual: Vec<f32> = (0..case.expected.len()).map(|at| (at % 7) as f32 - 3.0).collect();
    case = case.with_residual(&residual);
    let plan = case.plan(engine, &split(Checks::Trusted));
    assert!(plan.workspace_size() > 4 * case.expected.len() as u64, "sums are shared");
    let weights = case.weights(&plan);
    let input = case.input(engine);
    let both = engine.buffer_from("residual and output", &residual).unwrap();
    let buffers = Buffers::new(input.slice(..), both.slice(..)).residual(both.slice(..));
    plan.bind_blocking(&weights, &buffers).unwrap().run_blocking().unwrap();
    assert_same(&engine.read_blocking(both.slice(..)).unwrap(), &case.expected, "residual in place");
}

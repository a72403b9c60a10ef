//! Problems above the device's limits: plans that are split into windows of tensors.

use wgpu_conv::{Engine, EngineOptions, Problem};
use wgpu_conv_check::{DataKind, Placement, ProblemData, Runner, judge};

#[path = "common/gpu.rs"]
mod gpu;

/// An engine that binds no more than so many bytes at once.
fn limited(gpu: &gpu::Gpu, bytes: u64) -> Engine {
    let context = gpu.context();
    Engine::with_options(&context.device, &context.queue, EngineOptions::default().max_binding(bytes))
}

/// Problems, what may be bound of them, and a part of what the plan says of itself.
const SPLIT: &[(&str, u64, &str)] = &[
    // Images.
    ("n9c5h9w8o6k3p1+residual+relu", 4096, "9 of the input"),
];

#[test]
fn pieces_have_the_bits_of_the_whole() {
    let Some(gpu) = gpu::open() else { return };
    let whole = Runner::new(gpu.engine());
    for &(text, bytes, says) in SPLIT {
        let problem: Problem = text.parse().unwrap();
        let data = ProblemData::generate(&problem, DataKind::Uniform, 11).unwrap();
        let pieces = Runner::new(&limited(&gpu, bytes));
        let (units, refusals) = pieces.units(&problem);
        println!("{text}: {} units", units.len());
        for refusal in refusals { println!("{text}: {:?} {}", refusal.unit, refusal.reason); }
        for unit in units {
            let explained = pieces.plan(&problem, &unit).unwrap().explain();
            println!("{}", explained.lines().take_while(|line| !line.contains(": ")|| line.contains("split")).collect::<Vec<_>>().join(" | "));
            let placement = Placement::numbered(17);
            let expected = whole.run(&problem, &data, &unit, placement).unwrap();
            let actual = pieces.run(&problem, &data, &unit, placement).unwrap();
            let result = judge(&problem, &data.reference_as(&problem, unit.rounding().unwrap()).unwrap(), &actual);
            assert!(result.passed, "{text} on {unit:?}: {}", result.message);
            assert!(explained.contains("split"), "{text} on {unit:?}: {explained}");
            if !explained.contains("sums in") {
            let same = expected.output.iter().zip(&actual.output).all(|(a, b)| a.to_bits() == b.to_bits());
            assert!(same, "{text} on {unit:?}: other bits");
            }
            let _ = says;
        }
    }
}

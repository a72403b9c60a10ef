//! Problems above the device's limits: plans that are split into windows of tensors.

use wgpu_conv::{Engine, EngineOptions, Problem};
use wgpu_conv_check::runner::judge;
use wgpu_conv_check::{DataKind, Placement, ProblemData, Runner};

#[path = "common/gpu.rs"]
mod gpu;

/// An engine that binds no more than so many bytes at once.
fn limited(gpu: &gpu::Gpu, bytes: u64) -> Engine {
    let context = gpu.context();
    Engine::with_options(&context.device, &context.queue, EngineOptions::default().max_binding(bytes))
}

/// Problems, what may be bound of them, and a part of what the plan says of itself.
const SPLIT: &[(&str, u64, &str)] = &[
    // Channels last: rows.
    ("n2c6h20w15o7k3p1:nhwc+residual+prelu_each", 4096, ""),
    // The weight.
    ("c20h5w5o40k3p1+prelu", 8192, ""),
    ("c20h5w5o40k3p1g2", 8192, ""),
    // Transposed.
    ("n3c6h9w8o5k4s2p1:transposed", 4096, ""),
    // 16 bits.
    ("n5c5h9w8o6k3p1:f16+residual+relu", 2048, ""),
    ("c20h10w12o5k3p1:f16+residual+relu", 2048, "sums in"),
    // Integers.
    ("n5c9h9w8o6k3p1:u8_i8_u8+relu", 2048, ""),
    ("n5c9h9w8o6k3p1:nhwc:u8_i8_u8+relu", 2048, ""),
    // Deformable.
    ("n5c2h9w8o6k3p1:deform:mask", 8192, ""),
];

#[test]
fn pieces_have_the_bits_of_the_whole() {
    let Some(gpu) = gpu::open() else { return };
    let whole = Runner::new(gpu.engine());
    for &(text, bytes, says) in SPLIT {
        let problem: Problem = text.parse().unwrap();
        let data = ProblemData::generate(&problem, DataKind::Uniform, 11).unwrap();
        let pieces = Runner::new(&limited(&gpu, bytes));
        let (mut units, refusals) = pieces.units(&problem);
        units.retain(|unit| unit.checks == wgpu_conv::Checks::Trusted);
        println!("{text}: {} units", units.len());
        if units.len() < 10 {
            for refusal in refusals {
                println!("{text}: {:?} {}", refusal.unit, refusal.reason);
            }
        }
        let step = units.len().div_ceil(4).max(1);
        let units: Vec<_> = units.iter().step_by(step).collect();
        for unit in units {
            let explained = pieces.plan(&problem, &unit).unwrap().explain();
            println!(
                "{}",
                explained
                    .lines()
                    .take_while(|line| !line.contains(": ") || line.contains("split"))
                    .collect::<Vec<_>>()
                    .join(" | ")
            );
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

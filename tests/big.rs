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
    // Images.
    ("n9c5h9w8o6k3p1+residual+relu", 4096, "windows: 3 of the input, 3 of the output, 1 of the weight"),
    // Images, then groups.
    ("n2c8h9w20o16k3p1g4+residual+prelu", 4096, ""),
    // Output channels.
    ("c2h20w20o18k3p1+residual+prelu", 8192, ""),
    // Input channels.
    ("c20h10w12o5k3p1+residual+relu", 4096, "sums in"),
    // Rows of a plane.
    ("c1h40w60o1k5s2p2+residual", 4096, ""),
    ("c1h40w60o1k5p2:reflect", 4096, ""),
    ("c1h40w60o1k5p2:replicate", 4096, ""),
    // A single row.
    ("c1w5000o1k9s2p4", 4096, ""),
    // Slices.
    ("c1z20h9w10o1k3p1", 4096, ""),
    // Channels last: rows.
    ("n2c6h20w15o7k3p1+residual+prelu_each:nhwc", 4096, ""),
    // The weight.
    ("c20h5w5o40k3p1+prelu", 8192, ""),
    ("c20h5w5o40k3p1g2", 8192, ""),
    // Transposed.
    ("n3c6h9w8o5k4s2p1:transposed", 4096, ""),
    // 16 bits.
    ("n5c5h9w8o6k3p1+residual+relu:f16", 2048, ""),
    ("c20h10w12o5k3p1+residual+relu:f16", 2048, "sums in"),
    // Integers.
    ("n5c9h9w8o6k3p1+relu:u8_i8_u8", 2048, ""),
    ("n5c9h9w8o6k3p1+relu:nhwc:u8_i8_u8", 2048, ""),
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
        if units.len() < 10 { for refusal in refusals { println!("{text}: {:?} {}", refusal.unit, refusal.reason); } }
        let step = units.len().div_ceil(4).max(1);
        let units: Vec<_> = units.iter().step_by(step).collect();
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

//! Problems above a device's limits. Plans are split into windows of their tensors: with small limits, asked for by
//! `EngineOptions::max_binding`, on problems of every kind; and with those of the device, on problems that are large. The largest,
//! with tensors of up to 2 GiB, run only where `WGPU_CONV_BIG_TESTS` is set.

use std::collections::BTreeSet;
use std::io::Write;

use wgpu_conv::{Buffers, Checks, Engine, Kernel, PlanOptions, Problem, Tensors, WeightData, reference, wgpu};
use wgpu_conv_check::runner::judge;
use wgpu_conv_check::{DataKind, Placement, ProblemData, Runner, Unit};

#[path = "common/exact.rs"]
mod exact;
#[path = "common/gpu.rs"]
mod gpu;

use exact::{Case, GUARD, all_forced, assert_same};

/// An engine that binds no more than so many bytes at once.
fn limited(gpu: &gpu::Gpu, bytes: u64) -> Engine {
    let context = gpu.context();
    Engine::with_options(&context.device, &context.queue, context.engine_options().max_binding(bytes))
}

/// Problems, bytes that may be bound, and what the plan of variant generic-c1x4 says of its windows where bindings begin at least
/// every 32 bytes.
const SPLIT: [(&str, u64, &str); 27] = [
    // Images.
    ("n9c5h9w8o6k3p1+residual+relu", 4096, "5 of the input, 5 of the output, 1 of the weight"),
    ("n9c4h20w20o4k3p1+residual+prelu_each", 16384, "5 of the input, 5 of the output"),
    // Groups.
    ("n2c8h9w20o16k3p1g4+residual+prelu", 4096, "8 of the input, 8 of the output"),
    // Output channels.
    ("c2h20w20o18k3p1+residual+prelu", 8192, "1 of the input, 4 of the output, 1 of the weight"),
    // Input channels.
    ("c20h10w12o5k3p1+residual+relu", 4096, "sums in 10 parts"),
    // Rows of a plane, of planes of several channels, a row, slices.
    ("c1h40w60o1k5s2p2+residual", 4096, "20 of the input, 20 of the output"),
    ("c1h60w60o1k3p1+relu", 12000, "of the input"),
    ("c1h40w60o1k5p2:reflect", 4096, "10 of the input, 10 of the output"),
    ("c1h40w60o1k5p2:replicate", 4096, "10 of the input, 10 of the output"),
    ("c3h40w60o2k3p1+residual+silu", 4096, "sums in 3 parts"),
    ("c1w5000o1k9s2p4", 4096, "15 of the input, 15 of the output"),
    ("c1z20h9w10o1k3p1", 4096, "8 of the input, 8 of the output"),
    // Channels last: rows.
    ("n2c6h20w15o7k3p1:nhwc+residual+prelu_each", 9000, "of the input"),
    // The weight, by channels and by groups.
    ("c20h5w5o40k3p1+prelu", 8192, "1 of the input, 5 of the output, 5 of the weight"),
    ("c20h5w5o40k3p1g2", 8192, "2 of the input, 2 of the output, 2 of the weight"),
    ("n3c6h9w8o5k4s2p1:transposed", 4096, "60 of the output, 4 of the weight"),
    // 16 bits: sums wait in a workspace.
    ("n5c5h9w8o6k3p1:f16+residual+relu", 2048, "5 of the input, 5 of the output, 1 of the weight"),
    ("c20h10w12o5k3p1:f16+residual+relu", 2048, "sums in 10 parts"),
    // Integers, whose outputs share words.
    ("n5c9h9w8o6k3p1:u8_i8_u8+relu", 2048, "10 of the input, 15 of the output"),
    ("n5c9h9w8o6k3p1:nhwc:u8_u8_u8+relu", 2048, "15 of the input, 15 of the output"),
    ("c16h9w9o40k3p1:i8_i8_i32", 4096, "of the weight"),
    // Their weights, by channels and by groups: outputs of others lie between those of a piece.
    ("n2c20h5w5o41k3p1:i8_i8_i32", 2048, "2 of the input, 12 of the output, 6 of the weight"),
    ("n2c20h5w5o41k3p1:nhwc:u8_i8_u8:nobias+relu", 2048, "6 of the input, 22 of the output, 6 of the weight"),
    ("n3c24w9o96k5p2g3:u8_u8z_i8:nobias", 2048, "9 of the input, 18 of the output, 3 of the weight"),
    ("n3c24w9o96k5p2g3:nhwc:u8_u8z_i8", 2048, "18 of the input, 18 of the output, 3 of the weight"),
    // Deformable: images, and output channels of the same samples.
    ("n5c2h9w8o6k3p1:deform:mask", 8192, "5 of the input, 5 of the output"),
    ("n1c2h9w8o40k3p1:deform", 8192, "1 of the input"),
];

/// What it says instead where they begin every 256 bytes, WebGPU's default.
const SPLIT_AT_256: [(&str, &str); 9] = [
    ("c2h20w20o18k3p1+residual+prelu", "1 of the input, 5 of the output, 1 of the weight"),
    ("c1h40w60o1k5s2p2+residual", "38 of the input, 38 of the output"),
    ("c1h40w60o1k5p2:reflect", "16 of the input, 16 of the output"),
    ("c1h40w60o1k5p2:replicate", "16 of the input, 16 of the output"),
    ("c1w5000o1k9s2p4", "12 of the input, 12 of the output"),
    ("c1z20h9w10o1k3p1", "10 of the input, 10 of the output"),
    ("n5c9h9w8o6k3p1:u8_i8_u8+relu", "15 of the input, 15 of the output"),
    ("n2c20h5w5o41k3p1:i8_i8_i32", "4 of the input, 44 of the output, 6 of the weight"),
    ("n2c20h5w5o41k3p1:nhwc:u8_i8_u8:nobias+relu", "4 of the input, 24 of the output, 6 of the weight"),
];

/// Units for a problem: one that takes all of them, another in turn, and what is rare.
fn units_of(runner: &Runner, problem: &Problem, turn: usize) -> Vec<Unit> {
    let (units, _) = runner.units(problem);
    let first = units.iter().position(|unit| unit.variant == "generic-c1x4" && unit.checks == Checks::Trusted);
    let first = first.unwrap_or_else(|| panic!("{problem}: every problem can be split for that variant"));
    let in_turn = [first, turn * 7 + 1].map(|number| units[number % units.len()]);
    // Few problems are split for Winograd's algorithm, whose weights are large, and for variants that share sums.
    let others = |admits: fn(&Unit) -> bool| {
        let units: Vec<Unit> = units.iter().copied().filter(admits).collect();
        units.get(turn % units.len().max(1)).copied()
    };
    let winograd = others(|unit| unit.kernel == Kernel::Winograd);
    let sharing = others(|unit| unit.variant.starts_with("split")).filter(|_| turn % 3 == 1);
    let matrix = others(|unit| unit.kernel == Kernel::Matrix).filter(|_| turn.is_multiple_of(5));
    in_turn.into_iter().chain(winograd).chain(sharing).chain(matrix).collect()
}

#[test]
fn pieces_have_the_bits_of_the_whole() {
    let Some(gpu) = gpu::open() else { return };
    let whole = Runner::new(gpu.engine());
    let alignment = gpu.context().device.limits().min_storage_buffer_offset_alignment;
    let (mut kernels, mut unexpected) = (BTreeSet::new(), Vec::new());
    for (turn, (text, bytes, says)) in SPLIT.into_iter().enumerate() {
        let coarse = SPLIT_AT_256.iter().find(|(of, _)| *of == text && alignment == 256);
        let says = coarse.map_or(says, |(_, says)| says);
        let problem: Problem = text.parse().unwrap();
        let data = ProblemData::generate(&problem, DataKind::Uniform, 11).unwrap();
        let pieces = Runner::new(&limited(&gpu, bytes));
        let placement = Placement::numbered(17 + turn as u64);
        for (number, unit) in units_of(&pieces, &problem, turn).into_iter().enumerate() {
            let name = format!("{text} on {} {} ({})", unit.kernel, unit.variant, unit.checks);
            let plan = pieces.plan(&problem, &unit).unwrap();
            let explained = plan.explain();
            assert!(explained.contains(&format!("split, since {bytes} bytes")), "{name}: {explained}");
            if number == 0 && !explained.contains(says) {
                let line = explained.lines().find(|line| line.contains("split, since")).unwrap_or_default();
                unexpected.push(format!("{text}: {says} is not in{line}"));
            }
            kernels.insert(unit.kernel);
            let actual = pieces.run(&problem, &data, &unit, placement).unwrap();
            let expected = data.reference_as(&problem, unit.rounding().unwrap()).unwrap();
            let result = judge(&problem, &expected, &actual);
            assert!(result.passed, "{name}: {}", result.message);
            // Where sums are cut, their order differs.
            if !explained.contains("sums in") {
                let expected = whole.run(&problem, &data, &unit, placement).unwrap().output;
                let other = expected.iter().zip(&actual.output).position(|(a, b)| a.to_bits() != b.to_bits());
                assert_eq!(other, None, "{name}: other bits");
            }
        }
    }
    assert!(unexpected.is_empty(), "{unexpected:#?}");
    let there = |kernel: &Kernel| *kernel != Kernel::Matrix || gpu.engine().capabilities().matrix_units.is_ok();
    let all: Vec<Kernel> = Kernel::ALL.iter().copied().filter(there).collect();
    assert_eq!(kernels.into_iter().collect::<Vec<_>>(), all);
}

/// All tensors in one buffer, at odd places beside each other, and the residual where the output is.
#[test]
fn pieces_share_a_buffer() {
    let Some(gpu) = gpu::open() else { return };
    let mut ran = 0;
    for (text, bytes) in
        [("n6c4h9w9o4k3p1+residual", 4096), ("c1h40w60o1k3p1+residual", 8192), ("c20h9w9o4k3p1+residual", 4096)]
    {
        let residual: Vec<f32> = (0..Case::new(text).expected.len()).map(|at| (at % 7) as f32 - 3.0).collect();
        let case = Case::new(text).with_residual(&residual);
        let engine = &limited(&gpu, bytes);
        for options in all_forced() {
            // Not all variants take all of them in pieces.
            let Ok(plan) = engine.plan_blocking(&case.problem, &options) else { continue };
            assert!(plan.explain().contains("split, since"));
            ran += 1;
            let weights = case.weights(&plan);
            let (inputs, outputs) = (case.data.input.len(), residual.len());
            for (input, output, added) in
                [(3, 3 + inputs, 3 + inputs), (5 + outputs, 5, 5), (1, 1 + inputs + outputs, 1 + inputs)]
            {
                let mut all = vec![GUARD; inputs + 2 * outputs + 9];
                all[input..input + inputs].copy_from_slice(&case.data.input);
                all[added..added + outputs].copy_from_slice(&residual);
                let buffer = engine.buffer_from("all tensors", &all).unwrap();
                let slice = |first: usize, count: usize| buffer.slice(4 * first as u64..4 * (first + count) as u64);
                let buffers = Buffers::new(slice(input, inputs), slice(output, outputs));
                let name = format!("{text}, {options:?}, input at {input}, output at {output}, residual at {added}");
                let buffers = buffers.residual(slice(added, outputs));
                let bound = plan.bind_blocking(&weights, &buffers).unwrap_or_else(|error| panic!("{name}: {error}"));
                bound.run_blocking().unwrap();
                all[output..output + outputs].copy_from_slice(&case.expected);
                assert_same(&engine.read_blocking(buffer.slice(..)).unwrap(), &all, &name);
            }
        }
    }
    assert!(ran >= 12, "{ran}");
}

/// Weights that were packed for a small input serve a large one, which is split.
#[test]
fn weights_serve_pieces() {
    let Some(gpu) = gpu::open() else { return };
    let engine = &limited(&gpu, 8192);
    for options in all_forced() {
        let small = Case::new("c4h5w5o40k3p1");
        let Ok(plan) = engine.plan_blocking(&small.problem, &options) else { continue };
        let large = Case::new("c4h12w12o40k3p1");
        let weights = plan.weights_blocking(&large.weight_data()).unwrap();
        let Ok(plan) = engine.plan_for_blocking(&weights, &large.problem, &options) else { continue };
        let (input, output) = (large.input(engine), large.output(engine));
        let bound = plan.bind_blocking(&weights, &Buffers::new(input.slice(..), output.slice(..))).unwrap();
        bound.run_blocking().unwrap();
        large.check(engine, &output, &format!("{options:?}"));
    }
}

/// Buffers that a bound plan has made are as large together as the plan has said.
#[test]
fn memory_is_as_announced() {
    let Some(gpu) = gpu::open_own() else { return };
    let own = |engine: &Engine| {
        let report = engine.device().generate_allocator_report()?;
        let named = report.allocations.iter().filter(|allocation| {
            ["wgpu-conv: workspace", "wgpu-conv: prepared input"].contains(&allocation.name.as_str())
        });
        Some(named.map(|allocation| allocation.size).sum::<u64>())
    };
    let mut with_workspace = 0;
    for (text, bytes, _) in SPLIT.into_iter().filter(|(text, ..)| text.contains(':') && !text.contains("i8_")) {
        let engine = limited(&gpu, bytes);
        let problem: Problem = text.parse().unwrap();
        let options = PlanOptions { variant: Some("generic-c1x4".into()), ..PlanOptions::default() };
        let plan = engine.plan_blocking(&problem, &options).unwrap();
        with_workspace += usize::from(plan.workspace_size() > 0);
        assert!(plan.workspace_size() <= 2 * bytes, "{text}: {}", plan.workspace_size());
        assert_eq!(plan.workspace_size() > 0, plan.explain().contains("of workspace"));
        let data = ProblemData::generate(&problem, DataKind::Uniform, 11).unwrap();
        let weights = plan.weights_blocking(&WeightData::from(&data.tensors())).unwrap();
        let optional = |length: u64| engine.buffer_zeroed_as("test", length, problem.dtype()).unwrap();
        let (input, output) = (optional(problem.input_len()), optional(problem.output_len()));
        let [residual, offset, mask] = [problem.output_len(), problem.offset_len(), problem.mask_len()].map(optional);
        let mut buffers = Buffers::new(input.slice(..), output.slice(..));
        buffers.residual = data.residual.as_ref().map(|_| residual.slice(..));
        buffers.offset = data.offset.as_ref().map(|_| offset.slice(..));
        buffers.mask = data.mask.as_ref().map(|_| mask.slice(..));
        let bound = plan.bind_blocking(&weights, &buffers).unwrap();
        let Some(made) = own(&engine) else {
            println!("this backend does not tell what was allocated");
            return;
        };
        // Drivers round up.
        let announced = plan.workspace_size();
        assert!((announced..=announced + 1024).contains(&made), "{text}: {made} bytes, {announced} announced");
        drop(bound);
        let _ = engine.device().poll(wgpu::PollType::wait_indefinitely());
    }
    assert!(with_workspace >= 2);
}

/// Numbers that are quick to make, in sixteenths between -1 and 1.
fn numbers(count: u64, seed: u32) -> Vec<f32> {
    let mut state = seed;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        ((state >> 24) % 33) as f32 / 16.0 - 1.0
    };
    (0..count).map(next).collect()
}

/// Runs a large problem, compares outputs that are spread over all of it, and says how it was run.
fn run_large(engine: &Engine, text: &str) -> String {
    let problem: Problem = text.parse().unwrap();
    let (input, weight) = (numbers(problem.input_len(), 3), numbers(problem.weight_len(), 5));
    let bias = numbers(problem.out_channels().into(), 7);
    let tensors = Tensors::new(&input, &weight).bias(&bias);
    let plan = engine.plan_blocking(&problem, &PlanOptions::default()).unwrap();
    let weights = plan.weights_blocking(&WeightData::from(&tensors)).unwrap();
    let from = engine.buffer_from("large input", &input).unwrap();
    let to = engine.buffer_zeroed("large output", problem.output_len()).unwrap();
    let bound = plan.bind_blocking(&weights, &Buffers::new(from.slice(..), to.slice(..))).unwrap();
    bound.run_blocking().unwrap();
    let last = problem.output_len() - 1;
    let indices: Vec<u64> = (0..=200).map(|number| last / 200 * number).chain([last]).collect();
    let expected = reference::convolve_at_as(&problem, &tensors, &indices, plan.rounding()).unwrap();
    let read = |&index: &u64| engine.read_blocking(to.slice(4 * index..4 * index + 4)).unwrap()[0];
    let actual: Vec<f32> = indices.iter().map(read).collect();
    let comparison = expected.compare(&actual).unwrap();
    assert!(comparison.passed(), "{text}: {comparison:?}");
    let explained = plan.explain();
    let split = explained.lines().find(|line| line.contains("split, since")).unwrap_or("whole");
    println!("{text}: {} {}, {}", plan.kernel(), plan.variant(), split.trim());
    explained
}

/// Problems that are large on every device; which are split depends on what it can bind.
#[test]
fn large_problems_run() {
    let Some(gpu) = gpu::open_own() else { return };
    let engine = gpu.engine();
    let binding = engine.capabilities().limits.max_storage_buffer_binding_size;
    println!("a binding has {binding} bytes");
    for text in [
        // 300 MiB of input, in many channels; 2^26 pixels, more workgroups than a dimension of a grid has.
        "c75h1024w1024o1k1",
        "c1h8192w8192o1k1",
        // More output channels, and more images, than that.
        "c8h4w4o70000k1",
        "n100000c3h4w4o4k3p1",
        // A line, and a kernel as large as an image.
        "c1w20000000o1k9p4",
        "c1h140w140o1k127",
    ] {
        let explained = run_large(engine, text);
        let problem: Problem = text.parse().unwrap();
        assert_eq!(explained.contains("split, since"), 4 * problem.input_len() > binding, "{text}: {explained}");
    }
}

/// Tensors of up to 2 GiB, which take minutes and 8 GB of memory on a slow driver.
#[test]
fn the_largest_problems_run() {
    const VARIABLE: &str = "WGPU_CONV_BIG_TESTS";
    if !std::env::var(VARIABLE).is_ok_and(|value| value == "1") {
        // Straight to the terminal: the test harness swallows what a passing test prints.
        let _ = writeln!(std::io::stderr(), "skipped, since {VARIABLE} is not 1: problems with tensors of up to 2 GiB");
        return;
    }
    let Some(gpu) = gpu::open_own() else { return };
    let most = gpu.engine().capabilities().limits.max_buffer_size;
    for text in [
        // 300 MiB of input in images, of output, of weight.
        "n300c4h256w256o4k3p1",
        "c1h1024w1024o75k1",
        "c8192h1w1o9600k1",
        // 300 MiB of input and output with channels last.
        "n1c32h1024w2400o32k1:nhwc",
        // Nearly 2 GiB.
        "n2c15h4096w4096o1k1",
    ] {
        let problem: Problem = text.parse().unwrap();
        let largest = 4 * problem.input_len().max(problem.output_len()).max(problem.weight_len());
        if largest > most {
            println!("{text} has a tensor of {largest} bytes, and a buffer may have {most}");
            continue;
        }
        run_large(gpu.engine(), text);
    }
}

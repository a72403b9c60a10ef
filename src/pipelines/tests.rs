//! What checked modules promise: a wrong index stays within its binding.

use crate::bind::Buffers;
use crate::engine::Engine;
use crate::kernels::{Build, Checks, Choice, Kernel};
use crate::lowered;
use crate::plan::Plan;
use crate::problem::Problem;
use crate::select::PlanOptions;
use crate::tune::tests::engine;
use crate::weights::WeightData;

const PROBLEM: &str = "c2h9w9o4k3p1:nobias";
/// Numbers before and behind the output in its buffer; a binding starts at a multiple of 256 bytes.
const ZONE: usize = 1024;
const GUARD: f32 = -7.0;

/// A plan whose convolution has `damaged` made of its shader.
fn damaged(engine: &Engine, (kernel, variant): (Kernel, &str), damage: impl Fn(&str) -> String) -> Plan {
    let problem: Problem = PROBLEM.parse().unwrap();
    let options = PlanOptions {
        kernel: Some(kernel),
        variant: Some(variant.into()),
        checks: Some(Checks::Checked),
        ..PlanOptions::default()
    };
    let mut plan = engine.plan_blocking(&problem, &options).unwrap();
    let choice: Choice = kernel.variant(variant).unwrap();
    let source = choice.source(&lowered::passes(&problem).unwrap()[0], &Build::default()).unwrap();
    let changed = damage(&source);
    assert_ne!(changed, source, "there is something to damage");
    pollster::block_on(plan.replace_shader(changed)).unwrap();
    plan
}

/// Runs it into the middle of a buffer; the numbers before, of, and behind the output.
fn run(engine: &Engine, plan: &Plan) -> [Vec<f32>; 3] {
    let problem = plan.problem();
    let ones = |length: u64| vec![1.0; length as usize];
    let weight = ones(problem.weight_len());
    let weights = plan.weights_blocking(&WeightData::new(&weight)).unwrap();
    let input = engine.buffer_from("input", &ones(problem.input_len())).unwrap();
    let length = problem.output_len() as usize;
    let output = engine.buffer_from("output between zones", &vec![GUARD; ZONE + length + ZONE]).unwrap();
    let bytes = |elements: usize| 4 * elements as u64;
    let own = output.slice(bytes(ZONE)..bytes(ZONE + length));
    let bound = plan.bind_blocking(&weights, &Buffers::new(input.slice(..), own)).unwrap();
    bound.run_blocking().unwrap();
    let all = engine.read_blocking(output.slice(..)).unwrap();
    [&all[..ZONE], &all[ZONE..ZONE + length], &all[ZONE + length..]].map(<[f32]>::to_vec)
}

/// Stores just behind the output, some way and far behind it, and (with numbers that wrap around) before it and anywhere; loads
/// far outside the input.
#[test]
fn a_wrong_index_in_a_checked_module_is_contained() {
    let Some(engine) = engine() else { return };
    const WRONG: [&str; 5] =
        ["index + 324u", "index + 700u", "index + 100000000u", "index - 400u", "index * 2654435761u"];
    let stores: String = WRONG.iter().map(|wrong| format!("output[{wrong}] = value; ")).collect();
    for unit in [(Kernel::Direct, "generic-c1x4"), (Kernel::Tiled, "generic-m32n64k8")] {
        let plan = damaged(&engine, unit, |source| {
            let stored = source.replace("output[index] = value;", &format!("{stores}output[index] = value;"));
            assert!(stored.contains("Value(input[index])"));
            stored.replace("Value(input[index])", "Value(input[index] + input[index + 100000000u])")
        });
        let [before, own, behind] = run(&engine, &plan);
        assert!(before.iter().chain(&behind).all(|&number| number == GUARD), "{unit:?}: a zone was written");
        assert!(own.iter().all(|&number| number != GUARD), "{unit:?}: the shader ran, and stored");
        // Whatever a load outside gives, it is zero or a number of the input: 18 products of at most 2.
        assert!(own.iter().all(|number| (0.0..=36.0).contains(number)), "{unit:?}: {own:?}");
    }
}

//! 16-bit tensors: shaders that have 16-bit floats and shaders that take them out of 32-bit words give the same bits, and both
//! are right. The usual device has the feature, so the table and the property tests run the former.

#[path = "common/gpu.rs"]
mod gpu;

use wgpu_conv::{Checks, DType, Engine, EngineOptions, Problem, f16, wgpu};
use wgpu_conv_check::runner::judge;
use wgpu_conv_check::{DataKind, Placement, ProblemData, Runner};

/// Problem number `number`, for the turns of the variants. Each test has devices of its own, which compile side by side.
fn words_and_halves_give_the_same_bits(number: usize, text: &str) {
    let Some(gpu) = gpu::open_own() else { return };
    let (device, queue) = (&gpu.context().device, &gpu.context().queue);
    if !device.features().contains(wgpu::Features::SHADER_F16) {
        println!("this device has no 16-bit floats in shaders: the table has tested the words already");
        return;
    }
    let engines = [true, false].map(|on| Engine::with_options(device, queue, EngineOptions::default().shader_f16(on)));
    assert_eq!(engines.each_ref().map(|engine| engine.capabilities().shader_f16), [true, false]);
    let [halves, words] = engines.each_ref().map(Runner::new);
    let problem: Problem = text.parse().unwrap();
    // Each variant meets some of the problems, each problem some of the variants: every pair is two shaders to compile.
    for (kind, every) in [(DataKind::Integers, 3), (DataKind::Uniform, 11)] {
        let data = ProblemData::generate(&problem, kind, 1).unwrap();
        let mut references = data.references(&problem).unwrap();
        let (units, _) = words.units(&problem);
        for (place, unit) in units.iter().enumerate().filter(|(place, _)| (place / 2 + number).is_multiple_of(every)) {
            if unit.checks == Checks::Checked && place % 4 != number % 4 {
                continue;
            }
            // Odd offsets: neighbours share words with the tensors.
            let [a, b] = [&halves, &words]
                .map(|runner| runner.run(&problem, &data, unit, Placement::numbered(2 * number as u64 + 1)).unwrap());
            let name = format!("{problem} on {} {} {}", unit.kernel, unit.variant, unit.checks);
            let result = judge(&problem, references.of(unit.rounding().unwrap()).unwrap(), &b);
            assert!(result.passed, "{name}: {}", result.message);
            let bits = |outcome: &[f32]| outcome.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&a.output), bits(&b.output), "{name}");
        }
    }
}

#[test]
fn an_image_has_the_same_bits() {
    words_and_halves_give_the_same_bits(0, "n3c5h7w9o7k3p1:f16");
}

#[test]
fn a_residual_has_the_same_bits() {
    words_and_halves_give_the_same_bits(1, "n2c9h5w7o21k1:f16+residual+relu");
}

#[test]
fn a_long_sum_has_the_same_bits() {
    words_and_halves_give_the_same_bits(2, "n1c5000h3w3o5k1:f16+residual");
}

#[test]
fn a_transposed_image_with_channels_last_has_the_same_bits() {
    words_and_halves_give_the_same_bits(3, "n2c6h5w7o4k3s2p1g2:transposed=1:f16:nhwc+tanh");
}

/// Ties, the largest number, what overflows, the smallest numbers and zeros: rounded as the `half` crate does.
#[test]
fn outputs_are_rounded_to_nearest_even() {
    let Some(gpu) = gpu::open() else { return };
    let (device, queue) = (&gpu.context().device, &gpu.context().queue);
    // A product of two 16-bit numbers has more digits than one of them: each output is one product.
    let numbers: Vec<f32> = [
        1.0, 1.0009766, 1.001, 2049.0, 2050.0, 2051.0, 4098.0, 65504.0, 32760.0, 0.333, 6.1e-5, 6.0e-5, 5.96e-8,
        3.0e-8, 1.2e-7, 0.0, -0.1, -1.0009766, -2051.0, -5.96e-8,
    ]
    .map(|number| DType::F16.round(number))
    .to_vec();
    let factors = [1.0, 1.0009766, 0.5, 0.333, 1.9990234, 2.9e-5].map(|number| DType::F16.round(number));
    let problem: Problem = format!("c1w{}o{}k1:nobias:f16", numbers.len(), factors.len()).parse().unwrap();
    for on in [true, false] {
        let engine = Engine::with_options(device, queue, EngineOptions::default().shader_f16(on));
        let tensors = wgpu_conv::Tensors::new(&numbers, &factors);
        let output = engine.convolve_blocking(&problem, &tensors).unwrap();
        for (index, &actual) in output.iter().enumerate() {
            let (factor, number) = (factors[index / numbers.len()], numbers[index % numbers.len()]);
            let expected = f16::from_f32(number * factor).to_f32();
            // Drivers may flush what is below the normal numbers of either kind.
            let flushed = expected.abs() < 6.1036e-5 && actual == 0.0;
            assert!(actual == expected || flushed, "{number:e} · {factor:e} is {actual:e} instead of {expected:e}");
        }
    }
}

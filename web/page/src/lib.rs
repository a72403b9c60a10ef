//! The library in a browser: convolutions through its WebGPU, each compared with the float64 reference as in the tests:
//! between guard zones, twice, whole numbers exactly and others within their bound.
#![cfg(target_family = "wasm")]

use wasm_bindgen::prelude::*;
use wgpu_conv::{Checks, Context, ContextOptions, DType, Elements, Engine, Kernel, Problem, Result, Rounding, Tensors};
use wgpu_conv_check::{DataKind, Placement, ProblemData, Runner, Unit, runner::judge};

/// Kernels, variants and problems: every kernel, with the programs before it and behind it.
const CASES: [(Kernel, &str, &str); 22] = [
    (Kernel::Direct, "c4x8", "n2c3h9w11o6k3p1+relu"),
    (Kernel::Direct, "c1x8", "c6h9w9o12k3p1g6:replicate"),
    (Kernel::Direct, "generic-c4x4", "n2c4h9w9o6k3s2p1g2:reflect+residual+prelu"),
    (Kernel::Direct, "generic-c4x4", "c4h9w9o6k3p1:f16+residual"),
    (Kernel::Direct, "generic-c4x4", "c5h9w9o6k3p1:u8_i8z_i8+relu"),
    (Kernel::Direct, "generic-c4x4", "c4h9w9o5k3p1:deform:mask"),
    (Kernel::Broadcast, "r4x4c1", "n2c5h9w10o70k3p1"),
    (Kernel::Broadcast, "generic-r4x4c2", "c4h7w7o9k3d2p2:circular+gelu"),
    (Kernel::Broadcast, "generic-r4x4c2", "c4z4h5w6o8k2x3x3:nhwc:hwio"),
    (Kernel::Broadcast, "generic-r4x4c2", "c4h9w9o5k3p1:i8_i8_i32"),
    (Kernel::Tiled, "m32n32k16", "n2c16h9w9o33k3p1+tanh"),
    (Kernel::Tiled, "split-m32n32k16", "c64h6w6o32k3+relu"),
    (Kernel::Tiled, "generic-m32n64k8", "c6h8w8o10k4s2p1:transposed"),
    (Kernel::Tiled, "generic-m32n64k8", "c6w40o10k5s3"),
    (Kernel::Tiled, "generic-m32n64k8", "c6h9w9o10k3p1:f16:nhwc"),
    (Kernel::Tiled, "generic-m32n64k8", "c9h9w9o10k3p1:i8_u8_u8"),
    (Kernel::Winograd, "f2-m32n32k16", "n2c8h10w11o12k3p1+relu"),
    (Kernel::Winograd, "f4-m32n32k16", "c8h10w11o12k3p1"),
    (Kernel::Winograd, "f4-m32n32k16", "c8h12w9o12k3p1:f16"),
    (Kernel::Direct, "generic-c4x4", "c0h4w4o4k3p1"),
    (Kernel::Broadcast, "generic-r4x4c2", "c6h8w8o10k3s2p1:transposed:f16"),
    (Kernel::Tiled, "generic-m32n64k8", "c4h9w9o8k3p1:deform:f16"),
];

/// An open device.
#[wasm_bindgen]
pub struct Page {
    context: Context,
    engine: Engine,
}

fn text(error: impl ToString) -> JsError {
    JsError::new(&error.to_string())
}

#[wasm_bindgen]
impl Page {
    /// Opens the browser's adapter.
    pub async fn open() -> Result<Self, JsError> {
        console_error_panic_hook::set_once();
        let context = Context::new(&ContextOptions::default()).await.map_err(text)?;
        let engine = context.engine();
        Ok(Self { context, engine })
    }

    /// What it runs on.
    pub fn adapter(&self) -> String {
        let info = self.context.adapter.get_info();
        let f16 = if self.engine.capabilities().shader_f16 { "with" } else { "without" };
        format!("{:?} {} {}, {f16} 16-bit floats in shaders", info.backend, info.name, info.driver)
    }

    /// Names of the checks.
    pub fn names(&self) -> Vec<String> {
        let cases = CASES.iter().map(|(kernel, variant, problem)| format!("{kernel} {variant} {problem}"));
        cases.chain(EXTRA.iter().map(|name| (*name).into())).collect()
    }

    /// Runs a check; what is wrong, or nothing.
    pub async fn check(&self, index: usize) -> Result<String, JsError> {
        match CASES.get(index) {
            Some(&(kernel, variant, problem)) => self.convolve(kernel, variant, problem).await,
            None if index == CASES.len() => self.one_call().await,
            None => self.conversion().await,
        }
        .map_err(text)
    }
}

const EXTRA: [&str; 2] = ["one call", "conversion to 16-bit floats and back"];

impl Page {
    async fn convolve(&self, kernel: Kernel, variant: &'static str, problem: &str) -> Result<String> {
        let problem: Problem = problem.parse()?;
        let runner = Runner::new(&self.engine);
        let unit = Unit { kernel, variant, checks: Checks::Trusted };
        for (number, kind) in [DataKind::Integers, DataKind::Uniform].into_iter().enumerate() {
            let data = ProblemData::generate(&problem, kind, 7)?;
            let outcome = runner.outcome(&problem, &data, &unit, Placement::numbered(number as u64)).await?;
            let result = judge(&problem, &data.reference_as(&problem, unit.rounding()?)?, &outcome);
            if !result.passed {
                return Ok(format!("{} data: {}", kind.name(), result.message));
            }
        }
        Ok(String::new())
    }

    /// The kernel that is chosen here, through [`Engine::convolve`].
    async fn one_call(&self) -> Result<String> {
        let problem: Problem = "n2c8h12w12o16k3s2p1+relu".parse()?;
        let data = ProblemData::generate(&problem, DataKind::Integers, 1)?;
        let tensors: Tensors<'_> = data.tensors();
        let output = self.engine.convolve(&problem, &tensors).await?;
        let expected = data.reference_as(&problem, Rounding::Sums)?;
        let exact = expected.values.iter().zip(&output).all(|(expected, &actual)| *expected == f64::from(actual));
        let whole = output.len() == expected.values.len();
        Ok(if exact && whole { String::new() } else { "the outputs are not the reference's".into() })
    }

    async fn conversion(&self) -> Result<String> {
        let numbers: Vec<f32> = (0..1000).map(|number| (number as f32 - 500.0) * 0.37).collect();
        let count = numbers.len() as u64;
        let engine = &self.engine;
        let wide = engine.buffer_from("wide", &numbers)?;
        let halves = engine.buffer_zeroed_as("halves", count, DType::F16)?;
        let back = engine.buffer_zeroed("back", count)?;
        let half = || Elements::new(halves.slice(..), DType::F16);
        engine.convert(count, Elements::new(wide.slice(..), DType::F32), half()).await?;
        engine.convert(count, half(), Elements::new(back.slice(..), DType::F32)).await?;
        let rounded = engine.read(back.slice(..)).await?;
        let wrong = numbers.iter().zip(&rounded).find(|(number, rounded)| DType::F16.round(**number) != **rounded);
        Ok(wrong.map_or_else(String::new, |(number, rounded)| format!("{number} became {rounded}")))
    }
}

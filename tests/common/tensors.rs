//! Tensors with small whole numbers for a problem, and what the reference makes of them. In a test file:
//! `#[path = "common/tensors.rs"] mod tensors;`.

use wgpu_conv::reference::{self, Reference};
use wgpu_conv::{Problem, Tensors};

/// The tensors of a problem, owned.
#[derive(Debug, Clone)]
pub struct Data {
    pub input: Vec<f32>,
    pub weight: Vec<f32>,
    pub bias: Option<Vec<f32>>,
    pub residual: Option<Vec<f32>>,
    pub slopes: Option<Vec<f32>>,
    pub offset: Option<Vec<f32>>,
    pub mask: Option<Vec<f32>>,
}

impl Data {
    /// Small integers, always the same for the same problem and seed.
    pub fn integers(problem: &Problem, seed: u64) -> Self {
        let mut state = seed ^ 0x9e37_79b9_7f4a_7c15;
        let mut draw = |len: u64| -> Vec<f32> {
            let mut next = || {
                // Knuth's linear congruential generator; its high bits are random enough for test data.
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                ((state >> 40) % 15) as f32 - 7.0
            };
            (0..len).map(|_| next()).collect()
        };
        let channels = u64::from(problem.out_channels());
        Self {
            input: draw(problem.input_len()),
            weight: draw(problem.weight_len()),
            bias: problem.bias().then(|| draw(channels)),
            residual: problem.epilogue().residual.then(|| draw(problem.output_len())),
            slopes: problem.slopes_len().map(&mut draw),
            offset: problem.offset_shape().map(|shape| draw(shape.elements())),
            mask: problem.mask_shape().map(|shape| draw(shape.elements())),
        }
    }

    pub fn tensors(&self) -> Tensors<'_> {
        Tensors {
            input: &self.input,
            weight: &self.weight,
            bias: self.bias.as_deref(),
            residual: self.residual.as_deref(),
            slopes: self.slopes.as_deref(),
            quantization: None,
            offset: self.offset.as_deref(),
            mask: self.mask.as_deref(),
        }
    }

    pub fn run(&self, problem: &Problem) -> Reference {
        reference::convolve(problem, &self.tensors()).unwrap_or_else(|error| panic!("{problem}: {error}"))
    }
}

//! [`QuantizationData`]: seeded scales and zero points for a problem of integers.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use wgpu_conv::{DType, Integers, Problem, Quantization};

use crate::data::DataKind;

/// What a [`Quantization`] borrows.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct QuantizationData {
    /// Of the input.
    pub input_scale: f32,
    /// Of the input.
    pub input_zero_point: i32,
    /// None, one, or one for each output channel.
    pub weight_scales: Vec<f32>,
    /// None, one, or one for each output channel.
    pub weight_zero_points: Vec<i32>,
    /// Of the output.
    pub output_scale: f32,
    /// Of the output.
    pub output_zero_point: i32,
    /// None, or (C_out).
    pub bias: Vec<i32>,
}

impl QuantizationData {
    /// Such that outputs of random tensors of this kind are spread over the range of their type, and some saturate.
    pub(crate) fn generate(problem: &Problem, integers: Integers, kind: DataKind, seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed ^ 0x9e37_79b9_7f4a_7c15);
        let channels = problem.out_channels() as usize;
        let mut point = |dtype: DType| {
            let [low, high] = dtype.range().unwrap_or_default();
            rng.random_range(low..=high)
        };
        let input_zero_point = point(integers.input);
        let output_zero_point = if integers.output == DType::I32 { 0 } else { point(integers.output) };
        // One for all, and one for each channel, by turns.
        let count = if kind == DataKind::Integers { channels } else { 1 };
        let weight_zero_points = if integers.weight_zero_points {
            (0..count.min(channels)).map(|_| point(integers.weight)).collect()
        } else {
            Vec::new()
        };
        let weight_scales = (0..count.min(channels)).map(|_| rng.random_range(0.001..0.02)).collect();
        let bias = if problem.bias() { channels } else { 0 };
        // Sums of K products of numbers of about 70, in steps of about 0.01 of the input's: a hundred of them or so.
        let output_scale = (problem.sum_length().max(1) as f32).sqrt() * 70.0 * 70.0 * 0.01 * 0.05 / 60.0;
        Self {
            input_scale: 0.05,
            input_zero_point,
            weight_scales,
            weight_zero_points,
            output_scale,
            output_zero_point,
            bias: (0..bias).map(|_| rng.random_range(-50_000..=50_000)).collect(),
        }
    }

    /// Borrowed.
    pub fn borrowed(&self) -> Quantization<'_> {
        Quantization {
            input_scale: self.input_scale,
            input_zero_point: self.input_zero_point,
            weight_scales: &self.weight_scales,
            weight_zero_points: &self.weight_zero_points,
            output_scale: self.output_scale,
            output_zero_point: self.output_zero_point,
            bias: &self.bias,
        }
    }
}

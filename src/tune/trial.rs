//! The numbers that candidates run on, and what must come out.

use crate::accuracy::Rounding;
use crate::dtype::DType;
use crate::epilogue::Activation;
use crate::error::{Error, Result};
use crate::integers::Quantization;
use crate::problem::Problem;
use crate::reference::{self, Reference};
use crate::tensors::{Needs, Tensors};
use crate::weights::WeightData;

/// Multiply-adds up to which the reference computes all outputs: seconds on a few processors, and without threads less.
const WHOLE: u64 = if cfg!(target_family = "wasm") { 1 << 27 } else { 1 << 31 };
/// Multiply-adds of a sample.
const SAMPLE: u64 = 1 << 27;
/// Fewest and most outputs of a sample, corners apart.
const SAMPLES: [u64; 2] = [256, 1 << 16];

/// Largest whole number below which every one has a float32 of its own.
const EXACT: u64 = 1 << 24;
/// Largest absolute bias and residual.
const ADDEND: u64 = 100;

/// Marks what nobody wrote: a NaN that no arithmetic produces, of 32 bits or twice of 16.
pub(super) const BLANK: u32 = 0x7fc5_7fc5;

/// A small generator of random numbers (SplitMix64).
pub(super) struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From -1 to 1.
    #[cfg(test)]
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
    }

    /// Below `end`, which is not 0.
    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// A whole number up to `limit`, of either sign, never 0: so that whatever is left out changes the sum.
    fn whole(&mut self, limit: u64) -> f32 {
        let magnitude = (1 + self.below(limit)) as f32;
        if self.next() >> 63 == 0 { magnitude } else { -magnitude }
    }

    fn tensor(&mut self, what: &'static str, length: u64, limit: u64) -> Result<Vec<f32>> {
        let mut values = Vec::new();
        usize::try_from(length).ok().and_then(|length| values.try_reserve_exact(length).ok()).ok_or_else(|| {
            Error::TooLarge { what, factors: format!("{length} elements"), limit: "the memory that is free".into() }
        })?;
        values.extend((0..length).map(|_| self.whole(limit)));
        Ok(values)
    }
}

/// Host data for a problem, and what it makes.
pub(super) struct Trial {
    /// Of the output.
    dtype: DType,
    pub input: Vec<f32>,
    weight: Vec<f32>,
    bias: Option<Vec<f32>>,
    pub residual: Option<Vec<f32>>,
    slopes: Option<Vec<f32>>,
    /// Of integers, which have one.
    whole_bias: Option<Vec<i32>>,
    pub offset: Option<Vec<f32>>,
    pub mask: Option<Vec<f32>>,
    /// Which outputs `expected` is about; all of them if there is no list.
    sample: Option<Vec<u64>>,
    expected: Reference,
    /// How results are verified, in words.
    pub verified: String,
}

impl Trial {
    /// Data for `problem`, with what the CPU reference makes of them.
    pub fn new(problem: &Problem) -> Result<Self> {
        Self::with(problem, WHOLE)
    }

    /// With the reference for all outputs up to so many multiply-adds.
    pub(super) fn with(problem: &Problem, whole: u64) -> Result<Self> {
        let mut random = Random::new(1);
        let length = problem.sum_length();
        let sum = |limit: u64| length.saturating_mul(limit * limit).saturating_add(2 * ADDEND);
        let limit = (1..=4).rev().find(|&limit| sum(limit) <= EXACT);
        let needs = Needs::of(problem);
        let channels = u64::from(problem.out_channels());
        let mut optional = |needed, what, length, limit| {
            if needed { random.tensor(what, length, limit).map(Some) } else { Ok(None) }
        };
        let bias = optional(needs.bias, "the bias", channels, ADDEND)?;
        let residual = optional(needs.residual, "the residual", problem.output_len(), ADDEND)?;
        // Times 1 or 2 is exact, however large the sum.
        let slopes = optional(needs.slopes.is_some(), "the slopes", needs.slopes.unwrap_or(0), 2)?;
        let count = if problem.bias() { channels } else { 0 };
        let whole_bias = optional(problem.integers().is_some(), "the bias", count, ADDEND)?;
        let whole_bias = whole_bias.map(|bias| bias.into_iter().map(|number| number as i32).collect());
        // Whole offsets of up to two elements, and a mask that only changes signs: samples are elements of the input.
        let offset = optional(needs.offset, "the offsets", problem.offset_len(), 2)?;
        let mask = optional(needs.mask, "the mask", problem.mask_len(), 1)?;
        let mut trial = Self {
            dtype: problem.output_dtype(),
            input: random.tensor("the input", problem.input_len(), limit.unwrap_or(1))?,
            weight: random.tensor("the weight", problem.weight_len(), limit.unwrap_or(1))?,
            bias,
            residual,
            slopes,
            whole_bias,
            offset,
            mask,
            sample: None,
            expected: Reference { values: Vec::new(), bounds: Vec::new() },
            verified: String::new(),
        };
        let of = problem.output_len();
        trial.verified = if problem.macs() <= whole {
            format!("all {of} outputs")
        } else {
            let indices = sample(problem, &mut random);
            let text = format!("{} of {of} outputs", indices.len());
            trial.sample = Some(indices);
            text
        };
        trial.expected = trial.reference_as(problem, Rounding::Sums)?;
        let activation = problem.epilogue().activation;
        let whole_results = matches!(
            activation,
            Activation::Identity
                | Activation::Relu
                | Activation::Clip { .. }
                | Activation::Prelu
                | Activation::PreluEach
        );
        if limit.is_some() && whole_results && problem.integers().is_none() {
            // Whole sums below 2^24: no rounding anywhere, but that of a 16-bit output, which is to the nearest.
            for value in &mut trial.expected.values {
                *value = problem.dtype().round(*value as f32).into();
            }
            trial.expected.bounds.fill(0.0);
            trial.verified.push_str(", exact");
        }
        Ok(trial)
    }

    /// What a kernel that rounds like this is to give.
    pub fn expected_as(&self, problem: &Problem, rounding: Rounding) -> Result<Reference> {
        match rounding {
            Rounding::Sums => Ok(self.expected.clone()),
            _ => self.reference_as(problem, rounding),
        }
    }

    fn reference_as(&self, problem: &Problem, rounding: Rounding) -> Result<Reference> {
        match &self.sample {
            None => reference::convolve_as(problem, &self.tensors(), rounding),
            Some(indices) => reference::convolve_at_as(problem, &self.tensors(), indices, rounding),
        }
    }

    fn tensors(&self) -> Tensors<'_> {
        Tensors {
            input: &self.input,
            weight: &self.weight,
            bias: self.bias.as_deref(),
            residual: self.residual.as_deref(),
            slopes: self.slopes.as_deref(),
            quantization: self.quantization(),
            offset: self.offset.as_deref(),
            mask: self.mask.as_deref(),
        }
    }

    pub fn weight_data(&self) -> WeightData<'_> {
        WeightData::from(&self.tensors())
    }

    fn quantization(&self) -> Option<Quantization<'_>> {
        self.whole_bias.as_ref().map(|bias| Quantization { bias, ..Quantization::default() })
    }

    /// What is wrong with what two runs left in an output buffer that was blank before each: `length` outputs, and a guard
    /// behind them.
    pub fn judge_runs(&self, expected: &Reference, length: usize, first: &[f32], second: &[f32]) -> Result<(), String> {
        let (output, guard) = first.split_at(length.min(first.len()));
        let blank: Vec<u32> = self.dtype.decode(&BLANK.to_le_bytes()).into_iter().map(f32::to_bits).collect();
        let changed = |(place, value): (usize, &f32)| value.to_bits() != blank[(output.len() + place) % blank.len()];
        if let Some(place) = guard.iter().enumerate().position(changed) {
            return Err(format!("element {} behind the output was overwritten with {}", place + 1, guard[place]));
        }
        // Any byte may be a result.
        let untouched = |value: &f32| value.to_bits() == blank[0] && self.dtype.size() > 1;
        if let Some(place) = output.iter().position(untouched) {
            let missing = output.iter().filter(|value| untouched(value)).count();
            return Err(format!("{missing} of {} outputs were not written, the first of them {place}", output.len()));
        }
        self.judge(expected, output)?;
        match first.iter().zip(second).position(|(a, b)| a.to_bits() != b.to_bits()) {
            None => Ok(()),
            Some(place) => Err(format!(
                "a second run gave other bits: {} became {} at output {place}",
                first[place], second[place]
            )),
        }
    }

    /// What is wrong with an output, if anything is: a sentence with numbers.
    fn judge(&self, expected: &Reference, output: &[f32]) -> Result<(), String> {
        let picked: Vec<f32>;
        let actual = match &self.sample {
            None => output,
            Some(indices) => {
                let at = |&index: &u64| usize::try_from(index).ok().and_then(|index| output.get(index).copied());
                picked = indices.iter().map(|index| at(index).unwrap_or(f32::NAN)).collect();
                &picked
            }
        };
        let comparison = expected.compare(actual).map_err(|error| error.to_string())?;
        if comparison.passed() {
            return Ok(());
        }
        let [value, actual, bound] = comparison.worst;
        let place = comparison.worst_index.unwrap_or(0);
        let index = self.sample.as_ref().map_or(place as u64, |indices| indices[place]);
        let allowed = if bound == 0.0 { "none".into() } else { format!("{bound:.3e}") };
        Err(format!(
            "{} of {} outputs are wrong; the worst is output {index}: {actual} instead of {value} (error allowed: {allowed})",
            comparison.failures, comparison.count
        ))
    }
}

/// Outputs to look at: the corners of the output along every axis, where tiles have their tails, and one at random in each
/// of many equal stretches.
fn sample(problem: &Problem, random: &mut Random) -> Vec<u64> {
    let shape = problem.output_shape().five().map(u64::from);
    let mut indices: Vec<u64> = (0..1 << shape.len())
        .map(|corner| {
            shape
                .iter()
                .enumerate()
                .fold(0, |index, (axis, size)| index * size + if corner >> axis & 1 == 1 { size - 1 } else { 0 })
        })
        .collect();
    let length = problem.output_len();
    let [least, most] = SAMPLES;
    let count = (SAMPLE / problem.sum_length().max(1)).clamp(least, most).min(length);
    let stretch = length.div_ceil(count);
    indices.extend((0..count).map(|number| number * stretch + random.below(stretch)).filter(|&index| index < length));
    indices.sort_unstable();
    indices.dedup();
    indices
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a right kernel gives.
    fn right(problem: &Problem, trial: &Trial) -> Vec<f32> {
        let all = reference::convolve(problem, &trial.tensors()).unwrap();
        all.values.iter().map(|&value| value as f32).collect()
    }

    #[test]
    fn one_missing_product_is_wrong_however_long_the_sum() {
        for (text, whole) in
            [("c4h5w5o3k3p1+relu", u64::MAX), ("c50000h2w2o1k1+residual+prelu", u64::MAX), ("c64h9w9o4k3", 0)]
        {
            let problem: Problem = text.parse().unwrap();
            let trial = Trial::with(&problem, whole).unwrap();
            assert!(trial.verified.ends_with("exact"), "{}", trial.verified);
            let good = right(&problem, &trial);
            trial.judge(&trial.expected, &good).unwrap();
            let mut without = Trial::with(&problem, whole).unwrap();
            let at = without.weight.len() / 2;
            without.weight[at] = 0.0;
            let error = trial.judge(&trial.expected, &right(&problem, &without)).unwrap_err();
            assert!(error.contains("outputs are wrong") && error.contains("instead of"), "{error}");
        }
    }

    #[test]
    fn rounding_is_allowed_only_where_it_happens() {
        let problem: Problem = "c4h5w5o3k3p1+tanh".parse().unwrap();
        let trial = Trial::new(&problem).unwrap();
        assert_eq!(trial.verified, "all 75 outputs");
        let mut output = right(&problem, &trial);
        trial.judge(&trial.expected, &output).unwrap();
        output[74] += 0.01;
        assert!(trial.judge(&trial.expected, &output).unwrap_err().contains("output 74"));
        output[74] = f32::NAN;
        assert!(trial.judge(&trial.expected, &output).unwrap_err().contains("1 of 75"));
    }

    #[test]
    fn what_is_wrong_beside_the_values_shows() {
        let problem: Problem = "c4h5w5o3k3p1".parse().unwrap();
        let trial = Trial::new(&problem).unwrap();
        let blank = f32::from_bits(BLANK);
        let good = [right(&problem, &trial), vec![blank; 4]].concat();
        trial.judge_runs(&trial.expected, 75, &good, &good).unwrap();
        for (place, value, says) in [
            (75, 0.0, "element 1 behind the output was overwritten with 0"),
            (78, f32::NAN, "element 4 behind the output was overwritten with NaN"),
            (74, blank, "1 of 75 outputs were not written, the first of them 74"),
            (3, f32::NAN, "the worst is output 3: NaN"),
        ] {
            let mut bad = good.clone();
            bad[place] = value;
            let error = trial.judge_runs(&trial.expected, 75, &bad, &bad).unwrap_err();
            assert!(error.contains(says), "{says:?} is not in {error:?}");
        }
        let mut second = good.clone();
        second[7] += 1.0;
        assert!(
            trial.judge_runs(&trial.expected, 75, &good, &second).unwrap_err().contains("a second run gave other bits")
        );
        assert!(trial.judge_runs(&trial.expected, 75, &good[..70], &good[..70]).is_err());
    }

    #[test]
    fn samples_are_spread_and_hold_every_corner() {
        let problem: Problem = "n3c2h100w90o40k3p1".parse().unwrap();
        let trial = Trial::with(&problem, 0).unwrap();
        let indices = trial.sample.as_ref().unwrap();
        assert!(indices.is_sorted() && indices.windows(2).all(|pair| pair[0] != pair[1]));
        let length = problem.output_len();
        assert!(indices.len() as u64 > 40_000 && *indices.last().unwrap() == length - 1);
        for corner in [0, 89, 99 * 90, 9000 - 1, 39 * 9000, 80 * 9000, length - 9000, length - 90, length - 1] {
            assert!(indices.contains(&corner), "{corner}");
        }
        let widest = indices.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
        assert!(widest <= 2 * length.div_ceil(1 << 16), "{widest}");
        let mut output = right(&problem, &trial);
        trial.judge(&trial.expected, &output).unwrap();
        output[length as usize - 90] += 1.0;
        assert!(trial.judge(&trial.expected, &output).unwrap_err().contains(&format!("output {}", length - 90)));
        assert!(trial.judge(&trial.expected, &output[..7]).is_err());
    }

    #[test]
    fn numbers_are_whole_not_zero_and_of_both_signs() {
        let mut random = Random::new(3);
        let values = random.tensor("test", 10_000, 4).unwrap();
        for expected in [-4.0, -3.0, -2.0, -1.0, 1.0, 2.0, 3.0, 4.0] {
            let count = values.iter().filter(|&&value| value == expected).count();
            assert!((1000..1500).contains(&count), "{expected}: {count}");
        }
        assert!(values.iter().all(|value| *value != 0.0 && value.fract() == 0.0 && value.abs() <= 4.0));
        let error = random.tensor("the input", u64::MAX / 8, 4).unwrap_err().to_string();
        assert!(error.contains("the input") && error.contains("2305843009213693951"), "{error}");
    }
}

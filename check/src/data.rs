//! [`ProblemData`]: seeded tensors for a problem.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use wgpu_conv::reference::{self, Reference};
use wgpu_conv::{Activation, DType, Error, Op, Problem, Result, Rounding, Tensors};

use crate::quantized::QuantizationData;

/// What the numbers are like. Tensors of 8-bit integers have any of their numbers, but for [`DataKind::Flat`], which has the
/// largest, and [`DataKind::Positive`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DataKind {
    /// Small whole numbers, none of them zero, so that a missing tap, channel or bias changes the result; so small that
    /// every partial sum stays below 2^24 and is exact in float32, in whatever order it is added up. PReLU slopes are
    /// powers of two. Offsets are whole numbers and halves, elements of a mask halves or ones: all sums are eighths then, and as
    /// much smaller.
    Integers,
    /// Random numbers from -1 to 1.
    Uniform,
    /// Every tensor holds one number that float32 cannot represent exactly: rounding errors add up in one direction.
    Flat,
    /// Random numbers from 0 to 1: nothing cancels, so the sums are as large as the error bound allows for.
    Positive,
}

impl DataKind {
    /// All kinds.
    pub const ALL: [Self; 4] = [Self::Integers, Self::Uniform, Self::Flat, Self::Positive];

    /// Its name in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Integers => "integers",
            Self::Uniform => "uniform",
            Self::Flat => "flat",
            Self::Positive => "positive",
        }
    }
}

/// Most that sums of whole numbers may reach: every one up to there has a float32 of its own, and 16-bit outputs, which are
/// rounded once, do not overflow.
fn exact_up_to(problem: &Problem) -> u64 {
    match (problem.dtype(), problem.op()) {
        (DType::F16, _) => 60_000,
        // Of the eighths between them too.
        (_, Op::DeformConv) => 1 << 21,
        _ => 1 << 24,
    }
}

/// Largest absolute bias and residual of [`DataKind::Integers`].
const LARGEST_ADDEND: u64 = 100;

/// The tensors of one convolution on the host, row-major (see [`Problem`] for the shapes).
#[derive(Debug, Clone, PartialEq)]
pub struct ProblemData {
    /// (N, C_in, H, W).
    pub input: Vec<f32>,
    /// (C_out, C_in / groups, KH, KW).
    pub weight: Vec<f32>,
    /// (C_out), if the convolution has a bias.
    pub bias: Option<Vec<f32>>,
    /// (N, C_out, OH, OW), if the epilogue adds a residual.
    pub residual: Option<Vec<f32>>,
    /// (C_out), or one for each element of an output image, if the activation is PReLU.
    pub slopes: Option<Vec<f32>>,
    /// Of integers.
    pub quantization: Option<QuantizationData>,
    /// (N, offset_groups · 2 · KH · KW, OH, OW), if the convolution is deformable.
    pub offset: Option<Vec<f32>>,
    /// (N, offset_groups · KH · KW, OH, OW), if the convolution has a mask.
    pub mask: Option<Vec<f32>>,
    /// Whether float32 arithmetic gives the result without any rounding, in any order of addition, so that it must be
    /// equal to the reference.
    pub exact: bool,
}

impl ProblemData {
    /// Tensors of this kind for `problem`; the same seed gives the same tensors.
    ///
    /// # Errors
    /// [`Error::TooLarge`] if a tensor does not fit the memory of this machine.
    pub fn generate(problem: &Problem, kind: DataKind, seed: u64) -> Result<Self> {
        let mut source = Source { rng: StdRng::seed_from_u64(seed), kind, range: None };
        let most = exact_up_to(problem);
        let floats = problem.integers().is_none();
        let [input_limit, weight_limit] = factor_limits(problem.sum_length(), most);
        let channels = u64::from(problem.out_channels());
        let epilogue = problem.epilogue();
        source.range = problem.dtype().range();
        let input = source.tensor("the input", problem.input_len(), input_limit, 0.1)?;
        source.range = problem.weight_dtype().range();
        let weight = source.tensor("the weight", problem.weight_len(), weight_limit, 0.3)?;
        source.range = None;
        Ok(Self {
            input,
            weight,
            bias: wanted(problem.bias() && floats, || source.tensor("the bias", channels, LARGEST_ADDEND, 0.7))?,
            residual: wanted(epilogue.residual, || {
                source.tensor("the residual", problem.output_len(), LARGEST_ADDEND, 0.9)
            })?,
            slopes: problem.slopes_len().map(|count| source.slopes(count)).transpose()?,
            quantization: problem.integers().map(|integers| QuantizationData::generate(problem, integers, kind, seed)),
            offset: problem.offset_shape().map(|shape| source.offset(shape.elements())).transpose()?,
            mask: problem.mask_shape().map(|shape| source.mask(shape.elements())).transpose()?,
            exact: floats
                && kind == DataKind::Integers
                && largest_sum(problem.sum_length(), input_limit, weight_limit) <= most
                && keeps_exactness(epilogue.activation),
        })
    }

    /// What must come out, with its bounds; they are 0 if the result must be exact.
    ///
    /// # Errors
    /// What the reference says.
    pub fn reference(&self, problem: &Problem) -> Result<Reference> {
        self.reference_as(problem, Rounding::Sums)
    }

    /// The same of a kernel that rounds like this; Winograd's algorithm never has to be exact.
    ///
    /// # Errors
    /// What the reference says.
    pub fn reference_as(&self, problem: &Problem, rounding: Rounding) -> Result<Reference> {
        let mut reference = reference::convolve_as(problem, &self.tensors(), rounding)?;
        if problem.output_dtype() == DType::I32 {
            // Beyond 2^24 that is what reading them as numbers gives ([`DType::decode`]).
            reference.values.iter_mut().for_each(|value| *value = f64::from(*value as f32));
        }
        if self.exact && matches!(rounding, Rounding::Sums | Rounding::Matrix) {
            for value in &mut reference.values {
                *value = problem.dtype().round(*value as f32).into();
            }
            reference.bounds.fill(0.0);
        }
        Ok(reference)
    }

    /// The same for kernels that round in any way.
    ///
    /// # Errors
    /// What the reference says.
    pub fn references(&self, problem: &Problem) -> Result<References<'_>> {
        Ok(References { problem: *problem, data: self, known: vec![(Rounding::Sums, self.reference(problem)?)] })
    }

    /// The tensors, borrowed.
    pub fn tensors(&self) -> Tensors<'_> {
        Tensors {
            input: &self.input,
            weight: &self.weight,
            bias: self.bias.as_deref(),
            residual: self.residual.as_deref(),
            slopes: self.slopes.as_deref(),
            quantization: self.quantization.as_ref().map(QuantizationData::borrowed),
            offset: self.offset.as_deref(),
            mask: self.mask.as_deref(),
        }
    }
}

/// An optional tensor, made only if it is wanted.
fn wanted(wanted: bool, make: impl FnOnce() -> Result<Vec<f32>>) -> Result<Option<Vec<f32>>> {
    if wanted { make().map(Some) } else { Ok(None) }
}

/// Largest absolute value of input and weight elements such that sums of `sum_length` products stay exact, where possible.
fn factor_limits(sum_length: u64, most: u64) -> [u64; 2] {
    [[9, 7], [5, 5], [3, 3], [3, 2], [2, 1]]
        .into_iter()
        .find(|&[input, weight]| largest_sum(sum_length, input, weight) <= most)
        .unwrap_or([1, 1])
}

fn largest_sum(sum_length: u64, input_limit: u64, weight_limit: u64) -> u64 {
    // Bias and residual are added to the sum of products.
    sum_length.saturating_mul(input_limit * weight_limit).saturating_add(2 * LARGEST_ADDEND)
}

/// Whether an activation of an exact whole number is exact, however it is written.
fn keeps_exactness(activation: Activation) -> bool {
    match activation {
        Activation::Identity | Activation::Relu | Activation::Clip { .. } => true,
        Activation::LeakyRelu { slope } => slope == 0.0 || is_power_of_two(slope),
        // The slopes are made here, as powers of two.
        Activation::Prelu | Activation::PreluEach => true,
        _ => false,
    }
}

/// Whether multiplying a sum by `number` only changes its exponent, and by so little that it stays a normal number.
fn is_power_of_two(number: f32) -> bool {
    const FRACTION: u32 = (1 << 23) - 1;
    number.to_bits() & FRACTION == 0 && (1e-6..=1e6).contains(&number.abs())
}

struct Source {
    rng: StdRng,
    kind: DataKind,
    /// Of integers.
    range: Option<[i32; 2]>,
}

impl Source {
    /// `limit` is for integers, `flat` for flat data.
    fn tensor(&mut self, name: &'static str, length: u64, limit: u64, flat: f32) -> Result<Vec<f32>> {
        let mut values = reserve(name, length)?;
        let limit = limit as i32;
        for _ in 0..length {
            if let Some([low, high]) = self.range {
                values.push(match self.kind {
                    DataKind::Flat => high as f32,
                    DataKind::Positive => self.rng.random_range(0..=high) as f32,
                    DataKind::Integers | DataKind::Uniform => self.rng.random_range(low..=high) as f32,
                });
                continue;
            }
            values.push(match self.kind {
                DataKind::Integers => {
                    let magnitude = self.rng.random_range(1..=limit) as f32;
                    if self.rng.random() { magnitude } else { -magnitude }
                }
                DataKind::Uniform => self.rng.random_range(-1.0..=1.0),
                DataKind::Flat => flat,
                DataKind::Positive => self.rng.random(),
            });
        }
        Ok(values)
    }

    fn slopes(&mut self, channels: u64) -> Result<Vec<f32>> {
        const POWERS: [f32; 6] = [0.5, -0.25, 2.0, -1.0, 0.125, -4.0];
        if self.kind != DataKind::Integers {
            return self.tensor("the slopes", channels, 1, 0.3);
        }
        let mut slopes = reserve("the slopes", channels)?;
        slopes.extend((0..channels).map(|_| POWERS[self.rng.random_range(0..POWERS.len())]));
        Ok(slopes)
    }
}

impl Source {
    /// Offsets that lead to all parts of the image and beyond its borders; those that are not whole differ much from each other
    /// in what they make of the neighbours.
    fn offset(&mut self, length: u64) -> Result<Vec<f32>> {
        let mut values = reserve("the offset", length)?;
        for _ in 0..length {
            values.push(match self.kind {
                DataKind::Integers => self.rng.random_range(-7..=7_i8) as f32 / 2.0,
                DataKind::Uniform => self.rng.random_range(-3.0..=3.0),
                DataKind::Flat => 0.3,
                DataKind::Positive => self.rng.random(),
            });
        }
        Ok(values)
    }

    fn mask(&mut self, length: u64) -> Result<Vec<f32>> {
        const HALVES: [f32; 4] = [0.5, -0.5, 1.0, -1.0];
        if self.kind != DataKind::Integers {
            return self.tensor("the mask", length, 1, 0.6);
        }
        let mut values = reserve("the mask", length)?;
        values.extend((0..length).map(|_| HALVES[self.rng.random_range(0..HALVES.len())]));
        Ok(values)
    }
}

fn reserve(what: &'static str, length: u64) -> Result<Vec<f32>> {
    let mut values = Vec::new();
    usize::try_from(length).ok().and_then(|length| values.try_reserve_exact(length).ok()).ok_or_else(|| {
        Error::TooLarge { what, factors: format!("{length} elements"), limit: "the memory of this machine".into() }
    })?;
    Ok(values)
}

/// What must come out of each kernel, with the error bounds that follow from how it rounds.
pub struct References<'a> {
    problem: Problem,
    data: &'a ProblemData,
    /// One for each rounding that was asked for, with that of plain sums first.
    known: Vec<(Rounding, Reference)>,
}

impl References<'_> {
    /// Of a rounding; computed when it is first asked for.
    ///
    /// # Errors
    /// What the reference says.
    pub fn of(&mut self, rounding: Rounding) -> Result<&Reference> {
        let place = match self.known.iter().position(|(known, _)| *known == rounding) {
            Some(place) => place,
            None => {
                let reference = self.data.reference_as(&self.problem, rounding)?;
                self.known.push((rounding, reference));
                self.known.len() - 1
            }
        };
        Ok(&self.known[place].1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generate(problem: &str, kind: DataKind, seed: u64) -> ProblemData {
        ProblemData::generate(&problem.parse().unwrap(), kind, seed).unwrap()
    }

    /// Sums of 32 bits are read as the float32 nearest to them.
    #[test]
    fn sums_beyond_float32_are_those_that_are_read() {
        let problem: Problem = "n1c12z3h7w6o2k3x7x6g2:i8_i8z_i32".parse().unwrap();
        let mut rounded = 0;
        for seed in 0..50 {
            let data = ProblemData::generate(&problem, DataKind::Flat, seed).unwrap();
            let exact = reference::convolve(&problem, &data.tensors()).unwrap();
            let read = data.reference(&problem).unwrap();
            let bytes: Vec<u8> = exact.values.iter().flat_map(|&sum| (sum as i32).to_le_bytes()).collect();
            assert!(read.compare(&DType::I32.decode(&bytes)).unwrap().passed());
            rounded += read.values.iter().zip(&exact.values).filter(|(read, exact)| read != exact).count();
        }
        assert!(rounded > 0, "no sum is that large");
    }

    #[test]
    fn every_tensor_that_the_problem_needs_is_there() {
        for text in [
            "n2c4h5w6o6k3p1g2",
            "n1c3h5w5o4k1:nobias+residual+prelu",
            "n0c0h5w5o3k3",
            "n2c4h5w6o6k3p1:deform",
            "n2c4h5w6o6k3p1:deform:offset_groups=2:mask",
        ] {
            let problem: Problem = text.parse().unwrap();
            for kind in DataKind::ALL {
                let data = ProblemData::generate(&problem, kind, 1).unwrap();
                data.tensors().check(&problem).unwrap_or_else(|error| panic!("{text} {}: {error}", kind.name()));
            }
        }
    }

    #[test]
    fn integers_are_whole_nonzero_varied_and_small_enough() {
        for text in ["n1c8h9w9o8k3+residual", "n1c500000h1w1o1k1", "n1c1000000h1w1o1k1", "n1c1677h50w50o1k50"] {
            let problem: Problem = text.parse().unwrap();
            let data = ProblemData::generate(&problem, DataKind::Integers, 3).unwrap();
            assert!(data.exact, "{text}");
            let largest = |values: &[f32]| values.iter().fold(0.0_f64, |most, &v| most.max(f64::from(v.abs())));
            let addends = data.bias.iter().chain(&data.residual).map(|values| largest(values)).sum::<f64>();
            let sum = problem.sum_length() as f64 * largest(&data.input) * largest(&data.weight) + addends;
            assert!(sum <= exact_up_to(&problem) as f64, "{text}: {sum}");
            for values in [Some(&data.input), Some(&data.weight), data.bias.as_ref(), data.residual.as_ref()] {
                for &value in values.into_iter().flatten() {
                    assert!(value != 0.0 && value.fract() == 0.0, "{text}: {value}");
                }
            }
            assert!(data.input.iter().any(|&v| v != data.input[0]), "{text}");
        }
    }

    #[test]
    fn exactness_is_claimed_only_where_it_holds() {
        for (epilogue, exact) in [
            ("", true),
            ("+relu", true),
            ("+clip=-3,6.5", true),
            ("+leaky_relu=0.25", true),
            ("+leaky_relu=-2", true),
            ("+leaky_relu=0.1", false),
            ("+leaky_relu=0.000000059604645", false),
            ("+prelu", true),
            ("+hard_swish", false),
            ("+elu=1", false),
            ("+tanh", false),
        ] {
            let text = format!("n1c4h4w4o4k3p1{epilogue}");
            assert_eq!(generate(&text, DataKind::Integers, 0).exact, exact, "{text}");
            assert!(!generate(&text, DataKind::Uniform, 0).exact);
        }
        assert!(!generate("n1c16777216h1w1o1k1", DataKind::Integers, 0).exact, "sums may exceed 2^24");
    }

    #[test]
    fn exact_results_are_whole_numbers_without_bounds() {
        let problem: Problem = "n1c4h4w4o4k3p1+residual+relu".parse().unwrap();
        let reference = |kind| ProblemData::generate(&problem, kind, 0).unwrap().reference(&problem).unwrap();
        let exact = reference(DataKind::Integers);
        assert!(exact.bounds.iter().all(|&bound| bound == 0.0));
        assert!(exact.values.iter().all(|&value| f64::from(value as f32) == value && value.fract() == 0.0));
        assert!(reference(DataKind::Flat).bounds.iter().all(|&bound| bound > 0.0));
    }

    #[test]
    fn the_seed_decides() {
        let text = "n1c4h4w4o4k3p1+prelu";
        for kind in [DataKind::Integers, DataKind::Uniform, DataKind::Positive] {
            assert_eq!(generate(text, kind, 5), generate(text, kind, 5));
            assert_ne!(generate(text, kind, 5), generate(text, kind, 6));
        }
    }

    #[test]
    fn prelu_slopes_of_integers_are_powers_of_two() {
        let slopes = generate("n1c1h1w1o64k1+prelu", DataKind::Integers, 0).slopes.unwrap();
        assert!(slopes.iter().all(|&slope| is_power_of_two(slope)));
        assert!(slopes.iter().any(|&slope| slope < 0.0) && slopes.iter().any(|&slope| slope != slopes[0]));
    }

    #[test]
    fn a_tensor_that_no_machine_holds_is_an_error() {
        let problem: Problem = "n4000000000c1h4000000w1o1k1".parse().unwrap();
        let error = ProblemData::generate(&problem, DataKind::Uniform, 0).unwrap_err();
        assert!(error.to_string().contains("16000000000000000"), "{error}");
    }
}

//! The filters by name, and how a filter becomes convolutions.
//!
//! Numbers are applied as they stand, without turning the matrix around (cross-correlation, as in every machine
//! learning framework): the number in row 1, column 1 meets the pixel above and to the left.

use anyhow::{Context, Result, bail, ensure};

use super::matrix::{MAX_SIDE, Matrix, quoted};

/// For `--help`: every name with its numbers.
pub const HELP: &str = "\
gaussian:SIGMA            blur; SIGMA in pixels, weights out to 3 SIGMA
box:N                     mean of N × N pixels
sharpen                   0,-1,0; -1,5,-1; 0,-1,0
unsharp[:SIGMA[,AMOUNT]]  pixel + AMOUNT × (pixel − gaussian:SIGMA); 1 and 1 where not given
edge                      Sobel gradient magnitude (--divisor 4: a step from black to white is just white)
laplacian                 0,1,0; 1,-4,1; 0,1,0 (--offset 0.5 shows both signs)
emboss                    -1,-1,0; -1,0,1; 0,1,1 with an offset of 0.5";

const KNOWN: &str = "gaussian:SIGMA, box:N, sharpen, unsharp[:SIGMA[,AMOUNT]], edge, laplacian, emboss";

/// Largest sigma: its weights reach `3 * sigma` to each side and must fit [`MAX_SIDE`].
const MAX_SIGMA: f64 = ((MAX_SIDE - 1) / 2 / 3) as f64;
const MAX_AMOUNT: f64 = 1000.0;
/// Keeps every sum finite in 32-bit floating point, whatever the picture.
const MAX_ABSOLUTE_SUM: f64 = 1e30;

/// A filter as chained convolutions of each channel by itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Filter {
    /// What the user asked for, for reports.
    pub name: String,
    /// At least one; each takes the result of the one before. Only the last has more than one response.
    pub passes: Vec<Pass>,
    /// Added to each result of the last pass.
    pub offset: f32,
}

impl Filter {
    /// Results for each channel.
    pub fn responses(&self) -> usize {
        self.passes.last().map_or(1, |pass| pass.responses.len())
    }

    /// The filter with this one of its responses alone.
    pub fn with_response(&self, number: usize) -> Self {
        let mut filter = self.clone();
        if let Some(last) = filter.passes.last_mut() {
            last.responses = vec![last.responses[number].clone()];
        }
        filter
    }
}

/// One depthwise convolution.
#[derive(Debug, Clone, PartialEq)]
pub struct Pass {
    /// Rows and columns of the weights.
    pub size: [u32; 2],
    /// One set of weights for each response to a channel. Two responses are a gradient: its magnitude is the result.
    pub responses: Vec<Vec<f32>>,
    /// Adds this many times the filter's input to the result.
    pub keep: Option<f32>,
}

/// A filter before `--divisor` and `--offset`.
#[derive(Debug, Clone, PartialEq)]
pub struct Recipe {
    name: String,
    stencil: Stencil,
    offset: f64,
}

#[derive(Debug, Clone, PartialEq)]
enum Stencil {
    Matrix(Matrix),
    /// `keep · x + gain · (blur of x)`, the blur being `taps` along the rows and along the columns.
    Blur {
        taps: Vec<f64>,
        keep: f64,
        gain: f64,
    },
    Gradient([Matrix; 2]),
}

impl Recipe {
    /// A matrix from the user.
    pub fn of_matrix(name: String, matrix: Matrix) -> Self {
        Self { name, stencil: Stencil::Matrix(matrix), offset: 0.0 }
    }

    /// Reads `NAME` or `NAME:NUMBER[,NUMBER]`.
    pub fn named(text: &str) -> Result<Self> {
        let (name, numbers) = match text.split_once(':') {
            Some((name, numbers)) => (name, Some(numbers)),
            None => (text, None),
        };
        Self::of_name(name, numbers).with_context(|| format!("filter {}", quoted(text)))
    }

    fn of_name(name: &str, numbers: Option<&str>) -> Result<Self> {
        let (stencil, offset) = match (name, numbers) {
            ("gaussian", Some(sigma)) => (blur(gaussian(read_sigma(sigma)?)), 0.0),
            ("gaussian", None) => bail!("a sigma is missing; write it as in gaussian:2"),
            ("box", Some(size)) => (blur(mean(read_box_size(size)?)), 0.0),
            ("box", None) => bail!("a size is missing; write it as in box:5"),
            ("unsharp", numbers) => (unsharp(numbers)?, 0.0),
            ("sharpen" | "edge" | "laplacian" | "emboss", Some(numbers)) => {
                bail!("{name} takes no numbers, but {} was given", quoted(numbers))
            }
            ("sharpen", None) => (square([0, -1, 0, -1, 5, -1, 0, -1, 0]), 0.0),
            ("laplacian", None) => (square([0, 1, 0, 1, -4, 1, 0, 1, 0]), 0.0),
            ("emboss", None) => (square([-1, -1, 0, -1, 0, 1, 0, 1, 1]), 0.5),
            ("edge", None) => {
                let across = matrix_of([-1, 0, 1, -2, 0, 2, -1, 0, 1]);
                let down = matrix_of([-1, -2, -1, 0, 0, 0, 1, 2, 1]);
                (Stencil::Gradient([across, down]), 0.0)
            }
            _ => bail!("there is no filter named {}; known are {KNOWN}", quoted(name)),
        };
        let name = numbers.map_or_else(|| name.to_string(), |numbers| format!("{name}:{numbers}"));
        Ok(Self { name, stencil, offset })
    }

    /// Divides the weights by `divisor` and puts `offset`, if given, in the place of the filter's own.
    pub fn compile(self, divisor: f64, offset: Option<f64>) -> Result<Filter> {
        ensure!(divisor.is_finite() && divisor != 0.0, "--divisor is {divisor}; it must be finite and not 0");
        if let Some(offset) = offset {
            ensure!(
                offset.abs() <= MAX_ABSOLUTE_SUM,
                "--offset is {offset}; it must be between -{MAX_ABSOLUTE_SUM:e} and {MAX_ABSOLUTE_SUM:e}"
            );
            let gradient = matches!(self.stencil, Stencil::Gradient(_));
            ensure!(!gradient || offset == 0.0, "--offset is {offset}; {} has no signs that it could show", self.name);
        }
        let passes = match self.stencil {
            Stencil::Matrix(matrix) => vec![pass(&[&matrix], divisor)?],
            Stencil::Gradient([across, down]) => vec![pass(&[&across, &down], divisor)?],
            Stencil::Blur { taps, keep, gain } => blur_passes(&taps, keep / divisor, gain / divisor)?,
        };
        Ok(Filter { name: self.name, passes, offset: offset.unwrap_or(self.offset) as f32 })
    }
}

/// One convolution with a square of weights where it is small, else one along the rows and one along the columns.
/// A pass moves every pixel in and out again, which counts like some taps: hence four times the taps, not twice.
fn blur_passes(taps: &[f64], keep: f64, gain: f64) -> Result<Vec<Pass>> {
    let count = taps.len();
    if count <= 4 {
        let mut values: Vec<f64> = taps.iter().flat_map(|down| taps.iter().map(move |across| down * across)).collect();
        values.iter_mut().for_each(|value| *value *= gain);
        values[(count - 1) / 2 * (count + 1)] += keep;
        return Ok(vec![pass(&[&Matrix::of(count, values)], 1.0)?]);
    }
    let down: Vec<f64> = taps.iter().map(|tap| tap * gain).collect();
    let mut last = pass(&[&Matrix::of(1, down)], 1.0)?;
    if keep != 0.0 {
        ensure_sums_stay_finite(keep.abs())?;
        last.keep = Some(keep as f32);
    }
    Ok(vec![pass(&[&Matrix::of(count, taps)], 1.0)?, last])
}

fn pass(responses: &[&Matrix], divisor: f64) -> Result<Pass> {
    let size = [responses[0].rows() as u32, responses[0].columns() as u32];
    let mut pass = Pass { size, responses: Vec::new(), keep: None };
    for matrix in responses {
        let weights: Vec<f64> = matrix.values().iter().map(|value| value / divisor).collect();
        ensure_sums_stay_finite(weights.iter().map(|weight| weight.abs()).sum())?;
        pass.responses.push(weights.into_iter().map(|weight| weight as f32).collect());
    }
    Ok(pass)
}

fn ensure_sums_stay_finite(absolute_sum: f64) -> Result<()> {
    ensure!(
        absolute_sum <= MAX_ABSOLUTE_SUM,
        "the weights, divided by the divisor, add up to {absolute_sum:e} in absolute value; \
         at most {MAX_ABSOLUTE_SUM:e} is allowed"
    );
    Ok(())
}

fn matrix_of(numbers: [i8; 9]) -> Matrix {
    Matrix::of(3, numbers.map(f64::from))
}

fn square(numbers: [i8; 9]) -> Stencil {
    Stencil::Matrix(matrix_of(numbers))
}

fn blur(taps: Vec<f64>) -> Stencil {
    Stencil::Blur { taps, keep: 0.0, gain: 1.0 }
}

fn mean(count: usize) -> Vec<f64> {
    vec![1.0 / count as f64; count]
}

/// Samples of the bell curve out to three sigma, made to add up to 1.
fn gaussian(sigma: f64) -> Vec<f64> {
    let radius = (3.0 * sigma).ceil() as i64;
    // The division comes before the square, which could underflow to 0 / 0 for a tiny sigma.
    let curve = (-radius..=radius).map(|x| (-0.5 * (x as f64 / sigma).powi(2)).exp());
    let samples: Vec<f64> = curve.collect();
    let sum: f64 = samples.iter().sum();
    samples.into_iter().map(|sample| sample / sum).collect()
}

fn unsharp(numbers: Option<&str>) -> Result<Stencil> {
    let fields: Vec<&str> = numbers.map(|numbers| numbers.split(',').collect()).unwrap_or_default();
    let (sigma, amount) = match fields[..] {
        [] => (1.0, 1.0),
        [sigma] => (read_sigma(sigma)?, 1.0),
        [sigma, amount] => (read_sigma(sigma)?, read_number("the amount", amount, MAX_AMOUNT)?),
        _ => bail!("unsharp takes a sigma and an amount, but {} numbers were given", fields.len()),
    };
    Ok(Stencil::Blur { taps: gaussian(sigma), keep: 1.0 + amount, gain: -amount })
}

fn read_sigma(text: &str) -> Result<f64> {
    read_number("sigma", text, MAX_SIGMA)
}

fn read_number(what: &str, text: &str, most: f64) -> Result<f64> {
    let Ok(value) = text.trim().parse::<f64>() else { bail!("{what} is {}, which is not a number", quoted(text)) };
    // NaN fails both comparisons.
    ensure!(value > 0.0 && value <= most, "{what} is {value}; it must be above 0 and at most {most}");
    Ok(value)
}

fn read_box_size(text: &str) -> Result<usize> {
    match text.trim().parse::<i64>() {
        Ok(size) if (1..=MAX_SIDE as i64).contains(&size) => Ok(size as usize),
        Ok(size) => bail!("the size is {size}; it must be from 1 to {MAX_SIDE}"),
        Err(_) => bail!("the size is {}; it must be a whole number from 1 to {MAX_SIDE}", quoted(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compile(name: &str) -> Filter {
        Recipe::named(name).unwrap().compile(1.0, None).unwrap()
    }

    fn error(name: &str) -> String {
        format!("{:#}", Recipe::named(name).unwrap_err())
    }

    #[test]
    fn gaussian_weights_are_a_bell_that_adds_up_to_one() {
        let filter = compile("gaussian:2");
        let [along, across] = &filter.passes[..] else { panic!("two passes") };
        assert_eq!((along.size, across.size), ([1, 13], [13, 1]));
        let taps = &along.responses[0];
        assert!((taps.iter().map(|&tap| f64::from(tap)).sum::<f64>() - 1.0).abs() < 1e-6);
        assert!((f64::from(taps[8] / taps[6]) - (-0.5f64).exp()).abs() < 1e-6, "one sigma from the middle");
        assert!((0..13).all(|i| taps[i] == taps[12 - i]));
        // Small ones are one square, tiny ones do nothing.
        assert_eq!(compile("gaussian:0.3").passes[0].size, [3, 3]);
        assert_eq!(compile("gaussian:1e-300").passes[0].responses[0], [0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0]);
        assert_eq!(compile(&format!("gaussian:{MAX_SIGMA}")).passes[0].size, [1, 4093]);
    }

    #[test]
    fn a_box_has_equal_weights_also_when_even() {
        assert_eq!(compile("box:2").passes[0].responses[0], [0.25; 4]);
        assert_eq!(compile("box:1").passes[0].responses[0], [1.0]);
        assert_eq!(compile("box:8").passes[1].responses[0], [0.125; 8]);
    }

    #[test]
    fn unsharp_adds_what_the_blur_takes_away() {
        let small = compile("unsharp:0.3,2");
        let blurred = compile("gaussian:0.3").passes[0].responses[0].clone();
        for (index, (&weight, &blur)) in small.passes[0].responses[0].iter().zip(&blurred).enumerate() {
            let expected = if index == 4 { 3.0 } else { 0.0 } - 2.0 * blur;
            assert!((weight - expected).abs() < 1e-6, "{index}: {weight} {expected}");
        }
        let large = compile("unsharp");
        assert_eq!((large.passes.len(), large.passes[0].keep, large.passes[1].keep), (2, None, Some(2.0)));
        assert!((large.passes[1].responses[0].iter().sum::<f32>() + 1.0).abs() < 1e-6);
    }

    #[test]
    fn divisor_and_offset() {
        let recipe = Recipe::of_matrix("matrix".into(), Matrix::of(2, [1.0, 3.0]));
        let filter = recipe.clone().compile(4.0, Some(-0.5)).unwrap();
        assert_eq!((&filter.passes[0].responses[0][..], filter.offset), (&[0.25, 0.75][..], -0.5));
        assert_eq!(compile("emboss").offset, 0.5);
        assert_eq!(Recipe::named("emboss").unwrap().compile(1.0, Some(0.0)).unwrap().offset, 0.0);
        let blur = Recipe::named("unsharp").unwrap().compile(2.0, None).unwrap();
        assert_eq!(blur.passes[1].keep, Some(1.0));
        for divisor in [0.0, f64::NAN, f64::INFINITY] {
            assert!(recipe.clone().compile(divisor, None).unwrap_err().to_string().starts_with("--divisor is"));
        }
        assert!(recipe.clone().compile(1e-31, None).unwrap_err().to_string().contains("4e31"));
        assert!(Recipe::named("unsharp").unwrap().compile(1e-31, None).is_err());
        assert!(recipe.compile(1.0, Some(f64::NAN)).is_err());
        assert!(Recipe::named("edge").unwrap().compile(1.0, Some(0.5)).is_err());
    }

    #[test]
    fn errors_name_what_is_wrong() {
        assert!(error("blur").contains("known are gaussian:SIGMA"));
        assert_eq!(error("gaussian:-1"), "filter \"gaussian:-1\": sigma is -1; it must be above 0 and at most 682");
        for text in ["gaussian:0", "gaussian:nan", "gaussian:inf", "gaussian:683", "unsharp:0", "unsharp:1,0"] {
            assert!(error(text).contains("must be above 0"), "{text}: {}", error(text));
        }
        for text in ["gaussian:", "gaussian:x", "unsharp:", "unsharp:1,"] {
            assert!(error(text).contains("not a number"), "{text}: {}", error(text));
        }
        assert!(error("unsharp:1,2,3").contains("3 numbers"));
        for text in ["box:0", "box:-1", "box:4097", "box:2.5", "box:99999999999999999999"] {
            assert!(error(text).contains("from 1 to 4096"), "{text}: {}", error(text));
        }
        assert!(error("sharpen:2").contains("takes no numbers"));
        assert!(error("gaussian").contains("gaussian:2") && error("box").contains("box:5"));
    }
}

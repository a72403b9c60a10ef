//! Whether the outputs of a run are right.

use wgpu_conv::Problem;
use wgpu_conv::reference::Reference;

use super::Outcome;

/// Whether a unit gave the right result.
#[derive(Debug, Clone, PartialEq)]
pub struct UnitResult {
    /// Whether it did.
    pub passed: bool,
    /// Absolute error at the worst output; infinite if that is not finite and should be; 0 if there are no outputs.
    pub error: f64,
    /// The error that is allowed there; 0 where exact equality is asked for.
    pub bound: f64,
    /// What is wrong; empty if nothing is.
    pub message: String,
}

impl UnitResult {
    /// A unit that gave no result.
    pub fn failure(message: String) -> Self {
        Self { passed: false, error: f64::NAN, bound: f64::NAN, message }
    }
}

/// Compares a run with the reference: bit for bit (0 and −0 being equal) if `exact`, else within its bounds.
pub fn judge(problem: &Problem, reference: &Reference, exact: bool, outcome: &Outcome) -> UnitResult {
    if exact {
        return judge_within(problem, &reference.values, |_| 0.0, outcome);
    }
    judge_within(problem, &reference.values, |index| reference.bounds.get(index).copied().unwrap_or(0.0), outcome)
}

/// Compares a run with expected values, each within `bound(index)` of its own.
pub fn judge_within(
    problem: &Problem,
    expected: &[f64],
    bound: impl Fn(usize) -> f64,
    outcome: &Outcome,
) -> UnitResult {
    if let Some(defect) = &outcome.defect {
        return UnitResult::failure(defect.clone());
    }
    let output = &outcome.output;
    if output.len() != expected.len() {
        return UnitResult::failure(format!("there are {} outputs instead of {}", output.len(), expected.len()));
    }
    let mut worst = Worst { excess: f64::NEG_INFINITY, index: 0, error: 0.0, bound: 0.0 };
    let mut wrong = 0;
    for (index, (&actual, &expected)) in output.iter().zip(expected).enumerate() {
        let error = distance(f64::from(actual), expected);
        let bound = bound(index);
        // So that a NaN on either side is wrong. Wrong outputs rank by their error, right ones below by how close they came.
        let right = error <= bound;
        wrong += usize::from(!right);
        let excess = match right {
            true if error == 0.0 => -1.0,
            true => error / bound - 1.0,
            false => error,
        };
        if excess > worst.excess {
            worst = Worst { excess, index, error, bound };
        }
    }
    let message = if wrong == 0 {
        String::new()
    } else {
        let Worst { index, error, bound, .. } = worst;
        let [n, c, y, x] = coordinates(problem, index);
        format!(
            "{wrong} of {} outputs are wrong; worst at image {n}, channel {c}, row {y}, column {x}: {} instead of {}, \
             off by {error:.3e} where {bound:.3e} is allowed",
            output.len(),
            output[index],
            expected[index]
        )
    };
    UnitResult { passed: wrong == 0, error: worst.error, bound: worst.bound, message }
}

struct Worst {
    excess: f64,
    index: usize,
    error: f64,
    bound: f64,
}

/// Infinite unless both are equal or both are numbers.
fn distance(actual: f64, expected: f64) -> f64 {
    if actual == expected {
        return 0.0;
    }
    let difference = (actual - expected).abs();
    if difference.is_nan() { f64::INFINITY } else { difference }
}

/// Image, channel, row and column of an output.
fn coordinates(problem: &Problem, index: usize) -> [usize; 4] {
    let mut rest = index;
    let mut found = problem.output_shape().map(|size| (size as usize).max(1));
    for size in found.iter_mut().rev() {
        let position = rest % *size;
        rest /= *size;
        *size = position;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem() -> Problem {
        "n2c1h2w3o2k1".parse().unwrap()
    }

    fn outcome(change: impl FnOnce(&mut Vec<f32>)) -> Outcome {
        let mut output: Vec<f32> = (0..24).map(|i| i as f32).collect();
        change(&mut output);
        Outcome { output, defect: None }
    }

    fn reference() -> Reference {
        Reference { values: (0..24).map(f64::from).collect(), bounds: vec![1e-3; 24] }
    }

    #[test]
    fn right_results_pass() {
        for exact in [true, false] {
            let result = judge(&problem(), &reference(), exact, &outcome(|y| y[0] = -0.0));
            assert!(result.passed && result.error == 0.0 && result.message.is_empty(), "{result:?}");
        }
        assert!(judge(&problem(), &reference(), false, &outcome(|y| y[1] += 5e-4)).passed);
    }

    #[test]
    fn one_wrong_element_fails() {
        for wrong in [7.0 + 1e-6_f32, 7.01, 0.0, f32::NAN, f32::INFINITY] {
            let result = judge(&problem(), &reference(), true, &outcome(|y| y[7] = wrong));
            assert!(!result.passed && result.message.starts_with("1 of 24"), "{wrong}: {result:?}");
            assert!(result.message.contains("image 0, channel 1, row 0, column 1"), "{result:?}");
        }
        for wrong in [7.01, 0.0, f32::NAN, f32::NEG_INFINITY] {
            let result = judge(&problem(), &reference(), false, &outcome(|y| y[7] = wrong));
            assert!(!result.passed && result.bound == 1e-3 && result.error > 1e-3, "{wrong}: {result:?}");
        }
    }

    #[test]
    fn the_worst_of_several_is_named() {
        let result = judge(&problem(), &reference(), false, &outcome(|y| (y[3], y[23], y[2]) = (3.5, 90.0, 2.1)));
        assert!(result.message.contains("3 of 24") && result.message.contains("90 instead of 23"), "{result:?}");
        assert!(result.message.contains("image 1, channel 1, row 1, column 2"), "{result:?}");
    }

    #[test]
    fn expected_values_that_are_not_finite_are_compared_too() {
        let expected: Vec<f64> = (0..24).map(|i| if i == 5 { f64::INFINITY } else { f64::from(i) }).collect();
        assert!(judge_within(&problem(), &expected, |_| 0.0, &outcome(|y| y[5] = f32::INFINITY)).passed);
        assert!(!judge_within(&problem(), &expected, |_| 1.0, &outcome(|_| ())).passed);
        // A bound that is not a number allows nothing.
        assert!(!judge_within(&problem(), &reference().values, |_| f64::NAN, &outcome(|y| y[0] = 1.0)).passed);
    }

    #[test]
    fn defects_and_wrong_counts_fail() {
        let defect = Outcome { defect: Some("a guard zone".into()), ..outcome(|_| ()) };
        assert_eq!(judge(&problem(), &reference(), false, &defect).message, "a guard zone");
        let result = judge(&problem(), &reference(), false, &outcome(|y| y.truncate(23)));
        assert!(!result.passed && result.message.contains("23 outputs instead of 24"));
    }
}

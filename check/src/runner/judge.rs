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

/// Compares a run with what must come out, each output within its bound.
pub fn judge(problem: &Problem, expected: &Reference, outcome: &Outcome) -> UnitResult {
    if let Some(defect) = &outcome.defect {
        return UnitResult::failure(defect.clone());
    }
    let comparison = match expected.compare(&outcome.output) {
        Ok(comparison) => comparison,
        Err(error) => return UnitResult::failure(error.to_string()),
    };
    let [value, actual, bound] = comparison.worst;
    let error = distance(actual, value);
    let message = match comparison.worst_index {
        Some(index) if comparison.failures > 0 => {
            format!(
                "{} of {} outputs are wrong; worst at {}: {actual} instead of {value}, off by {error:.3e} where {bound:.3e} \
                 is allowed",
                comparison.failures,
                comparison.count,
                place(problem, index),
            )
        }
        _ => String::new(),
    };
    UnitResult { passed: comparison.failures == 0, error, bound, message }
}

/// Infinite unless both are equal or both are numbers.
fn distance(actual: f64, expected: f64) -> f64 {
    if actual == expected {
        return 0.0;
    }
    let difference = (actual - expected).abs();
    if difference.is_nan() { f64::INFINITY } else { difference }
}

/// Where an output lies, in words: image, channel, and its place along each spatial axis.
fn place(problem: &Problem, index: usize) -> String {
    let shape = problem.output_shape();
    let spatial = &["slice", "row", "column"][3 - problem.dimensions()..];
    let names = ["image", "channel"].iter().chain(spatial);
    let mut rest = index;
    let mut words: Vec<String> = Vec::new();
    for (&size, name) in shape.iter().zip(names).collect::<Vec<_>>().into_iter().rev() {
        let size = (size as usize).max(1);
        words.push(format!("{name} {}", rest % size));
        rest /= size;
    }
    words.reverse();
    words.join(", ")
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

    fn reference(bound: f64) -> Reference {
        Reference { values: (0..24).map(f64::from).collect(), bounds: vec![bound; 24] }
    }

    #[test]
    fn right_results_pass() {
        for bound in [0.0, 1e-3] {
            let result = judge(&problem(), &reference(bound), &outcome(|y| y[0] = -0.0));
            assert!(result.passed && result.error == 0.0 && result.message.is_empty(), "{result:?}");
        }
        let result = judge(&problem(), &reference(1e-3), &outcome(|y| y[1] += 5e-4));
        assert!(result.passed && result.bound == 1e-3 && (4e-4..6e-4).contains(&result.error), "{result:?}");
    }

    #[test]
    fn one_wrong_element_fails() {
        for wrong in [7.0 + 1e-6_f32, 7.01, 0.0, f32::NAN, f32::INFINITY] {
            let result = judge(&problem(), &reference(0.0), &outcome(|y| y[7] = wrong));
            assert!(!result.passed && result.message.starts_with("1 of 24"), "{wrong}: {result:?}");
            assert!(result.message.contains("image 0, channel 1, row 0, column 1"), "{result:?}");
        }
        for wrong in [7.01, 0.0, f32::NAN, f32::NEG_INFINITY] {
            let result = judge(&problem(), &reference(1e-3), &outcome(|y| y[7] = wrong));
            assert!(!result.passed && result.bound == 1e-3 && result.error > 1e-3, "{wrong}: {result:?}");
        }
    }

    #[test]
    fn the_worst_of_several_is_named() {
        let result = judge(&problem(), &reference(1e-3), &outcome(|y| (y[3], y[23], y[2]) = (3.5, 90.0, 2.1)));
        assert!(result.message.contains("3 of 24") && result.message.contains("90 instead of 23"), "{result:?}");
        assert!(result.message.contains("image 1, channel 1, row 1, column 2"), "{result:?}");
    }

    #[test]
    fn places_have_a_name_for_each_axis() {
        for (text, index, expected) in [
            ("n2c1w3o2k1", 8, "image 1, channel 0, column 2"),
            ("n2c1h2w3o2k1", 22, "image 1, channel 1, row 1, column 1"),
            ("n1c1z2h3w4o2k1", 47, "image 0, channel 1, slice 1, row 2, column 3"),
            ("n1c1w3o1k2s2:transposed", 5, "image 0, channel 0, column 5"),
        ] {
            assert_eq!(place(&text.parse().unwrap(), index), expected, "{text}");
        }
    }

    #[test]
    fn defects_and_wrong_counts_fail() {
        let defect = Outcome { defect: Some("a guard zone".into()), ..outcome(|_| ()) };
        assert_eq!(judge(&problem(), &reference(0.0), &defect).message, "a guard zone");
        let result = judge(&problem(), &reference(0.0), &outcome(|y| y.truncate(23)));
        assert!(!result.passed && result.message.contains("23 elements"), "{result:?}");
    }
}

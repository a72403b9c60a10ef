//! The twelve workloads that the benchmarks measure, each known by a letter.

use wgpu_conv::{Error, Problem, Result};

/// A convolution layer of a well-known kind of network, or an image filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Workload {
    /// `A` to `L`.
    pub letter: char,
    /// Where such a convolution occurs.
    pub what: &'static str,
    /// The problem string.
    pub problem: &'static str,
}

/// All workloads, in the order of their letters.
pub const WORKLOADS: [Workload; 12] = [
    workload('A', "ResNet-50 body", "n1c64h56w56o64k3p1"),
    workload('B', "ResNet-50 body with stride 2", "n1c128h56w56o128k3s2p1"),
    workload('C', "ResNet-50 body, small and deep", "n1c256h14w14o256k3p1"),
    workload('D', "ResNet stem", "n1c3h224w224o64k7s2p3"),
    workload('E', "1×1, fewer channels", "n1c256h56w56o64k1"),
    workload('F', "1×1, more channels", "n1c64h56w56o256k1"),
    workload('G', "depthwise", "n1c96h112w112o96k3p1g96"),
    workload('H', "dilated (DeepLab)", "n1c256h28w28o256k3p2d2"),
    workload('I', "grouped (ResNeXt)", "n1c128h28w28o128k3p1g32"),
    workload('J', "blur of a full HD image", "n1c3h1080w1920o3k5p2g3"),
    workload('K', "super-resolution body", "n1c64h180w320o64k3p1"),
    workload('L', "batch of 8", "n8c64h56w56o64k3p1"),
];

const fn workload(letter: char, what: &'static str, problem: &'static str) -> Workload {
    Workload { letter, what, problem }
}

/// Reads a problem string, or the letter of a workload (in either case).
///
/// # Errors
/// [`Error::Parse`], or what [`Problem::new`] says of the values.
pub fn problem_or_workload(text: &str) -> Result<Problem> {
    let mut letters = text.chars();
    let (Some(letter), None) = (letters.next(), letters.next()) else {
        return text.parse();
    };
    match WORKLOADS.iter().find(|workload| workload.letter.eq_ignore_ascii_case(&letter)) {
        Some(workload) => workload.problem.parse(),
        None => Err(Error::Parse {
            text: text.into(),
            position: 1,
            reason: "expected one of the workloads A to L, or a problem such as n1c64h56w56o64k3p1".into(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_and_problems_are_read() {
        for (index, workload) in WORKLOADS.iter().enumerate() {
            assert_eq!(workload.letter, char::from(b'A' + index as u8));
            let problem = problem_or_workload(&workload.letter.to_string()).unwrap();
            assert_eq!(problem.to_string(), workload.problem);
        }
        assert_eq!(problem_or_workload("k").unwrap(), problem_or_workload("K").unwrap());
        assert_eq!(problem_or_workload("n1c1h1w1o1k1").unwrap().macs(), 1);
    }

    #[test]
    fn the_work_is_what_the_published_numbers_are_for() {
        // GFLOP to four places, counted by hand from the layer's sizes.
        let expected = [0.2312, 0.2312, 0.2312, 0.2360, 0.1028, 0.1028, 0.0217, 0.9248, 0.0072, 0.3110, 4.2467, 1.8497];
        for (workload, gflop) in WORKLOADS.iter().zip(expected) {
            let flops = problem_or_workload(workload.problem).unwrap().flops() as f64 * 1e-9;
            assert!((flops - gflop).abs() < 6e-5, "{}: {flops}", workload.letter);
        }
    }

    #[test]
    fn other_letters_are_errors_that_say_what_there_is() {
        for text in ["M", "é", "7"] {
            assert!(problem_or_workload(text).unwrap_err().to_string().contains("A to L"), "{text}");
        }
        assert!(problem_or_workload("").is_err());
    }
}

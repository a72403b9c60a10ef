//! Problem strings: what is written reads back, and what cannot be read is an error that points into the text.

#[path = "common/problems.rs"]
mod problems;

use std::collections::HashSet;

use problems::{any_activation, any_problem, integer_problem};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use wgpu_conv::{Activation, Conv2d, Error, Padding, PaddingMode, Problem};

/// Reads a text that may be anything. An error of reading points at a character of it, or just past its end.
fn read(text: &str) -> Result<Option<Problem>, TestCaseError> {
    match text.parse::<Problem>() {
        Ok(problem) => Ok(Some(problem)),
        Err(Error::Parse { text: named, position, reason }) => {
            prop_assert_eq!(named, text);
            prop_assert!((1..=text.chars().count() + 1).contains(&position), "{} in {:?}", position, text);
            prop_assert!(!reason.is_empty());
            Ok(None)
        }
        // Readable, but no convolution: the message names a number.
        Err(error) => {
            prop_assert!(error.to_string().contains(|c: char| c.is_ascii_digit()), "{text:?}: {error}");
            Ok(None)
        }
    }
}

/// What could be read is written in a form that reads back as the same, and is written the same again.
fn check_round_trip(problem: &Problem) -> Result<(), TestCaseError> {
    let text = problem.to_string();
    let again: Problem = text.parse().map_err(|error| TestCaseError::fail(format!("{text}: {error}")))?;
    prop_assert_eq!(&again, problem);
    prop_assert_eq!(again.to_string(), text);
    Ok(())
}

/// One change to a text, as a slip of the hand or of a program would make it. `place` and `other` fall on a character.
#[derive(Debug, Clone)]
enum Slip {
    Delete { place: usize },
    Double { place: usize },
    Swap { place: usize, other: usize },
    Put { place: usize, piece: String },
    Cut { place: usize },
}

fn slip() -> impl Strategy<Value = Slip> {
    let place = || any::<prop::sample::Index>().prop_map(|index| index.index(64));
    // Pieces of the grammar, numbers at the ends of their range, and characters that have nothing to do with it.
    let pieces = [
        "n",
        "c",
        "k",
        "x",
        "s",
        "p",
        "d",
        "g",
        ",",
        ":",
        "+",
        "=",
        "-",
        ".",
        "0",
        "1",
        "4294967295",
        "4294967296",
        "99999999999999999999",
        "psame",
        "samelower",
        "valid",
        ":circular",
        ":nobias",
        "+residual",
        "+relu",
        "+clip=0",
        "inf",
        "NaN",
        "1e9",
        " ",
        "\0",
        "é",
        "漢",
        "🦀",
    ];
    prop_oneof![
        place().prop_map(|place| Slip::Delete { place }),
        place().prop_map(|place| Slip::Double { place }),
        (place(), place()).prop_map(|(place, other)| Slip::Swap { place, other }),
        (place(), prop::sample::select(pieces.to_vec()))
            .prop_map(|(place, piece)| Slip::Put { place, piece: piece.into() }),
        place().prop_map(|place| Slip::Cut { place }),
    ]
}

fn apply(text: &str, slip: &Slip) -> String {
    let mut letters: Vec<char> = text.chars().collect();
    let count = letters.len().max(1);
    let at = |place: usize| place % count;
    match slip {
        _ if letters.is_empty() => {}
        Slip::Delete { place } => {
            letters.remove(at(*place));
        }
        Slip::Double { place } => letters.insert(at(*place), letters[at(*place)]),
        Slip::Swap { place, other } => letters.swap(at(*place), at(*other)),
        Slip::Put { place, piece } => {
            let place = at(*place);
            letters.splice(place..place, piece.chars());
        }
        Slip::Cut { place } => letters.truncate(at(*place)),
    }
    letters.into_iter().collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn random_problems_read_back(case in any_problem(1 << 40)) {
        check_round_trip(&case.0)?;
    }

    /// Also those with large numbers, which no strategy for running them would draw.
    #[test]
    fn large_numbers_read_back(numbers in any::<[u32; 16]>(), shifts in prop::array::uniform16(0..32u32)) {
        let number = |index: usize| numbers[index] >> shifts[index];
        // Small enough that most of them make a convolution.
        let few = |index: usize| (number(index) >> 16) + 1;
        let conv = Conv2d::new(few(11), few(4), [few(5) % 16 + 1, few(6)])
            .stride([number(7).max(1), number(8).max(1)])
            .dilation([few(9), few(10) % 100 + 1])
            .padding(Padding::sides(number(0), number(1), number(2), number(3)));
        let input = [few(12), conv.in_channels, number(13).max(1), number(14).max(1)];
        if let Ok(problem) = Problem::new(&conv, input) {
            check_round_trip(&problem)?;
        }
    }

    #[test]
    fn activations_read_back(activation in any_activation(), slope in any::<f32>()) {
        prop_assert_eq!(activation.to_string().parse::<Activation>().unwrap(), activation);
        let steep = Activation::LeakyRelu { slope };
        prop_assert_eq!(steep.to_string().parse::<Activation>().unwrap(), steep);
    }

    #[test]
    fn fields_may_stand_in_any_order(case in any_problem(1 << 40), seed in any::<prop::sample::Index>()) {
        let text = case.0.to_string();
        let end = text.find([':', '+']).unwrap_or(text.len());
        let (sizes, options) = text.split_at(end);
        // A field begins at a letter that does not follow a letter: a named padding stays in one piece.
        let is_letter = |place: usize| sizes.as_bytes()[place].is_ascii_lowercase() && !sizes[place..].starts_with('x');
        let starts: Vec<usize> = (0..sizes.len())
            .filter(|&place| is_letter(place) && (place == 0 || !is_letter(place - 1)))
            .chain([sizes.len()])
            .collect();
        let mut fields: Vec<&str> = starts.windows(2).map(|pair| &sizes[pair[0]..pair[1]]).collect();
        let turn = seed.index(fields.len());
        fields.rotate_left(turn);
        fields.reverse();
        let shuffled = fields.concat() + options;
        prop_assert_eq!(shuffled.parse::<Problem>(), Ok(case.0), "{}", shuffled);
    }

    #[test]
    fn any_text_is_read_or_refused(text in any::<String>()) {
        read(&text)?;
        // From the letters of the grammar alone, which come further.
        let letters: Vec<char> = "nchwokspdgx,:+=0123456789".chars().collect();
        let similar: String = text.chars().map(|letter| letters[letter as usize % letters.len()]).collect();
        read(&similar)?;
        let _ = text.parse::<Activation>();
    }

    #[test]
    fn text_that_looks_right_is_read_or_refused(
        text in "c[1-9]h[1-9][0-9]{0,9}w[1-9][0-9]?o[1-9]k[1-4](x[0-9]{1,2})?\
                 (n[0-9]{1,5}|g[1-3]|[sd][0-9]{1,5}(x[1-9])?|p(same|samelower|valid|[0-9]{1,3}(,[0-9]){0,4})){0,4}\
                 (:(zeros|reflect|nobias|x)){0,2}(\\+(residual|relu|clip=[0-9],[0-9.]{1,3}|elu=-?[0-9]|gelu)){0,2}"
    ) {
        if let Some(problem) = read(&text)? {
            check_round_trip(&problem)?;
        }
    }

    #[test]
    fn slips_are_read_or_refused(case in any_problem(1 << 40), slips in prop::collection::vec(slip(), 1..4)) {
        let text = slips.iter().fold(case.0.to_string(), |text, slip| apply(&text, slip));
        if let Some(problem) = read(&text)? {
            check_round_trip(&problem)?;
        }
    }
}

#[test]
fn activation_errors_name_what_was_given() {
    let message = |text: &str| text.parse::<Activation>().unwrap_err().to_string();
    assert!(message("swish").contains("no activation \"swish\""), "{}", message("swish"));
    assert!(message("clip=1").contains("\"clip\" with 1 numbers"), "{}", message("clip=1"));
    assert!(message("elu=").contains("\"\" is not a list of numbers"), "{}", message("elu="));
    assert!(message("clip=2,1").contains("clip=2,1"), "{}", message("clip=2,1"));
    assert!(message("leaky_relu=inf").contains("finite"), "{}", message("leaky_relu=inf"));
}

/// The strategy itself: it stays within its limit, reaches every part of the space, and shrinks to the smallest problem.
#[test]
fn random_problems_cover_the_space() {
    let mut runner = TestRunner::deterministic();
    let mut seen = HashSet::new();
    for limit in [9, 1000, 100_000] {
        let strategy = any_problem(limit);
        for _ in 0..2000 {
            let problem = strategy.new_tree(&mut runner).unwrap().current().0;
            assert!(problem.macs() <= limit, "{problem}");
            let (conv, [n, c, h, w]) = (problem.conv(), problem.input_shape());
            let Padding::Explicit(sides) = conv.padding else {
                seen.insert(format!("{:?}", conv.padding));
                continue;
            };
            let facts = [
                ("batch 0", n == 0),
                ("no input channels", c == 0),
                ("batches", n > 1),
                ("one row", h == 1 && conv.kernel_size[0] == 1 && w > 1),
                ("depthwise", conv.groups > 1 && conv.groups == c && c == conv.out_channels),
                ("channel multiplier", conv.groups > 1 && conv.groups == c && c < conv.out_channels),
                ("groups", conv.groups > 1 && conv.groups < c),
                ("asymmetric", sides.top != sides.bottom && sides.left != sides.right),
                ("padding beyond the kernel", sides.left > conv.kernel_size[1]),
                ("padding beyond the image", sides.left > w),
                ("strides differ", conv.stride[0] != conv.stride[1]),
                ("stride beyond the kernel", conv.stride[1] > conv.kernel_size[1]),
                ("dilation", conv.dilation[1] > 1 && conv.kernel_size[1] > 1),
                ("padded reflection", conv.padding_mode == PaddingMode::Reflect && sides.left > 0),
                ("padded replication", conv.padding_mode == PaddingMode::Replicate && sides.right > 0),
                ("padded circle", conv.padding_mode == PaddingMode::Circular && sides.top > 0),
                ("no bias", !conv.bias),
                ("residual", problem.epilogue().residual),
            ];
            seen.extend(facts.into_iter().filter(|(_, found)| *found).map(|(name, _)| name.to_owned()));
            seen.insert(problem.epilogue().activation.name().to_owned());
        }
    }
    // 18 facts, 3 named paddings, 12 activations.
    assert_eq!(seen.len(), 18 + 3 + 12, "{seen:?}");

    for _ in 0..20 {
        let mut tree = integer_problem(10_000).new_tree(&mut runner).unwrap();
        while tree.simplify() {}
        let smallest = tree.current();
        assert!(smallest.0.macs() <= 1, "{smallest:?}");
        assert!(format!("{smallest:?}").starts_with('n'), "a case prints as its problem string: {smallest:?}");
    }
}

//! Problem strings: what is written reads back, and what cannot be read is an error that points into the text.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use wgpu_conv::{Activation, AnyPadding, Error, Op, PaddingMode, Parameters, Problem};
use wgpu_conv_check::problems::{Case, any_activation, any_problem, in_any_format, integer_problem, or_deformable};

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
        // Readable, but no convolution. A parameter that is no number ("circular", "true") is named as it was given.
        Err(Error::Parameter { parameter, actual, required }) => {
            for part in [parameter, &actual, &required] {
                prop_assert!(!part.is_empty(), "{text:?}: {parameter:?} {actual:?} {required:?}");
            }
            Ok(None)
        }
        Err(error) => {
            let message = error.to_string();
            prop_assert!(message.contains(|c: char| c.is_ascii_digit()), "{text:?}: {message}");
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
        "z",
        "h2",
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
        ":transposed",
        ":deform",
        ":offset_groups=2",
        ":mask",
        "=1x0",
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

fn anything() -> impl Strategy<Value = Case> {
    in_any_format(or_deformable(any_problem(1 << 40), 1 << 40, any_activation()))
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
    fn random_problems_read_back(case in anything()) {
        check_round_trip(&case.0)?;
    }

    /// Also those with large numbers, which no strategy for running them would draw.
    #[test]
    fn large_numbers_read_back(
        numbers in any::<[u32; 24]>(),
        shifts in prop::array::uniform24(0..32u32),
        axes in 1..=3usize,
        transposed in any::<bool>(),
    ) {
        let number = |index: usize| numbers[index] >> shifts[index];
        // Small enough that most of them make a convolution.
        let few = |index: usize| (number(index) >> 16) + 1;
        let list = |first: usize| (first..first + axes).map(|index| number(index).max(1)).collect::<Vec<u32>>();
        let (op, out_channels) = if transposed { (Op::ConvTranspose, few(22)) } else { (Op::Conv, number(22).max(1)) };
        let stride = list(3);
        let parameters = Parameters {
            op,
            in_channels: few(21),
            out_channels,
            kernel_size: (0..axes).map(|index| few(index) % 16 + 1).collect(),
            output_padding: stride.iter().map(|stride| u32::from(transposed) * (number(23) % stride)).collect(),
            stride,
            padding: AnyPadding::Explicit((9..9 + axes).map(|index| [number(index) >> 4, number(index + 3) >> 4]).collect()),
            dilation: (6..6 + axes).map(|index| few(index) % 100 + 1).collect(),
            groups: 1,
            bias: true,
            padding_mode: PaddingMode::Zeros,
            offset_groups: 1,
            mask: false,
        };
        let input = [vec![few(20), parameters.in_channels], list(15)].concat();
        if let Ok(problem) = Problem::from_parameters(&parameters, &input) {
            prop_assert_eq!(problem.parameters(), parameters);
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
    fn fields_may_stand_in_any_order(case in anything(), seed in any::<prop::sample::Index>()) {
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
        let letters: Vec<char> = "nczhwokspdgx,:+=0123456789".chars().collect();
        let similar: String = text.chars().map(|letter| letters[letter as usize % letters.len()]).collect();
        read(&similar)?;
        let _ = text.parse::<Activation>();
    }

    #[test]
    fn text_that_looks_right_is_read_or_refused(
        text in "c[1-9](z[1-9])?(h[1-9][0-9]{0,9})?w[1-9][0-9]?o[1-9]k[1-4](x[0-9]{1,2}){0,2}\
                 (n[0-9]{1,5}|g[1-3]|[sd][0-9]{1,5}(x[1-9]){0,2}|p(same|samelower|valid|[0-9]{1,3}(,[0-9]){0,6})){0,4}\
                 (:(zeros|reflect|nobias|x|deform|mask|offset_groups=[0-9]|transposed(=[0-9](x[0-3]){0,2})?)){0,2}(\\+(residual|relu|clip=[0-9],[0-9.]{1,3}|elu=-?[0-9]|gelu)){0,2}"
    ) {
        if let Some(problem) = read(&text)? {
            check_round_trip(&problem)?;
        }
    }

    #[test]
    fn slips_are_read_or_refused(case in anything(), slips in prop::collection::vec(slip(), 1..4)) {
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
    let mut seen = BTreeSet::new();
    for limit in [27, 1000, 100_000] {
        let strategy = any_problem(limit);
        for _ in 0..2000 {
            let problem = strategy.new_tree(&mut runner).unwrap().current().0;
            assert!(problem.macs() <= limit && problem.output_len() <= limit, "{problem}");
            let (kernel, stride, dilation) = (problem.kernel_size(), problem.stride(), problem.dilation());
            let (shape, groups) = (problem.input_shape(), problem.groups());
            let (n, c, size) = (shape[0], shape[1], &shape[2..]);
            let transposed = problem.op() == Op::ConvTranspose;
            let kind = if transposed { "transposed " } else { "" };
            let AnyPadding::Explicit(sides) = problem.parameters().padding else {
                seen.insert(format!("{kind}{:?}", problem.parameters().padding));
                continue;
            };
            let some = |test: &dyn Fn(usize) -> bool| (0..kernel.len()).any(test);
            let every = |test: &dyn Fn(usize) -> bool| (0..kernel.len()).all(test);
            let mode =
                |mode: PaddingMode, side: usize| problem.padding_mode() == mode && some(&|axis| sides[axis][side] > 0);
            let facts = [
                ("batch 0", n == 0),
                ("no input channels", c == 0),
                ("batches", n > 1),
                ("one axis", kernel.len() == 1),
                ("one row", kernel.len() == 2 && size[0] == 1 && kernel[0] == 1 && size[1] > 1),
                ("one slice", kernel.len() == 3 && size[0] == 1 && kernel[0] == 1 && size[1] > 1),
                ("only slices have taps", kernel.len() == 3 && kernel[0] > 1 && kernel[1..] == [1, 1]),
                ("depthwise", groups > 1 && groups == c && c == problem.out_channels()),
                ("channel multiplier", groups > 1 && groups == c && c < problem.out_channels()),
                ("groups", groups > 1 && groups < c),
                ("asymmetric", every(&|axis| sides[axis][0] != sides[axis][1])),
                ("padding beyond the kernel", some(&|axis| sides[axis][0] > kernel[axis])),
                ("padding beyond the image", some(&|axis| sides[axis][0] > size[axis])),
                ("strides differ", some(&|axis| stride[axis] != stride[0])),
                ("stride beyond the kernel", some(&|axis| stride[axis] > kernel[axis])),
                ("dilation", some(&|axis| dilation[axis] > 1 && kernel[axis] > 1)),
                (
                    "dilation that divides the stride",
                    some(&|axis| dilation[axis] > 1 && stride[axis] == 2 * dilation[axis]),
                ),
                ("no bias", !problem.bias()),
                ("residual", problem.epilogue().residual),
            ];
            let of_one_kind = [
                ("padded reflection", mode(PaddingMode::Reflect, 0)),
                ("padded replication", mode(PaddingMode::Replicate, 1)),
                ("padded circle", mode(PaddingMode::Circular, 0)),
                ("output padding", some(&|axis| problem.output_padding()[axis] > 0)),
                ("output padding beyond the stride", some(&|axis| problem.output_padding()[axis] >= stride[axis])),
            ];
            let found = |facts: &[(&str, bool)], kind: &str| -> Vec<String> {
                facts.iter().filter(|(_, found)| *found).map(|(name, _)| format!("{kind}{name}")).collect()
            };
            seen.extend(found(&facts, kind));
            seen.extend(found(&of_one_kind, ""));
            seen.insert(problem.epilogue().activation.name().to_owned());
        }
    }
    // 19 facts and 3 named paddings of each kind, 5 facts of one kind, 13 activations.
    assert_eq!(seen.len(), 2 * (19 + 3) + 5 + 13, "{seen:#?}");

    for _ in 0..20 {
        let mut tree = integer_problem(10_000).new_tree(&mut runner).unwrap();
        while tree.simplify() {}
        let smallest = tree.current();
        assert!(smallest.0.macs() <= 1, "{smallest:?}");
        assert!(format!("{smallest:?}").starts_with('n'), "a case prints as its problem string: {smallest:?}");
    }
}

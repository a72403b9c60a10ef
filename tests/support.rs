//! README's table of what is supported says what the code does: it is derived here from what problems can be made and from
//! what selection says of them, on a device that has WebGPU's default limits and nothing more (for kernel `matrix`, one with the usual
//! matrix units). No GPU is needed.
//!
//! A new kind of convolution is a line in `OPS`; new types, orders, padding modes and kernels come by themselves.

use wgpu_conv::{
    Accuracy, Capabilities, Checks, DType, Kernel, Layout, PaddingMode, PlanOptions, Problem, WeightLayout, select,
};

const README: &str = include_str!("../README.md");
const BEGIN: &str = "<!-- What is supported: tests/support.rs derives this table. -->\n";
const END: &str = "<!-- end -->\n";

/// Each kind of convolution with problems that stand for it: fields and options of a problem string. Small, large, with strides and
/// groups that divide nothing well, and one group for each channel.
const OPS: [(&str, &[[&str; 2]]); 7] = [
    (
        "Conv1d",
        &[["c5w9o6k3p1", ""], ["n8c256w4000o512k5s2p2", ""], ["n2c33w77o21k4s3d2p1g3", ""], ["c64w999o64k3p1g64", ""]],
    ),
    (
        "Conv2d",
        &[
            ["c5h9w7o6k3p1", ""],
            ["n8c256h56w56o256k3p1", ""],
            ["n2c33h17w19o21k4x3s3x1d2p1g3", ""],
            ["c64h30w30o64k3p1g64", ""],
        ],
    ),
    (
        "Conv3d",
        &[
            ["c5z4h9w7o6k3p1", ""],
            ["n2c64z16h28w28o128k3p1", ""],
            ["n2c33z8h7w9o21k4x3x2s3x1x2p1g3", ""],
            ["c64z6h9w9o64k3p1g64", ""],
        ],
    ),
    (
        "ConvTranspose1d",
        &[
            ["c5w9o6k4s2p1", ":transposed"],
            ["n8c256w1000o128k8s4p2", ":transposed"],
            ["n2c33w77o21k4s3d2p1g3", ":transposed=1"],
            ["c64w999o64k4s2p1g64", ":transposed"],
            ["c6w9o5k3p1", ":transposed"],
        ],
    ),
    (
        "ConvTranspose2d",
        &[
            ["c5h9w7o6k4s2p1", ":transposed"],
            ["n8c256h28w28o128k4s2p1", ":transposed"],
            ["n2c33h17w19o21k4x3s3x1d2p1g3", ":transposed=1"],
            ["c64h30w30o64k4s2p1g64", ":transposed"],
            ["c6h9w7o5k3p1", ":transposed"],
        ],
    ),
    (
        "ConvTranspose3d",
        &[
            ["c5z4h9w7o6k4s2p1", ":transposed"],
            ["n2c64z8h14w14o64k4s2p1", ":transposed"],
            ["n2c33z8h7w9o21k4x3x2s3x1x2p1g3", ":transposed"],
            ["c64z6h9w9o64k4s2p1g64", ":transposed"],
        ],
    ),
    (
        "DeformConv2d",
        &[
            ["c5h9w7o6k3p1", ":deform"],
            ["n8c64h56w56o64k3p1", ":deform:mask"],
            ["n2c33h17w19o21k4x3s3x1d2p1g3", ":deform:offset_groups=3:mask"],
            ["c64h30w30o64k3p1g64", ":deform:offset_groups=64"],
        ],
    ),
];

/// What the table says of one kind of convolution on one type of elements, for these orders in memory.
struct Row {
    layouts: Vec<Layout>,
    weight_layouts: Vec<WeightLayout>,
    /// One for each kernel.
    verdicts: Vec<String>,
}

/// The problems that stand for a kind of convolution, with these options; `None` if no such problem can be made.
fn problems(texts: &[[&str; 2]], options: &str) -> Option<Vec<Problem>> {
    texts.iter().map(|[fields, own]| format!("{fields}{own}{options}").parse().ok()).collect()
}

/// Those, and what else can be made of them: with every padding mode, and with the largest epilogue.
fn with_everything(texts: &[[&str; 2]], options: &str) -> Option<Vec<Problem>> {
    let plain = problems(texts, options)?;
    let more = PaddingMode::ALL.into_iter().flat_map(|mode| {
        ["", "+residual+prelu"]
            .map(|epilogue| problems(texts, &format!("{options}:{mode}{epilogue}")).unwrap_or_default())
    });
    Some(more.fold(plain, |all, more| [all, more].concat()))
}

/// How many variants of the kernel take these problems, checked and trusted.
fn verdict(kernel: Kernel, problems: &[Problem]) -> String {
    let capabilities = match kernel {
        Kernel::Matrix => Capabilities::baseline().with_matrix_units(),
        _ => Capabilities::baseline(),
    };
    let takes = |variant: &str, problem: &Problem| {
        Checks::ALL.into_iter().all(|checks| {
            let options = PlanOptions {
                kernel: Some(kernel),
                variant: Some(variant.into()),
                checks: Some(checks),
                accuracy: Some(Accuracy::Reduced),
            };
            select(problem, &capabilities, &options).is_ok()
        })
    };
    let variants = kernel.variants();
    let count = |all: bool| {
        let counts = |variant: &&&str| {
            let mut taken = problems.iter().map(|problem| takes(variant, problem));
            if all { taken.all(|taken| taken) } else { taken.any(|taken| taken) }
        };
        variants.iter().filter(counts).count()
    };
    match (count(true), count(false), variants.len()) {
        (_, 0, _) => "–".into(),
        (every, _, all) if every == all => format!("all {all}"),
        (every, some, all) if every == some => format!("{every} of {all}"),
        (0, some, all) if some == all => format!("all {all} for some sizes"),
        (every, some, all) => format!("{every} of {all}, and {} for some sizes", some - every),
    }
}

/// The rows for one kind of convolution and type of elements: one, if all orders in memory fare alike. None if there are no
/// such problems.
fn rows(texts: &[[&str; 2]], dtype: &str) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for layout in Layout::ALL {
        // Of this order alone: weight orders with the same verdicts together.
        let mut own: Vec<Row> = Vec::new();
        for weight_layout in WeightLayout::ALL {
            let Some(problems) = with_everything(texts, &format!(":{dtype}:{layout}:{weight_layout}")) else {
                continue;
            };
            let verdicts: Vec<String> = Kernel::ALL.iter().map(|&kernel| verdict(kernel, &problems)).collect();
            match own.iter_mut().find(|row| row.verdicts == verdicts) {
                Some(row) => row.weight_layouts.push(weight_layout),
                None => own.push(Row { layouts: vec![layout], weight_layouts: vec![weight_layout], verdicts }),
            }
        }
        for row in own {
            let alike = |known: &&mut Row| known.verdicts == row.verdicts && known.weight_layouts == row.weight_layouts;
            match rows.iter_mut().find(alike) {
                Some(known) => known.layouts.extend(row.layouts),
                None => rows.push(row),
            }
        }
    }
    rows
}

/// What tensors may consist of: in words, and as an option of a problem string.
fn elements() -> Vec<(String, String)> {
    let mut all: Vec<_> = DType::FLOATS.map(|dtype| (dtype.to_string(), dtype.to_string())).to_vec();
    let [eight, outputs] = [&[DType::I8, DType::U8][..], &[DType::I32, DType::I8, DType::U8]];
    for output in outputs {
        for (input, weight, points) in eight
            .iter()
            .flat_map(|input| eight.iter().flat_map(move |weight| [(input, weight, ""), (input, weight, "z")]))
        {
            all.push(("i8, u8; output i32, i8, u8".into(), format!("{input}_{weight}{points}_{output}")));
        }
    }
    all
}

/// The table as Markdown.
fn table() -> String {
    let kernels: Vec<&str> = Kernel::ALL.iter().map(|kernel| kernel.name()).collect();
    let mut lines = vec![
        format!(
            "| convolution | elements | tensors in memory | weight in memory | padding modes | {} |",
            kernels.join(" | ")
        ),
        format!("|{}", " --- |".repeat(5 + kernels.len())),
    ];
    for (op, texts) in OPS {
        let before = lines.len();
        for (elements, dtype) in elements() {
            let modes = PaddingMode::ALL.iter().filter(|mode| problems(texts, &format!(":{dtype}:{mode}")).is_some());
            let modes: Vec<&str> = modes.map(|mode| mode.name()).collect();
            for row in rows(texts, &dtype) {
                let layouts: Vec<&str> = row.layouts.iter().map(|layout| layout.name()).collect();
                let weights: Vec<&str> = row.weight_layouts.iter().map(|layout| layout.name()).collect();
                let cells = [elements.clone(), layouts.join(", "), weights.join(", "), modes.join(", ")];
                let line = format!("| {op} | {} | {} |", cells.join(" | "), row.verdicts.join(" | "));
                // Types that fare alike have one line.
                if !lines.contains(&line) {
                    lines.push(line);
                }
            }
        }
        assert!(lines.len() > before, "no problem of {op} can be made: {texts:?}");
    }
    lines.join("\n") + "\n"
}

#[test]
fn the_readme_says_what_the_code_does() {
    let table = table();
    let stated = README.split_once(BEGIN).and_then(|(_, rest)| rest.split_once(END)).map(|(stated, _)| stated.trim());
    assert!(
        stated == Some(table.trim()),
        "README.md says, between {BEGIN:?} and {END:?}:\n\n{}\n\nThe code says:\n\n{table}",
        stated.unwrap_or("nothing, since the marks are not there")
    );
}

/// What is not there does not get into the table.
#[test]
fn verdicts_can_be_other_than_all() {
    let made = |texts: &[[&str; 2]]| problems(texts, "").unwrap();
    let few = made(&[["c5h9w7o6k3p1", ""]]);
    assert!(verdict(Kernel::Tiled, &few).starts_with("all "));
    // Beyond 49 taps only generic variants are left.
    let generic = Kernel::Tiled.variants().into_iter().filter(|name| name.starts_with("generic")).count();
    let all = Kernel::Tiled.variants().len();
    let many_taps = made(&[["c5h9w7o6k8p4", ""]]);
    assert_eq!(verdict(Kernel::Tiled, &many_taps), format!("{generic} of {all}"));
    let both = [few, many_taps].concat();
    assert_eq!(verdict(Kernel::Tiled, &both), format!("{generic} of {all}, and {} for some sizes", all - generic));
    // A plane that is larger than a binding, and that joins its end to its beginning, is in no piece.
    let large = made(&[["c1h20000w20000o1k3p1", ":circular"]]);
    assert_eq!(verdict(Kernel::Tiled, &large), "–");
    // A transposed convolution has no such padding mode.
    assert!(problems(&[["c5h9w7o6k3p1", ":transposed"]], ":reflect").is_none());
}

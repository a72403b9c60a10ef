//! One function for each fuzz target: it takes any bytes, and panics only if something is wrong with the code that it
//! calls. The targets in `fuzz_targets/` call these, and so does `cli/tests/corpus.rs` with every file of the corpus.

use std::sync::OnceLock;

use arbitrary::Unstructured;
use wgpu_conv::{
    Accuracy, AnyPadding, Buffers, Capabilities, Checks, DType, Engine, EngineOptions, Error, Op, PaddingMode,
    Parameters, PlanOptions, Problem, Quantization, Tuning, WeightData, select,
};
use wgpu_conv_check::{Suite, SuiteOptions};
use wgpu_conv_cli::untrusted;

/// Name of a target, and what it does with an input.
pub type Entry = (&'static str, fn(&[u8]));

/// All targets; each has a folder of this name in `fuzz/corpus`.
pub const ENTRIES: [Entry; 7] = [
    ("problem", problem),
    ("npy", npy),
    ("safetensors", safetensors),
    ("picture", picture),
    ("tuning", tuning),
    ("suite", suite),
    ("plan", plan),
];

/// A problem string: read, written and read again it is the same problem, and kernels are chosen or refused.
pub fn problem(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(problem) = text.parse::<Problem>() else { return };
    let written = problem.to_string();
    assert_eq!(written.parse(), Ok(problem), "{written}");
    let parameters = problem.parameters();
    assert!(Problem::from_parameters(&parameters, &problem.input_shape()).is_ok(), "{written}");
    let selection = select(&problem, &Capabilities::baseline(), &PlanOptions::default());
    assert!(!matches!(selection, Err(Error::Internal(_))), "{written}: {selection:?}");
}

/// A NumPy file.
pub fn npy(data: &[u8]) {
    let _ = untrusted::read_npy(data);
}

/// A .safetensors file, as the program reads it and as conformance suites are read.
pub fn safetensors(data: &[u8]) {
    let _ = untrusted::read_safetensors(data, None);
    let _ = untrusted::read_safetensors(data, Some("x"));
    let Ok(file) = wgpu_conv_check::tensor_file::TensorFile::parse(data) else { return };
    for tensor in file.names().filter_map(|name| file.get(name)) {
        let _ = (tensor.to_f32(DType::F16), tensor.to_i32(), tensor.to_f64());
    }
}

/// An image file.
pub fn picture(data: &[u8]) {
    let _ = untrusted::read_picture(data);
}

/// A tuning file: what is taken from it is written, and read again as the same without a warning.
pub fn tuning(data: &[u8]) {
    let read = Tuning::parse(data);
    let again = Tuning::parse(read.tuning.to_string());
    assert!(again.warnings.is_empty(), "{:?}", again.warnings);
    assert_eq!(again.tuning, read.tuning);
}

/// The index of a conformance suite. The first byte says of which kind: cases with tensors (whose file has the tensors x, w
/// and y), refusals, or shapes.
pub fn suite(data: &[u8]) {
    static FOLDERS: OnceLock<[tempfile::TempDir; 3]> = OnceLock::new();
    const NAMES: [&str; 3] = ["any.json", "any_refusals.json", "any_shapes.json"];
    let Some((kind, json)) = data.split_first() else { return };
    let kind = usize::from(*kind) % NAMES.len();
    let folders = FOLDERS.get_or_init(|| {
        let folders = NAMES.map(|_| tempfile::tempdir().expect("there is room for a folder"));
        std::fs::write(folders[0].path().join("any.safetensors"), tensors()).expect("a file can be written");
        folders
    });
    let folder = folders[kind].path();
    std::fs::write(folder.join(NAMES[kind]), json).expect("a file can be written");
    if let Ok(suite) = Suite::load(folder, &SuiteOptions { shapes: true, max_macs: 1 << 20 }) {
        assert!(suite.unusable_cases().count() <= suite.len());
    }
}

/// A .safetensors file with an input x, a weight w and an output y for `c1h3w3o1k2`.
fn tensors() -> Vec<u8> {
    let header = r#"{"x":{"dtype":"F32","shape":[1,1,3,3],"data_offsets":[0,36]},"w":{"dtype":"F32","shape":[1,1,2,2],"data_offsets":[36,52]},"y":{"dtype":"F32","shape":[1,1,2,2],"data_offsets":[52,68]}}"#;
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &[0; 68]].concat()
}

/// Any parameters, planned and bound on a device that computes nothing: errors that say what is wrong, and nothing that wgpu
/// objects to.
pub fn plan(data: &[u8]) {
    // Too few bytes are as good as zeros.
    let _ = planned(&mut Unstructured::new(data));
}

/// Most bytes of weights and tensors that are made.
const MOST_BYTES: u64 = 1 << 18;

fn planned(u: &mut Unstructured<'_>) -> arbitrary::Result<()> {
    let engines = engines();
    let engine = &engines[u.choose_index(engines.len())?];
    let Some(problem) = any_problem(u)? else { return Ok(()) };
    let written = problem.to_string();
    assert_eq!(written.parse(), Ok(problem), "{written}");
    let mut options = PlanOptions {
        checks: u.arbitrary::<bool>()?.then_some(Checks::Checked),
        accuracy: u.arbitrary::<bool>()?.then_some(Accuracy::Sums),
        ..PlanOptions::default()
    };
    let Some(selection) = fine(&written, engine.select(&problem, &options)) else { return Ok(()) };
    if u.arbitrary()? {
        let candidate = u.choose(&selection.candidates)?;
        (options.kernel, options.variant) = (Some(candidate.kernel), Some(candidate.variant.into()));
    }
    if engine.pipeline_count() > 100 {
        engine.forget_pipelines();
    }
    let Some(plan) = fine(&written, engine.plan_blocking(&problem, &options)) else { return Ok(()) };
    let memory = fine(&written, plan.memory()).expect("of a plan it is known");
    let of = |dtype: DType, count: u64| dtype.size().saturating_mul(count).next_multiple_of(4);
    let weight = problem.weight_len();
    let output = of(problem.output_dtype(), problem.output_len());
    let sizes = [of(problem.dtype(), problem.input_len()), output, weight.saturating_mul(4), memory.peak()];
    if sizes.iter().any(|&size| size > MOST_BYTES) {
        return Ok(());
    }
    let zeros = vec![0.0; weight as usize];
    let bias = vec![0.0; problem.out_channels() as usize];
    let slopes = vec![0.0; problem.slopes_len().unwrap_or(0) as usize];
    let mut given = WeightData::new(&zeros).keep_raw(u.arbitrary()?);
    let integers = problem.integers().is_some();
    given.bias = (problem.bias() && !integers).then_some((&bias).into());
    given.slopes = problem.slopes_len().map(|_| (&slopes).into());
    given.quantization = integers.then(Quantization::default);
    let Some(weights) = fine(&written, plan.weights_blocking(&given)) else { return Ok(()) };
    // Everything in one buffer or each in its own, at any offset, of the right size or nearly.
    let mut slice = |bytes: u64| -> arbitrary::Result<_> {
        let (before, short) = (4 * u64::from(u.int_in_range(0..=80_u8)?), u64::from(u.ratio(1_u8, 16)?));
        Ok(before..(before + bytes).saturating_sub(4 * short).max(before))
    };
    let extra = |count: u64| of(problem.output_dtype(), count);
    let ranges = [
        slice(sizes[0])?,
        slice(output)?,
        slice(output)?,
        slice(extra(problem.offset_len()))?,
        slice(extra(problem.mask_len()))?,
    ];
    let one = u.ratio(1_u8, 4)?;
    let make = |size: u64| engine.buffer_zeroed("any", size.div_ceil(4).max(1)).ok();
    let shared = make(ranges.iter().map(|range| range.end).max().unwrap_or(0));
    let own: Vec<_> = ranges.iter().map(|range| make(range.end)).collect();
    let buffer = |index: usize| if one { shared.as_ref() } else { own[index].as_ref() };
    let [Some(input), Some(output)] = [buffer(0), buffer(1)] else { return Ok(()) };
    let mut buffers = Buffers::new(input.slice(ranges[0].clone()), output.slice(ranges[1].clone()));
    let other =
        |index: usize, wanted: bool| buffer(index).filter(|_| wanted).map(|buffer| buffer.slice(ranges[index].clone()));
    buffers.residual = other(2, problem.epilogue().residual);
    buffers.offset = other(3, problem.op() == Op::DeformConv);
    buffers.mask = other(4, problem.mask());
    let workspace = if u.arbitrary()? { fine(&written, engine.workspace(&[&plan])) } else { None };
    buffers.workspace = workspace.as_ref();
    if let Some(bound) = fine(&written, plan.bind_blocking(&weights, &buffers)) {
        fine(&written, bound.run_blocking()).expect("what is bound runs");
    }
    Ok(())
}

/// The value, if there is one; an error that says that the library or its use of wgpu is wrong is a panic.
fn fine<T>(problem: &str, result: wgpu_conv::Result<T>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(
            error @ (Error::Internal(_) | Error::Gpu { .. } | Error::DeviceLost { .. } | Error::OutOfMemory { .. }),
        ) => {
            panic!("{problem}: {error:?}")
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            None
        }
    }
}

/// On wgpu's noop backend: WebGPU's default limits with work in one piece, and small ones with work in many.
fn engines() -> &'static [Engine; 2] {
    static ENGINES: OnceLock<[Engine; 2]> = OnceLock::new();
    ENGINES.get_or_init(|| {
        let small = wgpu::Limits {
            max_storage_buffer_binding_size: 1 << 14,
            max_buffer_size: 1 << 16,
            max_compute_workgroups_per_dimension: 7,
            ..wgpu::Limits::default()
        };
        let options = EngineOptions::default().max_memory(1 << 20);
        [(wgpu::Limits::default(), options.clone()), (small, options.max_segment_macs(1 << 12))].map(
            |(required_limits, options)| {
                let descriptor = wgpu::DeviceDescriptor { required_limits, ..wgpu::DeviceDescriptor::default() };
                let (device, queue) = wgpu::Device::noop(&descriptor);
                Engine::with_options(&device, &queue, options)
            },
        )
    })
}

/// Mostly small, sometimes at the edges of what 32 bits hold.
fn number(u: &mut Unstructured<'_>) -> arbitrary::Result<u32> {
    Ok(match u.arbitrary::<u8>()? {
        small @ 0..=199 => u32::from(small % 10),
        200..=239 => u32::from(u.arbitrary::<u8>()?),
        240..=251 => 1_u32.wrapping_shl(u.arbitrary()?).wrapping_sub(u.arbitrary::<bool>()?.into()),
        _ => u.arbitrary()?,
    })
}

/// A list of numbers, mostly of the right length.
fn numbers(u: &mut Unstructured<'_>, axes: usize, usual: u32) -> arbitrary::Result<Vec<u32>> {
    let length = if u.ratio(1_u8, 64)? { u.int_in_range(0..=4)? } else { axes };
    (0..length).map(|_| if u.ratio(1_u8, 2)? { Ok(usual) } else { number(u) }).collect()
}

fn any_problem(u: &mut Unstructured<'_>) -> arbitrary::Result<Option<Problem>> {
    let op = *u.choose(&[Op::Conv, Op::Conv, Op::ConvTranspose, Op::DeformConv])?;
    let axes = if op == Op::DeformConv { 2 } else { u.int_in_range(1..=3)? };
    let groups = if u.ratio(1_u8, 2)? { 1 } else { number(u)? };
    let channels = |u: &mut Unstructured<'_>| -> arbitrary::Result<u32> {
        let own = number(u)?;
        Ok(if u.ratio(7_u8, 8)? { own.saturating_mul(groups) } else { own })
    };
    let (in_channels, out_channels) = (channels(u)?, channels(u)?);
    let padding = match u.int_in_range(0..=7_u8)? {
        0 => AnyPadding::Same,
        1 => AnyPadding::SameLower,
        2 => AnyPadding::Valid,
        _ => AnyPadding::Explicit(
            numbers(u, axes, 1)?.into_iter().zip(numbers(u, axes, 1)?).map(|(a, b)| [a, b]).collect(),
        ),
    };
    let transposed = op == Op::ConvTranspose;
    let parameters = Parameters {
        op,
        in_channels,
        out_channels,
        kernel_size: numbers(u, axes, 3)?,
        stride: numbers(u, axes, 1)?,
        padding,
        dilation: numbers(u, axes, 1)?,
        output_padding: if transposed { numbers(u, axes, 0)? } else { vec![0; axes] },
        groups,
        bias: u.arbitrary()?,
        padding_mode: *u.choose(&[
            PaddingMode::Zeros,
            PaddingMode::Reflect,
            PaddingMode::Replicate,
            PaddingMode::Circular,
        ])?,
        offset_groups: if op == Op::DeformConv { number(u)? } else { 1 },
        mask: op == Op::DeformConv && u.arbitrary()?,
    };
    let mut shape = vec![number(u)?, in_channels];
    shape.extend(numbers(u, axes, 9)?);
    let Ok(problem) = Problem::from_parameters(&parameters, &shape) else { return Ok(None) };
    // The rest in the words of problem strings.
    const LAYOUTS: [&str; 4] = ["", ":nhwc", ":hwio", ":nhwc:ohwi"];
    const TYPES: [&str; 6] = ["", "", ":f16", ":u8_i8_i32", ":i8_u8z_u8", ":u8_u8_i8"];
    const EPILOGUES: [&str; 8] =
        ["", "", "+relu", "+residual", "+residual+prelu", "+prelu_each", "+gelu", "+clip=-1,2"];
    let plain = problem.to_string();
    let (sizes, options) = plain
        .split_once(':')
        .map_or((plain.as_str(), String::new()), |(sizes, options)| (sizes, format!(":{options}")));
    let text = format!("{sizes}{options}{}{}{}", u.choose(&LAYOUTS)?, u.choose(&TYPES)?, u.choose(&EPILOGUES)?);
    Ok(text.parse().ok())
}

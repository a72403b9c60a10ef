//! Every mistake with buffers, data, limits and kernels is the right error, whose message names what is required and what
//! is there. On wgpu's noop backend, which validates and computes nothing: no GPU is needed. (Mistakes in the parameters of
//! a convolution are in `geometry.rs`, overlapping slices in `aliasing.rs`, mixed-up weights in `weights.rs`.)

use wgpu_conv::{
    Activation, Buffers, Engine, EngineOptions, Kernel, PlanOptions, Problem, Result, Tensors, WeightData, Weights,
    wgpu,
};

const STORAGE: wgpu::BufferUsages = wgpu::BufferUsages::STORAGE;
const COPY_SRC: wgpu::BufferUsages = wgpu::BufferUsages::COPY_SRC;
const COPY_DST: wgpu::BufferUsages = wgpu::BufferUsages::COPY_DST;

/// 243 input elements (972 bytes), 135 of weight, 405 of output (1620 bytes).
const PLAIN: &str = "c3h9w9o5k3p1";
const FULL: &str = "c3h9w9o5k3p1+residual+prelu";

/// What goes wrong, the error's variant, and what its message says.
type Case = (&'static str, fn() -> Result<()>, &'static str, &'static [&'static str]);

fn check(cases: &[Case]) {
    for (name, run, variant, says) in cases {
        let error = run().expect_err(name);
        assert!(format!("{error:?}").starts_with(variant), "{name}: is {error:?}, should be {variant}");
        for part in *says {
            assert!(error.to_string().contains(part), "{name}: {part:?} is not in {:?}", error.to_string());
        }
    }
}

/// An engine on a noop device with WebGPU's default limits, changed.
fn engine(change: impl FnOnce(&mut wgpu::Limits)) -> Engine {
    engine_with(EngineOptions::default(), change)
}

fn engine_with(options: EngineOptions, change: impl FnOnce(&mut wgpu::Limits)) -> Engine {
    let mut required_limits = wgpu::Limits::default();
    change(&mut required_limits);
    let (device, queue) =
        wgpu::Device::noop(&wgpu::DeviceDescriptor { required_limits, ..wgpu::DeviceDescriptor::default() });
    Engine::with_options(&device, &queue, options)
}

fn buffer(engine: &Engine, size: u64, usage: wgpu::BufferUsages) -> wgpu::Buffer {
    let descriptor = wgpu::BufferDescriptor { label: Some("test"), size, usage, mapped_at_creation: false };
    engine.device().create_buffer(&descriptor)
}

fn problem(text: &str) -> Problem {
    text.parse().unwrap()
}

fn zeros(count: u64) -> Vec<f32> {
    vec![0.0; count as usize]
}

fn plan(text: &str, options: &PlanOptions, change: impl FnOnce(&mut wgpu::Limits)) -> Result<()> {
    engine(change).plan_blocking(&problem(text), options).map(drop)
}

fn force(kernel: Kernel, variant: &str) -> PlanOptions {
    PlanOptions { kernel: Some(kernel), variant: Some(variant.into()), checks: None, ..PlanOptions::default() }
}

/// Weights of zeros, as the problem needs them.
fn weights(engine: &Engine, problem: &Problem) -> Result<Weights> {
    let (weight, channels) = (zeros(problem.weight_len()), zeros(problem.out_channels().into()));
    let mut data = WeightData::new(&weight);
    data.bias = problem.bias().then_some((&channels).into());
    data.slopes = (problem.epilogue().activation == Activation::Prelu).then_some((&channels).into());
    engine.plan_blocking(problem, &PlanOptions::default())?.weights_blocking(&data)
}

/// A buffer's size and usage, and the slice of it.
struct Given(u64, wgpu::BufferUsages, std::ops::Range<u64>);

fn whole(size: u64) -> Given {
    Given(size, STORAGE, 0..size)
}

fn bind(text: &str, input: Given, output: Given, residual: Option<Given>) -> Result<()> {
    let engine = engine(|_| {});
    let problem = problem(text);
    let weights = weights(&engine, &problem)?;
    let make = |Given(size, usage, range): Given| (buffer(&engine, size, usage), range);
    let ((input, i), (output, o), residual) = (make(input), make(output), residual.map(make));
    let mut buffers = Buffers::new(input.slice(i), output.slice(o));
    buffers.residual = residual.as_ref().map(|(buffer, range)| buffer.slice(range.clone()));
    engine.plan_blocking(&problem, &PlanOptions::default())?.bind_blocking(&weights, &buffers).map(drop)
}

#[test]
fn what_is_right_is_taken() {
    bind(PLAIN, whole(972), whole(1620), None).unwrap();
    bind(FULL, whole(972), whole(1620), Some(whole(1620))).unwrap();
    bind(FULL, Given(980, STORAGE, 8..980), whole(1700), Some(Given(2000, STORAGE, 4..2000))).unwrap();
    upload(FULL, 135, Some(5), Some(5)).unwrap();
    from_gpu([(540, COPY_SRC, 0), (20, COPY_SRC, 0), (20, COPY_SRC, 0)]).unwrap();
    compute(FULL, 243, 135, Some(5), Some(405), Some(5)).unwrap();
    read(STORAGE | COPY_SRC, 4..12).unwrap();
}

#[test]
fn buffers_of_a_convolution() {
    check(&[
        (
            "input usage",
            || bind(PLAIN, Given(972, COPY_DST, 0..972), whole(1620), None),
            "BufferUsage",
            &["input", "STORAGE", "COPY_DST"],
        ),
        (
            "output usage",
            || bind(PLAIN, whole(972), Given(1620, COPY_SRC | COPY_DST, 0..1620), None),
            "BufferUsage",
            &["output", "STORAGE", "COPY_SRC | COPY_DST"],
        ),
        (
            "residual usage",
            || bind(FULL, whole(972), whole(1620), Some(Given(1620, COPY_DST, 0..1620))),
            "BufferUsage",
            &["residual", "STORAGE"],
        ),
        (
            "input one element short",
            || bind(PLAIN, whole(968), whole(1620), None),
            "BufferTooSmall",
            &["input", "968", "972"],
        ),
        (
            "input slice short",
            || bind(PLAIN, Given(4000, STORAGE, 4..972), whole(1620), None),
            "BufferTooSmall",
            &["input", "968", "972"],
        ),
        (
            "input one byte short",
            || bind(PLAIN, Given(4000, STORAGE, 0..971), whole(1620), None),
            "BufferTooSmall",
            &["input", "971", "972"],
        ),
        (
            "output one element short",
            || bind(PLAIN, whole(972), whole(1616), None),
            "BufferTooSmall",
            &["output", "1616", "1620"],
        ),
        (
            "output slice short",
            || bind(PLAIN, whole(972), Given(1620, STORAGE, 4..1620), None),
            "BufferTooSmall",
            &["output", "1616", "1620"],
        ),
        (
            "residual short",
            || bind(FULL, whole(972), whole(1620), Some(whole(1600))),
            "BufferTooSmall",
            &["residual", "1600", "1620"],
        ),
        (
            "empty input",
            || bind(PLAIN, whole(0), whole(1620), None),
            "BufferTooSmall",
            &["input", "has 0 bytes", "972"],
        ),
        (
            "empty output",
            || bind(PLAIN, whole(972), Given(1620, STORAGE, 0..0), None),
            "BufferTooSmall",
            &["output", "has 0", "1620"],
        ),
        (
            "input at byte 2",
            || bind(PLAIN, Given(4000, STORAGE, 2..4000), whole(1620), None),
            "BufferAlignment",
            &["input", "byte 2", "multiple of 4"],
        ),
        (
            "output at byte 257",
            || bind(PLAIN, whole(972), Given(4000, STORAGE, 257..4000), None),
            "BufferAlignment",
            &["output", "byte 257", "multiple of 4"],
        ),
        (
            "residual at byte 7",
            || bind(FULL, whole(972), whole(1620), Some(Given(4000, STORAGE, 7..4000))),
            "BufferAlignment",
            &["residual", "byte 7"],
        ),
        ("no residual", || bind(FULL, whole(972), whole(1620), None), "Missing", &["residual", "adds a residual"]),
        (
            "unasked residual",
            || bind(PLAIN, whole(972), whole(1620), Some(whole(1620))),
            "Unexpected",
            &["residual", "adds no residual"],
        ),
    ]);
}

/// Weights from the host, of these lengths.
fn upload(text: &str, weight: u64, bias: Option<u64>, slopes: Option<u64>) -> Result<()> {
    let engine = engine(|_| {});
    let (weight, [bias, slopes]) = (zeros(weight), [bias, slopes].map(|length| length.map(zeros)));
    let mut data = WeightData::new(&weight);
    data.bias = bias.as_ref().map(Into::into);
    data.slopes = slopes.as_ref().map(Into::into);
    engine.plan_blocking(&problem(text), &PlanOptions::default())?.weights_blocking(&data).map(drop)
}

/// Weights from buffers: for weight, bias and slopes a size, a usage and where the slice starts.
fn from_gpu(given: [(u64, wgpu::BufferUsages, u64); 3]) -> Result<()> {
    let engine = engine(|_| {});
    let [weight, bias, slopes] = given.map(|(size, usage, start)| (buffer(&engine, size, usage), start));
    let data =
        WeightData::new(weight.0.slice(weight.1..)).bias(bias.0.slice(bias.1..)).slopes(slopes.0.slice(slopes.1..));
    engine.plan_blocking(&problem(FULL), &PlanOptions::default())?.weights_blocking(&data).map(drop)
}

#[test]
fn data_of_weights() {
    check(&[
        ("weight short", || upload(PLAIN, 134, Some(5), None), "Length", &["weight", "134", "135"]),
        ("weight long", || upload(PLAIN, 136, Some(5), None), "Length", &["weight", "136", "135"]),
        ("weight empty", || upload(PLAIN, 0, Some(5), None), "Length", &["weight", "0 elements", "135"]),
        ("bias short", || upload(PLAIN, 135, Some(4), None), "Length", &["bias", "4", "5"]),
        ("bias long", || upload(PLAIN, 135, Some(6), None), "Length", &["bias", "6", "5"]),
        ("slopes short", || upload(FULL, 135, Some(5), Some(1)), "Length", &["slopes", "1", "5"]),
        ("no bias", || upload(PLAIN, 135, None, None), "Missing", &["bias", "bias = true"]),
        ("unasked bias", || upload("c3h9w9o5k3p1:nobias", 135, Some(5), None), "Unexpected", &["bias", "bias = false"]),
        ("no slopes", || upload(FULL, 135, Some(5), None), "Missing", &["slopes", "prelu"]),
        ("unasked slopes", || upload(PLAIN, 135, Some(5), Some(5)), "Unexpected", &["slopes", "not prelu"]),
        (
            "weight usage",
            || from_gpu([(540, STORAGE, 0), (20, COPY_SRC, 0), (20, COPY_SRC, 0)]),
            "BufferUsage",
            &["weight", "COPY_SRC", "STORAGE"],
        ),
        (
            "bias usage",
            || from_gpu([(540, COPY_SRC, 0), (20, STORAGE, 0), (20, COPY_SRC, 0)]),
            "BufferUsage",
            &["bias", "COPY_SRC", "STORAGE"],
        ),
        (
            "slopes usage",
            || from_gpu([(540, COPY_SRC, 0), (20, COPY_SRC, 0), (20, COPY_DST, 0)]),
            "BufferUsage",
            &["slopes", "COPY_SRC", "COPY_DST"],
        ),
        (
            "weight buffer short",
            || from_gpu([(536, COPY_SRC, 0), (20, COPY_SRC, 0), (20, COPY_SRC, 0)]),
            "BufferTooSmall",
            &["weight", "536", "540"],
        ),
        (
            "weight slice short",
            || from_gpu([(540, COPY_SRC, 4), (20, COPY_SRC, 0), (20, COPY_SRC, 0)]),
            "BufferTooSmall",
            &["weight", "536", "540"],
        ),
        (
            "bias buffer short",
            || from_gpu([(540, COPY_SRC, 0), (16, COPY_SRC, 0), (20, COPY_SRC, 0)]),
            "BufferTooSmall",
            &["bias", "16", "20"],
        ),
        (
            "slopes buffer short",
            || from_gpu([(540, COPY_SRC, 0), (20, COPY_SRC, 0), (0, COPY_SRC, 0)]),
            "BufferTooSmall",
            &["slopes", "0 bytes", "20"],
        ),
        (
            "weight at byte 1",
            || from_gpu([(800, COPY_SRC, 1), (20, COPY_SRC, 0), (20, COPY_SRC, 0)]),
            "BufferAlignment",
            &["weight", "byte 1", "multiple of 4"],
        ),
        (
            "bias at byte 6",
            || from_gpu([(540, COPY_SRC, 0), (80, COPY_SRC, 6), (20, COPY_SRC, 0)]),
            "BufferAlignment",
            &["bias", "byte 6", "multiple of 4"],
        ),
    ]);
}

/// The one-call form with tensors of these lengths.
fn compute(
    text: &str,
    input: u64,
    weight: u64,
    bias: Option<u64>,
    residual: Option<u64>,
    slopes: Option<u64>,
) -> Result<()> {
    let (input, weight) = (zeros(input), zeros(weight));
    let [bias, residual, slopes] = [bias, residual, slopes].map(|length| length.map(zeros));
    let tensors = Tensors {
        bias: bias.as_deref(),
        residual: residual.as_deref(),
        slopes: slopes.as_deref(),
        ..Tensors::new(&input, &weight)
    };
    engine(|_| {}).convolve_blocking(&problem(text), &tensors).map(drop)
}

#[test]
fn tensors_of_the_one_call_form() {
    check(&[
        ("input short", || compute(PLAIN, 242, 135, Some(5), None, None), "Length", &["input", "242", "243"]),
        ("input long", || compute(PLAIN, 244, 135, Some(5), None, None), "Length", &["input", "244", "243"]),
        ("weight short", || compute(PLAIN, 243, 130, Some(5), None, None), "Length", &["weight", "130", "135"]),
        ("bias long", || compute(PLAIN, 243, 135, Some(15), None, None), "Length", &["bias", "15", "5"]),
        ("no bias", || compute(PLAIN, 243, 135, None, None, None), "Missing", &["bias"]),
        (
            "residual short",
            || compute(FULL, 243, 135, Some(5), Some(404), Some(5)),
            "Length",
            &["residual", "404", "405"],
        ),
        ("no residual", || compute(FULL, 243, 135, Some(5), None, Some(5)), "Missing", &["residual"]),
        ("unasked residual", || compute(PLAIN, 243, 135, Some(5), Some(405), None), "Unexpected", &["residual"]),
        ("slopes long", || compute(FULL, 243, 135, Some(5), Some(405), Some(6)), "Length", &["slopes", "6", "5"]),
        ("unasked slopes", || compute(PLAIN, 243, 135, Some(5), None, Some(5)), "Unexpected", &["slopes"]),
    ]);
}

fn read(usage: wgpu::BufferUsages, range: std::ops::Range<u64>) -> Result<()> {
    let engine = engine(|_| {});
    engine.read_blocking(buffer(&engine, 64, usage).slice(range)).map(drop)
}

#[test]
fn buffers_read_and_made() {
    check(&[
        ("read without the usage", || read(STORAGE, 0..64), "BufferUsage", &["read-back", "COPY_SRC", "STORAGE"]),
        ("read from byte 3", || read(COPY_SRC, 3..7), "BufferAlignment", &["read-back", "byte 3", "multiple of 4"]),
        ("read 7 bytes", || read(COPY_SRC, 4..11), "Parameter", &["7 bytes", "multiple of 4"]),
        (
            "zeroed, too large",
            || engine(|l| l.max_buffer_size = 1000).buffer_zeroed("my image", 251).map(drop),
            "Limit",
            &["my image", "max_buffer_size", "1004", "1000"],
        ),
        (
            "from data, too large",
            || engine(|l| l.max_buffer_size = 1000).buffer_from("my data", &[0.0; 300]).map(drop),
            "Limit",
            &["my data", "max_buffer_size", "1200", "1000"],
        ),
        (
            "more than can be counted",
            || engine(|_| {}).buffer_zeroed("everything", u64::MAX).map(drop),
            "Limit",
            &["everything", "max_buffer_size"],
        ),
        (
            "one call, buffers too large",
            || {
                let (problem, input, weight) = (problem("c1h40w40o1k1:nobias"), zeros(1600), [0.0]);
                engine(|l| l.max_buffer_size = 1000)
                    .convolve_blocking(&problem, &Tensors::new(&input, &weight))
                    .map(drop)
            },
            "Limit",
            &["max_buffer_size", "6400", "1000"],
        ),
    ]);
}

#[test]
fn limits_of_a_device() {
    check(&[
        (
            "input binding",
            || plan("c1h27w27o1k3p1:circular", &PlanOptions::default(), |l| l.max_storage_buffer_binding_size = 2900),
            "NoKernel",
            &["input", "max_storage_buffer_binding_size", "2916", "2900"],
        ),
        (
            "output binding",
            || plan("c1h9w9o8k1", &force(Kernel::Direct, "c4x8"), |l| l.max_storage_buffer_binding_size = 1200),
            "Refused",
            &["output", "4 output channels", "max_storage_buffer_binding_size", "976", "940", "1200"],
        ),
        (
            "weight binding",
            || plan("c9h3w3o9k3", &force(Kernel::Tiled, "m64n64k8"), |l| l.max_storage_buffer_binding_size = 1500),
            "Refused",
            &["weight of 4 output channels", "max_storage_buffer_binding_size", "1536", "1500"],
        ),
        (
            "workgroup width",
            || plan(PLAIN, &force(Kernel::Direct, "c4x8"), |l| l.max_compute_workgroup_size_x = 63),
            "Refused",
            &["width", "max_compute_workgroup_size_x", "64", "63"],
        ),
        (
            "workgroup height",
            || plan(PLAIN, &force(Kernel::Direct, "c4x7"), |l| l.max_compute_workgroup_size_y = 3),
            "Refused",
            &["height", "max_compute_workgroup_size_y", "4", "3"],
        ),
        (
            "invocations",
            || plan(PLAIN, &force(Kernel::Tiled, "m64n128k8"), |l| l.max_compute_invocations_per_workgroup = 100),
            "Refused",
            &["max_compute_invocations_per_workgroup", "128", "100"],
        ),
        (
            "workgroup memory",
            || plan(PLAIN, &force(Kernel::Tiled, "m64n64k8"), |l| l.max_compute_workgroup_storage_size = 4096),
            "Refused",
            &["workgroup memory", "max_compute_workgroup_storage_size", "8192", "4096"],
        ),
        (
            "storage buffers",
            || plan(PLAIN, &PlanOptions::default(), |l| l.max_storage_buffers_per_shader_stage = 4),
            "NoKernel",
            &["max_storage_buffers_per_shader_stage", "5", "4"],
        ),
        (
            "grid of a packing",
            || {
                let engine = engine(|l| l.max_compute_workgroups_per_dimension = 5);
                weights(&engine, &problem("c64h9w9o64k3:nobias")).map(drop)
            },
            "Limit",
            &["144 workgroups", "max_compute_workgroups_per_dimension", "29", "5"],
        ),
        (
            "neighbours whose common binding is too large",
            || {
                let engine = engine(|l| l.max_storage_buffer_binding_size = 2000);
                let problem = problem(PLAIN);
                let (weights, all) = (weights(&engine, &problem)?, buffer(&engine, 4000, STORAGE));
                let plan = engine.plan_blocking(&problem, &PlanOptions::default())?;
                plan.bind_blocking(&weights, &Buffers::new(all.slice(..972), all.slice(972..))).map(drop)
            },
            "Limit",
            &["binding", "max_storage_buffer_binding_size", "2592", "2000"],
        ),
        (
            "too many segments",
            || {
                let options = EngineOptions::default().max_segment_macs(1);
                engine_with(options, |_| {})
                    .plan_blocking(&problem("c1h1000000w1o32k3p1"), &force(Kernel::Direct, "c4x8"))
                    .map(drop)
            },
            "TooLarge",
            &["125000 tiles", "65536", "max_segment_macs", "1"],
        ),
    ]);
}

#[test]
fn kernels_by_name() {
    check(&[
        ("kernel name", || "magic".parse::<Kernel>().map(drop), "Unknown", &["magic", "direct", "tiled"]),
        (
            "variant name",
            || plan(PLAIN, &PlanOptions { variant: Some("m1n1k1".into()), ..Default::default() }, |_| {}),
            "Unknown",
            &["m1n1k1", "c4x8", "m64n64k8"],
        ),
        (
            "variant of another kernel",
            || plan(PLAIN, &force(Kernel::Direct, "m64n64k8"), |_| {}),
            "Unknown",
            &["m64n64k8", "c4x8", "direct"],
        ),
        (
            "81 taps",
            || plan("c3h20w20o5k9", &force(Kernel::Tiled, "m64n64k8"), |_| {}),
            "Refused",
            &["tiled m64n64k8", "81 taps", "49"],
        ),
        (
            "81 taps, direct",
            || plan("c3h20w20o5k9", &force(Kernel::Direct, "c1x8"), |_| {}),
            "Refused",
            &["direct c1x8", "81 taps", "49"],
        ),
        (
            "more elements than 32 bits count",
            || plan("c1h65536w32768o1k65536x32768", &PlanOptions::default(), |_| {}),
            "NoKernel",
            &["the weight of 1 output channels", "8589934592", "134217728"],
        ),
        (
            "forced, more elements than 32 bits count",
            || plan("c1h65536w32768o1k3x1p1,1,0,0:circular", &force(Kernel::Direct, "c1x8"), |_| {}),
            "Refused",
            &["the input of the smallest piece", "8589803524", "134217728"],
        ),
    ]);
}

#[test]
fn the_table_can_fail() {
    let wrong_variant = std::panic::catch_unwind(|| check(&[("", || read(STORAGE, 0..64), "Limit", &[])]));
    let wrong_words =
        std::panic::catch_unwind(|| check(&[("", || read(STORAGE, 0..64), "BufferUsage", &["elephant"])]));
    let no_error = std::panic::catch_unwind(|| check(&[("", || Ok(()), "", &[])]));
    assert!(wrong_variant.is_err() && wrong_words.is_err() && no_error.is_err());
}

/// A device that computes nothing: no candidate's result is right, and tuning says so instead of choosing.
#[test]
fn tuning_trusts_no_device() {
    let engine = engine(|_| {});
    let options = wgpu_conv::TuneOptions::default().budget(std::time::Duration::MAX);
    let error = engine.tune_blocking(&problem(PLAIN), &options, |_| {}).unwrap_err();
    assert!(matches!(error, wgpu_conv::Error::Unverified { .. }), "{error:?}");
    for part in [PLAIN, "direct c4x8: ", "tiled m", "405 outputs"] {
        assert!(error.to_string().contains(part), "{part:?} is not in {error}");
    }
}

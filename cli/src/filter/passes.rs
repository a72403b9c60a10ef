//! Runs a filter's convolutions on the GPU, checks each against the CPU reference, and times it.

use std::borrow::Cow;

use anyhow::{Context, Result, anyhow};
use wgpu_conv::reference::{self, Comparison};
use wgpu_conv::{
    Buffers, Conv2d, Engine, Epilogue, Error, Padding, PaddingMode, PlanOptions, Problem, Tensors, WeightData,
};
use wgpu_conv_check::timing;

use super::kernels::{Filter, Pass};
use super::planes::Planes;

const TIMED_RUNS: usize = 5;

/// How the convolutions are to be run.
#[derive(Debug, Clone)]
pub struct Settings {
    pub border: PaddingMode,
    pub plan: PlanOptions,
    /// Whether the results are compared with the CPU reference.
    pub check: bool,
    /// Most bytes of a buffer. Where a picture is larger, its channels go one after another.
    pub max_buffer: u64,
}

/// What the device allows for [`Settings::max_buffer`].
pub fn max_buffer(engine: &Engine) -> u64 {
    let limits = &engine.capabilities().limits;
    limits.max_storage_buffer_binding_size.min(limits.max_buffer_size)
}

/// What is known about one pass after it has run. Where the picture was too large for one dispatch and its channels went
/// one after another, times and operations are added up.
#[derive(Debug, Clone)]
pub struct PassReport {
    pub size: [u32; 2],
    /// Kernel and variant.
    pub kernel: String,
    pub flops: u64,
    pub median_ms: f64,
    pub min_ms: f64,
    /// Whether the GPU's own clock was used, not the wall clock around submission and waiting.
    pub on_gpu: bool,
    pub check: Option<Check>,
}

/// How results compare with the CPU reference.
#[derive(Debug, Clone, Copy, Default)]
pub struct Check {
    pub count: usize,
    pub failures: usize,
    pub max_error: f64,
    /// Largest error in units of its bound.
    pub worst_ratio: f64,
}

impl Check {
    fn add(&mut self, other: &Comparison) {
        self.count += other.count;
        self.failures += other.failures;
        self.max_error = self.max_error.max(other.max_error);
        self.worst_ratio = self.worst_ratio.max(other.worst_ratio);
    }
}

/// The convolutions of `filter` over all `channels` planes at once: whatever is wrong with them shows without a GPU.
pub fn check_problems(filter: &Filter, planes: &Planes, border: PaddingMode) -> Result<()> {
    (0..filter.passes.len()).try_for_each(|index| problem(filter, index, planes, planes.count(), border).map(drop))
}

/// Runs all passes. The results have shape (1, C · responses, H, W).
pub fn run(
    engine: &Engine,
    filter: &Filter,
    planes: &Planes,
    settings: &Settings,
) -> Result<(Vec<f32>, Vec<PassReport>)> {
    let responses = filter.responses();
    let length = planes.plane_len();
    let mut reports = Vec::new();
    if responses > 1 && bytes(length * responses) > settings.max_buffer {
        let mut results = vec![0.0; planes.count() * responses * length];
        for number in 0..responses {
            let (part, part_reports) = run(engine, &filter.with_response(number), planes, settings)?;
            for (channel, plane) in part.chunks(length).enumerate() {
                results[(channel * responses + number) * length..][..length].copy_from_slice(plane);
            }
            add_reports(&mut reports, part_reports);
        }
        return Ok((results, reports));
    }
    let mut results = Vec::with_capacity(planes.count() * responses * length);
    let at_once = channels_at_once(settings.max_buffer, responses, length);
    for first in (0..planes.count()).step_by(at_once) {
        let channels = first..planes.count().min(first + at_once);
        let input = &planes.data()[channels.start * length..channels.end * length];
        let colours: Vec<bool> = channels.map(|channel| planes.is_colour(channel)).collect();
        let (part, part_reports) = run_channels(engine, filter, planes, input, &colours, settings)?;
        results.extend(part);
        add_reports(&mut reports, part_reports);
    }
    Ok((results, reports))
}

/// Adds what is known of another part of the picture, pass by pass.
fn add_reports(reports: &mut Vec<PassReport>, part: Vec<PassReport>) {
    if reports.is_empty() {
        *reports = part;
    } else {
        reports.iter_mut().zip(part).for_each(|(report, part)| report.add(&part));
    }
}

fn bytes(elements: usize) -> u64 {
    (elements * size_of::<f32>()) as u64
}

impl PassReport {
    fn add(&mut self, other: &Self) {
        self.flops += other.flops;
        self.median_ms += other.median_ms;
        self.min_ms += other.min_ms;
        self.on_gpu &= other.on_gpu;
        if let (Some(mine), Some(other)) = (&mut self.check, other.check) {
            mine.count += other.count;
            mine.failures += other.failures;
            mine.max_error = mine.max_error.max(other.max_error);
            mine.worst_ratio = mine.worst_ratio.max(other.worst_ratio);
        }
    }
}

/// As many channels as fit a buffer; at least one, about which the engine will say what is too large.
fn channels_at_once(max_buffer: u64, responses: usize, plane_len: usize) -> usize {
    let channel = bytes(plane_len * responses).max(1);
    usize::try_from(max_buffer / channel).unwrap_or(usize::MAX).max(1)
}

fn run_channels(
    engine: &Engine,
    filter: &Filter,
    planes: &Planes,
    input: &[f32],
    colours: &[bool],
    settings: &Settings,
) -> Result<(Vec<f32>, Vec<PassReport>)> {
    let mut current = Cow::Borrowed(input);
    let mut current_buffer = engine.buffer_from("filter input", input)?;
    let mut reports = Vec::new();
    for (index, pass) in filter.passes.iter().enumerate() {
        let problem = problem(filter, index, planes, colours.len(), settings.border)?;
        let weight: Vec<f32> = colours.iter().flat_map(|_| pass.responses.concat()).collect();
        let bias = problem.bias().then(|| bias(filter, pass, colours));
        let residual: Option<Vec<f32>> = pass.keep.map(|keep| input.iter().map(|value| value * keep).collect());

        let plan = engine.plan_blocking(&problem, &settings.plan)?;
        let mut data = WeightData::new(&weight[..]);
        if let Some(bias) = &bias {
            data = data.bias(&bias[..]);
        }
        let weights = plan.weights_blocking(&data)?;
        let output = engine.buffer_zeroed("filter output", problem.output_len())?;
        let residual_buffer =
            residual.as_deref().map(|residual| engine.buffer_from("filter residual", residual)).transpose()?;
        let mut buffers = Buffers::new(current_buffer.slice(..), output.slice(..));
        if let Some(residual) = &residual_buffer {
            buffers = buffers.residual(residual.slice(..));
        }
        let bound = plan.bind_blocking(&weights, &buffers)?;
        bound.run_blocking()?;
        let result = engine.read_blocking(output.slice(..))?;

        // Each pass is checked against the reference for what it really was given, so that the bound is that of one pass.
        let check = if settings.check {
            let mut tensors = Tensors::new(&current, &weight);
            tensors.bias = bias.as_deref();
            tensors.residual = residual.as_deref();
            let mut check = Check::default();
            check.add(&reference::convolve_as(&problem, &tensors, plan.rounding())?.compare(&result)?);
            Some(check)
        } else {
            None
        };
        let time = timing::measure(engine, &bound, TIMED_RUNS)?;
        reports.push(PassReport {
            size: pass.size,
            kernel: format!("{} {}", plan.kernel(), plan.variant()),
            flops: problem.flops(),
            median_ms: time.median_ms,
            min_ms: time.min_ms,
            on_gpu: time.on_gpu,
            check,
        });
        (current, current_buffer) = (Cow::Owned(result), output);
    }
    Ok((current.into_owned(), reports))
}

/// Pass `index` over `channels` planes: each channel by itself, the output as large as the input. Of a side with an even
/// number of weights, the middle is the one before the half, as in PyTorch's `padding='same'`.
fn problem(filter: &Filter, index: usize, planes: &Planes, channels: usize, border: PaddingMode) -> Result<Problem> {
    let pass = &filter.passes[index];
    let channels = u32::try_from(channels).context("more than 32 bits of channels")?;
    let responses = u32::try_from(pass.responses.len()).context("more than 32 bits of responses")?;
    let conv = Conv2d::new(channels, channels * responses, pass.size)
        .groups(channels)
        .padding(Padding::Same)
        .padding_mode(border)
        .bias(filter.offset != 0.0 && index + 1 == filter.passes.len());
    let problem = match Problem::new(&conv, [1, channels, planes.height, planes.width]) {
        Err(error @ Error::PaddingTooLarge { .. }) => {
            let [rows, columns] = pass.size;
            return Err(anyhow!(
                "the image is too small for {} × {} weights with this border: {error} \
                 (--border replicate works for any size)",
                rows,
                columns
            ));
        }
        other => other?,
    };
    match pass.keep {
        Some(_) => Ok(problem.with_epilogue(Epilogue::NONE.with_residual())?),
        None => Ok(problem),
    }
}

/// The offset for each output channel of a colour, 0 for those of the transparency.
fn bias(filter: &Filter, pass: &Pass, colours: &[bool]) -> Vec<f32> {
    let offset = |&colour: &bool| vec![if colour { filter.offset } else { 0.0 }; pass.responses.len()];
    colours.iter().flat_map(offset).collect()
}

#[cfg(test)]
mod tests {
    use super::super::kernels::Recipe;
    use super::super::picture::{Colours, Depth, Picture};
    use super::*;

    fn picture(width: u32, height: u32) -> Picture {
        let samples = vec![0.5; (width * height * 3) as usize];
        Picture { width, height, colours: Colours::Rgb, alpha: false, depth: Depth::Eight, samples, profile: None }
    }

    fn planes(width: u32, height: u32) -> Planes {
        Planes::of(&picture(width, height), false)
    }

    fn filter(name: &str) -> Filter {
        Recipe::named(name).unwrap().compile(1.0, None).unwrap()
    }

    #[test]
    fn passes_are_depthwise_and_keep_the_size() {
        for (name, expected) in [
            ("emboss", "(3, 1, 3, 3) with bias"),
            ("edge", "(6, 1, 3, 3)"),
            ("box:2", "(3, 1, 2, 2)"),
            ("unsharp:1", "(3, 1, 1, 7), (3, 1, 7, 1) with residual"),
        ] {
            let (filter, planes) = (filter(name), planes(20, 10));
            let described: Vec<String> = (0..filter.passes.len())
                .map(|index| {
                    let problem = problem(&filter, index, &planes, 3, PaddingMode::Reflect).unwrap();
                    assert_eq!(problem.output_shape()[2..], [10, 20]);
                    assert_eq!(problem.padding_mode(), PaddingMode::Reflect);
                    let bias = if problem.bias() { " with bias" } else { "" };
                    let residual = if problem.epilogue().residual { " with residual" } else { "" };
                    format!("{}{bias}{residual}", problem.weight_shape())
                })
                .collect();
            assert_eq!(described.join(", "), expected);
        }
    }

    #[test]
    fn large_pictures_go_channel_by_channel() {
        assert_eq!([11, 12, 24, 35, 36].map(|bytes| channels_at_once(bytes, 1, 3)), [1, 1, 2, 2, 3]);
        assert_eq!([24, 47, 48].map(|bytes| channels_at_once(bytes, 2, 3)), [1, 1, 2]);

        if std::env::var("WGPU_CONV_SKIP_GPU_TESTS").is_ok_and(|value| value == "1") {
            println!("SKIPPED: WGPU_CONV_SKIP_GPU_TESTS=1");
            return;
        }
        let engine = wgpu_conv::Context::new_blocking(&Default::default()).unwrap().engine();
        let mut picture = picture(9, 7);
        picture.samples.iter_mut().enumerate().for_each(|(index, sample)| *sample = (index * 37 % 101) as f32 / 101.0);
        let planes = Planes::of(&picture, false);
        for name in ["unsharp", "edge", "emboss"] {
            let filter = filter(name);
            let run = |max_buffer| {
                let plan = PlanOptions::default();
                let settings = Settings { border: PaddingMode::Reflect, plan, check: true, max_buffer };
                run(&engine, &filter, &planes, &settings).unwrap()
            };
            let (whole, whole_reports) = run(max_buffer(&engine));
            let (parts, part_reports) = run(1);
            assert_eq!(whole.len(), parts.len());
            assert!(whole.iter().zip(&parts).all(|(a, b)| (a - b).abs() < 1e-5), "{name}");
            for (whole, part) in whole_reports.iter().zip(&part_reports) {
                assert_eq!((whole.flops, whole.check.unwrap().count), (part.flops, part.check.unwrap().count));
                assert_eq!((whole.check.unwrap().failures, part.check.unwrap().failures), (0, 0));
            }
        }
    }

    #[test]
    fn a_picture_too_small_for_the_border_is_told_what_helps() {
        let error =
            check_problems(&filter("gaussian:2"), &planes(6, 40), PaddingMode::Reflect).unwrap_err().to_string();
        assert!(error.contains("1 × 13 weights") && error.contains("there are 6"), "{error}");
        assert!(error.contains("--border replicate"), "{error}");
        check_problems(&filter("gaussian:2"), &planes(6, 40), PaddingMode::Replicate).unwrap();
    }

    #[test]
    fn the_offset_is_for_colours_alone() {
        let filter = filter("emboss");
        assert_eq!(bias(&filter, &filter.passes[0], &[true, true, false]), [0.5, 0.5, 0.0]);
    }
}

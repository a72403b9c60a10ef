//! `wgpu-conv filter`: convolves an image.

mod format;
mod kernels;
mod light;
mod matrix;
mod passes;
pub(crate) mod picture;
mod planes;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use comfy_table::Table;
use wgpu_conv::{Kernel, PaddingMode};

use format::Target;
use kernels::Recipe;
use matrix::Matrix;
use passes::{PassReport, Settings};
use picture::Picture;
use planes::Planes;

use crate::conv_args::parse_mode;
use crate::gpu::{GpuArgs, KernelArgs, adapter_text, driver_text};
use crate::output;

const NOTES: &str = "\
Weights are applied as they stand, not turned around: row 1, column 1 meets the pixel above and to the left. Every colour \
channel is filtered by itself; alpha is kept, and transparent pixels do not bleed into others. Results below 0 and above 1 \
are cut off. The output has the input's size, channels and (in PNG) bit depth, is turned upright as EXIF says, and keeps the \
colour profile, but no other metadata.

Large blurs run as two convolutions, along the rows and along the columns. Every result is compared with a float64 \
computation on the CPU; outside its error bound nothing is written and the exit status is 1.

Filters:
";

/// Convolve an image (PNG, JPEG or WebP) on the GPU.
#[derive(Debug, Args)]
#[command(after_long_help = format!("{NOTES}{}", indent(kernels::HELP)), after_help = "--help shows the list of filters.")]
pub struct FilterArgs {
    /// Image to read: PNG, JPEG or WebP, 8 or 16 bits a channel.
    #[arg(value_name = "IN")]
    input: PathBuf,
    /// Image to write; its extension (.png, .jpg, .jpeg, .webp) says how. Replaced if it exists; may be IN.
    #[arg(value_name = "OUT")]
    output: PathBuf,
    #[command(flatten)]
    what: What,
    /// Divides all weights.
    #[arg(long, value_name = "D", default_value_t = 1.0, allow_negative_numbers = true)]
    divisor: f64,
    /// Added to every result; 1 is white [default: the filter's own, mostly 0].
    #[arg(long, value_name = "B", allow_negative_numbers = true)]
    offset: Option<f64>,
    /// What lies beyond the border: reflect, replicate, zeros or circular.
    #[arg(long, value_name = "MODE", default_value = "reflect", value_parser = parse_mode)]
    border: PaddingMode,
    /// Filter amounts of light (sRGB decoded and encoded again), the offset included, not the numbers as stored.
    #[arg(long)]
    linear: bool,
    /// Quality of JPEG output, 1 to 100 [default: 90].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=100))]
    quality: Option<u8>,
    /// Force a GPU kernel: direct, broadcast, tiled, matrix or winograd.
    #[arg(long, value_name = "NAME", value_parser = Kernel::from_str)]
    compute_kernel: Option<Kernel>,
    /// Force a variant of a GPU kernel.
    #[arg(long, value_name = "NAME")]
    variant: Option<String>,
    /// Do not compare the result with the CPU reference, which takes its time for large filters.
    #[arg(long)]
    no_check: bool,
    #[command(flatten)]
    gpu: GpuArgs,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct What {
    /// A filter by name, as in gaussian:2 (see below).
    #[arg(long, value_name = "NAME")]
    kernel: Option<String>,
    /// A filter by its weights: rows separated by ';', numbers by commas or spaces.
    #[arg(long, value_name = "ROWS", allow_hyphen_values = true)]
    matrix: Option<String>,
    /// A filter by its weights in a text file: a row on each line, '#' for comments.
    #[arg(long, value_name = "FILE")]
    matrix_file: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// Whatever is wrong with the arguments, the files or the GPU, and a result that is not what the CPU gets. Nothing is
/// written then. What can be found without a GPU is found before one is looked for.
pub fn run(args: FilterArgs) -> Result<()> {
    let recipe = args.what.recipe()?;
    let filter = recipe.compile(args.divisor, args.offset).context("filter weights")?;
    // `--kernel` being the filter, the flags of the other commands cannot be flattened in.
    let plan = KernelArgs { kernel: args.compute_kernel, variant: args.variant, accuracy: None }.options()?;
    let target = Target::new(&args.output, args.quality)?;
    let mut picture = Picture::read(&args.input)?;
    let mut notes = target.check_picture(&picture)?;
    if args.linear && picture.profile.is_some() {
        notes.push("--linear takes the colours for sRGB, whatever the image's colour profile says".into());
    }
    notes.iter().for_each(|note| output::note(&format!("note: {note}")));
    let planes = Planes::of(&picture, args.linear);
    passes::check_problems(&filter, &planes, args.border)?;

    let context = args.gpu.context()?;
    let engine = context.engine();
    let settings =
        Settings { border: args.border, plan, check: !args.no_check, max_buffer: passes::max_buffer(&engine) };
    let progress = indicatif::ProgressBar::new_spinner();
    progress.enable_steady_tick(std::time::Duration::from_millis(120));
    progress.set_message(if settings.check { "filtering and checking" } else { "filtering" });
    let outcome = passes::run(&engine, &filter, &planes, &settings);
    progress.finish_and_clear();
    let (results, reports) = outcome?;
    refuse_wrong_results(&reports)?;

    planes.write_results(&results, filter.responses(), &mut picture);
    target.write(&picture)?;

    let light = if args.linear { ", in linear light" } else { "" };
    let adapter = context.adapter.get_info();
    let mut report = String::new();
    for (name, value) in [
        ("image", format!("{} ({picture})", args.input.display())),
        ("filter", format!("{}, border {}{light}", filter.name, args.border)),
        ("written", args.output.display().to_string()),
        ("adapter", adapter_text(&adapter)),
        ("driver", driver_text(&adapter)),
    ] {
        let _ = writeln!(report, "{name:<9} {value}");
    }
    output::print(&format!("{report}{}", table(&reports)))
}

impl What {
    fn recipe(&self) -> Result<Recipe> {
        if let Some(name) = &self.kernel {
            return Recipe::named(name);
        }
        if let Some(text) = &self.matrix {
            let matrix = Matrix::from_inline(text).context("--matrix")?;
            return Ok(Recipe::of_matrix(describe_matrix(&matrix, "matrix"), matrix));
        }
        let Some(path) = &self.matrix_file else { bail!("one of --kernel, --matrix and --matrix-file is needed") };
        let matrix = Matrix::from_file(path)?;
        Ok(Recipe::of_matrix(describe_matrix(&matrix, &path.display().to_string()), matrix))
    }
}

fn describe_matrix(matrix: &Matrix, source: &str) -> String {
    format!("{source} ({} × {})", matrix.rows(), matrix.columns())
}

fn refuse_wrong_results(reports: &[PassReport]) -> Result<()> {
    for (index, report) in reports.iter().enumerate() {
        let Some(check) = report.check else { continue };
        ensure!(
            check.failures == 0,
            "pass {}, {}: {} of {} results differ from the CPU reference by more than their bound \
             (the worst by {:.3} times its bound; largest difference {:.3e}); nothing was written",
            index + 1,
            report.kernel,
            check.failures,
            check.count,
            check.worst_ratio,
            check.max_error
        );
    }
    Ok(())
}

/// One line a pass.
fn table(reports: &[PassReport]) -> Table {
    let clock = if reports.iter().all(|report| report.on_gpu) { ">GPU time, median" } else { ">wall time, median" };
    let columns =
        [">pass", ">weights", "kernel", clock, ">minimum", ">GFLOP/s", ">largest difference", ">of its bound"];
    let mut table = output::table(output::Stream::Out, &columns);
    for (index, report) in reports.iter().enumerate() {
        let gflops = if report.median_ms > 0.0 {
            output::short(report.flops as f64 / (report.median_ms * 1e6))
        } else {
            "-".into()
        };
        let (error, ratio) = match report.check {
            Some(check) => (format!("{:.2e}", check.max_error), format!("{:.1} %", 100.0 * check.worst_ratio)),
            None => ("not checked".into(), "-".into()),
        };
        table.add_row([
            (index + 1).to_string(),
            format!("{} × {}", report.size[0], report.size[1]),
            report.kernel.clone(),
            format!("{} ms", output::short(report.median_ms)),
            format!("{} ms", output::short(report.min_ms)),
            gflops,
            error,
            ratio,
        ]);
    }
    table
}

fn indent(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_results_are_refused_with_their_numbers() {
        let report = |failures| PassReport {
            size: [3, 3],
            kernel: "direct c4x8".into(),
            flops: 1,
            median_ms: 1.0,
            min_ms: 1.0,
            on_gpu: true,
            check: Some(passes::Check { count: 100, failures, max_error: 0.5, worst_ratio: 7.0 }),
        };
        assert!(refuse_wrong_results(&[report(0), report(0)]).is_ok());
        let error = refuse_wrong_results(&[report(0), report(3)]).unwrap_err().to_string();
        assert!(error.contains("pass 2") && error.contains("3 of 100") && error.contains("7.000 times"), "{error}");
    }
}

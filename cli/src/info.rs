//! `wgpu-conv info`: the adapters of this machine, and what will run on them.

use std::fmt::Write as _;

use anyhow::Result;
use clap::Args;
use wgpu_conv::wgpu::{Adapter, Features};
use wgpu_conv::{Accuracy, Capabilities, Context, Kernel, PlanOptions, Problem, select};

use crate::gpu::{self, GpuArgs};
use crate::output::{self, Stream, bytes_text, thousands};

/// Show the adapters of this machine, what they can do, and which kernels will run
#[derive(Args)]
pub struct InfoArgs {
    #[command(flatten)]
    gpu: GpuArgs,
}

/// The features that kernels or measurements can use.
const FEATURES: [(Features, &str); 5] = [
    (Features::TIMESTAMP_QUERY, "timestamps (times measured on the GPU)"),
    (Features::SHADER_F16, "float16 in shaders"),
    (Features::SUBGROUP, "subgroup operations"),
    (Features::EXPERIMENTAL_COOPERATIVE_MATRIX, "cooperative matrices"),
    (Features::PIPELINE_CACHE, "pipeline cache"),
];

pub fn run(args: &InfoArgs) -> Result<()> {
    // First the context: where there is no adapter, its error says what to install.
    let context = args.gpu.context()?;
    let adapters = Context::adapters_blocking(&args.gpu.options());
    let chosen = context.adapter.get_info();
    let mut text = String::new();
    for (index, adapter) in adapters.iter().enumerate() {
        let info = adapter.get_info();
        let mark = if info == chosen { " (this one is used)" } else { "" };
        writeln!(text, "Adapter {}: {}{mark}", index + 1, gpu::adapter_text(&info))?;
        writeln!(text, "{}\n", details(adapter).trim_fmt())?;
    }
    writeln!(text, "Kernels on {}:\n{}", gpu::adapter_text(&chosen), kernels(context.engine().capabilities())?)?;
    output::print(&text)
}

fn details(adapter: &Adapter) -> comfy_table::Table {
    let info = adapter.get_info();
    let limits = adapter.limits();
    let mut table = output::table(Stream::Out, &["property", "value"]);
    let mut row = |name: &str, value: String| {
        table.add_row([name.to_owned(), value]);
    };
    row("kind", format!("{:?}", info.device_type));
    row("backend", format!("{:?}", info.backend));
    row("driver", gpu::driver_text(&info));
    row("largest storage binding", bytes_text(limits.max_storage_buffer_binding_size));
    row("largest buffer", bytes_text(limits.max_buffer_size));
    row("workgroup memory", bytes_text(limits.max_compute_workgroup_storage_size.into()));
    row("invocations per workgroup", thousands(limits.max_compute_invocations_per_workgroup.into()));
    row("workgroups per dimension", thousands(limits.max_compute_workgroups_per_dimension.into()));
    row("storage buffers per stage", limits.max_storage_buffers_per_shader_stage.to_string());
    row("storage offset alignment", bytes_text(limits.min_storage_buffer_offset_alignment.into()));
    row(
        "subgroup size",
        match (info.subgroup_min_size, info.subgroup_max_size) {
            (low, high) if low == high => low.to_string(),
            (low, high) => format!("{low} to {high}"),
        },
    );
    for (feature, name) in FEATURES {
        row(name, if adapter.features().contains(feature) { "yes" } else { "no" }.into());
    }
    table
}

/// Every kernel variant on a problem that any of them should like; a refusal here is about the device.
fn kernels(capabilities: &Capabilities) -> Result<String> {
    let typical: Problem = "n1c64h56w56o64k3p1".parse()?;
    let mut table = output::table(Stream::Out, &["kernel", "variant", "runs"]);
    for &kernel in Kernel::ALL {
        for variant in kernel.variants() {
            let options = PlanOptions {
                kernel: Some(kernel),
                variant: Some(variant.into()),
                accuracy: Some(Accuracy::Reduced),
                ..PlanOptions::default()
            };
            let runs = match select(&typical, capabilities, &options) {
                Ok(_) => output::verdict(true, "yes"),
                Err(error) => output::verdict(false, error),
            };
            table.add_row([kernel.name().into(), variant.into(), runs]);
        }
    }
    Ok(table.trim_fmt())
}

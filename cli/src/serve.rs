//! `wgpu-conv bench --serve`: measures on request, for programs that compare us with others in one run.
//!
//! One JSON object a line comes in on standard input, one goes out on standard output for each. Device, pipelines and
//! weights stay between requests, so that nothing but the call itself is in a time. A request that makes no sense is
//! answered with an error, and the next one is read; the end of the input ends the program.
//!
//! | request | answer, beside `"ok": true` |
//! | --- | --- |
//! | `{"op": "info"}` | `adapter`, `driver`, `software`, `version`, `timestamps` |
//! | `{"op": "layers", "network": "resnet50", "batch": 8}` | `layers`: each with `name` and `problem`; without a network, A to L |
//! | `{"op": "prepare", "problem": "A"}` | `id`, the parameters, `kernel`, `variant`, `verified`, `first_use_ms`, … |
//! | `{"op": "call", "id": 0}` | `ms`: wall time of upload, run and read-back |
//! | `{"op": "gpu", "id": 0, "repeats": 1}` | `ms` of one run by the GPU's clock, or null where it has none |
//! | `{"op": "release", "id": 0}` | |
//!
//! Parameters are lists with a number for each spatial axis, outermost first (2-D: rows, columns); `padding` has two for each,
//! before and after it (2-D: top, bottom, left, right). `transposed` and `deformable` say which kind of convolution it is; of a
//! deformable one `offset` and `mask` are the shapes of these tensors, null where there are none.
//!
//! `prepare` also takes `kernel`, `variant`, `seed`, and `folder`, into which it writes the tensors that it made up:
//! `input.npy`, `weight.npy`, `bias.npy`, `offset.npy`, `mask.npy`, the float64 reference's result `expected.npy`, and
//! `bounds.npy`, how far a float32 result may be from it. Their axes are in the order that the problem's `layout` and
//! `weight_layout` say, channels last as (N, …, C); all are float32, with numbers that the problem's `dtype` can hold. Any failure
//! is `{"ok": false, "error": "…"}`.

use std::collections::BTreeMap;
use std::io::{self, BufRead as _};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use serde_json::{Value, json};
use wgpu_conv::reference::Reference;
use wgpu_conv::{Context, DType, Kernel, Op, PlanOptions, Problem};
use wgpu_conv_check::{DataKind, GpuClock, ProblemData, WORKLOADS, network};

use crate::gpu::{self, KernelArgs, Prepared};
use crate::tensor_file::Tensor;
use crate::whole_call::WholeCall;
use crate::{formats, npy, output};

/// Most runs in one pass.
const MOST_REPEATS: u32 = 1000;

#[derive(Debug, Deserialize)]
#[serde(tag = "op", rename_all = "lowercase", deny_unknown_fields)]
enum Request {
    Info {},
    Layers {
        network: Option<String>,
        #[serde(default = "one")]
        batch: u32,
    },
    Prepare(Prepare),
    Call {
        id: u64,
    },
    Gpu {
        id: u64,
        #[serde(default = "one")]
        repeats: u32,
    },
    Release {
        id: u64,
    },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Prepare {
    problem: String,
    kernel: Option<String>,
    variant: Option<String>,
    #[serde(default = "seed")]
    seed: u64,
    folder: Option<PathBuf>,
}

fn one() -> u32 {
    1
}

fn seed() -> u64 {
    1
}

/// A problem that is ready to be timed.
struct Ready {
    prepared: Prepared,
    call: WholeCall,
    /// As it is uploaded.
    input: Vec<u8>,
    clock: Option<GpuClock>,
}

/// Answers requests until the input ends.
pub fn run(context: &Context, options: &PlanOptions) -> Result<()> {
    let mut server = Server { context, options, ready: BTreeMap::new(), next: 0 };
    let mut input = io::stdin().lock();
    let mut line = Vec::new();
    while input.read_until(b'\n', &mut line).context("standard input cannot be read")? > 0 {
        if !line.trim_ascii().is_empty() {
            output::print(&server.answer(&line).to_string())?;
        }
        line.clear();
    }
    Ok(())
}

struct Server<'a> {
    context: &'a Context,
    /// What the command line forces.
    options: &'a PlanOptions,
    ready: BTreeMap<u64, Ready>,
    next: u64,
}

impl Server<'_> {
    fn answer(&mut self, line: &[u8]) -> Value {
        let request = serde_json::from_slice(line).context("this is no request");
        match request.and_then(|request| self.serve(request)) {
            Ok(mut answer) => {
                answer["ok"] = true.into();
                answer
            }
            Err(error) => json!({ "ok": false, "error": format!("{error:#}") }),
        }
    }

    fn serve(&mut self, request: Request) -> Result<Value> {
        match request {
            Request::Info {} => {
                let info = self.context.adapter.get_info();
                Ok(json!({
                    "adapter": gpu::adapter_text(&info),
                    "driver": gpu::driver_text(&info),
                    "software": info.device_type == wgpu_conv::wgpu::DeviceType::Cpu,
                    "version": env!("CARGO_PKG_VERSION"),
                    "timestamps": self.context.device.features().contains(wgpu_conv::wgpu::Features::TIMESTAMP_QUERY),
                }))
            }
            Request::Layers { network, batch } => layers(network.as_deref(), batch),
            Request::Prepare(prepare) => self.prepare(&prepare),
            Request::Call { id } => {
                let ready = self.find(id)?;
                let start = Instant::now();
                ready.call.run(&ready.input)?;
                Ok(json!({ "ms": start.elapsed().as_secs_f64() * 1e3 }))
            }
            Request::Gpu { id, repeats } => {
                ensure!((1..=MOST_REPEATS).contains(&repeats), "repeats is {repeats}; required is 1 to {MOST_REPEATS}");
                let ready = self.find(id)?;
                let sample = match &ready.clock {
                    Some(clock) => clock.sample(&ready.prepared.bound, repeats)?,
                    None => None,
                };
                Ok(json!({ "ms": sample.map(|ms| ms / f64::from(repeats)) }))
            }
            Request::Release { id } => {
                self.find(id)?;
                self.ready.remove(&id);
                Ok(json!({}))
            }
        }
    }

    fn find(&mut self, id: u64) -> Result<&mut Ready> {
        self.ready.get_mut(&id).with_context(|| format!("nothing is prepared under id {id}"))
    }

    fn prepare(&mut self, request: &Prepare) -> Result<Value> {
        let problem: Problem = gpu::parse_problem(&request.problem).map_err(anyhow::Error::msg)?;
        let forced = KernelArgs {
            kernel: request.kernel.as_deref().map(str::parse::<Kernel>).transpose()?,
            variant: request.variant.clone(),
            accuracy: self.options.accuracy,
        };
        let options = match forced {
            KernelArgs { kernel: None, variant: None, .. } => self.options.clone(),
            forced => forced.options()?,
        };
        let data = ProblemData::generate(&problem, DataKind::Uniform, request.seed)?;
        let tensors = data.tensors();
        // An engine of its own, so that first use finds no pipeline of an earlier problem.
        let engine = self.context.engine();
        let start = Instant::now();
        let prepared = Prepared::new(&engine, &problem, &tensors, &options)?;
        let mut call = WholeCall::new(&engine, &prepared)?;
        let input = problem.dtype().encode(&data.input).into_owned();
        call.run(&input)?;
        let first_use_ms = start.elapsed().as_secs_f64() * 1e3;
        let reference = data.reference_as(&problem, prepared.plan.rounding())?;
        let mut output = problem.output_dtype().decode(call.run(&input)?);
        output.truncate(problem.output_len() as usize);
        let comparison = reference.compare(&output)?;
        if let Some(folder) = &request.folder {
            write_tensors(folder, &problem, &data, &reference)?;
        }
        let id = self.next;
        self.next += 1;
        let answer = json!({
            "id": id,
            "problem": problem.to_string(),
            "transposed": problem.op() == Op::ConvTranspose,
            "deformable": problem.op() == Op::DeformConv,
            "input": &problem.input_shape()[..],
            "weight": &problem.weight_shape()[..],
            "output": &problem.output_shape()[..],
            "stride": problem.stride(),
            "padding": problem.padding().concat(),
            "output_padding": problem.output_padding(),
            "dilation": problem.dilation(),
            "groups": problem.groups(),
            "offset_groups": problem.offset_groups(),
            "offset": problem.offset_shape().as_deref(),
            "mask": problem.mask_shape().as_deref(),
            "dtype": problem.integers().map_or_else(|| problem.dtype().to_string(), |integers| integers.to_string()),
            "layout": problem.layout().name(),
            "weight_layout": problem.weight_layout().name(),
            "bias": problem.bias(),
            "padding_mode": problem.padding_mode().name(),
            "residual": problem.epilogue().residual,
            "activation": problem.epilogue().activation.to_string(),
            "flops": problem.flops(),
            "bytes": problem.bytes(),
            "sum_length": problem.sum_length(),
            "kernel": prepared.plan.kernel().name(),
            "variant": prepared.plan.variant(),
            "verified": comparison.passed(),
            "first_use_ms": first_use_ms,
        });
        let clock = GpuClock::new(&engine);
        self.ready.insert(id, Ready { prepared, call, input, clock });
        Ok(answer)
    }
}

fn layers(name: Option<&str>, batch: u32) -> Result<Value> {
    let layers: Vec<Value> = match name {
        None => WORKLOADS
            .iter()
            .map(|workload| json!({ "name": workload.letter, "what": workload.what, "problem": workload.problem }))
            .collect(),
        Some(name) => network(name)?
            .layers
            .iter()
            .map(|layer| Ok(json!({ "name": layer.name, "problem": layer.with_batch(batch)?.to_string() })))
            .collect::<Result<_>>()?,
    };
    Ok(json!({ "layers": layers }))
}

fn write_tensors(folder: &Path, problem: &Problem, data: &ProblemData, reference: &Reference) -> Result<()> {
    let narrow = |values: &[f64]| values.iter().map(|&value| value as f32).collect::<Vec<f32>>();
    let channels = problem.out_channels();
    let [input, output] =
        [problem.input_shape(), problem.output_shape()].map(|shape| formats::in_file(problem.layout(), &shape, true));
    let weight = formats::weight_in_file(problem.weight_layout(), &problem.weight_shape());
    let mut tensors: Vec<(&str, &[u32], Vec<f32>)> = vec![
        ("input", &input, data.input.clone()),
        ("weight", &weight, data.weight.clone()),
        ("expected", &output, narrow(&reference.values)),
        ("bounds", &output, narrow(&reference.bounds)),
    ];
    let shape = [channels];
    if let Some(bias) = &data.bias {
        tensors.push(("bias", &shape, bias.clone()));
    }
    let (offset, mask) = (problem.offset_shape(), problem.mask_shape());
    for (name, shape, data) in [("offset", &offset, &data.offset), ("mask", &mask, &data.mask)] {
        if let (Some(shape), Some(data)) = (shape, data) {
            tensors.push((name, shape, data.clone()));
        }
    }
    for (name, shape, data) in tensors {
        let tensor = Tensor { shape: shape.iter().copied().map(u64::from).collect(), dtype: DType::F32, data };
        output::write_file(&folder.join(name).with_extension("npy"), &npy::write(&tensor)?)?;
    }
    Ok(())
}

//! Every WGSL module that the library hands to wgpu: taken from a trace of what it hands to wgpu's noop backend while it
//! prepares the problems of the table on every variant. So nothing here says a second time what is shipped.

use std::collections::BTreeMap;
use std::path::Path;
use std::thread;

use anyhow::{Context as _, Result, anyhow, ensure};
use wgpu_conv::{Buffers, Checks, DType, Elements, Engine, EngineOptions, Error, Plan, Problem, WeightData, wgpu};
use wgpu_conv_check::{DataKind, ProblemData, Runner, Unit, table};

/// The modules, each once, with the problem and variant that it was first seen for.
pub type Modules = BTreeMap<String, String>;

/// Problems that are bound with their tensors in every place, on every variant.
const IN_EVERY_PLACE: [&str; 6] = [
    "c3h9w9o5k3p1+residual",
    "c4h9w9o8k2s2g2:reflect:nobias+residual",
    "c3h9w9o5k3+residual+prelu",
    "c4h9w9o5k4s2p1:transposed+residual",
    "c3h9w9o5k3:f16+residual",
    "c4h9w9o5k3p1:i8_i8_i8",
];

/// Devices that share the work, for as many processors.
const PARTS: usize = 2;

/// Whether a variant takes this problem of the table: those of a kernel take turns.
fn has_turn(unit: &Unit, number: usize) -> bool {
    let variants = unit.kernel.variants();
    variants[number % variants.len()] == unit.variant
}

/// Prepares everything, with 16-bit floats in shaders and without.
pub fn all() -> Result<Modules> {
    let prepare = |shader_f16: bool, part: usize| -> Result<Modules> {
        let mut modules = Modules::new();
        let folder = tempfile::tempdir()?;
        let collector = Collector::new(folder.path(), shader_f16)?;
        collector.table(part, &mut modules)?;
        collector.every_place(part, &mut modules)?;
        collector.conversions(&mut modules)?;
        Ok(modules)
    };
    let mut modules = Modules::new();
    for shader_f16 in [false, true] {
        let parts = thread::scope(|scope| {
            let threads: Vec<_> = (0..PARTS).map(|part| scope.spawn(move || prepare(shader_f16, part))).collect();
            threads.into_iter().map(|thread| thread.join()).collect::<Vec<_>>()
        });
        for part in parts {
            modules.extend(part.map_err(|_| anyhow!("preparing the shaders panicked"))??);
        }
    }
    Ok(modules)
}

/// An engine whose device writes down what it is given.
struct Collector<'a> {
    folder: &'a Path,
    engine: Engine,
    runner: Runner,
    shader_f16: bool,
}

impl<'a> Collector<'a> {
    fn new(folder: &'a Path, shader_f16: bool) -> Result<Self> {
        let required_features = if shader_f16 { wgpu::Features::SHADER_F16 } else { wgpu::Features::empty() };
        let (device, queue) = wgpu::Device::noop(&wgpu::DeviceDescriptor {
            required_features,
            trace: wgpu::Trace::Directory(folder.to_owned()),
            ..wgpu::DeviceDescriptor::default()
        });
        let engine = Engine::with_options(&device, &queue, EngineOptions::default());
        ensure!(engine.capabilities().shader_f16 == shader_f16, "the device has other features than it was asked for");
        Ok(Self { folder, runner: Runner::new(&engine), engine, shader_f16 })
    }

    /// Moves what was written down since the last call to `modules`.
    fn collect(&self, modules: &mut Modules, what: impl Fn() -> String) -> Result<()> {
        for entry in std::fs::read_dir(self.folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "wgsl") {
                modules.entry(std::fs::read_to_string(&path)?).or_insert_with(&what);
            }
            if path.file_name().is_some_and(|name| name != "trace.ron") {
                std::fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    /// A plan for each of the units that take the problem. Browsers have one mode.
    fn plans(&self, problem: &Problem, wanted: impl Fn(&Unit) -> bool) -> Result<Vec<Plan>> {
        let units = Unit::all().into_iter().filter(|unit| unit.checks == Checks::Trusted && wanted(unit));
        units
            .filter_map(|unit| match self.runner.plan(problem, &unit) {
                Err(Error::Refused { .. } | Error::NoKernel { .. }) => None,
                plan => Some(plan.with_context(|| format!("{problem} on {unit:?}"))),
            })
            .collect()
    }

    /// Whether shaders of the problem depend on 16-bit floats in shaders; the others were seen without.
    fn is_new(&self, problem: &Problem) -> bool {
        !self.shader_f16 || problem.dtype() == DType::F16
    }

    fn table(&self, part: usize, modules: &mut Modules) -> Result<()> {
        for (number, entry) in table::entries().into_iter().enumerate().skip(part).step_by(PARTS) {
            let problem = entry.parse()?;
            if !self.is_new(&problem) {
                continue;
            }
            let data = ProblemData::generate(&problem, DataKind::Flat, 0)?;
            let mut packings = Vec::new();
            for plan in self.plans(&problem, |unit| has_turn(unit, number))? {
                if !packings.contains(&plan.packing()) {
                    packings.push(plan.packing());
                    plan.weights_blocking(&WeightData::from(&data.tensors()))?;
                }
            }
            self.collect(modules, || entry.problem.clone())?;
        }
        Ok(())
    }

    /// Input and residual in buffers of their own, in the output's buffer far away from it, and beside it.
    fn every_place(&self, part: usize, modules: &mut Modules) -> Result<()> {
        for text in IN_EVERY_PLACE.into_iter().skip(part).step_by(PARTS) {
            let problem: Problem = text.parse()?;
            if !self.is_new(&problem) {
                continue;
            }
            let data = ProblemData::generate(&problem, DataKind::Flat, 0)?;
            for plan in self.plans(&problem, |_| true)? {
                let weights = plan.weights_blocking(&WeightData::from(&data.tensors()))?;
                let own = [(); 2].map(|()| self.engine.buffer_zeroed("own", 1 << 12));
                let [own_input, own_residual] = own;
                let (own_input, own_residual) = (own_input?, own_residual?);
                let shared = self.engine.buffer_zeroed("shared", 1 << 14)?;
                let input_size = problem.input_len() * problem.dtype().size();
                let output_size = problem.output_len() * problem.output_dtype().size();
                // A word further than they end: bindings start at multiples of 256 bytes, so these overlap.
                let input_near = output_size.next_multiple_of(4) + 4;
                let residual_near = (input_near + input_size).next_multiple_of(4) + 4;
                let inputs = [own_input.slice(..), shared.slice(32 << 10..), shared.slice(input_near..)];
                let residuals = [own_residual.slice(..), shared.slice(48 << 10..), shared.slice(residual_near..)];
                for input in inputs {
                    for residual in residuals {
                        let mut buffers = Buffers::new(input, shared.slice(..output_size));
                        if problem.epilogue().residual {
                            buffers = buffers.residual(residual);
                        }
                        plan.bind_blocking(&weights, &buffers)
                            .with_context(|| format!("{text} on {}", plan.variant()))?;
                    }
                }
            }
            self.collect(modules, || format!("{text}, its tensors in one buffer"))?;
        }
        Ok(())
    }

    fn conversions(&self, modules: &mut Modules) -> Result<()> {
        let apart = self.engine.buffer_zeroed("apart", 1 << 10)?;
        let shared = self.engine.buffer_zeroed("shared", 1 << 12)?;
        for from in [DType::F32, DType::F16] {
            for to in [DType::F32, DType::F16] {
                for source in [apart.slice(..), shared.slice(8 << 10..), shared.slice(516..)] {
                    let (from, to) = (Elements::new(source, from), Elements::new(shared.slice(..516), to));
                    self.engine.conversion_blocking(99, from, to)?;
                }
            }
        }
        self.collect(modules, || "a conversion".into())
    }
}

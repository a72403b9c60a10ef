//! [`Runner`]: one problem on one kernel, variant and mode, in buffers whose surroundings are watched.
//!
//! Input, residual and output lie in larger buffers at odd element offsets. Everything around them, and the output
//! itself before the run, holds one NaN: a read out of range poisons a result, a write out of range changes a guard
//! zone, and an output that nobody wrote still holds the pattern.

mod judge;

use std::collections::HashMap;

use wgpu_conv::wgpu::{Buffer, BufferSlice};
use wgpu_conv::{
    Accuracy, Bound, Buffers, Checks, DType, Engine, Error, Kernel, Packing, Plan, PlanOptions, Problem, Result,
    Rounding, WeightData, Weights, select, wgpu,
};

use crate::data::ProblemData;
pub use judge::{UnitResult, judge};

/// A quiet NaN that no arithmetic produces.
const PATTERN: u32 = 0x7fc5_a5a5;

/// What surrounds tensors of this type, and is where an output was not written: the NaN, or where there is none a number that no
/// test comes to; of 8-bit integers, which have none of those either, some number.
fn pattern(dtype: DType) -> f32 {
    match dtype.range() {
        None => f32::from_bits(PATTERN),
        Some(_) if dtype.size() > 1 => (0x7fa5 << 16) as f32,
        Some(_) => 77.0,
    }
}

/// A kernel, a variant of it, and a mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Unit {
    /// The kernel.
    pub kernel: Kernel,
    /// Name of the variant.
    pub variant: &'static str,
    /// Trusted or checked shaders.
    pub checks: Checks,
}

impl Unit {
    /// Every variant of every kernel in both modes.
    pub fn all() -> Vec<Self> {
        let mut units = Vec::new();
        for &kernel in Kernel::ALL {
            for variant in kernel.variants() {
                units.extend(Checks::ALL.map(|checks| Self { kernel, variant, checks }));
            }
        }
        units
    }

    /// Whether its variant takes every configuration with the same shader.
    pub fn is_generic(&self) -> bool {
        self.variant.starts_with("generic")
    }

    /// Whether its kernel takes every problem on every device. Winograd's algorithm is for some problems, matrix units for some devices.
    pub fn takes_everything(&self) -> bool {
        ![Kernel::Winograd, Kernel::Matrix].contains(&self.kernel)
    }

    /// How it rounds.
    ///
    /// # Errors
    /// [`Error::Unknown`] for a variant that does not exist.
    pub fn rounding(&self) -> Result<Rounding> {
        self.kernel.rounding(self.variant)
    }

    /// What forces this unit, whatever it does with the numbers.
    pub fn options(&self) -> PlanOptions {
        PlanOptions {
            accuracy: Some(Accuracy::Reduced),
            kernel: Some(self.kernel),
            variant: Some(self.variant.into()),
            checks: Some(self.checks),
        }
    }
}

/// A unit that does not accept a problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The unit.
    pub unit: Unit,
    /// The sentence with which it refuses.
    pub reason: String,
}

/// Where the tensors lie in their buffers: elements before each; [`Placement::after`] elements follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placement {
    /// Before the input.
    pub input: u64,
    /// Before the weight, if it is taken from a GPU buffer; `None`: from the host.
    pub weight: Option<u64>,
    /// Before the residual.
    pub residual: u64,
    /// Before the output.
    pub output: u64,
    /// Before the offsets and the mask of a deformable convolution.
    pub deformation: [u64; 2],
    /// After each of them.
    pub after: u64,
}

impl Placement {
    /// Everything at the very start of its buffer (with guard zones behind), weights from the host.
    pub const START: Self = Self { input: 0, weight: None, residual: 0, output: 0, deformation: [0, 0], after: 323 };

    /// One of many placements: over a run of numbers every remainder of the offset alignment occurs.
    pub const fn numbered(number: u64) -> Self {
        let number = number % 1_000_003;
        Self {
            input: 1 + number * 7 % 131,
            weight: if number % 2 == 1 { Some(1 + number * 5 % 67) } else { None },
            residual: 1 + number * 13 % 71,
            output: 1 + number * 11 % 137,
            deformation: [1 + number * 17 % 73, 1 + number * 3 % 69],
            after: 323,
        }
    }
}

/// Runs problems on an engine, everything forced.
#[derive(Debug, Clone)]
pub struct Runner {
    engine: Engine,
}

impl Runner {
    /// A runner on this engine.
    pub fn new(engine: &Engine) -> Self {
        Self { engine: engine.clone() }
    }

    /// The engine that it runs on.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The units that accept the problem, and those that refuse it.
    pub fn units(&self, problem: &Problem) -> (Vec<Unit>, Vec<Refusal>) {
        let (mut units, mut refusals) = (Vec::new(), Vec::new());
        for unit in Unit::all() {
            match select(problem, self.engine.capabilities(), &unit.options()) {
                Err(Error::Refused { refusal: reason, .. } | Error::NoKernel { refusals: reason, .. }) => {
                    refusals.push(Refusal { unit, reason });
                }
                // Any other error is no refusal: planning reports it, and the unit fails.
                Ok(_) | Err(_) => units.push(unit),
            }
        }
        (units, refusals)
    }

    /// Plans a problem with everything forced.
    ///
    /// # Errors
    /// What planning says; [`Error::Internal`] if the plan is not the one that was asked for.
    #[cfg(not(target_family = "wasm"))]
    pub fn plan(&self, problem: &Problem, unit: &Unit) -> Result<Plan> {
        pollster::block_on(self.planned(problem, unit))
    }

    async fn planned(&self, problem: &Problem, unit: &Unit) -> Result<Plan> {
        let plan = self.engine.plan(problem, &unit.options()).await?;
        let actual = Unit { kernel: plan.kernel(), variant: plan.variant(), checks: plan.checks() };
        if actual != *unit {
            return Err(Error::Internal(format!("{unit:?} was forced, and the plan has {actual:?}")));
        }
        Ok(plan)
    }

    /// Uploads a problem's tensors, once for all units.
    ///
    /// # Errors
    /// What uploading says.
    pub fn stage<'a>(&self, problem: &Problem, data: &'a ProblemData, placement: Placement) -> Result<Stage<'a>> {
        data.tensors().check(problem)?;
        let dtype = problem.output_dtype();
        let upload = |label: &str, values: &[f32], before: u64, dtype: DType| {
            Span::upload(&self.engine, label, values, before, placement.after, dtype)
        };
        let optional = |label: &str, values: &Option<Vec<f32>>, before: u64| {
            values.as_deref().map(|values| upload(label, values, before, dtype)).transpose()
        };
        let output_len = problem.output_len();
        // Read back in whole words.
        let after = output_len + placement.after;
        let whole = (placement.output + after).next_multiple_of(4 / dtype.size());
        let output = guarded(&[], placement.output, whole - placement.output, dtype);
        Ok(Stage {
            engine: self.engine.clone(),
            input: upload("check input", &data.input, placement.input, problem.dtype())?,
            // Weights are copied, in whole words.
            weight: placement
                .weight
                .map(|before| {
                    let dtype = problem.weight_dtype();
                    upload("check weight", &data.weight, before * 4 / dtype.size(), dtype)
                })
                .transpose()?,
            residual: optional("check residual", &data.residual, placement.residual)?,
            offset: optional("check offset", &data.offset, placement.deformation[0])?,
            mask: optional("check mask", &data.mask, placement.deformation[1])?,
            output: Span {
                buffer: self.engine.buffer_from_as("check output", &output, dtype)?,
                before: placement.output,
                length: output_len,
                dtype,
            },
            blank: self.engine.buffer_from_as("check blank output", &output, dtype)?,
            weights: HashMap::new(),
            data,
        })
    }

    /// [`Runner::plan`], [`Runner::stage`] and [`Stage::run`] in one call, for a single unit.
    ///
    /// # Errors
    /// What those say.
    #[cfg(not(target_family = "wasm"))]
    pub fn run(&self, problem: &Problem, data: &ProblemData, unit: &Unit, placement: Placement) -> Result<Outcome> {
        pollster::block_on(self.outcome(problem, data, unit, placement))
    }

    /// [`Runner::run`] where nothing may block: in a browser.
    ///
    /// # Errors
    /// As [`Runner::run`].
    pub async fn outcome(
        &self,
        problem: &Problem,
        data: &ProblemData,
        unit: &Unit,
        placement: Placement,
    ) -> Result<Outcome> {
        let plan = self.planned(problem, unit).await?;
        self.stage(problem, data, placement)?.outcome(&plan).await
    }
}

/// A tensor within a larger buffer.
#[derive(Debug)]
struct Span {
    buffer: Buffer,
    /// Elements before it.
    before: u64,
    /// Its own elements.
    length: u64,
    dtype: DType,
}

impl Span {
    fn upload(engine: &Engine, label: &str, values: &[f32], before: u64, after: u64, dtype: DType) -> Result<Self> {
        let buffer = engine.buffer_from_as(label, &guarded(values, before, after, dtype), dtype)?;
        Ok(Self { buffer, before, length: values.len() as u64, dtype })
    }

    fn slice(&self) -> BufferSlice<'_> {
        let size = self.dtype.size();
        self.buffer.slice(self.before * size..(self.before + self.length) * size)
    }
}

/// `values` with elements of the pattern before and after them.
fn guarded(values: &[f32], before: u64, after: u64, dtype: DType) -> Vec<f32> {
    let pattern = |count: u64| std::iter::repeat_n(pattern(dtype), count as usize);
    pattern(before).chain(values.iter().copied()).chain(pattern(after)).collect()
}

/// A problem's tensors on the GPU, ready for any number of plans of that problem.
#[derive(Debug)]
pub struct Stage<'a> {
    engine: Engine,
    data: &'a ProblemData,
    input: Span,
    weight: Option<Span>,
    residual: Option<Span>,
    offset: Option<Span>,
    mask: Option<Span>,
    output: Span,
    /// What the output buffer holds before each run.
    blank: Buffer,
    /// Packed once for each packing, and for each mode, so that the packing shaders run in both.
    weights: HashMap<(Packing, Checks), Weights>,
}

impl Stage<'_> {
    /// Binds the plan to the staged buffers and runs it twice.
    ///
    /// # Errors
    /// What packing, binding, running and reading back say.
    #[cfg(not(target_family = "wasm"))]
    pub fn run(&mut self, plan: &Plan) -> Result<Outcome> {
        pollster::block_on(self.outcome(plan))
    }

    async fn outcome(&mut self, plan: &Plan) -> Result<Outcome> {
        let key = (plan.packing(), plan.checks());
        if !self.weights.contains_key(&key) {
            let packed = self.pack(plan).await?;
            self.weights.insert(key, packed);
        }
        let weights = self.weights.get(&key).ok_or_else(|| Error::Internal("packed weights are gone".into()))?;
        let mut buffers = Buffers::new(self.input.slice(), self.output.slice());
        if let Some(residual) = &self.residual {
            buffers = buffers.residual(residual.slice());
        }
        if let Some(offset) = &self.offset {
            buffers = buffers.offset(offset.slice());
        }
        if let Some(mask) = &self.mask {
            buffers = buffers.mask(mask.slice());
        }
        let bound = plan.bind(weights, &buffers).await?;
        let first = self.execute(&bound).await?;
        let second = self.execute(&bound).await?;
        let Span { before, length, dtype, .. } = self.output;
        Ok(Outcome::read([&first, &second], before as usize, length as usize, dtype))
    }

    async fn pack(&self, plan: &Plan) -> Result<Weights> {
        let mut weights = WeightData::from(&self.data.tensors());
        if let Some(weight) = &self.weight {
            weights.weight = weight.slice().into();
        }
        plan.weights(&weights).await
    }

    /// Runs once on a blank output, and reads the whole output buffer.
    async fn execute(&self, bound: &Bound) -> Result<Vec<f32>> {
        let device = self.engine.device();
        let mut encoder =
            device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("check blank output") });
        encoder.copy_buffer_to_buffer(&self.blank, 0, &self.output.buffer, 0, self.blank.size());
        self.engine.queue().submit([encoder.finish()]);
        bound.submit().await?;
        self.engine.read_as(self.output.buffer.slice(..), self.output.dtype).await
    }
}

/// What a run left in the output buffer.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The outputs.
    pub output: Vec<f32>,
    /// What is wrong with the run as such, whatever the values are: a guard zone was changed, an output was not
    /// written, or a second run gave other bits.
    pub defect: Option<String>,
}

impl Outcome {
    /// Takes apart the output buffer as two runs left it.
    fn read([first, second]: [&[f32]; 2], before: usize, length: usize, dtype: DType) -> Self {
        let output = first.get(before..before + length).unwrap_or_default().to_vec();
        let defect = defect(first, before, length, dtype).or_else(|| {
            let differing = first.iter().zip(second).position(|(a, b)| a.to_bits() != b.to_bits())?;
            Some(format!(
                "the second run gave other bits: {} became {} at output element {}",
                first[differing],
                second[differing],
                differing as i64 - before as i64
            ))
        });
        Self { output, defect }
    }
}

/// The first thing that is wrong with an output buffer, whatever its values are.
fn defect(buffer: &[f32], before: usize, length: usize, dtype: DType) -> Option<String> {
    let end = before + length;
    if buffer.len() < end {
        return Some(format!("{} elements were read back instead of at least {end}", buffer.len()));
    }
    // As it is once it is back on the host.
    let pattern = dtype.round(pattern(dtype)).to_bits();
    let untouched = |value: &f32| value.to_bits() == pattern;
    if let Some(index) = buffer[..before].iter().rposition(|value| !untouched(value)) {
        return Some(format!("element {} before the output was overwritten with {}", before - index, buffer[index]));
    }
    if let Some(index) = buffer[end..].iter().position(|value| !untouched(value)) {
        return Some(format!("element {} after the output was overwritten with {}", index + 1, buffer[end + index]));
    }
    if dtype.size() == 1 {
        return None;
    }
    let missing = buffer[before..end].iter().filter(|value| untouched(value)).count();
    let first = buffer[before..end].iter().position(untouched)?;
    Some(format!("{missing} of {length} outputs were not written, the first of them element {first}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: usize = 3;

    fn buffer() -> Vec<f32> {
        guarded(&[1.0, -0.0, 3.0], BEFORE as u64, 2, DType::F32)
    }

    fn defect_of(buffer: &[f32]) -> Option<String> {
        Outcome::read([buffer, buffer], BEFORE, 3, DType::F32).defect
    }

    #[test]
    fn a_good_run_has_no_defect() {
        let outcome = Outcome::read([&buffer(), &buffer()], BEFORE, 3, DType::F32);
        assert_eq!(outcome, Outcome { output: vec![1.0, -0.0, 3.0], defect: None });
    }

    #[test]
    fn a_write_on_either_side_shows() {
        for (index, words) in
            [(0, "3 before"), (2, "1 before"), (6, "1 after"), (7, "2 after")].map(|(i, w)| (i, format!("element {w}")))
        {
            for value in [0.5, f32::NAN] {
                let mut buffer = buffer();
                buffer[index] = value;
                let defect = defect_of(&buffer).unwrap();
                assert!(defect.contains(&words), "{defect}");
            }
        }
    }

    #[test]
    fn an_output_that_was_not_written_shows() {
        let mut buffer = buffer();
        buffer[4] = f32::from_bits(PATTERN);
        assert!(defect_of(&buffer).unwrap().contains("1 of 3 outputs were not written, the first of them element 1"));
        // A kernel's own NaN is a value; the comparison deals with it.
        buffer[4] = f32::NAN;
        assert_eq!(defect_of(&buffer), None);
    }

    #[test]
    fn other_bits_in_a_second_run_show() {
        let mut second = buffer();
        second[4] = 0.0;
        let defect = Outcome::read([&buffer(), &second], BEFORE, 3, DType::F32).defect.unwrap();
        assert!(defect.contains("second run") && defect.contains("element 1"), "{defect}");
    }

    #[test]
    fn a_short_buffer_is_a_defect() {
        assert!(defect_of(&buffer()[..4]).unwrap().contains("4 elements"));
    }

    #[test]
    fn no_outputs_are_no_defect() {
        let buffer = guarded(&[], 4, 4, DType::F32);
        assert_eq!(Outcome::read([&buffer, &buffer], 4, 0, DType::F32), Outcome { output: Vec::new(), defect: None });
    }

    #[test]
    fn placements_reach_every_remainder() {
        let offsets: Vec<Placement> = (0..300).map(Placement::numbered).collect();
        for remainder in 0..64 {
            assert!(offsets.iter().any(|p| p.input % 64 == remainder), "input {remainder}");
            assert!(offsets.iter().any(|p| p.output % 64 == remainder), "output {remainder}");
        }
        assert!(offsets.iter().any(|p| p.weight.is_none()) && offsets.iter().any(|p| p.weight.is_some()));
    }

    #[test]
    fn every_variant_is_a_unit_in_both_modes() {
        let units = Unit::all();
        assert_eq!(units.len(), 2 * Kernel::ALL.iter().map(|kernel| kernel.variants().len()).sum::<usize>());
    }
}

//! Problems with whole numbers, whose results must be equal to the reference. In a test file:
//! `#[path = "common/exact.rs"] mod exact;`.

// Each test binary uses a part of this.
#![allow(dead_code)]

use wgpu_conv::{Bound, Buffers, Checks, Engine, Kernel, Plan, PlanOptions, Problem, WeightData, Weights, wgpu};
use wgpu_conv_check::{DataKind, ProblemData};

/// A NaN that no arithmetic produces: it marks what nobody may write or use.
pub const GUARD: f32 = f32::from_bits(0x7fc5_a5a5);

/// A problem, whole numbers for it, and what must come out.
pub struct Case {
    pub problem: Problem,
    pub data: ProblemData,
    pub expected: Vec<f32>,
}

impl Case {
    pub fn new(text: &str) -> Self {
        let problem: Problem = text.parse().unwrap();
        let data = ProblemData::generate(&problem, DataKind::Integers, 7).unwrap();
        assert!(data.exact, "{text} can be computed exactly");
        Self::with(problem, data)
    }

    /// The case with a residual of one's own.
    pub fn with_residual(&self, residual: &[f32]) -> Self {
        let data = ProblemData { residual: Some(residual.to_vec()), ..self.data.clone() };
        Self::with(self.problem, data)
    }

    fn with(problem: Problem, data: ProblemData) -> Self {
        let expected = data.reference(&problem).unwrap().values.iter().map(|&value| value as f32).collect();
        Self { problem, data, expected }
    }

    pub fn weight_data(&self) -> WeightData<'_> {
        let mut data = WeightData::new(&self.data.weight);
        data.bias = self.data.bias.as_ref().map(Into::into);
        data.slopes = self.data.slopes.as_ref().map(Into::into);
        data
    }

    pub fn plan(&self, engine: &Engine, options: &PlanOptions) -> Plan {
        engine.plan_blocking(&self.problem, options).unwrap_or_else(|error| panic!("{}: {error}", self.problem))
    }

    pub fn weights(&self, plan: &Plan) -> Weights {
        plan.weights_blocking(&self.weight_data()).unwrap()
    }

    pub fn input(&self, engine: &Engine) -> wgpu::Buffer {
        engine.buffer_from("test input", &self.data.input).unwrap()
    }

    /// A buffer for the output, full of guards.
    pub fn output(&self, engine: &Engine) -> wgpu::Buffer {
        engine.buffer_from("test output", &vec![GUARD; self.expected.len()]).unwrap()
    }

    /// Everything made for this plan: the bound convolution and its output. (No residual.)
    pub fn bind(&self, plan: &Plan, engine: &Engine) -> (Bound, wgpu::Buffer) {
        let (input, output) = (self.input(engine), self.output(engine));
        let own = |data: &Option<Vec<f32>>| data.as_ref().map(|data| engine.buffer_from("test", data).unwrap());
        let (offset, mask) = (own(&self.data.offset), own(&self.data.mask));
        let mut buffers = Buffers::new(input.slice(..), output.slice(..));
        buffers.offset = offset.as_ref().map(|buffer| buffer.slice(..));
        buffers.mask = mask.as_ref().map(|buffer| buffer.slice(..));
        (plan.bind_blocking(&self.weights(plan), &buffers).unwrap(), output)
    }

    pub fn check(&self, engine: &Engine, output: &wgpu::Buffer, what: &str) {
        assert_same(&engine.read_blocking(output.slice(..)).unwrap(), &self.expected, what);
    }
}

/// Two small variants of each kernel: short to compile, with and without the configuration compiled in. Winograd's algorithm
/// keeps small whole numbers exact with tiles of two outputs, whose transforms add and halve.
pub fn forced(kernel: Kernel, checks: Checks) -> PlanOptions {
    let variant = match (kernel, checks) {
        (Kernel::Direct, Checks::Trusted) => "c4x8",
        (Kernel::Direct, Checks::Checked) => "generic-c1x4",
        (Kernel::Broadcast, Checks::Trusted) => "r4x4c1",
        (Kernel::Broadcast, Checks::Checked) => "generic-r4x4c2",
        (Kernel::Winograd, _) => "f2-m32n32k16",
        (_, Checks::Trusted) => "m32n32k16",
        (_, Checks::Checked) => "generic-m32n64k8",
    };
    PlanOptions { kernel: Some(kernel), variant: Some(variant.into()), checks: Some(checks), ..PlanOptions::default() }
}

/// The kernels that every device has.
pub fn kernels() -> impl Iterator<Item = Kernel> {
    Kernel::ALL.iter().copied().filter(|&kernel| kernel != Kernel::Matrix)
}

/// All of them, trusted and checked, and a variant with a workspace.
pub fn all_forced() -> Vec<PlanOptions> {
    let with_workspace =
        PlanOptions { variant: Some("split-m32n32k16".into()), ..forced(Kernel::Tiled, Checks::Trusted) };
    let forced = kernels().flat_map(|kernel| Checks::ALL.map(|checks| forced(kernel, checks)));
    forced.chain([with_workspace]).collect()
}

/// Equal bit by bit.
pub fn assert_same(actual: &[f32], expected: &[f32], what: &str) {
    assert_eq!(actual.len(), expected.len(), "{what}: count");
    let bits = |value: f32| if value == 0.0 { 0 } else { value.to_bits() };
    if let Some(at) = (0..actual.len()).find(|&at| bits(actual[at]) != bits(expected[at])) {
        panic!("{what}: element {at} of {} is {}; expected is {}", actual.len(), actual[at], expected[at]);
    }
}

/// A device of the test's own on the shared adapter, with these limits changed.
pub fn device(context: &wgpu_conv::Context, change: impl FnOnce(&mut wgpu::Limits)) -> (wgpu::Device, wgpu::Queue) {
    let mut required_limits = wgpu::Limits::default();
    change(&mut required_limits);
    let descriptor = wgpu::DeviceDescriptor { label: Some("test device"), required_limits, ..Default::default() };
    pollster::block_on(context.adapter.request_device(&descriptor)).unwrap()
}

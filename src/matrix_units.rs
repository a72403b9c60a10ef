//! Matrix units (tensor cores, WMMA, simdgroup matrices): what a device has of them, and the test that they pass before the
//! kernel `matrix` runs. Drivers advertise matrix units that compute wrongly, or that they do not have.

use crate::error::{Error, Result};
use crate::gpu::{Lost, map_and_copy, scoped};
use crate::shader::{Source, unrolled};

/// Matrix units as shaders see them: matrices of 16-bit floats, added up as 32-bit floats by all invocations of a subgroup
/// together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MatrixUnits {
    /// Rows and columns of the square matrices that they multiply: 8, 16 or both.
    pub sides: Vec<u32>,
    /// Invocations of a subgroup, as far as that can be known beforehand: 32 where the driver may choose it. Kernels are
    /// laid out for it, and right with any.
    pub subgroup_size: u32,
    /// Whether matrices are loaded from single numbers in workgroup memory (Metal) and not from vectors.
    pub scalar_slices: bool,
}

/// What a device needs for it.
pub(crate) const FEATURES: wgpu::Features =
    wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX.union(wgpu::Features::SHADER_F16).union(wgpu::Features::SUBGROUP);

impl MatrixUnits {
    /// What `device` can do, if its adapter has these `properties`.
    ///
    /// # Errors
    /// A sentence, if that is nothing.
    pub fn of(device: &wgpu::Device, properties: &[wgpu::CooperativeMatrixProperties]) -> Result<Self, String> {
        if properties.is_empty() {
            return Err("the engine was told of no matrix units (EngineOptions::matrix_units)".into());
        }
        let missing = FEATURES - device.features();
        if !missing.is_empty() {
            let names: Vec<_> = missing.iter_names().map(|(name, _)| name).collect();
            return Err(format!("the device was made without {}", names.join(", ")));
        }
        let mut sides: Vec<u32> = properties.iter().filter_map(side).collect();
        sides.sort_unstable();
        sides.dedup();
        if sides.is_empty() {
            let count = properties.len();
            return Err(format!(
                "of {count} kinds of matrices that the adapter has, none is 8×8×8 or 16×16×16 with 16-bit floats added up as 32-bit floats"
            ));
        }
        let info = device.adapter_info();
        let scalar_slices = info.backend == wgpu::Backend::Metal;
        Ok(Self { sides, subgroup_size: subgroup_size(info.subgroup_min_size, info.subgroup_max_size), scalar_slices })
    }

    /// What most GPUs with matrix units have, for looking at shaders without one.
    pub(crate) fn usual() -> Self {
        Self { sides: vec![8, 16], subgroup_size: 32, scalar_slices: false }
    }

    /// Multiplies known matrices of each size.
    ///
    /// # Errors
    /// What came out wrong, or why nothing came out.
    pub(crate) fn test(&self, device: &wgpu::Device, queue: &wgpu::Queue, lost: &Lost) -> Result<(), String> {
        self.sides.iter().try_for_each(|&side| {
            let source = test_source(side, self.scalar_slices).map_err(|error| error.to_string())?;
            test(device, queue, lost, side, &source)
        })
    }
}

/// The size of matrices of a kind that kernels use.
fn side(kind: &wgpu::CooperativeMatrixProperties) -> Option<u32> {
    let wgpu::CooperativeMatrixProperties { m_size, n_size, k_size, ab_type, cr_type, .. } = *kind;
    let square = m_size == n_size && n_size == k_size && [8, 16].contains(&m_size);
    let types = (ab_type, cr_type) == (wgpu::CooperativeScalarType::F16, wgpu::CooperativeScalarType::F32);
    (square && types).then_some(m_size)
}

/// 32, or what is nearest to it.
fn subgroup_size(least: u32, most: u32) -> u32 {
    let least = least.max(1);
    32.clamp(least, most.max(least))
}

/// The types of matrices of that size, for shaders.
pub(crate) fn matrix_types(side: u32) -> [(&'static str, &'static str); 3] {
    match side {
        8 => {
            [("MatrixA", "coop_mat8x8<f16, A>"), ("MatrixB", "coop_mat8x8<f16, B>"), ("MatrixC", "coop_mat8x8<f32, C>")]
        }
        _ => [
            ("MatrixA", "coop_mat16x16<f16, A>"),
            ("MatrixB", "coop_mat16x16<f16, B>"),
            ("MatrixC", "coop_mat16x16<f32, C>"),
        ],
    }
}

/// What every module with matrices begins with.
pub(crate) const ENABLE: &str = "enable f16;\nenable wgpu_cooperative_matrix;";

/// How matrices are loaded from workgroup memory.
pub(crate) const fn slices_file(scalar: bool) -> &'static str {
    if scalar { include_str!("../shaders/slices_scalar.wgsl") } else { include_str!("../shaders/slices_vector.wgsl") }
}

/// The test's WGSL, a whole module.
fn test_source(side: u32, scalar: bool) -> Result<String> {
    let mut source = Source::new(&[ENABLE, slices_file(scalar), include_str!("../shaders/matrix_test.wgsl")]);
    source.set(&[("SIDE", side.into())])?;
    source.set_types(&matrix_types(side))?;
    unrolled(&source.finish())
}

/// Products along K of the test, in matrices: the second one is added to the first one's result.
const TEST_STEPS: usize = 2;

/// Factors and result of the test, row by row: small whole numbers without any symmetry, so that every sum is exact and nothing
/// that is exchanged or left out stays unseen.
fn test_numbers(side: usize) -> [Vec<f32>; 3] {
    let depth = TEST_STEPS * side;
    let number =
        |row: usize, column: usize, salt: usize| ((row * 7 + column * 13 + row * column * salt) % 23) as f32 - 9.0;
    let a: Vec<f32> = (0..side * depth).map(|at| number(at / depth, at % depth, 3)).collect();
    let b: Vec<f32> = (0..depth * side).map(|at| number(at / side, at % side, 5)).collect();
    let product = |at: usize| (0..depth).map(|k| a[at / side * depth + k] * b[k * side + at % side]).sum();
    let c = (0..side * side).map(product).collect();
    [a, b, c]
}

/// Runs a module that multiplies the test's matrices, and compares.
fn test(device: &wgpu::Device, queue: &wgpu::Queue, lost: &Lost, side: u32, source: &str) -> Result<(), String> {
    let [a, b, expected] = test_numbers(side as usize);
    let result = wait_for(run_test(device, queue, lost, &[&a[..], &b], expected.len(), source));
    let actual = result.map_err(|error| format!("the test of matrices of {side}×{side} did not run: {error}"))?;
    let wrong = expected.iter().zip(&actual).filter(|(expected, actual)| expected != actual).count();
    match expected.iter().zip(&actual).position(|(expected, actual)| expected != actual) {
        None => Ok(()),
        Some(first) => Err(format!(
            "matrices of {side}×{side} are multiplied wrongly: {wrong} of {} elements in the test, the first in row {}, column {}: {} instead of {}",
            expected.len(),
            first / side as usize,
            first % side as usize,
            actual[first],
            expected[first]
        )),
    }
}

#[cfg(not(target_family = "wasm"))]
fn wait_for<T>(result: impl Future<Output = Result<T>>) -> Result<T> {
    pollster::block_on(result)
}

/// In browsers nobody can wait, and no adapter has matrix units.
#[cfg(target_family = "wasm")]
fn wait_for<T>(_: impl Future<Output = Result<T>>) -> Result<T> {
    Err(Error::Internal("in browsers nobody can wait for a GPU".into()))
}

async fn run_test(
    device: &wgpu::Device,
    queue: &wgpu::Queue,
    lost: &Lost,
    factors: &[&[f32]],
    outputs: usize,
    source: &str,
) -> Result<Vec<f32>> {
    lost.check()?;
    let size = 4 * outputs as u64;
    let (target, pending) = scoped(device, lost, "testing matrix units", || {
        let buffer = |size: u64, usage: wgpu::BufferUsages| {
            device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("wgpu-conv: test of matrix units"),
                size,
                usage,
                mapped_at_creation: false,
            })
        };
        let mut tensors: Vec<wgpu::Buffer> = Vec::new();
        for numbers in factors {
            let tensor = buffer(4 * numbers.len() as u64, wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST);
            queue.write_buffer(&tensor, 0, bytemuck::cast_slice(numbers));
            tensors.push(tensor);
        }
        tensors.push(buffer(size, wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC));
        let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: Some("wgpu-conv: test of matrix units"),
            source: wgpu::ShaderSource::Wgsl(source.into()),
        });
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some("wgpu-conv: test of matrix units"),
            layout: None,
            module: &module,
            entry_point: None,
            compilation_options: wgpu::PipelineCompilationOptions::default(),
            cache: None,
        });
        let entries: Vec<_> = (0..)
            .zip(&tensors)
            .map(|(binding, tensor)| wgpu::BindGroupEntry { binding, resource: tensor.as_entire_binding() })
            .collect();
        let bind_group = device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some("wgpu-conv: test of matrix units"),
            layout: &pipeline.get_bind_group_layout(0),
            entries: &entries,
        });
        let target = buffer(size, wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST);
        let mut encoder = device
            .create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("wgpu-conv: test of matrix units") });
        {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            pass.set_pipeline(&pipeline);
            pass.set_bind_group(0, &bind_group, &[]);
            pass.dispatch_workgroups(1, 1, 1);
        }
        encoder.copy_buffer_to_buffer(&tensors[factors.len()], 0, &target, 0, size);
        queue.submit([encoder.finish()]);
        target
    });
    pending.await?;
    let bytes = map_and_copy(device.clone(), lost.clone(), target).await?;
    bytes
        .chunks_exact(4)
        .map(|word| word.try_into().map(f32::from_le_bytes).map_err(|_| Error::Internal("a word of 4 bytes".into())))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_square_matrices_of_halves_added_up_in_floats() {
        use wgpu::CooperativeScalarType::{F16, F32, I32};
        let kind = |[m_size, n_size, k_size]: [u32; 3], ab_type, cr_type| wgpu::CooperativeMatrixProperties {
            m_size,
            n_size,
            k_size,
            ab_type,
            cr_type,
            saturating_accumulation: false,
        };
        assert_eq!(side(&kind([16, 16, 16], F16, F32)), Some(16));
        assert_eq!(side(&kind([8, 8, 8], F16, F32)), Some(8));
        for other in [
            kind([16, 16, 8], F16, F32),
            kind([16, 8, 16], F16, F32),
            kind([16, 16, 16], F16, F16),
            kind([16, 16, 16], F32, F32),
            kind([16, 16, 16], I32, I32),
        ] {
            assert_eq!(side(&other), None, "{other:?}");
        }
    }

    #[test]
    fn subgroups_are_laid_out_for_32_where_they_can_be() {
        let sizes = [(32, 32), (32, 64), (8, 32), (8, 8), (4, 4), (64, 64), (0, 0), (4, 128)];
        assert_eq!(sizes.map(|(least, most)| subgroup_size(least, most)), [32, 32, 32, 8, 4, 64, 1, 32]);
    }

    #[test]
    fn the_test_tells_rows_from_columns() {
        for side in [8, 16] {
            let [a, b, c] = test_numbers(side);
            let different = |numbers: &[f32], rows: usize| {
                let columns = numbers.len() / rows;
                (0..rows.min(columns))
                    .flat_map(|row| (0..row).map(move |column| (row, column)))
                    .filter(|&(row, column)| numbers[row * columns + column] != numbers[column * columns + row])
                    .count()
            };
            assert!(different(&a, side) > 0 && different(&b, TEST_STEPS * side) > 0 && different(&c, side) > 20);
            // All of it is exact in 16-bit floats, and as a sum in 32-bit ones.
            assert!(a.iter().chain(&b).all(|number| number.abs() <= 2048.0 && number.fract() == 0.0));
            assert!(c.iter().all(|number| number.abs() < (1 << 24) as f32));
        }
    }
}

/// On a device, with modules that need no matrix units: what counts is whether a wrong product is noticed.
#[cfg(all(test, feature = "context"))]
mod device_tests {
    use super::*;
    use crate::context::{Context, ContextOptions};
    use crate::{Engine, EngineOptions, Kernel, PlanOptions, Problem};

    /// Multiplies the test's matrices in plain loops.
    const PLAIN: &str = "
        @group(0) @binding(0) var<storage, read> a: array<f32>;
        @group(0) @binding(1) var<storage, read> b: array<f32>;
        @group(0) @binding(2) var<storage, read_write> c: array<f32>;
        @compute @workgroup_size(1) fn main() {
            for (var m = 0u; m < 8u; m++) { for (var n = 0u; n < 8u; n++) {
                var sum = 0.0;
                for (var k = 0u; k < 16u; k++) { sum += a[m * 16u + k] * b[k * 8u + n]; }
                c[m * 8u + n] = sum;
            } }
        }";

    fn judged(replace: &str, by: &str) -> Option<Result<(), String>> {
        let skip = std::env::var("WGPU_CONV_SKIP_GPU_TESTS").is_ok_and(|value| value == "1");
        if skip {
            return None;
        }
        let context = Context::new_blocking(&ContextOptions::default()).unwrap();
        assert!(PLAIN.contains(replace));
        let source = PLAIN.replace(replace, by);
        Some(test(&context.device, &context.queue, &Lost::default(), 8, &source))
    }

    #[test]
    fn a_right_product_passes() {
        assert!(matches!(judged("sum", "sum"), None | Some(Ok(()))));
    }

    #[test]
    fn wrong_products_fail_with_their_numbers() {
        for (right, wrong) in [
            ("a[m * 16u + k]", "a[k * 8u + m]"), // another order of A
            ("b[k * 8u + n]", "b[n * 16u + k]"), // another order of B
            ("c[m * 8u + n]", "c[n * 8u + m]"),  // another order of C
            ("k < 16u", "k < 8u"),               // nothing added to the first product
            ("k = 0u", "k = 1u"),                // one product missing
            ("n < 8u", "n < 7u"),                // a column not written
        ] {
            let Some(result) = judged(right, wrong) else { return };
            let reason = result.unwrap_err();
            assert!(reason.contains("of 64 elements") && reason.contains("instead of"), "{wrong}: {reason}");
        }
    }

    /// A device that says that it has matrix units, and runs nothing.
    fn boasting() -> (Engine, Problem) {
        let descriptor = wgpu::DeviceDescriptor {
            required_features: FEATURES,
            // SAFETY: nothing runs on this device.
            experimental_features: unsafe { wgpu::ExperimentalFeatures::enabled() },
            ..wgpu::DeviceDescriptor::default()
        };
        let (device, queue) = wgpu::Device::noop(&descriptor);
        let kind = wgpu::CooperativeMatrixProperties {
            m_size: 16,
            n_size: 16,
            k_size: 16,
            ab_type: wgpu::CooperativeScalarType::F16,
            cr_type: wgpu::CooperativeScalarType::F32,
            saturating_accumulation: false,
        };
        let options = EngineOptions::default().matrix_units(vec![kind]);
        (Engine::with_options(&device, &queue, options), "n8c64h56w56o64k3p1:f16".parse().unwrap())
    }

    #[test]
    fn units_that_fail_the_test_are_not_used_and_the_plan_says_why() {
        let Some(wrong) = judged("n < 8u", "n < 7u") else { return };
        let reason = wrong.clone().unwrap_err();
        let (engine, problem) = boasting();
        let capabilities = engine.tested_capabilities(|_| wrong);
        assert_eq!(capabilities.matrix_units, Err(reason.clone()));
        let plan = engine.plan_blocking(&problem, &PlanOptions::default()).unwrap();
        assert_ne!(plan.kernel(), Kernel::Matrix);
        assert!(plan.explain().contains(&format!("matrix x16-m64n64: no, {reason}")), "{}", plan.explain());
        let forced = PlanOptions { kernel: Some(Kernel::Matrix), ..PlanOptions::default() };
        let error = engine.plan_blocking(&problem, &forced).unwrap_err().to_string();
        assert!(error.contains(&reason), "{error}");
    }

    #[test]
    fn units_that_pass_the_test_are_used() {
        let Some(right) = judged("sum", "sum") else { return };
        let (engine, problem) = boasting();
        let capabilities = engine.tested_capabilities(|_| right);
        assert_eq!(capabilities.matrix_units.as_ref().map(|units| &units.sides[..]), Ok(&[16][..]));
        let plan = engine.plan_blocking(&problem, &PlanOptions::default()).unwrap();
        let forced = PlanOptions { kernel: Some(Kernel::Matrix), ..PlanOptions::default() };
        assert_eq!(engine.plan_blocking(&problem, &forced).unwrap().kernel(), Kernel::Matrix);
        assert!(plan.explain().contains("matrix x16-m64n64: estimated cost"), "{}", plan.explain());
    }

    /// Nothing that was not computed passes for a right result.
    #[test]
    fn a_device_that_computes_nothing_fails_the_test() {
        let (engine, _) = boasting();
        let reason = engine.capabilities().matrix_units.clone().unwrap_err();
        assert!(reason.contains("multiplied wrongly") || reason.contains("did not run"), "{reason}");
    }

    #[test]
    fn what_does_not_compile_fails_with_the_reason() {
        let Some(result) = judged("var sum", "let sum") else { return };
        assert!(result.unwrap_err().contains("did not run"));
    }
}

//! A WGSL module taken through naga as wgpu's back ends do it: read, validated, and written in every shading language.
//! Shared by `tests/shaders.rs` and the unit tests of the kernels: `#[path = "…/common/wgsl.rs"] mod wgsl;`.

use naga::back::{hlsl, msl, spv};
use naga::proc::{BoundsCheckPolicies, BoundsCheckPolicy};
use naga::valid::{Capabilities, ModuleInfo, ShaderStages, ValidationFlags, Validator};

/// Reads and validates a module without any optional capability but what 16-bit floats and matrices take, where a module has
/// them: these shaders declare no other, so they may use no other.
pub fn validate(source: &str) -> Result<(naga::Module, ModuleInfo), String> {
    let module = naga::front::wgsl::parse_str(source).map_err(|error| error.emit_to_string(source))?;
    let mut capabilities = Capabilities::empty();
    capabilities.set(Capabilities::SHADER_FLOAT16, source.starts_with("enable f16;"));
    capabilities.set(
        Capabilities::SHADER_FLOAT16_IN_FLOAT32,
        ["fn half_bits", "fn half_of_weight", "array<vec2u>", "input: array<u32>"]
            .iter()
            .any(|part| source.contains(part)),
    );
    let mut validator = Validator::new(ValidationFlags::all(), capabilities);
    if has_matrices(source) {
        let capabilities = capabilities | Capabilities::COOPERATIVE_MATRIX | Capabilities::SUBGROUP;
        validator = Validator::new(ValidationFlags::all(), capabilities);
        validator.subgroup_stages(ShaderStages::COMPUTE);
    }
    let info = validator.validate(&module).map_err(|error| error.emit_to_string(source))?;
    Ok((module, info))
}

/// Whether a module computes on matrix units.
fn has_matrices(source: &str) -> bool {
    source.contains("enable wgpu_cooperative_matrix;")
}

/// Validates a module and writes it as SPIR-V, MSL and HLSL (which has no matrix units), each without and with wgpu's run-time checks.
pub fn translate(source: &str) -> Result<naga::Module, String> {
    let (module, info) = validate(source)?;
    for checked in [false, true] {
        let in_mode = |message: String| format!("{} checks: {message}", if checked { "with" } else { "without" });
        spir_v(&module, &info, checked).map_err(in_mode)?;
        // Metal has matrices since version 2.3 of its language.
        let version = if has_matrices(source) { (2, 3) } else { (2, 0) };
        metal(&module, &info, checked, version).map_err(in_mode)?;
        if !has_matrices(source) {
            direct3d(&module, &info, checked).map_err(in_mode)?;
        }
    }
    Ok(module)
}

fn policies(checked: bool) -> BoundsCheckPolicies {
    let policy = if checked { BoundsCheckPolicy::Restrict } else { BoundsCheckPolicy::Unchecked };
    BoundsCheckPolicies { index: policy, buffer: policy, image_load: policy, binding_array: policy }
}

fn spir_v(module: &naga::Module, info: &ModuleInfo, checked: bool) -> Result<(), String> {
    const MAGIC: u32 = 0x0723_0203;
    let options = spv::Options {
        lang_version: (1, 3),
        bounds_check_policies: policies(checked),
        force_loop_bounding: checked,
        zero_initialize_workgroup_memory: spv::ZeroInitializeWorkgroupMemoryMode::None,
        ..Default::default()
    };
    let entry = spv::PipelineOptions { shader_stage: naga::ShaderStage::Compute, entry_point: "main".into() };
    let words =
        spv::write_vec(module, info, &options, Some(&entry)).map_err(|error| format!("writing SPIR-V: {error}"))?;
    if words.first() == Some(&MAGIC) { Ok(()) } else { Err("what was written is not SPIR-V".into()) }
}

fn metal(module: &naga::Module, info: &ModuleInfo, checked: bool, lang_version: (u8, u8)) -> Result<(), String> {
    let options = msl::Options {
        lang_version,
        bounds_check_policies: policies(checked),
        force_loop_bounding: checked,
        zero_initialize_workgroup_memory: false,
        ..Default::default()
    };
    let (text, translation) = msl::write_string(module, info, &options, &msl::PipelineOptions::default())
        .map_err(|error| format!("writing MSL: {error}"))?;
    if let Some(error) = translation.entry_point_names.iter().find_map(|name| name.as_ref().err()) {
        return Err(format!("writing MSL: {error}"));
    }
    if text.contains("kernel void") { Ok(()) } else { Err(format!("there is no kernel in the MSL:\n{text}")) }
}

fn direct3d(module: &naga::Module, info: &ModuleInfo, checked: bool) -> Result<(), String> {
    let options = hlsl::Options {
        restrict_indexing: checked,
        force_loop_bounding: checked,
        zero_initialize_workgroup_memory: false,
        ..Default::default()
    };
    let mut text = String::new();
    let reflection = hlsl::Writer::new(&mut text, &options, &hlsl::PipelineOptions::default())
        .write(module, info, None)
        .map_err(|error| format!("writing HLSL: {error}"))?;
    if let Some(error) = reflection.entry_point_names.iter().find_map(|name| name.as_ref().err()) {
        return Err(format!("writing HLSL: {error}"));
    }
    if text.contains("numthreads") { Ok(()) } else { Err(format!("there is no entry point in the HLSL:\n{text}")) }
}

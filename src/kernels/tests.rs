//! What cannot be seen from outside: shaders for tensors that share a buffer, and that host and WGSL speak of the same
//! constants.

use super::modules::{COMMON, USUAL_SUBGROUP};
use super::*;
use crate::dtype::DType;
use crate::lowered::tests::one;
use crate::shader::unrolled;

#[path = "../../tests/common/wgsl.rs"]
pub(crate) mod wgsl;

const ACCESSES: [Access; 3] = [Access::Separate, Access::SharedBuffer, Access::ThroughOutput];

fn problems() -> [Lowered; 4] {
    ["c3h9w9o5k3p1", "c4h9w9o8k2s2g2:reflect:nobias+residual", "c3h9w9o5k3+residual+prelu", "c3z5h9w9o5k3p1s2"].map(one)
}

/// The first pass of a transposed convolution.
fn transposed() -> Lowered {
    crate::lowered::passes(&"c3h9w9o5k4s2p1:transposed".parse().unwrap()).unwrap()[0]
}

/// Whether the module may write the storage variable.
fn is_writable(module: &naga::Module, name: &str) -> bool {
    let (_, variable) = module.global_variables.iter().find(|(_, v)| v.name.as_deref() == Some(name)).unwrap();
    let naga::AddressSpace::Storage { access } = variable.space else { panic!("{name} is a storage buffer") };
    access.contains(naga::StorageAccess::STORE)
}

#[test]
fn shaders_for_every_kind_of_sharing_are_taken_by_every_back_end() {
    for (number, choice) in Choice::all().enumerate() {
        for (index, (input, residual)) in ACCESSES.iter().flat_map(|&i| ACCESSES.map(|r| (i, r))).enumerate() {
            // Problems take turns, and so do sums in one part and in several.
            let problem = &problems()[(number + index / 3) % 4];
            let name = format!("{} {} for {problem:?}, {input:?}, {residual:?}", choice.kernel, choice.name());
            let source = unrolled(
                &choice
                    .source(
                        problem,
                        &Build { aliasing: Aliasing { input, residual }, split: index % 2 == 1, ..Build::default() },
                    )
                    .unwrap(),
            )
            .unwrap();
            let module = wgsl::translate(&source).unwrap_or_else(|message| panic!("{name}: {message}"));
            assert_eq!(is_writable(&module, "input"), input == Access::SharedBuffer, "{name}");
            assert_eq!(is_writable(&module, "residual"), residual == Access::SharedBuffer, "{name}");
            assert!(is_writable(&module, "output") && !is_writable(&module, "weight"), "{name}");
        }
    }
}

#[test]
fn every_kind_of_storage_is_taken_by_every_back_end() {
    for (number, choice) in Choice::all().enumerate() {
        for storage in [Storage::Halves, Storage::PackedHalves] {
            // Matrix units take neither halves out of words nor what is prepared.
            let on_units = choice.kernel == Kernel::Matrix;
            if on_units && storage == Storage::PackedHalves {
                continue;
            }
            // Of a deformable convolution, whose input is prepared as 32-bit floats, too.
            let prepared = if number % 3 == 0 && !on_units { one("c3h9w9o5k3p1:deform:mask").prepare } else { None };
            let pass = Lowered { dtype: DType::F16, prepare: prepared, ..problems()[number % 4] };
            let partial = choice.workspace_of(&pass) > 0 || storage.needs_workspace(number % 2 == 1);
            let build = Build { storage, partial, split: number % 2 == 1, ..Build::default() };
            let mut sources = vec![
                choice.source(&pass, &build).unwrap(),
                pack_source(choice.packing(), Some(&pass), pass.dtype).unwrap(),
            ];
            sources.extend(partial.then(|| reduce_source(&pass, Access::Separate, storage).unwrap()));
            let input_is_wide = sources[0].contains("alias InputElement = f32;");
            assert_eq!(input_is_wide, prepared.is_some(), "{} {} {storage:?}", choice.kernel, choice.name());
            for source in sources {
                let name = format!("{} {} {storage:?}", choice.kernel, choice.name());
                wgsl::translate(&unrolled(&source).unwrap()).unwrap_or_else(|message| panic!("{name}: {message}"));
            }
        }
    }
}

#[test]
fn every_kind_of_sharing_is_another_shader() {
    // The whole source is the key of a pipeline, whose bind group layout depends on the kind of sharing.
    for choice in Choice::all() {
        let [_, problem, ..] = problems();
        let mut sources: Vec<String> = ACCESSES
            .iter()
            .flat_map(|&input| ACCESSES.map(|residual| Aliasing { input, residual }))
            .map(|aliasing| choice.source(&problem, &Build { aliasing, ..Build::default() }).unwrap())
            .collect();
        sources.sort();
        sources.dedup();
        assert_eq!(sources.len(), 9, "{} {}", choice.kernel, choice.name());
    }
}

/// Names of the constants whose value in the file is a plain number or truth value: the ones to be set by the host.
fn settable(source: &str) -> Vec<&str> {
    let mut names: Vec<&str> = source
        .lines()
        .filter_map(|line| line.strip_prefix("const ")?.split_once(": "))
        .filter(|(_, rest)| {
            let value = rest.split(" = ").nth(1).unwrap_or_default().trim_end_matches(';');
            ["true", "false"].contains(&value) || value.trim_end_matches('u').parse::<u32>().is_ok()
        })
        .map(|(name, _)| name)
        .collect();
    names.sort_unstable();
    names
}

#[test]
fn the_host_sets_every_constant_of_a_kernel() {
    for choice in Choice::all() {
        let recipe = choice.kernel.recipe();
        let constants = recipe.constants(&problems()[0], choice.variant, &Build::default());
        let mut set: Vec<&str> = constants.iter().map(|(name, _)| *name).collect();
        set.sort_unstable();
        assert_eq!(set, settable(recipe.source(choice.variant)), "{} {}", choice.kernel, choice.name());
    }
}

#[test]
fn the_host_sets_every_common_constant() {
    // The generic variants leave those of the configuration at what the file has: no code of theirs depends on them.
    let [_, problem, ..] = problems();
    let choice = Kernel::Direct.variant("c4x8").unwrap();
    let source = choice.source(&problem, &Build::default()).unwrap();
    for line in [
        "const GENERIC: bool = false;",
        "const KERNEL_H: u32 = 2u;",
        "const KERNEL_W: u32 = 2u;",
        "const STRIDE_H: u32 = 2u;",
        "const STRIDE_W: u32 = 2u;",
        "const DILATION_H: u32 = 1u;",
        "const DILATION_W: u32 = 1u;",
        "const PADDING_MODE: u32 = 1u;",
        "const DEEP: bool = false;",
        "const INPUT_DENSE: bool = true;",
        "const OUTPUT_DENSE: bool = true;",
        "const ACTIVATION: u32 = 0u;",
        "const HAS_BIAS: bool = false;",
        "const HAS_RESIDUAL: bool = true;",
        "const INPUT_IN_OUTPUT: bool = false;",
        "const RESIDUAL_IN_OUTPUT: bool = false;",
        "const SPLIT: bool = false;",
        "const PARTIAL: bool = false;",
    ] {
        assert!(source.contains(&format!("\n{line}\n")), "{line}");
    }
    assert_eq!(settable(COMMON).len(), 18, "a new constant belongs into the list above");
}

#[test]
fn workgroup_memory_is_what_the_host_says() {
    for choice in Choice::all() {
        let source = unrolled(&choice.source(&problems()[0], &Build::default()).unwrap()).unwrap();
        let (module, info) = wgsl::validate(&source).unwrap();
        let mut layouter = naga::proc::Layouter::default();
        layouter.update(module.to_ctx()).unwrap();
        let bytes: u32 = module
            .global_variables
            .iter()
            .filter(|(_, variable)| variable.space == naga::AddressSpace::WorkGroup)
            .map(|(_, variable)| layouter[variable.ty].size)
            .sum();
        let (size, expected) = choice.kernel.recipe().workgroup(choice.variant, USUAL_SUBGROUP);
        let name = format!("{} {}", choice.kernel, choice.name());
        assert_eq!(bytes, expected, "{name}");
        assert_eq!(module.entry_points[0].workgroup_size, [size[0], size[1], 1], "{name}");
        drop(info);
    }
}

#[test]
fn the_addition_of_partial_sums_is_taken_by_every_back_end() {
    for problem in problems().into_iter().chain([transposed()]) {
        for residual in ACCESSES {
            let source = reduce_source(&problem, residual, Storage::Words).unwrap();
            let module =
                wgsl::translate(&source).unwrap_or_else(|message| panic!("{problem:?}, {residual:?}: {message}"));
            assert_eq!(is_writable(&module, "residual"), residual == Access::SharedBuffer);
            let [size, ..] = module.entry_points[0].workgroup_size;
            assert_eq!(u64::from(size), REDUCE_WORKGROUP);
        }
    }
}

#[test]
fn split_sums_are_covered_once() {
    let choice = Kernel::Tiled.variant("split-m64n64k8").unwrap();
    // (problem, workgroups that share a sum, positions along K of each)
    for (text, splits, length) in [
        // 49 tiles, 72 slices of 8.
        ("c64h56w56o64k3p1", 6, 96),
        // 4 · 4 tiles, 288 slices.
        ("c256h14w14o256k3p1", 16, 144),
        // One tile, 9 slices: 4 for each at least.
        ("c8h6w6o8k3", 2, 40),
        // Enough tiles, or too short a sum: nothing to share.
        ("c64h256w256o64k3p1", 1, 576),
        ("c6h6w6o8k3", 1, 56),
        // One tile, 63 slices: of 15 parts the last two would have none.
        ("c56h6w6o8k3", 13, 40),
    ] {
        let pass = one(text);
        let tiling = choice.tiling(&pass).unwrap();
        assert_eq!((tiling.splits, tiling.split_length), (splits, length), "{text}");
        let sum = pass.sum_length();
        assert!(u64::from(splits * length) >= sum && u64::from((splits - 1) * length) < sum, "{text}");
        assert_eq!(choice.workspace_of(&pass), u64::from(splits) * pass.outputs() * 4, "{text}");
    }
}

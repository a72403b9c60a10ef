//! Every shader that the crate can hand to wgpu is WGSL that every back end takes: read and validated by naga with no
//! capability that it does not declare, and written as SPIR-V (Vulkan), MSL (Metal) and HLSL (DX12).
//!
//! How shaders read from the output's buffer is not visible from here: see the unit tests in `src/kernels`.

use wgpu_conv::{Error, Kernel, Problem, shader_source};

#[path = "common/wgsl.rs"]
mod wgsl;

/// Each parameter that reaches the compiler, alone and with others.
const CONFIGURATIONS: [&str; 39] = [
    "c3h9w9o5k1:nobias",
    "c3h9w9o5k1",
    "c3h9w9o5k3+residual",
    "c3h9w9o5k3:nobias+residual+relu",
    "c3h9w9o5k3x1p1x0:reflect",
    "c3h9w9o5k1x3p0x1:replicate",
    "c3h9w9o5k3p1:circular",
    "c3h9w9o5k2x5s3x2p1,0,2,0",
    "c3h9w9o5k3s4d2p4",
    "c6h9w9o6k3d1x3g6",
    "c6h9w9o18k3g3:reflect+residual+prelu",
    "c1h40w40o1k7x7p3",
    // Windows of a row too wide for registers.
    "c2h9w99o4k3s9d9p9",
    // Sums long enough to be formed in blocks.
    "c600h9w9o4k3",
    "c6000h2w2o4k1",
    // Nothing to sum.
    "c0h4w4o4k3p1",
    "c3h9w9o5k3+relu",
    "c3h9w9o5k3+clip=-1,1",
    "c3h9w9o5k3+leaky_relu=0.1",
    "c3h9w9o5k3+prelu",
    "c3h9w9o5k3+sigmoid",
    "c3h9w9o5k3+tanh",
    "c3h9w9o5k3+silu",
    "c3h9w9o5k3+gelu",
    "c3h9w9o5k3+gelu_tanh",
    "c3h9w9o5k3+hard_swish",
    "c3h9w9o5k3+elu=1.5",
    "c3h9w9o5k3+hard_sigmoid=0.2,0.5",
    "c3h9w9o5k3+prelu_each",
    "c3h9w9o5k3:nhwc:hwio",
    "c3z5h9w9o5k3p1s2",
    "c3w9o5k3p1",
    "c3h9w9o5k4s2p1:transposed",
    "c3h9w9o5k3:f16+residual",
    "c3h9w9o5k3p1s2:u8_i8z_i8+relu",
    "c9h9w9o9k3g3:i8_i8_i32",
    "c300z3h9w9o5k3x1x1:i8_u8_u8",
    "c4h9w9o5k3:deform:mask",
    "c4h9w9o5k3:deform:f16+residual",
];

/// Which number of a binding is what, for people who read the shaders; the same in all of them.
fn bindings(module: &naga::Module) -> Vec<(u32, String)> {
    let mut found: Vec<(u32, String)> = module
        .global_variables
        .iter()
        .filter_map(|(_, variable)| Some((variable.binding?, variable.name.clone()?)))
        .map(|(binding, name)| {
            assert_eq!(binding.group, 0, "{name} must leave the app's other groups alone");
            (binding.binding, name)
        })
        .collect();
    found.sort();
    found
}

fn translate_all(kernel: Kernel) {
    let convolution = [
        (0, "params"),
        (1, "input"),
        // Two views of the same; a kernel uses one of them.
        (2, "weight"),
        (2, "weight_elements"),
        (3, "channel_data"),
        (4, "residual"),
        (5, "output"),
    ];
    for (place, variant) in kernel.variants().into_iter().enumerate() {
        // The first variant takes every configuration, the others take turns.
        let turn = |index: usize| place == 0 || (index + place).is_multiple_of(4);
        for (_, text) in CONFIGURATIONS.into_iter().enumerate().filter(|&(index, _)| turn(index)) {
            let problem: Problem = text.parse().unwrap();
            let name = format!("{kernel} {variant} for {text}");
            let source = shader_source(&problem, kernel, Some(variant), 0).unwrap_or_else(|e| panic!("{name}: {e}"));
            let module = wgsl::translate(&source).unwrap_or_else(|message| panic!("{name}: {message}"));
            // Integer sums go to a workspace; what becomes of them is none of a kernel's business.
            let unused: &[u32] = if problem.integers().is_some() { &[3, 4] } else { &[] };
            let expected = convolution.into_iter().filter(|(binding, _)| !unused.contains(binding));
            let expected: Vec<(u32, String)> = expected.map(|(binding, name)| (binding, name.into())).collect();
            assert_eq!(bindings(&module), expected, "{name}");
            assert_eq!(module.entry_points.len(), 1, "{name}");
        }
    }
}

#[test]
fn direct_is_taken_by_every_back_end() {
    translate_all(Kernel::Direct);
}

#[test]
fn broadcast_is_taken_by_every_back_end() {
    translate_all(Kernel::Broadcast);
}

#[test]
fn tiled_is_taken_by_every_back_end() {
    translate_all(Kernel::Tiled);
}

/// SPIR-V and MSL: nobody else has matrix units. The other halves of the kernel's tests are in `matrix.rs`.
#[test]
fn matrix_is_taken_by_every_back_end_with_matrices() {
    let takes = |text: &&str| !text.contains("8_") && !text.contains("deform");
    let mut taken = 0;
    for (place, variant) in Kernel::Matrix.variants().into_iter().enumerate() {
        for text in CONFIGURATIONS.into_iter().filter(takes).skip(place % 3).step_by(3) {
            let source = shader_source(&text.parse().unwrap(), Kernel::Matrix, Some(variant), 0).unwrap();
            wgsl::translate(&source).unwrap_or_else(|message| panic!("{variant} for {text}: {message}"));
            assert!(source.starts_with("enable f16;\nenable wgpu_cooperative_matrix;"), "{variant} for {text}");
            taken += 1;
        }
    }
    assert!(taken >= 75, "{taken} modules");
    for text in ["c4h9w9o5k3:deform:mask", "c9h9w9o9k3g3:i8_i8_i32", "c3h99w99o5k9"] {
        assert!(shader_source(&text.parse().unwrap(), Kernel::Matrix, None, 0).is_err(), "{text}");
    }
}

#[test]
fn packing_is_taken_by_every_back_end() {
    // One that every kernel takes.
    let problem: Problem = CONFIGURATIONS[2].parse().unwrap();
    for &kernel in Kernel::ALL {
        for variant in kernel.variants() {
            let source = shader_source(&problem, kernel, Some(variant), 1).unwrap();
            let module = wgsl::translate(&source).unwrap_or_else(|message| panic!("packing of {variant}: {message}"));
            assert_eq!(bindings(&module), [(0, "pack".into()), (1, "raw".into()), (2, "packed".into())]);
        }
    }
}

/// What multiplies, and the programs before it and behind it, for every configuration that the algorithm takes.
#[test]
fn winograd_is_taken_by_every_back_end() {
    let mut taken = 0;
    for text in CONFIGURATIONS {
        let problem: Problem = text.parse().unwrap();
        for variant in Kernel::Winograd.variants() {
            let name = format!("{variant} for {text}");
            let parts = (0..).map_while(|part| shader_source(&problem, Kernel::Winograd, Some(variant), part).ok());
            let modules: Vec<naga::Module> = parts
                .map(|source| wgsl::translate(&source).unwrap_or_else(|message| panic!("{name}: {message}")))
                .collect();
            let [_, _, behind, before] = &modules[..] else {
                assert!(modules.is_empty(), "{name} has {} modules", modules.len());
                continue;
            };
            let names = |module| bindings(module).into_iter().map(|(_, name)| name).collect::<Vec<_>>();
            assert_eq!(names(before), ["params", "input", "output"], "{name}");
            assert!(names(behind).contains(&"products".into()), "{name}: {:?}", names(behind));
            taken += 1;
        }
    }
    // 24 problems with three taps along an axis or two, on nine variants.
    assert_eq!(taken, 24 * 9);
}

/// The program that samples the input of a deformable convolution; it is the same for all kernels, and in all sizes.
#[test]
fn sampling_is_taken_by_every_back_end() {
    let mut sources = Vec::new();
    for text in [
        "c4h9w9o5k3:deform",
        "c4h9w9o5k3:deform:mask",
        "c4h9w9o5k3:deform:f16",
        "c4h9w9o5k3:deform:mask:f16",
        "n3c6h7w15o9k2x5s2p1d3g3:deform:offset_groups=2:mask:nhwc:hwio+relu",
    ] {
        let parts = |part| shader_source(&text.parse().unwrap(), Kernel::Direct, Some("c4x8"), part).ok();
        let all: Vec<String> = (0..).map_while(parts).collect();
        let source = all.into_iter().find(|source| source.contains("samples")).unwrap_or_else(|| panic!("{text}"));
        let module = wgsl::translate(&source).unwrap_or_else(|message| panic!("{text}: {message}"));
        let expected = [(0, "params"), (1, "input"), (2, "offset"), (3, "mask"), (5, "samples")];
        assert_eq!(bindings(&module), expected.map(|(binding, name)| (binding, name.into())), "{text}");
        assert_eq!(module.entry_points[0].workgroup_size, [256, 1, 1], "{text}");
        sources.push(source);
    }
    assert_eq!(sources[1], sources[4], "neither sizes nor orders in memory are compiled in");
    sources.sort();
    sources.dedup();
    assert_eq!(sources.len(), 4);
}

/// The programs around a convolution of integers, with every type of theirs.
#[test]
fn programs_of_integers_are_taken_by_every_back_end() {
    for text in ["c5h9w9o6k3p1:u8_i8z_i8+relu", "c5h9w9o6k3:i8_u8_u8:nhwc+prelu", "c5z3h9w9o6k3:i8_i8_i32"] {
        let problem: Problem = text.parse().unwrap();
        let windows = usize::from(text.contains("_i8z_") || text.contains("_u8_"));
        let mut seen = Vec::new();
        for part in 1..=3 + windows as u32 {
            let source = shader_source(&problem, Kernel::Direct, None, part).unwrap();
            let module = wgsl::translate(&source).unwrap_or_else(|message| panic!("{text}, part {part}: {message}"));
            seen.push(bindings(&module));
        }
        let list = |names: &[(u32, &str)]| names.iter().map(|&(at, name)| (at, name.to_string())).collect::<Vec<_>>();
        let expected = [
            list(&[(0, "pack"), (1, "raw"), (2, "packed"), (3, "weight_sums")]),
            list(&[(0, "params"), (1, "sums"), (2, "weight_sums"), (3, "quantization"), (5, "output")]),
            list(&[(0, "params"), (1, "input"), (3, "quantization"), (5, "output")]),
            list(&[(0, "params"), (1, "input"), (5, "output")]),
        ];
        assert_eq!(seen, expected[..3 + windows], "{text}");
    }
}

#[test]
fn generic_variants_are_one_shader_for_everything() {
    for &kernel in Kernel::ALL {
        for variant in kernel.variants().into_iter().filter(|variant| variant.starts_with("generic")) {
            let source = |text: &str| shader_source(&text.parse().unwrap(), kernel, Some(variant), 0).unwrap();
            // But for each type of elements.
            let usual = CONFIGURATIONS.into_iter().filter(|text| !text.contains(":f16") && !text.contains("8_"));
            for text in usual.chain(["c3h99w99o5k11x13s2d3p4+elu=2"]) {
                assert!(source(text) == source(CONFIGURATIONS[0]), "{kernel} {variant} for {text}");
            }
        }
    }
}

#[test]
fn a_new_input_size_is_no_new_shader() {
    for &kernel in Kernel::ALL {
        for variant in kernel.variants() {
            let source = |text: &str| shader_source(&text.parse().unwrap(), kernel, Some(variant), 0).unwrap();
            let small = source("n1c8h16w16o16k3p1+relu");
            assert_eq!(small, source("n3c8h99w64o16k3p1+relu"), "{kernel} {variant}: batch, rows and columns");
            // The tiled kernel reads channels in blocks, whose length is compiled in.
            assert_eq!(small, source("n1c24h16w16o9k3p1+relu"), "{kernel} {variant}: channels, in whole blocks of 8");
        }
    }
}

#[test]
fn the_checks_of_this_file_can_fail() {
    assert!(wgsl::translate("fn main() { nonsense }").is_err(), "not WGSL");
    let double = "@compute @workgroup_size(1) fn main() { var x = 1.0lf; x += 1.0lf; }";
    assert!(wgsl::translate(double).is_err(), "a capability that nobody declares");
    let half = "@compute @workgroup_size(1) fn main() { var x = unpack2x16float(1u); x += x; }";
    assert!(wgsl::translate(half).is_err(), "a capability that only modules with 16-bit tensors have");
    let beyond = "@compute @workgroup_size(1) fn main() { var x: array<f32, 2>; x[2] = 1.0; }";
    assert!(wgsl::translate(beyond).is_err(), "a constant index that is out of range");
    let no_entry = "fn helper() -> u32 { return 1u; }";
    assert!(wgsl::translate(no_entry).is_err(), "no entry point");
}

#[test]
fn what_does_not_exist_is_named() {
    let problem: Problem = "c3h9w9o5k3".parse().unwrap();
    let message = |result: Result<String, Error>| result.unwrap_err().to_string();
    let unknown = message(shader_source(&problem, Kernel::Direct, Some("m64n64k8"), 0));
    assert!(unknown.contains("m64n64k8") && unknown.contains("c4x8"), "{unknown}");
    assert!(message(shader_source(&problem, Kernel::Direct, None, 2)).contains("part"));
    let large: Problem = "c3h99w99o5k9".parse().unwrap();
    let refused = message(shader_source(&large, Kernel::Tiled, Some("m64n64k8"), 0));
    assert!(refused.contains("81 taps") && refused.contains("49"), "{refused}");
    // Without a name, the first variant that takes the problem.
    assert!(shader_source(&large, Kernel::Tiled, None, 0).unwrap().contains("const GENERIC: bool = true;"));
}

use super::*;
use crate::kernels::{Access, Build, Checks, Part, output_transform_source, reduce_source};
use crate::params::Params;

const MODES: [PaddingMode; 4] =
    [PaddingMode::Zeros, PaddingMode::Reflect, PaddingMode::Replicate, PaddingMode::Circular];

/// The padding rule of `shaders/common.wgsl`: the element that stands at a position, `None` for a zero.
fn source(position: i64, size: i64, mode: PaddingMode) -> Option<i64> {
    match mode {
        PaddingMode::Zeros => (0..size).contains(&position).then_some(position),
        PaddingMode::Reflect if position.abs() < size => Some(position.abs()),
        PaddingMode::Reflect => Some((2 * (size - 1) - position.abs()).clamp(0, size - 1)),
        PaddingMode::Replicate => Some(position.clamp(0, size - 1)),
        PaddingMode::Circular => Some(position.rem_euclid(size)),
    }
}

#[test]
fn pieces_of_a_line_meet_what_the_whole_meets() {
    let mut cut = 0;
    for (input, kernel, stride, dilation, before, after) in [
        (9_u32, 3_u32, 1_u32, 1_u32, 1_u32, 1_u32),
        (10, 3, 2, 2, 3, 2),
        (7, 2, 3, 1, 0, 0),
        (8, 5, 1, 1, 2, 6),
        (6, 1, 4, 1, 0, 0),
    ] {
        let extent = dilation * (kernel - 1) + 1;
        let output = (input + before + after - extent) / stride + 1;
        for (mode, before) in
            MODES.map(|mode| (mode, i64::from(before))).into_iter().chain([(MODES[0], -20), (MODES[0], 30)])
        {
            let line = Line { input, output, kernel, stride, dilation, before };
            for begin in 0..output {
                for end in begin + 1..=output {
                    let (piece, low) = line.piece(begin, end, mode);
                    assert!(low + piece.input <= input && piece.output == end - begin);
                    cut += usize::from(piece.input < input);
                    for (at, tap) in (0..piece.output).flat_map(|at| (0..kernel).map(move |tap| (at, tap))) {
                        let place = |at: u32, line: &Line| {
                            i64::from(at) * i64::from(stride) + i64::from(tap) * i64::from(dilation) - line.before
                        };
                        let whole = source(place(begin + at, &line), input.into(), mode);
                        let own = source(place(at, &piece), piece.input.into(), mode);
                        assert_eq!(own.map(|own| own + i64::from(low)), whole, "{line:?} {mode:?} {begin}..{end}");
                    }
                }
            }
        }
    }
    assert!(cut > 500, "{cut}");
}

fn limited(bytes: u64) -> Capabilities {
    let mut capabilities = Capabilities::baseline();
    capabilities.limits.max_storage_buffer_binding_size = bytes;
    capabilities
}

fn pieces(text: &str, kernel: Kernel, variant: &str, bytes: u64) -> Result<Vec<Lowered>, String> {
    kernel.variant(variant).unwrap().passes(&text.parse().unwrap(), &limited(bytes))
}

/// Where each output of a pass lies, and which channel it is of.
fn outputs(pass: &Lowered) -> Vec<(u64, u32)> {
    let [slices, rows, columns] = pass.lines.map(|line| line.output);
    let mut all = Vec::new();
    for image in 0..pass.batch {
        for channel in 0..pass.out_channels() {
            for (slice, row) in (0..slices).flat_map(|slice| (0..rows).map(move |row| (slice, row))) {
                for column in 0..columns {
                    let Steps { image: of_image, channel: of_channel, axes } = pass.output_steps;
                    let place =
                        [(image, of_image), (channel, of_channel), (slice, axes[0]), (row, axes[1]), (column, axes[2])];
                    let sum: u64 = place.into_iter().map(|(number, step)| u64::from(number) * step).sum();
                    all.push((pass.first_output + sum, pass.first_channel + channel));
                }
            }
        }
    }
    all
}

#[test]
fn every_output_is_of_one_piece_and_lies_in_its_window() {
    for (text, bytes) in [
        ("n5c3h9w8o6k3p1", 4096),
        ("n3c8h9w8o16k3p1g4", 1200),
        ("c3h20w20o18k3p1", 4000),
        ("c1h40w60o1k5s2p2", 2000),
        ("c3h40w60o2k5p2:reflect", 2000),
        ("n2c3h9w8o6k3p1:nhwc", 1000),
        ("n2c3h9w8o6k4s2p1:transposed", 1200),
        ("n2c3h9w8o6k4s2p1:transposed:nhwc", 1200),
        ("c1w3000o1k3", 2000),
        ("c40h3w3o30k3p1", 8000),
    ] {
        let all = pieces(text, Kernel::Direct, "generic-c1x4", bytes).unwrap();
        assert!(all.len() > 1 && all.iter().all(|piece| piece.windows.is_some()), "{text}");
        let problem: Problem = text.parse().unwrap();
        let mut found: Vec<(u64, u32)> = Vec::new();
        for piece in &all {
            let own = outputs(piece);
            let window = piece.output_window();
            assert!(own.iter().all(|(place, _)| window.contains(place)), "{text}");
            assert!((window.end - window.start) * 4 <= bytes, "{text}");
            let most = piece.windows.unwrap().min(piece.group_in);
            let read = piece.input_window(0..most);
            assert!((read.end - read.start) * 4 <= bytes && read.end <= problem.input_len(), "{text}: {read:?}");
            found.extend(own);
        }
        found.sort_unstable();
        let plane: u64 = problem.output_shape()[2..].iter().map(|&size| u64::from(size)).product();
        let channels = u64::from(problem.out_channels());
        let last = problem.layout() == Layout::Nhwc;
        let channel = |place: u64| if last { place % channels } else { place / plane % channels };
        let expected: Vec<(u64, u32)> = (0..problem.output_len()).map(|place| (place, channel(place) as u32)).collect();
        assert_eq!(found, expected, "{text}");
    }
}

/// Tensors of more than 2^32 elements: what a shader computes modulo 2^32 is the place in the window.
#[test]
fn indices_are_right_modulo_2_to_the_32() {
    for text in [
        "n9c64h4096w4096o8k3p1",
        "n3c5h65536w32768o4k3p1",
        "c3z700h3000w3000o2k3p1",
        "n3c64h8192w8192o16k1:nhwc",
        "c1w4294967290o1k1",
        "n5c16h8192w8192o16k3p1g16",
        "n2c16h20000w20000o3k2s2:transposed",
    ] {
        let problem: Problem = text.parse().unwrap();
        assert!(problem.input_len() > 1 << 32 || text.starts_with("c1w"), "{text}");
        let choice = Kernel::Direct.variant("generic-c1x4").unwrap();
        let capabilities = limited(1 << 27);
        let all = choice.passes(&problem, &capabilities).unwrap();
        choice.supports(&all, &capabilities, Checks::Trusted).unwrap();
        let mut outputs = 0;
        for pass in &all {
            let params = Params::new(pass, &choice.tiling(pass).unwrap(), 0, false);
            outputs += pass.outputs();
            let depth = choice.depth(pass, Checks::Trusted);
            let parts = choice.parts(pass, Checks::Trusted, &capabilities, 1).unwrap();
            let mut next = 0;
            for part @ Part { begin, end } in parts {
                assert_eq!(begin, next, "{text}");
                next = end;
                let channels = depth.channels(&part, pass.group_in);
                let window = pass.input_window(channels.clone());
                assert!(window.end <= problem.input_len() && (window.end - window.start) * 4 < 1 << 27, "{text}");
                // What binds the window from its first element on says where the pass's first one is.
                let offset = (pass.first_input as i64 - window.start as i64) as u32;
                let groups = if pass.groups > 1 { [0, pass.groups - 1] } else { [0, 0] };
                for (group, corner) in groups.into_iter().flat_map(|group| [(group, false), (group, true)]) {
                    let last = |size: u32| if corner { size - 1 } else { 0 };
                    let channel = if corner { channels.end - 1 } else { channels.start };
                    let [slice, row, column] = pass.lines.map(|line| last(line.input));
                    let of_group = group * pass.group_in + channel;
                    let index = [
                        (last(pass.batch), params.in_image),
                        (of_group, params.in_channel),
                        (slice, params.in_slice),
                        (row, params.in_row),
                        (column, params.in_column),
                    ]
                    .into_iter()
                    .fold(offset, |sum, (number, step)| sum.wrapping_add(number.wrapping_mul(step)));
                    assert!(u64::from(index) < window.end - window.start, "{text}: {index} in {window:?}");
                    // The corners of the last group are the ends of the window.
                    if corner && group + 1 == pass.groups {
                        assert_eq!(u64::from(index) + 1, window.end - window.start, "{text}");
                    }
                }
            }
        }
        assert_eq!(outputs, problem.output_len(), "{text}");
    }
}

/// A weight's parts follow from the weight and the limit, not from the size of the input; every channel is in one.
#[test]
fn parts_of_a_weight_do_not_depend_on_the_input() {
    // Transformed weights are larger.
    let packings = [Packing::Oihw, Packing::Blocked4, Packing::KMajor].map(|packing| (packing, 60_000));
    for (packing, small) in packings.into_iter().chain([(Packing::Winograd2, 100_000)]) {
        for groups in ["", "g2"] {
            let of = |size: &str, bytes| {
                let problem: Problem = format!("c40{size}o90k3p1{groups}").parse().unwrap();
                let parts = weight_parts(&problem, packing, &limited(bytes)).unwrap().concat();
                let places: Vec<_> =
                    parts.iter().map(|part| (part.weight.first, part.first_channel, part.share)).collect();
                let channels: u32 = parts.iter().map(Lowered::out_channels).sum();
                assert_eq!(channels, 90);
                places
            };
            let parts = of("h3w3", small);
            assert!(parts.len() > 1);
            assert_eq!(parts, of("n9h300w200", small));
            assert_eq!(of("h3w3", 1 << 22).len(), 1);
        }
    }
    let refusal = weight_parts(&"c4000h3w3o9k3".parse().unwrap(), Packing::KMajor, &limited(60_000)).unwrap_err();
    assert!(
        refusal.contains("4 output channels") && refusal.contains("576000") && refusal.contains("60000"),
        "{refusal}"
    );
}

/// Found by fuzzing. Made to the last one before they were counted, the pieces of these took half a minute, or more memory than
/// machines have.
#[test]
fn pieces_are_counted_as_they_are_made() {
    for problem in ["c31h28w2o8312k8s61:transposed", "c8000000o4000000000h1w1k1:nobias", "n1000000c1h3000w3000o1k1"] {
        for (kernel, variant) in [(Kernel::Direct, "c4x8"), (Kernel::Tiled, "m64n64k8")] {
            let refusal = pieces(problem, kernel, variant, 1 << 27).unwrap_err();
            assert!(refusal.contains("more than 4096 pieces for bindings of 134217728 bytes"), "{problem}: {refusal}");
        }
    }
}

#[test]
fn variants_that_share_pieces_would_have_made_the_same() {
    let (mut shared, mut all) = (0, 0);
    for text in [
        "n3c16h20w20o24k3p1",
        "c600h9w9o8k1+residual",
        "c8h30w30o6k3g2:nhwc",
        "c5h25w4o1k1:f16:nobias",
        "c6h9w9o4k4s2p1:transposed",
        "n2c4h8w8o4k3p1:deform:mask",
        "n2c8h12w12o12k3p1:u8_i8_i32",
    ] {
        let problem: Problem = text.parse().unwrap();
        for bytes in [2048, 4096, 16384] {
            let capabilities = limited(bytes).with_matrix_units();
            let mut splits = Splits::default();
            for choice in Choice::all() {
                let passes = choice.passes(&problem, &capabilities);
                assert_eq!(choice.passes_among(&problem, &capabilities, &mut splits), passes, "{text} {bytes}");
                let none = |pass: &Lowered| choice.has_workspace() || choice.workspace_of(pass) == 0;
                assert!(passes.iter().flatten().all(none), "{text} {bytes}");
                all += 1;
            }
            shared += splits.0.len();
        }
    }
    assert!(shared * 4 < all, "{shared} of {all}");
}

#[test]
fn stretches_are_few_and_of_whole_granules() {
    assert_eq!(chunks(10, 4, 1).collect::<Vec<_>>(), [(0, 4), (4, 8), (8, 10)]);
    assert_eq!(chunks(9, 8, 1).collect::<Vec<_>>(), [(0, 5), (5, 9)]);
    assert_eq!(chunks(18, 9, 4).collect::<Vec<_>>(), [(0, 8), (8, 16), (16, 18)]);
    assert_eq!(most_of(100, 4, |count| count <= 31), 28);
    assert_eq!(most_of(100, 1, |_| false), 1);
}

/// A plan makes the shaders of passes once that differ in their place alone.
#[test]
fn what_lies_elsewhere_has_the_same_shaders() {
    let mut same = 0;
    for (text, bytes) in [
        ("n9c3h9w8o6k3p1", 1200),
        ("c3h40w60o2k5p2", 2000),
        ("c1w3000o1k3p1", 2000),
        ("n3c8h9w8o16k3p1g4+residual+relu", 1200),
        ("n2c16h9w8o16k3p1:nhwc:f16", 2000),
        ("n5c8h9w8o8k1:reflect", 1200),
        ("n2c4h9w8o4k5s4p1:transposed", 1200),
        ("n4c4h9w8o4k3p1:deform", 4000),
        ("n3c32h9w8o32k3p1:i8_i8_i32", 6000),
    ] {
        let problem: Problem = text.parse().unwrap();
        for choice in Choice::all() {
            let Ok(passes) = choice.passes(&problem, &limited(bytes)) else { continue };
            for partial in [false, true] {
                let storage = Storage::of(problem.dtype(), false);
                let build = Build { storage, partial, ..Build::default() };
                let sources = passes.iter().filter(|pass| pass.outputs() > 0).map(|pass| {
                    let reduce = match pass.winograd {
                        Some(_) => output_transform_source(pass, Access::Separate, false),
                        None => reduce_source(pass, Access::Separate, storage),
                    };
                    let prepare = pass.prepare.as_ref().map(|prepare| prepare.source(false).unwrap());
                    let integers = problem.integers().is_some();
                    let reduce = (!integers).then(|| reduce.unwrap());
                    (pass.without_place(), [choice.source(pass, &build).ok(), reduce, prepare])
                });
                let sources: Vec<_> = sources.collect();
                for (number, (pass, texts)) in sources.iter().enumerate() {
                    let like = sources[..number].iter().rfind(|(other, _)| other == pass);
                    assert!(
                        like.is_none_or(|(_, others)| others == texts),
                        "{text}, {} {}",
                        choice.kernel,
                        choice.name()
                    );
                    same += usize::from(like.is_some());
                }
            }
        }
    }
    assert!(same > 1000, "{same}");
}

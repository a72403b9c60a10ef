//! Conversion between 32-bit and 16-bit floats on the GPU: every 16-bit float there is, rounding as the `half` crate rounds,
//! and nothing changed but the elements themselves, with and without bounds checks.

#[path = "common/gpu.rs"]
mod gpu;

use std::ops::Range;

use wgpu_conv::{Checks, DType, Elements, Engine, EngineOptions, f16, wgpu};

/// The engine of a device in both modes.
fn engines(gpu: &gpu::Gpu) -> [Engine; 2] {
    let (device, queue) = (&gpu.context().device, &gpu.context().queue);
    [Checks::Trusted, Checks::Checked]
        .map(|checks| Engine::with_options(device, queue, EngineOptions::default().checks(checks)))
}

fn buffer(engine: &Engine, bytes: &[u8]) -> wgpu::Buffer {
    let buffer = engine.device().create_buffer(&wgpu::BufferDescriptor {
        label: Some("test"),
        size: bytes.len() as u64,
        usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    });
    engine.queue().write_buffer(&buffer, 0, bytes);
    buffer
}

/// All bytes of a buffer; read as numbers, since a copy does not change their bits.
fn bytes_of(engine: &Engine, buffer: &wgpu::Buffer) -> Vec<u8> {
    let numbers = engine.read_blocking(buffer.slice(..)).unwrap();
    numbers.iter().flat_map(|number| number.to_bits().to_le_bytes()).collect()
}

fn floats(numbers: &[f32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

fn halves(bits: &[u16]) -> Vec<u8> {
    bits.iter().flat_map(|bits| bits.to_le_bytes()).collect()
}

/// What `count` elements become, from a buffer of their own into one of their own.
fn converted(engine: &Engine, count: usize, bytes: &[u8], from: DType, to: DType) -> Vec<u8> {
    let source = buffer(engine, &padded(bytes));
    let size = (count as u64 * to.size()).next_multiple_of(4);
    let destination = buffer(engine, &vec![0; size as usize]);
    let (from, to) = (Elements::new(source.slice(..), from), Elements::new(destination.slice(..), to));
    engine.convert_blocking(count as u64, from, to).unwrap();
    bytes_of(engine, &destination)
}

fn padded(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

#[test]
fn every_half_is_the_same_number_in_both_types() {
    let Some(gpu) = gpu::open() else { return };
    let all: Vec<u16> = (0..=u16::MAX).collect();
    for engine in engines(&gpu) {
        let wide = DType::F32.decode(&converted(&engine, all.len(), &halves(&all), DType::F16, DType::F32));
        for (&bits, &number) in all.iter().zip(&wide) {
            let expected = f16::from_bits(bits).to_f32();
            let same = number.to_bits() == expected.to_bits() || (number.is_nan() && expected.is_nan());
            assert!(same, "{bits:#06x} is {number:e} ({:#010x}) instead of {expected:e}", number.to_bits());
            assert_eq!(number.is_sign_negative(), expected.is_sign_negative(), "{bits:#06x}");
        }
        let narrow = converted(&engine, all.len(), &floats(&wide), DType::F32, DType::F16);
        for (bits, pair) in all.iter().zip(narrow.chunks_exact(2)) {
            let back = f16::from_le_bytes([pair[0], pair[1]]);
            let expected = f16::from_bits(*bits);
            assert!(
                back.to_bits() == *bits || (back.is_nan() && expected.is_nan()),
                "{bits:#06x} comes back as {back:?}"
            );
            assert_eq!(back.is_sign_negative(), expected.is_sign_negative(), "{bits:#06x}");
        }
    }
}

/// Halfway between neighbours, next to that on either side, the ends of both ranges, and numbers of every size.
#[test]
fn numbers_are_rounded_to_nearest_even() {
    let Some(gpu) = gpu::open() else { return };
    let mut numbers = vec![
        0.0,
        f32::from_bits(1),
        f32::MIN_POSITIVE,
        65504.0,
        65519.996,
        65520.0,
        65536.0,
        1e30,
        f32::MAX,
        f32::INFINITY,
        f32::NAN,
        f32::from_bits(0x7f80_0001),
        f32::from_bits(0x7fff_ffff),
    ];
    for bits in 0..0x7c00_u16 {
        let [low, high] = [bits, bits + 1].map(|bits| f64::from(f16::from_bits(bits)));
        // Above the largest there is infinity; its own neighbours are listed.
        if high.is_finite() {
            let middle = ((low + high) / 2.0) as f32;
            numbers.extend([middle.next_down(), middle, middle.next_up()]);
        }
    }
    let mut random = 1_u32;
    for _ in 0..10_000 {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        numbers.push(f32::from_bits(random & 0x7fff_ffff));
    }
    numbers.extend(numbers.clone().iter().map(|number| -number));
    for engine in engines(&gpu) {
        let narrow = converted(&engine, numbers.len(), &floats(&numbers), DType::F32, DType::F16);
        for (number, pair) in numbers.iter().zip(narrow.chunks_exact(2)) {
            let (actual, expected) = (f16::from_le_bytes([pair[0], pair[1]]), f16::from_f32(*number));
            let same = actual.to_bits() == expected.to_bits() || (actual.is_nan() && expected.is_nan());
            assert!(same, "{number:e} ({:#010x}) is {actual:?} instead of {expected:?}", number.to_bits());
            assert_eq!(actual.is_sign_negative(), expected.is_sign_negative(), "{number:e}");
        }
    }
}

/// Counts around those of words and workgroups, in slices anywhere in buffers full of other things: of one buffer each, far
/// apart in one, and so near each other that one binding spans both.
#[test]
fn nothing_else_changes() {
    let Some(gpu) = gpu::open() else { return };
    let size = 4096;
    let other: Vec<u8> = (0..size).map(|at| (at % 251) as u8 ^ 0x5a).collect();
    let types = DType::FLOATS.iter().flat_map(|&from| DType::FLOATS.map(|to| [from, to]));
    for (engine, [from, to]) in engines(&gpu).iter().flat_map(|engine| types.clone().map(move |types| (engine, types)))
    {
        for count in [0, 1, 2, 3, 63, 64, 65, 127, 128, 129, 131, 200] {
            let numbers: Vec<f32> = (0..count).map(|index| index as f32 - 70.5).collect();
            let given = from.encode(&numbers);
            let expected = to.encode(&numbers);
            // Where the destination is in the source's buffer if it is; else one of its own.
            let behind = 16 + (given.len().next_multiple_of(4));
            for (shared, start) in [(false, 0), (false, 4), (false, 260), (true, 2048 + 12), (true, behind)] {
                let mut before = other.clone();
                before[16..16 + given.len()].copy_from_slice(&given);
                let source = buffer(engine, &before);
                let destination = if shared { source.clone() } else { buffer(engine, &other) };
                let mut after = if shared { before } else { other.clone() };
                after[start..start + expected.len()].copy_from_slice(&expected);
                let conversion = engine.conversion_blocking(
                    count as u64,
                    Elements::new(source.slice(16..), from),
                    Elements::new(destination.slice(start as u64..), to),
                );
                let conversion = conversion.unwrap();
                let mut encoder = engine.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
                conversion.record(&mut encoder);
                engine.queue().submit([encoder.finish()]);
                let name = format!("{count} from {from} to {to} at {start}, one buffer: {shared}");
                let found = bytes_of(engine, &destination);
                let wrong = found.iter().zip(&after).position(|(a, b)| a != b);
                assert_eq!(wrong, None, "{name}: first wrong byte");
            }
        }
    }
}

/// The two neighbours of an odd count, in words that they share with it.
#[test]
fn neighbours_can_be_converted_in_turns() {
    let Some(gpu) = gpu::open() else { return };
    let engine = gpu.engine();
    let numbers = [1.5, -2.0, 3.25];
    let source = buffer(engine, &floats(&numbers));
    let destination = buffer(engine, &halves(&[0x1111, 0x2222, 0x3333, 0x4444, 0x5555, 0x6666]));
    let mut encoder = engine.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
    for start in [4, 0] {
        let to = Elements::new(destination.slice(start..), DType::F16);
        let conversion = engine.conversion_blocking(3, Elements::new(source.slice(..), DType::F32), to).unwrap();
        conversion.record_in_pass(&mut pass);
    }
    drop(pass);
    engine.queue().submit([encoder.finish()]);
    let [a, b, c] = numbers.map(|number| f16::from_f32(number).to_bits());
    assert_eq!(bytes_of(engine, &destination), halves(&[a, b, c, b, c, 0x6666]));
}

/// A device whose rows of workgroups are short: the grid is folded.
#[test]
fn large_counts_fold_the_grid() {
    let Some(gpu) = gpu::open() else { return };
    let mut limits = gpu.context().device.limits();
    limits.max_compute_workgroups_per_dimension = 37;
    let descriptor = wgpu::DeviceDescriptor { required_limits: limits, ..wgpu::DeviceDescriptor::default() };
    let (device, queue) = pollster::block_on(gpu.context().adapter.request_device(&descriptor)).unwrap();
    let engine = Engine::new(&device, &queue);
    let numbers: Vec<f32> = (0..37 * 64 * 5 + 11).map(|index| (index % 2048) as f32).collect();
    for to in DType::FLOATS {
        let found = converted(&engine, numbers.len(), &floats(&numbers), DType::F32, to);
        assert_eq!(found, padded(&to.encode(&numbers)), "{to}");
    }
    let large = engine.buffer_zeroed("large", 37 * 37 * 64 + 1).unwrap();
    let small = engine.buffer_zeroed("small", 37 * 37 * 64 + 1).unwrap();
    let convert = |count| {
        let (from, to) = (Elements::new(large.slice(..), DType::F32), Elements::new(small.slice(..), DType::F32));
        engine.convert_blocking(count, from, to)
    };
    convert(37 * 37 * 64).unwrap();
    let error = convert(37 * 37 * 64 + 1).unwrap_err().to_string();
    for part in ["1370 workgroups", "max_compute_workgroups_per_dimension", "38", "37"] {
        assert!(error.contains(part), "{part} is not in {error}");
    }
}

/// What a conversion of 100 elements is refused for; on wgpu's noop backend.
#[test]
fn mistakes_are_errors_with_numbers() {
    let (device, queue) = wgpu::Device::noop(&wgpu::DeviceDescriptor {
        required_limits: wgpu::Limits { max_storage_buffer_binding_size: 1 << 16, ..wgpu::Limits::default() },
        ..wgpu::DeviceDescriptor::default()
    });
    let engine = Engine::new(&device, &queue);
    let made = |size, usage| {
        device.create_buffer(&wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false })
    };
    let storage = wgpu::BufferUsages::STORAGE;
    let [a, b, copy] = [(1 << 17, storage), (1 << 17, storage), (4096, wgpu::BufferUsages::COPY_DST)]
        .map(|(size, usage)| made(size, usage));
    type Place<'a> = (&'a wgpu::Buffer, Range<u64>, DType);
    let convert = |count, from: Place<'_>, to: Place<'_>| {
        let [from, to] = [from, to].map(|(buffer, range, dtype)| Elements::new(buffer.slice(range), dtype));
        engine.conversion_blocking(count, from, to).map(drop)
    };
    let (wide, half) = (DType::F32, DType::F16);
    convert(100, (&a, 4..404, wide), (&b, 8..208, half)).unwrap();
    convert(100, (&a, 4..404, wide), (&a, 404..604, half)).unwrap();
    convert(0, (&a, 0..4, wide), (&a, 0..4, half)).unwrap();
    for (name, result, says) in [
        (
            "alignment of the source",
            convert(100, (&a, 2..402, half), (&b, 0..400, wide)),
            &["source", "byte 2", "4"][..],
        ),
        (
            "alignment of the destination",
            convert(100, (&a, 0..400, wide), (&b, 6..400, half)),
            &["destination", "byte 6"],
        ),
        ("short source", convert(100, (&a, 0..396, wide), (&b, 0..200, half)), &["source", "396", "400"]),
        ("short destination", convert(101, (&a, 0..404, wide), (&b, 0..200, half)), &["destination", "200", "202"]),
        (
            "usage of the source",
            convert(100, (&copy, 0..400, wide), (&b, 0..200, half)),
            &["source", "COPY_DST", "STORAGE"],
        ),
        (
            "usage of the destination",
            convert(9, (&a, 0..400, wide), (&copy, 0..200, half)),
            &["destination", "COPY_DST"],
        ),
        ("overlap", convert(100, (&a, 8..408, wide), (&a, 404..604, half)), &["8..408", "404..604"]),
        ("in place", convert(1, (&a, 0..4, wide), (&a, 0..4, half)), &["0..4", "0..2"]),
        (
            "the binding",
            convert(1 << 15, (&a, 0..1 << 17, wide), (&b, 0..1 << 16, half)),
            &["source", "131072", "65536"],
        ),
        (
            "one binding for both",
            convert((1 << 14) - 1, (&a, 0..65532, wide), (&a, 65532..98300, half)),
            &["98300", "65536"],
        ),
        ("too many", convert(1 << 31, (&a, 0..4, wide), (&b, 0..4, half)), &["2147483648", "2147483647"]),
    ] {
        let error = result.expect_err(name).to_string();
        for part in says {
            assert!(error.contains(part), "{name}: {part:?} is not in {error:?}");
        }
    }
}

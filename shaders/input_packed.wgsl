// Put before the kernels: the input, two 16-bit floats in each word, for devices without 16-bit storage. (Instead of
// `input.wgsl`.)

@group(0) @binding(1) var<storage, read> input: array<u32>;

fn load_input(index: u32) -> f32 { return unpack2x16float(input[index >> 1u])[index & 1u]; }

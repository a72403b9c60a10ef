// Put before the kernels, behind `half.wgsl`: an output of 16-bit floats.

@group(0) @binding(5) var<storage, read_write> output: array<f16>;

fn load_output(index: u32) -> f32 { return f32(output[index]); }

// Rounded before, since conversions round as they like.
fn store_output(index: u32, value: f32) { output[index] = f16(unpack2x16float(half_bits(value)).x); }

// Put before the kernels: an output of 32-bit floats. (Instead of `output_half.wgsl` or `output_packed.wgsl`.)

@group(0) @binding(5) var<storage, read_write> output: array<f32>;

fn load_output(index: u32) -> f32 { return output[index]; }
fn store_output(index: u32, value: f32) { output[index] = value; }

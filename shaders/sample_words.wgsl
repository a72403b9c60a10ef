// Put before `sample.wgsl`: tensors of 32-bit floats.

@group(0) @binding(1) var<storage, read> input: array<f32>;
@group(0) @binding(2) var<storage, read> offset: array<f32>;
@group(0) @binding(3) var<storage, read> mask: array<f32>;

fn load_input(index: u32) -> f32 { return input[index]; }
fn load_offset(index: u32) -> f32 { return offset[index]; }
fn load_mask(index: u32) -> f32 { return mask[index]; }

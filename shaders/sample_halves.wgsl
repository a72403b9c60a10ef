// Put before `sample.wgsl`: tensors of 16-bit floats, two in each word. Every device can read them so.

@group(0) @binding(1) var<storage, read> input: array<u32>;
@group(0) @binding(2) var<storage, read> offset: array<u32>;
@group(0) @binding(3) var<storage, read> mask: array<u32>;

fn load_input(index: u32) -> f32 { return unpack2x16float(input[index >> 1u])[index & 1u]; }
fn load_offset(index: u32) -> f32 { return unpack2x16float(offset[index >> 1u])[index & 1u]; }
fn load_mask(index: u32) -> f32 { return unpack2x16float(mask[index >> 1u])[index & 1u]; }

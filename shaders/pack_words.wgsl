// Put before `pack.wgsl`: weights of 32-bit floats.

@group(0) @binding(1) var<storage, read> raw: array<f32>;
@group(0) @binding(2) var<storage, read_write> packed: array<vec4f>;

fn read_raw(index: u32) -> f32 { return raw[index]; }
fn write_vector(vector: u32, four: vec4f) { packed[vector] = four; }

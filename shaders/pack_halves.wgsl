// Put before `pack.wgsl`: weights of 16-bit floats, two in each word. Every device can do it so, and nothing is rounded.

@group(0) @binding(1) var<storage, read> raw: array<u32>;
@group(0) @binding(2) var<storage, read_write> packed: array<vec2u>;

fn read_raw(index: u32) -> f32 { return unpack2x16float(raw[index >> 1u])[index & 1u]; }
fn write_vector(vector: u32, four: vec4f) { packed[vector] = vec2u(pack2x16float(four.xy), pack2x16float(four.zw)); }

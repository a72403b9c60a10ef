// Put before `pack.wgsl`: weights of 16-bit floats, two in each word. Every device can do it so, and nothing is rounded.

alias Four = vec4f;

@group(0) @binding(1) var<storage, read> raw: array<u32>;
@group(0) @binding(2) var<storage, read_write> packed: array<vec2u>;

fn element(at: u32, from_channel: u32, channel: u32) -> f32 { return unpack2x16float(raw[at >> 1u])[at & 1u]; }
fn write_vector(vector: u32, four: Four) { packed[vector] = vec2u(pack2x16float(four.xy), pack2x16float(four.zw)); }

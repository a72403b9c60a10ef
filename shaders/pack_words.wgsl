// Put before `pack.wgsl`: weights of 32-bit floats.

alias Four = vec4f;

@group(0) @binding(1) var<storage, read> raw: array<f32>;
@group(0) @binding(2) var<storage, read_write> packed: array<vec4f>;

fn element(at: u32, from_channel: u32, channel: u32) -> f32 { return raw[at]; }
fn write_vector(vector: u32, four: Four) { packed[vector] = four; }

// Put before what packs weights: they become 32-bit floats.

alias Four = vec4f;

@group(0) @binding(2) var<storage, read_write> packed: array<vec4f>;

fn write_vector(vector: u32, four: Four) { packed[vector] = four; }

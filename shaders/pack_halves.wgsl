// Put before `pack.wgsl`: weights become 16-bit floats, two in each word. They are such numbers: nothing is rounded.

alias Four = vec4f;

@group(0) @binding(2) var<storage, read_write> packed: array<vec2u>;

fn write_vector(vector: u32, four: Four) { packed[vector] = vec2u(pack2x16float(four.xy), pack2x16float(four.zw)); }

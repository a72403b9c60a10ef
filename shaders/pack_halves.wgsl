// Put before `pack.wgsl`, behind `half.wgsl`: weights become 16-bit floats, two in each word. 32-bit ones are rounded.

alias Four = vec4f;

@group(0) @binding(2) var<storage, read_write> packed: array<vec2u>;

fn write_vector(vector: u32, four: Four) {
    packed[vector] = vec2u(
        half_bits(four.x) | (half_bits(four.y) << 16u), half_bits(four.z) | (half_bits(four.w) << 16u));
}

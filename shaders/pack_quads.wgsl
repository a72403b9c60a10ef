// Put before `pack.wgsl`: weights of 8-bit integers. An element of the packed weight is a word with the signed integers of four
// neighbouring input channels. What a channel's weights add up to is counted on the way, for the input's zero point.

alias Four = vec4u;

// The weights are unsigned: 128 less makes them signed.
const UNSIGNED: bool = false;

@group(0) @binding(1) var<storage, read> raw: array<u32>;
@group(0) @binding(2) var<storage, read_write> packed: array<vec4u>;
// Of each output channel.
@group(0) @binding(3) var<storage, read_write> weight_sums: array<atomic<i32>>;

fn element(at: u32, from_channel: u32, channel: u32) -> u32 {
    var word = 0u;
    for (var b = 0u; b < 4u; b++) {
        if from_channel * 4u + b < pack.single_channels {
            let place = at + b * pack.single_step;
            let byte = (raw[place >> 2u] >> (place % 4u * 8u)) & 0xffu;
            word |= (byte ^ select(0u, 0x80u, UNSIGNED)) << (b * 8u);
        }
    }
    atomicAdd(&weight_sums[channel], dot4I8Packed(word, 0x01010101u));
    return word;
}

fn write_vector(vector: u32, four: Four) { packed[vector] = four; }

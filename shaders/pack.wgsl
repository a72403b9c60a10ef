// pack: rearranges a weight of shape (C_out, C_in / groups, KH, KW), contiguous, into the layout that a kernel reads.
// One invocation writes one vector of four numbers; what lies beyond the weight's channels becomes 0.

// 0 oihw: as it is. 1 blocked4: (group, block of four channels, K, 4). 2 kmajor: (group, block of input
// channels, tap, channel of the block, channels rounded up to 4), each group filled up to `rows` positions along K.
const PACKING: u32 = 1u;

struct Pack {
    group_out: u32,
    sum_length: u32,
    weight_length: u32,
    vectors: u32,
    grid_width: u32,
    // Input channels of a group, and the order of K in kmajor.
    channels: u32,
    taps: u32,
    channel_block: u32,
    rows: u32,
}

@group(0) @binding(0) var<uniform> pack: Pack;
@group(0) @binding(1) var<storage, read> raw: array<f32>;
@group(0) @binding(2) var<storage, read_write> packed: array<vec4f>;

const THREADS: u32 = 64u;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(local_invocation_index) local: u32) {
    let vector = (workgroup.y * pack.grid_width + workgroup.x) * THREADS + local;
    if vector >= pack.vectors {
        return;
    }
    let quads = (pack.group_out + 3u) / 4u;
    var four: vec4f;
    for (var r = 0u; r < 4u; r++) {
        var at = vector * 4u + r;
        var inside = true;
        if PACKING != 0u {
            var k = vector % pack.sum_length;
            var quad = vector / pack.sum_length;
            if PACKING == 2u {
                let row = (vector / quads) % pack.rows;
                let run = row / pack.channel_block;
                let from_channel = run / pack.taps * pack.channel_block + row % pack.channel_block;
                inside = from_channel < pack.channels;
                k = from_channel * pack.taps + run % pack.taps;
                quad = vector / (quads * pack.rows) * quads + vector % quads;
            }
            let channel = (quad % quads) * 4u + r;
            inside = inside && channel < pack.group_out;
            at = ((quad / quads) * pack.group_out + channel) * pack.sum_length + k;
        }
        inside = inside && at < pack.weight_length;
        four[r] = select(0.0, raw[select(0u, at, inside)], inside);
    }
    packed[vector] = four;
}

// pack: rearranges a weight into the layout that a kernel reads, one pass of the problem at a time. One invocation writes one
// vector of four numbers; what lies beyond the weight's channels becomes 0. Behind `pack_params.wgsl` and `pack_words.wgsl`, `pack_halves.wgsl` or
// `pack_quads.wgsl`, which declare the two tensors.

// 0 oihw: (group, channel, K). 1 blocked4: (group, block of four channels, K, 4). 2 kmajor: (group, block of input
// channels, tap, channel of the block, channels rounded up to 4), each group filled up to `rows` positions along K. 3 matrix: the
// same positions, (group, 16 of them, channels rounded up to 4, 16).
const PACKING: u32 = 1u;

const THREADS: u32 = 64u;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(local_invocation_index) local: u32) {
    let vector = (workgroup.y * pack.grid_width + workgroup.x) * THREADS + local;
    if vector >= pack.vectors {
        return;
    }
    let quads = (pack.group_out + 3u) / 4u;
    let taps = pack.kernel_d * pack.kernel_h * pack.kernel_w;
    let sum_length = pack.channels * taps;
    var four: Four;
    for (var r = 0u; r < 4u; r++) {
        // Output channel (counting those of all groups, or of its group with the quads before it), input channel and tap.
        var group = 0u;
        var channel = 0u;
        var from_channel = 0u;
        var tap = 0u;
        if PACKING == 0u {
            let at = vector * 4u + r;
            let row = at / sum_length;
            group = row / pack.group_out;
            channel = row % pack.group_out;
            from_channel = at % sum_length / taps;
            tap = at % taps;
        } else if PACKING == 1u {
            let quad = vector / sum_length;
            group = quad / quads;
            channel = quad % quads * 4u + r;
            from_channel = vector % sum_length / taps;
            tap = vector % taps;
        } else {
            let position = vector / quads;
            var row = position % pack.rows;
            group = position / pack.rows;
            channel = vector % quads * 4u + r;
            if PACKING == 3u {
                // A vector is four positions of a channel.
                let of_group = vector % (pack.rows * quads);
                row = of_group / (quads * 16u) * 16u + of_group % 4u * 4u + r;
                channel = of_group / 4u % (quads * 4u);
            }
            let run = row / pack.channel_block;
            from_channel = run / taps * pack.channel_block + row % pack.channel_block;
            tap = run % taps;
        }
        let inside = group < pack.groups && channel < pack.group_out && from_channel < pack.channels;
        let column = i32(tap % pack.kernel_w) * pack.column_step;
        let row = i32(tap / pack.kernel_w % pack.kernel_h) * pack.row_step;
        let slice = i32(tap / (pack.kernel_w * pack.kernel_h)) * pack.slice_step;
        let at = pack.first + group * pack.group_step + channel * pack.output_step + from_channel * pack.input_step
            + u32(slice + row + column);
        if inside {
            four[r] = element(at, from_channel, pack.first_channel + group * pack.group_out + channel);
        }
    }
    write_vector(pack.first_vector + vector, four);
}

// pack_winograd: transforms a weight as Winograd's algorithm needs it, and rearranges it as `pack.wgsl` does for kmajor: (position
// in the tile, group, channels of the input, channels rounded up to 4), each group of each position filled up to `rows`. One
// invocation writes a vector for each position. Behind `pack_params.wgsl`, what declares the
// weight, `pack_words.wgsl` and `winograd.wgsl`.

const THREADS: u32 = 64u;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(local_invocation_index) local: u32) {
    let vector = (workgroup.y * pack.grid_width + workgroup.x) * THREADS + local;
    let quads = (pack.group_out + 3u) / 4u;
    let group_vectors = pack.rows * quads;
    let all = pack.groups * group_vectors;
    if vector >= all {
        return;
    }
    let group = vector / group_vectors;
    let from_channel = vector % group_vectors / quads;
    // Transformed along rows: of each of the four channels, as many as the kernel has.
    var rows: array<array<Side, 3>, 4>;
    for (var r = 0u; r < 4u; r++) {
        let channel = vector % quads * 4u + r;
        if channel < pack.group_out && from_channel < pack.channels {
            let first = pack.first + group * pack.group_step + channel * pack.output_step + from_channel * pack.input_step;
            for (var y = 0u; y < pack.kernel_h; y++) {
                var taps: array<f32, 3>;
                for (var x = 0u; x < pack.kernel_w; x++) {
                    taps[x] = element(first + u32(i32(y) * pack.row_step + i32(x) * pack.column_step), from_channel, channel);
                }
                rows[r][y] = of_weight(taps, TILE_W);
            }
        }
    }
    for (var x = 0u; x < SIDE_W; x++) {
        var columns: array<Side, 4>;
        for (var r = 0u; r < 4u; r++) {
            columns[r] = of_weight(array<f32, 3>(rows[r][0][x], rows[r][1][x], rows[r][2][x]), TILE_H);
        }
        for (var y = 0u; y < SIDE_H; y++) {
            let four = vec4f(columns[0][y], columns[1][y], columns[2][y], columns[3][y]);
            write_vector(pack.first_vector + (y * SIDE_W + x) * all + vector, four);
        }
    }
}

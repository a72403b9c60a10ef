// direct: a block of CHANNELS output channels × ROWS × COLUMNS output pixels per invocation, no workgroup memory.
//
// A workgroup's tile is GROUP_X pixel blocks (consecutive in the flattened planes × rows of blocks × blocks of a row) by
// GROUP_Y channel blocks of one group, or of all groups. The window of input is as `window.wgsl` says.

// 1, or 4 · QUADS.
const CHANNELS: u32 = 4u;
const QUADS: u32 = 1u;
const ROWS: u32 = 1u;
const COLUMNS: u32 = 8u;
const GROUP_X: u32 = 64u;
const GROUP_Y: u32 = 1u;
// With CHANNELS == 1: a tile's channels may be of several groups. Neighbouring invocations are neighbouring channels then, which
// lie side by side where tensors have their channels last.
const ACROSS_GROUPS: bool = false;

const ACCUMULATORS: u32 = CHANNELS * ROWS * COLUMNS;

@compute @workgroup_size(GROUP_X, GROUP_Y)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(local_invocation_id) local: vec3u) {
    let tile = tile_at(tile_index(workgroup), select(groups(), 1u, ACROSS_GROUPS));
    // The tile's first block, by division; this invocation's follows by counting on. Blocks beyond the last compute the last
    // one again and store nothing.
    let blocks_w = (params.out_width + COLUMNS - 1u) / COLUMNS;
    let blocks_h = (params.out_height + ROWS - 1u) / ROWS;
    let first_block = tile.pixel_tile * GROUP_X;
    let ahead = min(local.x, params.pixels - 1u - first_block);
    let columns_ahead = first_block % blocks_w + ahead;
    let rows_over = small_quotient(columns_ahead, blocks_w);
    let rows_ahead = (first_block / blocks_w) % blocks_h + rows_over;
    let planes_ahead = small_quotient(rows_ahead, blocks_h);
    let along = stretch_at(columns_ahead - rows_over * blocks_w, COLUMNS, params.out_width);
    let down = stretch_at(rows_ahead - planes_ahead * blocks_h, ROWS, params.out_height);
    let plane = first_block / (blocks_w * blocks_h) + planes_ahead;
    var first_channel = (tile.channel_tile * GROUP_Y + local.y) * CHANNELS;
    var live = tile.live & (ahead == local.x);
    var group = tile.group;
    if ACROSS_GROUPS {
        live &= first_channel < params.out_channels;
        group = min(first_channel, params.out_channels - 1u);
        first_channel = 0u;
        if params.group_out > 1u {
            first_channel = group % params.group_out;
            group /= params.group_out;
        }
    }

    let quads = (params.group_out + 3u) / 4u;
    let top = i32(down.first * stride_h()) - params.pad_top;
    let left = i32(along.first * stride_w()) - params.pad_left;
    var walk = walk_from(params.part_begin, group, plane);

    // The padding rule along a row, ahead of the loops where the taps allow it.
    var at_column: array<i32, WINDOW_W>;
    for (var q = 0u; q < WINDOW_W; q++) { // unroll
        at_column[q] = source_column(left, q, 0u);
    }

    var sums: array<Sum, ACCUMULATORS>;
    var totals: array<Sum, ACCUMULATORS>;
    let taps_per_step = params.kernel_h * kernel_w();
    // Position along K of the step's first tap.
    var step_taps = params.part_begin * taps_per_step;
    var summed = 0u;
    for (var c = params.part_begin; c < params.part_end; c++) {
        // Not by the constant, where rows are taken one at a time: an unrolled loop costs compile time and wins nothing.
        for (var i = 0u; i < select(params.kernel_h, TAP_ROWS, WHOLE_H); i += TAP_ROWS) {
            for (var j = 0u; j < select(params.kernel_w, TAP_COLUMNS, WHOLE_W); j += TAP_COLUMNS) {
                let block_taps = step_taps + i * kernel_w() + j;
                var taps: array<Values, max(QUADS, 1u) * TAP_ROWS * TAP_COLUMNS>;
                for (var a = 0u; a < TAP_ROWS; a++) { // unroll
                    for (var b = 0u; b < TAP_COLUMNS; b++) { // unroll
                        if CHANNELS == 1u {
                            let row = group * params.group_out + min(first_channel, params.group_out - 1u);
                            let at = params.weight_offset + row * params.sum_length + block_taps + a * kernel_w() + b;
                            taps[a * TAP_COLUMNS + b].x = load_weights(at >> 2u)[at & 3u];
                        }
                        for (var q = 0u; q < QUADS; q++) { // unroll
                            let row = group * quads + min(first_channel / 4u + q, quads - 1u);
                            let at = row * params.sum_length + block_taps + a * kernel_w() + b;
                            taps[(q * TAP_ROWS + a) * TAP_COLUMNS + b] = load_weights(params.weight_offset + at);
                        }
                    }
                }
                // Rows of the window are loaded when the first row of pixels needs them, and each sum is finished before
                // the next one: so few of either are needed in registers at a time.
                var window: array<Value, WINDOW_H * WINDOW_W>;
                for (var y = 0u; y < ROWS; y++) { // unroll
                    for (var a = 0u; a < TAP_ROWS; a++) { // unroll
                        if y < REUSE_ROWS || a + REUSE_TAPS >= TAP_ROWS {
                            let at_row = source_row(walk.slice, top, y, i, a);
                            let row = walk.at + existing(at_row) * params.in_row;
                            for (var q = 0u; q < WINDOW_W; q++) { // unroll
                                if !WHOLE_W {
                                    at_column[q] = source_column(left, q, j);
                                }
                                // In place of a zero, some element that exists is loaded: every index stays in range.
                                let loaded = read_input(row + input_column(existing(at_column[q])));
                                let inside = (at_row >= 0) & (at_column[q] >= 0);
                                let at = (y * STEP_H + a * DILATION_H) * WINDOW_W + q;
                                window[at] = select(loaded, select(Value(), loaded, inside), ZEROS);
                            }
                        }
                    }
                    for (var o = 0u; o < CHANNELS; o++) { // unroll
                        for (var x = 0u; x < COLUMNS; x++) { // unroll
                            var sum = sums[(o * ROWS + y) * COLUMNS + x];
                            for (var a = 0u; a < TAP_ROWS; a++) { // unroll
                                for (var b = 0u; b < TAP_COLUMNS; b++) { // unroll
                                    let at = (y * STEP_H + a * DILATION_H) * WINDOW_W + x * STEP_W + b * DILATION_W;
                                    let tap = taps[(o / 4u * TAP_ROWS + a) * TAP_COLUMNS + b][o % 4u];
                                    sum = fma(window[at], tap, sum);
                                }
                            }
                            sums[(o * ROWS + y) * COLUMNS + x] = sum;
                        }
                    }
                }
            }
        }
        next_step(&walk);
        step_taps += taps_per_step;
        if SUM_CHANNELS != 0u {
            summed += 1u;
            if summed == SUM_CHANNELS {
                summed = 0u;
                for (var o = 0u; o < CHANNELS; o++) { // unroll
                    for (var y = 0u; y < ROWS; y++) { // unroll
                        for (var x = 0u; x < COLUMNS; x++) { // unroll
                            totals[(o * ROWS + y) * COLUMNS + x] += sums[(o * ROWS + y) * COLUMNS + x];
                            sums[(o * ROWS + y) * COLUMNS + x] = Sum();
                        }
                    }
                }
            }
        }
    }

    for (var o = 0u; o < CHANNELS; o++) { // unroll
        let channel = first_channel + o;
        let out_channel = group * params.group_out + channel;
        let of_channel = load_channel(out_channel);
        let out_plane = output_plane(plane, out_channel);
        for (var y = 0u; y < ROWS; y++) { // unroll
            let out_row = out_plane + (down.first + y) * params.out_row + output_column(along.first);
            // Of this row's pixels: one comparison for each store.
            let exists = live & (channel < params.group_out) & (y - down.again < own_of(down, params.out_height));
            let own = select(0u, own_of(along, params.out_width), exists);
            for (var x = 0u; x < COLUMNS; x++) { // unroll
                if x - along.again < own {
                    let sum = totals[(o * ROWS + y) * COLUMNS + x] + sums[(o * ROWS + y) * COLUMNS + x];
                    store(sum, of_channel, out_row + output_column(x));
                }
            }
        }
    }
}

// broadcast: the lanes of a workgroup are output channels, and all of them work on the same block of output pixels.
//
// An invocation holds CHANNELS output channels (LANES apart) × ROWS × COLUMNS pixels. Every input value is the same for the
// whole workgroup: one scalar load, broadcast to the lanes; so are all coordinates, and the padding rule costs no vector
// instruction. Only weights differ between lanes: neighbours read neighbours, and each value serves ROWS · COLUMNS pixels.
// The window of input is as `window.wgsl` says.

const LANES: u32 = 64u;
const CHANNELS: u32 = 1u;
const ROWS: u32 = 8u;
const COLUMNS: u32 = 8u;
// The columns of pixels are taken in so many strips, each so wide, which needs so many columns of the window, from the strip's
// first pixel on, and of these the strip before has loaded the first so many.
const STRIPS: u32 = 1u;
const STRIP: u32 = 8u;
const STRIP_WINDOW: u32 = 10u;
const STRIP_KEPT: u32 = 2u;

// Rows of the window from one row of the taps to the next.
const TAP_STEP_H: u32 = select(DILATION_H, 1u, CHANNEL_TAPS);
const ACCUMULATORS: u32 = CHANNELS * ROWS * COLUMNS;

// The element of the window at a row and a column of the image, for row a of the taps, in the input of a step.
fn element(step: u32, a: u32, at_row: i32, at_column: i32) -> Value {
    let row = step + select(0u, a * params.in_channel, CHANNEL_TAPS) + existing(at_row) * params.in_row;
    let loaded = read_input(row + input_column(existing(at_column)));
    return select(loaded, select(Value(), loaded, (at_row >= 0) & (at_column >= 0)), ZEROS);
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(local_invocation_index) lane: u32) {
    let tile = tile_at(tile_index(workgroup), groups());
    let blocks_w = (params.out_width + COLUMNS - 1u) / COLUMNS;
    let blocks_h = (params.out_height + ROWS - 1u) / ROWS;
    let along = stretch_at(tile.pixel_tile % blocks_w, COLUMNS, params.out_width);
    let down = stretch_at((tile.pixel_tile / blocks_w) % blocks_h, ROWS, params.out_height);
    let plane = tile.pixel_tile / (blocks_w * blocks_h);
    let first_channel = tile.channel_tile * (LANES * CHANNELS) + lane;

    let top = i32(down.first * stride_h()) - params.pad_top;
    let left = i32(along.first * stride_w()) - params.pad_left;
    var walk = walk_from(params.part_begin, tile.group, plane);

    // Weights of one position along K, and of a channel's next tap, are so far apart. Channels beyond the last read the last.
    let position_step = params.weight_quads * 4u;
    let tap_step = params.channel_block * position_step;
    let tap_row_step = select(kernel_w() * tap_step, position_step, CHANNEL_TAPS);
    var columns: array<u32, CHANNELS>;
    for (var v = 0u; v < CHANNELS; v++) { // unroll
        columns[v] = min(first_channel + v * LANES, params.group_out - 1u);
    }
    let slice_rows = params.kernel_h * kernel_w() * params.channel_block;
    let block_rows = params.kernel_d * slice_rows;

    var sums: array<Sum, ACCUMULATORS>;
    var totals: array<Sum, ACCUMULATORS>;
    var summed = 0u;
    for (var c = params.part_begin; c < params.part_end; c += STEP_CHANNELS) {
        var channel = c;
        var slice_row = 0u;
        if SLICES {
            channel = walk.channel;
            slice_row = walk.tap_slice * slice_rows;
        }
        let of_block = channel % params.channel_block;
        let block = channel / params.channel_block;
        let weight_row = tile.group * params.weight_rows + block * block_rows + slice_row + of_block;
        // Not by the constant, where rows are taken one at a time: an unrolled loop costs compile time and wins nothing.
        for (var i = 0u; i < select(params.kernel_h, TAP_ROWS, WHOLE_H || CHANNEL_TAPS); i += TAP_ROWS) {
            for (var j = 0u; j < select(params.kernel_w, TAP_COLUMNS, WHOLE_W); j += TAP_COLUMNS) {
                let first_tap = params.weight_offset * 4u + weight_row * position_step + (i * kernel_w() + j) * tap_step;
                // Where the window begins is far from all that was read before. Ahead of the weights, which then are read while this is on
                // its way.
                var window: array<Value, WINDOW_H * WINDOW_W>;
                window[0] = element(walk.at, 0u, source_row(walk.slice, top, 0u, i, 0u), source_column(left, 0u, j));
                var taps: array<Value, CHANNELS * TAP_ROWS * TAP_COLUMNS>;
                for (var v = 0u; v < CHANNELS; v++) { // unroll
                    for (var a = 0u; a < TAP_ROWS; a++) { // unroll
                        for (var b = 0u; b < TAP_COLUMNS; b++) { // unroll
                            let at = first_tap + a * tap_row_step + b * tap_step + columns[v];
                            taps[(v * TAP_ROWS + a) * TAP_COLUMNS + b] = load_weight(at);
                        }
                    }
                }
                // For all rows, where it takes more than the place in the window.
                var at_columns: array<i32, WINDOW_W>;
                if !WHOLE_W {
                    for (var q = 0u; q < WINDOW_W; q++) { // unroll
                        at_columns[q] = source_column(left, q, j);
                    }
                }
                // Rows of the window are loaded when the first row of pixels needs them, and columns with the first strip
                // that does; each sum is finished before the next one. So few of either are needed in registers at a time.
                for (var y = 0u; y < ROWS; y++) { // unroll
                    for (var strip = 0u; strip < STRIPS; strip++) { // unroll
                        for (var a = 0u; a < TAP_ROWS; a++) { // unroll
                            if y < REUSE_ROWS || a + REUSE_TAPS >= TAP_ROWS {
                                let at_row = source_row(walk.slice, top, y, i, select(a, 0u, CHANNEL_TAPS));
                                for (var w = 0u; w < STRIP_WINDOW; w++) { // unroll
                                    let q = strip * (STRIP * STEP_W) + w;
                                    if (strip == 0u || w >= STRIP_KEPT) && y + a + q > 0u {
                                        var at_column = at_columns[q];
                                        if WHOLE_W {
                                            at_column = source_column(left, q, j);
                                        }
                                        let at = (y * STEP_H + a * TAP_STEP_H) * WINDOW_W + q;
                                        window[at] = element(walk.at, a, at_row, at_column);
                                    }
                                }
                            }
                        }
                        for (var v = 0u; v < CHANNELS; v++) { // unroll
                            for (var e = 0u; e < STRIP; e++) { // unroll
                                let x = strip * STRIP + e;
                                var sum = sums[(v * ROWS + y) * COLUMNS + x];
                                for (var a = 0u; a < TAP_ROWS; a++) { // unroll
                                    for (var b = 0u; b < TAP_COLUMNS; b++) { // unroll
                                        let at = (y * STEP_H + a * TAP_STEP_H) * WINDOW_W + x * STEP_W + b * DILATION_W;
                                        sum = fma(window[at], taps[(v * TAP_ROWS + a) * TAP_COLUMNS + b], sum);
                                    }
                                }
                                sums[(v * ROWS + y) * COLUMNS + x] = sum;
                            }
                        }
                    }
                }
            }
        }
        next_step(&walk);
        if SUM_CHANNELS != 0u {
            summed += 1u;
            if summed == SUM_CHANNELS {
                summed = 0u;
                for (var v = 0u; v < CHANNELS; v++) { // unroll
                    for (var y = 0u; y < ROWS; y++) { // unroll
                        for (var x = 0u; x < COLUMNS; x++) { // unroll
                            totals[(v * ROWS + y) * COLUMNS + x] += sums[(v * ROWS + y) * COLUMNS + x];
                            sums[(v * ROWS + y) * COLUMNS + x] = Sum();
                        }
                    }
                }
            }
        }
    }

    for (var v = 0u; v < CHANNELS; v++) { // unroll
        let channel = first_channel + v * LANES;
        let out_channel = tile.group * params.group_out + channel;
        let of_channel = load_channel(out_channel);
        let out_plane = output_plane(plane, out_channel);
        for (var y = 0u; y < ROWS; y++) { // unroll
            // Ahead of the stores: compilers do not merge loads across conditions.
            let out_row = out_plane + (down.first + y) * params.out_row + output_column(along.first);
            let exists = tile.live & (channel < params.group_out) & (y - down.again < own_of(down, params.out_height));
            let own = select(0u, own_of(along, params.out_width), exists);
            for (var x = 0u; x < COLUMNS; x++) { // unroll
                if x - along.again < own {
                    let sum = totals[(v * ROWS + y) * COLUMNS + x] + sums[(v * ROWS + y) * COLUMNS + x];
                    store(sum, of_channel, out_row + output_column(x));
                }
            }
        }
    }
}

// direct: a block of CHANNELS output channels × PIXELS output pixels of one row per invocation, no workgroup memory.
//
// A workgroup's tile is GROUP_X pixel blocks (consecutive in the flattened batch × rows × blocks of a row) by GROUP_Y
// channel blocks of one group. With SLIDE, the input that one kernel row needs is loaded once into WINDOW registers and
// serves every tap and every channel of the block; otherwise (wide windows, run-time configurations) each tap loads.

const CHANNELS: u32 = 4u;
const PIXELS: u32 = 8u;
const GROUP_X: u32 = 64u;
const GROUP_Y: u32 = 1u;
const SLIDE: bool = true;
// (PIXELS - 1) · STRIDE_W + (KERNEL_W - 1) · DILATION_W + 1, or 1 without SLIDE.
const WINDOW: u32 = 10u;
// Input channels that are added up on their own before they join the total, or 0: keeps rounding small where K is large.
const SUM_CHANNELS: u32 = 0u;

const ACCUMULATORS: u32 = CHANNELS * PIXELS;

fn load(row: u32, row_inside: bool, column: i32) -> f32 {
    let at = source(column, params.in_width);
    let inside = row_inside & (at >= 0);
    // Outside, some element that exists is loaded and dropped: every index stays in range.
    return select(0.0, read_input(select(params.input_offset, row + u32(at), inside)), inside);
}

@compute @workgroup_size(GROUP_X, GROUP_Y)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(local_invocation_id) local: vec3u) {
    let tile = tile_index(workgroup);
    let pixel_tile = tile % params.tiles_pixels;
    let channel_tile = (tile / params.tiles_pixels) % params.tiles_channels;
    let group = tile / (params.tiles_pixels * params.tiles_channels);

    // Blocks beyond the last compute the last one again and store nothing.
    let wanted_block = pixel_tile * GROUP_X + local.x;
    let block = min(wanted_block, params.pixels - 1u);
    let blocks_per_row = (params.out_width + PIXELS - 1u) / PIXELS;
    let first_x = (block % blocks_per_row) * PIXELS;
    let y = (block / blocks_per_row) % params.out_height;
    let image = block / (blocks_per_row * params.out_height);
    let first_channel = (channel_tile * GROUP_Y + local.y) * CHANNELS;
    let live = (tile < params.tile_end) & (wanted_block < params.pixels);

    let quads = (params.group_out + 3u) / 4u;
    let top = i32(y * stride_h()) - params.pad_top;
    let left = i32(first_x * stride_w()) - params.pad_left;
    // A folded grid's surplus workgroups have a group beyond the last.
    let safe_group = min(group, params.out_channels / params.group_out - 1u);
    let in_channel = safe_group * params.group_in + params.part_begin;
    var plane = params.input_offset + (image * params.in_channels + in_channel) * params.in_plane;

    var sums: array<f32, ACCUMULATORS>;
    var totals: array<f32, ACCUMULATORS>;
    var window: array<f32, WINDOW>;
    var taps: array<f32, CHANNELS>;
    // Position along K of the taps that come next.
    var k = params.part_begin * params.kernel_h * kernel_w();
    var summed = 0u;
    for (var c = params.part_begin; c < params.part_end; c++) {
        for (var i = 0u; i < params.kernel_h; i++) {
            let source_row = source(top + i32(i * dilation_h()), params.in_height);
            let row_inside = source_row >= 0;
            let row = plane + u32(max(source_row, 0)) * params.in_width;
            if SLIDE {
                for (var t = 0u; t < WINDOW; t++) {
                    window[t] = load(row, row_inside, left + i32(t));
                }
            }
            for (var j = 0u; j < kernel_w(); j++) {
                if CHANNELS == 1u {
                    let at = (safe_group * params.group_out + min(first_channel, params.group_out - 1u)) * params.sum_length + k;
                    taps[0] = weight[at >> 2u][at & 3u];
                } else {
                    for (var q = 0u; q < CHANNELS / 4u; q++) {
                        let quad = min(first_channel / 4u + q, quads - 1u);
                        let four = weight[(safe_group * quads + quad) * params.sum_length + k];
                        for (var r = 0u; r < 4u; r++) {
                            taps[q * 4u + r] = four[r];
                        }
                    }
                }
                for (var p = 0u; p < PIXELS; p++) {
                    var x: f32;
                    if SLIDE {
                        x = window[p * STRIDE_W + j * DILATION_W];
                    } else {
                        x = load(row, row_inside, left + i32(p * stride_w() + j * dilation_w()));
                    }
                    for (var o = 0u; o < CHANNELS; o++) {
                        sums[o * PIXELS + p] += taps[o] * x;
                    }
                }
                k++;
            }
        }
        plane += params.in_plane;
        if SUM_CHANNELS != 0u {
            summed += 1u;
            if summed == SUM_CHANNELS {
                summed = 0u;
                for (var a = 0u; a < ACCUMULATORS; a++) {
                    totals[a] += sums[a];
                    sums[a] = 0.0;
                }
            }
        }
    }

    for (var o = 0u; o < CHANNELS; o++) {
        let channel = first_channel + o;
        let out_channel = group * params.group_out + channel;
        let of_channel = load_channel(out_channel);
        let out_row = (image * params.out_channels + out_channel) * params.out_plane + y * params.out_width + first_x;
        // Pixels of this channel that exist: one comparison for each store.
        let count = select(0u, params.out_width - first_x, live & (channel < params.group_out));
        for (var p = 0u; p < PIXELS; p++) {
            if p < count {
                store(totals[o * PIXELS + p] + sums[o * PIXELS + p], of_channel, out_row + p);
            }
        }
    }
}

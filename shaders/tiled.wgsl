// tiled: implicit GEMM. In the matrix view of one group, Y = W · X with M = channels of the group, N = pixels of the batch
// and K = channels · taps; X is never stored, its elements are gathered from the image.
//
// A workgroup computes a TILE_M × TILE_N tile, walking along K in slices of TILE_K that go through workgroup memory; an
// invocation holds THREAD_M × THREAD_N sums. While a slice is being multiplied, the next one is already on its way from
// memory into registers.
//
// K runs through blocks of CHANNEL_BLOCK channels, within a block through the taps, within a tap through the block's
// channels (packing `kmajor`). So the elements that an invocation gathers share a tap, and the question whether it lies in
// the image is asked once for all of them; the position along K is the same for the whole workgroup, so that what is
// left per element is one addition and one selection.

const TILE_M: u32 = 64u;
const TILE_N: u32 = 64u;
const TILE_K: u32 = 8u;
const THREAD_M: u32 = 8u;
const THREAD_N: u32 = 8u;
// Slices that workgroup memory holds: with two, a slice is written while slower invocations still read the last one.
const BUFFERS: u32 = 2u;
// Invocations that share the gathering of a column, each taking its part of every channel block.
const PHASES: u32 = 1u;
const CHANNEL_BLOCK: u32 = 8u;
const KERNEL_D: u32 = 1u;
// Some tap may lie outside the image.
const PADDED: bool = true;
// One pixel of the input for each of the output, in the same order.
const POINTWISE: bool = false;
// Rows of the output follow each other in memory, so that a plane is one row.
const OUTPUT_LINEAR: bool = true;
// Some block or some slice may reach beyond the last channel. The weight is zero there.
const RAGGED: bool = true;
// Several workgroups share a tile's sums, each with its part of K, and leave what they have in the workspace, which is bound
// as the output (split-K).
const SPLIT_K: bool = false;
// Slices that are added up on their own before they join the total, or 0: keeps rounding small where K is large.
const SUM_SLICES: u32 = 0u;

const THREADS_N: u32 = TILE_N / THREAD_N;
const THREADS_M: u32 = TILE_M / THREAD_M;
const THREADS: u32 = THREADS_M * THREADS_N;
// A subgroup's invocations are next to each other both ways, so that they read few different vectors of a slice.
const NEAR_N: u32 = min(THREADS_N, 8u);
const NEAR_M: u32 = min(THREADS_M, 4u);
const QUADS_M: u32 = TILE_M / 4u;
const QUADS_K: u32 = TILE_K / 4u;
const THREAD_QUADS: u32 = THREAD_M / 4u;
const SUMS: u32 = THREAD_QUADS * THREAD_N;
// Columns that an invocation gathers, and elements of each.
const COLUMNS: u32 = (TILE_N + THREADS - 1u) / THREADS;
const DEPTH: u32 = TILE_K / PHASES;
// Elements next to each other that share a tap.
const RUN: u32 = select(CHANNEL_BLOCK / PHASES, 1u, GENERIC);
const RUNS: u32 = DEPTH / RUN;
const RUN_QUADS: u32 = max(RUN / 4u, 1u);
const WEIGHT_VECTORS: u32 = TILE_K * QUADS_M;
const WEIGHT_LOADS: u32 = (WEIGHT_VECTORS + THREADS - 1u) / THREADS;
const INPUT_VECTORS: u32 = QUADS_K * TILE_N;
// Whether a tap lies in the image is looked up in bits: one for each kernel row, then one for each kernel column, then one for
// each kernel slice.
const MASKED: bool = !GENERIC && PADDED && PADDING_MODE == 0u && KERNEL_D + KERNEL_H + KERNEL_W <= 32u;

// Four channels at one position along K.
var<workgroup> weight_slice: array<Values, BUFFERS * WEIGHT_VECTORS>;
// Four positions along K of one pixel.
var<workgroup> input_slice: array<Values, BUFFERS * INPUT_VECTORS>;

// The next slice, on its way.
var<private> weights_ahead: array<Values, WEIGHT_LOADS>;
var<private> inputs_ahead: array<Value, DEPTH * COLUMNS>;
var<private> inside: array<bool, RUNS * COLUMNS>;

// Where this invocation's columns lie: the first tap of each pixel, and its element (or, if every tap's place is worked out
// on its own, where the image begins) in the first channel.
var<private> fronts: array<i32, COLUMNS>;
var<private> tops: array<i32, COLUMNS>;
var<private> lefts: array<i32, COLUMNS>;
var<private> masks: array<u32, COLUMNS>;
var<private> bases: array<u32, COLUMNS>;
// Where this invocation's part of the weight goes on.
var<private> weight_at: u32;
var<private> weight_step: u32;
// Position along K of the next run: tap (l, i, j) of the channels that follow `channel`.
var<private> l: u32;
var<private> i: u32;
var<private> j: u32;
var<private> channel: u32;
// Place within the channel block, for GENERIC.
var<private> inner: u32;

fn kernel_d() -> u32 { if GENERIC { return params.kernel_d; } return KERNEL_D; }

fn next_run() {
    var next_tap = true;
    if GENERIC {
        inner += 1u;
        next_tap = inner == params.channel_block;
        inner = select(inner, 0u, next_tap);
    }
    j += select(0u, 1u, next_tap);
    let next_row = j == kernel_w();
    j = select(j, 0u, next_row);
    i += select(0u, 1u, next_row);
    var next_block = i == kernel_h();
    i = select(i, 0u, next_block);
    if SLICES {
        l += select(0u, 1u, next_block);
        next_block = l == kernel_d();
        l = select(l, 0u, next_block);
    }
    channel += select(0u, select(CHANNEL_BLOCK, params.channel_block, GENERIC), next_block);
}

// Positions along K, the last channel block filled up.
fn k_length() -> u32 {
    return (params.group_in + CHANNEL_BLOCK - 1u) / CHANNEL_BLOCK * CHANNEL_BLOCK * kernel_d() * kernel_h() * kernel_w();
}

// Starts loading the slice at the current position and moves on.
fn fetch() {
    for (var e = 0u; e < WEIGHT_LOADS; e++) {
        weights_ahead[e] = load_weights(weight_at + e * weight_step);
    }
    weight_at += TILE_K * params.weight_quads;
    for (var run = 0u; run < RUNS; run++) {
        let down = i * dilation_h();
        let right = j * dilation_w();
        var asked = (1u << i) | (1u << (KERNEL_H + j));
        var along = down * params.in_row + input_column(right);
        if SLICES {
            asked |= 1u << (KERNEL_H + KERNEL_W + l);
            along += l * params.dilation_d * params.in_slice;
        }
        var first: array<u32, COLUMNS>;
        for (var q = 0u; q < COLUMNS; q++) {
            if !PADDED {
                first[q] = bases[q] + along;
            } else if MASKED {
                // Where the first tap lies outside, its element is none, but then nobody reads there.
                let within = (masks[q] & asked) == asked;
                inside[run * COLUMNS + q] = within;
                first[q] = select(params.input_offset, bases[q] + along, within);
            } else {
                let row = source(tops[q] + i32(down), params.in_height);
                let column = source(lefts[q] + i32(right), params.in_width);
                var within = (row >= 0) & (column >= 0);
                var place = u32(row) * params.in_row + input_column(u32(column));
                if SLICES {
                    let slice = source(fronts[q] + i32(l * params.dilation_d), params.in_depth);
                    within &= slice >= 0;
                    place += u32(slice) * params.in_slice;
                }
                inside[run * COLUMNS + q] = within;
                first[q] = bases[q] + select(0u, place, within);
            }
        }
        for (var e = 0u; e < RUN; e++) {
            var from_channel = channel + select(e, inner, GENERIC);
            if RAGGED {
                from_channel = min(from_channel, params.group_in - 1u);
            }
            for (var q = 0u; q < COLUMNS; q++) {
                inputs_ahead[(run * RUN + e) * COLUMNS + q] = read_input(first[q] + from_channel * params.in_channel);
            }
        }
        next_run();
    }
}

// An element that has arrived.
fn arrived(element: u32, q: u32) -> Value {
    let value = inputs_ahead[element * COLUMNS + q];
    if PADDED {
        return select(Value(), value, inside[element / RUN * COLUMNS + q]);
    }
    return value;
}

// The plane of the `delta`th pixel behind pixel `place` of plane `plane`, and its place there.
fn pixel_at(plane: u32, place: u32, delta: u32) -> vec2u {
    let at = place + delta;
    if params.plane_pixels >= TILE_N {
        let next = at >= params.plane_pixels;
        return vec2u(plane + select(0u, 1u, next), at - select(0u, params.plane_pixels, next));
    }
    return vec2u(plane + at / params.plane_pixels, at % params.plane_pixels);
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(local_invocation_index) local: u32) {
    let tile = tile_at(tile_index(workgroup), groups());
    var k_begin = params.part_begin;
    var k_end = params.part_end;
    if SPLIT_K {
        let split = min(tile.split, params.splits - 1u);
        k_begin += split * params.split_length;
        k_end = min(k_end + split * params.split_length, k_length());
    }
    let first_pixel = tile.pixel_tile * TILE_N;
    let first_plane = first_pixel / params.plane_pixels;
    let first_place = first_pixel % params.plane_pixels;

    // This invocation's part of a slice of the weight; what is beyond the last quad repeats it.
    let quads = (params.group_out + 3u) / 4u;
    let quad = min(tile.channel_tile * QUADS_M + local % QUADS_M, quads - 1u);
    weight_at = params.weight_offset + (tile.group * params.weight_rows + k_begin + min(local / QUADS_M, TILE_K - 1u)) * params.weight_quads + quad;
    weight_step = THREADS / QUADS_M * params.weight_quads;

    // Its columns. Pixels beyond the last repeat the last one.
    let phase = select(0u, local / TILE_N, PHASES > 1u);
    for (var q = 0u; q < COLUMNS; q++) {
        let delta = select(q * THREADS + local, local % TILE_N, THREADS > TILE_N);
        let pixel = pixel_at(first_plane, first_place, min(delta, params.pixels - 1u - first_pixel));
        let first_channel = tile.group * params.group_in + phase * (CHANNEL_BLOCK / PHASES);
        bases[q] = params.input_offset + image_of(pixel.x) * params.in_image + first_channel * params.in_channel;
        if POINTWISE {
            bases[q] += input_column(pixel.y);
        } else {
            let row = pixel.y / params.out_width;
            tops[q] = i32(row * stride_h()) - params.pad_top;
            lefts[q] = i32((pixel.y - row * params.out_width) * stride_w()) - params.pad_left;
            if SLICES {
                fronts[q] = i32(slice_of(pixel.x) * params.stride_d) - params.pad_front;
            }
            if !PADDED || MASKED {
                bases[q] += u32(tops[q]) * params.in_row + input_column(u32(lefts[q]));
                if SLICES {
                    bases[q] += u32(fronts[q]) * params.in_slice;
                }
            }
            if MASKED {
                if SLICES {
                    for (var t = 0u; t < KERNEL_D; t++) {
                        let within = u32(fronts[q]) + t * params.dilation_d < params.in_depth;
                        masks[q] |= select(0u, 1u << (KERNEL_H + KERNEL_W + t), within);
                    }
                }
                for (var t = 0u; t < KERNEL_H; t++) {
                    let within = u32(tops[q]) + t * DILATION_H < params.in_height;
                    masks[q] |= select(0u, 1u << t, within);
                }
                for (var t = 0u; t < KERNEL_W; t++) {
                    let within = u32(lefts[q]) + t * DILATION_W < params.in_width;
                    masks[q] |= select(0u, 1u << (KERNEL_H + t), within);
                }
            }
        }
    }
    let run = k_begin / select(CHANNEL_BLOCK, params.channel_block, GENERIC);
    j = run % kernel_w();
    i = (run / kernel_w()) % kernel_h();
    var block = run / (kernel_w() * kernel_h());
    if SLICES {
        l = block % kernel_d();
        block /= kernel_d();
    }
    channel = block * select(CHANNEL_BLOCK, params.channel_block, GENERIC);

    let near = local % (NEAR_N * NEAR_M);
    let far = local / (NEAR_N * NEAR_M);
    let thread_n = near % NEAR_N + far % (THREADS_N / NEAR_N) * NEAR_N;
    let thread_m = near / NEAR_N + far / (THREADS_N / NEAR_N) * NEAR_M;
    var sums: array<Sums, SUMS>;
    var totals: array<Sums, SUMS>;
    var slices = 0u;
    var buffer = 0u;
    if k_begin < k_end {
        fetch();
    }
    for (var start = k_begin; start < k_end; start += TILE_K) {
        let weights_now = buffer * WEIGHT_VECTORS;
        let inputs_now = buffer * INPUT_VECTORS;
        for (var e = 0u; e < WEIGHT_LOADS; e++) {
            if WEIGHT_VECTORS % THREADS == 0u || e * THREADS + local < WEIGHT_VECTORS {
                weight_slice[weights_now + e * THREADS + local] = weights_ahead[e];
            }
        }
        if THREADS <= TILE_N * PHASES || local < TILE_N {
            for (var t = 0u; t < DEPTH / 4u; t++) {
                // With phases, a channel block's quads are those of one invocation after the other.
                let quad_k = t + (phase + t / RUN_QUADS * (PHASES - 1u)) * RUN_QUADS;
                for (var q = 0u; q < COLUMNS; q++) {
                    input_slice[inputs_now + quad_k * TILE_N + q * THREADS + local % TILE_N] = Values(
                        arrived(t * 4u, q), arrived(t * 4u + 1u, q), arrived(t * 4u + 2u, q), arrived(t * 4u + 3u, q));
                }
            }
        }
        workgroupBarrier();
        if start + TILE_K < k_end {
            fetch();
        }
        for (var k = 0u; k < QUADS_K; k++) {
            var b: array<Values, THREAD_N>;
            for (var n = 0u; n < THREAD_N; n++) {
                b[n] = input_slice[inputs_now + k * TILE_N + n * THREADS_N + thread_n];
            }
            for (var r = 0u; r < 4u; r++) {
                for (var v = 0u; v < THREAD_QUADS; v++) {
                    let a = weight_slice[weights_now + (k * 4u + r) * QUADS_M + v * THREADS_M + thread_m];
                    for (var n = 0u; n < THREAD_N; n++) {
                        sums[v * THREAD_N + n] = multiply_add(a, b[n][r], sums[v * THREAD_N + n]);
                    }
                }
            }
        }
        if BUFFERS == 1u {
            workgroupBarrier();
        } else {
            buffer = 1u - buffer;
        }
        if SUM_SLICES != 0u {
            slices += 1u;
            if slices == SUM_SLICES {
                slices = 0u;
                for (var s = 0u; s < SUMS; s++) {
                    totals[s] += sums[s];
                    sums[s] = Sums();
                }
            }
        }
    }

    // Offset of each pixel in the output, and whether there is such a pixel.
    var places: array<u32, THREAD_N>;
    var live: array<bool, THREAD_N>;
    for (var n = 0u; n < THREAD_N; n++) {
        let delta = n * THREADS_N + thread_n;
        let pixel = pixel_at(first_plane, first_place, delta);
        places[n] = output_plane(pixel.x, 0u);
        if OUTPUT_LINEAR {
            places[n] += output_column(pixel.y);
        } else {
            let row = pixel.y / params.out_width;
            places[n] += row * params.out_row + output_column(pixel.y - row * params.out_width);
        }
        live[n] = tile.live & (first_pixel + delta < params.pixels);
    }
    for (var v = 0u; v < THREAD_QUADS; v++) {
        for (var r = 0u; r < 4u; r++) {
            let of_group = tile.channel_tile * TILE_M + (v * THREADS_M + thread_m) * 4u + r;
            let out_channel = tile.group * params.group_out + of_group;
            let of_channel = load_channel(out_channel);
            for (var n = 0u; n < THREAD_N; n++) {
                if live[n] & (of_group < params.group_out) {
                    var sum = sums[v * THREAD_N + n][r];
                    if SUM_SLICES != 0u {
                        sum += totals[v * THREAD_N + n][r];
                    }
                    let part = select(0u, tile.split * params.pixels * params.out_channels, SPLIT_K);
                    store(sum, of_channel, part + places[n] + out_channel * params.out_channel);
                }
            }
        }
    }
}

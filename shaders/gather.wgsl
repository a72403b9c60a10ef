// Put before `tiled` and `matrix`: how a workgroup of THREADS invocations gathers the input for a tile of the matrix view,
// Y = W · X with K = channels · taps and N = pixels of the batch; X is never stored. A workgroup walks along K in slices of TILE_K
// for its TILE_N pixels; while a slice is being multiplied, the next one is already on its way from memory into registers.
//
// K runs through blocks of CHANNEL_BLOCK channels, within a block through the taps, within a tap through the block's
// channels (packings `kmajor` and `matrix`). So the elements that an invocation gathers share a tap, and the question whether it lies in
// the image is asked once for all of them; the position along K is the same for the whole workgroup, so that what is
// left per element is one addition and one selection.

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

// Columns that an invocation gathers, and elements of each.
const COLUMNS: u32 = (TILE_N + THREADS - 1u) / THREADS;
const DEPTH: u32 = TILE_K / PHASES;
// Elements next to each other that share a tap.
const RUN: u32 = select(CHANNEL_BLOCK / PHASES, 1u, GENERIC);
const RUNS: u32 = DEPTH / RUN;
const RUN_QUADS: u32 = max(RUN / 4u, 1u);
// Whether a tap lies in the image is looked up in bits: one for each kernel row, then one for each kernel column, then one for
// each kernel slice.
const MASKED: bool = !GENERIC && PADDED && PADDING_MODE == 0u && KERNEL_D + KERNEL_H + KERNEL_W <= 32u;

// The input's next slice, on its way.
var<private> inputs_ahead: array<Value, DEPTH * COLUMNS>;
var<private> inside: array<bool, RUNS * COLUMNS>;

// Where this invocation's columns lie: the first tap of each pixel, and its element (or, if every tap's place is worked out
// on its own, where the image begins) in the first channel.
var<private> fronts: array<i32, COLUMNS>;
var<private> tops: array<i32, COLUMNS>;
var<private> lefts: array<i32, COLUMNS>;
var<private> masks: array<u32, COLUMNS>;
var<private> bases: array<u32, COLUMNS>;
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

// Starts loading the slice of the input at the current position and moves on.
fn fetch_inputs() {
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

// Where a pixel (plane, place there) of the first channel lies in the output.
fn output_place(pixel: vec2u) -> u32 {
    let plane = output_plane(pixel.x, 0u);
    if OUTPUT_LINEAR {
        return plane + output_column(pixel.y);
    }
    let row = pixel.y / params.out_width;
    return plane + row * params.out_row + output_column(pixel.y - row * params.out_width);
}

// Which part of each channel block an invocation gathers.
fn phase_of(local: u32) -> u32 { return select(0u, local / TILE_N, PHASES > 1u); }

// Finds this invocation's columns, of a tile whose first pixel is pixel `first_place` of plane `first_plane`. Pixels beyond the
// last repeat the last one.
fn start_columns(local: u32, group: u32, first_pixel: u32, first_plane: u32, first_place: u32) {
    let phase = phase_of(local);
    for (var q = 0u; q < COLUMNS; q++) {
        let delta = select(q * THREADS + local, local % TILE_N, THREADS > TILE_N);
        let pixel = pixel_at(first_plane, first_place, min(delta, params.pixels - 1u - first_pixel));
        let first_channel = group * params.group_in + phase * (CHANNEL_BLOCK / PHASES);
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
}

// Goes to a position along K.
fn start_at(k_begin: u32) {
    let run = k_begin / select(CHANNEL_BLOCK, params.channel_block, GENERIC);
    j = run % kernel_w();
    i = (run / kernel_w()) % kernel_h();
    var block = run / (kernel_w() * kernel_h());
    if SLICES {
        l = block % kernel_d();
        block /= kernel_d();
    }
    channel = block * select(CHANNEL_BLOCK, params.channel_block, GENERIC);
}

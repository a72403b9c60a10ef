// tiled: implicit GEMM. In the matrix view of one group, Y = W · X with M = channels of the group, N = pixels of the batch
// and K = channels · taps. `gather.wgsl`, which goes before this, has the way along K and N.
//
// A workgroup computes a TILE_M × TILE_N tile, walking along K in slices of TILE_K that go through workgroup memory; an
// invocation holds THREAD_M × THREAD_N sums. While a slice is being multiplied, the next one is already on its way from
// memory into registers.

const TILE_M: u32 = 64u;
const TILE_N: u32 = 64u;
const TILE_K: u32 = 8u;
const THREAD_M: u32 = 8u;
const THREAD_N: u32 = 8u;
// Slices that workgroup memory holds: with two, a slice is written while slower invocations still read the last one.
const BUFFERS: u32 = 2u;
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
const WEIGHT_VECTORS: u32 = TILE_K * QUADS_M;
const WEIGHT_LOADS: u32 = (WEIGHT_VECTORS + THREADS - 1u) / THREADS;
const INPUT_VECTORS: u32 = QUADS_K * TILE_N;

// Four channels at one position along K.
var<workgroup> weight_slice: array<Values, BUFFERS * WEIGHT_VECTORS>;
// Four positions along K of one pixel.
var<workgroup> input_slice: array<Values, BUFFERS * INPUT_VECTORS>;

// The weight's next slice, on its way.
var<private> weights_ahead: array<Values, WEIGHT_LOADS>;
// Where this invocation's part of the weight goes on.
var<private> weight_at: u32;
var<private> weight_step: u32;

// Starts loading the slice of the weight at the current position.
fn fetch_weights() {
    for (var e = 0u; e < WEIGHT_LOADS; e++) {
        weights_ahead[e] = load_weights(weight_at + e * weight_step);
    }
    weight_at += TILE_K * params.weight_quads;
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

    let phase = phase_of(local);
    start_columns(local, tile.group, first_pixel, first_plane, first_place);
    start_at(k_begin);

    let near = local % (NEAR_N * NEAR_M);
    let far = local / (NEAR_N * NEAR_M);
    let thread_n = near % NEAR_N + far % (THREADS_N / NEAR_N) * NEAR_N;
    let thread_m = near / NEAR_N + far / (THREADS_N / NEAR_N) * NEAR_M;
    var sums: array<Sums, SUMS>;
    var totals: array<Sums, SUMS>;
    var slices = 0u;
    var buffer = 0u;
    if k_begin < k_end {
        fetch_weights();
        fetch_inputs();
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
            fetch_weights();
            fetch_inputs();
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
        places[n] = output_place(pixel);
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

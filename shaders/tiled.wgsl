// tiled: implicit GEMM. In the matrix view of one group, Y = W · X with M = channels of the group, N = pixels of the batch
// and K = channels · taps; X is never stored, its elements are gathered from the image.
//
// A workgroup computes a TILE_M × TILE_N tile, walking along K in slices of TILE_K that go through workgroup memory; an
// invocation holds THREAD_M × THREAD_N sums. Each invocation gathers whole columns of a slice (its own pixels), so that the
// position along K is the same for the whole workgroup and its arithmetic is scalar: what is left per element is one
// addition and two comparisons.

@group(0) @binding(2) var<storage, read> weight: array<vec4f>;

const TILE_M: u32 = 64u;
const TILE_N: u32 = 64u;
const TILE_K: u32 = 16u;
const THREAD_M: u32 = 8u;
const THREAD_N: u32 = 8u;
// Slices that are added up on their own before they join the total, or 0: keeps rounding small where K is large.
const SUM_SLICES: u32 = 0u;

const THREADS_N: u32 = TILE_N / THREAD_N;
const THREADS_M: u32 = TILE_M / THREAD_M;
const THREADS: u32 = THREADS_M * THREADS_N;
const QUADS_M: u32 = TILE_M / 4u;
const QUADS_N: u32 = TILE_N / 4u;
// Columns that each invocation gathers.
const COLUMNS: u32 = TILE_N / THREADS;
const WEIGHT_VECTORS: u32 = TILE_K * QUADS_M;
const WEIGHT_LOADS: u32 = (WEIGHT_VECTORS + THREADS - 1u) / THREADS;
const ACCUMULATORS: u32 = THREAD_M * THREAD_N;

var<workgroup> weight_slice: array<vec4f, WEIGHT_VECTORS>;
var<workgroup> input_slice: array<f32, TILE_K * TILE_N>;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(local_invocation_index) local: u32) {
    let tile = tile_at(tile_index(workgroup));
    let quads = (params.group_out + 3u) / 4u;
    let weight_base = tile.safe_group * params.sum_length * quads;

    // Columns: where the first tap of each pixel lies. Pixels beyond the last repeat the last one.
    var tops: array<i32, COLUMNS>;
    var lefts: array<i32, COLUMNS>;
    var bases: array<u32, COLUMNS>;
    for (var q = 0u; q < COLUMNS; q++) {
        let pixel = min(tile.pixel_tile * TILE_N + q * THREADS + local, params.pixels - 1u);
        let image = pixel / params.out_plane;
        let place = pixel % params.out_plane;
        tops[q] = i32((place / params.out_width) * stride_h()) - params.pad_top;
        lefts[q] = i32((place % params.out_width) * stride_w()) - params.pad_left;
        bases[q] = params.input_offset + (image * params.in_channels + tile.safe_group * params.group_in) * params.in_plane;
    }

    let thread_n = local % THREADS_N;
    let thread_m = local / THREADS_N;
    var sums: array<f32, ACCUMULATORS>;
    var totals: array<f32, ACCUMULATORS>;
    // Position along K of the next element: tap (i, j) of the channel whose plane starts at `plane`.
    var j = params.part_begin % kernel_w();
    var i = (params.part_begin / kernel_w()) % kernel_h();
    var plane = params.part_begin / (kernel_w() * kernel_h()) * params.in_plane;
    var slices = 0u;
    for (var start = params.part_begin; start < params.part_end; start += TILE_K) {
        for (var e = 0u; e < WEIGHT_LOADS; e++) {
            let at = e * THREADS + local;
            let k = start + at / QUADS_M;
            let quad = min(tile.channel_tile * QUADS_M + at % QUADS_M, quads - 1u);
            let loaded = weight[weight_base + min(k, params.sum_length - 1u) * quads + quad];
            if WEIGHT_VECTORS % THREADS == 0u || at < WEIGHT_VECTORS {
                weight_slice[at] = select(vec4f(), loaded, k < params.sum_length);
            }
        }
        for (var k = 0u; k < TILE_K; k++) {
            let within = start + k < params.sum_length;
            let down = i32(i * dilation_h());
            let right = i32(j * dilation_w());
            for (var q = 0u; q < COLUMNS; q++) {
                let row = source(tops[q] + down, params.in_height);
                let column = source(lefts[q] + right, params.in_width);
                let inside = within & (row >= 0) & (column >= 0);
                let at = bases[q] + plane + u32(row) * params.in_width + u32(column);
                let loaded = read_input(select(params.input_offset, at, inside));
                input_slice[k * TILE_N + q * THREADS + local] = select(0.0, loaded, inside);
            }
            j += 1u;
            if j == kernel_w() {
                j = 0u;
                i += 1u;
                if i == kernel_h() {
                    i = 0u;
                    plane += params.in_plane;
                }
            }
        }
        workgroupBarrier();
        for (var k = 0u; k < TILE_K; k++) {
            var a: array<f32, THREAD_M>;
            var b: array<f32, THREAD_N>;
            for (var v = 0u; v < THREAD_M / 4u; v++) {
                let four = weight_slice[k * QUADS_M + v * THREADS_M + thread_m];
                for (var r = 0u; r < 4u; r++) {
                    a[v * 4u + r] = four[r];
                }
            }
            for (var v = 0u; v < THREAD_N / 4u; v++) {
                for (var r = 0u; r < 4u; r++) {
                    b[v * 4u + r] = input_slice[k * TILE_N + (v * THREADS_N + thread_n) * 4u + r];
                }
            }
            for (var m = 0u; m < THREAD_M; m++) {
                for (var n = 0u; n < THREAD_N; n++) {
                    sums[m * THREAD_N + n] += a[m] * b[n];
                }
            }
        }
        workgroupBarrier();
        if SUM_SLICES != 0u {
            slices += 1u;
            if slices == SUM_SLICES {
                slices = 0u;
                for (var s = 0u; s < ACCUMULATORS; s++) {
                    totals[s] += sums[s];
                    sums[s] = 0.0;
                }
            }
        }
    }

    // Offset of each column's pixel in the output, and whether there is such a pixel.
    var places: array<u32, THREAD_N>;
    var live: array<bool, THREAD_N>;
    for (var n = 0u; n < THREAD_N; n++) {
        let pixel = tile.pixel_tile * TILE_N + ((n / 4u) * THREADS_N + thread_n) * 4u + n % 4u;
        places[n] = (pixel / params.out_plane) * params.out_channels * params.out_plane + pixel % params.out_plane;
        live[n] = tile.live & (pixel < params.pixels);
    }
    for (var m = 0u; m < THREAD_M; m++) {
        let channel = tile.channel_tile * TILE_M + ((m / 4u) * THREADS_M + thread_m) * 4u + m % 4u;
        let out_channel = tile.group * params.group_out + channel;
        let of_channel = load_channel(out_channel);
        for (var n = 0u; n < THREAD_N; n++) {
            if live[n] & (channel < params.group_out) {
                let sum = totals[m * THREAD_N + n] + sums[m * THREAD_N + n];
                store(sum, of_channel, places[n] + out_channel * params.out_plane);
            }
        }
    }
}

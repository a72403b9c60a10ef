// matrix: implicit GEMM on matrix units. In the matrix view of one group, Y = W · X with M = channels of the group, N = pixels of
// the batch and K = channels · taps. `gather.wgsl`, which goes before this, has the way along K and N.
//
// A workgroup computes a TILE_M × TILE_N tile, walking along K in slices of TILE_K that go through workgroup memory as 16-bit
// floats; a subgroup holds a part of the tile as matrices of SIDE × SIDE sums, which are 32-bit floats. Sums go through
// workgroup memory on their way to the epilogue.

const SIDE: u32 = 16u;
alias MatrixA = coop_mat16x16<f16, A>;
alias MatrixB = coop_mat16x16<f16, B>;
alias MatrixC = coop_mat16x16<f32, C>;

const TILE_M: u32 = 64u;
const TILE_N: u32 = 64u;
const TILE_K: u32 = 32u;
// Parts of the tile along M and N: one for each subgroup that the host expects of the driver.
const PARTS_M: u32 = 2u;
const PARTS_N: u32 = 2u;
// Matrices of a part, and steps along K of a slice.
const COUNT_M: u32 = 2u;
const COUNT_N: u32 = 2u;
const STEPS: u32 = 2u;
const THREADS: u32 = 128u;
// Slices that workgroup memory holds: with two, a slice is written while slower invocations still read the last one.
const BUFFERS: u32 = 1u;

const PARTS: u32 = PARTS_M * PARTS_N;
const PART_M: u32 = COUNT_M * SIDE;
const PART_N: u32 = COUNT_N * SIDE;
const SUMS: u32 = COUNT_M * COUNT_N;
const QUADS_K: u32 = TILE_K / 4u;
// From one row of a slice to the next, in vectors of four: two more than it has, so that rows begin in other banks.
const ROW: u32 = QUADS_K + 2u;
const WEIGHT_VECTORS: u32 = TILE_M * QUADS_K;
const WEIGHT_LOADS: u32 = (WEIGHT_VECTORS + THREADS - 1u) / THREADS;
// Vectors of four positions along K that lie next to each other in the packed weight, channel by channel.
const PACKED_QUADS: u32 = 16u / 4u;
const MATRIX: u32 = SIDE * SIDE;

// The sums of one matrix of each part, and a place for what nobody wants.
var<workgroup> finished: array<f32, (PARTS + 1u) * MATRIX>;
// Where each pixel lies in the output, or NOWHERE.
var<workgroup> places: array<u32, TILE_N>;
const NOWHERE: u32 = 0xffffffffu;
var<workgroup> turns: u32;

// The weight's next slice, on its way.
var<private> weights_ahead: array<vec4<f16>, WEIGHT_LOADS>;
// Where this invocation's vectors lie within a slice of the packed weight.
var<private> weight_places: array<u32, WEIGHT_LOADS>;
// Where the next slice begins, and how far it is from one 16 positions along K to the next.
var<private> weight_at: u32;

// From one 16 positions along K of the packed weight to the next, in vectors.
fn packed_step() -> u32 { return params.weight_quads * 4u * PACKED_QUADS; }

// Starts loading the slice of the weight at the current position.
fn fetch_weights() {
    for (var e = 0u; e < WEIGHT_LOADS; e++) {
        weights_ahead[e] = weight[weight_at + weight_places[e]];
    }
    weight_at += TILE_K / (4u * PACKED_QUADS) * packed_step();
}

// Puts the slices that have arrived into workgroup memory.
fn put_slices(buffer: u32, local: u32, phase: u32) {
    for (var e = 0u; e < WEIGHT_LOADS; e++) {
        let vector = e * THREADS + local;
        if WEIGHT_VECTORS % THREADS == 0u || vector < WEIGHT_VECTORS {
            put_weights((buffer * TILE_M + vector / QUADS_K) * ROW + vector % QUADS_K, weights_ahead[e]);
        }
    }
    if THREADS <= TILE_N * PHASES || local < TILE_N {
        for (var t = 0u; t < DEPTH / 4u; t++) {
            // With phases, a channel block's quads are those of one invocation after the other.
            let quad_k = t + (phase + t / RUN_QUADS * (PHASES - 1u)) * RUN_QUADS;
            for (var q = 0u; q < COLUMNS; q++) {
                put_inputs((buffer * TILE_N + q * THREADS + local % TILE_N) * ROW + quad_k, vec4<f16>(
                    half_of(arrived(t * 4u, q)), half_of(arrived(t * 4u + 1u, q)),
                    half_of(arrived(t * 4u + 2u, q)), half_of(arrived(t * 4u + 3u, q))));
            }
        }
    }
}

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) workgroup: vec3u,
    @builtin(local_invocation_index) local: u32,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(num_subgroups) subgroups: u32,
) {
    let tile = tile_at(tile_index(workgroup), groups());
    let first_pixel = tile.pixel_tile * TILE_N;
    let first_plane = first_pixel / params.plane_pixels;
    let first_place = first_pixel % params.plane_pixels;
    let first_channel = tile.channel_tile * TILE_M;

    // This invocation's part of a slice of the weight; channels beyond the last repeat it.
    for (var e = 0u; e < WEIGHT_LOADS; e++) {
        let vector = min(e * THREADS + local, WEIGHT_VECTORS - 1u);
        let row = min(first_channel + vector / QUADS_K, params.group_out - 1u);
        let quad = vector % QUADS_K;
        weight_places[e] = quad / PACKED_QUADS * packed_step() + row * PACKED_QUADS + quad % PACKED_QUADS;
    }
    let phase = phase_of(local);
    start_columns(local, tile.group, first_pixel, first_plane, first_place);
    for (var n = local; n < TILE_N; n += THREADS) {
        let live = tile.live & (first_pixel + n < params.pixels);
        places[n] = select(NOWHERE, output_place(pixel_at(first_plane, first_place, n)), live);
    }
    // Drivers choose the size of subgroups. Where there are fewer than parts, they take several turns; where there are more, the
    // others do what the last part does, and nobody looks at it.
    if local == 0u {
        turns = (PARTS + subgroups - 1u) / subgroups;
    }
    let all_turns = workgroupUniformLoad(&turns);
    for (var turn = 0u; turn < all_turns; turn++) {
        let wanted = turn * subgroups + subgroup;
        let part = min(wanted, PARTS - 1u);
        let part_m = part / PARTS_N * PART_M;
        let part_n = part % PARTS_N * PART_N;
        weight_at = params.weight_offset
            + (tile.group * params.weight_rows + params.part_begin) / (4u * PACKED_QUADS) * packed_step();
        start_at(params.part_begin);
        var sums: array<MatrixC, SUMS>;
        var buffer = 0u;
        if params.part_begin < params.part_end {
            fetch_weights();
            fetch_inputs();
        }
        for (var start = params.part_begin; start < params.part_end; start += TILE_K) {
            put_slices(buffer, local, phase);
            workgroupBarrier();
            if start + TILE_K < params.part_end {
                fetch_weights();
                fetch_inputs();
            }
            for (var step = 0u; step < STEPS; step++) { // unroll
                var b: array<MatrixB, COUNT_N>;
                for (var n = 0u; n < COUNT_N; n++) { // unroll
                    let at = ((buffer * TILE_N + part_n + n * SIDE) * ROW + step * (SIDE / 4u)) * SLOTS;
                    b[n] = coopLoad<MatrixB>(&input_slice[at], ROW * SLOTS);
                }
                for (var m = 0u; m < COUNT_M; m++) { // unroll
                    let at = ((buffer * TILE_M + part_m + m * SIDE) * ROW + step * (SIDE / 4u)) * SLOTS;
                    let a = coopLoadT<MatrixA>(&weight_slice[at], ROW * SLOTS);
                    for (var n = 0u; n < COUNT_N; n++) { // unroll
                        sums[m * COUNT_N + n] = coopMultiplyAdd(a, b[n], sums[m * COUNT_N + n]);
                    }
                }
            }
            if BUFFERS == 1u {
                workgroupBarrier();
            } else {
                buffer = 1u - buffer;
            }
        }

        let area = select(PARTS, part, wanted < PARTS) * MATRIX;
        for (var m = 0u; m < COUNT_M; m++) { // unroll
            for (var n = 0u; n < COUNT_N; n++) { // unroll
                coopStoreT(sums[m * COUNT_N + n], &finished[area], SIDE);
                workgroupBarrier();
                for (var x = local; x < PARTS * MATRIX; x += THREADS) {
                    let owner = x / MATRIX;
                    let of_group = first_channel + owner / PARTS_N * PART_M + m * SIDE + x / SIDE % SIDE;
                    let place = places[owner % PARTS_N * PART_N + n * SIDE + x % SIDE];
                    let out_channel = tile.group * params.group_out + of_group;
                    let of_channel = load_channel(out_channel);
                    if (owner / subgroups == turn) & (place != NOWHERE) & (of_group < params.group_out) {
                        store(finished[x], of_channel, place + out_channel * params.out_channel);
                    }
                }
                workgroupBarrier();
            }
        }
    }
}

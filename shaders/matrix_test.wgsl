// matrix_test: multiplies two known matrices, SIDE rows and columns of results, 2 · SIDE products each, in the way of `matrix`: from
// workgroup memory, the first one row by row and the second one column by column, the sums back through workgroup memory.
// `src/matrix_units.rs` compares.
//
// Behind `slices_vector.wgsl` or `slices_scalar.wgsl`.

const SIDE: u32 = 16u;
alias MatrixA = coop_mat16x16<f16, A>;
alias MatrixB = coop_mat16x16<f16, B>;
alias MatrixC = coop_mat16x16<f32, C>;

const STEPS: u32 = 2u;
const TILE_M: u32 = SIDE;
const TILE_N: u32 = SIDE;
const BUFFERS: u32 = 1u;
const QUADS_K: u32 = STEPS * SIDE / 4u;
const ROW: u32 = QUADS_K + 2u;
const THREADS: u32 = 64u;

@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read> b: array<f32>;
@group(0) @binding(2) var<storage, read_write> c: array<f32>;

var<workgroup> finished: array<f32, SIDE * SIDE>;

@compute @workgroup_size(THREADS)
fn main(@builtin(local_invocation_index) local: u32) {
    for (var x = local; x < SIDE * QUADS_K; x += THREADS) {
        let row = x / QUADS_K;
        let quad = x % QUADS_K;
        var of_a: vec4<f16>;
        var of_b: vec4<f16>;
        for (var r = 0u; r < 4u; r++) {
            let k = quad * 4u + r;
            of_a[r] = f16(a[row * (4u * QUADS_K) + k]);
            of_b[r] = f16(b[k * SIDE + row]);
        }
        put_weights(row * ROW + quad, of_a);
        put_inputs(row * ROW + quad, of_b);
    }
    workgroupBarrier();
    // Every subgroup computes the same, and all of them write the same.
    var sums: MatrixC;
    for (var step = 0u; step < STEPS; step++) { // unroll
        let at = step * (SIDE / 4u) * SLOTS;
        let of_a = coopLoadT<MatrixA>(&weight_slice[at], ROW * SLOTS);
        let of_b = coopLoad<MatrixB>(&input_slice[at], ROW * SLOTS);
        sums = coopMultiplyAdd(of_a, of_b, sums);
    }
    coopStoreT(sums, &finished[0], SIDE);
    workgroupBarrier();
    for (var x = local; x < SIDE * SIDE; x += THREADS) {
        c[x] = finished[x];
    }
}

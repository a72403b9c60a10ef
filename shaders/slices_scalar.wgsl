// Put before `matrix`: slices in workgroup memory are single numbers, for backends (Metal) whose matrices are loaded from such.
// (Instead of `slices_vector.wgsl`.)

// Elements of these arrays that four positions along K take.
const SLOTS: u32 = 4u;
// Rows are channels.
var<workgroup> weight_slice: array<f16, BUFFERS * TILE_M * ROW * SLOTS>;
// Rows are pixels.
var<workgroup> input_slice: array<f16, BUFFERS * TILE_N * ROW * SLOTS>;

fn put_weights(at: u32, four: vec4<f16>) {
    for (var r = 0u; r < 4u; r++) {
        weight_slice[at * 4u + r] = four[r];
    }
}

fn put_inputs(at: u32, four: vec4<f16>) {
    for (var r = 0u; r < 4u; r++) {
        input_slice[at * 4u + r] = four[r];
    }
}

// Put before `matrix`: slices in workgroup memory are vectors of four positions along K. (Instead of `slices_scalar.wgsl`.)

// Elements of these arrays that such a vector takes.
const SLOTS: u32 = 1u;
// Rows are channels.
var<workgroup> weight_slice: array<vec4<f16>, BUFFERS * TILE_M * ROW>;
// Rows are pixels.
var<workgroup> input_slice: array<vec4<f16>, BUFFERS * TILE_N * ROW>;

fn put_weights(at: u32, four: vec4<f16>) { weight_slice[at] = four; }
fn put_inputs(at: u32, four: vec4<f16>) { input_slice[at] = four; }

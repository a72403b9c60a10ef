// window_sums: adds up, for each group and output pixel, the 8-bit integers of the input that its taps meet, which a weight's zero
// point is multiplied by. One invocation for one sum; they lie behind the sums of products in the workspace.
//
// Behind `common.wgsl` with GENERIC, `quads.wgsl` and `tensors_quads.wgsl`; the padding is in place already.

@group(0) @binding(5) var<storage, read_write> output: array<i32>;

const WORKGROUP: u32 = 256u;

fn load_output(index: u32) -> Value { return 0u; }

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(local_invocation_index) local: u32) {
    let wanted = tile_index(workgroup) * WORKGROUP + local;
    let index = min(wanted, params.pixels - 1u);
    let groups = params.out_channels / params.group_out;
    let row = index / params.out_width;
    let slice = row / params.out_height;
    let part = slice / params.out_depth;
    let first = part / groups * params.in_image + part % groups * params.group_in * params.in_channel
        + slice % params.out_depth * params.stride_d * params.in_slice
        + row % params.out_height * params.stride_h * params.in_row
        + index % params.out_width * params.stride_w * params.in_column;
    var sum = 0;
    for (var k = 0u; k < params.sum_length; k++) {
        let line = k / params.kernel_w;
        let plane = line / params.kernel_h;
        let at = plane / params.kernel_d * params.in_channel + plane % params.kernel_d * params.dilation_d * params.in_slice
            + line % params.kernel_h * params.dilation_h * params.in_row
            + k % params.kernel_w * params.dilation_w * params.in_column;
        sum = fma(load_input(first + at), 0x01010101u, sum);
    }
    if wanted < params.pixels {
        output[params.output_offset + index] = sum;
    }
}

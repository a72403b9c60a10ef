// quads_of_input: makes of an input of 8-bit integers what kernels read: words with the signed integers of four neighbouring
// channels of a group, dense, with the padding in place, which holds what stands for zero. One invocation writes one word.
//
// Behind `common.wgsl` with GENERIC. Input sizes, distances, padding and mode are those of the problem; the output's sizes
// are those of the padded input, its channels the words.

alias Value = u32;

// The input is unsigned: 128 less makes it signed.
const UNSIGNED: bool = false;

@group(0) @binding(1) var<storage, read> input: array<u32>;
@group(0) @binding(3) var<storage, read> quantization: array<i32>;
@group(0) @binding(5) var<storage, read_write> output: array<u32>;

const WORKGROUP: u32 = 256u;

fn load_input(index: u32) -> Value { return (input[index >> 2u] >> (index % 4u * 8u)) & 0xffu; }
fn load_output(index: u32) -> Value { return 0u; }

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(local_invocation_index) local: u32) {
    let quads = (params.group_in + 3u) / 4u;
    let index = tile_index(workgroup) * WORKGROUP + local;
    let row = index / params.out_width;
    let slice = row / params.out_height;
    let channel = slice / params.out_depth;
    let column_at = source(i32(index % params.out_width) - params.pad_left, params.in_width);
    let row_at = source(i32(row % params.out_height) - params.pad_top, params.in_height);
    let slice_at = source(i32(slice % params.out_depth) - params.pad_front, params.in_depth);
    let inside = (column_at >= 0) & (row_at >= 0) & (slice_at >= 0);
    let pixel = u32(max(slice_at, 0)) * params.in_slice + u32(max(row_at, 0)) * params.in_row
        + u32(max(column_at, 0)) * params.in_column;
    let groups = params.out_channels / params.group_out;
    let group = channel / quads % groups;
    let first = channel % quads * 4u;
    let plane = params.input_offset + channel / quads / groups * params.in_image
        + (group * params.group_in + first) * params.in_channel + pixel;
    var word = 0u;
    for (var b = 0u; b < 4u; b++) {
        if first + b < params.group_in {
            var byte = u32(quantization[0]);
            if inside & (index < params.pixels) {
                byte = read_input(plane + b * params.in_channel);
            }
            word |= ((byte & 0xffu) ^ select(0u, 0x80u, UNSIGNED)) << (b * 8u);
        }
    }
    if index < params.pixels {
        output[index] = word;
    }
}

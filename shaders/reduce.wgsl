// reduce: adds up the partial sums that a kernel with split sums has left in the workspace, in their order, and applies the
// epilogue. The workspace is bound in the input's place: `splits` times as many numbers as this pass has outputs, dense.

@group(0) @binding(1) var<storage, read> partial_sums: array<f32>;

const WORKGROUP: u32 = 256u;

// The pass has the whole output, in the order of the workspace.
const SAME_ORDER: bool = true;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(local_invocation_index) local: u32) {
    let length = params.pixels * params.out_channels;
    let wanted = tile_index(workgroup) * WORKGROUP + local;
    let index = min(wanted, length - 1u);
    let row = index / params.out_width;
    let slice = row / params.out_height;
    let depth = select(1u, params.out_depth, SLICES);
    let channel = slice / depth % params.out_channels;
    let of_channel = load_channel(channel);
    var sum = 0.0;
    for (var s = 0u; s < params.splits; s++) {
        sum += partial_sums[s * length + index];
    }
    var place = index;
    if !SAME_ORDER {
        place = slice / depth / params.out_channels * params.out_image + channel * params.out_channel
            + slice % depth * params.out_slice + row % params.out_height * params.out_row
            + output_column(index % params.out_width);
    }
    if wanted < length {
        store(sum, of_channel, place);
    }
}

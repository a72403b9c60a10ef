// reduce: adds up the partial sums that a kernel with split sums has left in the workspace, in their order, and applies the
// epilogue. The workspace is bound as the input: `splits` times as many numbers as the output has.

const WORKGROUP: u32 = 256u;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(local_invocation_index) local: u32) {
    let length = params.pixels * params.out_channels;
    let wanted = tile_index(workgroup) * WORKGROUP + local;
    let index = min(wanted, length - 1u);
    let of_channel = load_channel(index / params.out_plane % params.out_channels);
    var sum = 0.0;
    for (var s = 0u; s < params.splits; s++) {
        sum += input[s * length + index];
    }
    if wanted < length {
        store(sum, of_channel, index);
    }
}

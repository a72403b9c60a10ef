// Put before the kernels: integer sums, which go to a workspace as they are. (Instead of an output with `epilogue.wgsl`.)

@group(0) @binding(5) var<storage, read_write> output: array<i32>;

// Nothing is needed of an output channel here.
alias Channel = u32;

fn load_channel(channel: u32) -> Channel { return 0u; }

// The input is in a workspace of its own.
fn load_output(index: u32) -> Value { return 0u; }

fn store(sum: Sum, channel: Channel, index: u32) {
    let at = params.output_offset + index;
    var value = sum;
    if SPLIT && params.part_begin != 0u {
        value += output[at];
    }
    output[at] = value;
}

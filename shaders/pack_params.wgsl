// Put before the programs that pack weights: where a pass of the problem finds its weight, and where the packed one goes.

struct Pack {
    groups: u32,
    group_out: u32,
    // Input channels of a group, and taps along slices, rows and columns.
    channels: u32,
    kernel_d: u32,
    kernel_h: u32,
    kernel_w: u32,
    // Where the weight lies: its first element, and from one group, output channel, input channel and tap to the next.
    first: u32,
    group_step: u32,
    output_step: u32,
    input_step: u32,
    slice_step: i32,
    row_step: i32,
    column_step: i32,
    // The vectors of this pass: the first one, and how many.
    first_vector: u32,
    vectors: u32,
    grid_width: u32,
    // The order of K in kmajor.
    channel_block: u32,
    rows: u32,
    // Of 8-bit integers, whose channels are counted by fours above: channels of a group, and from one to the next.
    single_channels: u32,
    single_step: u32,
    // The output channel of the problem that is the first of this pass.
    first_channel: u32,
}

@group(0) @binding(0) var<uniform> pack: Pack;

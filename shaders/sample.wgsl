// sample: what the taps of a deformable convolution see, written for a 1x1 convolution to read. For every image of a pass,
// input channel, tap and output pixel: the input, interpolated between its four neighbours at the place to which the offsets
// move the tap there, times the mask. Behind `sample_words.wgsl` or `sample_halves.wgsl`, which declare the tensors.
//
// An invocation takes one place (image, offset group, tap, pixel) and CHANNELS channels there.

const WORKGROUP: u32 = 256u;
const CHANNELS: u32 = 8u;
const MASKED: bool = false;

struct Params {
    in_height: u32,
    in_width: u32,
    // Elements from one to the next.
    in_image: u32,
    in_channel: u32,
    in_row: u32,
    in_column: u32,
    offset_image: u32,
    offset_channel: u32,
    offset_row: u32,
    offset_column: u32,
    mask_image: u32,
    mask_channel: u32,
    mask_row: u32,
    mask_column: u32,
    // First element within each binding.
    input_first: u32,
    offset_first: u32,
    mask_first: u32,
    // Channels of all groups, of a group of the weight and of an offset group, and how many pieces the latter is taken in.
    channels: u32,
    group_in: u32,
    group_offset: u32,
    pieces: u32,
    offset_groups: u32,
    taps: u32,
    kernel_w: u32,
    stride_h: u32,
    stride_w: u32,
    dilation_h: u32,
    dilation_w: u32,
    pad_top: i32,
    pad_left: i32,
    out_width: u32,
    // Of an output plane.
    pixels: u32,
    // In columns, as what is written calls a channel and a tap together: from one channel of a group to the next, and from one
    // tap to the next.
    channel_columns: u32,
    tap_columns: u32,
    // Invocations that have something to do.
    items: u32,
    // This segment's first workgroup, and workgroups per row of the grid.
    tile_begin: u32,
    grid_width: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(5) var<storage, read_write> samples: array<f32>;

// A place along one axis.
struct Place {
    // The elements before and behind it, or what stands in for one outside of the image.
    first: u32,
    second: u32,
    // How much each of them counts.
    first_share: f32,
    second_share: f32,
    first_inside: bool,
    second_inside: bool,
}

// `base` and `offset` make a position that may be anything: it is limited while it is a float, to what an i32 can be. Whether
// the offset is a number at all is decided by its bits, since drivers may assume that floats are. A place at -1 or before it
// sees nothing of the image, nor does one at `size` or behind it.
fn place(base: i32, offset: f32, size: u32) -> Place {
    let finite = (bitcast<u32>(offset) & 0x7fffffffu) < 0x7f800000u;
    let wanted = f32(base) + select(0.0, offset, finite);
    // 2147483520 is the largest float below 2^31.
    let position = select(-2.0, min(wanted, 2147483520.0), finite && wanted > -1.0);
    let before = floor(position);
    let first = i32(before);
    let last = i32(size) - 1;
    var found: Place;
    found.first = u32(clamp(first, 0, last));
    found.second = u32(clamp(first, -1, last - 1) + 1);
    found.second_share = position - before;
    found.first_share = 1.0 - found.second_share;
    found.first_inside = first >= 0 && first <= last;
    found.second_inside = first >= -1 && first < last;
    return found;
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(local_invocation_index) local: u32) {
    let wanted = (params.tile_begin + workgroup.y * params.grid_width + workgroup.x) * WORKGROUP + local;
    // Those beyond the last one do what it does, and store nothing.
    let item = min(wanted, params.items - 1u);
    let live = wanted < params.items;
    let pixel = item % params.pixels;
    let of_tap = item / params.pixels;
    let tap = of_tap % params.taps;
    let of_piece = of_tap / params.taps;
    let piece = of_piece % params.pieces;
    let of_group = of_piece / params.pieces;
    let group = of_group % params.offset_groups;
    let image = of_group / params.offset_groups;
    let out_row = pixel / params.out_width;
    let out_column = pixel % params.out_width;

    let place_of_tap = group * params.taps + tap;
    let offset_at = params.offset_first + image * params.offset_image + 2u * place_of_tap * params.offset_channel
        + out_row * params.offset_row + out_column * params.offset_column;
    let base_y = i32(out_row * params.stride_h + tap / params.kernel_w * params.dilation_h) - params.pad_top;
    let base_x = i32(out_column * params.stride_w + tap % params.kernel_w * params.dilation_w) - params.pad_left;
    let y = place(base_y, load_offset(offset_at), params.in_height);
    let x = place(base_x, load_offset(offset_at + params.offset_channel), params.in_width);
    var factor = 1.0;
    if MASKED {
        factor = load_mask(params.mask_first + image * params.mask_image + place_of_tap * params.mask_channel
            + out_row * params.mask_row + out_column * params.mask_column);
    }

    let top = params.input_first + image * params.in_image + y.first * params.in_row;
    let bottom = params.input_first + image * params.in_image + y.second * params.in_row;
    let left = x.first * params.in_column;
    let right = x.second * params.in_column;
    for (var c = 0u; c < CHANNELS; c++) {
        // Channels beyond the offset group's last one: that one, not stored.
        let of_offset_group = min(piece * CHANNELS + c, params.group_offset - 1u);
        let channel = group * params.group_offset + of_offset_group;
        let plane = channel * params.in_channel;
        let top_left = select(0.0, load_input(plane + top + left), y.first_inside && x.first_inside);
        let top_right = select(0.0, load_input(plane + top + right), y.first_inside && x.second_inside);
        let bottom_left = select(0.0, load_input(plane + bottom + left), y.second_inside && x.first_inside);
        let bottom_right = select(0.0, load_input(plane + bottom + right), y.second_inside && x.second_inside);
        let above = x.first_share * top_left + x.second_share * top_right;
        let below = x.first_share * bottom_left + x.second_share * bottom_right;
        var value = y.first_share * above + y.second_share * below;
        if MASKED {
            value *= factor;
        }
        let column = channel / params.group_in * params.group_in * params.taps
            + channel % params.group_in * params.channel_columns + tap * params.tap_columns;
        let at = (image * params.channels * params.taps + column) * params.pixels + pixel;
        if live && piece * CHANNELS + c < params.group_offset {
            samples[at] = value;
        }
    }
}

// Put before every kernel: parameters, the way through tiles, and the padding rule.
//
// The host sets `const` lines of this form by name, and nothing else (see README.md in this folder). With GENERIC, what
// is a constant here comes from Params instead, so that one pipeline serves every configuration.

const GENERIC: bool = false;
const KERNEL_H: u32 = 3u;
const KERNEL_W: u32 = 3u;
const STRIDE_H: u32 = 1u;
const STRIDE_W: u32 = 1u;
const DILATION_H: u32 = 1u;
const DILATION_W: u32 = 1u;
// 0 zeros, 1 reflect, 2 replicate, 3 circular
const PADDING_MODE: u32 = 0u;
// There are taps, padding or more than one output along a third axis (slices).
const DEEP: bool = false;
// Neighbouring columns of the input, and of the output, are neighbours in memory.
const INPUT_DENSE: bool = true;
const OUTPUT_DENSE: bool = true;
// See activate().
const ACTIVATION: u32 = 0u;
const HAS_BIAS: bool = true;
const HAS_RESIDUAL: bool = false;
// The sum is formed in parts, one dispatch after another, and waits in the output in between.
const SPLIT: bool = false;
// Sums go as they are to a workspace, which is bound as the output; another program adds them up and does the rest.
const PARTIAL: bool = false;
// Input or residual lie in the output's buffer and are read through its binding.
const INPUT_IN_OUTPUT: bool = false;
const RESIDUAL_IN_OUTPUT: bool = false;

struct Params {
    in_depth: u32,
    in_height: u32,
    in_width: u32,
    // Elements from one to the next.
    in_image: u32,
    in_channel: u32,
    in_slice: u32,
    in_row: u32,
    in_column: u32,
    out_depth: u32,
    out_height: u32,
    out_width: u32,
    out_image: u32,
    out_channel: u32,
    out_slice: u32,
    out_row: u32,
    out_column: u32,
    // Pixels of a plane (an output slice of one image), and channels of all groups.
    plane_pixels: u32,
    out_channels: u32,
    // Channels of one group, and K = channels · taps.
    group_in: u32,
    group_out: u32,
    sum_length: u32,
    // What a kernel divides into tiles: pixel blocks (direct) or pixels (tiled) of all planes.
    pixels: u32,
    pad_front: i32,
    pad_top: i32,
    pad_left: i32,
    // First element within each binding (which may begin behind it: indices count modulo 2^32); of the weight the first vector of
    // four, or element of the packing oihw. Then the first of this pass's outputs in its image.
    input_offset: u32,
    output_offset: u32,
    residual_offset: u32,
    weight_offset: u32,
    first_output: u32,
    // This segment's tiles, and workgroups per row of the grid.
    tile_begin: u32,
    tile_end: u32,
    grid_width: u32,
    // This segment's part of the sum: channels times slices of the kernel (direct) or positions along K (tiled).
    part_begin: u32,
    part_end: u32,
    // Whether parts follow.
    unfinished: u32,
    tiles_pixels: u32,
    tiles_channels: u32,
    // Tiles along the pixels that all tiles along the channels take in turn, before the next so many.
    tiles_run: u32,
    // Numbers of the activation.
    alpha: f32,
    beta: f32,
    // The constants above, for GENERIC, and what there is along slices.
    kernel_d: u32,
    kernel_h: u32,
    kernel_w: u32,
    stride_d: u32,
    stride_h: u32,
    stride_w: u32,
    dilation_d: u32,
    dilation_h: u32,
    dilation_w: u32,
    padding_mode: u32,
    activation: u32,
    has_bias: u32,
    has_residual: u32,
    // Packing kmajor: channels of a block, rows of a group's weight along K, and vectors of a row, of which a pass may have some.
    channel_block: u32,
    weight_rows: u32,
    weight_quads: u32,
    // Output channels of the problem: the one that is this pass's first, and all of them.
    first_channel: u32,
    all_channels: u32,
    // How many workgroups share a sum, and how many positions along K each has (split-K).
    splits: u32,
    split_length: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
// Bindings 1 to 5 are tensors, which the files behind this one declare by what they hold.

fn kernel_h() -> u32 { if GENERIC { return params.kernel_h; } return KERNEL_H; }
fn kernel_w() -> u32 { if GENERIC { return params.kernel_w; } return KERNEL_W; }
fn stride_h() -> u32 { if GENERIC { return params.stride_h; } return STRIDE_H; }
fn stride_w() -> u32 { if GENERIC { return params.stride_w; } return STRIDE_W; }
fn dilation_h() -> u32 { if GENERIC { return params.dilation_h; } return DILATION_H; }
fn dilation_w() -> u32 { if GENERIC { return params.dilation_w; } return DILATION_W; }
fn padding_mode() -> u32 { if GENERIC { return params.padding_mode; } return PADDING_MODE; }
fn activation() -> u32 { if GENERIC { return params.activation; } return ACTIVATION; }

const SLICES: bool = DEEP || GENERIC;

// The image of an output plane, and the slice that the plane is of it.
fn image_of(plane: u32) -> u32 { if SLICES { return plane / params.out_depth; } return plane; }
fn slice_of(plane: u32) -> u32 { if SLICES { return plane % params.out_depth; } return 0u; }

// Distance of the x-th column from the first one.
fn input_column(x: u32) -> u32 { return select(x * params.in_column, x, INPUT_DENSE); }
fn output_column(x: u32) -> u32 { return select(x * params.out_column, x, OUTPUT_DENSE); }

// Where an output plane of a channel begins.
fn output_plane(plane: u32, channel: u32) -> u32 {
    return image_of(plane) * params.out_image + slice_of(plane) * params.out_slice + channel * params.out_channel;
}

// The tile of this workgroup, or tile_end and beyond: such a workgroup of a folded grid stores nothing. It does not
// leave early: a return ahead of the loops makes some software drivers mask every instruction after it.
fn tile_index(workgroup: vec3u) -> u32 {
    return params.tile_begin + workgroup.y * params.grid_width + workgroup.x;
}

// A tile's place: along the pixels, along the channels of its group, which group, and which of the workgroups that share its
// sums. All but the last are in range for a folded grid's surplus workgroups too.
struct Tile {
    pixel_tile: u32,
    channel_tile: u32,
    group: u32,
    split: u32,
    // Whether it is a tile of this segment.
    live: bool,
}

fn groups() -> u32 { return params.out_channels / params.group_out; }

// With so many groups that have tiles of their own.
fn tile_at(index: u32, groups: u32) -> Tile {
    let of_group = params.tiles_pixels * params.tiles_channels;
    let of_run = params.tiles_run * params.tiles_channels;
    let of_groups = index / of_group;
    let first = index % of_group / of_run * params.tiles_run;
    let in_run = index % of_group % of_run;
    // The last run may be shorter.
    let length = min(params.tiles_run, params.tiles_pixels - first);
    var tile: Tile;
    tile.pixel_tile = first + in_run % length;
    tile.channel_tile = in_run / length;
    tile.group = of_groups % groups;
    tile.split = of_groups / groups;
    tile.live = index < params.tile_end;
    return tile;
}

// n / d for n < d + 128, without the integer division that GPUs emulate: this runs in every invocation.
fn small_quotient(n: u32, d: u32) -> u32 {
    return select(u32((f32(n) + 0.5) / f32(d)), u32(n >= d), d > 128u);
}

// The padding rule along one axis: where the element at `position` (which counts from the image's first element and may
// lie outside) comes from; negative for a zero. Positions that no output needs give some element of the image. Without
// branches: with GENERIC there would be one for each element of an unrolled block, and some compilers drown in them.
fn source(position: i32, size: u32) -> i32 {
    let last = i32(size) - 1;
    let mirrored = abs(position);
    let reflected = clamp(select(2 * last - mirrored, mirrored, mirrored <= last), 0, last);
    let replicated = clamp(position, 0, last);
    let wrapped = position + select(0, i32(size), position < 0) - select(0, i32(size), position > last);
    let or_zero = select(-1, position, u32(position) < size);
    let mode = padding_mode();
    return select(
        select(or_zero, reflected, mode == 1u),
        select(replicated, clamp(wrapped, 0, last), mode == 3u),
        mode >= 2u,
    );
}

fn read_input(index: u32) -> Value {
    if INPUT_IN_OUTPUT {
        return Value(load_output(index));
    }
    return load_input(index);
}

// Put before the kernels that keep a window of the input in registers (direct, broadcast): how taps are taken in blocks.
//
// Taps are taken in blocks of TAP_ROWS × TAP_COLUMNS. The window is the input that one channel's block of taps needs: it is
// loaded once, and all pixels, taps and channels of an invocation's block share it.

// Of the kernel at once: all rows or one; all columns or a part that divides them. With CHANNEL_TAPS (broadcast alone) the
// kernel is 1×1, and what is called rows of taps are so many input channels.
const CHANNEL_TAPS: bool = false;
const TAP_ROWS: u32 = 3u;
const TAP_COLUMNS: u32 = 3u;
// The stretch of the image that the block needs along an axis, (pixels - 1) · stride + (taps - 1) · dilation + 1 long; of a
// single tap out of several, one element for each pixel.
const WINDOW_H: u32 = 10u;
const WINDOW_W: u32 = 10u;
// What row y of the pixels needs for row a of the taps is what row y - REUSE_ROWS needed for row a + REUSE_TAPS.
const REUSE_ROWS: u32 = 1u;
const REUSE_TAPS: u32 = 1u;
// Whether an element may be a zero of the padding.
const ZEROS: bool = true;
// Whether every element that a block touches is one of the image: no padding, and no axis shorter than a block.
const INSIDE: bool = false;
// Steps along a sum that are added up on their own before they join the total, or 0: keeps rounding small where K is large.
const SUM_CHANNELS: u32 = 0u;

// Whether a block of taps covers the kernel along the axis, and elements of the window from one pixel to the next.
const WHOLE_H: bool = !GENERIC && TAP_ROWS == KERNEL_H;
const WHOLE_W: bool = !GENERIC && TAP_COLUMNS == KERNEL_W;
const STRETCH_W: bool = WHOLE_W || TAP_COLUMNS > 1u;
const STEP_H: u32 = select(select(1u, STRIDE_H, WHOLE_H), TAP_ROWS, CHANNEL_TAPS);
const STEP_W: u32 = select(1u, STRIDE_W, STRETCH_W);

// Input channels of a step along a sum.
const STEP_CHANNELS: u32 = select(1u, TAP_ROWS, CHANNEL_TAPS);

// A stretch of an axis of the output that a block computes. The last block ends where the axis does, if that is long enough:
// so it needs no element beyond the image, and computes again some outputs that the block before it stores.
struct Stretch {
    first: u32,
    // How many of its elements, the first ones, are not its own.
    again: u32,
}

fn stretch_at(number: u32, block: u32, size: u32) -> Stretch {
    let own = number * block;
    let first = min(own, max(size, block) - block);
    return Stretch(first, select(own - first, 0u, block == 1u));
}

// Elements of a stretch that are its own, up to the end of the axis.
fn own_of(stretch: Stretch, size: u32) -> u32 { return size - stretch.first - stretch.again; }

// Row of the image (negative for a zero) for row y of the pixels and row a of the taps from (i, j) on, and column of the
// image for the window's column q. In a slice that is padding (negative) every row is.
fn source_row(slice: i32, top: i32, y: u32, i: u32, a: u32) -> i32 {
    let position = top + i32(y * stride_h() + (i + a) * dilation_h());
    if INSIDE {
        return position;
    }
    let row = source(position, params.in_height);
    if SLICES {
        return select(row, -1, slice < 0);
    }
    return row;
}

fn source_column(left: i32, q: u32, j: u32) -> i32 {
    let position = left + i32(select(q * stride_w(), q, STRETCH_W) + j * dilation_w());
    if INSIDE {
        return position;
    }
    return source(position, params.in_width);
}

// The row or column that is loaded: in place of a zero some element that exists, so that every index stays in range.
fn existing(position: i32) -> u32 {
    if INSIDE {
        return u32(position);
    }
    return u32(max(position, 0));
}

// The way along a sum: a step is a slice of the kernel in an input channel of the group.
struct Walk {
    // Where the step's plane of the input begins.
    at: u32,
    // The slice that it is, negative for zeros; without SLICES nobody asks.
    slice: i32,
    channel: u32,
    tap_slice: u32,
    // Where the first channel begins, and the input slice of the first tap.
    first: u32,
    front: i32,
}

fn find_slice(walk: ptr<function, Walk>) {
    if SLICES {
        let slice = source((*walk).front + i32((*walk).tap_slice * params.dilation_d), params.in_depth);
        (*walk).slice = slice;
        (*walk).at = (*walk).first + (*walk).channel * params.in_channel + u32(max(slice, 0)) * params.in_slice;
    }
}

// The given step of an output plane's sums.
fn walk_from(step: u32, group: u32, plane: u32) -> Walk {
    var walk: Walk;
    walk.first = params.input_offset + image_of(plane) * params.in_image + group * params.group_in * params.in_channel;
    if SLICES {
        walk.channel = step / params.kernel_d;
        walk.tap_slice = step % params.kernel_d;
        walk.front = i32(slice_of(plane) * params.stride_d) - params.pad_front;
        find_slice(&walk);
    } else {
        walk.at = walk.first + step * params.in_channel;
    }
    return walk;
}

fn next_step(walk: ptr<function, Walk>) {
    if SLICES {
        (*walk).tap_slice += 1u;
        let next = (*walk).tap_slice == params.kernel_d;
        (*walk).tap_slice = select((*walk).tap_slice, 0u, next);
        (*walk).channel += select(0u, 1u, next);
        find_slice(walk);
    } else {
        (*walk).at += STEP_CHANNELS * params.in_channel;
    }
}

// requantize: makes outputs of integer sums of products: what zero points add, bias, and for 8-bit outputs scale, activation,
// rounding (half to even) and saturation.
//
//     Σ (x - zx)(w - zw) = Σ x·w - zx Σ w - zw Σ x + K zx zw
//
// Behind `common.wgsl` and `activation.wgsl`. One invocation writes one word of the output, which is one 32-bit element or four
// 8-bit ones; bytes of the word that are none of this output stay as they are.

// An element of the output: 0 a 32-bit integer, 1 a signed, 2 an unsigned 8-bit one.
const OUTPUT_KIND: u32 = 0u;
const CHANNELS_LAST: bool = false;
// Weights have zero points: behind the sums of products lie those of windows of the input.
const WEIGHT_ZERO_POINTS: bool = false;

// The workspace, and the sums of each output channel's weights.
@group(0) @binding(1) var<storage, read> sums: array<i32>;
@group(0) @binding(2) var<storage, read> weight_sums: array<i32>;
// The input's zero point as it is, then of signed integers; K; zero point and scale of the output; then from CHANNEL_DATA on
// for each output channel bias, zero point of the weight (of signed integers), scale of a sum in steps of the output, slope.
@group(0) @binding(3) var<storage, read> quantization: array<i32>;
@group(0) @binding(5) var<storage, read_write> output: array<u32>;

alias Value = u32;
fn load_input(index: u32) -> Value { return 0u; }
fn load_output(index: u32) -> Value { return 0u; }

const CHANNEL_DATA: u32 = 8u;
const WORKGROUP: u32 = 256u;

// What is stored at a place of the output, counted from the pass's first element there.
struct Element {
    // Nothing of this pass otherwise: a piece with a part of the channels has others of the output between its own.
    own: bool,
    bits: u32,
}

fn element(place: u32) -> Element {
    let plane = params.out_depth * params.out_height * params.out_width;
    let image = place / params.out_image;
    let of_image = place % params.out_image;
    // Of channels, and of a channel's pixels: or of pixels, and of a pixel's channels.
    let step = select(params.out_channel, params.out_column, CHANNELS_LAST);
    let channel = select(of_image / step, of_image % step, CHANNELS_LAST);
    let pixel = select(of_image % step, of_image / step, CHANNELS_LAST);
    if image * plane >= params.pixels || channel >= params.out_channels || pixel >= plane {
        return Element(false, 0u);
    }
    let outputs = params.pixels * params.out_channels;
    let at = (image * params.out_channels + channel) * plane + pixel;
    let data = CHANNEL_DATA + (params.first_channel + channel) * 4u;
    let input_zero = quantization[1];
    var sum = quantization[data] - input_zero * weight_sums[params.first_channel + channel];
    for (var s = 0u; s < params.splits; s++) {
        sum += sums[s * outputs + at];
    }
    if WEIGHT_ZERO_POINTS {
        let group = at / plane / params.group_out;
        let window = sums[params.splits * outputs + group * plane + pixel];
        sum += quantization[data + 1u] * (quantization[2] * input_zero - window);
    }
    if OUTPUT_KIND == 0u {
        return Element(true, bitcast<u32>(sum));
    }
    var value = f32(sum) * bitcast<f32>(quantization[data + 2u]);
    if ACTIVATION != 0u {
        let scale = bitcast<f32>(quantization[4]);
        value = activate(value * scale, bitcast<f32>(quantization[data + 3u])) / scale;
    }
    let low = select(0.0, -128.0, OUTPUT_KIND == 1u);
    return Element(true, u32(i32(clamp(round(value) + f32(quantization[3]), low, low + 255.0))) & 0xffu);
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(local_invocation_index) local: u32) {
    let item = tile_index(workgroup) * WORKGROUP + local;
    if OUTPUT_KIND == 0u {
        let element = element(item);
        if element.own {
            output[params.output_offset + item] = element.bits;
        }
    } else {
        let first = params.output_offset;
        // The output may begin far into its binding.
        let word = first / 4u + item;
        var kept = 0xffffffffu;
        var bytes = 0u;
        for (var b = 0u; b < 4u; b++) {
            let place = word * 4u + b;
            if place >= first {
                let element = element(place - first);
                if element.own {
                    bytes |= element.bits << (b * 8u);
                    kept &= ~(0xffu << (b * 8u));
                }
            }
        }
        if kept == 0u {
            output[word] = bytes;
        } else if kept != 0xffffffffu {
            output[word] = (output[word] & kept) | bytes;
        }
    }
}

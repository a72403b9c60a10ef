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

// Output number `index` in the order of memory, as it is stored.
fn element(index: u32) -> u32 {
    let outputs = params.pixels * params.out_channels;
    let plane = params.out_depth * params.out_height * params.out_width;
    var at = index;
    if CHANNELS_LAST {
        let pixel = index / params.out_channels;
        at = (pixel / plane * params.out_channels + index % params.out_channels) * plane + pixel % plane;
    }
    let channel = at / plane % params.out_channels;
    let own = CHANNEL_DATA + (params.first_channel + channel) * 4u;
    let input_zero = quantization[1];
    var sum = quantization[own] - input_zero * weight_sums[params.first_channel + channel];
    for (var s = 0u; s < params.splits; s++) {
        sum += sums[s * outputs + at];
    }
    if WEIGHT_ZERO_POINTS {
        let group = at / plane / params.group_out;
        let window = sums[params.splits * outputs + group * plane + at % plane];
        sum += quantization[own + 1u] * (quantization[2] * input_zero - window);
    }
    if OUTPUT_KIND == 0u {
        return bitcast<u32>(sum);
    }
    var value = f32(sum) * bitcast<f32>(quantization[own + 2u]);
    if ACTIVATION != 0u {
        let scale = bitcast<f32>(quantization[4]);
        value = activate(value * scale, bitcast<f32>(quantization[own + 3u])) / scale;
    }
    let low = select(0.0, -128.0, OUTPUT_KIND == 1u);
    return u32(i32(clamp(round(value) + f32(quantization[3]), low, low + 255.0))) & 0xffu;
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(local_invocation_index) local: u32) {
    let outputs = params.pixels * params.out_channels;
    let item = tile_index(workgroup) * WORKGROUP + local;
    if OUTPUT_KIND == 0u {
        if item < outputs {
            output[params.output_offset + item] = element(item);
        }
    } else {
        let first = params.output_offset;
        // The output may begin far into its binding.
        let word = first / 4u + item;
        var kept = 0u;
        var bytes = 0u;
        for (var b = 0u; b < 4u; b++) {
            let place = word * 4u + b;
            if place >= first && place - first < outputs {
                bytes |= element(place - first) << (b * 8u);
            } else {
                kept |= 0xffu << (b * 8u);
            }
        }
        if kept == 0u {
            output[word] = bytes;
        } else if kept != 0xffffffffu {
            output[word] = (output[word] & kept) | bytes;
        }
    }
}

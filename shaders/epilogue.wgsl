// Put before the programs that store finished floats, behind `activation.wgsl`: bias, residual and activation.

// Bias of every output channel, then (with PReLU) its slope, or those of all elements of an image.
@group(0) @binding(3) var<storage, read> channel_data: array<f32>;

fn read_residual(index: u32) -> f32 {
    if RESIDUAL_IN_OUTPUT {
        return load_output(params.residual_offset + index);
    }
    return load_residual(params.residual_offset + index);
}

// What the epilogue needs of an output channel. Loaded once for a row of outputs, ahead of the stores and their
// conditions: compilers do not merge loads across those.
struct Channel {
    bias: f32,
    slope: f32,
}

fn load_channel(channel: u32) -> Channel {
    // Channels beyond a group's last exist in no output; the pass's last one stands in.
    let at = min(channel, params.out_channels - 1u);
    var loaded: Channel;
    if select(HAS_BIAS, params.has_bias != 0u, GENERIC) {
        loaded.bias = channel_data[params.first_channel + at];
    }
    if activation() == 4u {
        loaded.slope = channel_data[params.all_channels + params.first_channel + at];
    }
    return loaded;
}

// Bias, residual, activation, in this order; `index` counts output elements. In a split sum the first part adds the
// residual, which may lie where the sum then waits.
fn store(sum: f32, channel: Channel, index: u32) {
    let at = params.output_offset + index;
    var value = sum;
    if SPLIT && params.part_begin != 0u {
        value += load_output(at);
    } else if !PARTIAL && select(HAS_RESIDUAL, params.has_residual != 0u, GENERIC) {
        value += read_residual(index);
    }
    if !PARTIAL && (!SPLIT || params.unfinished == 0u) {
        var slope = channel.slope;
        if activation() == 12u {
            slope = channel_data[params.all_channels + (params.first_output + index) % params.out_image];
        }
        value = activate(value + channel.bias, slope);
    }
    store_output(at, value);
}

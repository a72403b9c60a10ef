// Put before what packs weights: weights of 32-bit floats.

@group(0) @binding(1) var<storage, read> raw: array<f32>;

fn element(at: u32, from_channel: u32, channel: u32) -> f32 { return raw[at]; }

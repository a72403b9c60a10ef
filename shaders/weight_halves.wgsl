// Put before what packs weights: weights of 16-bit floats, two in each word. Every device can read them so.

@group(0) @binding(1) var<storage, read> raw: array<u32>;

fn half_of_weight(at: u32) -> f32 { return unpack2x16float(raw[at >> 1u])[at & 1u]; }
fn element(at: u32, from_channel: u32, channel: u32) -> f32 { return half_of_weight(at); }

// Put before the kernels: weight and residual, two 16-bit floats in each word, for devices without 16-bit storage.
// (Instead of `tensors.wgsl`.)

// The packed weight, as each kernel likes it.
@group(0) @binding(2) var<storage, read> weight: array<vec2u>;
@group(0) @binding(2) var<storage, read> weight_elements: array<u32>;
@group(0) @binding(4) var<storage, read> residual: array<u32>;

fn load_residual(index: u32) -> f32 { return unpack2x16float(residual[index >> 1u])[index & 1u]; }
fn load_weight(index: u32) -> f32 { return unpack2x16float(weight_elements[index >> 1u])[index & 1u]; }
fn load_weights(vector: u32) -> vec4f {
    let words = weight[vector];
    return vec4f(unpack2x16float(words.x), unpack2x16float(words.y));
}

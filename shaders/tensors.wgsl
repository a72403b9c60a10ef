// Put before the kernels: weight and residual, each element as wide as it is. (Instead of `tensors_packed.wgsl`.)

alias ResidualElement = f32;
alias WeightElement = f32;
alias WeightVector = vec4f;

// The packed weight, as each kernel likes it.
@group(0) @binding(2) var<storage, read> weight: array<WeightVector>;
@group(0) @binding(2) var<storage, read> weight_elements: array<WeightElement>;
@group(0) @binding(4) var<storage, read> residual: array<ResidualElement>;

fn load_residual(index: u32) -> f32 { return f32(residual[index]); }
fn load_weight(index: u32) -> f32 { return f32(weight_elements[index]); }
fn load_weights(vector: u32) -> vec4f { return vec4f(weight[vector]); }

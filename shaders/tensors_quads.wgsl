// Put before the kernels: the tensors that are read, four 8-bit integers of neighbouring input channels in each word. (Instead
// of `tensors.wgsl`.) The input is what `quads_of_input.wgsl` made of it.

@group(0) @binding(1) var<storage, read> input: array<u32>;
// The packed weight, as each kernel likes it.
@group(0) @binding(2) var<storage, read> weight: array<vec4u>;
@group(0) @binding(2) var<storage, read> weight_elements: array<u32>;

fn load_input(index: u32) -> Value { return input[index]; }
fn load_weight(index: u32) -> Value { return weight_elements[index]; }
fn load_weights(vector: u32) -> Values { return weight[vector]; }

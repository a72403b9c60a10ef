// Put before the kernels: the packed weight, four 8-bit integers of neighbouring input channels in each word. (Instead of
// `tensors.wgsl`.)

@group(0) @binding(2) var<storage, read> weight: array<vec4u>;
@group(0) @binding(2) var<storage, read> weight_elements: array<u32>;

fn load_weight(index: u32) -> Value { return weight_elements[index]; }
fn load_weights(vector: u32) -> Values { return weight[vector]; }

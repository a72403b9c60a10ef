// Put before the kernels: an input of four 8-bit integers of neighbouring channels in each word, which `quads_of_input.wgsl` has
// made. (Instead of `input.wgsl`.)

@group(0) @binding(1) var<storage, read> input: array<u32>;

fn load_input(index: u32) -> Value { return input[index]; }

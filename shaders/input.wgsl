// Put before the kernels: the input, each element as wide as it is. (Instead of `input_packed.wgsl`.)

alias InputElement = f32;

@group(0) @binding(1) var<storage, read> input: array<InputElement>;

fn load_input(index: u32) -> Value { return Value(input[index]); }

// Put before the kernels, behind `half.wgsl`: an output of 16-bit floats, two in each word.
//
// An invocation owns an element, not its word: the neighbour's half is kept by changing the own bits alone.

@group(0) @binding(5) var<storage, read_write> output: array<atomic<u32>>;

fn load_output(index: u32) -> f32 { return unpack2x16float(atomicLoad(&output[index >> 1u]))[index & 1u]; }

fn store_output(index: u32, value: f32) {
    let shift = (index & 1u) * 16u;
    atomicAnd(&output[index >> 1u], 0xffff0000u >> shift);
    atomicOr(&output[index >> 1u], half_bits(value) << shift);
}

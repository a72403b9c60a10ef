// Put before the shaders that store 16-bit floats: rounding.

// The nearest 16-bit float, ties to even, infinity beyond the largest, as bits; drivers may round their own conversions otherwise.
fn half_bits(value: f32) -> u32 { return rounded_half(bitcast<u32>(value)); }

// The same of the bits of a 32-bit float.
fn rounded_half(bits: u32) -> u32 {
    let sign = (bits >> 16u) & 0x8000u;
    let magnitude = bits & 0x7fffffffu;
    // 2^-14 and above: the exponent is moved, and what is lost of the fraction decides.
    let normal = (magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13u) & 1u)) >> 13u;
    // Below: the sum with 0.5 has steps of 2^-24.
    let small = bitcast<u32>(bitcast<f32>(magnitude) + 0.5) - 0x3f000000u;
    var half = select(normal, small, magnitude < 0x38800000u);
    half = select(half, 0x7c00u, magnitude >= 0x477ff000u);
    half = select(half, 0x7e00u, magnitude > 0x7f800000u);
    return sign | half;
}

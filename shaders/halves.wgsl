// Put before `matrix`: the numbers that are multiplied are 16-bit floats. (Instead of `floats.wgsl`.)

// What the input holds: 16-bit floats, or 32-bit ones that are to be rounded.
alias Value = f16;
alias Values = vec4<f16>;
const ROUNDED: bool = false;

// Rounded before, since conversions round as they like.
fn half_of(value: Value) -> f16 {
    if ROUNDED {
        return f16(unpack2x16float(half_bits(f32(value))).x);
    }
    return f16(value);
}

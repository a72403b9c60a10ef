// Put before the kernels: a value is four 8-bit integers of neighbouring input channels, sums are 32-bit integers. (Instead of
// `floats.wgsl`.)

alias Value = u32;
alias Values = vec4u;
alias Sum = i32;
alias Sums = vec4i;

// Where kernels multiply and add floats they multiply and add four integers: this stands before the built-in function.
fn fma(a: Value, b: Value, sum: Sum) -> Sum { return dot4I8Packed(a, b) + sum; }

fn multiply_add(four: Values, value: Value, sums: Sums) -> Sums {
    return sums + Sums(
        dot4I8Packed(four.x, value), dot4I8Packed(four.y, value), dot4I8Packed(four.z, value), dot4I8Packed(four.w, value));
}

// Put before the kernels: numbers are floats. (Instead of `quads.wgsl`.)

alias Value = f32;
alias Values = vec4f;
alias Sum = f32;
alias Sums = vec4f;

fn multiply_add(four: Values, value: Value, sums: Sums) -> Sums { return fma(four, Values(value), sums); }

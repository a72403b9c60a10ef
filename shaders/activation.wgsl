// Put before what applies an epilogue: the activations.

// exp of nothing positive, so that nothing overflows.
fn sigmoid(x: f32) -> f32 {
    let e = exp(-abs(x));
    return select(e, 1.0, x >= 0.0) / (1.0 + e);
}

fn saturating_tanh(x: f32) -> f32 {
    let e = exp(-2.0 * abs(x));
    return sign(x) * (1.0 - e) / (1.0 + e);
}

// x · Φ(x), with erfc by formula 7.1.26 of Abramowitz and Stegun (1964), whose error is at most 1.5e-7.
fn gelu(x: f32) -> f32 {
    let z = abs(x) * 0.70710678;
    let t = 1.0 / (1.0 + 0.3275911 * z);
    let polynomial = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
    let tail = 0.5 * polynomial * exp(-z * z);
    return x * select(tail, 1.0 - tail, x >= 0.0);
}

fn gelu_tanh(x: f32) -> f32 {
    // Beyond ±10 the tanh is ±1 in float32; the clamp keeps the cube finite.
    let c = clamp(x, -10.0, 10.0);
    return 0.5 * x * (1.0 + saturating_tanh(0.79788456 * (c + 0.044715 * c * c * c)));
}

fn activate(x: f32, slope: f32) -> f32 {
    switch activation() {
        case 1u: { return max(x, 0.0); }
        case 2u: { return min(max(x, params.alpha), params.beta); }
        case 3u: { return select(x, x * params.alpha, x < 0.0); }
        case 4u: { return select(x, x * slope, x < 0.0); }
        case 5u: { return sigmoid(x); }
        case 6u: { return saturating_tanh(x); }
        case 7u: { return x * sigmoid(x); }
        case 8u: { return gelu(x); }
        case 9u: { return gelu_tanh(x); }
        case 10u: { return x * clamp(x + 3.0, 0.0, 6.0) * 0.16666667; }
        case 11u: { return select(params.alpha * (exp(min(x, 0.0)) - 1.0), x, x > 0.0); }
        case 12u: { return select(x, x * slope, x < 0.0); }
        case 13u: { return clamp(params.alpha * x + params.beta, 0.0, 1.0); }
        default: { return x; }
    }
}

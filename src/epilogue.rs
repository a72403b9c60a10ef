//! [`Epilogue`]: what is done to each sum before it is stored, fused into the kernels.

use std::fmt;

use crate::error::{Error, Result};

/// An activation function, applied last to each output.
///
/// `exp`-based functions saturate and never overflow. Each function's own error on the GPU, beyond that of its
/// argument, is [`Activation::error_bound`].
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Activation {
    /// y = x.
    #[default]
    Identity,
    /// y = max(x, 0).
    Relu,
    /// y = min(max(x, min), max). `relu6` is `Clip { min: 0.0, max: 6.0 }`.
    Clip {
        /// Smallest output.
        min: f32,
        /// Largest output; at least `min`.
        max: f32,
    },
    /// y = x for x ≥ 0, `slope` · x below.
    LeakyRelu {
        /// Factor for negative values.
        slope: f32,
    },
    /// As [`Activation::LeakyRelu`] with a slope for each output channel, which is given with the weights.
    Prelu,
    /// As [`Activation::Prelu`] with a slope for each element of an output image (ONNX's PRelu with slopes of shape (C, H, W)),
    /// in the order in which the output lies in memory. Weights with such slopes serve outputs of one size.
    PreluEach,
    /// y = 1 / (1 + exp(−x)).
    Sigmoid,
    /// y = tanh(x).
    Tanh,
    /// y = x · sigmoid(x), also called swish.
    Silu,
    /// y = x · Φ(x) with the normal distribution function Φ, computed through erf.
    Gelu,
    /// GELU's approximation through tanh (PyTorch's `approximate='tanh'`).
    GeluTanh,
    /// y = x · clip(x + 3, 0, 6) / 6.
    HardSwish,
    /// y = x for x > 0, `alpha` · (exp(x) − 1) below.
    Elu {
        /// Negative saturation value.
        alpha: f32,
    },
    /// y = clip(`alpha` · x + `beta`, 0, 1); PyTorch's hardsigmoid has 1/6 and 0.5, ONNX's HardSigmoid 0.2 and 0.5 by default.
    HardSigmoid {
        /// Slope between the ends.
        alpha: f32,
        /// Value at 0.
        beta: f32,
    },
}

impl Activation {
    /// min(max(x, 0), 6).
    pub const RELU6: Self = Self::Clip { min: 0.0, max: 6.0 };

    /// Name as it stands in a problem string, without its numbers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Relu => "relu",
            Self::Clip { .. } => "clip",
            Self::LeakyRelu { .. } => "leaky_relu",
            Self::Prelu => "prelu",
            Self::PreluEach => "prelu_each",
            Self::Sigmoid => "sigmoid",
            Self::Tanh => "tanh",
            Self::Silu => "silu",
            Self::Gelu => "gelu",
            Self::GeluTanh => "gelu_tanh",
            Self::HardSwish => "hard_swish",
            Self::Elu { .. } => "elu",
            Self::HardSigmoid { .. } => "hard_sigmoid",
        }
    }

    /// The numbers of the function, in the order of a problem string (and of the kernels' parameters).
    pub(crate) fn numbers(self) -> Vec<f32> {
        match self {
            Self::Clip { min, max } => vec![min, max],
            Self::LeakyRelu { slope } => vec![slope],
            Self::Elu { alpha } => vec![alpha],
            Self::HardSigmoid { alpha, beta } => vec![alpha, beta],
            _ => Vec::new(),
        }
    }

    /// Builds an activation from its name and numbers (`relu6` is known as a name too).
    ///
    /// # Errors
    /// A sentence that says what is wrong with the name or the count of numbers.
    pub fn from_name(name: &str, numbers: &[f32]) -> Result<Self, String> {
        let activation = match (name, numbers) {
            ("identity", []) => Self::Identity,
            ("relu", []) => Self::Relu,
            ("relu6", []) => Self::RELU6,
            ("clip", &[min, max]) => Self::Clip { min, max },
            ("leaky_relu", &[slope]) => Self::LeakyRelu { slope },
            ("prelu", []) => Self::Prelu,
            ("prelu_each", []) => Self::PreluEach,
            ("sigmoid", []) => Self::Sigmoid,
            ("tanh", []) => Self::Tanh,
            ("silu", []) => Self::Silu,
            ("gelu", []) => Self::Gelu,
            ("gelu_tanh", []) => Self::GeluTanh,
            ("hard_swish", []) => Self::HardSwish,
            ("elu", &[alpha]) => Self::Elu { alpha },
            ("hard_sigmoid", &[alpha, beta]) => Self::HardSigmoid { alpha, beta },
            _ => {
                return Err(format!(
                    "no activation {name:?} with {} numbers; known are relu, relu6, clip=MIN,MAX, leaky_relu=SLOPE, prelu, \
                     prelu_each, sigmoid, tanh, silu, gelu, gelu_tanh, hard_swish, elu=ALPHA, hard_sigmoid=ALPHA,BETA",
                    numbers.len()
                ));
            }
        };
        activation.check().map_err(|error| error.to_string())?;
        Ok(activation)
    }

    /// Checks the numbers: finite, and `min` at most `max`.
    pub(crate) fn check(self) -> Result<()> {
        let bad = |required: &str| Error::Parameter {
            parameter: "activation",
            actual: self.to_string(),
            required: required.into(),
        };
        match self {
            // An infinite end of the range is useful (no limit on that side); NaN is not.
            Self::Clip { min, max } if min.is_nan() || max.is_nan() || min > max => {
                Err(bad("a range with min at most max"))
            }
            Self::LeakyRelu { slope: number } | Self::Elu { alpha: number } if !number.is_finite() => {
                Err(bad("given finite numbers"))
            }
            Self::HardSigmoid { alpha, beta } if !alpha.is_finite() || !beta.is_finite() => {
                Err(bad("given finite numbers"))
            }
            _ => Ok(()),
        }
    }

    /// The function in float64, for references. `slope` is the output's PReLU slope.
    pub fn apply_f64(self, x: f64, slope: f64) -> f64 {
        match self {
            Self::Identity => x,
            Self::Relu => x.max(0.0),
            Self::Clip { min, max } => x.max(f64::from(min)).min(f64::from(max)),
            Self::LeakyRelu { slope } => {
                if x < 0.0 {
                    x * f64::from(slope)
                } else {
                    x
                }
            }
            Self::Prelu | Self::PreluEach => {
                if x < 0.0 {
                    x * slope
                } else {
                    x
                }
            }
            Self::Sigmoid => 1.0 / (1.0 + (-x).exp()),
            Self::Tanh => x.tanh(),
            Self::Silu => x / (1.0 + (-x).exp()),
            Self::Gelu => 0.5 * x * erfc(-x * std::f64::consts::FRAC_1_SQRT_2),
            Self::GeluTanh => {
                let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x);
                0.5 * x * (1.0 + inner.tanh())
            }
            Self::HardSwish => x * (x + 3.0).clamp(0.0, 6.0) / 6.0,
            Self::Elu { alpha } => {
                if x > 0.0 {
                    x
                } else {
                    f64::from(alpha) * x.exp_m1()
                }
            }
            Self::HardSigmoid { alpha, beta } => (f64::from(alpha) * x + f64::from(beta)).clamp(0.0, 1.0),
        }
    }

    /// The largest absolute slope of the function: an error of e in its argument becomes at most this times e.
    /// `slope` is the output's PReLU slope.
    pub fn lipschitz(self, slope: f64) -> f64 {
        match self {
            Self::Identity | Self::Relu | Self::Clip { .. } | Self::Tanh => 1.0,
            Self::LeakyRelu { slope } => f64::from(slope).abs().max(1.0),
            Self::Prelu | Self::PreluEach => slope.abs().max(1.0),
            Self::Sigmoid => 0.25,
            Self::Silu => 1.1,
            Self::Gelu | Self::GeluTanh => 1.13,
            Self::HardSwish => 1.5,
            Self::Elu { alpha } => f64::from(alpha).abs().max(1.0),
            Self::HardSigmoid { alpha, .. } => f64::from(alpha).abs(),
        }
    }

    /// The function's own absolute error on the GPU at argument x, its argument being exact. It allows for WGSL's
    /// stated accuracy of `exp` (3 + 2·|x| units in the last place) and division (2.5), and for the erf formula used.
    /// `slope` is the output's PReLU slope.
    pub fn error_bound(self, x: f64, slope: f64) -> f64 {
        const ULP: f64 = 1.0 / (1u64 << 23) as f64;
        match self {
            Self::Identity | Self::Relu | Self::Clip { .. } => 0.0,
            Self::LeakyRelu { slope } => ULP * (x * f64::from(slope)).abs(),
            Self::Prelu | Self::PreluEach => ULP * (x * slope).abs(),
            Self::Sigmoid => 4.0 * ULP,
            Self::Tanh => 8.0 * ULP,
            Self::Silu => 6.0 * ULP * x.abs(),
            Self::Gelu | Self::GeluTanh => 8.0 * ULP * x.abs(),
            Self::HardSwish => 6.0 * ULP * x.abs(),
            Self::Elu { alpha } => 8.0 * ULP * f64::from(alpha).abs(),
            Self::HardSigmoid { alpha, beta } => 2.0 * ULP * ((f64::from(alpha) * x).abs() + f64::from(beta).abs()),
        }
    }
}

impl fmt::Display for Activation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        for (index, number) in self.numbers().into_iter().enumerate() {
            write!(f, "{}{number}", if index == 0 { '=' } else { ',' })?;
        }
        Ok(())
    }
}

/// What happens to each sum, in this order: bias (if the convolution has one), residual, activation.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Epilogue {
    /// Whether a tensor of the output's shape is added before the activation.
    pub residual: bool,
    /// The activation.
    pub activation: Activation,
}

impl Epilogue {
    /// Nothing but the bias.
    pub const NONE: Self = Self { residual: false, activation: Activation::Identity };

    /// Only an activation.
    pub const fn activation(activation: Activation) -> Self {
        Self { residual: false, activation }
    }

    /// Adds the residual tensor.
    #[must_use]
    pub const fn with_residual(self) -> Self {
        Self { residual: true, ..self }
    }
}

/// The complementary error function in float64, to about 1e-15 relative to the larger of 1 and the result: the Taylor
/// series of erf for small arguments, the continued fraction of erfc for large ones
/// (Abramowitz and Stegun, Handbook of Mathematical Functions, 1964, formulas 7.1.6 and 7.1.14).
fn erfc(x: f64) -> f64 {
    let a = x.abs();
    let upper = if a < 2.5 {
        // erf(a) = 2/sqrt(pi) exp(-a²) sum of 2^n a^(2n+1) / (1·3···(2n+1)); all terms positive, so nothing cancels.
        let (mut term, mut sum, mut n) = (a, a, 0.0);
        while term > sum * 1e-17 {
            n += 1.0;
            term *= 2.0 * a * a / (2.0 * n + 1.0);
            sum += term;
        }
        1.0 - std::f64::consts::FRAC_2_SQRT_PI * (-a * a).exp() * sum
    } else {
        let mut fraction = a;
        for n in (1..=60).rev() {
            fraction = a + 0.5 * f64::from(n) / fraction;
        }
        (-a * a).exp() / (fraction * std::f64::consts::PI.sqrt())
    };
    if x < 0.0 { 2.0 - upper } else { upper }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn erfc_matches_tabled_values() {
        // NIST Digital Library of Mathematical Functions, table of erf; erfc(5) from the same source.
        for (x, expected) in [
            (0.0, 1.0),
            (0.5, 0.479_500_122_186_953_5),
            (1.0, 0.157_299_207_050_285_13),
            (2.0, 0.004_677_734_981_047_266),
            (3.0, 2.209_049_699_858_544e-5),
            (-1.0, 1.842_700_792_949_715),
        ] {
            assert!((erfc(x) - expected).abs() < 2e-15, "erfc({x}) = {}", erfc(x));
        }
        assert!((erfc(2.5 - 1e-12) - erfc(2.5)).abs() < 1e-14, "the two formulas meet");
    }

    #[test]
    fn lipschitz_constants_hold() {
        let all = [
            Activation::Relu,
            Activation::RELU6,
            Activation::LeakyRelu { slope: -2.0 },
            Activation::Prelu,
            Activation::Sigmoid,
            Activation::Tanh,
            Activation::Silu,
            Activation::Gelu,
            Activation::GeluTanh,
            Activation::HardSwish,
            Activation::Elu { alpha: 3.0 },
            Activation::HardSigmoid { alpha: -0.7, beta: 0.25 },
        ];
        for activation in all {
            let mut x = -12.0;
            while x < 12.0 {
                let step = 1e-3;
                let rise = activation.apply_f64(x + step, 0.3) - activation.apply_f64(x, 0.3);
                let limit = activation.lipschitz(0.3) * step * (1.0 + 1e-9);
                assert!(rise.abs() <= limit, "{activation} at {x}: {rise} > {limit}");
                x += step;
            }
        }
    }

    #[test]
    fn names_read_back() {
        for text in
            ["relu", "clip=0,6", "leaky_relu=0.01", "elu=1.5", "hard_swish", "clip=-inf,3", "hard_sigmoid=0.2,0.5"]
        {
            let (name, numbers) = text.split_once('=').unwrap_or((text, ""));
            let numbers: Vec<f32> = numbers.split(',').filter(|n| !n.is_empty()).map(|n| n.parse().unwrap()).collect();
            assert_eq!(Activation::from_name(name, &numbers).unwrap().to_string(), text);
        }
        assert!(Activation::from_name("clip", &[6.0, 0.0]).unwrap_err().contains("6,0"));
        assert!(Activation::from_name("elu", &[f32::NAN]).is_err());
        assert!(Activation::from_name("relu", &[1.0]).is_err());
    }
}

//! sRGB's transfer function (IEC 61966-2-1): between stored numbers and amounts of light, both from 0 to 1.

/// The amount of light that a stored number stands for.
pub fn to_linear(stored: f32) -> f32 {
    let stored = f64::from(stored);
    let light = if stored <= 0.04045 { stored / 12.92 } else { ((stored + 0.055) / 1.055).powf(2.4) };
    light as f32
}

/// The stored number for an amount of light. Below 0 the function is continued as the straight line that it begins with.
pub fn from_linear(light: f32) -> f32 {
    let light = f64::from(light);
    let stored = if light <= 0.003_130_8 { light * 12.92 } else { 1.055 * light.powf(1.0 / 2.4) - 0.055 };
    stored as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        // 0.5 stored is 21.4 % of the light; 18 % light is stored as 0.461 (118 of 255).
        for (stored, light) in [(0.0, 0.0), (1.0, 1.0), (0.5, 0.214_041), (0.461_356, 0.18), (0.02, 0.001_547_99)] {
            assert!((to_linear(stored) - light).abs() < 1e-6, "{stored}: {}", to_linear(stored));
            assert!((from_linear(light) - stored).abs() < 2e-6, "{light}: {}", from_linear(light));
        }
        assert!((from_linear(-0.001) + 0.012_92).abs() < 1e-9);
    }

    #[test]
    fn every_16_bit_number_comes_back() {
        for number in 0..=u16::MAX {
            let stored = f32::from(number) / 65535.0;
            assert_eq!((from_linear(to_linear(stored)) * 65535.0).round() as u16, number);
        }
    }
}

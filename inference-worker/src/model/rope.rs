//! Rotary positions: how fast each pair of a head turns, and the turning.

use serde::Deserialize;

/// How positions beyond the trained ones are dealt with.
#[derive(Clone, Debug, PartialEq)]
pub enum Scaling {
    None,
    /// All turn `factor` times as slowly.
    Linear {
        factor: f32,
    },
    /// Llama 3.1: slow turns are slowed by `factor`, fast ones kept, those between blended.
    Llama3 {
        factor: f32,
        low_freq_factor: f32,
        high_freq_factor: f32,
        original_context: f32,
    },
    /// A divisor for each pair, as GGUF keeps them in `rope_freqs.weight`.
    Divisors(Vec<f32>),
}

/// `rope_scaling` (or `rope_parameters`) of config.json.
#[derive(Clone, Debug, Deserialize)]
pub struct ScalingConfig {
    #[serde(alias = "type", default)]
    rope_type: Option<String>,
    factor: Option<f32>,
    low_freq_factor: Option<f32>,
    high_freq_factor: Option<f32>,
    original_max_position_embeddings: Option<f32>,
    pub rope_theta: Option<f32>,
}

impl ScalingConfig {
    /// What it asks for, or the name of what is not known or missing.
    pub fn scaling(&self) -> Result<Scaling, String> {
        let need = |value: Option<f32>, name: &str| {
            value
                .filter(|value| value.is_finite() && *value > 0.0)
                .ok_or_else(|| format!("rope_scaling lacks a positive {name}"))
        };
        match self.rope_type.as_deref() {
            None | Some("default") => Ok(Scaling::None),
            Some("linear") => Ok(Scaling::Linear {
                factor: need(self.factor, "factor")?,
            }),
            Some("llama3") => Ok(Scaling::Llama3 {
                factor: need(self.factor, "factor")?,
                low_freq_factor: need(self.low_freq_factor, "low_freq_factor")?,
                high_freq_factor: need(self.high_freq_factor, "high_freq_factor")?,
                original_context: need(
                    self.original_max_position_embeddings,
                    "original_max_position_embeddings",
                )?,
            }),
            Some(other) => Err(format!(
                "rope_scaling of type {other} is not known; default, linear and llama3 are"
            )),
        }
    }
}

/// Radians that each pair turns from one position to the next: base^(−2i / dimension), scaled.
pub fn speeds(dimension: usize, base: f32, scaling: &Scaling) -> Vec<f32> {
    let plain = (0..dimension / 2).map(|pair| 1.0 / base.powf((2 * pair) as f32 / dimension as f32));
    match scaling {
        Scaling::None => plain.collect(),
        Scaling::Linear { factor } => plain.map(|speed| speed / factor).collect(),
        Scaling::Divisors(divisors) => plain
            .zip(divisors)
            .map(|(speed, divisor)| speed / divisor)
            .collect(),
        Scaling::Llama3 {
            factor,
            low_freq_factor,
            high_freq_factor,
            original_context,
        } => plain
            .map(|speed| {
                let wavelength = 2.0 * std::f32::consts::PI / speed;
                if wavelength < original_context / high_freq_factor {
                    speed
                } else if wavelength > original_context / low_freq_factor {
                    speed / factor
                } else {
                    let smooth = (original_context / wavelength - low_freq_factor)
                        / (high_freq_factor - low_freq_factor);
                    (1.0 - smooth) * speed / factor + smooth * speed
                }
            })
            .collect(),
    }
}

/// Cosine and sine of each pair at a position.
pub fn angles(speeds: &[f32], position: usize, out: &mut [(f32, f32)]) {
    for (out, speed) in out.iter_mut().zip(speeds) {
        let (sine, cosine) = (position as f32 * speed).sin_cos();
        *out = (cosine, sine);
    }
}

/// Turns a head: pair i is made of elements i and i + half, as the Hugging Face checkpoints have them.
pub fn turn(head: &mut [f32], angles: &[(f32, f32)]) {
    let (first, second) = head.split_at_mut(angles.len());
    for ((a, b), (cosine, sine)) in first.iter_mut().zip(second).zip(angles) {
        (*a, *b) = (*a * cosine - *b * sine, *b * cosine + *a * sine);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn llama_3_keeps_fast_pairs_and_slows_slow_ones() {
        let scaling = Scaling::Llama3 {
            factor: 8.0,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_context: 8192.0,
        };
        let plain = speeds(128, 500_000.0, &Scaling::None);
        let scaled = speeds(128, 500_000.0, &scaling);
        assert_eq!(plain[0], scaled[0]);
        assert!((plain[63] / scaled[63] - 8.0).abs() < 1e-5);
        let ratios: Vec<f32> = plain.iter().zip(&scaled).map(|(a, b)| a / b).collect();
        assert!(ratios.windows(2).all(|pair| pair[0] <= pair[1] + 1e-5));
        assert!(ratios.iter().any(|ratio| (1.1..7.9).contains(ratio)));
    }

    #[test]
    fn a_pair_turns_by_its_angle_and_keeps_its_length() {
        let mut head = [3.0, 0.0, 4.0, 0.0];
        let mut found = [(0.0, 0.0); 2];
        angles(&[0.5, 1.0], 2, &mut found);
        turn(&mut head, &found);
        let (sine, cosine) = 1.0_f32.sin_cos();
        assert!((head[0] - (3.0 * cosine - 4.0 * sine)).abs() < 1e-6);
        assert!((head[2] - (4.0 * cosine + 3.0 * sine)).abs() < 1e-6);
        assert!((head[0].hypot(head[2]) - 5.0).abs() < 1e-6);
    }

    #[test]
    fn a_scaling_that_is_not_known_is_named() {
        let config: ScalingConfig = serde_json::from_str(r#"{"type":"yarn","factor":4.0}"#).unwrap();
        assert!(config.scaling().unwrap_err().contains("yarn"));
        let config: ScalingConfig = serde_json::from_str(r#"{"rope_type":"llama3","factor":8.0}"#).unwrap();
        assert!(config.scaling().unwrap_err().contains("low_freq_factor"));
    }
}

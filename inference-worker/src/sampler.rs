//! The next token from logits: greedy, or temperature and top-p from a seed.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Reproducible for a seed.
pub struct Sampler {
    temperature: f32,
    top_p: f32,
    random: StdRng,
}

impl Sampler {
    /// A temperature of zero is greedy.
    pub fn new(temperature: f32, top_p: f32, seed: u64) -> Sampler {
        Sampler {
            temperature,
            top_p,
            random: StdRng::seed_from_u64(seed),
        }
    }

    /// The chosen token; the first of the largest when greedy.
    pub fn next(&mut self, logits: &[f32]) -> u32 {
        if self.temperature <= 0.0 {
            return largest(logits);
        }
        let most = logits[largest(logits) as usize];
        let mut ranked: Vec<(u32, f32)> = logits
            .iter()
            .enumerate()
            .map(|(token, logit)| (token as u32, ((logit - most) / self.temperature).exp()))
            .collect();
        ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
        let total: f32 = ranked.iter().map(|(_, weight)| weight).sum();
        let mut kept = 0.0;
        let mut count = 0;
        for (_, weight) in &ranked {
            kept += weight;
            count += 1;
            if kept >= self.top_p * total {
                break;
            }
        }
        let mut left = self.random.random::<f32>() * kept;
        for (token, weight) in &ranked[..count] {
            left -= weight;
            if left <= 0.0 {
                return *token;
            }
        }
        ranked[0].0
    }
}

fn largest(logits: &[f32]) -> u32 {
    let mut best = 0;
    for (token, logit) in logits.iter().enumerate() {
        if *logit > logits[best] {
            best = token;
        }
    }
    best as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn greedy_takes_the_first_of_the_largest() {
        assert_eq!(Sampler::new(0.0, 1.0, 1).next(&[0.0, 3.0, 3.0, 1.0]), 1);
    }

    #[test]
    fn a_seed_decides_and_top_p_cuts_the_tail() {
        let logits = [5.0, 4.9, -9.0, -9.5];
        let draw = |seed| {
            let mut sampler = Sampler::new(1.0, 0.9, seed);
            (0..50).map(|_| sampler.next(&logits)).collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        assert!(draw(7).iter().all(|token| *token < 2));
    }
}

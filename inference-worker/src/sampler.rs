//! The next token from logits: greedy, or drawn from what repetition, temperature, top-k, top-p and min-p leave.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use shared::inference::{Generate, Likelihood, Options};

/// Tokens that are asked one by one whether they fit; a mask of all costs about as much.
const MOST_ASKED: usize = 24;

/// Reproducible for a seed, whatever else is decoded at the same time.
pub struct Sampler {
    temperature: f32,
    top_p: f32,
    options: Options,
    random: StdRng,
}

impl Sampler {
    pub fn new(request: &Generate, options: Options) -> Sampler {
        Sampler {
            temperature: request.temperature,
            top_p: request.top_p,
            options,
            random: StdRng::seed_from_u64(request.seed),
        }
    }

    /// Whether every token can be drawn, each as often as the model says.
    pub fn draws_from_all(&self) -> bool {
        self.temperature <= 0.0 || (self.top_p >= 1.0 && self.options.top_k == 0 && self.options.min_p <= 0.0)
    }

    /// The chosen token; the first of the largest when greedy. Logits may be minus infinity: those are not chosen.
    pub fn draw(&mut self, logits: &[f32]) -> u32 {
        let best = largest(logits);
        if self.temperature <= 0.0 {
            return best;
        }
        let most = logits[best as usize];
        let weight = |logit: &f32| ((logit - most) / self.temperature).exp();
        let total: f32 = logits.iter().map(weight).sum();
        // The largest weight is 1: min-p is a bound of the weight itself.
        let mut ranked: Vec<(u32, f32)> = (0..)
            .zip(logits.iter().map(weight))
            .filter(|(_, weight)| *weight >= self.options.min_p && *weight > 0.0)
            .collect();
        let top_k = match self.options.top_k {
            0 => usize::MAX,
            count => count as usize,
        };
        let total = if top_k < ranked.len() || self.options.min_p > 0.0 {
            rank(&mut ranked, top_k);
            ranked.truncate(top_k);
            ranked.iter().map(|(_, weight)| weight).sum()
        } else {
            total
        };
        if ranked.is_empty() {
            return best;
        }
        self.draw_of(&mut ranked, total)
    }

    /// As `draw` where only tokens that fit count, without asking for each token whether it does: the likeliest are asked until what
    /// the others weigh cannot change who is drawn from. None, when too many had to be asked.
    pub fn draw_fitting<E>(
        &mut self,
        logits: &[f32],
        mut fits: impl FnMut(u32) -> Result<bool, E>,
    ) -> Result<Option<u32>, E> {
        let most = logits[largest(logits) as usize];
        let mut ranked: Vec<(u32, f32)> = (0..)
            .zip(
                logits
                    .iter()
                    .map(|logit| ((logit - most) / self.temperature).exp()),
            )
            .collect();
        let mut rest: f64 = ranked.iter().map(|(_, weight)| f64::from(*weight)).sum();
        rank(&mut ranked, MOST_ASKED);
        let mut kept: Vec<(u32, f32)> = Vec::new();
        let mut sum = 0.0;
        for (token, weight) in ranked.into_iter().take(MOST_ASKED) {
            let first = kept.first().map_or(0.0, |(_, first)| *first);
            if !kept.is_empty() && weight < self.options.min_p * first {
                rest = 0.0;
            } else {
                rest -= f64::from(weight);
                if fits(token)? {
                    kept.push((token, weight));
                    sum += f64::from(weight);
                }
            }
            if self.options.top_k > 0 && kept.len() == self.options.top_k as usize {
                rest = 0.0;
            }
            // Not fewer than these would be drawn from if no other fitted, and not more if all others did.
            let wanted = f64::from(self.top_p) * (sum + rest.max(0.0));
            if sum > 0.0
                && sum >= wanted
                && fewest(&kept, wanted) == fewest(&kept, f64::from(self.top_p) * sum)
            {
                let count = fewest(&kept, wanted);
                return Ok(Some(self.draw_among(&kept[..count])));
            }
        }
        Ok(None)
    }

    /// Draws among the fewest that hold top-p of the total.
    fn draw_of(&mut self, ranked: &mut [(u32, f32)], total: f32) -> u32 {
        let wanted = self.top_p * total;
        let mut sorted = 0;
        let mut kept = 0.0;
        let mut count = 0;
        while count < ranked.len() {
            if count == sorted {
                // Few are needed as a rule: the others are not sorted.
                sorted = ranked.len().min(8 * sorted + 64);
                let (start, rest) = ranked.split_at_mut(count);
                rank(rest, sorted - start.len());
            }
            kept += ranked[count].1;
            count += 1;
            if kept >= wanted {
                break;
            }
        }
        self.draw_among(&ranked[..count])
    }

    fn draw_among(&mut self, ranked: &[(u32, f32)]) -> u32 {
        let total: f32 = ranked.iter().map(|(_, weight)| weight).sum();
        let mut left = self.random.random::<f32>() * total;
        for (token, weight) in ranked {
            left -= weight;
            if left <= 0.0 {
                return *token;
            }
        }
        ranked[0].0
    }

    /// Divides positive logits of tokens that came lately by the penalty, and multiplies negative ones.
    pub fn punish_repetition(&self, logits: &mut [f32], tokens: &[u32]) {
        let penalty = self.options.repetition_penalty;
        if penalty == 1.0 {
            return;
        }
        let from = tokens
            .len()
            .saturating_sub(self.options.repetition_window as usize);
        let mut lately = tokens[from..].to_vec();
        lately.sort_unstable();
        lately.dedup();
        for token in lately {
            if let Some(logit) = logits.get_mut(token as usize) {
                *logit = if *logit > 0.0 {
                    *logit / penalty
                } else {
                    *logit * penalty
                };
            }
        }
    }
}

/// How likely the model itself held `token`, and the `top` likeliest, as natural logarithms.
pub fn likelihood(logits: &[f32], token: u32, top: usize) -> Likelihood {
    let most = logits[largest(logits) as usize];
    let total: f64 = logits.iter().map(|logit| f64::from(logit - most).exp()).sum();
    let of = |logit: f32| (f64::from(logit - most) - total.ln()) as f32;
    let mut ranked: Vec<(u32, f32)> = (0..).zip(logits.iter().copied()).collect();
    let top = top.min(ranked.len());
    if top > 0 {
        rank(&mut ranked, top);
    }
    ranked.truncate(top);
    Likelihood {
        token,
        logprob: of(logits[token as usize]),
        top: ranked
            .into_iter()
            .map(|(token, logit)| (token, of(logit)))
            .collect(),
    }
}

/// How many of these, from the first on, weigh as much as is wanted.
fn fewest(ranked: &[(u32, f32)], wanted: f64) -> usize {
    let mut sum = 0.0;
    let missing = ranked.iter().take_while(|(_, weight)| {
        let is_missing = sum < wanted;
        sum += f64::from(*weight);
        is_missing
    });
    missing.count()
}

/// Sorts the `count` largest to the front; equal ones by token.
fn rank(all: &mut [(u32, f32)], count: usize) {
    let order = |a: &(u32, f32), b: &(u32, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
    let count = count.min(all.len());
    if count < all.len() {
        all.select_nth_unstable_by(count, order);
    }
    all[..count].sort_unstable_by(order);
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

    impl Sampler {
        fn next(&mut self, logits: &mut [f32], tokens: &[u32]) -> u32 {
            self.punish_repetition(logits, tokens);
            self.draw(logits)
        }
    }

    fn request(temperature: f32, top_p: f32, seed: u64) -> Generate {
        Generate {
            request: 1,
            prompt: String::new(),
            max_tokens: 1,
            temperature,
            top_p,
            seed,
            stop: Vec::new(),
            deadline_ms: 1,
        }
    }

    /// How often each token is drawn in a thousand times.
    fn counts(request: &Generate, options: Options, logits: &[f32], tokens: &[u32]) -> Vec<u32> {
        let mut sampler = Sampler::new(request, options);
        let mut counts = vec![0; logits.len()];
        for _ in 0..1_000 {
            counts[sampler.next(&mut logits.to_vec(), tokens) as usize] += 1;
        }
        counts
    }

    #[test]
    fn greedy_takes_the_first_of_the_largest() {
        let mut sampler = Sampler::new(&request(0.0, 1.0, 1), Options::default());
        assert_eq!(sampler.next(&mut [0.0, 3.0, 3.0, 1.0], &[]), 1);
    }

    #[test]
    fn a_seed_decides_and_top_p_cuts_the_tail() {
        let logits = [5.0, 4.9, -9.0, -9.5];
        let draw = |seed| {
            let mut sampler = Sampler::new(&request(1.0, 0.9, seed), Options::default());
            (0..50)
                .map(|_| sampler.next(&mut logits.to_vec(), &[]))
                .collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        assert!(draw(7).iter().all(|token| *token < 2));
    }

    #[test]
    fn tokens_come_as_often_as_their_weights_say() {
        let logits: Vec<f32> = (0..200).map(|token| if token < 4 { 0.0 } else { -1e3 }).collect();
        let found = counts(&request(1.0, 1.0, 3), Options::default(), &logits, &[]);
        assert!(
            found[..4].iter().all(|count| (180..320).contains(count)),
            "{found:?}"
        );
        assert_eq!(found[4..].iter().sum::<u32>(), 0);
    }

    #[test]
    fn top_k_and_min_p_leave_only_the_likely() {
        let logits = [1.0, 0.9, 0.8, -3.0];
        let options = Options {
            top_k: 2,
            ..Options::default()
        };
        let found = counts(&request(2.0, 1.0, 5), options, &logits, &[]);
        assert!(
            found[0] > 300 && found[1] > 300 && found[2] == 0 && found[3] == 0,
            "{found:?}"
        );
        let options = Options {
            min_p: 0.5,
            ..Options::default()
        };
        let found = counts(&request(1.0, 1.0, 5), options, &logits, &[]);
        assert!(found[2] > 200 && found[3] == 0, "{found:?}");
    }

    /// Asked one by one or masked beforehand, the same tokens come equally often.
    #[test]
    fn only_what_fits_is_drawn_as_often_as_within_a_mask() {
        let mut random = StdRng::seed_from_u64(11);
        let mut decided = 0;
        for case in 0..60 {
            let logits: Vec<f32> = (0..300).map(|_| random.random_range(-12.0..6.0)).collect();
            let fits: Vec<bool> = logits.iter().map(|_| random.random_range(0..3) > 0).collect();
            let masked: Vec<f32> = logits
                .iter()
                .zip(&fits)
                .map(|(logit, fits)| if *fits { *logit } else { f32::NEG_INFINITY })
                .collect();
            let options = Options {
                top_k: [0, 5, 0][case % 3],
                min_p: [0.0, 0.0, 0.2][case % 3],
                ..Options::default()
            };
            let request = request(0.7, 0.8, case as u64);
            let mut all = Sampler::new(&request, options.clone());
            let mut one = Sampler::new(&request, options);
            for _ in 0..20 {
                let drawn = one
                    .draw_fitting(&logits, |token| Ok::<_, ()>(fits[token as usize]))
                    .unwrap();
                let Some(drawn) = drawn else { break };
                assert_eq!(drawn, all.draw(&masked), "case {case}");
                decided += 1;
            }
        }
        assert!(decided > 600, "{decided}");
    }

    #[test]
    fn nothing_is_drawn_when_nothing_fits() {
        let mut sampler = Sampler::new(&request(1.0, 0.9, 1), Options::default());
        let drawn = sampler.draw_fitting(&[1.0; 100], |_| Ok::<_, ()>(false));
        assert_eq!(drawn, Ok(None));
    }

    #[test]
    fn what_came_lately_is_punished() {
        let options = Options {
            repetition_penalty: 2.0,
            repetition_window: 2,
            ..Options::default()
        };
        let mut sampler = Sampler::new(&request(0.0, 1.0, 1), options);
        assert_eq!(sampler.next(&mut [1.0, 1.9, 0.5], &[1, 0]), 1);
        assert_eq!(sampler.next(&mut [1.0, 1.9, -0.5], &[1, 2]), 0);
        assert_eq!(sampler.next(&mut [1.0, 1.9, 0.5], &[1, 0, 0]), 1);
    }

    #[test]
    fn likelihoods_are_logarithms_that_add_up() {
        let found = likelihood(&[0.0, 1.0, 2.0], 0, 3);
        let sum: f32 = found.top.iter().map(|(_, logprob)| logprob.exp()).sum();
        assert!((sum - 1.0).abs() < 1e-6);
        assert_eq!(found.top[0].0, 2);
        assert_eq!(found.logprob, found.top[2].1);
    }
}

//! One request's grammar at work.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use llguidance::Matcher;
use llguidance::toktrie::SimpleVob;

use crate::sampler::Sampler;

/// Where a text stands in its grammar.
pub struct Constraint {
    matcher: Matcher,
    /// Set by an error, so that what its parser learned is not used again.
    is_spoilt: Arc<AtomicBool>,
}

impl Constraint {
    pub fn new(matcher: Matcher, is_spoilt: Arc<AtomicBool>) -> Constraint {
        Constraint { matcher, is_spoilt }
    }

    /// Draws a token that fits, and takes it. `logits` are those after the punishment of repetition; they may be changed.
    pub fn choose(&mut self, sampler: &mut Sampler, logits: &mut [f32]) -> Result<u32, String> {
        self.draw(sampler, logits)
            .inspect_err(|_| self.is_spoilt.store(true, Ordering::Relaxed))
    }

    fn draw(&mut self, sampler: &mut Sampler, logits: &mut [f32]) -> Result<u32, String> {
        let matcher = &mut self.matcher;
        let wished = match sampler.draws_from_all() {
            // A draw from all that fits has the distribution of one from what fits; mostly the model's first wish does.
            true => Some(sampler.draw(logits)),
            false => sampler.draw_fitting(logits, |token| fits(matcher, token))?,
        };
        if let Some(token) = wished
            && take(matcher, token)?
        {
            return Ok(token);
        }
        apply(&mask(matcher)?, logits)?;
        let token = sampler.draw(logits);
        match take(matcher, token)? {
            true => Ok(token),
            false => Err(format!(
                "the grammar's mask allowed the token {token}, its parser does not"
            )),
        }
    }

    /// The tokens that must come next; they are taken.
    pub fn forced(&mut self) -> Result<Vec<u32>, String> {
        let tokens = self.matcher.consume_ff_tokens();
        match self.matcher.get_error() {
            None => Ok(tokens),
            Some(error) => Err(error),
        }
    }

    /// Whether nothing but the end can follow.
    pub fn is_over(&self) -> bool {
        self.matcher.is_stopped()
    }
}

/// Whether the token fits.
fn fits(matcher: &mut Matcher, token: u32) -> Result<bool, String> {
    matcher
        .validate_tokens(&[token])
        .map(|fitting| fitting == 1)
        .map_err(|error| error.to_string())
}

/// The tokens that may come next.
fn mask(matcher: &mut Matcher) -> Result<SimpleVob, String> {
    matcher.compute_mask_or_eos().map_err(|error| error.to_string())
}

/// Whether the token fits; then it is taken.
fn take(matcher: &mut Matcher, token: u32) -> Result<bool, String> {
    matcher
        .try_consume_tokens(&[token])
        .map(|taken| taken == 1)
        .map_err(|error| error.to_string())
}

/// Makes what does not fit impossible.
fn apply(mask: &SimpleVob, logits: &mut [f32]) -> Result<(), String> {
    let mut is_any = false;
    for (logits, word) in logits.chunks_mut(32).zip(mask.as_slice()) {
        is_any |= *word != 0;
        if *word != u32::MAX {
            for (bit, logit) in logits.iter_mut().enumerate() {
                if word >> bit & 1 == 0 {
                    *logit = f32::NEG_INFINITY;
                }
            }
        }
    }
    match is_any {
        true => Ok(()),
        false => Err("no token of the model fits the grammar here".into()),
    }
}

impl Constraint {
    /// How long the mask of each of these tokens takes, one after the other; for measurements.
    pub fn time(&mut self, tokens: &[u32]) -> Result<Vec<Duration>, String> {
        let matcher = &mut self.matcher;
        let mut times = Vec::with_capacity(tokens.len());
        for token in tokens {
            let begun = Instant::now();
            mask(matcher)?;
            times.push(begun.elapsed());
            if !take(matcher, *token)? {
                return Err(format!("the token {token} does not fit"));
            }
        }
        Ok(times)
    }
}

#[cfg(test)]
impl Constraint {
    /// Another text of the same grammar.
    pub fn again(&mut self) -> Constraint {
        Constraint::new(self.matcher.clone(), self.is_spoilt.clone())
    }

    /// The parser, for tests that walk it themselves.
    pub fn matcher(&mut self) -> &mut Matcher {
        &mut self.matcher
    }
}

//! One request's grammar at work.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use llguidance::Matcher;
use llguidance::toktrie::SimpleVob;

use super::ahead::{Ahead, Answer, mask};
use crate::sampler::Sampler;

/// Where a text stands in its grammar.
pub struct Constraint {
    state: State,
    /// Set by an error, so that what its parser learned is not used again.
    is_spoilt: Arc<AtomicBool>,
}

enum State {
    Here(Box<Matcher>),
    /// Its mask is being computed.
    Away(Answer),
    /// An error was answered: the request ends.
    Lost,
}

const LOST: &str = "the grammar's parser was lost";

impl Constraint {
    pub fn new(matcher: Matcher, is_spoilt: Arc<AtomicBool>) -> Constraint {
        Constraint {
            is_spoilt,
            state: State::Here(Box::new(matcher)),
        }
    }

    /// Draws a token that fits, and takes it. `logits` are those after the punishment of repetition; they may be changed.
    pub fn choose(&mut self, sampler: &mut Sampler, logits: &mut [f32]) -> Result<u32, String> {
        self.draw(sampler, logits)
            .inspect_err(|_| self.is_spoilt.store(true, Ordering::Relaxed))
    }

    fn draw(&mut self, sampler: &mut Sampler, logits: &mut [f32]) -> Result<u32, String> {
        let (mut matcher, known) = self.fetch()?;
        // A draw from all that fits has the distribution of one from what fits; mostly the model's first wish does.
        if known.is_none() && sampler.draws_from_all() {
            let token = sampler.draw(logits);
            if take(&mut matcher, token)? {
                self.state = State::Here(matcher);
                return Ok(token);
            }
        }
        let mask = match known {
            Some(mask) => mask,
            None => mask(&mut matcher)?,
        };
        apply(&mask, logits)?;
        let token = sampler.draw(logits);
        if !take(&mut matcher, token)? {
            return Err(format!(
                "the grammar's mask allowed the token {token}, its parser does not"
            ));
        }
        self.state = State::Here(matcher);
        Ok(token)
    }

    /// The tokens that must come next; they are taken.
    pub fn forced(&mut self) -> Result<Vec<u32>, String> {
        let matcher = self.here()?;
        let tokens = matcher.consume_ff_tokens();
        match matcher.get_error() {
            None => Ok(tokens),
            Some(error) => Err(error),
        }
    }

    /// Whether nothing but the end can follow.
    pub fn is_over(&mut self) -> Result<bool, String> {
        self.here().map(|matcher| matcher.is_stopped())
    }

    /// Has the next mask computed while the model runs, if it will be needed.
    pub fn look_ahead(&mut self, sampler: &Sampler, ahead: Option<&Ahead>) {
        let Some(ahead) = ahead.filter(|_| !sampler.draws_from_all()) else {
            return;
        };
        self.state = match std::mem::replace(&mut self.state, State::Lost) {
            State::Here(matcher) => match ahead.ask(matcher) {
                Ok(answer) => State::Away(answer),
                Err(matcher) => State::Here(matcher),
            },
            other => other,
        };
    }

    fn fetch(&mut self) -> Result<(Box<Matcher>, Option<SimpleVob>), String> {
        match std::mem::replace(&mut self.state, State::Lost) {
            State::Here(matcher) => Ok((matcher, None)),
            State::Away(answer) => {
                let (matcher, mask) = answer.recv().map_err(|_| LOST.to_owned())?;
                Ok((matcher, Some(mask?)))
            }
            State::Lost => Err(LOST.to_owned()),
        }
    }

    fn here(&mut self) -> Result<&mut Matcher, String> {
        match &mut self.state {
            State::Here(matcher) => Ok(matcher),
            State::Away(_) | State::Lost => Err(LOST.to_owned()),
        }
    }
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
        let matcher = self.here()?;
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
        Constraint::new(self.matcher().clone(), self.is_spoilt.clone())
    }

    /// The parser, for tests that walk it themselves.
    pub fn matcher(&mut self) -> &mut Matcher {
        match &mut self.state {
            State::Here(matcher) => matcher,
            State::Away(_) | State::Lost => panic!("{LOST}"),
        }
    }
}

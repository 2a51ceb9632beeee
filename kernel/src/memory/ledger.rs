//! What the model was prompted with and what was retrieved for it: a method that would index it is refused, since it never was a
//! source. Known by sentences, for as long as this kernel lives and up to a bound.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustc_hash::FxHashSet;
use unicode_segmentation::UnicodeSegmentation;

use crate::image::memory::analysis::pairs;

/// Sentences that are remembered; the oldest go first.
const MOST: usize = 1 << 18;
/// A sentence of fewer words is anybody's.
const WORDS: usize = 5;

/// The sentences that were shown to the model.
#[derive(Default)]
pub struct Ledger(Mutex<Known>);

#[derive(Default)]
struct Known {
    sentences: FxHashSet<u64>,
    order: VecDeque<u64>,
}

impl Ledger {
    /// Notes a text that the model is shown.
    pub fn note(&self, text: &str) {
        let mut known = self.known();
        for sentence in sentences(text) {
            if known.sentences.insert(sentence) {
                known.order.push_back(sentence);
            }
        }
        while known.order.len() > MOST {
            if let Some(oldest) = known.order.pop_front() {
                known.sentences.remove(&oldest);
            }
        }
    }

    /// Whether a sentence of the text was shown to the model.
    pub fn knows(&self, text: &str) -> bool {
        let known = self.known();
        !known.sentences.is_empty() && sentences(text).any(|sentence| known.sentences.contains(&sentence))
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A hash of each sentence that is long enough to be somebody's; case, signs and spaces do not count.
pub fn sentences(text: &str) -> impl Iterator<Item = u64> {
    let lines = text.lines().flat_map(|line| line.unicode_sentences());
    lines.filter_map(|sentence| {
        let pairs = pairs(sentence);
        (pairs.len() + 1 >= WORDS).then(|| {
            pairs
                .iter()
                .fold(pairs.len() as u64, |hash, pair| hash.rotate_left(7) ^ pair)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_is_known_again_in_other_company() {
        let ledger = Ledger::default();
        ledger.note("You are BABS. The boundary layer grows along the plate. Answer shortly!");
        assert!(ledger.knows("It is so. The  boundary layer grows, along the plate! Is it?"));
        assert!(!ledger.knows("Answer shortly!"));
        assert!(!ledger.knows("The boundary layer shrinks along the plate."));
    }
}

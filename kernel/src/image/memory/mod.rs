//! What the index knows of the memory (`docs/memory.md`): derived from objects and vectors, versioned with them, rebuilt with them.
//!
//! - [`analysis`]: a text as terms. [`vector`]: what a text means, as it is kept.
//! - [`block`], [`postings`], [`matrix`]: the values of the three databases. [`kernels`]: their arithmetic.
//! - [`fresh`]: what stands in front of the index. [`writes`]: what brings the index up to date. [`recall`]: what answers a question.

pub mod analysis;
pub mod block;
pub mod fresh;
pub mod kernels;
pub mod matrix;
pub mod postings;
pub mod recall;
#[cfg(test)]
mod tests;
pub mod vector;
pub mod writes;

use shared::object::ObjectImage;
use shared::value::Value;

/// An object with a slot of this name that holds text is a chunk.
pub const TEXT: &str = "memory_text";
pub const LANGUAGE: &str = "language";
pub const META: &str = "meta";

/// A chunk's text.
pub fn text_of(object: &ObjectImage) -> Option<&str> {
    object.slot(TEXT).and_then(|slot| slot.value.as_text())
}

/// The text under a name, if it is text.
fn word_of<'o>(object: &'o ObjectImage, slot: &str) -> Option<&'o str> {
    object.slot(slot).and_then(|slot| slot.value.as_text())
}

/// The pairs of text that filters go by.
pub fn meta_of(object: &ObjectImage) -> Vec<(&str, &str)> {
    match object.slot(META).map(|slot| &slot.value) {
        Some(Value::Map(pairs)) => pairs
            .iter()
            .filter_map(|(key, value)| Some((key.as_text()?, value.as_text()?)))
            .collect(),
        _ => Vec::new(),
    }
}

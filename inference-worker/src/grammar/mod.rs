//! What a text must be, and the tokens that keep it so.
//!
//! Parts in reading order: `compile` (grammars to parsers, within bounds), `vocabulary` (tokens as bytes), `python` (a method's grammar),
//! `constraint` (one request's parser at work), `measure` (what it costs).

mod compile;
mod constraint;
mod measure;
mod python;
mod vocabulary;

pub use compile::{Grammars, document};
pub use constraint::Constraint;
pub use measure::print as measure;

#[cfg(test)]
mod tests;
#[cfg(test)]
pub use tests::script;

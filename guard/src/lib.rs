//! The PersistenceGuardian (M13): what one Python method may say before it may run.
//!
//! In reading order:
//! - [`check`], [`Expectation`], [`Verdict`]: the one door, in `verdict.rs`.
//! - [`Rule`], [`Finding`]: the stable words of a refusal, in `rule.rs`.
//! - `bounds.rs`: size, characters and depth, before any parser sees the text.
//! - `names.rs`: the tables of names, attributes and `module.attribute` pairs; everything else is denied.
//! - `scope.rs`: which names a function binds, as CPython decides it.
//! - `statements.rs`, `expressions.rs`: the allowlist of nodes and of every field of theirs.
//! - `reach.rs`, `writes.rs`, `escapes.rs`: which values may be persistent, which expressions change them, where values go.
//! - `paths.rs`: every path from a change to a normal end must declare it.
//! - `bombs.rs`: loops without a way out, sizes that no method can hold.
//! - [`signature`]: selector and parameters of a method file, in `signature.rs`.
//!
//! Promises: a verdict depends on the source and the expectation alone; nothing is executed; no input makes the caller's
//! thread panic or overflow; the work is bounded. Whatever this crate does not know, it refuses.
//!
//! Non-goals: being the wall. The jail is the wall, and the measured write set decides what changed; the guard gives an
//! early, explained refusal that a language model can act on.
#![forbid(unsafe_code)]

mod bombs;
mod bounds;
mod escapes;
mod expressions;
mod names;
mod paths;
mod reach;
mod rule;
mod scope;
mod signature;
mod statements;
mod verdict;
mod writes;

pub use bounds::{
    Limits, MAX_BLOCK_DEPTH, MAX_BRACKET_DEPTH, MAX_EXPRESSION_DEPTH, MAX_LINES, MAX_SOURCE_BYTES,
    nests_within,
};
pub use rule::{Finding, Rule};
pub use signature::{Parameter, Signature, signature};
pub use verdict::{Expectation, Verdict, check, check_bytes};

//! What two processes of BAT OS must agree on, and nothing else.
//!
//! In reading order:
//! - [`id`]: typed numbers for objects, transactions, thoughts, epochs.
//! - [`value`], [`tokens`], [`json`], [`time`]: what a slot can hold, its bytes, its JSON form, the text of a time.
//! - [`base64`]: bytes inside JSON.
//! - [`object`], [`lookup`]: an object as it travels, and how delegation finds a slot.
//! - [`example`], [`path`], [`notation`]: what is expected of a message, as text.
//! - [`frame`]: the envelope of every byte that crosses a process border. [`incoming`]: frames out of what has arrived.
//! - [`bridge`]: clients ↔ kernel. [`client`]: the blocking client library of it.
//! - [`activation`]: kernel ↔ method-worker.
//! - [`inference`]: kernel ↔ inference-worker.
//! - [`spread`]: how long things took, counted.
//! - [`control`]: console ↔ steward. [`handover`]: steward ↔ kernel. [`document`]: the JSON documents of answers.
//! - [`home`], [`exit`], [`reason`]: the home folder, exit codes, stable words for failures.
//!
//! Non-goals: behaviour. Nothing here opens an image, runs a method or loads a model.
#![forbid(unsafe_code)]

pub mod activation;
pub mod base64;
pub mod bridge;
pub mod client;
pub mod control;
pub mod document;
pub mod example;
pub mod exit;
pub mod frame;
pub mod handover;
pub mod home;
pub mod id;
pub mod incoming;
pub mod inference;
pub mod json;
pub mod key;
pub mod lookup;
pub mod notation;
pub mod object;
pub mod path;
pub mod random;
pub mod reason;
pub mod spread;
pub mod time;
pub mod tokens;
pub mod value;

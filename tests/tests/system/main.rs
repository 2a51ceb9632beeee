//! System tests: the real programs, driven as a person and a script drive them; a temporary home each.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod bad_input;
mod channel;
mod collections;
mod families;
mod first_act;
mod harness;
mod imports;
mod jail;
mod kills;
mod methods;
mod rpc;
mod stopping;

//! System tests: the real programs, driven as a person and a script drive them; a temporary home each.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod backup;
mod bad_input;
mod blobs;
mod branches;
mod channel;
mod collections;
mod damage;
mod embedder;
mod exports;
mod families;
mod faults;
mod first_act;
mod full_disk;
mod harness;
mod idle;
mod imports;
mod jail;
mod kills;
mod methods;
mod pipeline;
mod powercut;
mod rpc;
mod stopping;
mod storms;
mod upkeep;

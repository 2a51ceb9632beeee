//! What the process uses, part by part, beside what the system counts for it.

use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};

use shared::inference::Manifest;

/// Parts that others tell; the store knows its own.
#[derive(Debug, Default)]
pub struct Gauges {
    program_bytes: AtomicU64,
    base_bytes: AtomicU64,
    cache_bytes: AtomicU64,
    cache_budget_bytes: AtomicU64,
    scratch_bytes: AtomicU64,
}

impl Gauges {
    /// The model has just been loaded, and nothing else is in memory: all that is not the base is the program.
    pub fn base_loaded(&self, base_bytes: u64, cache_budget_bytes: u64) {
        self.base_bytes.store(base_bytes, Ordering::Relaxed);
        self.cache_budget_bytes
            .store(cache_budget_bytes, Ordering::Relaxed);
        let program = resident_bytes().saturating_sub(base_bytes);
        self.program_bytes.store(program, Ordering::Relaxed);
    }

    /// After a forward pass.
    pub fn worked(&self, cache_bytes: u64, scratch_bytes: u64) {
        self.cache_bytes.store(cache_bytes, Ordering::Relaxed);
        self.scratch_bytes.store(scratch_bytes, Ordering::Relaxed);
    }

    /// Fills in the parts that stand here.
    pub fn manifest(&self, parts: Manifest) -> Manifest {
        let of = |gauge: &AtomicU64| gauge.load(Ordering::Relaxed);
        Manifest {
            program_bytes: of(&self.program_bytes),
            base_bytes: of(&self.base_bytes),
            cache_bytes: of(&self.cache_bytes),
            cache_budget_bytes: of(&self.cache_budget_bytes),
            scratch_bytes: of(&self.scratch_bytes),
            resident_bytes: resident_bytes(),
            ..parts
        }
    }
}

/// Of Linux; elsewhere 0.
fn resident_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) << 10
}

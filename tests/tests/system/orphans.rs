//! What a killed kernel leaves behind is reaped by the steward, not left to whoever else stands above it.

use std::path::PathBuf;

use nix::sys::prctl::set_child_subreaper;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::{System, until};

#[test]
fn the_workers_of_a_killed_kernel_are_reaped() {
    // Orphans that the steward does not take in come here, where nobody reaps them.
    set_child_subreaper(true).unwrap();
    let system = System::without_model().up();
    let processes = until("the kernel has workers", || {
        let processes = system.processes();
        let has_workers = processes.iter().any(|(name, _)| *name == "method-worker");
        has_workers.then_some(processes)
    });
    let with = |wanted: &str| -> Vec<i32> {
        let found = processes.iter().filter(|(name, _)| *name == wanted);
        found.map(|(_, pid)| *pid).collect()
    };
    kill(Pid::from_raw(with("kernel")[0]), Signal::SIGKILL).unwrap();
    for pid in with("method-worker") {
        let process = PathBuf::from(format!("/proc/{pid}"));
        until("the worker is reaped", || (!process.exists()).then_some(()));
    }
}

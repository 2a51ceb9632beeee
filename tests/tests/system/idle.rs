//! Nobody asks, so nobody works: events, not polling.

use std::fs;
use std::thread;
use std::time::Duration;

use crate::harness::{System, processes_of};

/// How long is watched, and how much processor time all programs together may take of it, in ticks of 10 ms.
const WATCHED: Duration = Duration::from_secs(3);
const TICKS: u64 = 15;

#[test]
fn an_idle_system_takes_no_processor_time() {
    let system = System::without_model().up();
    // The workers' interpreters are still warming up for a moment.
    thread::sleep(Duration::from_secs(2));
    let processes = processes_of(&system.home());
    assert!(processes.len() >= 2, "steward and kernel at least: {processes:?}");
    let before: Vec<u64> = processes.iter().map(|pid| ticks(*pid)).collect();
    thread::sleep(WATCHED);
    let taken: Vec<(i32, u64)> = processes
        .iter()
        .zip(before)
        .map(|(pid, before)| (*pid, ticks(*pid) - before))
        .collect();
    let sum: u64 = taken.iter().map(|(_, ticks)| ticks).sum();
    assert!(sum <= TICKS, "ticks of 10 ms by process: {taken:?}");
}

/// User and system time of all threads.
fn ticks(pid: i32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

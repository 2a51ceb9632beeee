//! What hangs has not ended: no signal tells the steward of it. It asks, and one that does not answer gives way to the next.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::{System, is_gone, until};
use crate::load::Load;

const CONFIGURATION: &str = "[supervision]\nhang_ms = 1500\n";

fn process(system: &System, wanted: &str) -> i32 {
    let named = system.processes().into_iter().find(|(name, _)| *name == wanted);
    named.unwrap_or_else(|| panic!("no {wanted} runs")).1
}

/// What `batos status` says of the last end of a plank.
fn last_exit(system: &System, plank: &str) -> String {
    let planks = system.batos(&["status"]).document["steward"]["planks"].clone();
    let all = planks.as_array().unwrap().iter();
    let found = all.into_iter().find(|one| one["name"] == plank).unwrap();
    found["last_exit"].as_str().unwrap().to_owned()
}

fn hang(system: &System, wanted: &str) {
    let pid = process(system, wanted);
    kill(Pid::from_raw(pid), Signal::SIGSTOP).unwrap();
    until("it is killed", || is_gone(pid).then_some(()));
    until("another answers", || {
        last_exit(system, wanted)
            .contains("did not answer for")
            .then_some(())
    });
}

#[test]
fn a_kernel_that_hangs_gives_way_and_no_request_fails() {
    let system = System::without_model().configure(CONFIGURATION).up();
    let load = Load::begin(&system, 3);
    for _ in 0..2 {
        hang(&system, "kernel");
        let before = load.answered();
        until("requests are answered", || {
            (load.answered() > before + 10).then_some(())
        });
    }
    load.end(&system).assert_clean();
}

#[test]
fn a_worker_that_hangs_gives_way() {
    let system = System::new().configure(CONFIGURATION).up();
    hang(&system, "inference-worker");
    until("it is ready again", || {
        let status = system.batos(&["status"]).document;
        let planks = status["steward"]["planks"].as_array()?.clone();
        let all = |one: &serde_json::Value| one["state"] == "ready";
        planks.iter().all(all).then_some(())
    });
}

#[test]
fn a_kernel_that_hung_while_nobody_watched_is_not_taken_over_for_good() {
    let system = System::without_model().configure(CONFIGURATION).up();
    let (steward, kernel) = (process(&system, "steward"), process(&system, "kernel"));
    kill(Pid::from_raw(kernel), Signal::SIGSTOP).unwrap();
    kill(Pid::from_raw(steward), Signal::SIGKILL).unwrap();
    until("the steward is gone", || is_gone(steward).then_some(()));
    until("a steward runs and its kernel answers", || {
        (system.batos(&["up"]).code == 0).then_some(())
    });
    assert!(is_gone(kernel));
}

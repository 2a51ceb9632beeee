//! `batos down`: nothing runs when this returns.

use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use shared::control::ControlRequest;
use shared::exit;
use shared::home::Home;

use crate::failure::Failure;
use crate::output::Report;
use crate::{status, steward};

/// Longer than the steward gives the kernel to close its image.
const DEADLINE: Duration = Duration::from_secs(90);
/// How long a kernel without a steward may take to say its process id.
const LOOK: Duration = Duration::from_millis(500);
const PAUSE: Duration = Duration::from_millis(10);

pub fn run(home: &Home) -> Result<Report, Failure> {
    let path = home.path().display().to_string();
    let was_running = match steward::status(home) {
        Some(status) => {
            match steward::ask(home, ControlRequest::Stop, DEADLINE) {
                Ok(_) => {}
                // It ended before its reply was read; the wait below tells.
                Err(error) if error.is_disconnect() || steward::is_absent(&error) => {}
                Err(error) => return Err(stuck(&format!("steward {}: {error}", status.pid))),
            }
            wait_for_end(status.pid, "steward")?;
            true
        }
        None => stop_orphan(home)?,
    };
    let document = json!({ "ok": true, "was_running": was_running, "home": path });
    let text = if was_running {
        format!("stopped at {path}")
    } else {
        format!("nothing runs at {path}")
    };
    Ok(Report::answered(document, text))
}

/// A kernel whose steward was killed is asked by signal. True when there was one.
fn stop_orphan(home: &Home) -> Result<bool, Failure> {
    let Ok(kernel) = status::kernel(home, LOOK) else {
        return Ok(false);
    };
    match kill(process(kernel.pid)?, Signal::SIGTERM) {
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(error) => return Err(stuck(&format!("kernel {}: {error}", kernel.pid))),
    }
    wait_for_end(kernel.pid, "kernel")?;
    Ok(true)
}

fn wait_for_end(pid: u32, name: &str) -> Result<(), Failure> {
    let deadline = Instant::now() + DEADLINE;
    let process = process(pid)?;
    while runs(process) {
        if Instant::now() > deadline {
            return Err(stuck(&format!(
                "{name} {pid} still runs after {} s",
                DEADLINE.as_secs()
            )));
        }
        sleep(PAUSE);
    }
    Ok(())
}

/// False once the process is gone, or dead and only not reaped by its parent.
fn runs(process: Pid) -> bool {
    if kill(process, None) == Err(Errno::ESRCH) {
        return false;
    }
    let state = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    !state
        .rsplit_once(") ")
        .is_some_and(|(_, rest)| rest.starts_with(['Z', 'X']))
}

fn process(pid: u32) -> Result<Pid, Failure> {
    match i32::try_from(pid) {
        Ok(pid) if pid > 1 => Ok(Pid::from_raw(pid)),
        _ => Err(Failure::internal(format!(
            "{pid} is not the process id of a steward or kernel"
        ))),
    }
}

fn stuck(what: &str) -> Failure {
    Failure::start(
        format!("could not stop everything: {what}; see the logs, or end it by its process id"),
        exit::ERROR,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_running_is_no_error() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::resolve(Some(folder.path())).unwrap();
        let report = run(&home).ok().unwrap();
        assert_eq!((&report.document["was_running"], report.exit), (&json!(false), 0));
    }

    #[test]
    fn a_dead_child_that_nobody_reaped_does_not_run() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = process(child.id()).unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        while runs(pid) && Instant::now() < deadline {
            sleep(PAUSE);
        }
        assert!(!runs(pid));
        child.wait().unwrap();
    }
}

//! Who a process is: its id means something only together with when it began.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

/// A process for good: no later process has the same three.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    pub pid: i32,
    /// Field 22 of `/proc/PID/stat`: clock ticks since boot.
    pub start_ticks: u64,
    pub boot_id: String,
}

impl Identity {
    /// The process with that id as of now; `None` when there is none or it is a zombie.
    pub fn of(pid: i32) -> Option<Identity> {
        let fields = fields(pid)?;
        let state = fields.first()?.as_str();
        let start_ticks = fields.get(19)?.parse().ok()?;
        let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id")
            .ok()?
            .trim()
            .to_owned();
        (!matches!(state, "Z" | "X")).then_some(Identity {
            pid,
            start_ticks,
            boot_id,
        })
    }

    /// Asks the process to end, and ends it after the deadline. True when it is gone. A process that has taken over the id
    /// is never touched: the signal goes through a descriptor whose process was compared.
    pub fn stop(&self, deadline: Duration) -> io::Result<bool> {
        let Some(pid) = Pid::from_raw(self.pid) else {
            return Ok(true);
        };
        let descriptor = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(descriptor) => descriptor,
            Err(rustix::io::Errno::SRCH) => return Ok(true),
            Err(error) => return Err(error.into()),
        };
        if Identity::of(self.pid).as_ref() != Some(self) {
            return Ok(true);
        }
        let _ = pidfd_send_signal(&descriptor, Signal::TERM);
        if has_ended(&descriptor, deadline)? {
            return Ok(true);
        }
        let _ = pidfd_send_signal(&descriptor, Signal::KILL);
        has_ended(&descriptor, Duration::from_secs(5))
    }
}

/// Ids of processes of this user whose arguments, after the program, begin with these. What one of them has forked and what does not run a
/// program of its own yet still has its arguments, and is not one.
pub fn with_arguments(beginning: &[Vec<u8>]) -> Vec<i32> {
    let me = nix::unistd::geteuid().as_raw();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<i32>().ok())
        else {
            continue;
        };
        let is_mine = entry
            .metadata()
            .is_ok_and(|data| std::os::unix::fs::MetadataExt::uid(&data) == me);
        let Ok(line) = fs::read(entry.path().join("cmdline")) else {
            continue;
        };
        let mut arguments = line.split(|byte| *byte == 0).skip(1);
        if is_mine
            && beginning
                .iter()
                .all(|expected| arguments.next() == Some(expected))
        {
            found.push(pid);
        }
    }
    let all = found.clone();
    found.retain(|pid| parent(*pid).is_some_and(|parent| !all.contains(&parent)));
    found
}

/// Whether this process has to reap that one.
pub fn is_child(pid: i32) -> bool {
    parent(pid).and_then(|parent| u32::try_from(parent).ok()) == Some(std::process::id())
}

fn parent(pid: i32) -> Option<i32> {
    fields(pid)?.get(1)?.parse().ok()
}

/// What `/proc/PID/stat` has from the state on, its third field. The name in brackets before it may itself hold brackets and blanks.
fn fields(pid: i32) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(") ")?;
    Some(fields.split(' ').map(str::to_owned).collect())
}

/// The program that a process runs; a replaced file ends in ` (deleted)`.
pub fn program(pid: i32) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/exe")).ok()
}

/// Whether a process ends within that time.
pub fn has_ended(descriptor: &OwnedFd, within: Duration) -> io::Result<bool> {
    let until = Instant::now() + within;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let mut polled = [PollFd::new(descriptor.as_fd(), PollFlags::POLLIN)];
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        match poll(&mut polled, timeout) {
            Ok(0) if left.is_zero() => return Ok(false),
            Ok(0) | Err(nix::errno::Errno::EINTR) => {}
            Ok(_) => return Ok(true),
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_child_with_the_arguments_of_its_parent_is_not_taken_for_another() {
        let folder = tempfile::tempdir().unwrap();
        let mark = folder.path().to_str().unwrap();
        // A subshell is a fork that runs no program of its own.
        let mut parent = Command::new("/bin/sh")
            .args(["-c", "(echo forked; read line; :); :", mark])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut told = [0; 7];
        std::io::Read::read_exact(parent.stdout.as_mut().unwrap(), &mut told).unwrap();
        let line = fs::read(format!("/proc/{}/cmdline", parent.id())).unwrap();
        let mut arguments: Vec<Vec<u8>> = line.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect();
        arguments.pop();
        let found = with_arguments(&arguments[1..]);
        drop(parent.stdin.take());
        parent.wait().unwrap();
        assert_eq!(found, [parent.id() as i32]);
    }

    #[test]
    fn this_process_is_found_and_a_stranger_is_left_alone() {
        let me = Identity::of(std::process::id() as i32).unwrap();
        assert_eq!(Identity::of(me.pid), Some(me.clone()));
        // The id is right, the rest is of a process long gone: nothing happens to this one.
        let earlier = Identity {
            start_ticks: me.start_ticks - 1,
            ..me
        };
        assert!(earlier.stop(Duration::from_millis(1)).unwrap());
    }
}

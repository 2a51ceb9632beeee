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
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name in brackets may itself hold brackets and blanks.
        let mut fields = stat.get(stat.rfind(')')? + 2..)?.split(' ');
        let state = fields.next()?;
        let start_ticks = fields.nth(18)?.parse().ok()?;
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

/// Ids of processes of this user whose arguments, after the program, begin with these.
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
    found
}

/// Whether this process has to reap that one.
pub fn is_child(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let parent = stat
        .rsplit_once(") ")
        .and_then(|(_, fields)| fields.split(' ').nth(1)?.parse::<u32>().ok());
    parent == Some(std::process::id())
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
    use super::*;

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

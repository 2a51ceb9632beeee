//! Processes whose parent was one of the steward's children and has ended, such as the workers of a killed kernel: the steward
//! takes them in and reaps them. Without that they would wait for the machine's first process, which in a container may be
//! the steward itself, or one that never reaps.

use std::io;

use nix::sys::prctl;
use nix::sys::wait::{Id, WaitPidFlag, waitid, waitpid};
use nix::unistd::{Pid, getpgid};

/// From now on orphans come to this process, not to the machine's first.
pub fn take_in() -> io::Result<()> {
    Ok(prctl::set_child_subreaper(true)?)
}

/// Reaps those that have ended. Every child that the steward starts leads a process group; who does not is an orphan, and nobody
/// else waits for it. One that stands behind an ended child which is not reaped yet has its turn at the next call.
pub fn reap() {
    let ended = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    while let Some(pid) = waitid(Id::All, ended).ok().and_then(|status| status.pid()) {
        if !is_orphan(pid) || waitpid(pid, Some(WaitPidFlag::WNOHANG)).is_err() {
            return;
        }
    }
}

fn is_orphan(pid: Pid) -> bool {
    getpgid(Some(pid)).is_ok_and(|group| group != pid)
}

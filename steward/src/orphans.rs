//! Processes whose parent was one of the steward's children and has ended, such as the workers of a killed kernel: the steward
//! takes them in and reaps them. Without that they would wait for the machine's first process, which in a container may be
//! the steward itself, or one that never reaps.

use std::io;
use std::time::{Duration, Instant};

use nix::sys::prctl;
use nix::sys::wait::{Id, WaitPidFlag, waitid, waitpid};
use nix::unistd::{Pid, getpgid};

/// A child of the steward's is reaped within a turn of its loop, or by the thread that waits for nothing else.
const UNCLAIMED: Duration = Duration::from_secs(10);

/// From now on orphans come to this process, not to the machine's first.
pub fn take_in() -> io::Result<()> {
    Ok(prctl::set_child_subreaper(true)?)
}

/// Who stands first among the ended, and since when.
#[derive(Default)]
pub struct Orphans {
    first: Option<(Pid, Instant)>,
}

impl Orphans {
    /// Reaps those that have ended, and nobody else waits for. One that stands behind a child of the steward's own which is not
    /// reaped yet has its turn at a later call.
    pub fn reap(&mut self, now: Instant) {
        let ended = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        while let Some(pid) = waitid(Id::All, ended).ok().and_then(|status| status.pid()) {
            let leads = getpgid(Some(pid)).is_ok_and(|group| group == pid);
            if !self.is_orphan(pid, leads, now) || waitpid(pid, Some(WaitPidFlag::WNOHANG)).is_err() {
                return;
            }
        }
        self.first = None;
    }

    /// Whether the first of the ended is one. Every child that the steward starts leads a process group; who does not is an
    /// orphan. Who leads one, and stays unreaped for longer than any child of the steward's does, is an orphan too.
    fn is_orphan(&mut self, pid: Pid, leads: bool, now: Instant) -> bool {
        let since = match self.first {
            Some((first, since)) if first == pid => since,
            _ => now,
        };
        self.first = Some((pid, since));
        !leads || now.saturating_duration_since(since) >= UNCLAIMED
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_orphan_that_leads_its_group_is_known_by_nobody_reaping_it() {
        let (one, other) = (Pid::from_raw(10), Pid::from_raw(11));
        let (mut orphans, begun) = (Orphans::default(), Instant::now());
        assert!(orphans.is_orphan(one, false, begun));
        assert!(!orphans.is_orphan(one, true, begun));
        assert!(!orphans.is_orphan(one, true, begun + UNCLAIMED / 2));
        // Somebody reaped that one.
        assert!(!orphans.is_orphan(other, true, begun + UNCLAIMED));
        assert!(orphans.is_orphan(other, true, begun + UNCLAIMED * 2));
    }
}

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
    /// Reaps those that have ended. Every child that the steward starts leads a process group; who does not is an orphan, and
    /// nobody else waits for it. Who leads one, and stays unreaped for longer than any child of the steward's does, is an orphan
    /// too. One that stands behind an ended child which is not reaped yet has its turn at a later call.
    pub fn reap(&mut self, now: Instant) {
        let ended = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        while let Some(pid) = waitid(Id::All, ended).ok().and_then(|status| status.pid()) {
            let since = match self.first {
                Some((first, since)) if first == pid => since,
                _ => now,
            };
            self.first = Some((pid, since));
            let is_orphan = !leads(pid) || now.duration_since(since) >= UNCLAIMED;
            if !is_orphan || waitpid(pid, Some(WaitPidFlag::WNOHANG)).is_err() {
                return;
            }
        }
        self.first = None;
    }
}

fn leads(pid: Pid) -> bool {
    getpgid(Some(pid)).is_ok_and(|group| group == pid)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn an_orphan_that_leads_its_group_is_reaped_and_holds_up_nobody() {
        take_in().unwrap();
        let left = Command::new("/bin/sh")
            .args(["-c", "setsid true & exit 0"])
            .status()
            .unwrap();
        assert!(left.success());
        let ended = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
        let orphan = waitid(Id::All, ended).unwrap().pid().unwrap();
        assert!(leads(orphan));
        let (mut orphans, now) = (Orphans::default(), Instant::now());
        orphans.reap(now);
        orphans.reap(now + UNCLAIMED / 2);
        assert!(
            waitid(Id::All, ended | WaitPidFlag::WNOHANG).is_ok(),
            "it may be somebody's child"
        );
        orphans.reap(now + UNCLAIMED);
        assert!(
            waitid(Id::All, ended | WaitPidFlag::WNOHANG).is_err(),
            "nobody is left"
        );
    }
}

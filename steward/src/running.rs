//! A running process in the steward's care: its own child, or one that an earlier steward left and that was adopted. Both can be signalled and
//! noticed to have ended without ever touching a stranger.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc::Sender;
use std::thread;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use rustix::process::pidfd_send_signal;

use crate::event::Event;

#[derive(Debug)]
pub struct Running {
    pid: i32,
    /// Of an adopted process; a child cannot vanish before it is reaped.
    adopted: Option<OwnedFd>,
}

/// How it ended, once.
#[derive(Debug, PartialEq, Eq)]
pub struct End {
    /// In words.
    pub how: String,
    /// By a fault in memory, or an assertion of a library: what a damaged index does to who reads it.
    pub is_crash: bool,
}

impl Running {
    /// A child of this process.
    pub fn child(pid: i32) -> Running {
        Running { pid, adopted: None }
    }

    /// A stranger's child; its end is told as [`Event::Child`].
    pub fn adopted(pid: i32, descriptor: OwnedFd, events: Sender<Event>) -> io::Result<Running> {
        let watched = descriptor.try_clone()?;
        thread::Builder::new().name("adopted".to_owned()).spawn(move || {
            while has_ended(&watched, PollTimeout::NONE) == Ok(false) {}
            let _ = events.send(Event::Child);
        })?;
        Ok(Running {
            pid,
            adopted: Some(descriptor),
        })
    }

    pub fn is_adopted(&self) -> bool {
        self.adopted.is_some()
    }

    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Its end when it has ended; a child is reaped, so this answers once.
    pub fn ended(&self) -> Option<End> {
        match &self.adopted {
            Some(descriptor) => match has_ended(descriptor, PollTimeout::ZERO) {
                Ok(false) => None,
                _ => Some(self.end_of_adopted()),
            },
            None => match waitpid(Pid::from_raw(self.pid), Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) => None,
                Ok(status @ (WaitStatus::Exited(..) | WaitStatus::Signaled(..))) => Some(End::of(status)),
                Ok(_) | Err(Errno::EINTR) => None,
                Err(_) => Some(End::words("gone")),
            },
        }
    }

    pub fn ask_to_end(&self) {
        self.signal(Signal::SIGTERM);
    }

    pub fn kill(&self) {
        self.signal(Signal::SIGKILL);
    }

    /// Ends it and returns when it is gone.
    pub fn kill_and_reap(&self) -> End {
        self.kill();
        match &self.adopted {
            Some(descriptor) => {
                while has_ended(descriptor, PollTimeout::NONE) == Ok(false) {}
                self.end_of_adopted()
            }
            None => match waitpid(Pid::from_raw(self.pid), None) {
                Ok(status) => End::of(status),
                Err(_) => End::words("gone"),
            },
        }
    }

    /// Nobody but its parent is told how a process ended; that is this process where it was another program before.
    fn end_of_adopted(&self) -> End {
        match waitpid(Pid::from_raw(self.pid), Some(WaitPidFlag::WNOHANG)) {
            Ok(status @ (WaitStatus::Exited(..) | WaitStatus::Signaled(..))) => End::of(status),
            _ => End::words("ended (adopted: how is not known)"),
        }
    }

    fn signal(&self, signal: Signal) {
        match &self.adopted {
            Some(descriptor) => {
                let signal = match signal {
                    Signal::SIGKILL => rustix::process::Signal::KILL,
                    _ => rustix::process::Signal::TERM,
                };
                let _ = pidfd_send_signal(descriptor, signal);
            }
            None => {
                let _ = kill(Pid::from_raw(self.pid), signal);
            }
        }
    }
}

impl End {
    fn words(how: &str) -> End {
        End {
            how: how.to_owned(),
            is_crash: false,
        }
    }

    fn of(status: WaitStatus) -> End {
        End {
            how: describe(status),
            is_crash: matches!(status, WaitStatus::Signaled(_, signal, _) if is_crash(signal)),
        }
    }
}

fn has_ended(descriptor: &OwnedFd, within: PollTimeout) -> Result<bool, Errno> {
    let mut polled = [PollFd::new(descriptor.as_fd(), PollFlags::POLLIN)];
    match poll(&mut polled, within) {
        Ok(count) => Ok(count > 0),
        Err(Errno::EINTR) => Ok(false),
        Err(error) => Err(error),
    }
}

fn is_crash(signal: Signal) -> bool {
    use Signal::{SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV};
    [SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV].contains(&signal)
}

fn describe(status: WaitStatus) -> String {
    match status {
        WaitStatus::Exited(_, code) => describe_code(code),
        WaitStatus::Signaled(_, signal, _) => format!("killed by {signal}"),
        other => format!("{other:?}"),
    }
}

fn describe_code(code: i32) -> String {
    let meaning = match u8::try_from(code) {
        Ok(shared::exit::USAGE) => " (it does not know its arguments)",
        Ok(shared::exit::IN_USE) => " (the image is in use by another process)",
        Ok(shared::exit::UNUSABLE) => " (the home or the image cannot be used)",
        Ok(shared::exit::CONFIGURATION) => " (its configuration is wrong)",
        _ => "",
    };
    format!("exit code {code}{meaning}")
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use rustix::process::{PidfdFlags, pidfd_open};

    use super::*;

    #[test]
    fn an_adopted_process_is_noticed_to_end_and_killed() {
        // Two strangers that are started alike: one is killed by somebody else, one by us.
        for is_ours in [false, true] {
            let pid = stranger();
            let (running, events) = adopt(pid);
            assert_eq!(running.ended(), None);
            match is_ours {
                true => assert!(running.kill_and_reap().how.contains("adopted")),
                false => kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap(),
            }
            assert!(matches!(
                events.recv_timeout(Duration::from_secs(10)),
                Ok(Event::Child)
            ));
            assert!(running.ended().is_some());
        }
    }

    #[test]
    fn a_child_of_the_program_before_is_reaped_and_its_end_known() {
        let mut child = Command::new("/bin/sleep").arg("600").spawn().unwrap();
        let (running, _events) = adopt(child.id() as i32);
        assert_eq!(running.kill_and_reap().how, "killed by SIGKILL");
        assert_eq!(
            child.wait().unwrap_err().raw_os_error(),
            Some(Errno::ECHILD as i32)
        );
    }

    fn adopt(pid: i32) -> (Running, std::sync::mpsc::Receiver<Event>) {
        let descriptor = pidfd_open(rustix::process::Pid::from_raw(pid).unwrap(), PidfdFlags::empty());
        let (sender, events) = channel();
        (
            Running::adopted(pid, descriptor.unwrap(), sender).unwrap(),
            events,
        )
    }

    /// A process that is nobody's child here.
    fn stranger() -> i32 {
        let shell = Command::new("/bin/sh")
            .args(["-c", "sleep 600 >/dev/null 2>&1 & echo $!"])
            .output()
            .unwrap();
        String::from_utf8(shell.stdout).unwrap().trim().parse().unwrap()
    }
}

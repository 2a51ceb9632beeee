//! A kernel that runs beside the supervised one: the new one before it is promoted, the old one after it has yielded.

use std::path::PathBuf;

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::control::Control;
use crate::plank::describe;

/// Killed and reaped when dropped, before its control channel ends: it has nothing that is not in the image.
pub struct Companion {
    pub pid: i32,
    pub program: PathBuf,
    process: Process,
    pub control: Control,
}

/// Reaps by its end.
struct Process(Option<i32>);

impl Companion {
    pub fn new(pid: i32, program: PathBuf, control: Control) -> Companion {
        Companion {
            pid,
            program,
            process: Process(Some(pid)),
            control,
        }
    }

    /// How it ended, when it has, in words; told once.
    pub fn ended(&mut self) -> Option<String> {
        let pid = self.process.0?;
        let ended = match waitpid(Pid::from_raw(pid), Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) => return None,
            Ok(status) => describe(status),
            Err(_) => "gone".to_owned(),
        };
        self.process.0 = None;
        Some(ended)
    }

    pub fn ask_to_end(&self) {
        let _ = kill(Pid::from_raw(self.pid), Signal::SIGTERM);
    }

    /// Gives the process into other hands: its id, its program, its control channel.
    pub fn release(mut self) -> (i32, PathBuf, Control) {
        self.process.0 = None;
        (self.pid, self.program, self.control)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(pid) = self.0 {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            let _ = waitpid(Pid::from_raw(pid), None);
        }
    }
}

//! A process that runs beside the supervised one: the new one before it serves, the old one after it has yielded.

use std::path::PathBuf;

use shared::handover::ToKernel;

use super::control::Control;
use crate::running::Running;

/// Killed and reaped when dropped, before its control channel ends: it has nothing that is not in the image.
pub struct Companion {
    pub pid: i32,
    pub program: PathBuf,
    nonce: String,
    process: Process,
    /// Of a kernel.
    control: Option<Control>,
}

/// Reaps by its end.
struct Process(Option<Running>);

impl Companion {
    pub fn new(process: Running, nonce: String, program: PathBuf, control: Option<Control>) -> Companion {
        Companion {
            pid: process.pid(),
            program,
            nonce,
            process: Process(Some(process)),
            control,
        }
    }

    /// How it ended, when it has, in words; told once.
    pub fn ended(&mut self) -> Option<String> {
        let end = self.process.0.as_ref()?.ended()?;
        self.process.0 = None;
        Some(end.how)
    }

    /// True when it was said.
    pub fn say(&self, message: &ToKernel) -> bool {
        self.control.as_ref().is_some_and(|control| control.say(message))
    }

    /// Whether that is its channel.
    pub fn speaks_by(&self, channel: u64) -> bool {
        self.control
            .as_ref()
            .is_some_and(|control| control.id() == channel)
    }

    pub fn ask_to_end(&self) {
        self.process.0.iter().for_each(Running::ask_to_end);
    }

    /// Gives the process into other hands: what is known of it, its program, its control channel. One that has ended is given all the same.
    pub fn release(mut self) -> (Running, String, PathBuf, Option<Control>) {
        let process = self.process.0.take().unwrap_or_else(|| Running::child(self.pid));
        (process, self.nonce, self.program, self.control)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(process) = &self.0 {
            process.kill_and_reap();
        }
    }
}

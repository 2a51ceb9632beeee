//! Why a command has no answer, as a stable word, a sentence and an exit code.

use std::fmt;

use serde_json::{Value as Json, json};
use shared::bridge::Fault;
use shared::{document, exit, reason};

/// The command line or a file that it names makes no sense.
pub const USAGE: &str = "usage";
/// `up` could not start the system.
pub const START_FAILED: &str = "start_failed";
/// The wait for an answer was given up by Ctrl-C; the request goes on.
pub const LEFT: &str = "left";

#[derive(Debug)]
pub enum Failure {
    /// The image (or this program) says why, in the form of the protocol.
    Fault { fault: Fault, exit: u8 },
    /// Nobody answers.
    NoKernel(String),
}

impl Failure {
    /// Whether it was given for that reason.
    pub fn is_for(&self, reason: &str) -> bool {
        matches!(self, Failure::Fault { fault, .. } if fault.reason == reason)
    }

    pub fn usage(message: impl Into<String>) -> Failure {
        Failure::Fault {
            fault: Fault::new(USAGE, message),
            exit: exit::USAGE,
        }
    }

    pub fn too_large(message: impl Into<String>) -> Failure {
        Failure::Fault {
            fault: Fault::new(reason::TOO_LARGE, message),
            exit: exit::USAGE,
        }
    }

    pub fn start(message: impl Into<String>, exit: u8) -> Failure {
        Failure::Fault {
            fault: Fault::new(START_FAILED, message),
            exit,
        }
    }

    /// This program will not, for a stable word of its own.
    pub fn refused(reason: &str, message: impl Into<String>) -> Failure {
        Failure::Fault {
            fault: Fault::new(reason, message),
            exit: exit::ERROR,
        }
    }

    pub fn left() -> Failure {
        let message = "left waiting; the request goes on without you (see `thoughts`)";
        Failure::Fault {
            fault: Fault::new(LEFT, message),
            exit: exit::ERROR,
        }
    }

    pub fn internal(message: impl Into<String>) -> Failure {
        Failure::Fault {
            fault: Fault::new(reason::INTERNAL, message),
            exit: exit::ERROR,
        }
    }

    /// The same where no shell takes quotes away: `'"abc"'` becomes `"abc"`.
    pub fn for_console(mut self) -> Failure {
        if let Failure::Fault { fault, .. } = &mut self {
            fault.message = fault.message.replace("'\"", "\"").replace("\"'", "\"");
        }
        self
    }

    pub fn exit_code(&self) -> u8 {
        match self {
            Failure::Fault { exit, .. } => *exit,
            Failure::NoKernel(_) => exit::NO_KERNEL,
        }
    }

    /// What `--json` prints.
    pub fn document(&self) -> Json {
        match self {
            Failure::Fault { fault, .. } => document::fault(fault),
            Failure::NoKernel(message) => {
                json!({ "ok": false, "reason": reason::NO_KERNEL, "message": message })
            }
        }
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Failure {
        Failure::Fault {
            fault,
            exit: exit::ERROR,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Fault { fault, .. } => f.write_str(&fault.message),
            Failure::NoKernel(message) => f.write_str(message),
        }
    }
}

//! Steward ↔ kernel: the control channel, by which one kernel takes over from another. Told in `docs/handover.md`.

use serde::{Deserialize, Serialize};

use crate::bridge::{Answer, Call, Fault};
use crate::id::{Epoch, TransactionId};

/// Set in the environment of a kernel that has a control channel: the number of its descriptor.
pub const CONTROL_DESCRIPTOR: &str = "BATOS_CONTROL_FD";

/// Raised when a message changes incompatibly.
pub const PROTOCOL: u32 = 1;

/// What the steward tells a kernel.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum ToKernel {
    /// A successor is coming: bring the index up to date, and leave it so until [`ToKernel::Settle`].
    Prepare,
    /// Finish what runs within that time, park the rest, hang up, and let go of the image.
    Yield { finish_ms: u64 },
    /// Take the image over and serve.
    Promote,
    /// The handover is over, one way or the other: the index moves on.
    Settle,
    /// A question that only reads, as a client would ask it.
    Ask { question: u64, call: Call },
    /// Pass the listening socket.
    Lend,
    /// Let method-workers of this program and environment take the place of those there are; on trial until `KeepWorkers`.
    Workers {
        program: String,
        environment: Option<Environment>,
    },
    /// The change of method-workers was good.
    KeepWorkers,
    /// It was not.
    RestoreWorkers,
}

/// What a kernel tells the steward.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum FromKernel {
    /// The first message of every channel.
    Hello {
        protocol: u32,
        pid: u32,
        version: String,
    },
    Prepared {
        epoch: Epoch,
        last: TransactionId,
    },
    /// A standby that could be promoted at once.
    Warm {
        last: TransactionId,
    },
    /// It writes and answers nothing any more. `parked` requests will be asked again.
    Yielded {
        last: TransactionId,
        finished: u32,
        parked: u32,
    },
    /// It serves since now.
    Serving {
        epoch: Epoch,
        last: TransactionId,
    },
    Answered {
        question: u64,
        result: Result<Answer, Fault>,
    },
    /// The last message cannot be obeyed in this state.
    Refused {
        message: String,
    },
    /// The listening socket goes with this frame.
    Lent,
    /// So many method-workers are new; they are on trial.
    WorkersReplaced {
        workers: u32,
    },
    /// No method-worker was replaced.
    WorkersRefused {
        message: String,
    },
    /// The former method-workers carry methods out again.
    WorkersRestored {
        message: String,
    },
}

/// Packages that methods may use beside Python's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment {
    /// The folder of its packages, absolute.
    pub packages: String,
    /// `module.name`, each.
    pub allow: Vec<String>,
}

//! Everything that reaches the one loop.

use std::sync::mpsc::{Receiver, Sender};

use shared::control::{ControlReply, ControlRequest};

use crate::exchange;
use crate::handover::Said;
use crate::health::Probe;
use crate::preparation::Prepared;

pub enum Event {
    /// A child ended, perhaps.
    Child,
    /// TERM or INT.
    Stop,
    /// There is news of the inbox.
    Inbox,
    /// HUP: everything in the inbox is to be looked at.
    Look,
    Control(ControlCall),
    Probed(Probed),
    /// A thread of an upgrade is done.
    Prepared(Prepared),
    /// The rehearsal of the running handover has ended.
    Rehearsed(Result<String, String>),
    /// A question of the running exchange was answered.
    Errand(exchange::Done),
    /// Something came by a kernel's control channel.
    Kernel(Said),
}

/// A request on the control socket.
pub struct ControlCall {
    pub request: ControlRequest,
    pub reply: Sender<ControlReply>,
    /// Ends or says something when the reply is on the wire.
    pub written: Receiver<()>,
}

/// The outcome of asking a plank whether it serves.
pub enum Probed {
    Kernel(Result<Box<Probe>, String>),
    Inference(Result<(), String>),
}

//! Where an upgrade is.

use std::time::Instant;

use crate::change::{Change, Failure, Probation};
use crate::channel::Report;
use crate::health::Watch;
use crate::preparation::Both;

pub enum Phase {
    /// A thread does the action of that number.
    Staging { number: usize, until: Instant },
    /// A new plank takes over from the old one, which serves meanwhile.
    Changing(Change, Box<Both>),
    /// This steward is about to become another one.
    Succeeding(Box<Both>),
    /// It has, and is to see the kernel serve until then; and from when on it is believed.
    Succeeded(Instant, Option<Instant>),
    /// The new steward gives itself up: the sentry is waited for.
    Failed(String),
    /// The old kernel is ending.
    Draining(Box<Both>),
    /// No kernel runs; a thread sets the image aside and has it converted.
    Converting(Box<Both>),
    /// No kernel runs; a thread puts the image back.
    PuttingBack(Failure),
    /// The new kernel is to answer until then.
    Proving(Box<Both>, Instant),
    /// It answered, and is watched for a while.
    Probation(Box<New>),
    /// The new kernel is ending.
    Reverting(Failure),
    /// The old kernel is to answer until then.
    Restoring(Failure, Instant),
    /// It has ended; this is its report, not handed out yet.
    Ended(Box<Report>),
    /// The report was handed out.
    Over,
}

/// A kernel that was started in the place of another one, before it is chosen.
pub struct New {
    pub both: Box<Both>,
    pub probation: Probation,
    /// When a good answer is due.
    pub until: Instant,
    pub watch: Watch,
}

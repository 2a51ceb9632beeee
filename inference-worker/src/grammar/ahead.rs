//! Masks that are computed while the model runs.

use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};

use llguidance::Matcher;
use llguidance::toktrie::SimpleVob;

/// A parser that comes back with the mask of its next token.
pub type Answer = Receiver<(Box<Matcher>, Result<SimpleVob, String>)>;

struct Task {
    matcher: Box<Matcher>,
    answer: SyncSender<(Box<Matcher>, Result<SimpleVob, String>)>,
}

/// One thread beside the decoding one; ends with its last task when this is dropped.
pub struct Ahead {
    tasks: Sender<Task>,
}

impl Ahead {
    /// None where no thread can be had: masks are then computed when they are needed.
    pub fn start() -> Option<Ahead> {
        let (tasks, queue) = channel::<Task>();
        let run = move || {
            for Task { mut matcher, answer } in queue {
                let mask = mask(&mut matcher);
                // Nobody waits for it when its request has ended.
                let _ = answer.send((matcher, mask));
            }
        };
        std::thread::Builder::new().name("masks".into()).spawn(run).ok()?;
        Some(Ahead { tasks })
    }

    /// Gives the parser away until the answer is read; gives it back when the thread is gone.
    pub fn ask(&self, matcher: Box<Matcher>) -> Result<Answer, Box<Matcher>> {
        let (answer, receiver) = sync_channel(1);
        match self.tasks.send(Task { matcher, answer }) {
            Ok(()) => Ok(receiver),
            Err(lost) => Err(lost.0.matcher),
        }
    }
}

/// The tokens that may come next.
pub fn mask(matcher: &mut Matcher) -> Result<SimpleVob, String> {
    matcher.compute_mask_or_eos().map_err(|error| error.to_string())
}

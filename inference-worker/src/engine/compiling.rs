//! Grammars of requests are compiled before the decoding thread sees them, each by a thread of its own: decoding goes on.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::time::Duration;

use shared::inference::{Finish, Grammar, InferenceFault};

use super::{Job, Message};
use crate::grammar::Grammars;

const MAX_AT_A_TIME: usize = 16;
/// For parsers that recurse as deep as a text may nest.
const STACK_BYTES: usize = 16 << 20;
/// A request that is given up while the model loads is told so after this.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// What compiles for the model that is loaded.
#[derive(Clone, Default)]
pub struct Compiling {
    model: Arc<(Mutex<Loading>, Condvar)>,
    at_work: Arc<AtomicUsize>,
}

/// How far the model is.
#[derive(Default)]
enum Loading {
    #[default]
    Begun,
    /// None: it failed, and requests are refused by the decoding thread.
    Ended(Option<Arc<Grammars>>),
}

impl Compiling {
    /// Says that a load has ended.
    pub fn loaded(&self, grammars: Option<Grammars>) {
        let (loading, changed) = &*self.model;
        *loading.lock().unwrap_or_else(PoisonError::into_inner) = Loading::Ended(grammars.map(Arc::new));
        changed.notify_all();
    }

    /// Compiles beside, and then passes the request on as one of `messages`; or refuses it.
    pub fn begin(&self, job: Job, grammar: Grammar, messages: &Arc<Sender<Message>>) {
        if self.at_work.fetch_add(1, Ordering::Relaxed) >= MAX_AT_A_TIME {
            self.at_work.fetch_sub(1, Ordering::Relaxed);
            return job.fail(InferenceFault::new(
                "busy",
                "too many grammars are being compiled; try later",
            ));
        }
        // Weak: nobody waits for what is compiled when nobody can ask any more.
        let (compiling, messages, events, request) = (
            self.clone(),
            Arc::downgrade(messages),
            job.events.clone(),
            job.request.request,
        );
        let run = move || {
            compiling.run(job, &grammar, &messages);
            compiling.at_work.fetch_sub(1, Ordering::Relaxed);
        };
        let thread = std::thread::Builder::new()
            .name("grammar".into())
            .stack_size(STACK_BYTES);
        if let Err(error) = thread.spawn(run) {
            self.at_work.fetch_sub(1, Ordering::Relaxed);
            let fault = InferenceFault::new("engine", format!("no thread for the grammar: {error}"));
            let _ = events.send(shared::inference::InferenceEvent::Failed { request, fault });
        }
    }

    fn run(&self, mut job: Job, grammar: &Grammar, messages: &Weak<Sender<Message>>) {
        let Some(grammars) = self.wait(&job) else {
            // Without a model the decoding thread says why; a request that is given up ends there too.
            pass_on(job, messages);
            return;
        };
        match grammars.compile(grammar) {
            Ok(constraint) => {
                job.constraint = Some(constraint);
                pass_on(job, messages);
            }
            Err(_) if job.is_late() => job.finish(Finish::Deadline),
            Err(what) => job.fail(InferenceFault::new("bad_request", what)),
        }
    }

    /// Waits until a model is there, for as long as the request is wanted.
    fn wait(&self, job: &Job) -> Option<Arc<Grammars>> {
        let (loading, changed) = &*self.model;
        let mut loading = loading.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match &*loading {
                Loading::Ended(grammars) => return grammars.clone(),
                Loading::Begun if job.is_late() || job.cancelled.load(Ordering::Relaxed) => return None,
                Loading::Begun => {}
            }
            (loading, _) = changed
                .wait_timeout(loading, LOOK_AGAIN)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

fn pass_on(job: Job, messages: &Weak<Sender<Message>>) {
    if let Some(messages) = messages.upgrade() {
        let _ = messages.send(Message::Job(Box::new(job)));
    }
}

//! The door to the decoding thread.
//!
//! Parts in reading order: `compiling` (grammars, before the loop sees them), `decode` (the loop: who is let in, what the next forward
//! pass holds), `sequence` (one request being decoded), `blocks` (who holds which part of the cache).

mod blocks;
mod compiling;
mod decode;
mod sequence;

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use shared::inference::{
    Adapter, ChatMessage, Description, Finish, Generate, Grammar, InferenceEvent, InferenceFault, Options,
};
use tokio::sync::mpsc::UnboundedSender;

use crate::adapter::loader;
use crate::adapter::store::{Budgets, Store};
use crate::checkpoint::Weights;
use crate::grammar::Constraint;
use compiling::Compiling;

/// How a model is run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// A model folder or a GGUF file.
    pub model: PathBuf,
    /// BLAKE3 that the model's file must have.
    pub model_hash: Option<blake3::Hash>,
    pub weights: Weights,
    pub threads: usize,
    /// For keys and values of all requests together.
    pub cache_bytes: u64,
    pub adapters: Budgets,
}

#[derive(Clone)]
pub struct Engine {
    messages: Arc<Sender<Message>>,
    compiling: Compiling,
    description: Arc<Mutex<Result<Description, InferenceFault>>>,
    pub adapters: Arc<Store>,
}

/// What the decoding thread is told.
enum Message {
    Job(Box<Job>),
    /// An adapter was loaded, or could not be.
    Wake,
}

/// A request and where its events go.
pub struct Job {
    pub request: Generate,
    pub options: Options,
    /// The conversation before the prompt, if it is one.
    pub messages: Vec<ChatMessage>,
    /// None: the model alone.
    pub adapter: Option<Adapter>,
    /// What the text must be, compiled on the way to the decoding thread.
    pub grammar: Option<Grammar>,
    pub constraint: Option<Constraint>,
    pub events: UnboundedSender<InferenceEvent>,
    /// Set by whoever gives the request up.
    pub cancelled: Arc<AtomicBool>,
    pub arrived: Instant,
}

impl Engine {
    /// Begins to load the model; requests may come at once.
    pub fn start(settings: Settings) -> std::io::Result<Engine> {
        let (messages, queue) = channel();
        let description = Arc::new(Mutex::new(Err(fault("loading", "the model is being loaded"))));
        let told = description.clone();
        let adapters = Store::new(settings.adapters);
        let messages = Arc::new(messages);
        // Weak: the decoding thread ends when nobody can ask it any more, and the loader with it.
        let waking = Arc::downgrade(&messages);
        loader::start(adapters.clone(), move || {
            if let Some(messages) = waking.upgrade() {
                let _ = messages.send(Message::Wake);
            }
        })?;
        let store = adapters.clone();
        let compiling = Compiling::default();
        let loads = compiling.clone();
        std::thread::Builder::new().name("decode".into()).spawn(move || {
            decode::decode(&settings, &queue, &told, &store, &loads);
            store.end();
        })?;
        Ok(Engine {
            messages,
            compiling,
            description,
            adapters,
        })
    }

    /// The loaded model, or why there is none.
    pub fn describe(&self) -> Result<Description, InferenceFault> {
        self.description
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub fn submit(&self, mut job: Job) {
        match job.grammar.take() {
            Some(grammar) => self.compiling.begin(job, grammar, &self.messages),
            None => {
                let _ = self.messages.send(Message::Job(Box::new(job)));
            }
        }
    }
}

impl Job {
    fn fail(&self, fault: InferenceFault) {
        let request = self.request.request;
        let _ = self.events.send(InferenceEvent::Failed { request, fault });
    }

    /// Ends a request that never ran.
    fn finish(&self, finish: Finish) {
        let _ = self.events.send(InferenceEvent::Done {
            request: self.request.request,
            text: String::new(),
            finish,
            prompt_tokens: 0,
            generated_tokens: 0,
            elapsed_ms: self.arrived.elapsed().as_millis() as u64,
        });
    }

    fn is_late(&self) -> bool {
        self.arrived.elapsed() >= Duration::from_millis(self.request.deadline_ms)
    }
}

fn fault(reason: &str, message: impl Into<String>) -> InferenceFault {
    InferenceFault {
        reason: reason.into(),
        message: message.into(),
    }
}

#[cfg(test)]
mod tests;

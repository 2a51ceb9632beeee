//! The door to the decoding thread.
//!
//! Parts in reading order: `compiling` (grammars, before the loop sees them), `decode` (the loop: who is let in, what the next forward
//! pass holds), `sequence` (one request being decoded), `blocks` (who holds which part of the cache).

mod blocks;
mod compiling;
mod decode;
mod model;
mod sequence;

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use shared::inference::{
    Adapter, ChatMessage, Description, Finish, Generate, Grammar, InferenceEvent, InferenceFault, Options,
};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::adapter::loader;
use crate::adapter::store::{Budgets, Store};
use crate::checkpoint::{self, Weights};
use crate::device::place::Place;
use crate::grammar::Constraint;
use crate::meters::METERS;
use crate::remote::{self, Server, When};
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
    pub place: Place,
    /// Writes instead of a model, or stands by ([`Engine::start_beside`]).
    pub server: Option<Server>,
}

#[derive(Clone)]
pub struct Engine {
    door: Door,
    description: Arc<Mutex<Result<Description, InferenceFault>>>,
    /// A model of the worker's own, whose card may say what it can do.
    model: Option<PathBuf>,
    pub adapters: Arc<Store>,
}

/// What the decoding thread is told.
enum Message {
    Job(Box<Job>),
    /// An adapter was loaded, or could not be.
    Wake,
}

/// To the thread that writes.
#[derive(Clone)]
enum Door {
    Model(Arc<Sender<Message>>, Compiling),
    Server(UnboundedSender<Job>),
}

/// A request and where its events go.
pub struct Job {
    pub request: Generate,
    pub options: Options,
    /// The conversation before the prompt, if it is one.
    pub messages: Vec<ChatMessage>,
    /// None: the model alone.
    pub adapter: Option<Adapter>,
    /// What the text must be, compiled on the way to the decoding thread; a server is told.
    pub grammar: Option<Grammar>,
    pub constraint: Option<Constraint>,
    pub events: UnboundedSender<InferenceEvent>,
    /// Set by whoever gives the request up.
    pub cancelled: Arc<AtomicBool>,
    pub arrived: Instant,
}

impl Engine {
    /// Begins to load the model, or to look for the server that writes in its place; requests may come at once.
    pub fn start(mut settings: Settings) -> std::io::Result<Engine> {
        if let Some(server) = settings.server.take_if(|server| server.when == When::Always) {
            return Engine::start_server(server, settings.adapters);
        }
        let (messages, queue) = channel();
        let description = Arc::new(Mutex::new(Err(InferenceFault::new(
            "loading",
            "the model is being loaded",
        ))));
        let told = description.clone();
        let adapters = Store::new(settings.adapters);
        let messages = Arc::new(messages);
        // Weak: the decoding thread ends when nobody can ask it any more, and the loader with it.
        let waking = Arc::downgrade(&messages);
        let model = Some(settings.model.clone());
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
            door: Door::Model(messages, compiling),
            description,
            model,
            adapters,
        })
    }

    /// Begins to look for the server that stands by for what the model cannot do, where there is one.
    pub fn start_beside(settings: &Settings) -> std::io::Result<Option<Engine>> {
        let server = settings
            .server
            .clone()
            .filter(|server| server.when == When::Needed);
        server
            .map(|server| Engine::start_server(server, settings.adapters))
            .transpose()
    }

    fn start_server(server: Server, budgets: Budgets) -> std::io::Result<Engine> {
        let (jobs, queue) = unbounded_channel();
        let shown = server.url.shown();
        let description = Arc::new(Mutex::new(Err(InferenceFault::new(
            "loading",
            format!("{shown} is being asked for its models"),
        ))));
        let told = description.clone();
        // Here no adapter is ever loaded: who asks for one to be is told so by the loader.
        let adapters = Store::new(budgets);
        adapters.set_base(Err(InferenceFault::new(
            "adapter_refused",
            format!("{shown} writes in the place of a model; its adapters are loaded there, and asked for by their names"),
        )));
        loader::start(adapters.clone(), || {})?;
        let store = adapters.clone();
        std::thread::Builder::new().name("server".into()).spawn(move || {
            remote::run(server, queue, told);
            store.end();
        })?;
        Ok(Engine {
            door: Door::Server(jobs),
            description,
            model: None,
            adapters,
        })
    }

    /// The loaded model, or why there is none.
    pub fn describe(&self) -> Result<Description, InferenceFault> {
        let described = self
            .description
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        match (described, METERS.loading()) {
            (Err(mut fault), Some(loading)) if fault.reason == "loading" => {
                let percent = loading.loaded_bytes * 100 / loading.all_bytes.max(1);
                fault.message = format!(
                    "the model is being loaded: {percent} % of {} MiB",
                    loading.all_bytes.div_ceil(1 << 20)
                );
                Err(fault)
            }
            (described, _) => described,
        }
    }

    /// What the model's card says that it can do, also before it is loaded.
    pub fn abilities(&self) -> Option<Vec<String>> {
        self.model.as_deref().and_then(checkpoint::abilities)
    }

    pub fn submit(&self, mut job: Job) {
        match &self.door {
            Door::Model(messages, compiling) => match job.grammar.take() {
                Some(grammar) => compiling.begin(job, grammar, messages),
                None => {
                    let _ = messages.send(Message::Job(Box::new(job)));
                }
            },
            Door::Server(jobs) => {
                let _ = jobs.send(job);
            }
        }
    }
}

impl Job {
    pub fn fail(&self, fault: InferenceFault) {
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

#[cfg(test)]
mod tests;

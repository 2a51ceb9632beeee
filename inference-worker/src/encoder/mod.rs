//! The door to the encoding thread: texts in, vectors out.
//!
//! Parts in reading order: `batch` (the loop: which texts the next forward pass holds), `bert` (the forward pass), `source` (the files
//! of an encoder, checked), `settings` (what they say).

mod batch;
mod bert;
mod settings;
mod source;

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use shared::inference::{Embed, Embedder, InferenceEvent, InferenceFault};
use tokio::sync::mpsc::UnboundedSender;

/// How an encoder is run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// A folder as sentence-transformers writes it, or one file that holds all of it.
    pub model: PathBuf,
    /// With it the encoder must be a file, and have it.
    pub hash: Option<blake3::Hash>,
    pub threads: usize,
}

#[derive(Clone)]
pub struct Encoder {
    /// None: there is none.
    jobs: Option<Sender<EmbedJob>>,
    description: Arc<Mutex<Result<Embedder, InferenceFault>>>,
}

/// A request and where its answer goes.
pub struct EmbedJob {
    pub request: Embed,
    pub events: UnboundedSender<InferenceEvent>,
    /// Set by whoever gives the request up.
    pub cancelled: Arc<AtomicBool>,
    pub arrived: Instant,
}

impl Encoder {
    /// Begins to load the encoder; requests may come at once. Without settings every request is refused.
    pub fn start(settings: Option<Settings>) -> std::io::Result<Encoder> {
        let Some(settings) = settings else {
            let why = "no embedder is configured; name one as [inference] embedder in steward.toml (./scripts/embedding-model fetches one)";
            return Ok(Encoder {
                jobs: None,
                description: Arc::new(Mutex::new(Err(InferenceFault::new("no_embedder", why)))),
            });
        };
        let (jobs, queue) = channel();
        let description = Arc::new(Mutex::new(Err(InferenceFault::new(
            "loading",
            "the embedder is being loaded",
        ))));
        let told = description.clone();
        std::thread::Builder::new()
            .name("encode".into())
            .spawn(move || batch::encode(&settings, &queue, &told))?;
        Ok(Encoder {
            jobs: Some(jobs),
            description,
        })
    }

    /// The loaded encoder, or why there is none.
    pub fn describe(&self) -> Result<Embedder, InferenceFault> {
        self.description
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub fn submit(&self, job: EmbedJob) {
        match (&self.jobs, self.describe()) {
            (Some(jobs), _) => {
                let _ = jobs.send(job);
            }
            (None, Err(fault)) => job.fail(fault),
            (None, Ok(_)) => {}
        }
    }
}

impl EmbedJob {
    fn fail(&self, fault: InferenceFault) {
        let request = self.request.request;
        let _ = self.events.send(InferenceEvent::Failed { request, fault });
    }

    fn is_late(&self) -> bool {
        self.arrived.elapsed() >= Duration::from_millis(self.request.deadline_ms)
    }
}

#[cfg(test)]
mod tests;

//! The decoding thread: one model, open requests in turn, one token each, so that none starves.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use candle_core::{DType, Tensor};
use candle_transformers::models::llama::Cache;
use shared::inference::{Description, Finish, Generate, InferenceEvent, InferenceFault};
use tokio::sync::mpsc::UnboundedSender;

use crate::checkpoint::{self, Checkpoint, Stamp};
use crate::sampler::Sampler;

/// Requests that are decoded at the same time; more wait their turn.
const MAX_ACTIVE: usize = 16;
const MAX_WAITING: usize = 1024;

/// The door to the decoding thread.
#[derive(Clone)]
pub struct Engine {
    jobs: Sender<Job>,
    description: Arc<Mutex<Result<Description, InferenceFault>>>,
}

/// A request and where its events go.
pub struct Job {
    pub request: Generate,
    pub events: UnboundedSender<InferenceEvent>,
    /// Set by whoever gives the request up.
    pub cancelled: Arc<AtomicBool>,
    pub arrived: Instant,
}

impl Engine {
    /// Begins to load the model; requests may come at once.
    pub fn start(folder: PathBuf) -> std::io::Result<Engine> {
        let (jobs, queue) = channel();
        let loading = InferenceFault {
            reason: "loading".into(),
            message: "the model is being loaded".into(),
        };
        let description = Arc::new(Mutex::new(Err(loading)));
        let told = description.clone();
        std::thread::Builder::new()
            .name("decode".into())
            .spawn(move || decode(&folder, &queue, &told))?;
        Ok(Engine { jobs, description })
    }

    /// The loaded model, or why there is none.
    pub fn describe(&self) -> Result<Description, InferenceFault> {
        self.description
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub fn submit(&self, job: Job) {
        let _ = self.jobs.send(job);
    }
}

/// A model, or why there is none as of these files.
struct Loaded {
    checkpoint: Result<Checkpoint, InferenceFault>,
    stamp: Stamp,
}

fn decode(folder: &Path, queue: &Receiver<Job>, told: &Mutex<Result<Description, InferenceFault>>) {
    let mut loaded = load(folder, told);
    let mut waiting: std::collections::VecDeque<Job> = std::collections::VecDeque::new();
    let mut active: Vec<Sequence> = Vec::new();
    loop {
        if active.is_empty() && waiting.is_empty() {
            // A model that is missing is looked for again now and then.
            match queue.recv_timeout(Duration::from_secs(1)) {
                Ok(job) => waiting.push_back(job),
                Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {}
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => return,
            }
        }
        loop {
            match queue.try_recv() {
                Ok(job) if waiting.len() < MAX_WAITING => waiting.push_back(job),
                Ok(job) => refuse(&job, "busy", "too many requests wait for the model; try later"),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return,
            }
        }
        if loaded.checkpoint.is_err() && checkpoint::stamp(folder) != loaded.stamp {
            loaded = load(folder, told);
        }
        let checkpoint = match &loaded.checkpoint {
            Ok(checkpoint) => checkpoint,
            Err(fault) => {
                for job in waiting.drain(..) {
                    let _ = job.events.send(InferenceEvent::Failed {
                        request: job.request.request,
                        fault: fault.clone(),
                    });
                }
                continue;
            }
        };
        while active.len() < MAX_ACTIVE
            && let Some(job) = waiting.pop_front()
        {
            match Sequence::begin(checkpoint, job) {
                Ok(sequence) => active.push(sequence),
                Err(refused) => {
                    let (job, fault) = *refused;
                    let _ = job.events.send(InferenceEvent::Failed {
                        request: job.request.request,
                        fault,
                    });
                }
            }
        }
        active.retain_mut(|sequence| match sequence.step(checkpoint) {
            Ok(None) => true,
            Ok(Some(finish)) => {
                sequence.finish(finish);
                false
            }
            Err(fault) => {
                let request = sequence.job.request.request;
                let _ = sequence
                    .job
                    .events
                    .send(InferenceEvent::Failed { request, fault });
                false
            }
        });
    }
}

fn load(folder: &Path, told: &Mutex<Result<Description, InferenceFault>>) -> Loaded {
    let stamp = checkpoint::stamp(folder);
    let checkpoint = checkpoint::load(folder);
    match &checkpoint {
        Ok(ready) => tracing::info!(
            name = ready.description.name,
            ms = ready.description.load_ms,
            "model loaded"
        ),
        Err(fault) => tracing::error!(reason = fault.reason, "{}", fault.message),
    }
    *told.lock().unwrap_or_else(PoisonError::into_inner) = checkpoint
        .as_ref()
        .map(|ready| ready.description.clone())
        .map_err(Clone::clone);
    Loaded { checkpoint, stamp }
}

fn refuse(job: &Job, reason: &str, message: &str) {
    let fault = InferenceFault {
        reason: reason.into(),
        message: message.into(),
    };
    let _ = job.events.send(InferenceEvent::Failed {
        request: job.request.request,
        fault,
    });
}

/// A request that is being decoded.
struct Sequence {
    job: Job,
    cache: Cache,
    sampler: Sampler,
    /// Tokens of the prompt, then of the text; the next forward begins at `position`.
    tokens: Vec<u32>,
    prompt_tokens: usize,
    position: usize,
    told: usize,
    whole: String,
}

impl Sequence {
    fn begin(checkpoint: &Checkpoint, job: Job) -> Result<Sequence, Box<(Job, InferenceFault)>> {
        let fail = |job: Job, reason: &str, message: String| {
            let fault = InferenceFault {
                reason: reason.into(),
                message,
            };
            Err(Box::new((job, fault)))
        };
        let tokens = match checkpoint.tokenizer.encode(job.request.prompt.as_str(), false) {
            Ok(encoding) => encoding.get_ids().to_vec(),
            Err(error) => {
                return fail(
                    job,
                    "bad_request",
                    format!("the prompt cannot be tokenised: {error}"),
                );
            }
        };
        let context = checkpoint.config.max_position_embeddings;
        if tokens.is_empty() {
            return fail(job, "bad_request", "the prompt is empty".into());
        }
        if tokens.len() >= context {
            let message = format!(
                "the prompt has {} tokens, the model's context is {context}",
                tokens.len()
            );
            return fail(job, "prompt_too_long", message);
        }
        match Cache::new(true, DType::F32, &checkpoint.config, &checkpoint.device) {
            Ok(cache) => Ok(Sequence {
                sampler: Sampler::new(job.request.temperature, job.request.top_p, job.request.seed),
                prompt_tokens: tokens.len(),
                position: 0,
                told: 0,
                whole: String::new(),
                cache,
                tokens,
                job,
            }),
            Err(error) => fail(job, "engine", error.to_string()),
        }
    }

    /// One forward and one token; the reason to end, when there is one.
    fn step(&mut self, checkpoint: &Checkpoint) -> Result<Option<Finish>, InferenceFault> {
        if self.job.cancelled.load(Ordering::Relaxed) {
            return Ok(Some(Finish::Cancelled));
        }
        if self.job.arrived.elapsed() >= Duration::from_millis(self.job.request.deadline_ms) {
            return Ok(Some(Finish::Deadline));
        }
        let generated = self.tokens.len() - self.prompt_tokens;
        if generated >= self.job.request.max_tokens as usize
            || self.tokens.len() >= checkpoint.config.max_position_embeddings
        {
            return Ok(Some(Finish::MaxTokens));
        }
        let token = self.next_token(checkpoint).map_err(|error| InferenceFault {
            reason: "engine".into(),
            message: format!("the forward pass failed: {error}"),
        })?;
        if checkpoint.ends.contains(&token) {
            return Ok(Some(Finish::Stop));
        }
        self.tokens.push(token);
        self.tell(checkpoint)
    }

    fn next_token(&mut self, checkpoint: &Checkpoint) -> candle_core::Result<u32> {
        // [1, new tokens]: the whole prompt at first, then one.
        let input = Tensor::new(&self.tokens[self.position..], &checkpoint.device)?.unsqueeze(0)?;
        let logits = checkpoint.model.forward(&input, self.position, &mut self.cache)?;
        self.position = self.tokens.len();
        let logits: Vec<f32> = logits.squeeze(0)?.to_vec1()?;
        Ok(self.sampler.next(&logits))
    }

    fn tell(&mut self, checkpoint: &Checkpoint) -> Result<Option<Finish>, InferenceFault> {
        let text = crate::text::grown(
            &checkpoint.tokenizer,
            &self.tokens[self.prompt_tokens..],
            &self.job.request.stop,
        )
        .map_err(|message| InferenceFault {
            reason: "engine".into(),
            message,
        })?;
        self.whole = text.whole;
        self.piece(text.tellable);
        Ok(text.stopped.then_some(Finish::Stop))
    }

    fn piece(&mut self, end: usize) {
        if end > self.told {
            let text = self.whole[self.told..end].to_owned();
            self.told = end;
            let _ = self.job.events.send(InferenceEvent::Text {
                request: self.job.request.request,
                text,
            });
        }
    }

    fn finish(&mut self, finish: Finish) {
        self.piece(self.whole.len());
        let _ = self.job.events.send(InferenceEvent::Done {
            request: self.job.request.request,
            text: std::mem::take(&mut self.whole),
            finish,
            prompt_tokens: self.prompt_tokens as u32,
            generated_tokens: (self.tokens.len() - self.prompt_tokens) as u32,
            elapsed_ms: self.job.arrived.elapsed().as_millis() as u64,
        });
    }
}

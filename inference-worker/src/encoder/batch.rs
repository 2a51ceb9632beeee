//! The encoding thread: one encoder; each forward pass holds texts of all requests, one of each in turn.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use shared::inference::{Embedder, Embedding, InferenceEvent, InferenceFault};

use super::bert::Scratch;
use super::source::{self, Loaded};
use super::{EmbedJob, Settings};
use crate::checkpoint::{self, Stamp};
use crate::crew::Crew;
use crate::meters::METERS;

const MAX_OPEN: usize = 1024;
/// Tokens after which a forward pass is full; a text is never divided.
const FULL_ROWS: usize = 512;
/// Bytes after which it is full as well: texts are turned into tokens on this thread.
const FULL_BYTES: usize = 256 << 10;
/// A missing encoder is looked for again so often.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// A request that is not answered yet.
struct Open {
    job: EmbedJob,
    /// Of the texts so far, in their order.
    done: Vec<Embedding>,
    /// Texts that forward passes have taken.
    taken: usize,
    /// It is ended with this after the forward pass.
    failed: Option<InferenceFault>,
}

/// What the encoder reads of a text.
struct Text {
    tokens: Vec<u32>,
    is_cut: bool,
}

struct Ready {
    loaded: Loaded,
    scratch: Scratch,
}

pub fn encode(
    settings: &Settings,
    queue: &Receiver<EmbedJob>,
    told: &Mutex<Result<Embedder, InferenceFault>>,
) {
    let (mut ready, mut stamp) = load(settings, told);
    let mut open: VecDeque<Open> = VecDeque::new();
    loop {
        if open.is_empty() {
            // Nothing to do: asleep until a request comes, or until it is time to look for an encoder again.
            let next = match ready {
                Ok(_) => queue.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Err(_) => queue.recv_timeout(LOOK_AGAIN),
            };
            match next {
                Ok(job) => open.push_back(Open::of(job)),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
        loop {
            match queue.try_recv() {
                Ok(job) if open.len() < MAX_OPEN => open.push_back(Open::of(job)),
                Ok(job) => job.fail(InferenceFault::new(
                    "busy",
                    "too many requests wait for the embedder; try later",
                )),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return,
            }
        }
        if ready.is_err() && checkpoint::stamp(&settings.model) != stamp {
            (ready, stamp) = load(settings, told);
        }
        match &mut ready {
            Ok(ready) => {
                METERS.embed_waiting.store(open.len() as u32, Ordering::Relaxed);
                ready.step(&mut open);
            }
            Err(fault) => open.drain(..).for_each(|open| open.job.fail(fault.clone())),
        }
        METERS.embed_waiting.store(open.len() as u32, Ordering::Relaxed);
    }
}

fn load(
    settings: &Settings,
    told: &Mutex<Result<Embedder, InferenceFault>>,
) -> (Result<Ready, InferenceFault>, Stamp) {
    let stamp = checkpoint::stamp(&settings.model);
    let ready = Crew::new(settings.threads)
        .map_err(|error| InferenceFault::new("engine", format!("no threads for the embedder: {error}")))
        .and_then(|crew| source::load(&settings.model, settings.hash, crew))
        .map(|loaded| Ready {
            loaded,
            scratch: Scratch::default(),
        });
    let description = ready.as_ref().map(|ready| ready.loaded.description.clone());
    match &description {
        Ok(encoder) => tracing::info!(name = encoder.name, ms = encoder.load_ms, "embedder loaded"),
        // Nobody needs to have one.
        Err(fault) if fault.reason == "model_missing" => tracing::info!("{}", fault.message),
        Err(fault) => tracing::error!(reason = fault.reason, "{}", fault.message),
    }
    *told.lock().unwrap_or_else(PoisonError::into_inner) = description.map_err(Clone::clone);
    (ready, stamp)
}

impl Open {
    fn of(job: EmbedJob) -> Open {
        Open {
            job,
            done: Vec::new(),
            taken: 0,
            failed: None,
        }
    }

    /// Answers a request that is complete, has failed, or that nobody wants any more.
    fn is_ended(&mut self) -> bool {
        if let Some(fault) = self.failed.take() {
            self.job.fail(fault);
        } else if self.done.len() == self.job.request.texts.len() {
            let _ = self.job.events.send(InferenceEvent::Embedded {
                request: self.job.request.request,
                embeddings: std::mem::take(&mut self.done),
                elapsed_ms: self.job.arrived.elapsed().as_millis() as u64,
            });
        } else if self.job.cancelled.load(Ordering::Relaxed) {
            self.job
                .fail(InferenceFault::new("cancelled", "the request was cancelled"));
        } else if self.job.is_late() {
            let limit = self.job.request.deadline_ms;
            self.job.fail(InferenceFault::new(
                "deadline",
                format!("its texts were not encoded within {limit} ms"),
            ));
        } else {
            return false;
        }
        true
    }
}

impl Ready {
    /// Drops what nobody wants any more, runs one forward pass, and answers what is complete.
    fn step(&mut self, open: &mut VecDeque<Open>) {
        open.retain_mut(|request| !request.is_ended());
        let batch = self.take(open);
        if batch.is_empty() {
            return;
        }
        let (owners, texts): (Vec<usize>, Vec<Text>) = batch.into_iter().unzip();
        let tokens: Vec<Vec<u32>> = texts.iter().map(|text| text.tokens.clone()).collect();
        let vectors = self.loaded.bert.forward(&tokens, &mut self.scratch);
        METERS.texts.fetch_add(tokens.len() as u64, Ordering::Relaxed);
        let read = tokens.iter().map(|text| text.len() as u64).sum();
        METERS.text_tokens.fetch_add(read, Ordering::Relaxed);
        for ((owner, text), vector) in owners.iter().zip(texts).zip(vectors) {
            let request = &mut open[*owner];
            if vector.iter().any(|value| !value.is_finite()) {
                let message =
                    "the embedder answered numbers that are not finite: its weights do not fit together";
                request.failed = Some(InferenceFault::new("engine", message));
            }
            request.done.push(Embedding {
                tokens: text.tokens.len() as u32,
                is_cut: text.is_cut,
                vector,
            });
        }
        // The next pass begins with whom this one did not reach.
        let reached = owners.last().map_or(0, |last| last + 1);
        let count = open.len();
        open.rotate_left(reached % count);
        open.retain_mut(|request| !request.is_ended());
    }

    /// Texts of the next forward pass with the places of their requests: one of each in turn, and again, until it is full.
    fn take(&self, open: &mut VecDeque<Open>) -> Vec<(usize, Text)> {
        let mut batch: Vec<(usize, Text)> = Vec::new();
        let (mut rows, mut bytes) = (0, 0);
        loop {
            let before = batch.len();
            for (place, request) in open.iter_mut().enumerate() {
                if rows >= FULL_ROWS || bytes >= FULL_BYTES {
                    return batch;
                }
                let Some(text) = request.job.request.texts.get(request.taken) else {
                    continue;
                };
                if request.failed.is_some() {
                    continue;
                }
                request.taken += 1;
                bytes += text.len();
                match self.tokens(text) {
                    Ok(text) => {
                        rows += text.tokens.len();
                        batch.push((place, text));
                    }
                    Err(fault) => request.failed = Some(fault),
                }
            }
            if batch.len() == before {
                return batch;
            }
        }
    }

    fn tokens(&self, text: &str) -> Result<Text, InferenceFault> {
        let encoding = self.loaded.tokenizer.encode(text, true).map_err(|error| {
            InferenceFault::new("bad_request", format!("a text cannot be tokenised: {error}"))
        })?;
        let tokens = encoding.get_ids().to_vec();
        let vocabulary = self.loaded.settings.sizes.vocabulary;
        if let Some(token) = tokens.iter().find(|token| **token as usize >= vocabulary) {
            let message = format!("the tokenizer made the token {token}, the embedder has {vocabulary}");
            return Err(InferenceFault::new("engine", message));
        }
        if tokens.is_empty() {
            return Err(InferenceFault::new("bad_request", "a text has no tokens"));
        }
        if tokens.len() > self.loaded.settings.most_tokens {
            let message = format!(
                "the tokenizer made {} tokens of a text that it was to cut",
                tokens.len()
            );
            return Err(InferenceFault::new("engine", message));
        }
        Ok(Text {
            is_cut: !encoding.get_overflowing().is_empty(),
            tokens,
        })
    }
}

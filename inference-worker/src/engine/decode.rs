//! The decoding thread: one model; each forward pass takes the next token of every request and a stretch of the prompts that are new.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use shared::inference::{Description, Finish, InferenceFault};

use super::blocks::Blocks;
use super::compiling::Compiling;
use super::model::Model;
use super::sequence::{Sequence, Waiting};
use super::{Job, Message, Settings};
use crate::adapter::store::Store;
use crate::checkpoint::{self, Checkpoint, Stamp};
use crate::crew::Crew;
use crate::grammar::Grammars;
use crate::meters::METERS;
use crate::model::Row;
use crate::model::cache::POSITIONS;

/// Requests that are decoded at the same time; more wait their turn.
const MAX_ACTIVE: usize = 32;
const MAX_WAITING: usize = 1024;
/// Tokens of prompts in one forward pass, while nobody waits for a next token and while somebody does.
const PROMPT_ROWS: usize = 256;
const PROMPT_ROWS_BESIDE_TEXT: usize = 64;
/// A model that is missing is looked for again so often.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// While all that is asked for waits for adapters, deadlines are looked at so often.
const LOOK_AT_WAITING: Duration = Duration::from_millis(50);

/// A model, or why there is none as of these files.
struct Loaded {
    ready: Result<Ready, InferenceFault>,
    stamp: Stamp,
}

/// A model at work.
struct Ready {
    checkpoint: Checkpoint<()>,
    model: Model,
    blocks: Blocks,
    active: Vec<Sequence>,
    adapters: Arc<Store>,
}

pub fn decode(
    settings: &Settings,
    queue: &Receiver<Message>,
    told: &Mutex<Result<Description, InferenceFault>>,
    adapters: &Arc<Store>,
    compiling: &Compiling,
) {
    let mut loaded = load(settings, told, adapters, compiling);
    let mut arrived: VecDeque<Job> = VecDeque::new();
    let mut waiting: VecDeque<Box<Waiting>> = VecDeque::new();
    loop {
        let is_idle = arrived.is_empty()
            && loaded
                .ready
                .as_ref()
                .map_or(true, |ready| ready.active.is_empty());
        if is_idle {
            // Nothing to do: asleep until a request comes, or until it is time to look for a model again. What waits while nobody is
            // decoded waits for an adapter.
            let next = match loaded.ready {
                Ok(_) if waiting.is_empty() => queue.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Ok(_) => queue.recv_timeout(LOOK_AT_WAITING),
                Err(_) => queue.recv_timeout(LOOK_AGAIN),
            };
            match next {
                Ok(Message::Job(job)) => arrived.push_back(*job),
                Ok(Message::Wake) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
        loop {
            match queue.try_recv() {
                Ok(Message::Wake) => {}
                Ok(Message::Job(job)) if waiting.len() + arrived.len() < MAX_WAITING => {
                    arrived.push_back(*job);
                }
                Ok(Message::Job(job)) => job.fail(InferenceFault::new(
                    "busy",
                    "too many requests wait for the model; try later",
                )),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return,
            }
        }
        if loaded.ready.is_err() && checkpoint::stamp(&settings.model) != loaded.stamp {
            loaded = load(settings, told, adapters, compiling);
        }
        match &mut loaded.ready {
            Ok(ready) => {
                for job in arrived.drain(..) {
                    match Waiting::new(&ready.checkpoint, ready.blocks.count() * POSITIONS, adapters, job) {
                        Ok(new) => waiting.push_back(new),
                        Err(refused) => {
                            let (job, fault) = *refused;
                            job.fail(fault);
                        }
                    }
                }
                ready.admit(&mut waiting);
                ready.step();
                ready.meter(waiting.len());
            }
            Err(fault) => arrived.drain(..).for_each(|job| job.fail(fault.clone())),
        }
    }
}

fn load(
    settings: &Settings,
    told: &Mutex<Result<Description, InferenceFault>>,
    adapters: &Arc<Store>,
    compiling: &Compiling,
) -> Loaded {
    let stamp = checkpoint::stamp(&settings.model);
    let ready = Crew::new(settings.threads)
        .map_err(|error| InferenceFault::new("engine", format!("no threads for the model: {error}")))
        .and_then(|crew| Ready::load(settings, crew, adapters.clone()));
    // Before memory is measured: it is part of the program.
    compiling.loaded(ready.as_ref().ok().map(|ready| Grammars::new(&ready.checkpoint)));
    let base = ready.as_ref().map_err(Clone::clone).map(|ready| {
        let model = &ready.model;
        let cache_bytes = ready.blocks.count() as u64 * model.block_bytes();
        adapters.gauges.base_loaded(model.bytes(), cache_bytes);
        let mut base = model.base(&ready.checkpoint.description.name);
        base.weights = checkpoint::weights_digest(&settings.model);
        base
    });
    adapters.set_base(base);
    let description = ready.as_ref().map(|ready| ready.checkpoint.description.clone());
    match &description {
        Ok(model) => tracing::info!(name = model.name, ms = model.load_ms, "model loaded"),
        Err(fault) => tracing::error!(reason = fault.reason, "{}", fault.message),
    }
    *told.lock().unwrap_or_else(PoisonError::into_inner) = description.map_err(Clone::clone);
    Loaded { ready, stamp }
}

impl Ready {
    fn load(settings: &Settings, crew: Crew, adapters: Arc<Store>) -> Result<Ready, InferenceFault> {
        let place = settings.place.open();
        let place = place.map_err(|what| InferenceFault::new("engine", what))?;
        let (path, hash) = (&settings.model, settings.model_hash);
        let (mut model, checkpoint) = match place {
            None => {
                let (llama, checkpoint) = checkpoint::load(path, hash, settings.weights, crew)?.split();
                (Model::on_processor(llama), checkpoint)
            }
            Some(accelerator) => {
                let (llama, checkpoint) = checkpoint::load_onto(accelerator, path, hash, crew)?.split();
                (Model::on_accelerator(llama), checkpoint)
            }
        };
        let size = model.block_bytes();
        // No more than so many requests of the whole context can use.
        let useful = MAX_ACTIVE * checkpoint.shape.context_tokens.div_ceil(POSITIONS);
        let count = useful.min((settings.cache_bytes / size) as usize);
        if count == 0 {
            let message = format!(
                "the cache needs at least {size} bytes, it may take {}",
                settings.cache_bytes
            );
            return Err(InferenceFault::new("engine", message));
        }
        model.take_blocks(count)?;
        Ok(Ready {
            blocks: Blocks::new(count),
            active: Vec::new(),
            checkpoint,
            model,
            adapters,
        })
    }

    /// Lets requests in, in the order in which they came, as long as there is room; drops those that nobody wants any more. One whose
    /// adapter is not there yet lets others by.
    fn admit(&mut self, waiting: &mut VecDeque<Box<Waiting>>) {
        let mut left = VecDeque::with_capacity(waiting.len());
        let mut is_full = false;
        for mut request in waiting.drain(..) {
            if request.job.cancelled.load(Ordering::Relaxed) {
                request.finish(Finish::Cancelled);
            } else if request.job.is_late() {
                request.finish(Finish::Deadline);
            } else if is_full || self.active.len() >= MAX_ACTIVE {
                left.push_back(request);
            } else if let Err(fault) = request.look_for_adapter(&self.adapters) {
                request.fail(fault);
            } else if !request.has_adapter() {
                left.push_back(request);
            } else {
                match request.enter(&mut self.blocks) {
                    Ok(mut sequence) => {
                        METERS
                            .shared_tokens
                            .fetch_add(sequence.cached as u64, Ordering::Relaxed);
                        match sequence.begin(&self.checkpoint) {
                            Ok(None) => self.active.push(sequence),
                            Ok(Some(finish)) => {
                                sequence.finish(&self.checkpoint.tokenizer, &mut self.blocks, finish)
                            }
                            Err(fault) => sequence.fail(&mut self.blocks, fault),
                        }
                    }
                    Err(request) => {
                        is_full = true;
                        left.push_back(request);
                    }
                }
            }
        }
        *waiting = left;
    }

    /// One forward pass, and a token for each request whose prompt is through.
    fn step(&mut self) {
        let mut left = Vec::with_capacity(self.active.len());
        for sequence in self.active.drain(..) {
            match sequence.ended() {
                Some(finish) => sequence.finish(&self.checkpoint.tokenizer, &mut self.blocks, finish),
                None => left.push(sequence),
            }
        }
        self.active = left;
        if self.active.is_empty() {
            return;
        }
        let counts = self.counts();
        for (sequence, count) in self.active.iter_mut().zip(&counts) {
            sequence.grow(&mut self.blocks, *count);
        }
        // Those with one adapter stand together, so that its weights are read once for all of them.
        let mut order: Vec<usize> = (0..self.active.len()).collect();
        order.sort_by_key(|at| self.active[*at].root());
        let rows: Vec<Row<'_>> = order
            .iter()
            .map(|at| (&self.active[*at], counts[*at]))
            .flat_map(|(sequence, count)| {
                (sequence.cached..sequence.cached + count).map(|position| Row {
                    token: sequence.tokens[position],
                    position,
                    blocks: &sequence.held.blocks,
                    is_wanted: position + 1 == sequence.tokens.len(),
                    adapter: sequence.adapter(),
                })
            })
            .collect();
        let written = rows.iter().filter(|row| row.is_wanted).count() as u64;
        let read = self
            .active
            .iter()
            .zip(&counts)
            .filter(|(sequence, _)| sequence.is_prompt());
        METERS
            .read_tokens
            .fetch_add(read.map(|(_, count)| *count as u64).sum(), Ordering::Relaxed);
        METERS.active.store(self.active.len() as u32, Ordering::Relaxed);
        let forward = self.model.forward(&rows);
        drop(rows);
        let logits = match forward {
            Ok(logits) => logits,
            Err(fault) => {
                let failed = self.active.drain(..);
                failed.for_each(|sequence| sequence.fail(&mut self.blocks, fault.clone()));
                return;
            }
        };
        METERS.wrote(written);
        let mut chunks = logits.chunks_mut(self.checkpoint.shape.vocabulary);
        let mut wanted: Vec<Option<&mut [f32]>> = self.active.iter().map(|_| None).collect();
        for at in order {
            if counts[at] == self.active[at].pending() {
                wanted[at] = chunks.next();
            }
        }
        let mut left = Vec::with_capacity(self.active.len());
        for ((mut sequence, count), wanted) in self.active.drain(..).zip(counts).zip(wanted) {
            sequence.advance(&mut self.blocks, count);
            let outcome = match wanted {
                Some(logits) => sequence.choose(&self.checkpoint, logits),
                None => Ok(None),
            };
            match outcome {
                Ok(None) => left.push(sequence),
                Ok(Some(finish)) => sequence.finish(&self.checkpoint.tokenizer, &mut self.blocks, finish),
                Err(fault) => sequence.fail(&mut self.blocks, fault),
            }
        }
        self.active = left;
        let written = self.blocks.written() as u64 * self.model.block_bytes();
        self.adapters.gauges.worked(written, self.model.scratch_bytes());
    }

    /// Tells what is at work now.
    fn meter(&self, waiting: usize) {
        let tokens = |blocks: usize| (blocks * POSITIONS) as u64;
        let (held, kept) = self.blocks.used();
        METERS.active.store(self.active.len() as u32, Ordering::Relaxed);
        METERS.waiting.store(waiting as u32, Ordering::Relaxed);
        METERS
            .cache_tokens
            .store(tokens(self.blocks.count()), Ordering::Relaxed);
        METERS.held_tokens.store(tokens(held), Ordering::Relaxed);
        METERS.kept_tokens.store(tokens(kept), Ordering::Relaxed);
    }

    /// How many tokens of each request the next forward pass takes: one of each text, and as much of the prompts, oldest first, as
    /// does not keep the others waiting.
    fn counts(&self) -> Vec<usize> {
        let is_text = |sequence: &Sequence| sequence.pending() == 1;
        let mut room = match self.active.iter().any(is_text) {
            true => PROMPT_ROWS_BESIDE_TEXT,
            false => PROMPT_ROWS,
        };
        let take = |sequence: &Sequence| {
            if is_text(sequence) {
                return 1;
            }
            let count = room.min(sequence.pending());
            room -= count;
            count
        };
        self.active.iter().map(take).collect()
    }
}

//! A request that is being decoded.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use shared::inference::{Finish, InferenceEvent, InferenceFault};
use tokenizers::Tokenizer;

use super::Job;
use super::blocks::{Blocks, Held};
use crate::adapter::Adapter;
use crate::adapter::store::{Attempt, Found, Lease, Store};
use crate::chat;
use crate::checkpoint::Checkpoint;
use crate::model::cache::POSITIONS;
use crate::sampler::{Sampler, likelihood};
use crate::text::Text;

/// Prompts share what the same weights made of them: this stands for the base model alone, a lease's root for it with an adapter.
const ROOT: u64 = 0;

/// A request whose prompt is tokens, and that waits for room in the cache.
pub struct Waiting {
    pub job: Job,
    prompt: Vec<u32>,
    /// Prompt and text together.
    most_tokens: usize,
    adapter: Wanted,
}

/// Whether a request may run as far as its adapter is concerned.
enum Wanted {
    None,
    Awaited,
    Leased(Lease),
}

impl Waiting {
    /// Refuses, on the spot, what can never run.
    pub fn new(
        checkpoint: &Checkpoint<()>,
        cache_tokens: usize,
        adapters: &Arc<Store>,
        job: Job,
    ) -> Result<Box<Waiting>, Box<(Job, InferenceFault)>> {
        let refuse =
            |job, reason: &str, message: String| Err(Box::new((job, InferenceFault::new(reason, message))));
        let text = match chat::prompt(checkpoint, &job.messages, &job.request.prompt) {
            Ok(text) => text,
            Err(what) => return refuse(job, "bad_request", what),
        };
        // A template writes what begins a text itself.
        let adds_begin = job.messages.is_empty();
        let prompt = match checkpoint.tokenizer.encode(text.as_ref(), adds_begin) {
            Ok(encoding) => encoding.get_ids().to_vec(),
            Err(error) => {
                return refuse(
                    job,
                    "bad_request",
                    format!("the prompt cannot be tokenised: {error}"),
                );
            }
        };
        let context = checkpoint.shape.context_tokens.min(cache_tokens);
        if prompt.is_empty() {
            return refuse(job, "bad_request", "the prompt is empty".into());
        }
        let vocabulary = checkpoint.shape.vocabulary;
        if let Some(token) = prompt.iter().find(|token| **token as usize >= vocabulary) {
            let message = format!("the tokenizer made the token {token}, the model has {vocabulary}");
            return refuse(job, "engine", message);
        }
        if prompt.len() >= context {
            let message = format!(
                "the prompt has {} tokens, the model's context is {context}",
                prompt.len()
            );
            return refuse(job, "prompt_too_long", message);
        }
        let most_tokens = context.min(prompt.len() + job.request.max_tokens as usize);
        // Its loading begins now, also when there is no room for the request yet; who came first leases first.
        let adapter = match job.adapter.as_ref().map(|wanted| adapters.prepare(wanted)) {
            None => Wanted::None,
            Some(Ok(())) => Wanted::Awaited,
            Some(Err(fault)) => return Err(Box::new((job, fault))),
        };
        Ok(Box::new(Waiting {
            job,
            prompt,
            most_tokens,
            adapter,
        }))
    }

    /// Looks whether the adapter that is awaited is there.
    pub fn look_for_adapter(&mut self, adapters: &Arc<Store>) -> Result<(), InferenceFault> {
        if let (Wanted::Awaited, Some(wanted)) = (&self.adapter, &self.job.adapter) {
            match adapters.lease(wanted, Attempt::Again) {
                Found::Ready(lease) => self.adapter = Wanted::Leased(lease),
                Found::Later => {}
                Found::Refused(fault) => return Err(fault),
            }
        }
        Ok(())
    }

    pub fn has_adapter(&self) -> bool {
        !matches!(self.adapter, Wanted::Awaited)
    }

    /// Lets it in when there is room.
    pub fn enter(self: Box<Self>, blocks: &mut Blocks) -> Result<Sequence, Box<Waiting>> {
        let root = match &self.adapter {
            Wanted::Leased(lease) => lease.root,
            Wanted::None | Wanted::Awaited => ROOT,
        };
        let Some(held) = blocks.enter(root, &self.prompt, self.most_tokens) else {
            return Err(self);
        };
        Ok(Sequence {
            sampler: Sampler::new(&self.job.request, self.job.options.clone()),
            cached: held.blocks.len() * POSITIONS,
            prompt_tokens: self.prompt.len(),
            tokens: self.prompt,
            most_tokens: self.most_tokens,
            text: Text::default(),
            held,
            lease: match self.adapter {
                Wanted::Leased(lease) => Some(lease),
                Wanted::None | Wanted::Awaited => None,
            },
            job: self.job,
        })
    }

    /// Ends a request that cannot run.
    pub fn fail(mut self, fault: InferenceFault) {
        self.adapter = Wanted::None;
        self.job.fail(fault);
    }

    /// Ends a request that never ran.
    pub fn finish(mut self, finish: Finish) {
        self.adapter = Wanted::None;
        let _ = self.job.events.send(InferenceEvent::Done {
            request: self.job.request.request,
            text: String::new(),
            finish,
            prompt_tokens: self.prompt.len() as u32,
            generated_tokens: 0,
            elapsed_ms: self.job.arrived.elapsed().as_millis() as u64,
        });
    }
}

pub struct Sequence {
    pub job: Job,
    sampler: Sampler,
    /// Tokens of the prompt, then of the text.
    pub tokens: Vec<u32>,
    prompt_tokens: usize,
    most_tokens: usize,
    /// Tokens whose keys and values are in the cache; the next forward pass begins there.
    pub cached: usize,
    pub held: Held,
    /// The adapter, its to the end.
    lease: Option<Lease>,
    text: Text,
}

impl Sequence {
    pub fn adapter(&self) -> Option<&Adapter> {
        self.lease.as_deref()
    }

    /// What its prompt's blocks are shared under.
    pub fn root(&self) -> u64 {
        self.lease.as_ref().map_or(ROOT, |lease| lease.root)
    }

    /// Why it ends before another forward pass, if it does.
    pub fn ended(&self) -> Option<Finish> {
        if self.job.cancelled.load(Ordering::Relaxed) {
            Some(Finish::Cancelled)
        } else if self.job.is_late() {
            Some(Finish::Deadline)
        } else if self.tokens.len() >= self.most_tokens {
            Some(Finish::MaxTokens)
        } else {
            None
        }
    }

    /// Nothing of its text is written yet.
    pub fn is_prompt(&self) -> bool {
        self.tokens.len() == self.prompt_tokens
    }

    /// Tokens that the next forward pass could take.
    pub fn pending(&self) -> usize {
        self.tokens.len() - self.cached
    }

    /// Takes the blocks for the next `count` tokens.
    pub fn grow(&mut self, blocks: &mut Blocks, count: usize) {
        while self.held.blocks.len() * POSITIONS < self.cached + count {
            blocks.grow(&mut self.held);
        }
    }

    /// The next `count` tokens are in the cache: full blocks become known.
    pub fn advance(&mut self, blocks: &mut Blocks, count: usize) {
        let before = self.cached / POSITIONS;
        self.cached += count;
        for index in before..self.cached / POSITIONS {
            if let Some(tokens) = self.tokens[index * POSITIONS..].first_chunk() {
                blocks.know(
                    self.lease.as_ref().map_or(ROOT, |lease| lease.root),
                    &self.held,
                    index,
                    tokens,
                );
            }
        }
    }

    pub fn has_grammar(&self) -> bool {
        self.job.constraint.is_some()
    }

    /// Before its first forward pass: what its grammar begins with is written at once. The reason to end, when nothing can follow.
    pub fn begin(&mut self, checkpoint: &Checkpoint<()>) -> Result<Option<Finish>, InferenceFault> {
        match self.has_grammar() {
            true => self.forward(checkpoint, self.tokens.len()),
            false => Ok(None),
        }
    }

    /// Chooses the next token and tells its text; the reason to end, when there is one.
    pub fn choose(
        &mut self,
        checkpoint: &Checkpoint<()>,
        logits: &mut [f32],
    ) -> Result<Option<Finish>, InferenceFault> {
        // Weights are finite, but sums of them need not be.
        if logits.iter().any(|logit| !logit.is_finite()) {
            let message = "the model answered numbers that are not finite: its weights do not fit together";
            return Err(InferenceFault::new("engine", message));
        }
        let untouched = self.job.options.likelihoods.map(|top| (top, logits.to_vec()));
        self.sampler.punish_repetition(logits, &self.tokens);
        let token = match &mut self.job.constraint {
            Some(constraint) => constraint
                .choose(&mut self.sampler, logits)
                .map_err(broken_grammar)?,
            None => self.sampler.draw(logits),
        };
        if let Some((top, logits)) = untouched {
            let _ = self.job.events.send(InferenceEvent::Likelihoods {
                request: self.job.request.request,
                tokens: vec![likelihood(&logits, token, usize::from(top))],
            });
        }
        if checkpoint.ends.contains(&token) {
            return Ok(Some(Finish::Stop));
        }
        let first = self.tokens.len();
        self.tokens.push(token);
        self.forward(checkpoint, first)
    }

    /// Appends what the grammar leaves no choice about, tells the text from the token `first` on; the reason to end, when the grammar
    /// allows nothing further.
    fn forward(
        &mut self,
        checkpoint: &Checkpoint<()>,
        first: usize,
    ) -> Result<Option<Finish>, InferenceFault> {
        let Some(constraint) = &mut self.job.constraint else {
            return self.tell(checkpoint, first);
        };
        // Who asks for likelihoods wants each token's, and those of forced ones are not computed.
        let room = self.most_tokens.saturating_sub(self.tokens.len());
        if self.job.options.likelihoods.is_none() && room > 0 {
            let forced = constraint.forced().map_err(broken_grammar)?;
            let forced = &forced[..forced.len().min(room)];
            let text = forced.iter().take_while(|token| !checkpoint.ends.contains(token));
            self.tokens.extend(text);
        }
        let is_over = constraint.is_over();
        let stopped = self.tell(checkpoint, first)?;
        Ok(stopped.or(is_over.then_some(Finish::Stop)))
    }

    /// Tells the text of the tokens from `first` on, one after the other, as if each had been chosen; whether a stop sequence was met.
    fn tell(&mut self, checkpoint: &Checkpoint<()>, first: usize) -> Result<Option<Finish>, InferenceFault> {
        let mut stopped = false;
        for count in first + 1..=self.tokens.len() {
            stopped = self
                .text
                .grow(
                    &checkpoint.tokenizer,
                    &self.tokens[self.prompt_tokens..count],
                    &self.job.request.stop,
                )
                .map_err(|what| InferenceFault::new("engine", what))?;
            if stopped {
                self.tokens.truncate(count);
                break;
            }
        }
        self.piece(stopped);
        Ok(stopped.then_some(Finish::Stop))
    }

    fn piece(&mut self, end: bool) {
        let text = self.text.piece(&self.job.request.stop, end);
        if !text.is_empty() {
            let _ = self.job.events.send(InferenceEvent::Text {
                request: self.job.request.request,
                text: text.to_owned(),
            });
        }
    }

    /// Tells the rest and the end, and gives its part of the cache back.
    pub fn finish(mut self, tokenizer: &Tokenizer, blocks: &mut Blocks, finish: Finish) {
        // Whoever is told of the end finds the adapter free.
        self.lease = None;
        let text = &self.tokens[self.prompt_tokens..];
        match self.text.end(tokenizer, text, &self.job.request.stop) {
            Ok(()) => {
                self.piece(true);
                let _ = self.job.events.send(InferenceEvent::Done {
                    request: self.job.request.request,
                    text: self.text.whole().to_owned(),
                    finish,
                    prompt_tokens: self.prompt_tokens as u32,
                    generated_tokens: (self.tokens.len() - self.prompt_tokens) as u32,
                    elapsed_ms: self.job.arrived.elapsed().as_millis() as u64,
                });
            }
            Err(what) => self.job.fail(InferenceFault::new("engine", what)),
        }
        blocks.leave(self.held);
    }

    /// Gives its part of the cache back after a fault.
    pub fn fail(mut self, blocks: &mut Blocks, fault: InferenceFault) {
        self.lease = None;
        self.job.fail(fault);
        blocks.leave(self.held);
    }
}

fn broken_grammar(what: String) -> InferenceFault {
    InferenceFault::new(
        "bad_request",
        format!("the grammar could not be followed: {what}"),
    )
}

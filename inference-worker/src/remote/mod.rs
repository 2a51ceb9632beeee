//! A server in the place of a model: the same requests, written by whoever speaks OpenAI's protocol (`docs/backends.md`).
//!
//! Parts in reading order: `settings` (which server), `request` (what it is asked), `wanted` (what its text must be), `connection` (how), `events` and `answer` (what it
//! says, checked), this file (attempts, and who asks).

mod answer;
mod connection;
mod events;
mod request;
mod settings;
mod wanted;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rand::Rng;
use serde::Deserialize;
use shared::inference::{Description, Finish, InferenceEvent, InferenceFault};
use tokio::sync::Semaphore;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{sleep, timeout_at};

use crate::engine::Job;
use crate::meters::METERS;
use answer::Answer;
use connection::{Connector, Trouble};
use events::Events;
use settings::Kind;
pub use settings::{Server, ServerArguments, When};
use wanted::Wanted;

/// Requests that the server is asked at the same time; more wait their turn.
const MAX_ACTIVE: usize = 32;
const MAX_WAITING: usize = 1024;
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(8);
/// A request that was given up is noticed within this.
const LOOK: Duration = Duration::from_millis(20);
/// A server that is away is looked for again after this, twice as long each time.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
const LONGEST_LOOK_AGAIN: Duration = Duration::from_secs(30);
/// Of what an answer may send for each token that was asked for, and beside.
const MAX_SENT_BYTES_A_TOKEN: u64 = 8 << 10;
const MAX_SENT_BYTES: u64 = 1 << 20;

type Told = Arc<Mutex<Result<Description, InferenceFault>>>;

/// Answers jobs until nobody can send one.
pub fn run(server: Server, jobs: UnboundedReceiver<Job>, told: Told) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let connector = Connector::new(server);
    match (runtime, connector) {
        // Jobs stay on this thread: what they hold for a model of the worker's own cannot be shared.
        (Ok(runtime), Ok(connector)) => {
            LocalSet::new().block_on(&runtime, serve(Arc::new(connector), jobs, told));
        }
        (Err(error), _) => refuse(jobs, &told, InferenceFault::new("engine", error.to_string())),
        (_, Err(what)) => refuse(jobs, &told, InferenceFault::new("server", what)),
    }
}

fn refuse(mut jobs: UnboundedReceiver<Job>, told: &Told, fault: InferenceFault) {
    tracing::error!(reason = fault.reason, "{}", fault.message);
    tell(told, Err(fault.clone()));
    while let Some(job) = jobs.blocking_recv() {
        job.fail(fault.clone());
    }
}

fn tell(told: &Told, description: Result<Description, InferenceFault>) {
    *told.lock().unwrap_or_else(PoisonError::into_inner) = description;
}

fn model(told: &Told) -> Option<String> {
    let told = told.lock().unwrap_or_else(PoisonError::into_inner);
    told.as_ref().ok().map(|model| model.name.clone())
}

async fn serve(connector: Arc<Connector>, mut jobs: UnboundedReceiver<Job>, told: Told) {
    let (active, waiting) = (
        Arc::new(Semaphore::new(MAX_ACTIVE)),
        Arc::new(Semaphore::new(MAX_WAITING)),
    );
    let looking = tokio::spawn(look(connector.clone(), told.clone()));
    while let Some(job) = jobs.recv().await {
        let Ok(place) = waiting.clone().try_acquire_owned() else {
            job.fail(InferenceFault::new(
                "busy",
                "too many requests wait for the server; try later",
            ));
            continue;
        };
        let (connector, told, active) = (connector.clone(), told.clone(), active.clone());
        spawn_local(async move {
            let _place = place;
            Attempts {
                connector: &connector,
                told: &told,
                active: &active,
                job: &job,
            }
            .run()
            .await;
        });
    }
    looking.abort();
}

/// Looks for the server until it tells its models, and again after it was away.
async fn look(connector: Arc<Connector>, told: Told) {
    let mut pause = LOOK_AGAIN;
    loop {
        let begun = Instant::now();
        let found = describe(&connector, begun).await;
        pause = match &found {
            Ok(model) => {
                if model_changed(&told, model) {
                    tracing::info!(name = model.name, server = model.path, "the server has the model");
                }
                LONGEST_LOOK_AGAIN
            }
            Err(fault) => {
                if model(&told).is_some() || pause == LOOK_AGAIN {
                    tracing::warn!("{fault}");
                }
                (2 * pause).min(LONGEST_LOOK_AGAIN)
            }
        };
        tell(&told, found);
        sleep(pause).await;
    }
}

fn model_changed(told: &Told, found: &Description) -> bool {
    model(told).is_none_or(|name| name != found.name)
}

#[derive(Deserialize)]
struct Models {
    data: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    id: String,
    max_model_len: Option<u64>,
    meta: Option<Meta>,
}

/// Of llama.cpp.
#[derive(Deserialize)]
struct Meta {
    n_params: Option<u64>,
    n_ctx_train: Option<u64>,
}

async fn describe(connector: &Connector, begun: Instant) -> Result<Description, InferenceFault> {
    let server = connector.server();
    let shown = server.url.shown();
    let wrong =
        |what: String| InferenceFault::new("server", format!("the server at {shown} cannot be used: {what}"));
    let bytes = connector
        .get("/models")
        .await
        .map_err(|trouble| wrong(trouble.to_string()))?;
    let models: Models = serde_json::from_slice(&bytes)
        .map_err(|error| wrong(format!("its models cannot be read: {error}")))?;
    let names = || {
        let names: Vec<String> = models
            .data
            .iter()
            .take(20)
            .map(|model| connector.shown(model.id.as_bytes()))
            .collect();
        names.join(", ")
    };
    let entry = match (&server.model, models.data.as_slice()) {
        (Some(name), data) => data
            .iter()
            .find(|model| model.id == *name)
            .ok_or_else(|| wrong(format!("it has no model {name}; it has: {}", names())))?,
        (None, [one]) => one,
        (None, _) => {
            return Err(wrong(format!(
                "name one of its models as server.model; it has: {}",
                names()
            )));
        }
    };
    let meta = entry.meta.as_ref();
    let context = entry
        .max_model_len
        .or(meta.and_then(|meta| meta.n_ctx_train))
        .unwrap_or(0);
    Ok(Description {
        name: entry
            .id
            .chars()
            .filter(|character| !character.is_control())
            .take(200)
            .collect(),
        parameters: meta.and_then(|meta| meta.n_params).unwrap_or(0),
        context_tokens: u32::try_from(context).unwrap_or(0),
        path: shown,
        load_ms: begun.elapsed().as_millis() as u64,
    })
}

/// One job, asked as often as it takes.
struct Attempts<'a> {
    connector: &'a Connector,
    told: &'a Told,
    active: &'a Semaphore,
    job: &'a Job,
}

/// One of those that are counted, until it is dropped.
struct Counted<'a>(&'a AtomicU32);

impl Counted<'_> {
    fn new(count: &AtomicU32) -> Counted<'_> {
        count.fetch_add(1, Ordering::Relaxed);
        Counted(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How an attempt ended without an answer.
enum Missed {
    /// Whether something was told already.
    Trouble(Trouble, bool),
    Refused(InferenceFault),
}

impl Attempts<'_> {
    async fn run(self) {
        let job = self.job;
        let mut answer = Answer::new(&job.request);
        let deadline = job.arrived + Duration::from_millis(job.request.deadline_ms);
        let outcome = tokio::select! {
            outcome = timeout_at(deadline.into(), self.until_answered(&mut answer)) => match outcome {
                Ok(Ok(())) => Ok(answer.finish.unwrap_or(Finish::Stop)),
                Ok(Err(fault)) => Err(fault),
                Err(_) => Ok(Finish::Deadline),
            },
            () = given_up(job) => Ok(Finish::Cancelled),
        };
        let (prompt_tokens, generated_tokens) = answer.tokens();
        METERS
            .read_tokens
            .fetch_add(prompt_tokens.into(), Ordering::Relaxed);
        METERS.wrote(generated_tokens.into());
        match outcome {
            Ok(finish) => {
                tell_piece(job, &mut answer, true);
                let _ = job.events.send(InferenceEvent::Done {
                    request: job.request.request,
                    text: answer.whole().to_owned(),
                    finish,
                    prompt_tokens,
                    generated_tokens,
                    elapsed_ms: job.arrived.elapsed().as_millis() as u64,
                });
            }
            Err(fault) => job.fail(fault),
        }
    }

    async fn until_answered(&self, answer: &mut Answer<'_>) -> Result<(), InferenceFault> {
        let waits = Counted::new(&METERS.waiting);
        let _turn = self.active.acquire().await;
        drop(waits);
        let _active = Counted::new(&METERS.active);
        let server = self.connector.server();
        let wanted = Wanted::of(server.kind, self.job).await?;
        let mut pause = FIRST_PAUSE;
        let mut left = server.retries;
        loop {
            let trouble = match self.attempt(answer, wanted.as_ref()).await {
                Ok(()) => return self.check(answer, wanted.as_ref()).await,
                Err(Missed::Refused(fault)) => return Err(fault),
                Err(Missed::Trouble(trouble, false)) if trouble.may_pass() && left > 0 => trouble,
                Err(Missed::Trouble(trouble, _)) => {
                    let message = format!("the server at {}: {trouble}", server.url.shown());
                    tracing::warn!("{message}");
                    return Err(InferenceFault::new("server", message));
                }
            };
            left -= 1;
            // A little different for each, so that those who failed together do not come back together.
            let scattered = pause.mul_f64(rand::rng().random_range(0.75..1.25));
            let pause_now = trouble.after().unwrap_or(scattered);
            tracing::info!(ms = pause_now.as_millis() as u64, "asked again after: {trouble}");
            sleep(pause_now).await;
            pause = (2 * pause).min(LONGEST_PAUSE);
        }
    }

    /// A text that was cut keeps to nothing.
    async fn check(&self, answer: &Answer<'_>, wanted: Option<&Wanted>) -> Result<(), InferenceFault> {
        let Some(wanted) = wanted.filter(|_| answer.finish == Some(Finish::Stop)) else {
            return Ok(());
        };
        let shown = self.connector.server().url.shown();
        let checked = wanted.check(answer.whole()).await;
        checked.map_err(|what| InferenceFault::new("server", format!("the server at {shown}: {what}")))
    }

    async fn attempt(&self, answer: &mut Answer<'_>, wanted: Option<&Wanted>) -> Result<(), Missed> {
        let server = self.connector.server();
        let adapter = self.job.adapter.as_ref();
        if adapter.is_some() && server.kind == Kind::LlamaCpp {
            // It would write without: it looks at no name.
            return Err(Missed::Refused(InferenceFault::new(
                "adapter_refused",
                "a server of the kind llama.cpp has no adapters by name; vLLM has",
            )));
        }
        let name = adapter
            .map(|adapter| adapter.name.clone())
            .or_else(|| server.model.clone())
            .or_else(|| model(self.told))
            .unwrap_or_default();
        let (path, body) = request::request(server.kind, &name, self.job, wanted)
            .map_err(|what| Missed::Refused(InferenceFault::new("bad_request", what)))?;
        let trouble = |trouble| Missed::Trouble(trouble, false);
        let mut stream = self
            .connector
            .post(path, body.to_string().into_bytes())
            .await
            .map_err(trouble)?;
        let mut events = Events::default();
        let most = MAX_SENT_BYTES + MAX_SENT_BYTES_A_TOKEN * u64::from(self.job.request.max_tokens);
        let mut sent = 0;
        let mut was_told = false;
        loop {
            let missed = |trouble| Missed::Trouble(trouble, was_told);
            let wrong = |what: String| missed(Trouble::Wrong(self.connector.shown(what.as_bytes())));
            let bytes = match stream.next().await {
                Ok(bytes) => bytes,
                // What follows the end is of no use.
                Err(_) if answer.finish.is_some() => return Ok(()),
                Err(trouble) => return Err(missed(trouble)),
            };
            let Some(bytes) = bytes else {
                return match answer.finish {
                    Some(_) => Ok(()),
                    None => Err(missed(Trouble::Broken("it ended before the text did".into()))),
                };
            };
            sent += bytes.len() as u64;
            if sent > most {
                return Err(wrong(format!("it has sent more than {most} bytes")));
            }
            for data in events.read(&bytes).map_err(&wrong)? {
                if answer.take(&data).map_err(&wrong)? {
                    return Ok(());
                }
            }
            was_told |= tell_piece(self.job, answer, false) || !answer.whole().is_empty();
            if answer.is_over {
                return match answer.finish {
                    Some(_) => Ok(()),
                    None => Err(Missed::Trouble(
                        Trouble::Wrong("it is over and has no end".into()),
                        true,
                    )),
                };
            }
        }
    }
}

/// True when there was something to tell.
fn tell_piece(job: &Job, answer: &mut Answer<'_>, end: bool) -> bool {
    let text = answer.piece(end);
    if text.is_empty() {
        return false;
    }
    let _ = job.events.send(InferenceEvent::Text {
        request: job.request.request,
        text: text.to_owned(),
    });
    true
}

async fn given_up(job: &Job) {
    while !job.cancelled.load(Ordering::Relaxed) {
        sleep(LOOK).await;
    }
}

#[cfg(test)]
mod tests;

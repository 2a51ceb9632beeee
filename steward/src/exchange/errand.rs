//! What the steward asks inference-workers during an exchange, each on a thread of its own that sends [`Event::Errand`].

use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::thread;
use std::time::{Duration, Instant};

use shared::frame::{self, FrameError};
use shared::inference::{
    Description, Figures, Finish, Generate, InferenceEvent, InferenceFault, InferenceRequest,
};

use crate::event::Event;

/// Every errand of this process has another number.
static NEXT: AtomicU64 = AtomicU64::new(1);
const PAUSE: Duration = Duration::from_millis(30);
/// What both are asked to continue: greedily, so that the same model writes the same.
const PROMPT: &str = "def describe_yourself(self):\n    return ";
const TOKENS: u32 = 12;

/// The end of one errand.
pub struct Done {
    pub number: u64,
    pub result: Result<Found, String>,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq)]
pub enum Found {
    Tried(Box<Trial>),
    /// The new one serves; how many conversations the old one still has, when it knows how to yield.
    Switched(Option<u32>),
    /// It answered all the time.
    Watched(Figures),
    /// The old one serves again.
    Restored,
}

/// How the new worker compares with the old one.
#[derive(Clone, Debug, PartialEq)]
pub struct Trial {
    /// In words.
    pub model: String,
    /// What both wrote, and how long it took; none without a model.
    pub new: Option<Written>,
    pub old: Option<Written>,
    /// What the old one did until now.
    pub figures: Option<Figures>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    pub text: String,
    pub tokens: u32,
    pub took: Duration,
}

/// Begins one; the number is that of its end.
pub fn begin(
    events: Sender<Event>,
    work: impl FnOnce() -> Result<Found, String> + Send + 'static,
) -> io::Result<u64> {
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    thread::Builder::new()
        .name("exchange".to_owned())
        .spawn(move || {
            let result = work();
            let _ = events.send(Event::Errand(Done { number, result }));
        })?;
    Ok(number)
}

/// Waits until the new worker has its model, then has both write the same.
pub fn try_out(new: &Path, old: Option<&Path>, limit: Duration) -> Result<Found, String> {
    let until = Instant::now() + limit;
    let old_described = old.and_then(|old| describe(old, left(until)).ok());
    let model = loop {
        match describe(new, left(until)) {
            Ok(Ok(model)) => break Some(model),
            Ok(Err(fault)) if fault.reason != "loading" => match &old_described {
                Some(Ok(_)) | None => return Err(format!("it has no model: {fault}")),
                // The old one has none either.
                Some(Err(_)) => break None,
            },
            _ if Instant::now() >= until => return Err("it was not ready in time".to_owned()),
            _ => thread::sleep(PAUSE),
        }
    };
    let figures = old.and_then(|old| figures(old, left(until)).ok());
    let Some(model) = model else {
        return Ok(Found::Tried(Box::new(Trial {
            model: "no model, as before".to_owned(),
            new: None,
            old: None,
            figures,
        })));
    };
    let first = write(new, left(until)).map_err(|error| format!("it does not write: {error}"))?;
    // Warm by now, and the same again.
    let second = write(new, left(until)).map_err(|error| format!("it does not write: {error}"))?;
    if first.text != second.text {
        return Err(format!(
            "asked twice for the same, it wrote {:?} and {:?}",
            first.text, second.text
        ));
    }
    let old = match (old, old_described) {
        (Some(old), Some(Ok(_))) => write(old, left(until)).ok(),
        _ => None,
    };
    Ok(Found::Tried(Box::new(Trial {
        model: format!("{} ({} tokens)", model.name, model.context_tokens),
        new: Some(second),
        old,
        figures,
    })))
}

/// First the new one serves, then the old one yields: there is always somebody.
pub fn switch(new: &Path, old: Option<&Path>, limit: Duration) -> Result<Found, String> {
    match ask(new, &InferenceRequest::Serve, limit) {
        Ok(InferenceEvent::Serving) => {}
        Ok(other) => return Err(format!("told to serve, it said {other:?}")),
        Err(error) => return Err(format!("told to serve, it said nothing: {error}")),
    }
    let open = old.and_then(|old| match ask(old, &InferenceRequest::Yield, limit) {
        Ok(InferenceEvent::Yielded { open }) => Some(open),
        _ => None,
    });
    Ok(Found::Switched(open))
}

/// Lets a worker that has yielded serve again.
pub fn restore(old: &Path, limit: Duration) -> Result<Found, String> {
    match ask(old, &InferenceRequest::Serve, limit) {
        Ok(InferenceEvent::Serving) => Ok(Found::Restored),
        Ok(other) => Err(format!("told to serve again, it said {other:?}")),
        Err(error) => Err(format!("told to serve again, it said nothing: {error}")),
    }
}

/// Asks all the time how the new one is; each answer must come within `answer`, and say what a worker with a model says.
pub fn watch(new: &Path, has_model: bool, probation: Duration, answer: Duration) -> Result<Found, String> {
    let until = Instant::now() + probation;
    if has_model {
        write(new, probation.max(answer)).map_err(|error| format!("it does not write: {error}"))?;
    }
    loop {
        match describe(new, answer) {
            Ok(Ok(_)) => {}
            Ok(Err(_)) if !has_model => {}
            Ok(Err(fault)) => return Err(format!("it has no model any more: {fault}")),
            Err(error) => {
                return Err(format!(
                    "it does not answer within {} ms: {error}",
                    answer.as_millis()
                ));
            }
        }
        if Instant::now() >= until {
            let found = figures(new, answer).map_err(|error| format!("it tells no figures: {error}"))?;
            return Ok(Found::Watched(found));
        }
        thread::sleep(PAUSE);
    }
}

fn describe(socket: &Path, limit: Duration) -> Result<Result<Description, InferenceFault>, FrameError> {
    match ask(socket, &InferenceRequest::Describe, limit)? {
        InferenceEvent::Described(described) => Ok(described),
        _ => Err(FrameError::Ended),
    }
}

fn figures(socket: &Path, limit: Duration) -> Result<Figures, FrameError> {
    match ask(socket, &InferenceRequest::Figures, limit)? {
        InferenceEvent::Figures(figures) => Ok(figures),
        _ => Err(FrameError::Ended),
    }
}

fn write(socket: &Path, limit: Duration) -> Result<Written, String> {
    let begun = Instant::now();
    let generate = Generate {
        request: 1,
        prompt: PROMPT.to_owned(),
        max_tokens: TOKENS,
        temperature: 0.0,
        top_p: 1.0,
        seed: 1,
        stop: Vec::new(),
        deadline_ms: u64::try_from(limit.as_millis()).unwrap_or(u64::MAX),
    };
    let mut stream = connect(socket, limit).map_err(|error| error.to_string())?;
    frame::write(&mut stream, &InferenceRequest::Generate(generate)).map_err(|error| error.to_string())?;
    loop {
        match frame::read(&mut stream).map_err(|error| error.to_string())? {
            InferenceEvent::Done {
                request: 1,
                text,
                finish: Finish::Stop | Finish::MaxTokens,
                generated_tokens,
                ..
            } if generated_tokens <= TOKENS => {
                return Ok(Written {
                    text,
                    tokens: generated_tokens,
                    took: begun.elapsed(),
                });
            }
            InferenceEvent::Text { request: 1, .. } => {}
            InferenceEvent::Failed { fault, .. } => return Err(fault.message),
            other => return Err(format!("it answered {other:?}")),
        }
    }
}

/// One request, one event.
fn ask(socket: &Path, request: &InferenceRequest, limit: Duration) -> Result<InferenceEvent, FrameError> {
    let mut stream = connect(socket, limit)?;
    frame::write(&mut stream, request)?;
    frame::read(&mut stream)
}

fn connect(socket: &Path, limit: Duration) -> io::Result<UnixStream> {
    let stream = UnixStream::connect(socket)?;
    // Zero would be for ever.
    let limit = Some(limit.max(Duration::from_millis(1)));
    stream.set_read_timeout(limit)?;
    stream.set_write_timeout(limit)?;
    Ok(stream)
}

fn left(until: Instant) -> Duration {
    until.saturating_duration_since(Instant::now())
}

/// Two sockets of one exchange.
#[derive(Clone, Debug)]
pub struct Sockets {
    pub new: PathBuf,
    /// `None` when no old worker runs.
    pub old: Option<PathBuf>,
}

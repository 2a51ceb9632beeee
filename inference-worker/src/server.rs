//! The socket: many connections, many requests on each; a lost connection cancels its requests.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use interprocess::local_socket::tokio::{Listener, Stream};
use interprocess::local_socket::traits::tokio::Listener as _;
use shared::frame::{FrameError, asynchronous};
use shared::inference::{
    Adapter, ChatMessage, Embed, Generate, Grammar, InferenceEvent, InferenceFault, InferenceRequest,
    MOST_TEXT_BYTES, MOST_TEXTS, Options,
};
use tokio::sync::{mpsc, watch};

use crate::encoder::{EmbedJob, Encoder};
use crate::engine::{Engine, Job};
use crate::meters::METERS;

/// Longest text, in tokens, that one request may ask for.
const MAX_TOKENS: u32 = 8192;
const MAX_STOPS: usize = 16;
/// Of the vectors of one answer: a frame must hold them.
const MAX_VECTOR_BYTES: usize = 8 << 20;
/// Adapters told before their requests, of one conversation.
const MAX_ADAPTED: usize = 64;
/// Grammars of a connection whose generations have not been asked for yet.
const MAX_GRAMMARS: usize = 64;

/// Who answers, and whether it does at the socket that workers share.
#[derive(Clone)]
pub struct Server {
    engine: Engine,
    /// The server that stands by for what the model cannot do.
    beside: Option<Engine>,
    encoder: Encoder,
    gate: Arc<Gate>,
}

/// At the shared socket.
struct Gate {
    is_open: watch::Sender<bool>,
    /// Conversations that are open.
    conversations: watch::Sender<u32>,
}

/// A conversation at the shared socket.
struct Conversation(Arc<Gate>);

/// Where a conversation came in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Door {
    Shared,
    /// The steward's: the gate is asked for there.
    Own,
}

impl Server {
    pub fn new(engine: Engine, beside: Option<Engine>, encoder: Encoder, is_standby: bool) -> Server {
        let gate = Gate {
            is_open: watch::channel(!is_standby).0,
            conversations: watch::channel(0).0,
        };
        Server {
            engine,
            beside,
            encoder,
            gate: Arc::new(gate),
        }
    }

    /// Serves for ever: at its own socket always, at the shared one while the gate is open.
    pub async fn serve(self, shared: &Listener, own: Option<&Listener>) {
        let mut gate = self.gate.is_open.subscribe();
        loop {
            let is_open = *gate.borrow_and_update();
            let (accepted, door) = tokio::select! {
                accepted = shared.accept(), if is_open => (accepted, Door::Shared),
                accepted = accept(own) => (accepted, Door::Own),
                _ = gate.changed() => continue,
            };
            match accepted {
                Ok(stream) => {
                    let server = self.clone();
                    let counted = (door == Door::Shared).then(|| Conversation::begin(&self.gate));
                    tokio::spawn(async move {
                        if let Err(error) = converse(server, stream, door).await
                            && !error.is_disconnect()
                        {
                            tracing::warn!(%error, "a conversation was ended");
                        }
                        drop(counted);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    /// Accepts nothing more at the shared socket.
    pub fn close(&self) {
        self.gate.is_open.send_replace(false);
    }

    /// Returns when no conversation of the shared socket is open.
    pub async fn rest(self) {
        let mut conversations = self.gate.conversations.subscribe();
        let _ = conversations.wait_for(|open| *open == 0).await;
    }
}

impl Conversation {
    fn begin(gate: &Arc<Gate>) -> Conversation {
        gate.conversations.send_modify(|open| *open += 1);
        Conversation(gate.clone())
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        self.0.conversations.send_modify(|open| *open -= 1);
    }
}

async fn accept(own: Option<&Listener>) -> std::io::Result<Stream> {
    match own {
        Some(own) => own.accept().await,
        None => std::future::pending().await,
    }
}

/// The open requests of a conversation; dropped, they are cancelled.
#[derive(Default)]
struct Open {
    requests: HashMap<u64, Arc<AtomicBool>>,
    /// Of requests that have not come yet.
    adapters: HashMap<u64, Adapter>,
    grammars: HashMap<u64, Grammar>,
    escalated: HashSet<u64>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.requests
            .values()
            .for_each(|cancelled| cancelled.store(true, Ordering::Relaxed));
    }
}

impl Open {
    fn begin(
        &mut self,
        engine: &Engine,
        beside: Option<&Engine>,
        events: &mpsc::UnboundedSender<InferenceEvent>,
        mut request: Generate,
        options: Options,
        messages: Vec<ChatMessage>,
    ) {
        let adapter = self.adapters.remove(&request.request);
        let grammar = self.grammars.remove(&request.request);
        let engine = match (self.escalated.remove(&request.request), beside) {
            (false, _) => engine,
            (true, Some(beside)) => beside,
            (true, None) => {
                let message = "no server stands by for what the model cannot do";
                return fail(events, request.request, message.to_owned());
            }
        };
        if let Err(message) = check(&request, &options) {
            return fail(events, request.request, message);
        }
        request.max_tokens = request.max_tokens.min(MAX_TOKENS);
        let cancelled = Arc::new(AtomicBool::new(false));
        self.requests.insert(request.request, cancelled.clone());
        engine.submit(Job {
            request,
            options,
            messages,
            adapter,
            grammar,
            constraint: None,
            events: events.clone(),
            cancelled,
            arrived: Instant::now(),
        });
    }

    fn embed(&mut self, encoder: &Encoder, events: &mpsc::UnboundedSender<InferenceEvent>, request: Embed) {
        let dimension = encoder.describe().map_or(0, |encoder| encoder.dimension as usize);
        if let Err(message) = check_texts(&request.texts, dimension) {
            return fail(events, request.request, message);
        }
        let cancelled = Arc::new(AtomicBool::new(false));
        self.requests.insert(request.request, cancelled.clone());
        encoder.submit(EmbedJob {
            request,
            events: events.clone(),
            cancelled,
            arrived: Instant::now(),
        });
    }
}

/// What is too much for one request.
pub fn check_texts(texts: &[String], dimension: usize) -> Result<(), String> {
    let most = MOST_TEXTS.min(MAX_VECTOR_BYTES / (4 * dimension.max(1)));
    if texts.len() > most {
        return Err(format!(
            "there are {} texts, {most} at most in one request",
            texts.len()
        ));
    }
    match texts.iter().find(|text| text.len() > MOST_TEXT_BYTES) {
        Some(text) => Err(format!(
            "a text has {} bytes, {MOST_TEXT_BYTES} at most",
            text.len()
        )),
        None => Ok(()),
    }
}

fn fail(events: &mpsc::UnboundedSender<InferenceEvent>, request: u64, message: String) {
    let fault = InferenceFault::new("bad_request", message);
    let _ = events.send(InferenceEvent::Failed { request, fault });
}

/// What cannot be meant.
pub fn check(request: &Generate, options: &Options) -> Result<(), String> {
    let within = |name: &str, value: f32, least: f32, most: f32| {
        if (least..=most).contains(&value) {
            Ok(())
        } else {
            Err(format!("{name} is {value}, it must be within {least} and {most}"))
        }
    };
    within("temperature", request.temperature, f32::MIN, f32::MAX)?;
    within("top_p", request.top_p, 0.0, 1.0)?;
    within("min_p", options.min_p, 0.0, 1.0)?;
    within("repetition_penalty", options.repetition_penalty, 0.1, 10.0)?;
    if request.stop.len() > MAX_STOPS {
        return Err(format!(
            "there are {} stop sequences, {MAX_STOPS} at most",
            request.stop.len()
        ));
    }
    Ok(())
}

async fn converse(server: Server, stream: Stream, door: Door) -> Result<(), FrameError> {
    let Server {
        engine,
        beside,
        encoder,
        gate,
    } = server;
    let (mut reader, mut writer) = tokio::io::split(stream);
    let (events, mut queue) = mpsc::unbounded_channel::<InferenceEvent>();
    let writing = tokio::spawn(async move {
        while let Some(event) = queue.recv().await {
            METERS.told(&event);
            if asynchronous::write(&mut writer, &event).await.is_err() {
                return;
            }
        }
    });
    let mut open = Open::default();
    let ended = loop {
        match asynchronous::read(&mut reader).await {
            Ok(InferenceRequest::Describe) => {
                let _ = events.send(InferenceEvent::Described(engine.describe()));
            }
            Ok(InferenceRequest::DescribeEmbedder) => {
                let _ = events.send(InferenceEvent::EmbedderDescribed(encoder.describe()));
            }
            Ok(InferenceRequest::Figures) => {
                let _ = events.send(InferenceEvent::Figures(METERS.figures(engine.adapters.tiers())));
            }
            Ok(InferenceRequest::Abilities) => {
                let _ = events.send(InferenceEvent::Abilities(engine.abilities()));
            }
            Ok(InferenceRequest::Embed(request)) => open.embed(&encoder, &events, request),
            Ok(InferenceRequest::Cancel { request }) => {
                if let Some(cancelled) = open.requests.get(&request) {
                    cancelled.store(true, Ordering::Relaxed);
                }
            }
            Ok(InferenceRequest::Generate(request)) => {
                open.begin(
                    &engine,
                    beside.as_ref(),
                    &events,
                    request,
                    Options::default(),
                    Vec::new(),
                );
            }
            Ok(InferenceRequest::GenerateWith {
                generate,
                options,
                messages,
            }) => {
                open.begin(&engine, beside.as_ref(), &events, generate, options, messages);
            }
            Ok(InferenceRequest::Adapt { request, adapter }) => {
                if open.adapters.len() < MAX_ADAPTED {
                    open.adapters.insert(request, adapter);
                } else {
                    let message =
                        format!("{MAX_ADAPTED} adapters were told without the requests that they are for");
                    fail(&events, request, message);
                }
            }
            Ok(InferenceRequest::Adapters { request, ask }) => {
                let answering = engine.adapters.clone().answer(ask);
                let events = events.clone();
                tokio::spawn(async move {
                    let answer = answering.await;
                    let _ = events.send(InferenceEvent::Adapters { request, answer });
                });
            }
            Ok(InferenceRequest::Constrain { request, grammar }) => {
                // Grammars without generations are no use, and would fill the memory.
                if open.grammars.len() >= MAX_GRAMMARS {
                    open.grammars.clear();
                }
                open.grammars.insert(request, grammar);
            }
            Ok(InferenceRequest::Escalate { request }) => {
                if open.escalated.len() >= MAX_GRAMMARS {
                    open.escalated.clear();
                }
                open.escalated.insert(request);
            }
            Ok(InferenceRequest::DescribeServer) => {
                let described = beside.as_ref().map(Engine::describe);
                let _ = events.send(InferenceEvent::ServerDescribed(described));
            }
            Ok(InferenceRequest::Serve) if door == Door::Own => {
                gate.is_open.send_replace(true);
                tracing::info!("serving");
                let _ = events.send(InferenceEvent::Serving);
            }
            Ok(InferenceRequest::Yield) if door == Door::Own => {
                gate.is_open.send_replace(false);
                let open = *gate.conversations.borrow();
                tracing::info!(open, "yielded");
                let _ = events.send(InferenceEvent::Yielded { open });
            }
            Ok(InferenceRequest::Serve | InferenceRequest::Yield) => {
                fail(&events, 0, "only a steward says who serves".to_owned());
            }
            Err(error) => break error,
        }
    };
    drop(open);
    drop(events);
    writing.abort();
    Err(ended)
}

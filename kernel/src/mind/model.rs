//! The door to the inference-worker. One connection a request: dropping it cancels.

use std::path::PathBuf;
use std::time::Duration;

use interprocess::local_socket::tokio::Stream;
use interprocess::local_socket::traits::tokio::Stream as _;
use interprocess::local_socket::{GenericFilePath, ToFsName};
use shared::bridge::Fault;
use shared::frame::{FrameError, asynchronous};
use shared::inference::{
    Adapter, AdapterAnswer, AdapterRequest, ChatMessage, Description, Embed, Embedder, Figures, Finish,
    Generate, Grammar, InferenceEvent, InferenceFault, InferenceRequest, MOST_TEXT_BYTES, MOST_TEXTS,
    Options,
};
use shared::reason;
use tokio::time::{Instant, sleep, timeout};

use crate::image::memory::analysis::head;
use crate::image::memory::vector::Encoder;

/// How long to look for an inference-worker that is starting or being replaced.
const PATIENCE: Duration = Duration::from_secs(15);
const PAUSE: Duration = Duration::from_millis(50);
/// A worker that runs describes its model at once, also while it loads; a socket without a worker says nothing.
const DESCRIBE: Duration = Duration::from_millis(100);

/// Where the model answers.
pub struct Model {
    socket: PathBuf,
}

/// What the inference-worker has, in words, or why it has none; an empty reason: it was not asked yet.
pub struct Inference {
    pub model: Result<String, String>,
    pub embedder: Result<String, String>,
    pub figures: Option<Figures>,
}

impl Default for Inference {
    fn default() -> Inference {
        Inference {
            model: Err(String::new()),
            embedder: Err(String::new()),
            figures: None,
        }
    }
}

/// How long one connection waits for a worker to take it.
const PRESENT: Duration = Duration::from_secs(2);

/// What the model is asked, with which adapter, and what its text must be.
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    pub generate: Generate,
    /// A conversation before the prompt.
    pub messages: Vec<ChatMessage>,
    pub options: Options,
    /// None: the model alone.
    pub adapter: Option<Adapter>,
    pub grammar: Option<Grammar>,
    /// Asked of the server that stands by for what the model cannot do.
    pub is_escalated: bool,
}

impl Question {
    /// All that the model reads.
    pub fn words(&self) -> String {
        let turns = self
            .messages
            .iter()
            .map(|turn| format!("[{}]\n{}\n\n", turn.role, turn.content));
        turns.chain([self.generate.prompt.clone()]).collect()
    }
}

/// What texts mean, and who says so.
pub struct Encoded {
    pub encoder: Encoder,
    /// One for each text, of length 1.
    pub vectors: Vec<Vec<f32>>,
}

/// How long texts may take to be encoded, for each that is asked for at once and in all.
const ENCODING: Duration = Duration::from_secs(30);
const ENCODING_EACH: Duration = Duration::from_secs(1);
/// Vectors of one answer take so many bytes at most.
const VECTOR_BYTES: usize = 8 << 20;

/// A connection that ended without an answer.
struct Lost {
    error: FrameError,
    /// A worker had answered on it.
    is_described: bool,
}

/// A worker that ended so many conversations about a grammar, or about its model's abilities, does not know of them: it is older than this
/// kernel.
const LOST_WITH_GRAMMAR: u32 = 2;
/// What a model is asked for of which an older worker cannot say what it can do.
const OLD_ABILITY: &str = "method";

/// What the model wrote.
pub struct Generated {
    pub text: String,
    pub finish: Finish,
    pub tokens: u32,
    /// The mean natural logarithm of the likelihoods that the model gave its tokens; only where they were asked for, and where the model tells them.
    pub confidence: Option<f64>,
}

/// A server need not tell how large its model is.
fn in_words(model: &Description) -> String {
    match model.parameters {
        0 => format!("{} at {}", model.name, model.path),
        parameters => format!("{} ({:.1} M parameters)", model.name, parameters as f64 / 1e6),
    }
}

impl Model {
    pub fn new(socket: PathBuf) -> Model {
        Model { socket }
    }

    /// The loaded model and the embedder in words, or why there is none.
    pub async fn describe(&self) -> Inference {
        let mut told = Inference::default();
        let failed = match timeout(DESCRIBE, self.ask(&mut told)).await {
            Ok(Ok(())) => return told,
            Ok(Err(error)) => format!("no inference-worker answers: {error}"),
            Err(_) => "no inference-worker answers yet; the steward starts it (`batos status`)".into(),
        };
        // What was told before it failed stays told.
        for unknown in [&mut told.model, &mut told.embedder] {
            if unknown.as_ref().is_err_and(String::is_empty) {
                *unknown = Err(failed.clone());
            }
        }
        told
    }

    async fn ask(&self, told: &mut Inference) -> Result<(), FrameError> {
        let mut stream = self.connect().await?;
        for request in [
            InferenceRequest::Describe,
            InferenceRequest::DescribeEmbedder,
            InferenceRequest::Figures,
            InferenceRequest::DescribeServer,
        ] {
            asynchronous::write(&mut stream, &request).await?;
            match asynchronous::read(&mut stream).await? {
                InferenceEvent::Described(described) => {
                    told.model = described
                        .map(|model| in_words(&model))
                        .map_err(|fault| fault.message);
                }
                InferenceEvent::EmbedderDescribed(described) => {
                    told.embedder = described
                        .map(|embedder| format!("{} ({} numbers)", embedder.name, embedder.dimension))
                        .map_err(|fault| fault.message);
                }
                InferenceEvent::Figures(figures) => told.figures = Some(figures),
                InferenceEvent::ServerDescribed(None) => {}
                InferenceEvent::ServerDescribed(Some(described)) => {
                    if let Ok(model) = &mut told.model {
                        model.push_str(&match described {
                            Ok(server) => format!("; what it cannot do: {}", in_words(&server)),
                            Err(fault) => {
                                format!(
                                    "; the server for what it cannot do is not there: {}",
                                    fault.message
                                )
                            }
                        });
                    }
                }
                // Nothing else was asked for.
                _ => return Err(FrameError::Ended),
            }
        }
        Ok(())
    }

    /// Who encodes, or why nobody does.
    pub async fn embedder(&self) -> Result<Embedder, String> {
        let conversation = async {
            let mut stream = self.connect().await?;
            self.embedder_on(&mut stream).await
        };
        match timeout(PRESENT, conversation).await {
            Ok(Ok(found)) => found,
            Ok(Err(error)) => Err(format!("no inference-worker answers: {error}")),
            Err(_) => Err("no inference-worker answers".into()),
        }
    }

    async fn embedder_on(&self, stream: &mut Stream) -> Result<Result<Embedder, String>, FrameError> {
        answer_to(stream, &InferenceRequest::DescribeEmbedder, |event| match event {
            InferenceEvent::EmbedderDescribed(described) => Some(described.map_err(|fault| fault.message)),
            _ => None,
        })
        .await
    }

    /// Has texts encoded, in their order; or says why nobody encodes. What of a text is beyond what the encoder reads is cut off.
    pub async fn embed(&self, texts: &[String]) -> Result<Encoded, String> {
        let gone = |error: FrameError| format!("no inference-worker answers: {error}");
        let mut stream = self.connect().await.map_err(gone)?;
        let described = timeout(PRESENT, self.embedder_on(&mut stream)).await;
        let embedder = described
            .map_err(|_| "no inference-worker answers")?
            .map_err(gone)??;
        let dimension = embedder.dimension as usize;
        let at_once = MOST_TEXTS.min(VECTOR_BYTES / (dimension * 4).max(1)).max(1);
        let mut vectors = Vec::with_capacity(texts.len());
        for (request, some) in (1..).zip(texts.chunks(at_once)) {
            let patience = ENCODING + ENCODING_EACH * some.len() as u32;
            let ask = Embed {
                request,
                texts: some
                    .iter()
                    .map(|text| head(text, MOST_TEXT_BYTES).to_owned())
                    .collect(),
                deadline_ms: patience.as_millis() as u64,
            };
            asynchronous::write(&mut stream, &InferenceRequest::Embed(ask))
                .await
                .map_err(gone)?;
            let answered = timeout(patience + PRESENT, asynchronous::read(&mut stream)).await;
            match answered
                .map_err(|_| "the encoder does not answer in time")?
                .map_err(gone)?
            {
                InferenceEvent::Embedded { embeddings, .. } if embeddings.len() == some.len() => {
                    vectors.extend(embeddings.into_iter().map(|embedding| embedding.vector));
                }
                InferenceEvent::Failed { fault, .. } => return Err(fault.message),
                _ => return Err("the encoder answered something else".into()),
            }
        }
        match vectors.iter().all(|vector: &Vec<f32>| vector.len() == dimension) {
            true => Ok(Encoded {
                encoder: Encoder::of(&embedder.name, dimension),
                vectors,
            }),
            false => Err("the encoder answered vectors of another dimension than its own".into()),
        }
    }

    /// Asks about adapters; `patience` is for the answer, loading included.
    pub async fn adapters(&self, ask: AdapterRequest, patience: Duration) -> Result<AdapterAnswer, Fault> {
        let conversation = async {
            let mut stream = self.connect().await?;
            self.find_worker(&mut stream).await?;
            let request = InferenceRequest::Adapters { request: 1, ask };
            answer_to(&mut stream, &request, |event| match event {
                InferenceEvent::Adapters { answer, .. } => Some(answer),
                _ => None,
            })
            .await
        };
        match timeout(patience, conversation).await {
            Ok(Ok(answer)) => answer.map_err(adapter_fault),
            Ok(Err(error)) => Err(Fault::new(
                reason::NO_MODEL,
                format!("no inference-worker answers about adapters: {error}"),
            )),
            Err(_) => Err(Fault::new(
                reason::NO_MODEL,
                format!(
                    "the inference-worker did not answer within {} s",
                    patience.as_secs_f32()
                ),
            )),
        }
    }

    /// Generates, looking again for a worker that is gone until patience ends. Whether the text keeps to the grammar is checked by who
    /// asks: an older worker writes without one, and a server any method.
    pub async fn generate(&self, mut question: Question) -> Result<Generated, Fault> {
        let deadline = Instant::now() + PATIENCE;
        let mut lost_with_grammar = 0;
        loop {
            match self.try_generate(&question).await {
                Ok(result) => return result,
                Err(Lost { error, .. }) if Instant::now() >= deadline => {
                    return Err(self.absent(&error));
                }
                Err(lost) => {
                    if lost.is_described && question.grammar.is_some() {
                        lost_with_grammar += 1;
                        if lost_with_grammar >= LOST_WITH_GRAMMAR {
                            tracing::warn!("the inference-worker knows no grammars: asked without one");
                            question.grammar = None;
                        }
                    }
                    sleep(PAUSE).await;
                }
            }
        }
    }

    /// What the model's card says that it can do; none where it says nothing. Looks for a worker as [`Model::generate`] does. Refused
    /// where there is no model to have a card.
    pub async fn abilities(&self) -> Result<Option<Vec<String>>, Fault> {
        let deadline = Instant::now() + PATIENCE;
        let mut lost = 0;
        loop {
            let mut is_described = false;
            let error = match self.ask_abilities(&mut is_described).await {
                Ok(Ok(abilities)) => return Ok(abilities),
                Ok(Err(fault)) => return Err(Fault::new(reason::NO_MODEL, fault.message)),
                Err(error) => error,
            };
            lost += u32::from(is_described);
            if lost >= LOST_WITH_GRAMMAR {
                tracing::warn!(
                    "the inference-worker does not know what its model can do: it is asked for methods alone"
                );
                return Ok(Some(vec![OLD_ABILITY.to_owned()]));
            }
            if Instant::now() >= deadline {
                return Err(self.absent(&error));
            }
            sleep(PAUSE).await;
        }
    }

    async fn ask_abilities(
        &self,
        is_described: &mut bool,
    ) -> Result<Result<Option<Vec<String>>, InferenceFault>, FrameError> {
        let mut stream = self.connect().await?;
        // One that is being loaded has a card already; a server may answer again.
        if let InferenceEvent::Described(Err(fault)) = self.find_worker(&mut stream).await?
            && ["model_missing", "model_damaged"].contains(&fault.reason.as_str())
        {
            return Ok(Err(fault));
        }
        *is_described = true;
        answer_to(&mut stream, &InferenceRequest::Abilities, |event| match event {
            InferenceEvent::Abilities(abilities) => Some(Ok(abilities)),
            _ => None,
        })
        .await
    }

    /// The server that stands by for what the model cannot do, in words; none where there is none, or it does not answer.
    pub async fn server(&self) -> Option<String> {
        let conversation = async {
            let mut stream = self.connect().await?;
            self.find_worker(&mut stream).await?;
            answer_to(
                &mut stream,
                &InferenceRequest::DescribeServer,
                |event| match event {
                    InferenceEvent::ServerDescribed(described) => Some(described),
                    _ => None,
                },
            )
            .await
        };
        match timeout(PRESENT, conversation).await {
            Ok(Ok(Some(Ok(server)))) => Some(in_words(&server)),
            Ok(Ok(Some(Err(fault)))) => {
                tracing::warn!(%fault, "the server for what the model cannot do is not there");
                None
            }
            // Without a server, or of a worker that is too old to know of one.
            _ => None,
        }
    }

    fn absent(&self, error: &FrameError) -> Fault {
        Fault::new(
            reason::NO_MODEL,
            format!(
                "no inference-worker answers at {}: {error}",
                self.socket.display()
            ),
        )
    }

    async fn try_generate(&self, question: &Question) -> Result<Result<Generated, Fault>, Lost> {
        let mut is_described = false;
        self.converse(question, &mut is_described)
            .await
            .map_err(|error| Lost { error, is_described })
    }

    async fn converse(
        &self,
        question: &Question,
        is_described: &mut bool,
    ) -> Result<Result<Generated, Fault>, FrameError> {
        let mut stream = self.connect().await?;
        self.find_worker(&mut stream).await?;
        *is_described = true;
        let generate = question.generate.clone();
        if let Some(adapter) = question.adapter.clone() {
            let request = generate.request;
            asynchronous::write(&mut stream, &InferenceRequest::Adapt { request, adapter }).await?;
        }
        if let Some(grammar) = question.grammar.clone() {
            let request = generate.request;
            asynchronous::write(&mut stream, &InferenceRequest::Constrain { request, grammar }).await?;
        }
        if question.is_escalated {
            let request = generate.request;
            asynchronous::write(&mut stream, &InferenceRequest::Escalate { request }).await?;
        }
        let request = InferenceRequest::GenerateWith {
            generate,
            options: question.options.clone(),
            messages: question.messages.clone(),
        };
        asynchronous::write(&mut stream, &request).await?;
        let (mut sum, mut count) = (0.0, 0_u32);
        loop {
            match asynchronous::read(&mut stream).await? {
                InferenceEvent::Likelihoods { tokens, .. } => {
                    sum += tokens.iter().map(|token| f64::from(token.logprob)).sum::<f64>();
                    count += tokens.len() as u32;
                }
                InferenceEvent::Done {
                    text,
                    finish,
                    generated_tokens,
                    ..
                } => {
                    return Ok(match finish {
                        Finish::Deadline => Err(Fault::new(
                            reason::DEADLINE,
                            "the model did not finish within its deadline",
                        )),
                        _ => Ok(Generated {
                            text,
                            finish,
                            tokens: generated_tokens,
                            confidence: (count > 0).then(|| sum / f64::from(count)),
                        }),
                    });
                }
                InferenceEvent::Failed { fault, .. }
                    if fault.reason == "no_grammar"
                        && matches!(question.grammar, Some(Grammar::Method(_))) =>
                {
                    // A server writes. What a method must be, guard and trial find as well.
                    tracing::debug!("asked without a grammar: {fault}");
                    let question = Question {
                        grammar: None,
                        ..question.clone()
                    };
                    return Box::pin(self.converse(&question, is_described)).await;
                }
                InferenceEvent::Failed { fault, .. }
                    if question.options.likelihoods.is_some() && fault.message.contains("likelihoods") =>
                {
                    // A server does not tell them.
                    let mut question = question.clone();
                    question.options.likelihoods = None;
                    return Box::pin(self.converse(&question, is_described)).await;
                }
                InferenceEvent::Failed { fault, .. } => {
                    let word = match fault.reason.as_str() {
                        "model_missing" | "model_damaged" | "engine" | "server" => reason::NO_MODEL,
                        word if word.starts_with("adapter_") => reason::ADAPTER_REFUSED,
                        _ => reason::NOT_UNDERSTOOD,
                    };
                    return Ok(Err(Fault::new(word, fault.message)));
                }
                // Pieces, and what nobody asked for.
                _ => {}
            }
        }
    }

    /// The socket outlives its workers: only a worker that describes itself is there.
    async fn find_worker(&self, stream: &mut Stream) -> Result<InferenceEvent, FrameError> {
        asynchronous::write(stream, &InferenceRequest::Describe).await?;
        match timeout(PRESENT, asynchronous::read(stream)).await {
            Ok(described) => described,
            Err(_) => Err(FrameError::Ended),
        }
    }

    async fn connect(&self) -> Result<Stream, FrameError> {
        let name = self.socket.as_path().to_fs_name::<GenericFilePath>()?;
        Ok(Stream::connect(name).await?)
    }
}

/// Sends a request, and reads on until what comes is the answer to it.
async fn answer_to<T>(
    stream: &mut Stream,
    request: &InferenceRequest,
    answer: impl Fn(InferenceEvent) -> Option<T>,
) -> Result<T, FrameError> {
    asynchronous::write(stream, request).await?;
    loop {
        if let Some(answer) = answer(asynchronous::read(stream).await?) {
            return Ok(answer);
        }
    }
}

fn adapter_fault(fault: InferenceFault) -> Fault {
    let word = match fault.reason.as_str() {
        "adapter_conflict" => reason::CONFLICT,
        "adapter_too_large" | "busy" => reason::TOO_LARGE,
        "bad_request" => reason::BAD_ARGUMENT,
        word if word.starts_with("adapter_") => reason::ADAPTER_REFUSED,
        _ => reason::NO_MODEL,
    };
    Fault::new(word, fault.message)
}

//! The door to the inference-worker. One connection a request: dropping it cancels.

use std::path::PathBuf;
use std::time::Duration;

use interprocess::local_socket::tokio::Stream;
use interprocess::local_socket::traits::tokio::Stream as _;
use interprocess::local_socket::{GenericFilePath, ToFsName};
use shared::bridge::Fault;
use shared::frame::{FrameError, asynchronous};
use shared::inference::{Figures, Finish, Generate, InferenceEvent, InferenceRequest};
use shared::reason;
use tokio::time::{Instant, sleep, timeout};

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

/// What the model wrote.
pub struct Generated {
    pub text: String,
    pub finish: Finish,
    pub tokens: u32,
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
        ] {
            asynchronous::write(&mut stream, &request).await?;
            match asynchronous::read(&mut stream).await? {
                InferenceEvent::Described(described) => {
                    told.model = described
                        .map(|model| {
                            format!(
                                "{} ({:.1} M parameters)",
                                model.name,
                                model.parameters as f64 / 1e6
                            )
                        })
                        .map_err(|fault| fault.message);
                }
                InferenceEvent::EmbedderDescribed(described) => {
                    told.embedder = described
                        .map(|embedder| format!("{} ({} numbers)", embedder.name, embedder.dimension))
                        .map_err(|fault| fault.message);
                }
                InferenceEvent::Figures(figures) => told.figures = Some(figures),
                // Nothing else was asked for.
                _ => return Err(FrameError::Ended),
            }
        }
        Ok(())
    }

    /// Generates, looking again for a worker that is gone until patience ends.
    pub async fn generate(&self, request: Generate) -> Result<Generated, Fault> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.try_generate(&request).await {
                Ok(result) => return result,
                Err(error) if Instant::now() >= deadline => {
                    return Err(Fault::new(
                        reason::NO_MODEL,
                        format!(
                            "no inference-worker answers at {}: {error}",
                            self.socket.display()
                        ),
                    ));
                }
                Err(_) => sleep(PAUSE).await,
            }
        }
    }

    async fn try_generate(&self, request: &Generate) -> Result<Result<Generated, Fault>, FrameError> {
        let mut stream = self.connect().await?;
        // The socket outlives its workers: only a worker that describes itself is there to generate.
        asynchronous::write(&mut stream, &InferenceRequest::Describe).await?;
        match timeout(PRESENT, asynchronous::read(&mut stream)).await {
            Ok(described) => {
                let _: InferenceEvent = described?;
            }
            Err(_) => return Err(FrameError::Ended),
        }
        asynchronous::write(&mut stream, &InferenceRequest::Generate(request.clone())).await?;
        loop {
            match asynchronous::read(&mut stream).await? {
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
                        }),
                    });
                }
                InferenceEvent::Failed { fault, .. } => {
                    let word = match fault.reason.as_str() {
                        "model_missing" | "model_damaged" | "engine" | "server" => reason::NO_MODEL,
                        _ => reason::NOT_UNDERSTOOD,
                    };
                    return Ok(Err(Fault::new(word, fault.message)));
                }
                // Pieces, and what nobody asked for.
                _ => {}
            }
        }
    }

    async fn connect(&self) -> Result<Stream, FrameError> {
        let name = self.socket.as_path().to_fs_name::<GenericFilePath>()?;
        Ok(Stream::connect(name).await?)
    }
}

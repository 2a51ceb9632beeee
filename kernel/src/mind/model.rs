//! The door to the inference-worker. One connection a request: dropping it cancels.

use std::path::PathBuf;
use std::time::Duration;

use interprocess::local_socket::tokio::Stream;
use interprocess::local_socket::traits::tokio::Stream as _;
use interprocess::local_socket::{GenericFilePath, ToFsName};
use shared::bridge::Fault;
use shared::frame::{FrameError, asynchronous};
use shared::inference::{Finish, Generate, InferenceEvent, InferenceRequest};
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

    /// The loaded model in words, or why there is none.
    pub async fn describe(&self) -> Result<String, String> {
        let ask = async {
            let mut stream = self.connect().await?;
            asynchronous::write(&mut stream, &InferenceRequest::Describe).await?;
            asynchronous::read::<InferenceEvent>(&mut stream).await
        };
        match timeout(DESCRIBE, ask).await {
            Ok(Ok(InferenceEvent::Described(Ok(model)))) => Ok(format!(
                "{} ({:.1} M parameters)",
                model.name,
                model.parameters as f64 / 1e6
            )),
            Ok(Ok(InferenceEvent::Described(Err(fault)))) => Err(fault.message),
            Ok(Ok(_)) => Err("the inference-worker gave an answer that was not asked for".into()),
            Ok(Err(error)) => Err(format!("no inference-worker answers: {error}")),
            Err(_) => Err("no inference-worker answers yet; the steward starts it (`batos status`)".into()),
        }
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
                        "model_missing" | "model_damaged" | "engine" => reason::NO_MODEL,
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

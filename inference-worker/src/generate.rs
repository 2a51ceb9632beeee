//! One generation from the command line: text to standard output as it comes, figures to standard error.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use anyhow::bail;
use clap::Args;
use shared::inference::{ChatMessage, Finish, Generate, InferenceEvent, Options};
use tokio::sync::mpsc;

use crate::adapter::folder;
use crate::engine::{Engine, Job};
use crate::run::ModelArguments;
use crate::server;

#[derive(Args)]
pub struct GenerateArguments {
    #[command(flatten)]
    model: ModelArguments,
    /// A PEFT folder or a safetensors file whose weights are added to the model's.
    #[arg(long)]
    adapter: Option<PathBuf>,
    /// With --adapter: its alpha, where the file does not tell it.
    #[arg(long, requires = "adapter")]
    alpha: Option<f64>,
    /// The text to continue; with --chat, what the user says.
    #[arg(long)]
    prompt: String,
    /// Write the prompt as a conversation, by the model's chat template.
    #[arg(long)]
    chat: bool,
    /// With --chat: what the model is told before.
    #[arg(long, requires = "chat")]
    system: Option<String>,
    /// Most tokens to write.
    #[arg(long, default_value_t = 256)]
    max_tokens: u32,
    /// 0 takes the likeliest token each time.
    #[arg(long, default_value_t = 0.0)]
    temperature: f32,
    /// Draw among the fewest tokens that hold so much of the probability.
    #[arg(long, default_value_t = 1.0)]
    top_p: f32,
    /// Draw among so many of the likeliest; 0 means all.
    #[arg(long, default_value_t = 0)]
    top_k: u32,
    /// Draw among those at least so likely, measured by the likeliest.
    #[arg(long, default_value_t = 0.0)]
    min_p: f32,
    /// Divide the logits of the last 64 tokens by this.
    #[arg(long, default_value_t = 1.0)]
    repetition_penalty: f32,
    /// The same seed draws the same text.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// End before this text; may be given several times.
    #[arg(long)]
    stop: Vec<String>,
    /// End after so many seconds.
    #[arg(long, default_value_t = 3600)]
    deadline_s: u64,
    /// Say to standard error how long it took.
    #[arg(long)]
    figures: bool,
}

/// Generates, and prints as it goes.
pub fn print(arguments: GenerateArguments) -> anyhow::Result<()> {
    let message = |role: &str, content: String| ChatMessage {
        role: role.into(),
        content,
    };
    let (messages, prompt) = if arguments.chat {
        let system = arguments.system.map(|content| message("system", content));
        let user = message("user", arguments.prompt);
        (system.into_iter().chain([user]).collect(), String::new())
    } else {
        (Vec::new(), arguments.prompt)
    };
    let request = Generate {
        request: 1,
        prompt,
        max_tokens: arguments.max_tokens,
        temperature: arguments.temperature,
        top_p: arguments.top_p,
        seed: arguments.seed,
        stop: arguments.stop,
        deadline_ms: arguments.deadline_s.saturating_mul(1_000),
    };
    let options = Options {
        top_k: arguments.top_k,
        min_p: arguments.min_p,
        repetition_penalty: arguments.repetition_penalty,
        ..Options::default()
    };
    server::check(&request, &options).map_err(anyhow::Error::msg)?;
    let adapter = match &arguments.adapter {
        Some(path) => Some(folder::adapter(path, arguments.alpha)?),
        None => None,
    };
    let begun = Instant::now();
    let engine = Engine::start(arguments.model.settings()?)?;
    let (events, mut queue) = mpsc::unbounded_channel();
    engine.submit(Job {
        request,
        options,
        messages,
        adapter,
        events,
        cancelled: Arc::new(AtomicBool::new(false)),
        arrived: begun,
    });
    let mut out = std::io::stdout().lock();
    let mut first_ms = None;
    while let Some(event) = queue.blocking_recv() {
        match event {
            InferenceEvent::Text { text, .. } => {
                first_ms.get_or_insert(begun.elapsed().as_millis());
                out.write_all(text.as_bytes())?;
                out.flush()?;
            }
            InferenceEvent::Done {
                finish,
                prompt_tokens,
                generated_tokens,
                elapsed_ms,
                ..
            } => {
                writeln!(out)?;
                if arguments.figures {
                    let first =
                        first_ms.map_or_else(|| "no text".into(), |ms| format!("first text after {ms} ms"));
                    eprintln!(
                        "{prompt_tokens} tokens of prompt, {generated_tokens} of text in {elapsed_ms} ms, loading included; {first}"
                    );
                }
                if finish == Finish::Deadline {
                    bail!("the deadline of {} s was reached", arguments.deadline_s);
                }
                return Ok(());
            }
            InferenceEvent::Failed { fault, .. } => bail!("{fault}"),
            _ => {}
        }
    }
    bail!("the decoding thread ended without an answer")
}

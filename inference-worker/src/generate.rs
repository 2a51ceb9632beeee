//! One generation from the command line: text to standard output as it comes, figures to standard error.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use anyhow::{Context, bail};
use clap::Args;
use shared::inference::{ChatMessage, Finish, Generate, Grammar, InferenceEvent, MethodGrammar, Options};
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
    #[command(flatten)]
    must_be: MustBe,
    /// Say to standard error how long it took.
    #[arg(long)]
    figures: bool,
}

/// What the text must be; without one of these it is what the model likes.
#[derive(Args)]
struct MustBe {
    /// Write one JSON document that the JSON schema in this file allows, and end.
    ///
    /// Such as {"type":"object","properties":{"plan":{"type":"array","items":{"type":"string"}}},"required":["plan"]}. $ref stays within
    /// the file.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["grammar", "python_method"])]
    json_schema: Option<PathBuf>,
    /// Write what the rule `start` of the grammar in this file gives: llguidance's variant of Lark.
    ///
    /// Such as `start: "yes" | "no" /, because [a-z ]+/`. Names of terminals are upper case, those of rules lower case.
    #[arg(long, value_name = "FILE", conflicts_with = "python_method")]
    grammar: Option<PathBuf>,
    /// Write one Python method of this name, as BAT OS lets it through; see --arguments, --slots, --refusal.
    #[arg(long, value_name = "SELECTOR")]
    python_method: Option<String>,
    /// With --python-method: how many arguments the message has, self not counted.
    #[arg(long, requires = "python_method", default_value_t = 0)]
    arguments: u32,
    /// With --python-method: the names that may follow `self.`, separated by commas.
    #[arg(
        long,
        requires = "python_method",
        value_delimiter = ',',
        value_name = "NAME,NAME"
    )]
    slots: Vec<String>,
    /// With --python-method: the token or text that a refusal begins with; without it the model may not refuse. The seed model's is
    /// `<|refuse|>`.
    #[arg(long, requires = "python_method", value_name = "TEXT")]
    refusal: Option<String>,
}

impl MustBe {
    fn grammar(self) -> anyhow::Result<Option<Grammar>> {
        let read = |path: &Path| {
            std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))
        };
        Ok(if let Some(path) = self.json_schema {
            Some(Grammar::JsonSchema(read(&path)?))
        } else if let Some(path) = self.grammar {
            Some(Grammar::Lark(read(&path)?))
        } else {
            self.python_method.map(|selector| {
                Grammar::Method(MethodGrammar {
                    selector,
                    arguments: self.arguments,
                    slots: self.slots,
                    refusal: self.refusal,
                })
            })
        })
    }
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
        grammar: arguments.must_be.grammar()?,
        constraint: None,
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

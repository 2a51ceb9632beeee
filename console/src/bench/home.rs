//! A temporary home with the real system in it.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value as Json;
use shared::bridge::{Answer, Call, Fault};
use shared::client::{CallError, Client};
use shared::home::Home;
use shared::id::ThoughtId;
use shared::object::ObjectImage;
use shared::reason;
use shared::value::Value;
use tempfile::TempDir;

use super::interruption::Interruption;
use super::quoted;
use super::task::Task;
use crate::arguments::{AdapterCommand, AdapterImport, RequestId};
use crate::failure::Failure;
use crate::{adapter, down, up};

const PROGRAM: &str = "batos bench";
const PATIENCE: Duration = Duration::from_secs(10);
/// For the inference-worker to load its model.
const LOADING: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(50);

/// What writes the methods. Without anything, the shipped seed model.
#[derive(Clone, Debug, Default)]
pub struct Engine {
    pub model: Option<PathBuf>,
    pub backend: Option<String>,
    pub backend_model: Option<String>,
    pub backend_kind: Option<String>,
    pub threads: Option<u32>,
}

/// Runs until it is dropped.
pub struct BenchHome {
    home: Home,
    client: Client,
    _interruption: Interruption,
    /// Holds the home as long as this lives.
    _folder: TempDir,
    /// The orchestrator's budget of tokens as it was last set.
    token_budget: Option<u64>,
    /// The codex as it was before any task.
    codex: Option<String>,
    /// Tasks whose covenants are in the image, with what they bind.
    covered: HashSet<String>,
    /// What is told of a task besides its message.
    pub telling: Telling,
}

/// What a wish on the receiver says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Telling {
    /// The intent, and the visible examples.
    All,
    Intent,
    /// There is no wish.
    Nothing,
}

/// What thoughts cost, as the stream of consciousness tells it.
pub struct Audit {
    tokens: HashMap<u64, u64>,
}

impl BenchHome {
    pub fn up(engine: &Engine) -> Result<BenchHome, Failure> {
        let folder = tempfile::Builder::new()
            .prefix("batos-bench-")
            .tempdir()
            .map_err(|error| Failure::internal(format!("no temporary folder: {error}")))?;
        let home = Home::resolve(Some(&folder.path().join("home")))
            .map_err(|error| Failure::internal(error.to_string()))?;
        let written = fs::create_dir_all(home.path())
            .and_then(|()| fs::write(home.configuration(), configuration(engine)));
        written.map_err(|error| Failure::internal(format!("no temporary home: {error}")))?;
        let interruption = Interruption::of(&home, folder.path())
            .map_err(|error| Failure::internal(format!("signals cannot be watched: {error}")))?;
        up::run(&home, true)?;
        let client = Client::connect(&home.kernel_socket(), PROGRAM, PATIENCE).map_err(|error| {
            // Nothing may go on in a folder that is about to be removed.
            let _ = down::run(&home);
            failure(error)
        })?;
        Ok(BenchHome {
            home,
            client,
            _interruption: interruption,
            _folder: folder,
            token_budget: None,
            codex: None,
            covered: HashSet::new(),
            telling: Telling::All,
        })
    }

    /// What thinks here, once it is loaded.
    pub fn model(&mut self) -> Result<String, Failure> {
        let begun = std::time::Instant::now();
        loop {
            let Answer::Status(status) = self.ask(Call::Status)? else {
                return Err(unexpected("status"));
            };
            match status.model {
                Ok(model) => return Ok(model),
                Err(_) if begun.elapsed() < LOADING => std::thread::sleep(PAUSE),
                Err(why) => {
                    return Err(Failure::refused(
                        reason::NO_MODEL,
                        format!("there is no model to measure: {why}"),
                    ));
                }
            }
        }
    }

    /// Every adapter of a folder, each under its own folder's name in capitals.
    pub fn import_adapters(&mut self, folder: &Path) -> Result<(), Failure> {
        let unread = |error| Failure::usage(format!("cannot read {}: {error}", folder.display()));
        let mut found: Vec<PathBuf> = fs::read_dir(folder)
            .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>())
            .map_err(unread)?;
        found.retain(|path| path.is_dir());
        found.sort();
        if found.is_empty() {
            return Err(Failure::usage(format!("no adapter lies in {}", folder.display())));
        }
        for from in found {
            let import = AdapterImport {
                from,
                name: None,
                replace: None,
                alpha: None,
                request: RequestId { id: None },
            };
            adapter::run(&self.home, AdapterCommand::Import(import), true)?;
        }
        Ok(())
    }

    /// A call whose fault is an answer, too.
    pub fn call(&mut self, call: Call) -> Result<Result<Answer, Fault>, Failure> {
        match self.client.call(call, None) {
            Ok(answer) => Ok(Ok(answer)),
            Err(CallError::Fault(fault)) => Ok(Err(fault)),
            Err(error) => Err(failure(error)),
        }
    }

    /// A call that must be answered.
    pub fn ask(&mut self, call: Call) -> Result<Answer, Failure> {
        self.client.call(call, None).map_err(failure)
    }

    pub fn inspect(&mut self, object: &str) -> Result<ObjectImage, Failure> {
        match self.ask(Call::Inspect {
            object: object.into(),
        })? {
            Answer::Object(view) => Ok(view.object),
            _ => Err(unexpected("inspect")),
        }
    }

    pub fn set(&mut self, object: &str, slot: &str, value: Value) -> Result<(), Failure> {
        self.ask(Call::Set {
            object: object.into(),
            slot: slot.into(),
            value,
        })
        .map(drop)
    }

    /// Whether the task's covenants are in the image.
    pub fn knows(&self, task: &str) -> bool {
        self.covered.contains(task)
    }

    /// Puts a task's covenants into the codex, once; what they bind is in the lobby already.
    pub fn cover(&mut self, task: &Task) -> Result<(), Failure> {
        if task.covenants.is_empty() || !self.covered.insert(task.id.clone()) {
            return Ok(());
        }
        let mut text = match &self.codex {
            Some(codex) => codex.clone(),
            None => match self.ask(Call::Codex)? {
                Answer::Codex { text } => self.codex.insert(text).clone(),
                _ => return Err(unexpected("codex")),
            },
        };
        for (number, covenant) in task.covenants.iter().enumerate() {
            text += &format!(
                "\n[[covenants]]\nname = {:?}\nbinds = [{:?}]\nschema = {:?}\n",
                format!("{} {}", task.id, number + 1),
                covenant.binds,
                covenant.schema
            );
        }
        self.ask(Call::CodexImport { text, dry_run: false }).map(drop)
    }

    /// What a mission may cost from now on.
    pub fn allow(&mut self, tokens: u64) -> Result<(), Failure> {
        if self.token_budget == Some(tokens) {
            return Ok(());
        }
        self.token_budget = Some(tokens);
        let tokens = Value::Int(i64::try_from(tokens).unwrap_or(i64::MAX));
        self.set("orchestrator", "token_budget", tokens)
    }

    /// The hash over all objects and entries.
    pub fn digest(&mut self) -> Result<String, Failure> {
        match self.ask(Call::Digest)? {
            Answer::Digested { digest } => Ok(digest),
            _ => Err(unexpected("digest")),
        }
    }

    /// How many faults the image has.
    pub fn verify(&mut self) -> Result<u64, Failure> {
        match self.ask(Call::Verify)? {
            Answer::Verified(found) => Ok(found.faults.len() as u64 + found.more_faults),
            _ => Err(unexpected("verify")),
        }
    }

    /// Stops the system, after which its audit is whole.
    pub fn down(self) -> Result<Audit, Failure> {
        down::run(&self.home)?;
        let mut tokens = HashMap::new();
        let files = fs::read_dir(self.home.audit()).into_iter().flatten().flatten();
        for file in files {
            let text = fs::read_to_string(file.path()).unwrap_or_default();
            for line in text.lines() {
                let event: Json = serde_json::from_str(line).unwrap_or_default();
                let cycle = event["cycle_id"].as_str().unwrap_or_default();
                let mission = cycle.split('.').next().and_then(|id| id.parse().ok());
                if let (Some(mission), Some(count)) = (mission, event["tokens"].as_u64()) {
                    *tokens.entry(mission).or_insert(0) += count;
                }
            }
        }
        Ok(Audit { tokens })
    }
}

impl Drop for BenchHome {
    fn drop(&mut self) {
        // After `down` nothing runs any more, and this only looks.
        let _ = down::run(&self.home);
    }
}

impl Audit {
    /// That the model wrote for these thoughts.
    pub fn tokens(&self, thoughts: &[ThoughtId]) -> u64 {
        thoughts
            .iter()
            .filter_map(|thought| self.tokens.get(&thought.0))
            .sum()
    }
}

/// The steward's configuration for an engine.
fn configuration(engine: &Engine) -> String {
    let mut text = "[inference]\n".to_owned();
    if let Some(model) = &engine.model {
        let path = std::path::absolute(model).unwrap_or_else(|_| model.clone());
        text += &format!("model = {}\n", quoted(&path));
    }
    if let Some(threads) = engine.threads {
        text += &format!("threads = {threads}\n");
    }
    if let Some(url) = &engine.backend {
        text += &format!("[inference.server]\nurl = {url:?}\n");
        for (key, value) in [("model", &engine.backend_model), ("kind", &engine.backend_kind)] {
            if let Some(value) = value {
                text += &format!("{key} = {value:?}\n");
            }
        }
    }
    text
}

pub fn failure(error: CallError) -> Failure {
    match error {
        CallError::Fault(fault) => Failure::from(fault),
        error => Failure::internal(format!("the bench lost its kernel: {error}")),
    }
}

pub fn unexpected(call: &str) -> Failure {
    Failure::internal(format!("the kernel answered {call} with something else"))
}

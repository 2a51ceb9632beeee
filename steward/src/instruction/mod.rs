//! An upgrade instruction as `docs/upgrade.md` draws it: bytes judged into [`Instruction`], or a refusal that says why.
//! [`kind`]: what can be replaced. [`keys`]: what a JSON object is asked for. [`strict`]: no key twice. Time, history and trust are judged by [`crate::channel`].

mod keys;
mod kind;
#[cfg(test)]
mod schema;
mod strict;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::health::Bounds;
use keys::Keys;
pub use kind::Kind;
use strict::{DUPLICATE, Strict};

/// Largest instruction.
pub const LARGEST_BYTES: usize = 65_536;
/// Most steps of one instruction.
const MOST_STEPS: usize = 16;
/// Most words of one command.
const MOST_WORDS: usize = 64;
/// Most names of modules.
const MOST_NAMES: usize = 256;
/// Bounds of every time in an instruction, milliseconds.
const MILLISECONDS: (u64, u64) = (50, 3_600_000);
const STAGE_LIMIT: Duration = Duration::from_secs(120);
const STEP_LIMIT: Duration = Duration::from_secs(600);

/// A well-formed instruction; one of form 1 has the defaults of form 2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instruction {
    pub id: String,
    pub sequence: Option<u64>,
    /// Seconds since 1970; `None` in form 1.
    pub created_unix: Option<u64>,
    pub expires_unix: Option<u64>,
    pub target: Target,
    /// Digest of the program that must run now.
    pub base: Option<Digest>,
    pub steps: Vec<Action>,
    pub limits: Limits,
    /// In which the new program must serve; `None` for what the configuration says.
    pub health_within: Option<Duration>,
    /// How long it is watched before it is chosen; `None` for what the configuration says.
    pub probation: Option<Duration>,
    /// How much worse than the old one it may be.
    pub bounds: Bounds,
    /// Former programs that are kept.
    pub keep: usize,
    /// Of an image format: what becomes of the image.
    pub image: Option<ImagePlan>,
    /// Whether a program that is known to be bad is tried all the same.
    pub is_again: bool,
}

/// What is to be replaced, and by what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub kind: Kind,
    /// Absolute.
    pub path: PathBuf,
    pub digest: Digest,
    /// Of an image format: its number.
    pub format: Option<u64>,
    /// Of a Python environment: `module.name` of what methods may use.
    pub allow: Vec<String>,
}

/// What an instruction for an image format says of the way back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImagePlan {
    /// Whether the image is put back when the new format fails.
    pub is_restored: bool,
    /// Where the backup goes that is made first.
    pub folder: PathBuf,
}

/// 64 lower-case hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Digest {
    Blake3(String),
    Sha256(String),
}

impl Digest {
    /// Without the algorithm's name.
    pub fn digits(&self) -> &str {
        match self {
            Digest::Blake3(digits) | Digest::Sha256(digits) => digits,
        }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Digest::Blake3(digits) => write!(f, "blake3:{digits}"),
            Digest::Sha256(digits) => write!(f, "sha256:{digits}"),
        }
    }
}

/// What is done before the switch. A closed set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// The kernel verifies its image.
    Verify,
    /// The kernel copies what is new into this folder.
    Backup(PathBuf),
    /// A program and its arguments; no shell.
    Command(Vec<String>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    pub stage: Duration,
    pub step: Duration,
    /// `None` for what the configuration says.
    pub drain: Option<Duration>,
}

/// Why an instruction is not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// The stable word of `docs/upgrade.md`.
    pub reason: &'static str,
    pub message: String,
    /// The instruction's id, when it could be read.
    pub id: Option<String>,
}

impl Refusal {
    pub fn new(reason: &'static str, message: impl Into<String>) -> Refusal {
        Refusal {
            reason,
            message: message.into(),
            id: None,
        }
    }
}

impl Instruction {
    /// Judges the form alone: not time, not history, not who wrote it.
    pub fn parse(bytes: &[u8]) -> Result<Instruction, Refusal> {
        if bytes.len() > LARGEST_BYTES {
            return Err(Refusal::new(
                "too_large",
                format!("the file is larger than {LARGEST_BYTES} bytes"),
            ));
        }
        let Strict(document) = serde_json::from_slice(bytes).map_err(|error| {
            let text = error.to_string();
            let reason = if text.starts_with(DUPLICATE) {
                "duplicate_key"
            } else {
                "malformed"
            };
            let whole = if error.is_eof() {
                "; is the file written to its end?"
            } else {
                ""
            };
            Refusal::new(reason, format!("{text}{whole}"))
        })?;
        let Value::Object(map) = document else {
            return Err(Refusal::new(
                "malformed",
                "the file holds JSON, but not an object",
            ));
        };
        let id = map
            .get("id")
            .and_then(Value::as_str)
            .filter(|id| is_id(id))
            .map(str::to_owned);
        Instruction::check(Keys::new("", map)).map_err(|refusal| Refusal { id, ..refusal })
    }

    fn check(mut keys: Keys) -> Result<Instruction, Refusal> {
        let form = match keys.required("schema", keys::whole)? {
            1 => Form::One,
            2 => Form::Two,
            other => {
                let message = format!("schema is {other}; this steward knows 1 and 2");
                return Err(Refusal::new("unsupported_schema", message));
            }
        };
        let id = keys.required("id", keys::text)?;
        if !is_id(&id) {
            return Err(keys::bad("id", "1 to 64 of the characters A-Z a-z 0-9 . _ -"));
        }
        let sequence = keys.optional("sequence", keys::whole)?;
        let expires_unix = keys.optional("expires", keys::whole)?;
        let target = Target::check(keys.required("target", Keys::of)?, form)?;
        let mut instruction = Instruction {
            id,
            sequence,
            created_unix: None,
            expires_unix,
            target,
            base: None,
            steps: Vec::new(),
            limits: Limits::default(),
            health_within: None,
            probation: None,
            bounds: Bounds::default(),
            keep: 1,
            image: None,
            is_again: false,
        };
        if form == Form::Two {
            instruction.created_unix = Some(keys.required("created", keys::whole)?);
            instruction.check_plan(&mut keys)?;
        }
        keys.nothing_left()?;
        match (instruction.created_unix, instruction.expires_unix) {
            (Some(created), Some(expires)) if expires <= created => {
                Err(keys::bad("expires", "larger than created"))
            }
            _ => Ok(instruction),
        }
    }

    /// What form 2 alone can say.
    fn check_plan(&mut self, keys: &mut Keys) -> Result<(), Refusal> {
        if let Some(mut base) = keys.optional("base", Keys::of)? {
            self.base = Some(base.required("digest", digest)?);
            base.nothing_left()?;
        }
        self.is_again = keys.optional("again", keys::truth)?.unwrap_or(false);
        let steps = keys.optional("steps", keys::list)?.unwrap_or_default();
        if steps.len() > MOST_STEPS {
            return Err(keys::bad("steps", &format!("at most {MOST_STEPS} steps")));
        }
        for (number, step) in steps.into_iter().enumerate() {
            self.steps
                .push(Action::check(Keys::of(&format!("steps[{number}]"), step)?)?);
        }
        if let Some(mut limits) = keys.optional("limits", Keys::of)? {
            let given = &mut self.limits;
            given.stage = limits.optional("stage_ms", milliseconds)?.unwrap_or(given.stage);
            given.step = limits.optional("step_ms", milliseconds)?.unwrap_or(given.step);
            given.drain = limits.optional("drain_ms", milliseconds)?;
            limits.nothing_left()?;
        }
        if let Some(mut health) = keys.optional("health", Keys::of)? {
            self.health_within = health.optional("within_ms", milliseconds)?;
            self.probation = health.optional("probation_ms", milliseconds)?;
            for (key, bound) in [
                ("degraded", &mut self.bounds.degraded),
                ("unhealthy", &mut self.bounds.unhealthy),
            ] {
                if let Some(mut given) = health.optional(key, Keys::of)? {
                    let errors =
                        given.optional("errors_permille", |key, value| keys::between(key, value, 0, 1000))?;
                    bound.errors_permille = errors.unwrap_or(bound.errors_permille);
                    bound.latency_percent = given
                        .optional("latency_percent", percent)?
                        .unwrap_or(bound.latency_percent);
                    bound.memory_percent = given
                        .optional("memory_percent", percent)?
                        .unwrap_or(bound.memory_percent);
                    given.nothing_left()?;
                }
            }
            health.nothing_left()?;
        }
        let is_format = self.target.kind == Kind::ImageFormat;
        let rollback = match is_format {
            true => Some(keys.required("rollback", Keys::of)?),
            false => keys.optional("rollback", Keys::of)?,
        };
        if let Some(mut rollback) = rollback {
            if is_format {
                self.image = Some(ImagePlan {
                    is_restored: rollback.required("image", way_back)?,
                    folder: rollback.required("folder", absolute)?,
                });
            }
            let keep = rollback.optional("keep", |key, value| keys::between(key, value, 1, 16))?;
            self.keep = keep.map_or(1, |keep| keep as usize);
            rollback.nothing_left()?;
        }
        Ok(())
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            stage: STAGE_LIMIT,
            step: STEP_LIMIT,
            drain: None,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    One,
    Two,
}

impl Target {
    fn check(mut keys: Keys, form: Form) -> Result<Target, Refusal> {
        let word = keys.required("kind", keys::text)?;
        let kind = Kind::of(&word).filter(|kind| form == Form::Two || *kind == Kind::Kernel);
        let Some(kind) = kind else {
            let known = Kind::ALL.map(Kind::word).join(", ");
            let message = format!("target.kind is {word:?}; this steward replaces {known} (form 1: kernel)");
            return Err(Refusal::new("unsupported_target", message));
        };
        let path = keys.required("path", absolute)?;
        let digest = match form {
            Form::Two => keys.required("digest", digest)?,
            Form::One => match (
                keys.optional("blake3", hexadecimal)?,
                keys.optional("sha256", hexadecimal)?,
            ) {
                (Some(digits), None) => Digest::Blake3(digits),
                (None, Some(digits)) => Digest::Sha256(digits),
                (None, None) => {
                    return Err(Refusal::new(
                        "missing_key",
                        "target.blake3 or target.sha256 is missing",
                    ));
                }
                (Some(_), Some(_)) => return Err(keys::bad("target", "of blake3 and sha256 exactly one")),
            },
        };
        let allow = match kind {
            Kind::Python => keys.required("allow", names)?,
            _ => Vec::new(),
        };
        let format = match kind {
            Kind::ImageFormat => {
                Some(keys.required("format", |key, value| keys::between(key, value, 1, 1_000_000))?)
            }
            _ => None,
        };
        keys.nothing_left()?;
        Ok(Target {
            format,
            kind,
            path,
            digest,
            allow,
        })
    }
}

impl Action {
    /// The word of `do`.
    pub fn word(&self) -> &'static str {
        match self {
            Action::Verify => "verify",
            Action::Backup(_) => "backup",
            Action::Command(_) => "command",
        }
    }

    fn check(mut keys: Keys) -> Result<Action, Refusal> {
        let word = keys.required("do", keys::text)?;
        let action = match word.as_str() {
            "verify" => Action::Verify,
            "backup" => Action::Backup(keys.required("folder", absolute)?),
            "command" => Action::Command(keys.required("argv", words)?),
            _ => return Err(keys::bad(&keys.path("do"), "verify, backup or command")),
        };
        keys.nothing_left()?;
        Ok(action)
    }
}

fn is_id(text: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=64).contains(&text.len()) && text.bytes().all(known)
}

fn absolute(key: &str, value: Value) -> Result<PathBuf, Refusal> {
    let text = keys::text(key, value)?;
    match text.starts_with('/') && !text.contains('\0') {
        true => Ok(PathBuf::from(text)),
        false => Err(keys::bad(key, "an absolute path")),
    }
}

fn words(key: &str, value: Value) -> Result<Vec<String>, Refusal> {
    let expected = "1 to 64 texts, of which the first is an absolute path";
    let list = keys::list(key, value)?;
    if list.is_empty() || list.len() > MOST_WORDS {
        return Err(keys::bad(key, expected));
    }
    let words: Vec<String> = list
        .into_iter()
        .map(|word| keys::text(key, word))
        .collect::<Result<_, _>>()?;
    match words[0].starts_with('/') && !words.iter().any(|word| word.contains('\0')) {
        true => Ok(words),
        false => Err(keys::bad(key, expected)),
    }
}

/// Names of modules, as methods write them.
fn names(key: &str, value: Value) -> Result<Vec<String>, Refusal> {
    let expected = "at most 256 texts such as math.sqrt, each of ASCII letters, digits and _";
    let list = keys::list(key, value)?;
    let names: Vec<String> = list
        .into_iter()
        .map(|name| keys::text(key, name))
        .collect::<Result<_, _>>()?;
    let is_name = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_alphabetic())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    let is_good = |name: &String| {
        name.len() <= 128
            && name
                .split_once('.')
                .is_some_and(|(module, name)| is_name(module) && is_name(name))
    };
    match names.len() <= MOST_NAMES && names.iter().all(is_good) {
        true => Ok(names),
        false => Err(keys::bad(key, expected)),
    }
}

fn digest(key: &str, value: Value) -> Result<Digest, Refusal> {
    let text = keys::text(key, value)?;
    let (kind, digits) = text.split_once(':').unwrap_or_default();
    match (kind, is_hexadecimal(digits)) {
        ("blake3", true) => Ok(Digest::Blake3(digits.to_ascii_lowercase())),
        ("sha256", true) => Ok(Digest::Sha256(digits.to_ascii_lowercase())),
        _ => Err(keys::bad(key, "blake3: or sha256: and 64 hexadecimal digits")),
    }
}

fn hexadecimal(key: &str, value: Value) -> Result<String, Refusal> {
    let digits = keys::text(key, value)?;
    match is_hexadecimal(&digits) {
        true => Ok(digits.to_ascii_lowercase()),
        false => Err(keys::bad(key, "64 hexadecimal digits")),
    }
}

fn is_hexadecimal(digits: &str) -> bool {
    digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Whether the image is put back.
fn way_back(key: &str, value: Value) -> Result<bool, Refusal> {
    match keys::text(key, value)?.as_str() {
        "backup" => Ok(true),
        "none" => Ok(false),
        _ => Err(keys::bad(
            key,
            "backup (the image is put back when the new format fails) or none (it is not)",
        )),
    }
}

/// Of what was before.
fn percent(key: &str, value: Value) -> Result<u64, Refusal> {
    keys::between(key, value, 100, 1_000_000)
}

fn milliseconds(key: &str, value: Value) -> Result<Duration, Refusal> {
    keys::between(key, value, MILLISECONDS.0, MILLISECONDS.1).map(Duration::from_millis)
}

#[cfg(test)]
mod tests;

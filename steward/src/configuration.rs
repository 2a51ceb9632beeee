//! `steward.toml`: read raw once, checked once into [`Configuration`]. Unknown keys fail.

mod raw;

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use minisign_verify::PublicKey;
use shared::home::Home;

use self::raw::Raw;
use crate::backoff::Intensity;
use crate::spawn::Limits;

/// What the file says, checked, with defaults filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct Configuration {
    pub kernel: Kernel,
    pub inference: Inference,
    pub channel: Channel,
    pub supervision: Supervision,
    pub handover: Handover,
    pub limits: PlankLimits,
}

/// Bounds of each process of a plank.
#[derive(Clone, Debug, PartialEq)]
pub struct PlankLimits {
    pub kernel: Limits,
    pub inference: Limits,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Kernel {
    /// 1 to 256.
    pub method_workers: u32,
    /// 1 to 3,600,000.
    pub method_deadline_ms: u64,
    /// 32 to 1,048,576.
    pub method_memory_mib: u64,
    /// Let a person's `define` install what the guard refused; for trials of the jail alone.
    pub install_refused: bool,
    /// What the audit tells of prompts and responses: `full`, `digest` or `none`.
    pub audit_prompts: String,
    /// Given to the kernel as `RUST_LOG`.
    pub log: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Inference {
    pub model: PathBuf,
    /// Of a model that is a blob of the image: the hash that names it, in hexadecimal.
    pub model_hash: Option<String>,
    /// True when `model` is the default, so that the shipped seed is staged there.
    pub is_seed: bool,
    /// A folder or a file; none when it was switched off. Whether it is there is the worker's to see.
    pub embedder: Option<PathBuf>,
    /// As `model_hash`, of the embedder.
    pub embedder_hash: Option<String>,
    /// 1 to 1024; the worker's own choice when absent.
    pub threads: Option<u32>,
    /// Each 1 to 1,048,576; the worker's own choice when absent.
    pub cache_mib: Option<u64>,
    pub adapters_warm_mib: Option<u64>,
    pub adapters_hot_mib: Option<u64>,
    /// Writes in the place of the model, or stands by for what that cannot do.
    pub server: Option<Server>,
}

/// A server that speaks OpenAI's protocol; the worker checks its URL and kind.
#[derive(Clone, Debug, PartialEq)]
pub struct Server {
    pub url: String,
    /// `always` or `needed`.
    pub when: String,
    pub model: Option<String>,
    pub kind: Option<String>,
    pub key_file: Option<PathBuf>,
    pub key_env: Option<String>,
    pub ca_file: Option<PathBuf>,
    pub connect_ms: Option<u32>,
    pub silence_ms: Option<u32>,
    /// 0 to 20.
    pub retries: Option<u32>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Channel {
    pub enabled: bool,
    /// Of which one must have signed an instruction; without any, no signature is needed.
    pub public_keys: Vec<PublicKey>,
    /// Whether an instruction may run commands.
    pub allow_commands: bool,
    /// Absolute folders of which one must contain a new program; empty means anywhere.
    pub allow_under: Vec<PathBuf>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Supervision {
    /// Ends in a row without having been ready that make a crash loop.
    pub crash_loop_after: u32,
    /// Pause between two attempts in a crash loop, and the largest pause before.
    pub crash_loop_pause: Duration,
    /// More ends than that in a while make one, too.
    pub intensity: Intensity,
    /// Between SIGTERM and SIGKILL.
    pub stop_deadline: Duration,
    /// In which a new kernel must answer.
    pub health_deadline: Duration,
    /// After which a plank that was ready and does not answer is killed; `None` is never.
    pub hang: Option<Duration>,
}

/// Limits of a handover between two kernels; `docs/handover.md`.
#[derive(Clone, Debug, PartialEq)]
pub struct Handover {
    /// For the old kernel to bring the index up to date, after a pack or a backup that runs.
    pub prepare: Duration,
    /// For the old kernel to finish what runs.
    pub finish: Duration,
    /// For the new kernel to take the image over.
    pub promote: Duration,
    /// How long the new kernel is watched before it is chosen.
    pub probation: Duration,
    /// For any single answer.
    pub answer: Duration,
}

#[derive(Debug, thiserror::Error)]
pub enum ConfigurationError {
    #[error("cannot read {path}: {source}")]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{path} is wrong: {message}")]
    Wrong { path: PathBuf, message: String },
}

impl Configuration {
    /// Reads the home's file; an absent file is the defaults.
    pub fn load(home: &Home) -> Result<Configuration, ConfigurationError> {
        let path = home.configuration();
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(source) => return Err(ConfigurationError::Unreadable { path, source }),
        };
        Configuration::parse(&text, home).map_err(|message| ConfigurationError::Wrong { path, message })
    }

    fn parse(text: &str, home: &Home) -> Result<Configuration, String> {
        let raw: Raw = toml::from_str(text).map_err(|error| error.to_string().trim().to_owned())?;
        raw.check(home)
    }
}

#[cfg(test)]
mod tests;

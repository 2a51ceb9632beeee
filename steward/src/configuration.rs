//! `steward.toml`: read raw once, checked once into [`Configuration`]. Unknown keys fail.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use shared::home::Home;

/// What the file says, checked, with defaults filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct Configuration {
    pub kernel: Kernel,
    pub inference: Inference,
    pub channel: Channel,
    pub supervision: Supervision,
    pub handover: Handover,
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
    /// 1 to 1024; the worker's own choice when absent.
    pub threads: Option<u32>,
    /// Each 1 to 1,048,576; the worker's own choice when absent.
    pub cache_mib: Option<u64>,
    pub adapters_warm_mib: Option<u64>,
    pub adapters_hot_mib: Option<u64>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Channel {
    pub enabled: bool,
    /// Absolute folders of which one must contain a new program; empty means anywhere.
    pub allow_under: Vec<PathBuf>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Supervision {
    /// Ends in a row without having been ready that make a crash loop.
    pub crash_loop_after: u32,
    /// Pause between two attempts in a crash loop, and the largest pause before.
    pub crash_loop_pause: Duration,
    /// Between SIGTERM and SIGKILL.
    pub stop_deadline: Duration,
    /// In which a new kernel must answer.
    pub health_deadline: Duration,
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
        let supervision = raw.supervision;
        let handover = raw.handover;
        Ok(Configuration {
            handover: Handover {
                prepare: milliseconds("handover.prepare_ms", handover.prepare_ms, 10_000)?,
                finish: milliseconds("handover.yield_ms", handover.yield_ms, 200)?,
                promote: milliseconds("handover.promote_ms", handover.promote_ms, 1000)?,
                probation: milliseconds("handover.probation_ms", handover.probation_ms, 2000)?,
                answer: milliseconds("handover.answer_ms", handover.answer_ms, 1000)?,
            },
            kernel: Kernel {
                method_workers: within("kernel.method_workers", raw.kernel.method_workers, 2, 1, 256)?,
                method_deadline_ms: within(
                    "kernel.method_deadline_ms",
                    raw.kernel.method_deadline_ms,
                    5000,
                    1,
                    3_600_000,
                )?,
                method_memory_mib: within(
                    "kernel.method_memory_mib",
                    raw.kernel.method_memory_mib,
                    256,
                    32,
                    1 << 20,
                )?,
                install_refused: raw.kernel.install_refused.unwrap_or(false),
                audit_prompts: one_of(
                    "kernel.audit_prompts",
                    raw.kernel.audit_prompts,
                    ["full", "digest", "none"],
                )?,
                log: raw.kernel.log,
            },
            inference: Inference {
                is_seed: raw.inference.model.is_none(),
                model_hash: blob_of(raw.inference.model.as_deref())?,
                model: match (blob_of(raw.inference.model.as_deref())?, raw.inference.model) {
                    (Some(hash), _) => home.image().join("blobs").join(&hash[..2]).join(hash),
                    (None, Some(model)) => home.path().join(model),
                    (None, None) => home.models().join("seed"),
                },
                threads: raw
                    .inference
                    .threads
                    .map(|threads| within("inference.threads", Some(threads), 1, 1, 1024))
                    .transpose()?,
                cache_mib: mib("inference.cache_mib", raw.inference.cache_mib)?,
                adapters_warm_mib: mib("inference.adapters_warm_mib", raw.inference.adapters_warm_mib)?,
                adapters_hot_mib: mib("inference.adapters_hot_mib", raw.inference.adapters_hot_mib)?,
            },
            channel: Channel {
                enabled: raw.channel.enabled.unwrap_or(true),
                allow_under: absolute("channel.allow_under", raw.channel.allow_under)?,
            },
            supervision: Supervision {
                crash_loop_after: within(
                    "supervision.crash_loop_after",
                    supervision.crash_loop_after,
                    10,
                    1,
                    1000,
                )?,
                crash_loop_pause: milliseconds(
                    "supervision.crash_loop_pause_ms",
                    supervision.crash_loop_pause_ms,
                    10_000,
                )?,
                stop_deadline: milliseconds(
                    "supervision.stop_deadline_ms",
                    supervision.stop_deadline_ms,
                    10_000,
                )?,
                health_deadline: milliseconds(
                    "supervision.health_deadline_ms",
                    supervision.health_deadline_ms,
                    15_000,
                )?,
            },
        })
    }
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Raw {
    kernel: RawKernel,
    inference: RawInference,
    channel: RawChannel,
    supervision: RawSupervision,
    handover: RawHandover,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawKernel {
    method_workers: Option<i64>,
    method_deadline_ms: Option<i64>,
    method_memory_mib: Option<i64>,
    install_refused: Option<bool>,
    audit_prompts: Option<String>,
    log: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawInference {
    model: Option<PathBuf>,
    threads: Option<i64>,
    cache_mib: Option<i64>,
    adapters_warm_mib: Option<i64>,
    adapters_hot_mib: Option<i64>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawChannel {
    enabled: Option<bool>,
    allow_under: Vec<PathBuf>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawSupervision {
    crash_loop_after: Option<i64>,
    crash_loop_pause_ms: Option<i64>,
    stop_deadline_ms: Option<i64>,
    health_deadline_ms: Option<i64>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawHandover {
    prepare_ms: Option<i64>,
    yield_ms: Option<i64>,
    promote_ms: Option<i64>,
    probation_ms: Option<i64>,
    answer_ms: Option<i64>,
}

/// The hash behind `blob:`, where the model is one of the image.
fn blob_of(model: Option<&Path>) -> Result<Option<String>, String> {
    let Some(hash) = model
        .and_then(Path::to_str)
        .and_then(|text| text.strip_prefix("blob:"))
    else {
        return Ok(None);
    };
    let is_hash = hash.len() == 64 && hash.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    match is_hash {
        true => Ok(Some(hash.to_owned())),
        false => Err(format!(
            "inference.model is \"blob:{hash}\"; 64 hexadecimal digits stand behind \"blob:\", as `batos blob put` prints them"
        )),
    }
}

/// The first word is the default.
fn one_of<const N: usize>(key: &str, given: Option<String>, words: [&str; N]) -> Result<String, String> {
    match given {
        None => Ok(words[0].to_owned()),
        Some(word) if words.contains(&word.as_str()) => Ok(word),
        Some(word) => Err(format!(
            "{key} is {word:?} and must be one of {}",
            words.join(", ")
        )),
    }
}

fn mib(key: &str, given: Option<i64>) -> Result<Option<u64>, String> {
    given
        .map(|given| within(key, Some(given), 1, 1, 1 << 20))
        .transpose()
}

fn within<T: TryFrom<i64>>(
    key: &str,
    given: Option<i64>,
    default: i64,
    low: i64,
    high: i64,
) -> Result<T, String> {
    let value = given.unwrap_or(default);
    match T::try_from(value) {
        Ok(checked) if (low..=high).contains(&value) => Ok(checked),
        _ => Err(format!("{key} is {value}; it must lie between {low} and {high}")),
    }
}

fn milliseconds(key: &str, given: Option<i64>, default: i64) -> Result<Duration, String> {
    within(key, given, default, 50, 3_600_000).map(Duration::from_millis)
}

fn absolute(key: &str, paths: Vec<PathBuf>) -> Result<Vec<PathBuf>, String> {
    match paths.iter().find(|path| !path.is_absolute()) {
        Some(path) => Err(format!(
            "{key} holds {}, which is not an absolute path",
            display(path)
        )),
        None => Ok(paths),
    }
}

fn display(path: &Path) -> String {
    format!("{:?}", path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Configuration, String> {
        Configuration::parse(text, &Home::resolve(Some(Path::new("/h"))).unwrap())
    }

    #[test]
    fn nothing_is_the_defaults() {
        let defaults = parse("").unwrap();
        assert_eq!(defaults.kernel.method_workers, 2);
        assert_eq!(defaults.inference.model, Path::new("/h/models/seed"));
        assert!(defaults.channel.enabled && !defaults.kernel.install_refused);
        assert_eq!(defaults.supervision.stop_deadline, Duration::from_secs(10));
    }

    #[test]
    fn what_is_said_counts() {
        let said = parse(
            "[kernel]\nmethod_workers = 7\ninstall_refused = true\nlog = \"debug\"\n\
             [inference]\nmodel = \"models/other\"\nthreads = 3\n[channel]\nenabled = false\nallow_under = [\"/opt\"]\n",
        )
        .unwrap();
        assert_eq!(said.kernel.method_workers, 7);
        assert!(said.kernel.install_refused && !said.channel.enabled && !said.inference.is_seed);
        assert_eq!(said.inference.model, Path::new("/h/models/other"));
        assert_eq!(said.inference.threads, Some(3));
        let hash = "ab".repeat(32);
        let blob = parse(&format!(
            "[inference]\nmodel = \"blob:{hash}\"\nadapters_hot_mib = 9\n"
        ))
        .unwrap();
        assert_eq!(blob.inference.model, Path::new("/h/image/blobs/ab").join(&hash));
        assert_eq!(
            (blob.inference.model_hash, blob.inference.adapters_hot_mib),
            (Some(hash), Some(9))
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, word) in [
            ("[kernel]\nmethod_wrokers = 2", "method_wrokers"),
            ("[kernal]\n", "kernal"),
            ("[inference]\nmodel = \"blob:12\"", "inference.model"),
            (
                "[inference]\nadapters_warm_mib = 0",
                "inference.adapters_warm_mib",
            ),
            ("[kernel]\nmethod_workers = 0", "kernel.method_workers"),
            ("[kernel]\nmethod_workers = -1", "kernel.method_workers"),
            ("[kernel]\nmethod_workers = \"2\"", "method_workers"),
            (
                "[kernel]\nmethod_memory_mib = 9999999999",
                "kernel.method_memory_mib",
            ),
            ("[inference]\nthreads = 0", "inference.threads"),
            ("[channel]\nallow_under = [\"relative\"]", "channel.allow_under"),
            (
                "[supervision]\nstop_deadline_ms = 1",
                "supervision.stop_deadline_ms",
            ),
            ("[kernel]\nmethod_workers = 2\nmethod_workers = 3", "duplicate"),
            ("kernel", "expected"),
        ] {
            let message = parse(text).unwrap_err();
            assert!(message.contains(word), "{text}: {message}");
        }
    }
}

//! What `steward.toml` says, as it stands there, and the checks on it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use minisign_verify::PublicKey;
use serde::Deserialize;
use shared::home::Home;

use super::{Channel, Configuration, Handover, Inference, Kernel, PlankLimits, Server, Supervision};
use crate::backoff::Intensity;
use crate::cgroup;
use crate::spawn::Limits;

/// Where `./scripts/embedding-model` puts the encoder, in the home's models.
const EMBEDDER: &str = "all-minilm-l6-v2";
/// Of servers.
const KINDS: [&str; 4] = ["openai", "llama.cpp", "vllm", "ollama"];
/// Before the hash of a content of the image.
const BLOB: &str = "blob:";

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Raw {
    kernel: RawKernel,
    inference: RawInference,
    channel: RawChannel,
    supervision: RawSupervision,
    handover: RawHandover,
    limits: RawPlankLimits,
}

impl Raw {
    /// The checked form, with defaults for what the file leaves out.
    pub fn check(self, home: &Home) -> Result<Configuration, String> {
        let raw = self;
        let supervision = raw.supervision;
        let handover = raw.handover;
        let (model, model_hash) = match raw.inference.model.as_deref() {
            Some(model) => place(home, "inference.model", model)?,
            None => (home.models().join("seed"), None),
        };
        let (embedder, embedder_hash) = match raw.inference.embedder.as_deref() {
            Some("none") => (None, None),
            Some(embedder) => {
                let (embedder, hash) = place(home, "inference.embedder", embedder)?;
                (Some(embedder), hash)
            }
            None => (Some(home.models().join(EMBEDDER)), None),
        };
        Ok(Configuration {
            limits: PlankLimits {
                kernel: limits("limits.kernel", &raw.limits.kernel)?,
                inference: limits("limits.inference-worker", &raw.limits.inference_worker)?,
            },
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
                is_seed: raw.inference.model.is_none()
                    && raw.inference.server.as_ref().is_none_or(RawServer::stands_by),
                model_hash,
                model,
                embedder,
                embedder_hash,
                threads: raw
                    .inference
                    .threads
                    .map(|threads| within("inference.threads", Some(threads), 1, 1, 1024))
                    .transpose()?,
                cache_mib: mib("inference.cache_mib", raw.inference.cache_mib)?,
                adapters_warm_mib: mib("inference.adapters_warm_mib", raw.inference.adapters_warm_mib)?,
                adapters_hot_mib: mib("inference.adapters_hot_mib", raw.inference.adapters_hot_mib)?,
                server: raw
                    .inference
                    .server
                    .map(|server| server.check(home))
                    .transpose()?,
            },
            channel: Channel {
                enabled: raw.channel.enabled.unwrap_or(true),
                allow_under: absolute("channel.allow_under", raw.channel.allow_under)?,
                public_keys: keys("channel.public_keys", &raw.channel.public_keys)?,
                allow_commands: raw.channel.allow_commands.unwrap_or(false),
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
                intensity: Intensity {
                    ends: within(
                        "supervision.restart_intensity",
                        supervision.restart_intensity,
                        60,
                        1,
                        1_000_000,
                    )?,
                    window: milliseconds(
                        "supervision.restart_window_ms",
                        supervision.restart_window_ms,
                        60_000,
                    )?,
                },
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
                hang: match supervision.hang_ms {
                    Some(0) => None,
                    given => Some(milliseconds("supervision.hang_ms", given, 30_000)?),
                },
            },
        })
    }
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
struct RawPlankLimits {
    kernel: RawLimits,
    inference_worker: RawLimits,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawLimits {
    memory_mib: Option<i64>,
    open_files: Option<i64>,
    nice: Option<i64>,
    group_memory_mib: Option<i64>,
    group_cpu_percent: Option<i64>,
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
    model: Option<String>,
    embedder: Option<String>,
    threads: Option<i64>,
    cache_mib: Option<i64>,
    adapters_warm_mib: Option<i64>,
    adapters_hot_mib: Option<i64>,
    server: Option<RawServer>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawServer {
    url: String,
    when: Option<String>,
    model: Option<String>,
    kind: Option<String>,
    key_file: Option<PathBuf>,
    key_env: Option<String>,
    ca_file: Option<PathBuf>,
    connect_ms: Option<i64>,
    silence_ms: Option<i64>,
    retries: Option<i64>,
}

impl RawServer {
    /// Whether a model writes, and this what the model cannot do.
    fn stands_by(&self) -> bool {
        self.when.as_deref() == Some("needed")
    }

    fn check(self, home: &Home) -> Result<Server, String> {
        // Here rather than in the worker: a key in a URL would stand among its arguments.
        if self.url.contains('@') || self.url.contains('?') {
            return Err(
                "inference.server.url holds a user or a query; give a key by key_file or key_env".into(),
            );
        }
        if !["http://", "https://"]
            .iter()
            .any(|scheme| self.url.starts_with(scheme))
        {
            return Err(format!(
                "inference.server.url is {:?}; it begins with http:// or https://",
                self.url
            ));
        }
        if let Some(kind) = self.kind.as_deref().filter(|kind| !KINDS.contains(kind)) {
            return Err(format!(
                "inference.server.kind is {kind:?}; there are {}",
                KINDS.join(", ")
            ));
        }
        if self.key_file.is_some() && self.key_env.is_some() {
            return Err("inference.server has both key_file and key_env; one is enough".into());
        }
        let number = |key: &str, value: Option<i64>, least, most| {
            value
                .map(|value| {
                    within(
                        &format!("inference.server.{key}"),
                        Some(value),
                        least,
                        least,
                        most,
                    )
                })
                .transpose()
        };
        Ok(Server {
            url: self.url,
            when: one_of("inference.server.when", self.when, ["always", "needed"])?,
            model: self.model,
            kind: self.kind,
            key_file: self.key_file.map(|path| home.path().join(path)),
            key_env: self.key_env,
            ca_file: self.ca_file.map(|path| home.path().join(path)),
            connect_ms: number("connect_ms", self.connect_ms, 1, 600_000)?,
            silence_ms: number("silence_ms", self.silence_ms, 1, 3_600_000)?,
            retries: number("retries", self.retries, 0, 20)?,
        })
    }
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawChannel {
    enabled: Option<bool>,
    allow_under: Vec<PathBuf>,
    public_keys: Vec<String>,
    allow_commands: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawSupervision {
    crash_loop_after: Option<i64>,
    crash_loop_pause_ms: Option<i64>,
    restart_intensity: Option<i64>,
    restart_window_ms: Option<i64>,
    stop_deadline_ms: Option<i64>,
    health_deadline_ms: Option<i64>,
    hang_ms: Option<i64>,
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

/// A path, relative to the home, or `blob:` and the hash that names a content of the image, which is told beside its path.
fn place(home: &Home, key: &str, said: &str) -> Result<(PathBuf, Option<String>), String> {
    let Some(hash) = said.strip_prefix(BLOB) else {
        return Ok((home.path().join(said), None));
    };
    let path = home.blob(hash).ok_or_else(|| {
        format!("{key} is {said:?}; after {BLOB} come 64 hexadecimal digits in lower case, as `batos blob put` prints them")
    })?;
    Ok((path, Some(hash.to_owned())))
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

fn limits(table: &str, raw: &RawLimits) -> Result<Limits, String> {
    let bounded = |key: &str, given: Option<i64>, low, high| {
        given
            .map(|value| within(&format!("{table}.{key}"), Some(value), low, low, high))
            .transpose()
    };
    let memory_mib: Option<u64> = bounded("memory_mib", raw.memory_mib, 64, 1 << 24)?;
    let nice: Option<u64> = bounded("nice", raw.nice, 0, 19)?;
    let group_memory_mib: Option<u64> = bounded("group_memory_mib", raw.group_memory_mib, 64, 1 << 24)?;
    Ok(Limits {
        memory_bytes: memory_mib.map(|mib| mib << 20),
        open_files: bounded("open_files", raw.open_files, 64, 1 << 20)?,
        nice: nice.map(|nice| nice as i32),
        group: cgroup::Bounds {
            memory_bytes: group_memory_mib.map(|mib| mib << 20),
            cpu_percent: bounded("group_cpu_percent", raw.group_cpu_percent, 1, 100_000)?,
        },
    })
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

fn keys(key: &str, texts: &[String]) -> Result<Vec<PublicKey>, String> {
    let read = |text: &String| {
        PublicKey::from_base64(text.trim()).map_err(|error| {
            format!(
                "{key} holds {text:?}, which is no minisign public key ({error}); it is the second line of the file that \
                 `minisign -G` wrote, 56 characters"
            )
        })
    };
    texts.iter().map(read).collect()
}

fn display(path: &Path) -> String {
    format!("{:?}", path.display().to_string())
}

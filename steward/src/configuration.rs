//! `steward.toml`: read raw once, checked once into [`Configuration`]. Unknown keys fail.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use minisign_verify::PublicKey;
use serde::Deserialize;
use shared::home::Home;

use crate::backoff::Intensity;
use crate::cgroup;
use crate::spawn::Limits;

/// Where `./scripts/embedding-model` puts the encoder, in the home's models.
const EMBEDDER: &str = "all-minilm-l6-v2";
/// Of servers.
const KINDS: [&str; 4] = ["openai", "llama.cpp", "vllm", "ollama"];
/// Before the hash of a content of the image.
const BLOB: &str = "blob:";

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
#[serde(deny_unknown_fields, default)]
struct Raw {
    kernel: RawKernel,
    inference: RawInference,
    channel: RawChannel,
    supervision: RawSupervision,
    handover: RawHandover,
    limits: RawPlankLimits,
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

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawHandover {
    prepare_ms: Option<i64>,
    yield_ms: Option<i64>,
    promote_ms: Option<i64>,
    probation_ms: Option<i64>,
    answer_ms: Option<i64>,
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
        assert_eq!(
            defaults.inference.embedder.as_deref(),
            Some(Path::new("/h/models/all-minilm-l6-v2"))
        );
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
        let grouped = parse("[limits.kernel]\ngroup_memory_mib = 512\ngroup_cpu_percent = 150\n").unwrap();
        assert_eq!(
            (
                grouped.limits.kernel.group.memory_bytes,
                grouped.limits.kernel.group.cpu_percent
            ),
            (Some(512 << 20), Some(150))
        );
        let limited = parse("[limits.inference-worker]\nmemory_mib = 64\nnice = 19\n").unwrap();
        assert_eq!(limited.limits.kernel, Limits::default());
        assert_eq!(limited.limits.inference.memory_bytes, Some(64 << 20));
        assert_eq!(limited.limits.inference.nice, Some(19));
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
    fn models_are_paths_or_contents_of_the_image() {
        let digest = "ab".repeat(32);
        let said = parse(&format!(
            "[inference]\nmodel = \"/m\"\nembedder = \"blob:{digest}\""
        ))
        .unwrap();
        assert_eq!(said.inference.model, Path::new("/m"));
        let wanted = format!("/h/image/blobs/ab/{digest}");
        assert_eq!(said.inference.embedder, Some(PathBuf::from(wanted)));
        assert_eq!(said.inference.embedder_hash, Some(digest));
        let none = parse("[inference]\nembedder = \"none\"").unwrap();
        assert_eq!(none.inference.embedder, None);
    }

    #[test]
    fn a_server_stands_in_for_the_model() {
        let said = parse(
            "[inference.server]\nurl = \"http://x/v1\"\nkind = \"vllm\"\nkey_file = \"k\"\nretries = 0\nsilence_ms = 9",
        );
        let server = said.unwrap().inference.server.unwrap();
        assert_eq!(
            (server.url.as_str(), server.kind.as_deref()),
            ("http://x/v1", Some("vllm"))
        );
        assert_eq!(server.key_file.as_deref(), Some(Path::new("/h/k")));
        assert_eq!(server.when, "always");
        assert_eq!(
            (server.retries, server.silence_ms, server.connect_ms),
            (Some(0), Some(9), None)
        );
        let secret = parse("[inference.server]\nurl = \"http://me:secret@x/v1\"").unwrap_err();
        assert!(!secret.contains("secret"), "{secret}");
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
            ("[inference.server]\nmodel = \"x\"", "url"),
            (
                "[inference.server]\nurl = \"http://x\"\nwhen = \"often\"",
                "inference.server.when",
            ),
            ("[inference.server]\nurl = \"localhost\"", "inference.server.url"),
            (
                "[inference.server]\nurl = \"http://x\"\nkind = \"gpt\"",
                "inference.server.kind",
            ),
            (
                "[inference.server]\nurl = \"http://x\"\nretries = 99",
                "inference.server.retries",
            ),
            ("[inference.server]\nurl = \"http://x\"\nkey = \"k\"", "key"),
            (
                "[inference.server]\nurl = \"http://x\"\nkey_env = \"K\"\nkey_file = \"k\"",
                "both",
            ),
            ("[inference]\nmodel = \"blob:ABC\"", "inference.model"),
            ("[inference]\nembedder = \"blob:../../x\"", "inference.embedder"),
            ("[limits.kernel]\nnice = 20", "limits.kernel.nice"),
            (
                "[limits.inference-worker]\nmemory_mib = 1",
                "limits.inference-worker.memory_mib",
            ),
            (
                "[limits.kernel]\ngroup_cpu_percent = 0",
                "limits.kernel.group_cpu_percent",
            ),
            ("[limits.console]\nnice = 1", "console"),
            (
                "[supervision]\nrestart_intensity = 0",
                "supervision.restart_intensity",
            ),
            ("[channel]\nallow_under = [\"relative\"]", "channel.allow_under"),
            (
                "[supervision]\nstop_deadline_ms = 1",
                "supervision.stop_deadline_ms",
            ),
            ("[kernel]\nmethod_workers = 2\nmethod_workers = 3", "duplicate"),
            ("[channel]\npublic_keys = [\"abc\"]", "channel.public_keys"),
            ("kernel", "expected"),
        ] {
            let message = parse(text).unwrap_err();
            assert!(message.contains(word), "{text}: {message}");
        }
    }
}

//! The planks together: order of start and stop, and the record by which a later steward finds them.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use shared::control::PlankStatus;
use shared::handover::ToKernel;
use shared::home::Home;
use tracing::warn;

use crate::backoff::Backoff;
use crate::cgroup::Groups;
use crate::chosen::{Chosen, configured_model};
use crate::configuration::Configuration;
use crate::event::Event;
use crate::exchange::Orders;
use crate::instruction::Kind;
use crate::listener::Listener;
use crate::plank::Plank;
use crate::process::Identity;
use crate::spawn::{LISTEN_DESCRIPTOR, Launch, Limits};
use crate::succession;

pub const KERNEL: &str = "kernel";
pub const INFERENCE: &str = "inference-worker";

/// Arguments of a kernel, each with a value, that an upgrade changes in a running one.
pub const METHOD_WORKER: &str = "--method-worker";
pub const PACKAGES: &str = "--packages";
pub const ALLOW: &str = "--allow";

/// Kernel and inference-worker.
pub struct Supervisor {
    pub kernel: Plank,
    pub inference: Plank,
    home: Home,
    configuration: Configuration,
    /// What the next starts are of.
    chosen: Chosen,
    is_stopping: bool,
    record: PathBuf,
    /// What the record holds now.
    recorded: Vec<RecordedPlank>,
}

/// One line of `run/planks.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedPlank {
    pub name: String,
    #[serde(flatten)]
    pub identity: Identity,
    /// Empty in the record of an earlier release.
    #[serde(default)]
    pub nonce: String,
}

impl Supervisor {
    /// Knows how to start everything, starts nothing.
    pub fn new(
        home: &Home,
        configuration: &Configuration,
        chosen: Chosen,
        listeners: (&Listener, &Listener),
        events: &Sender<Event>,
    ) -> io::Result<Supervisor> {
        let mut groups = None;
        let mut remarks = Vec::new();
        let mut group = |name: &'static str, limits: &Limits| {
            if limits.group.is_none() {
                return None;
            }
            let groups = groups.get_or_insert_with(Groups::prepare);
            let made = groups
                .as_ref()
                .map_err(String::clone)
                .and_then(|groups| groups.make(name, &limits.group));
            made.inspect_err(|why| {
                let remark = format!("its group_memory_mib and group_cpu_percent bound nothing: {why}");
                warn!(plank = name, "{remark}");
                remarks.push((name, remark));
            })
            .ok()
        };
        let kernel = Launch {
            program: chosen.kernel.clone(),
            arguments: kernel_arguments(home, configuration, &chosen),
            environment: kernel_environment(configuration),
            listener: listeners.0.socket.try_clone()?,
            log: home.logs().join("kernel.log"),
            events: Some(events.clone()),
            group: group(KERNEL, &configuration.limits.kernel),
            limits: configuration.limits.kernel.clone(),
        };
        let inference = Launch {
            program: chosen.inference.clone(),
            arguments: inference_arguments(home, configuration, &chosen),
            environment: Vec::new(),
            listener: listeners.1.socket.try_clone()?,
            log: home.logs().join("inference-worker.log"),
            events: None,
            group: group(INFERENCE, &configuration.limits.inference),
            limits: configuration.limits.inference.clone(),
        };
        let supervision = &configuration.supervision;
        let plank = |name, launch| {
            let backoff = Backoff::new(
                supervision.crash_loop_after,
                supervision.crash_loop_pause,
                supervision.intensity,
            );
            Plank::new(name, launch, backoff, supervision.stop_deadline, supervision.hang)
        };
        let (mut kernel, mut inference) = (plank(KERNEL, kernel), plank(INFERENCE, inference));
        for (name, remark) in remarks {
            match name {
                KERNEL => kernel.remark(remark),
                _ => inference.remark(remark),
            }
        }
        Ok(Supervisor {
            kernel,
            inference,
            home: home.clone(),
            configuration: configuration.clone(),
            chosen,
            is_stopping: false,
            record: record_path(home),
            recorded: Vec::new(),
        })
    }

    /// Starts the inference-worker, then the kernel, waiting for neither.
    pub fn start(&mut self, now: Instant) {
        self.inference.start(now);
        self.kernel.start(now);
        self.write_record();
    }

    /// Begins the ordered stop: the inference-worker is asked once the kernel is down.
    pub fn stop(&mut self, now: Instant) {
        self.is_stopping = true;
        self.kernel.stop(now);
        self.continue_stop(now);
    }

    pub fn is_stopped(&self) -> bool {
        self.is_stopping && self.kernel.is_down() && self.inference.is_down()
    }

    /// Takes notice of what ended.
    pub fn reap(&mut self, now: Instant) {
        self.kernel.reap(now);
        self.inference.reap(now);
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Instant) {
        if self.is_stopping {
            self.continue_stop(now);
        }
        self.kernel.tick(now);
        self.inference.tick(now);
        self.write_record();
    }

    /// Whether kernel and inference-worker are to be asked now whether they still answer.
    pub fn ask(&mut self, now: Instant) -> (bool, bool) {
        (self.kernel.ask(now), self.inference.ask(now))
    }

    /// An upgrade has limits of its own, and lets planks be silent.
    pub fn allow_silence(&mut self, now: Instant) {
        self.kernel.allow_silence(now);
        self.inference.allow_silence(now);
    }

    pub fn due(&self) -> Option<Instant> {
        [self.kernel.due(), self.inference.due()]
            .into_iter()
            .flatten()
            .min()
    }

    pub fn chosen(&self) -> &Chosen {
        &self.chosen
    }

    /// Another plank was chosen: later starts are of it.
    pub fn choose(&mut self, kind: Kind, path: &Path) {
        self.chosen = self.chosen.with(kind, path);
        let kernel = kernel_arguments(&self.home, &self.configuration, &self.chosen);
        self.kernel.set_arguments(kernel);
    }

    /// Tells a kernel of an earlier steward which method-workers are chosen, which its arguments may not say.
    pub fn tell_method_workers(&self) {
        let program = self.chosen.method_worker.display().to_string();
        let environment = self
            .chosen
            .python
            .as_ref()
            .map(|(_, environment)| environment.clone());
        self.kernel.say(&ToKernel::Workers { program, environment });
    }

    /// What a choice of that kind stands in the place of in the configuration.
    pub fn configured(&self, kind: Kind) -> Option<String> {
        match kind {
            Kind::Model => configured_model(&self.configuration),
            Kind::Steward => succession::installed(),
            _ => None,
        }
    }

    /// How an inference-worker of another program or model is started.
    pub fn inference_orders(&self, kind: Kind, path: &Path) -> Orders {
        let chosen = self.chosen.with(kind, path);
        Orders {
            arguments: inference_arguments(&self.home, &self.configuration, &chosen),
            program: chosen.inference,
        }
    }

    pub fn status(&self) -> Vec<PlankStatus> {
        vec![self.kernel.status(), self.inference.status()]
    }

    fn continue_stop(&mut self, now: Instant) {
        if self.kernel.is_down() {
            self.inference.stop(now);
        }
    }

    /// Keeps the record true. It is for a later steward on this boot, so it need not outlive a power cut.
    fn write_record(&mut self) {
        let running: Vec<_> = [&self.kernel, &self.inference]
            .into_iter()
            .filter_map(|plank| Some((plank.name, plank.pid()?)))
            .collect();
        let is_known = running.len() == self.recorded.len()
            && running
                .iter()
                .zip(&self.recorded)
                .all(|((name, pid), known)| *name == known.name && *pid == known.identity.pid);
        if is_known {
            return;
        }
        self.recorded = [&self.kernel, &self.inference]
            .into_iter()
            .filter_map(|plank| {
                Some(RecordedPlank {
                    name: plank.name.to_owned(),
                    identity: plank.identity()?,
                    nonce: plank.nonce().to_owned(),
                })
            })
            .collect();
        let temporary = self.record.with_extension("new");
        let written = serde_json::to_vec_pretty(&self.recorded)
            .map_err(io::Error::from)
            .and_then(|bytes| fs::write(&temporary, bytes))
            .and_then(|()| fs::rename(&temporary, &self.record));
        if let Err(error) = written {
            warn!("cannot write {}: {error}", self.record.display());
        }
        remove_old_sockets(&self.record);
    }
}

/// A process that was killed leaves the socket where its steward, or a later one, would have asked for it.
fn remove_old_sockets(beside: &Path) {
    let folder = beside.parent().unwrap_or(Path::new("."));
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| match name.strip_prefix("kernel-") {
            Some(rest) => rest.strip_suffix(".control"),
            None => name.strip_prefix("inference-")?.strip_suffix(".sock"),
        });
        let pid = number.and_then(|number| number.parse().ok());
        if pid.is_some_and(|pid| Identity::of(pid).is_none()) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Where the running planks are recorded.
pub fn record_path(home: &Home) -> PathBuf {
    home.run().join("planks.json")
}

/// The first arguments tell this home's kernel from every other process: [`crate::predecessor`] looks for them.
pub fn kernel_mark(home: &Home) -> Vec<OsString> {
    vec![
        "--home".into(),
        home.path().into(),
        "--listen-fd".into(),
        LISTEN_DESCRIPTOR.to_string().into(),
    ]
}

/// The same for the inference-worker.
pub fn inference_mark(home: &Home) -> Vec<OsString> {
    vec![
        "--socket".into(),
        home.inference_socket().into(),
        "--listen-fd".into(),
        LISTEN_DESCRIPTOR.to_string().into(),
    ]
}

/// What a kernel is started with, but for what belongs to one start.
pub fn kernel_environment(configuration: &Configuration) -> Vec<(String, String)> {
    let log = configuration.kernel.log.iter();
    log.map(|log| ("RUST_LOG".to_owned(), log.clone())).collect()
}

pub fn kernel_arguments(home: &Home, configuration: &Configuration, chosen: &Chosen) -> Vec<OsString> {
    let kernel = &configuration.kernel;
    let mut arguments = kernel_mark(home);
    arguments.extend([
        "--inference-socket".into(),
        home.inference_socket().into(),
        METHOD_WORKER.into(),
        chosen.method_worker.clone().into(),
        "--method-workers".into(),
        kernel.method_workers.to_string().into(),
        "--method-deadline-ms".into(),
        kernel.method_deadline_ms.to_string().into(),
        "--method-memory-mib".into(),
        kernel.method_memory_mib.to_string().into(),
    ]);
    if let Some((_, environment)) = &chosen.python {
        arguments.extend([PACKAGES.into(), environment.packages.clone().into()]);
        arguments.extend([ALLOW.into(), environment.allow.join(",").into()]);
    }
    if kernel.audit_prompts != "full" {
        arguments.extend(["--audit-prompts".into(), kernel.audit_prompts.clone().into()]);
    }
    if kernel.install_refused {
        arguments.push("--install-refused".into());
    }
    arguments
}

pub fn inference_arguments(home: &Home, configuration: &Configuration, chosen: &Chosen) -> Vec<OsString> {
    let mut arguments = inference_mark(home);
    arguments.extend(["--model".into(), chosen.model.clone().into()]);
    if let Some(server) = &configuration.inference.server {
        let mut say = |name: &str, value: Option<OsString>| {
            arguments.extend(value.into_iter().flat_map(|value| [name.into(), value]));
        };
        let number = |value: Option<u32>| value.map(|value| value.to_string().into());
        say("--server-url", Some(server.url.clone().into()));
        say("--server-when", Some(server.when.clone().into()));
        say("--server-model", server.model.clone().map(Into::into));
        say("--server-kind", server.kind.clone().map(Into::into));
        say("--server-key-file", server.key_file.clone().map(Into::into));
        say("--server-key-env", server.key_env.clone().map(Into::into));
        say("--server-ca-file", server.ca_file.clone().map(Into::into));
        say("--server-connect-ms", number(server.connect_ms));
        say("--server-silence-ms", number(server.silence_ms));
        say("--server-retries", number(server.retries));
    }
    if let Some(embedder) = &configuration.inference.embedder {
        arguments.extend(["--embedder".into(), embedder.clone().into()]);
    }
    if let Some(hash) = &configuration.inference.embedder_hash {
        arguments.extend(["--embedder-hash".into(), hash.into()]);
    }
    if let Some(threads) = configuration.inference.threads {
        arguments.extend(["--threads".into(), threads.to_string().into()]);
    }
    if let Some(hash) = &configuration.inference.model_hash
        && !chosen.is_model_chosen
    {
        arguments.extend(["--model-hash".into(), hash.into()]);
    }
    for (option, mib) in [
        ("--cache-mib", configuration.inference.cache_mib),
        ("--adapters-warm-mib", configuration.inference.adapters_warm_mib),
        ("--adapters-hot-mib", configuration.inference.adapters_hot_mib),
    ] {
        if let Some(mib) = mib {
            arguments.extend([option.into(), mib.to_string().into()]);
        }
    }
    arguments
}

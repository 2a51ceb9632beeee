//! The one loop: events in, planks and upgrades moved on.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::stat::{Mode, umask};
use sd_notify::NotifyState;
use shared::control::{ControlReply, ControlRequest, StewardStatus};
use shared::exit;
use shared::handover::{FromKernel, ToKernel};
use shared::home::Home;
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tracing::{info, warn};
use tracing_subscriber::EnvFilter;

use crate::change::Limits;
use crate::channel::{Channel, Report};
use crate::chosen::Chosen;
use crate::configuration::{Configuration, ConfigurationError};
use crate::control;
use crate::event::{ControlCall, Event, Probed};
use crate::home::{self, HomeError};
use crate::listener::{self, ListenError, Listener};
use crate::logs;
use crate::orphans::{self, Orphans};
use crate::predecessor::{self, Adopted, Wanted};
use crate::probe::Prober;
use crate::seed;
use crate::succession;
use crate::supervisor::{self, INFERENCE, KERNEL, Supervisor};
use crate::upgrade::Upgrade;

/// Longest wait for an event: nothing hangs on a signal that was missed.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// How often a plank that starts is asked whether it serves.
const PROBE_EVERY: Duration = Duration::from_millis(30);
/// How long the end waits for the last control reply to be on the wire.
const LAST_REPLY: Duration = Duration::from_secs(2);

/// Why the steward cannot run.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Home(#[from] HomeError),
    #[error(transparent)]
    Configuration(#[from] ConfigurationError),
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error("cannot {doing}: {source}")]
    System { doing: &'static str, source: io::Error },
}

impl StartError {
    pub fn exit_code(&self) -> u8 {
        match self {
            StartError::Home(HomeError::InUse { .. }) => exit::IN_USE,
            StartError::Configuration(_) => exit::CONFIGURATION,
            StartError::Home(_) | StartError::Listen(_) | StartError::System { .. } => exit::UNUSABLE,
        }
    }
}

/// Runs the steward of a home until it is told to stop and everything is down.
pub fn run(given: Option<&Path>, foreground: bool) -> Result<(), StartError> {
    listener::reserve_descriptors().map_err(system("reserve a descriptor"))?;
    // Everything that is made here is for this user alone.
    umask(Mode::from_bits_truncate(0o077));
    let home = Home::resolve(given).map_err(system("find the home"))?;
    succession::follow_choice(&home);
    let owned = home::prepare(home)?;
    let home = &owned.home;
    let configuration = Configuration::load(home)?;
    begin_log(home, foreground)?;
    orphans::take_in().map_err(system("take in the children of children"))?;
    info!(home = %home.path().display(), version = env!("CARGO_PKG_VERSION"), pid = std::process::id(), "steward begins");
    let (sender, events) = channel();
    let programs = succession::programs().map_err(system("find the folder of this program"))?;
    let chosen = Chosen::load(home, &configuration, &programs);
    let adopted = adopt(home, &configuration, &chosen, &sender);
    let sockets = (
        adopted.0.as_ref().map(|plank| &plank.listener),
        adopted.1.as_ref().map(|plank| &plank.listener),
    );
    let listeners = (
        Listener::open(&home.kernel_socket(), "kernel", sockets.0)?,
        Listener::open(&home.inference_socket(), "inference", sockets.1)?,
        Listener::open(&home.steward_socket(), "steward", None)?,
    );
    let supervisor = Supervisor::new(
        home,
        &configuration,
        chosen,
        (&listeners.0, &listeners.1),
        &sender,
    );
    let mut supervisor = supervisor.map_err(system("duplicate a socket"))?;
    for (plank, adopted) in [
        (&mut supervisor.kernel, adopted.0),
        (&mut supervisor.inference, adopted.1),
    ] {
        if let Some(Adopted {
            process,
            nonce,
            control,
            ..
        }) = adopted
        {
            plank.adopt(process, nonce, control);
        }
    }
    let steward = Steward::new(home, &configuration, supervisor, &sender)?;
    let control = listeners
        .2
        .socket
        .try_clone()
        .map_err(system("duplicate the control socket"))?;
    control::serve(control, sender.clone()).map_err(system("start a thread"))?;
    watch_signals(sender)?;
    succession::reap_sentry();
    let left = || -> io::Result<Vec<(&'static str, OwnedFd)>> {
        let socket = |listener: &Listener| listener.socket.try_clone().map(OwnedFd::from);
        Ok(vec![
            (home::LOCK, owned.lock()?),
            ("kernel", socket(&listeners.0)?),
            ("inference", socket(&listeners.1)?),
            ("steward", socket(&listeners.2)?),
        ])
    };
    steward.run(&events, &left);
    Ok(())
}

/// Reads what a start reads, for a steward that is to become this one; answers one line.
pub fn rehearse(home: &Path) -> Result<String, StartError> {
    let home = Home::resolve(Some(home)).map_err(system("find the home"))?;
    let configuration = Configuration::load(&home)?;
    let programs = succession::programs().map_err(system("find the folder of this program"))?;
    let chosen = Chosen::load(&home, &configuration, &programs);
    let planks = predecessor::recorded(&home).len();
    let found = serde_json::json!({
        "ok": true, "version": env!("CARGO_PKG_VERSION"), "kernel": chosen.kernel, "planks": planks,
    });
    Ok(found.to_string())
}

/// Duplicates of what this steward leaves to the one that it becomes.
type Left<'a> = dyn Fn() -> io::Result<Vec<(&'static str, OwnedFd)>> + 'a;

/// Everything that the loop owns.
struct Steward {
    home: Home,
    begun: Instant,
    supervisor: Supervisor,
    /// `None` when the configuration switches it off.
    channel: Option<Channel>,
    upgrade: Option<Upgrade>,
    health_deadline: Duration,
    limits: Limits,
    probers: (Prober, Prober),
    /// For the threads that the loop starts.
    events: Sender<Event>,
    /// Callers who wait for the end.
    waiting: Vec<ControlCall>,
    is_stopping: bool,
    is_announced: bool,
    /// When the logs' sizes are looked at next.
    logs_at: Instant,
    /// Half of what systemd allows between two signs of life.
    watchdog: Option<Duration>,
    watchdog_at: Instant,
    orphans: Orphans,
}

impl Steward {
    fn new(
        home: &Home,
        configuration: &Configuration,
        mut supervisor: Supervisor,
        events: &Sender<Event>,
    ) -> Result<Steward, StartError> {
        if configuration.inference.is_seed
            && let Err(remark) = seed::stage(&home.models())
        {
            warn!("{remark}");
            supervisor.inference.remark(remark);
        }
        let probers = (
            Prober::kernel(home.kernel_socket(), events.clone()).map_err(system("start a thread"))?,
            Prober::inference(home.inference_socket(), events.clone()).map_err(system("start a thread"))?,
        );
        // Before the kernel is started, so that nobody sees a claim of an earlier steward unfinished.
        let channel = configuration
            .channel
            .enabled
            .then(|| Channel::open(home, &configuration.channel, events.clone()));
        Ok(Steward {
            home: home.clone(),
            begun: Instant::now(),
            supervisor,
            channel,
            upgrade: None,
            health_deadline: configuration.supervision.health_deadline,
            limits: Limits {
                handover: configuration.handover.clone(),
                health: configuration.supervision.health_deadline,
                stop: configuration.supervision.stop_deadline,
            },
            probers,
            events: events.clone(),
            waiting: Vec::new(),
            is_stopping: false,
            is_announced: false,
            logs_at: Instant::now(),
            watchdog: sd_notify::watchdog_enabled().map(|period| period / 2),
            watchdog_at: Instant::now(),
            orphans: Orphans::default(),
        })
    }

    fn run(mut self, events: &Receiver<Event>, left: &Left) {
        self.supervisor.start(Instant::now());
        self.resume();
        while !self.supervisor.is_stopped() {
            self.ask();
            match events.recv_timeout(self.wait()) {
                Ok(event) => self.take(event),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => self.stop(),
            }
            self.move_on();
            self.become_another(left);
        }
        info!("everything is down; steward ends");
        for call in std::mem::take(&mut self.waiting) {
            let _ = call.reply.send(ControlReply::Stopped);
            let _ = call.written.recv_timeout(LAST_REPLY);
        }
    }

    fn take(&mut self, event: Event) {
        let now = Instant::now();
        match event {
            Event::Child => {}
            Event::Stop => self.stop(),
            Event::Inbox => {}
            Event::Look => self.channel.iter_mut().for_each(Channel::ask),
            Event::Control(call) => match call.request {
                ControlRequest::Status => {
                    let _ = call.reply.send(ControlReply::Status(self.status()));
                }
                ControlRequest::Stop => {
                    self.waiting.push(call);
                    self.stop();
                }
            },
            Event::Probed(Probed::Kernel(Ok(probe))) => {
                let kernel = &mut self.supervisor.kernel;
                if kernel.is_process(probe.figures.pid) {
                    kernel.answered(now);
                }
                if let Some(upgrade) = &mut self.upgrade {
                    upgrade.probed(&probe, &mut self.supervisor, now);
                }
            }
            Event::Kernel(said) => {
                self.supervisor.kernel.heard(&said, now);
                match (&mut self.upgrade, &said.message) {
                    (Some(upgrade), _) => upgrade.heard(&said, &mut self.supervisor, now),
                    // An adopted kernel has changed to what was chosen.
                    (None, Some(FromKernel::WorkersReplaced { .. })) => {
                        self.supervisor.kernel.say(&ToKernel::KeepWorkers);
                    }
                    (None, Some(FromKernel::Hello { .. })) if self.supervisor.kernel.is_adopted() => {
                        self.supervisor.tell_method_workers();
                    }
                    _ => {}
                }
            }
            Event::Rehearsed(result) => {
                if let Some(upgrade) = &mut self.upgrade {
                    upgrade.rehearsed(result, &mut self.supervisor, now);
                }
            }
            Event::Errand(done) => {
                if let Some(upgrade) = &mut self.upgrade {
                    upgrade.errand(done, &mut self.supervisor, now);
                }
            }
            Event::Probed(Probed::Inference(Ok(()))) => self.supervisor.inference.answered(now),
            Event::Probed(Probed::Kernel(Err(error)) | Probed::Inference(Err(error))) => {
                tracing::debug!("not ready yet: {error}");
            }
            Event::Prepared(prepared) => {
                if let Some(upgrade) = &mut self.upgrade {
                    upgrade.prepared(prepared, &mut self.supervisor, now);
                }
            }
        }
    }

    /// Everything that time or an ended child makes due.
    fn move_on(&mut self) {
        let now = Instant::now();
        self.supervisor.reap(now);
        self.orphans.reap(now);
        // Each advance may make the next one possible at once.
        for _ in 0..4 {
            let planks = &mut self.supervisor;
            if let Some(report) = self
                .upgrade
                .as_mut()
                .and_then(|upgrade| upgrade.advance(planks, now))
            {
                self.conclude(report);
            }
        }
        self.supervisor.tick(now);
        if !self.is_stopping && self.upgrade.is_none() {
            self.look_at_inbox(now);
        }
        if now >= self.logs_at {
            logs::cut(&self.home.logs());
            self.logs_at = now + LONGEST_WAIT;
        }
        self.announce(now);
    }

    fn look_at_inbox(&mut self, now: Instant) {
        let Some(channel) = &mut self.channel else { return };
        let planks = &self.supervisor;
        if let Some(accepted) = channel.next(now, planks.chosen()) {
            let events = self.events.clone();
            let upgrade = Upgrade::begin(&self.home, accepted, planks, self.limits.clone(), events, now);
            self.upgrade = Some(upgrade);
        }
    }

    /// The upgrade in which this process became this program goes on.
    fn resume(&mut self) {
        if let Some(accepted) = self.channel.as_mut().and_then(Channel::resumed) {
            let (limits, events) = (self.limits.clone(), self.events.clone());
            let upgrade = Upgrade::resume(
                &self.home,
                accepted,
                &self.supervisor,
                limits,
                events,
                Instant::now(),
            );
            self.upgrade = Some(upgrade);
        }
    }

    /// Where an upgrade is of the steward itself, and everything is prepared.
    fn become_another(&mut self, left: &Left) {
        let Some(upgrade) = &mut self.upgrade else { return };
        if let Some(failure) = upgrade.succeed(left) {
            warn!("this steward goes on: {failure}");
        }
    }

    fn conclude(&mut self, report: Report) {
        if let (Some(channel), Some(upgrade)) = (&mut self.channel, self.upgrade.take()) {
            channel.conclude(report, upgrade.journal());
        }
    }

    fn stop(&mut self) {
        if self.is_stopping {
            return;
        }
        info!("stopping");
        self.is_stopping = true;
        let _ = sd_notify::notify(&[NotifyState::Stopping]);
        if let Some(upgrade) = &mut self.upgrade {
            match upgrade.abandon(&mut self.supervisor) {
                Some(report) => self.conclude(report),
                None => self.upgrade = None,
            }
        }
        self.supervisor.stop(Instant::now());
    }

    /// Asks what starts whether it serves, and from time to time what serves whether it still does.
    fn ask(&mut self) {
        let now = Instant::now();
        if self.upgrade.is_some() {
            self.supervisor.allow_silence(now);
        }
        let still = self.supervisor.ask(now);
        if still.0 || self.is_kernel_asked() {
            self.probers.0.ask();
        }
        if still.1 || self.supervisor.inference.is_starting() {
            self.probers.1.ask();
        }
    }

    /// While it starts, and while a handover watches it.
    fn is_kernel_asked(&self) -> bool {
        self.supervisor.kernel.is_starting() || self.upgrade.as_ref().is_some_and(Upgrade::is_watching)
    }

    fn wait(&self) -> Duration {
        let now = Instant::now();
        let is_starting = self.is_kernel_asked() || self.supervisor.inference.is_starting();
        let longest = if is_starting { PROBE_EVERY } else { LONGEST_WAIT };
        let can_claim = !self.is_stopping && self.upgrade.is_none();
        [
            self.supervisor.due(),
            self.upgrade.as_ref().and_then(Upgrade::due),
            self.channel
                .as_ref()
                .filter(|_| can_claim)
                .map(|channel| channel.due(now)),
            self.watchdog.map(|_| self.watchdog_at),
        ]
        .into_iter()
        .flatten()
        .map(|due| due.saturating_duration_since(now))
        .fold(longest, Duration::min)
    }

    /// Tells systemd that the kernel serves (or that it does not, after a while), and that the loop runs.
    fn announce(&mut self, now: Instant) {
        let is_ready = self.supervisor.kernel.is_ready();
        if !self.is_announced && (is_ready || now.duration_since(self.begun) >= self.health_deadline) {
            self.is_announced = true;
            let status = if is_ready {
                "the kernel serves"
            } else {
                "the kernel does not answer yet"
            };
            let _ = sd_notify::notify(&[NotifyState::Ready, NotifyState::Status(status)]);
        }
        if let Some(period) = self.watchdog
            && now >= self.watchdog_at
        {
            let _ = sd_notify::notify(&[NotifyState::Watchdog]);
            self.watchdog_at = now + period;
        }
    }

    fn status(&self) -> StewardStatus {
        StewardStatus {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime_ms: self.begun.elapsed().as_millis() as u64,
            home: self.home.path().display().to_string(),
            planks: self.supervisor.status(),
            instructions: self
                .channel
                .as_ref()
                .map(|channel| channel.handled.iter().cloned().collect())
                .unwrap_or_default(),
            upgrade: self.upgrade.as_ref().map(|upgrade| Box::new(upgrade.status())),
        }
    }
}

/// What an earlier steward left: the kernel and the inference-worker when they are what would be started now; all else is ended.
fn adopt(
    home: &Home,
    configuration: &Configuration,
    chosen: &Chosen,
    events: &Sender<Event>,
) -> (Option<Adopted>, Option<Adopted>) {
    let kernel = Wanted {
        name: KERNEL,
        program: &chosen.kernel,
        arguments: &supervisor::kernel_arguments(home, configuration, chosen),
        environment: &supervisor::kernel_environment(configuration),
        socket: home.kernel_socket(),
    };
    let inference = Wanted {
        name: INFERENCE,
        program: &chosen.inference,
        arguments: &supervisor::inference_arguments(home, configuration, chosen),
        environment: &[],
        socket: home.inference_socket(),
    };
    let adopted = (
        predecessor::adopt(home, &kernel, events),
        predecessor::adopt(home, &inference, events),
    );
    let kept: Vec<i32> = [&adopted.0, &adopted.1]
        .into_iter()
        .flatten()
        .map(|plank| plank.process.pid())
        .collect();
    predecessor::retire(home, configuration.supervision.stop_deadline, &kept);
    adopted
}

/// The log goes to standard error in the foreground, else to `logs/steward.log`, and the process leaves its session, so that
/// closing a terminal does not end it.
fn begin_log(home: &Home, foreground: bool) -> Result<(), StartError> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        // A log that cannot be written, as on a full disk, must not become a panic.
        .log_internal_errors(false);
    let begun = if foreground {
        let colour = std::io::IsTerminal::is_terminal(&io::stderr());
        builder.with_writer(io::stderr).with_ansi(colour).try_init()
    } else {
        // Refused to the leader of a process group, who is no terminal's child then either.
        let _ = nix::unistd::setsid();
        let path = home.logs().join("steward.log");
        let file = File::options()
            .append(true)
            .create(true)
            .open(path)
            .map_err(system("open logs/steward.log"))?;
        builder.with_writer(Mutex::new(file)).with_ansi(false).try_init()
    };
    begun.map_err(|error| StartError::System {
        doing: "begin the log",
        source: io::Error::other(error),
    })
}

fn watch_signals(events: Sender<Event>) -> Result<(), StartError> {
    let mut signals =
        Signals::new([SIGTERM, SIGINT, SIGHUP, SIGCHLD]).map_err(system("watch for signals"))?;
    let watching = thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for signal in signals.forever() {
            let event = match signal {
                SIGCHLD => Event::Child,
                SIGHUP => Event::Look,
                _ => Event::Stop,
            };
            if events.send(event).is_err() {
                return;
            }
        }
    });
    watching.map(|_| ()).map_err(system("start a thread"))
}

fn system(doing: &'static str) -> impl FnOnce(io::Error) -> StartError {
    move |source| StartError::System { doing, source }
}

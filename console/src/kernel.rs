//! A conversation with the kernel that always comes back: with the answer, or with the reason why there is none.
//!
//! The steward holds the kernel's listening socket, so a connection succeeds while no kernel runs and its handshake waits.
//! Therefore each call runs on a thread, and the caller looks every so often whether there is still something to wait for.

use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use shared::bridge::{Answer, Call, Event};
use shared::client::{CallError, Client};
use shared::frame::FrameError;
use shared::home::Home;

use crate::arguments::ClientSequence;
use crate::failure::Failure;
use crate::output;
use crate::progress::Progress;
use crate::steward;

const PROGRAM: &str = concat!("batos ", env!("CARGO_PKG_VERSION"));
/// How long a kernel that a steward is replacing is looked for.
const PATIENCE: Duration = Duration::from_secs(10);
/// The same without a steward: nobody will start another.
const PATIENCE_ALONE: Duration = Duration::from_millis(300);
/// Between two looks at the steward while a call runs.
const LOOK: Duration = Duration::from_secs(2);
/// States of the kernel's plank that no wait mends.
const HOPELESS: [&str; 2] = ["crash_loop", "stopped"];

/// What reaches the caller of [`Kernel::call`] while it waits.
pub enum Happening {
    Connected,
    Event(Event),
    /// The caller's user wants the prompt back.
    Left,
    Done(Result<Answer, CallError>, Option<Box<Client>>),
}

/// How a call is made.
pub struct Manner<'a> {
    /// Thought events and progress go here; without it, none are asked for.
    pub watch: Option<&'a mut dyn FnMut(&Event)>,
    /// Called with a sender of [`Happening::Left`] before the wait.
    pub leave: Option<&'a dyn Fn(Sender<Happening>)>,
    /// How long the first handshake may take.
    pub patience: Option<Duration>,
}

impl<'a> Manner<'a> {
    pub fn plain() -> Manner<'a> {
        Manner {
            watch: None,
            leave: None,
            patience: None,
        }
    }
}

/// The kernel of one home.
pub struct Kernel {
    home: Home,
    /// `None` before the first call and after one that was left.
    client: Option<Box<Client>>,
    /// Of the last call of this client.
    sequence: u64,
    /// Identity chosen by a script for the next call.
    identity: Option<ClientSequence>,
}

/// An answer and how long it was waited for.
pub struct Answered {
    pub answer: Answer,
    pub elapsed_ms: u64,
}

impl Kernel {
    pub fn of(home: &Home) -> Kernel {
        Kernel {
            home: home.clone(),
            client: None,
            sequence: 0,
            identity: None,
        }
    }

    /// The next call carries this identity.
    pub fn identified(home: &Home, identity: Option<ClientSequence>) -> Kernel {
        Kernel {
            identity,
            ..Kernel::of(home)
        }
    }

    /// A call whose thoughts and progress pass on standard error, where that is wanted.
    pub fn call_shown(&mut self, call: Call, is_shown: bool) -> Result<Answered, Failure> {
        let mut progress = Progress::new(output::has_error_colours());
        let mut watch = |event: &Event| progress.show(event);
        let watch: Option<&mut dyn FnMut(&Event)> = if is_shown { Some(&mut watch) } else { None };
        let answered = self.call(
            call,
            Manner {
                watch,
                ..Manner::plain()
            },
        );
        progress.end();
        answered
    }

    pub fn call(&mut self, call: Call, manner: Manner<'_>) -> Result<Answered, Failure> {
        let begun = Instant::now();
        let (sender, happenings) = mpsc::channel();
        let patience = match manner.patience {
            Some(patience) => patience,
            None if self.client.is_some() || steward::status(&self.home).is_some() => PATIENCE,
            None => PATIENCE_ALONE,
        };
        self.start(call, manner.watch.is_some(), patience, sender.clone())?;
        if let Some(leave) = manner.leave {
            leave(sender);
        }
        let mut watch = manner.watch;
        let mut connected = false;
        // A handshake that is accepted and not answered ends by this, not by the client's own patience.
        let handshake_deadline = begun + patience;
        loop {
            let wait = match connected {
                true => LOOK,
                false => handshake_deadline
                    .saturating_duration_since(Instant::now())
                    .min(LOOK),
            };
            match happenings.recv_timeout(wait) {
                Ok(Happening::Connected) => connected = true,
                Ok(Happening::Event(event)) => {
                    if let Some(watch) = watch.as_mut() {
                        watch(&event);
                    }
                }
                Ok(Happening::Left) => return Err(Failure::left()),
                Ok(Happening::Done(result, client)) => {
                    self.client = client;
                    let answer = result.map_err(|error| self.explain(error))?;
                    return Ok(Answered {
                        answer,
                        elapsed_ms: begun.elapsed().as_millis() as u64,
                    });
                }
                Err(RecvTimeoutError::Timeout) => {
                    if !connected && Instant::now() >= handshake_deadline {
                        return Err(self.nobody("it accepts no conversation"));
                    }
                    self.look()?;
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Failure::internal(
                        "the conversation with the kernel ended without a result",
                    ));
                }
            }
        }
    }

    /// Runs the call on a thread that reports to `sender`.
    fn start(
        &mut self,
        call: Call,
        is_watched: bool,
        patience: Duration,
        sender: Sender<Happening>,
    ) -> Result<(), Failure> {
        let kept = self.client.take();
        let socket = self.home.kernel_socket();
        let identity = self.identity.take();
        self.sequence = match (&kept, identity) {
            (_, Some(identity)) => identity.sequence,
            (Some(_), None) => self.sequence + 1,
            (None, None) => 1,
        };
        let sequence = self.sequence;
        let conversation = move || {
            let connected = match (kept, identity) {
                (Some(client), _) => Ok(client),
                (None, Some(identity)) => {
                    Client::resume(&socket, PROGRAM, patience, identity.client, identity.sequence - 1)
                        .map(Box::new)
                }
                (None, None) => Client::connect(&socket, PROGRAM, patience).map(Box::new),
            };
            let mut client = match connected {
                Ok(client) => client,
                Err(error) => {
                    let _ = sender.send(Happening::Done(Err(error), None));
                    return;
                }
            };
            let _ = sender.send(Happening::Connected);
            let mut report = |event| {
                let _ = sender.send(Happening::Event(event));
            };
            let mut ask = |call| {
                let watch: Option<&mut dyn FnMut(Event)> = if is_watched { Some(&mut report) } else { None };
                client.repeat(sequence, call, watch)
            };
            let mut result = ask(call.clone());
            // The client's patience runs from the start of the call; a kernel lost late in a long thought deserves it anew.
            if matches!(result, Err(CallError::Unreachable { .. })) {
                result = ask(call);
            }
            let broken = matches!(
                result,
                Err(CallError::Unreachable { .. } | CallError::Protocol(_))
            );
            let client = Some(client).filter(|_| !broken);
            let _ = sender.send(Happening::Done(result, client));
        };
        let spawned = thread::Builder::new()
            .name("conversation".to_owned())
            .spawn(conversation);
        spawned
            .map(|_| ())
            .map_err(|error| Failure::internal(format!("cannot start a thread: {error}")))
    }

    /// Fails when the steward says that the kernel will not come.
    fn look(&self) -> Result<(), Failure> {
        let status = steward::status(&self.home);
        let plank = status.as_ref().and_then(steward::kernel_plank);
        match plank.filter(|plank| HOPELESS.contains(&plank.state.as_str())) {
            Some(plank) => {
                Err(self.nobody(&format!("the steward says {}: {}", plank.state, plank.last_exit)))
            }
            None => Ok(()),
        }
    }

    fn explain(&self, error: CallError) -> Failure {
        match error {
            CallError::Fault(fault) => Failure::from(fault),
            CallError::Request(FrameError::TooLarge(bytes)) => Failure::too_large(format!(
                "the request of {bytes} bytes is larger than a frame may be (16 MiB)"
            )),
            CallError::Request(error) => Failure::internal(format!("the request cannot be sent: {error}")),
            CallError::Unreachable { source, .. } => self.nobody(&source.to_string()),
            CallError::Protocol(error) => self.nobody(&format!(
                "something answers that is no kernel of this release: {error}"
            )),
        }
    }

    fn nobody(&self, why: &str) -> Failure {
        let home = self.home.path().display();
        let logs = self.home.logs();
        match steward::status(&self.home) {
            None => Failure::NoKernel(format!(
                "no kernel answers at {} ({why}); start it with: batos --home {home} up",
                self.home.kernel_socket().display()
            )),
            Some(_) => Failure::NoKernel(format!(
                "no kernel answers at {} ({why}); its steward runs: see batos --home {home} status, and the logs in {}",
                self.home.kernel_socket().display(),
                logs.display()
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake_kernel::FakeKernel;
    use shared::bridge::{Fault, Progress, ThoughtEvent, ToClient, Unit};
    use shared::id::{ThoughtId, TransactionId};
    use shared::value::Value;

    fn sent(value: i64) -> Answer {
        Answer::Sent {
            result: Value::Int(value),
            transaction: TransactionId(3),
            thought: None,
        }
    }

    fn marking() -> Progress {
        Progress {
            step: "marking".into(),
            done: 3,
            total: Some(4),
            unit: Unit::Objects,
        }
    }

    #[test]
    fn answers_faults_and_events_arrive() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::resolve(Some(folder.path())).unwrap();
        let event = ThoughtEvent {
            thought: ThoughtId(1),
            round: 0,
            unix_ms: 0,
            kind: "STATE_TRANSITION".into(),
            state: "SYNTHESIZING".into(),
            detail: String::new(),
        };
        let shown = event.clone();
        let _fake = FakeKernel::start(&home, move |request| {
            let sequence = request.sequence;
            let reply = |result| ToClient::Reply { sequence, result };
            match request.call {
                Call::Status => vec![reply(Err(Fault::new("stopping", "going down")))],
                _ => vec![
                    ToClient::Event {
                        sequence,
                        event: event.clone(),
                    },
                    ToClient::Progress {
                        sequence,
                        progress: marking(),
                    },
                    reply(Ok(sent(sequence as i64))),
                ],
            }
        });
        let mut kernel = Kernel::of(&home);
        let failure = kernel.call(Call::Status, Manner::plain()).err().unwrap();
        assert_eq!(
            (failure.exit_code(), failure.to_string().as_str()),
            (1, "going down")
        );
        let mut seen = Vec::new();
        let mut watch = |event: &Event| seen.push(event.clone());
        let manner = Manner {
            watch: Some(&mut watch),
            ..Manner::plain()
        };
        let answered = kernel
            .call(Call::Inspect { object: "a".into() }, manner)
            .ok()
            .unwrap();
        assert_eq!(answered.answer, sent(2));
        assert_eq!(seen, [Event::Thought(shown), Event::Progress(marking())]);
    }

    #[test]
    fn a_script_chooses_its_sequence() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::resolve(Some(folder.path())).unwrap();
        let _fake = FakeKernel::start(&home, |request| {
            let sequence = request.sequence;
            vec![ToClient::Reply {
                sequence,
                result: Ok(sent(sequence as i64)),
            }]
        });
        let identity = ClientSequence {
            client: shared::id::ClientId([7; 16]),
            sequence: 41,
        };
        let answered = Kernel::identified(&home, Some(identity))
            .call(Call::Status, Manner::plain())
            .ok()
            .unwrap();
        assert_eq!(answered.answer, sent(41));
    }

    #[test]
    fn nobody_home_is_exit_three() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::resolve(Some(folder.path())).unwrap();
        let failure = Kernel::of(&home)
            .call(Call::Status, Manner::plain())
            .err()
            .unwrap();
        assert_eq!(
            (failure.exit_code(), &failure.document()["reason"]),
            (3, &"no_kernel".into())
        );
    }

    /// A steward's socket accepts while no kernel runs; the first form of the console waited for ever.
    #[test]
    fn a_silent_socket_ends_the_wait() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::resolve(Some(folder.path())).unwrap();
        std::fs::create_dir(home.run()).unwrap();
        let _listener = std::os::unix::net::UnixListener::bind(home.kernel_socket()).unwrap();
        let failure = Kernel::of(&home)
            .call(Call::Status, Manner::plain())
            .err()
            .unwrap();
        assert_eq!(failure.exit_code(), 3);
    }
}

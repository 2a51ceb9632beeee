//! Missions: durable before they start, one for a receiver and selector, resumed after a crash.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use shared::bridge::{Answer, Fault, MissionView, Priority, ThoughtEvent};
use shared::id::{ObjectId, ThoughtId};
use shared::reason;
use tokio::sync::{broadcast, watch};
use tokio::task::JoinSet;

use super::audit::Audit;
use super::audit::event::{BriefHash, Event};
use super::budget::{Budget, Spent};
use super::cycle::{Cycle, End, Thinking};
use super::gate::{Gate, Pass};
use super::model::Model;
use super::runtime;
use crate::image::draft::Draft;
use crate::image::log::unix_ms;
use crate::image::record::{Mission, RequestId, Stage};
use crate::kernel::{Asker, Kernel, commit_fault};
use crate::names::name_of;
use crate::send::{Message, Thought};

/// Events that a slow follower may be behind; then it misses some.
const FOLLOWED: usize = 4_096;

/// What thinks, and what is being thought.
pub struct Mind {
    pub model: Model,
    pub audit: Audit,
    gate: Arc<Gate>,
    next: AtomicU64,
    /// What happens in any thought.
    followers: broadcast::Sender<ThoughtEvent>,
    running: Mutex<HashMap<(ObjectId, String), Running>>,
    tasks: Mutex<JoinSet<()>>,
}

/// A mission under way.
#[derive(Clone)]
struct Running {
    mission: Arc<Mutex<Mission>>,
    brief: Arc<BriefHash>,
    events: broadcast::Sender<ThoughtEvent>,
    spent: Arc<Spent>,
    priority: Priority,
    done: watch::Receiver<Option<Outcome>>,
}

/// How a mission ended, for everybody who waits.
#[derive(Clone)]
struct Outcome {
    /// The first sender's answer, when its message was carried out in the same transaction.
    result: Result<Option<(Option<RequestId>, Answer)>, Fault>,
}

impl Mind {
    pub fn new(model: Model, audit: Audit, missions: &[Mission]) -> Mind {
        let next = missions.iter().map(|mission| mission.id.0).max().unwrap_or(0) + 1;
        Mind {
            model,
            audit,
            gate: Arc::default(),
            next: AtomicU64::new(next),
            followers: broadcast::channel(FOLLOWED).0,
            running: Mutex::new(HashMap::new()),
            tasks: Mutex::new(JoinSet::new()),
        }
    }

    pub fn open_missions(&self) -> u32 {
        self.lock().len() as u32
    }

    /// Breaks off every thought; the next kernel takes up what is durable of it.
    pub async fn park(&self) {
        let mut tasks = std::mem::take(&mut *lock(&self.tasks));
        tasks.shutdown().await;
        self.lock().clear();
    }

    /// A mission under way, as it stands now.
    pub fn live(&self, id: ThoughtId) -> Option<Mission> {
        self.lock()
            .values()
            .map(|running| lock(&running.mission).clone())
            .find(|mission| mission.id == id)
    }

    /// Hears what happens in every thought from now on.
    pub fn follow(&self) -> broadcast::Receiver<ThoughtEvent> {
        self.followers.subscribe()
    }

    pub fn tell_followers(&self, event: &ThoughtEvent) {
        // Nobody listens most of the time.
        if self.followers.receiver_count() > 0 {
            let _ = self.followers.send(event.clone());
        }
    }

    /// Ends a mission; false when none of that number is under way.
    pub fn cancel(&self, id: ThoughtId) -> bool {
        let running = self.lock();
        let found = running.values().find(|running| lock(&running.mission).id == id);
        found.inspect(|running| running.spent.cancel()).is_some()
    }

    /// A number that no other mission of this kernel has.
    pub(super) fn number(&self) -> ThoughtId {
        ThoughtId(self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// Waits until so few are thought about that this one may be.
    pub(super) async fn enter(&self, id: ThoughtId, at_once: usize) -> Pass {
        self.gate.enter(id, Priority::Awaited, at_once).await
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<(ObjectId, String), Running>> {
        lock(&self.running)
    }
}

impl Kernel {
    /// Thinks about a message, or joins the thought that is under way about the same selector of the same receiver.
    /// `is_whole` tells that the message is the sender's own and not one sent inside a method.
    pub async fn think(
        self: &Arc<Self>,
        asker: &Asker,
        message: Message,
        is_whole: bool,
    ) -> Result<Thought, Fault> {
        let key = (message.receiver, message.selector.clone());
        let joined = {
            let mut running = self.mind.lock();
            // It may have been installed since it was missed.
            let world = self.world();
            if world.look_up(message.receiver, &message.selector).found.is_some() {
                return Ok(Thought {
                    thought: None,
                    answer: None,
                });
            }
            match running.get_mut(&key) {
                Some(other) => {
                    other.priority = Priority::Awaited;
                    self.mind.gate.raise(lock(&other.mission).id, Priority::Awaited);
                    Joined {
                        heard: other.events.subscribe(),
                        running: other.clone(),
                        is_first: false,
                    }
                }
                None => {
                    let mission = Mission {
                        request: asker.request.filter(|_| is_whole),
                        ..Mission::open(
                            self.mind.number(),
                            message.receiver,
                            message.selector,
                            message.arguments,
                        )
                    };
                    let resend = if is_whole { Resend::Once } else { Resend::Never };
                    let (started, heard) = self.start(
                        mission,
                        resend,
                        asker.author.clone(),
                        Durable::NotYet,
                        Priority::Awaited,
                    );
                    running.insert(key, started.clone());
                    Joined {
                        running: started,
                        heard,
                        is_first: is_whole,
                    }
                }
            }
        };
        let _thinking = self.requests.think();
        joined.wait(asker).await
    }

    /// Takes up what was open when the last kernel ended.
    pub fn resume_missions(self: &Arc<Self>) {
        for mission in self
            .image
            .state
            .missions()
            .into_iter()
            .filter(|mission| mission.stage == Stage::Open)
        {
            tracing::info!(thought = %mission.id, selector = mission.selector, "resuming a mission");
            // Only a message with a request id can be known not to run twice.
            let resend = if mission.request.is_some() {
                Resend::Once
            } else {
                Resend::Never
            };
            let key = (mission.receiver, mission.selector.clone());
            let mut running = self.mind.lock();
            let (started, _) = self.start(
                mission,
                resend,
                "kernel".into(),
                Durable::Already,
                Priority::Resumed,
            );
            running.insert(key, started);
        }
    }

    /// Begins to think; whoever listens with the receiver misses nothing.
    fn start(
        self: &Arc<Self>,
        mission: Mission,
        resend: Resend,
        author: String,
        durable: Durable,
        priority: Priority,
    ) -> (Running, broadcast::Receiver<ThoughtEvent>) {
        let (events, heard) = broadcast::channel(1024);
        let (finish, done) = watch::channel(None);
        let running = Running {
            mission: Arc::new(Mutex::new(mission)),
            brief: Arc::default(),
            events,
            spent: Arc::new(Spent::new(Budget::of(self))),
            priority,
            done,
        };
        let (kernel, own) = (self.clone(), running.clone());
        let mut tasks = lock(&self.mind.tasks);
        while tasks.try_join_next().is_some() {}
        let thinking = async move {
            let outcome = kernel.carry_out(&own, resend, author, durable).await;
            kernel.note_end(&own, &outcome);
            let key = {
                let mission = lock(&own.mission);
                (mission.receiver, mission.selector.clone())
            };
            kernel.mind.lock().remove(&key);
            let _ = finish.send(Some(outcome));
        };
        tasks.spawn_on(thinking, &runtime::handle());
        drop(tasks);
        (running, heard)
    }

    async fn carry_out(
        self: &Arc<Self>,
        running: &Running,
        resend: Resend,
        author: String,
        durable: Durable,
    ) -> Outcome {
        let mission = lock(&running.mission).clone();
        if durable == Durable::NotYet {
            let mut draft = Draft::new(author.clone());
            draft.thought = Some(mission.id);
            draft.mission = Some(mission.clone());
            if let Err(error) = self.image.committer.commit(draft).await {
                return Outcome {
                    result: Err(commit_fault(error)),
                };
            }
        }
        self.note(running, "MISSION_BEGUN", |_| {});
        let spent = &running.spent;
        let entering = self
            .mind
            .gate
            .enter(mission.id, running.priority, spent.budget.at_once);
        let _pass = tokio::select! {
            pass = entering => pass,
            fault = spent.over() => return self.failed(running, fault, Instant::now(), &author).await,
        };
        let begun = Instant::now();
        let thinking = Thinking {
            mission: &running.mission,
            brief: &running.brief,
            events: &running.events,
            spent,
            author: &author,
            begun,
            resend: resend == Resend::Once,
            tried: None,
        };
        match self.rounds(&thinking).await {
            Ok(answer) => Outcome {
                result: Ok(answer.map(|answer| (mission.request, answer))),
            },
            Err(fault) => self.failed(running, fault, begun, &author).await,
        }
    }

    /// Thinks, and corrects what came of it, within the mission's budget, until a round comes to something or no other makes sense. What the
    /// model cannot do goes to the server that stands by, where there is one.
    pub(super) async fn rounds(self: &Arc<Self>, thinking: &Thinking<'_>) -> Result<Option<Answer>, Fault> {
        let spent = thinking.spent;
        spent.begin();
        let (mut round, mut corrections) = (0, 0);
        let mut correction = None;
        let mut server: Option<String> = None;
        loop {
            round += 1;
            lock(thinking.mission).rounds = round;
            let cycle = Cycle {
                kernel: self,
                thinking,
                round,
                rounds_before: corrections,
                correction: correction.take(),
                tokens_left: spent.budget.tokens.saturating_sub(spent.tokens()),
                is_escalated: server.is_some(),
            };
            if let (Some(server), 0) = (&server, corrections) {
                cycle.tell_escalation(server);
            }
            let end = tokio::select! {
                biased;
                end = cycle.run() => end,
                fault = spent.over() => End::Failed { fault, left: None },
            };
            let (fault, left) = match end {
                End::Complete(answer) => return Ok(answer),
                End::Failed { fault, left } => (fault, left),
            };
            let Some(left) = left else {
                return Err(fault);
            };
            if left.is_correctable && corrections < spent.budget.corrections {
                corrections += 1;
            } else if left.escalates && server.is_none() && thinking.tried.is_none() {
                server = self.mind.model.server().await;
                if server.is_none() {
                    return Err(fault);
                }
                corrections = 0;
            } else {
                return Err(fault);
            }
            correction = Some(left.correction);
        }
    }

    async fn failed(&self, running: &Running, mut fault: Fault, begun: Instant, author: &str) -> Outcome {
        fault.thought = Some(lock(&running.mission).id);
        self.record_failure(running, &fault, begun, author).await;
        Outcome { result: Err(fault) }
    }

    /// Every mission under way, oldest first.
    pub fn missions(&self) -> Vec<MissionView> {
        let running: Vec<Running> = self.mind.lock().values().cloned().collect();
        let view = |running: &Running| {
            let mission = lock(&running.mission).clone();
            let state = match self.mind.gate.has_queued(mission.id) {
                true => "queued".to_owned(),
                false => mission
                    .events
                    .last()
                    .map_or("begun".to_owned(), |event| event.state.clone()),
            };
            MissionView {
                id: mission.id,
                receiver: mission.receiver,
                name: name_of(self.world(), mission.receiver),
                selector: mission.selector,
                state,
                priority: running.priority,
                round: mission.rounds,
                model_calls: mission.model_calls,
                tokens: running.spent.tokens(),
                token_budget: running.spent.budget.tokens,
                begun_unix_ms: mission.begun_unix_ms,
                elapsed_ms: unix_ms().saturating_sub(mission.begun_unix_ms),
                waiting: running.events.receiver_count() as u32,
            }
        };
        let mut views: Vec<MissionView> = running.iter().map(view).collect();
        views.sort_by_key(|view| view.id);
        views
    }

    /// Writes an event of a mission that belongs to no step of its cycle.
    fn note(&self, running: &Running, kind: &str, fill: impl FnOnce(&mut Event)) {
        let newest = self.image.state.standing().last;
        let (mut event, thought, round) = {
            let mission = lock(&running.mission);
            let event = Event::of(&mission, &running.brief, mission.rounds, newest, kind);
            (event, mission.id, mission.rounds)
        };
        event.active_persona = "orchestrator".into();
        fill(&mut event);
        self.mind.tell_followers(&ThoughtEvent {
            thought,
            round,
            unix_ms: unix_ms(),
            kind: kind.to_owned(),
            state: event.final_outcome.clone().unwrap_or_default(),
            detail: event
                .validation_result
                .clone()
                .unwrap_or_else(|| format!("{} {}", event.receiver, event.selector)),
        });
        self.mind.audit.write(event);
    }

    fn note_end(&self, running: &Running, outcome: &Outcome) {
        self.note(running, "MISSION_ENDED", |event| match &outcome.result {
            Ok(_) => event.final_outcome = Some("complete".into()),
            Err(fault) => {
                let word = match fault.reason.as_str() {
                    reason::CANCELLED => "cancelled",
                    _ => "failed",
                };
                event.final_outcome = Some(word.into());
                event.validation_result = Some(fault.message.clone());
            }
        });
    }

    /// The objects stay as they were; only the mission's own record tells of it.
    async fn record_failure(&self, running: &Running, fault: &Fault, begun: Instant, author: &str) {
        let mut draft = Draft::new(author.to_owned());
        let mission = {
            let mut mission = lock(&running.mission);
            mission.stage = Stage::Failed(fault.clone());
            mission.elapsed_ms = begun.elapsed().as_millis() as u64;
            mission.clone()
        };
        draft.thought = Some(mission.id);
        draft.mission = Some(mission);
        if let Err(error) = self.image.committer.commit(draft).await {
            tracing::error!(%error, "a failed mission could not be recorded; it will be taken up again");
        }
    }
}

/// Whether the message itself is carried out when its method is there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Resend {
    Once,
    Never,
}

/// Whether the mission's record is in the log.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Durable {
    NotYet,
    Already,
}

/// A sender that waits for a mission.
struct Joined {
    running: Running,
    heard: broadcast::Receiver<ThoughtEvent>,
    /// This sender's message is the one that the mission carries out.
    is_first: bool,
}

impl Joined {
    async fn wait(mut self, asker: &Asker) -> Result<Thought, Fault> {
        let thought = lock(&self.running.mission).id;
        loop {
            let over = self.running.done.borrow().is_some();
            if over {
                break;
            }
            tokio::select! {
                event = self.heard.recv() => match event {
                    Ok(event) => tell(asker, event),
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => break,
                },
                changed = self.running.done.changed() => if changed.is_err() { break },
            }
        }
        while let Ok(event) = self.heard.try_recv() {
            tell(asker, event);
        }
        let outcome = self.running.done.borrow().clone();
        match outcome {
            None => Err(Fault::new(
                reason::STOPPING,
                "the kernel is stopping; the mission is durable and goes on later",
            )),
            Some(Outcome { result: Err(fault) }) => Err(fault),
            Some(Outcome { result: Ok(None) }) => Ok(Thought {
                thought: Some(thought),
                answer: None,
            }),
            Some(Outcome {
                result: Ok(Some((request, answer))),
            }) => {
                let is_mine = self.is_first || (request.is_some() && request == asker.request);
                Ok(Thought {
                    thought: Some(thought),
                    answer: is_mine.then_some(answer),
                })
            }
        }
    }
}

fn tell(asker: &Asker, event: ThoughtEvent) {
    if let Some(events) = &asker.events {
        let _ = events.send(event);
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

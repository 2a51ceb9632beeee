//! The kernel: one open image, its workers, its mind.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use shared::bridge::{
    Answer, Call, Fault, Finding, KernelFigures, KernelStatus, ThoughtEvent, ThoughtView, Unit,
};
use shared::id::{ObjectId, ThoughtId};
use shared::reason;
use tokio::sync::{broadcast, watch};

use crate::codex;
use crate::contention::Contention;
use crate::figures::Figures;
use crate::image::Image;
use crate::image::draft::CommitError;
use crate::image::record::{Mission, RequestId, Stage};
use crate::memory::Memory;
use crate::mind::Mind;
use crate::names;
use crate::overlay::World;
use crate::reporter::Reporter;
use crate::requests::Requests;
use crate::transfers::Transfers;
use crate::upkeep;
use crate::workers::Workers;

/// Everything that serves requests. Shared by every connection.
pub struct Kernel {
    pub image: Image,
    pub workers: Arc<Workers>,
    pub mind: Mind,
    pub memory: Arc<Memory>,
    /// Let a person install what the guard refused, so that the jail can be tried alone. Off by default.
    pub install_refused: bool,
    pub started: Instant,
    pub clients: AtomicU32,
    pub sends: AtomicU64,
    pub conflicts: AtomicU64,
    /// Who waits for whom at objects that many change.
    pub contention: Arc<Contention>,
    /// The covenants that were compiled last.
    pub known_covenants: codex::covenants::Known,
    /// How many requests are under way.
    pub requests: Requests,
    /// How they fared.
    figures: Figures,
    /// Held while a pack, a verification or a backup runs, and while another kernel reads the same index.
    upkeep_turn: Arc<tokio::sync::Mutex<()>>,
    /// Requests that are being carried out; a repeat waits for the first.
    running: Mutex<HashMap<RequestId, Option<watch::Sender<()>>>>,
}

/// Who asks, and how to reach them while the request runs.
#[derive(Clone)]
pub struct Asker {
    pub author: String,
    /// Present when a repeat of this request must not run twice.
    pub request: Option<RequestId>,
    /// What this conversation has under way.
    pub transfers: Arc<Transfers>,
    /// Where thought events go.
    pub events: Option<broadcast::Sender<ThoughtEvent>>,
    /// Is told how far long work is.
    pub reporter: Arc<Reporter>,
}

impl Kernel {
    pub fn new(image: Image, workers: Arc<Workers>, mind: Mind, install_refused: bool) -> Arc<Kernel> {
        Arc::new(Kernel {
            image,
            memory: workers.memory(),
            workers,
            mind,
            install_refused,
            started: Instant::now(),
            clients: AtomicU32::new(0),
            sends: AtomicU64::new(0),
            conflicts: AtomicU64::new(0),
            contention: Arc::default(),
            known_covenants: Default::default(),
            requests: Requests::default(),
            figures: Figures::default(),
            upkeep_turn: Arc::default(),
            running: Mutex::new(HashMap::new()),
        })
    }

    /// Carries out one call. A call that was carried out before gets its stored reply.
    pub async fn call(self: &Arc<Self>, asker: Asker, call: Call) -> Result<Answer, Fault> {
        if !Figures::counts(&call) {
            return self.fulfil(asker, call).await;
        }
        let begun = Instant::now();
        let result = self.fulfil(asker, call).await;
        self.figures.note(begun.elapsed(), &result);
        result
    }

    async fn fulfil(self: &Arc<Self>, asker: Asker, call: Call) -> Result<Answer, Fault> {
        let _first = match asker.request.filter(|_| call.may_write()) {
            Some(request) => {
                let first = self.wait_for_first(request).await;
                if let Some(answer) = self.image.state.reply(&request) {
                    return Ok(answer);
                }
                Some(first)
            }
            None => None,
        };
        match call {
            Call::Send {
                receiver,
                selector,
                arguments,
                deadline_ms,
            } => {
                self.send_named(asker, &receiver, selector, arguments, deadline_ms)
                    .await
            }
            // What most requests are not must not make every request's task as large as the largest of these.
            other => Box::pin(self.call_other(asker, other)).await,
        }
    }

    async fn call_other(self: &Arc<Self>, asker: Asker, call: Call) -> Result<Answer, Fault> {
        match call {
            Call::Send { .. } => Box::pin(self.fulfil(asker, call)).await,
            Call::Inspect { object } => self.inspect(self.world(), &object),
            Call::New { parent, slots, name } => {
                let edit = self.made(self.world(), &asker.author, &parent, slots, name);
                self.edit(&asker, edit).await
            }
            Call::Set { object, slot, value } => {
                let edit = self.set(self.world(), &asker.author, &object, slot, value);
                self.edit(&asker, edit).await
            }
            Call::Define { object, source } => {
                let edit = self.defined(self.world(), &asker.author, &object, source);
                self.edit(&asker, edit).await
            }
            Call::Guard { source } => Ok(Answer::Verdict {
                findings: findings(&guard::check(
                    &source,
                    &guard::Expectation::any().allowing(&self.workers.allowed()),
                )),
            }),
            Call::Thoughts { id } => self.thoughts(id),
            Call::Status => Ok(Answer::Status(Box::new(self.status().await))),
            Call::History { object, slot, limit } => self.history(&object, slot.as_deref(), limit),
            Call::Log { from, limit } => self.log(from.as_deref(), limit),
            Call::InspectAt { object, at } => self.inspect_at(&object, &at),
            Call::Diff { from, to } => self.difference(&from, &to),
            Call::Undo { transaction } => self.undo(asker, transaction).await,
            Call::Verify => self.upkeep(asker, upkeep::verified).await,
            Call::Digest => self.upkeep(asker, upkeep::digested).await,
            Call::Pack => self.upkeep(asker, upkeep::packed).await,
            Call::Backup { folder } => {
                self.upkeep(asker, move |image, reporter| {
                    upkeep::backed(image, &folder, reporter)
                })
                .await
            }
            Call::Export {
                objects,
                depth,
                folder,
            } => self.export(asker, objects, depth, folder).await,
            Call::Import { folder, name } => self.import(asker, folder, name).await,
            Call::BlobBegin
            | Call::BlobWrite { .. }
            | Call::BlobEnd { .. }
            | Call::BlobOpen { .. }
            | Call::BlobRead { .. } => self.transfer(asker.transfers, call).await,
            Call::BranchNew { name } => self.begin_branch(&asker, &name).await,
            Call::BranchList => self.branches().await,
            Call::BranchShow { name } => self.show_branch(&name).await,
            Call::BranchDrop { name } => self.drop_branch(&name).await,
            Call::BranchCommit { name } => self.commit_branch(&asker, &name).await,
            Call::InBranch { branch, call } => self.call_in_branch(asker, &branch, call).await,
            Call::Missions => Ok(Answer::Missions(self.missions())),
            Call::Cancel { id } => match self.mind.cancel(id) {
                true => Ok(Answer::Cancelled { id }),
                false => Err(Fault::new(
                    reason::NO_THOUGHT,
                    format!("no mission {id} is under way; `batos missions` lists them"),
                )),
            },
            Call::Follow { id } => self.follow(asker, id).await,
            Call::Codex => self.codex(),
            Call::CodexImport { text, dry_run } => self.import_codex(asker, text, dry_run).await,
            Call::Why { object, selector } => self.why(&object, &selector),
            Call::AdapterImport {
                name,
                weights,
                config,
                replaces,
            } => self.import_adapter(&asker, name, weights, config, replaces).await,
            Call::AdapterList { name } => self.adapters(name).await,
            Call::AdapterDrop { name } => self.drop_adapter(&asker, name).await,
            Call::AdapterHold { name, hold } => self.hold_adapter(name, hold).await,
            Call::Figures => Ok(Answer::Figures(self.figures())),
            Call::MemoryBegin(source) => self.begin_memory(&asker, source).await,
            Call::MemoryAdd {
                document,
                from,
                to,
                passages,
                is_last,
            } => {
                self.add_memory(&asker, document, (from, to), passages, is_last)
                    .await
            }
            Call::MemoryText { source, text, meta } => self.add_text(&asker, source, text, meta).await,
            Call::MemorySearch {
                question,
                k,
                filters,
                at,
            } => self.search_memory(question, k, filters, at.as_deref()).await,
            Call::MemoryShow { object } => self.show_memory(&object),
            Call::MemoryForget { object } => self.forget_memory(&asker, &object).await,
            Call::MemoryStats => self.memory_figures().await,
            Call::MemoryEncode { from } => self.encode_memory(&asker, from).await,
            Call::View {
                object,
                fresh,
                workflow,
                deadline_ms,
            } => self.show_view(asker, &object, fresh, workflow, deadline_ms).await,
            Call::WorkflowTry { workflow, mission } => self.try_out(asker, workflow, mission).await,
            Call::Wish {
                object,
                selector,
                wish,
            } => self.wish(&asker, &object, selector, wish).await,
            Call::Wishes { object, selector } => self.wishes(&object, selector.as_deref()),
        }
    }

    /// Long work on the image's files, off the threads that serve; one at a time.
    async fn upkeep(
        self: &Arc<Self>,
        asker: Asker,
        work: impl FnOnce(&Image, &Reporter) -> Result<Answer, Fault> + Send + 'static,
    ) -> Result<Answer, Fault> {
        if self.upkeep_turn.try_lock().is_err() {
            asker
                .reporter
                .begin("waiting for another upkeep", Unit::Objects, None);
        }
        let _turn = self.upkeep_turn.lock().await;
        let kernel = self.clone();
        let done = tokio::task::spawn_blocking(move || work(&kernel.image, &asker.reporter)).await;
        done.unwrap_or_else(|error| Err(Fault::new(reason::IMAGE_FAILED, error.to_string())))
    }

    /// No upkeep begins until the guard is dropped; `None` while one runs.
    pub fn hold_upkeep(&self) -> Option<tokio::sync::OwnedMutexGuard<()>> {
        self.upkeep_turn.clone().try_lock_owned().ok()
    }

    /// Waits for the upkeep that runs, then brings the index up to date and leaves it so; no other upkeep begins until the guard is
    /// dropped. The index moves on by [`Image::thaw`].
    pub async fn freeze(self: Arc<Self>) -> Result<tokio::sync::OwnedMutexGuard<()>, String> {
        let turn = self.upkeep_turn.clone().lock_owned().await;
        let frozen = tokio::task::spawn_blocking(move || self.image.freeze()).await;
        match frozen {
            Ok(Ok(())) => Ok(turn),
            Ok(Err(error)) => Err(format!("the index cannot be brought up to date: {error}")),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Returns when no other task carries this request out; until the guard is dropped, none can.
    async fn wait_for_first(self: &Arc<Self>, request: RequestId) -> RunningRequest {
        loop {
            let mut other = {
                let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
                match running.entry(request) {
                    // Nearly nobody asks twice, so that what wakes a second one is made for it.
                    Entry::Occupied(first) => first
                        .into_mut()
                        .get_or_insert_with(|| watch::channel(()).0)
                        .subscribe(),
                    Entry::Vacant(place) => {
                        place.insert(None);
                        return RunningRequest {
                            kernel: self.clone(),
                            request,
                        };
                    }
                }
            };
            // An error means that the other has ended.
            while other.changed().await.is_ok() {}
        }
    }

    /// The object that a name means.
    pub fn resolve(&self, name: &str) -> Result<ObjectId, Fault> {
        names::resolve(self.world(), name)
    }

    /// The durable state alone, as most calls see it.
    pub fn world(&self) -> World<'_> {
        World::of(&self.image.state)
    }

    fn figures(&self) -> KernelFigures {
        let standing = self.image.state.standing();
        let (answered, failed, took) = self.figures.told();
        KernelFigures {
            pid: std::process::id(),
            epoch: standing.epoch,
            last_transaction: standing.last,
            answered,
            failed,
            took,
        }
    }

    fn thoughts(&self, id: Option<ThoughtId>) -> Result<Answer, Fault> {
        match id {
            Some(id) => {
                let live = self.mind.live(id);
                let mission = live.or_else(|| self.image.state.mission(id)).ok_or_else(|| {
                    Fault::new(
                        reason::NO_THOUGHT,
                        format!("there is no thought {id}; `batos thoughts` lists them"),
                    )
                })?;
                Ok(Answer::Thoughts(vec![view(mission, true)]))
            }
            None => Ok(Answer::Thoughts(
                self.image
                    .state
                    .missions()
                    .into_iter()
                    .map(|m| view(m, false))
                    .collect(),
            )),
        }
    }

    async fn import_codex(
        self: &Arc<Self>,
        asker: Asker,
        text: String,
        dry_run: bool,
    ) -> Result<Answer, Fault> {
        let kernel = self.clone();
        let (author, reporter) = (asker.author.clone(), asker.reporter.clone());
        let work = move || kernel.codex_edit(&author, &text, &reporter);
        let done = tokio::task::spawn_blocking(work).await;
        let (changes, edit) =
            done.unwrap_or_else(|error| Err(Fault::new(reason::INTERNAL, error.to_string())))?;
        if dry_run || changes.is_empty() {
            return Ok(Answer::CodexImported {
                changes,
                transaction: None,
            });
        }
        self.edit(&asker, Ok(edit)).await
    }

    /// Tells the asker what happens in thoughts until the one that is meant ends, or until the conversation does.
    async fn follow(&self, asker: Asker, id: Option<ThoughtId>) -> Result<Answer, Fault> {
        let Some(events) = asker.events else {
            return Err(Fault::new(reason::BAD_ARGUMENT, "who follows must watch"));
        };
        let mut heard = self.mind.follow();
        if let Some(id) = id
            && self.mind.live(id).is_none()
        {
            return match self.image.state.mission(id) {
                Some(_) => Ok(Answer::Followed),
                None => Err(Fault::new(
                    reason::NO_THOUGHT,
                    format!("there is no thought {id}; `batos thoughts` lists them"),
                )),
            };
        }
        loop {
            match heard.recv().await {
                Ok(event) if id.is_none_or(|id| id == event.thought) => {
                    let is_end = id.is_some() && event.kind == "MISSION_ENDED";
                    let _ = events.send(event);
                    if is_end {
                        return Ok(Answer::Followed);
                    }
                }
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return Ok(Answer::Followed),
            }
        }
    }

    async fn status(&self) -> KernelStatus {
        let standing = self.image.state.standing();
        // Not in place: a thread that stops serving ends some time, and the workers that it started with it.
        let state = self.image.state.clone();
        let counting = tokio::task::spawn_blocking(move || state.blobs.totals()).await;
        let (blobs, blob_bytes) = counting.unwrap_or_default();
        let inference = self.mind.model.describe().await;
        KernelStatus {
            version: env!("CARGO_PKG_VERSION").into(),
            pid: std::process::id(),
            epoch: standing.epoch,
            uptime_ms: self.started.elapsed().as_millis() as u64,
            last_transaction: standing.last,
            objects: standing.objects,
            log_bytes: standing.log_bytes,
            blobs,
            blob_bytes,
            clients: self.clients.load(Ordering::Relaxed),
            method_workers: self.workers.pids(),
            sends: self.sends.load(Ordering::Relaxed),
            conflicts: self.conflicts.load(Ordering::Relaxed),
            missions_open: self.mind.open_missions(),
            model: inference.model,
            embedder: inference.embedder,
            inference: inference.figures,
        }
    }
}

impl AsRef<Requests> for Kernel {
    fn as_ref(&self) -> &Requests {
        &self.requests
    }
}

/// A request that is being carried out; the next of the same id may look when it is dropped.
struct RunningRequest {
    kernel: Arc<Kernel>,
    request: RequestId,
}

impl Drop for RunningRequest {
    fn drop(&mut self) {
        self.kernel
            .running
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.request);
    }
}

/// A guard's verdict in the bridge's words.
pub fn findings(verdict: &guard::Verdict) -> Vec<Finding> {
    verdict
        .findings
        .iter()
        .map(|finding| Finding {
            rule: finding.rule.word().to_owned(),
            line: finding.line as u32,
            message: finding.message.clone(),
        })
        .collect()
}

/// The fault for a commit that did not happen.
pub fn commit_fault(error: CommitError) -> Fault {
    let message = error.to_string();
    match error {
        CommitError::Conflict(_) => Fault::new(
            reason::CONFLICT,
            format!("{message} while this was carried out, again and again; try later"),
        ),
        CommitError::Refused(_) | CommitError::Unmergeable(_) => Fault::new(reason::WRITE_REFUSED, message),
        CommitError::Stopping => Fault::new(reason::STOPPING, message),
        CommitError::Failed(_) | CommitError::Repeated(_) => Fault::new(reason::IMAGE_FAILED, message),
    }
}

pub fn view(mission: Mission, whole: bool) -> ThoughtView {
    let (outcome, message) = match &mission.stage {
        Stage::Open => ("open", String::new()),
        Stage::Complete => ("complete", String::new()),
        Stage::Failed(fault) => ("failed", fault.message.clone()),
    };
    ThoughtView {
        id: mission.id,
        receiver: mission.receiver,
        selector: mission.selector,
        outcome: outcome.into(),
        message,
        rounds: mission.rounds,
        model_calls: mission.model_calls,
        begun_unix_ms: mission.begun_unix_ms,
        elapsed_ms: mission.elapsed_ms,
        artifact: mission.artifact,
        events: if whole { mission.events } else { Vec::new() },
    }
}

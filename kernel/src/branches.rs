//! Calls about branches, and calls in them.

use std::sync::Arc;
use std::time::Duration;

use shared::activation::{Read, Write};
use shared::bridge::{Answer, BranchCall, BranchView, Fault};
use shared::id::TransactionId;
use shared::reason;
use shared::value::Value;
use tokio::task::block_in_place;

use crate::edit::Edit;
use crate::image::branch::view::View;
use crate::image::branch::{Branch, BranchError, Known};
use crate::image::draft::{Change, CommitError, place};
use crate::image::record::StoredReply;
use crate::kernel::{Asker, Kernel, commit_fault};
use crate::names::{known_name, name_of};
use crate::overlay::World;
use crate::send::{DEADLINE, Message, REPLAYS, Reified, Tried, unanswered};

/// What a call in a branch came to.
enum Done {
    /// It leaves nothing.
    Seen { reads: Vec<Read>, answer: Answer },
    Changed {
        reads: Vec<Read>,
        changes: Vec<Change>,
        answer: Answer,
    },
}

impl Kernel {
    pub async fn begin_branch(&self, asker: &Asker, name: &str) -> Result<Answer, Fault> {
        let branches = &self.image.branches;
        let _settling = branches.settling.lock().await;
        let begun = block_in_place(|| branches.begin(name, &asker.author, asker.request)).map_err(fault)?;
        Ok(Answer::Branch(self.branch_view(&begun)))
    }

    /// Every branch, and whether it could be committed now.
    pub async fn branches(&self) -> Result<Answer, Fault> {
        let view = |(name, known): (String, Known)| match known {
            Known::Open(branch) => self.branch_view(&branch),
            Known::Damaged(what) => damaged(name, what),
        };
        let list = self.image.branches.list();
        Ok(Answer::Branches(block_in_place(|| {
            list.into_iter().map(view).collect()
        })))
    }

    pub async fn show_branch(&self, name: &str) -> Result<Answer, Fault> {
        let branch = self.image.branches.find(name).map_err(fault)?;
        let mut view = branch.turn.lock().await;
        block_in_place(|| {
            self.refresh(&branch, &mut view)?;
            Ok(Answer::BranchShown {
                branch: self.branch_view(&branch),
                differences: view.overlay().differences(&self.image.state),
            })
        })
    }

    pub async fn drop_branch(&self, name: &str) -> Result<Answer, Fault> {
        let branches = &self.image.branches;
        let _settling = branches.settling.lock().await;
        let branch = match branches.find(name) {
            Ok(branch) => Some(branch),
            Err(BranchError::Damaged { .. }) => None,
            Err(error) => return Err(fault(error)),
        };
        // A send that is under way ends first.
        let _turn = match &branch {
            Some(branch) => Some(branch.turn.lock().await),
            None => None,
        };
        block_in_place(|| branches.drop(name)).map_err(fault)?;
        Ok(Answer::BranchDropped {
            name: name.to_owned(),
        })
    }

    /// One ordinary transaction of everything that the branch changed, if all that it read and replaced is as it was.
    pub async fn commit_branch(&self, asker: &Asker, name: &str) -> Result<Answer, Fault> {
        let branches = &self.image.branches;
        let _settling = branches.settling.lock().await;
        let branch = branches.find(name).map_err(fault)?;
        let _turn = branch.turn.lock().await;
        if branch.counts().0 == 0 {
            return Err(Fault::new(
                reason::BAD_ARGUMENT,
                format!("the branch {name} changes nothing; `batos branch drop {name}` ends it"),
            ));
        }
        let conflicts = block_in_place(|| branch.conflicts(&self.image.state));
        if !conflicts.is_empty() {
            return Err(self.branch_conflict(name, &conflicts));
        }
        let author = format!("{}, branch {name}", asker.author);
        let draft = block_in_place(|| {
            branches.committing(&branch, author, asker.request, |sends, objects| {
                Answer::BranchCommitted {
                    name: name.to_owned(),
                    sends,
                    objects,
                    transaction: TransactionId(0),
                }
            })
        })
        .map_err(fault)?;
        let answer = match self.image.committer.commit(draft).await {
            Ok(committed) => committed.answer,
            Err(CommitError::Repeated(answer)) => Some(*answer),
            Err(error) => {
                if let Err(error) = block_in_place(|| branches.keep(&branch)) {
                    tracing::warn!(branch = name, %error, "a commit that did not come to be could not be noted");
                }
                return Err(match error {
                    CommitError::Conflict(conflicts) => self.branch_conflict(name, &conflicts),
                    error => commit_fault(error),
                });
            }
        };
        if let Err(error) = block_in_place(|| branches.drop(name)) {
            // The next opening finds the commit in the log.
            tracing::error!(branch = name, %error, "the file of a committed branch could not be removed");
            branches.forget(name);
        }
        answer.ok_or_else(|| Fault::new(reason::INTERNAL, "a commit has no answer"))
    }

    /// Sends, looks or edits in a branch; one call after the other.
    pub async fn call_in_branch(
        self: &Arc<Self>,
        asker: Asker,
        name: &str,
        call: BranchCall,
    ) -> Result<Answer, Fault> {
        let deadline = match &call {
            BranchCall::Send {
                deadline_ms: Some(deadline_ms),
                ..
            } => Duration::from_millis(*deadline_ms),
            _ => DEADLINE,
        };
        match tokio::time::timeout(deadline, self.carry_out_in_branch(&asker, name, call)).await {
            Ok(result) => result,
            Err(_) => Err(Fault::new(
                reason::DEADLINE,
                format!("no answer within {} ms", deadline.as_millis()),
            )),
        }
    }

    async fn carry_out_in_branch(
        &self,
        asker: &Asker,
        name: &str,
        call: BranchCall,
    ) -> Result<Answer, Fault> {
        let (state, branches) = (&self.image.state, &self.image.branches);
        let branch = branches.find(name).map_err(fault)?;
        let mut view = branch.turn.lock().await;
        // It may have ended while this waited.
        if !Arc::ptr_eq(&branch, &branches.find(name).map_err(fault)?) {
            return Err(fault(BranchError::None(name.to_owned())));
        }
        if let Some(answer) = asker.request.and_then(|request| branch.reply(&request)) {
            return Ok(answer);
        }
        let mut replays = 0;
        loop {
            block_in_place(|| self.refresh(&branch, &mut view))?;
            let world = World::over(state, view.overlay());
            let done = match call.clone() {
                BranchCall::Send {
                    receiver,
                    selector,
                    arguments,
                    ..
                } => {
                    let message = self.message(world, &receiver, selector, arguments)?;
                    self.send_in_branch(world, name, &message).await?
                }
                BranchCall::Inspect { object } => return self.inspect(world, &object),
                BranchCall::New { parent, slots, name } => {
                    edited(self.made(world, &asker.author, &parent, slots, name)?)
                }
                BranchCall::Set { object, slot, value } => {
                    edited(self.set(world, &asker.author, &object, slot, value)?)
                }
                BranchCall::Define { object, source } => {
                    edited(self.defined(world, &asker.author, &object, source)?)
                }
            };
            let (reads, kept, answer) = match done {
                Done::Seen { reads, answer } => (reads, None, answer),
                Done::Changed {
                    reads,
                    changes,
                    answer,
                } => (reads, Some(changes), answer),
            };
            let reads = view.overlay().of_the_image(reads);
            if let Err(conflict) = self.image.committer.validate(&reads) {
                replays += 1;
                if replays > REPLAYS {
                    return Err(commit_fault(conflict));
                }
                tokio::time::sleep(Duration::from_micros(u64::from(replays) * 200)).await;
                continue;
            }
            if let Some(changes) = kept {
                let mut reads = reads;
                reads.extend(self.keep_covenants(Some(view.overlay()), &changes)?);
                let reply = asker.request.map(|request| StoredReply {
                    request,
                    answer: answer.clone(),
                });
                block_in_place(|| branches.change(&branch, &mut view, &asker.author, reads, changes, reply))
                    .map_err(fault)?;
            }
            return Ok(answer);
        }
    }

    async fn send_in_branch(&self, world: World<'_>, branch: &str, message: &Message) -> Result<Done, Fault> {
        let tried = match self.try_message(world, message).await? {
            Tried::Missed(missed) => match self.reify(world, &missed).await? {
                Reified::Tried(tried) => tried,
                Reified::Mission => {
                    let receiver = name_of(world, missed.receiver);
                    return Err(Fault::new(
                        reason::NOT_UNDERSTOOD,
                        format!(
                            "{receiver} does not understand {selector}, and nothing is thought about in a branch: send the message without the branch, so that the method is written in the image and understood here too, or define it here: batos --branch {branch} define {receiver} FILE",
                            selector = missed.selector
                        ),
                    ));
                }
            },
            tried => tried,
        };
        match tried {
            Tried::Data(value) => Ok(sent(value, Vec::new(), Vec::new())),
            Tried::Ran {
                result,
                reads,
                writes,
            } => Ok(sent(result, reads, writes)),
            Tried::Missed(other) => Err(unanswered(&name_of(world, message.receiver), &other)),
        }
    }

    /// Brings a branch in front of the state as it is now.
    fn refresh(&self, branch: &Branch, view: &mut View) -> Result<(), Fault> {
        view.refresh(&self.image.state, branch).map_err(|error| {
            Fault::new(
                reason::CONFLICT,
                format!(
                    "the image has changed so that the branch {0} does not fit it any more ({error}); `batos branch drop {0}` ends it",
                    branch.name
                ),
            )
        })
    }

    fn branch_view(&self, branch: &Branch) -> BranchView {
        let (sends, objects) = branch.counts();
        let state = &self.image.state;
        let mut conflicts = self.named(&branch.conflicts(state));
        if conflicts.is_empty() {
            conflicts.extend(branch.misfit(state).map(|error| error.to_string()));
        }
        BranchView {
            name: branch.name.clone(),
            base: branch.header.base,
            begun_unix_ms: branch.header.unix_ms,
            author: branch.author.clone(),
            sends,
            objects,
            bytes: branch.bytes(),
            conflicts,
            damage: None,
        }
    }

    fn branch_conflict(&self, name: &str, conflicts: &[Read]) -> Fault {
        Fault::new(
            reason::CONFLICT,
            format!(
                "nothing was committed, and the branch {name} is as it was: since it read or replaced them, others have changed {}",
                self.named(conflicts).join(", ")
            ),
        )
    }

    /// The places of reads, each once, with the names of their objects.
    fn named(&self, reads: &[Read]) -> Vec<String> {
        let mut words: Vec<String> = Vec::new();
        for read in reads {
            let word = match known_name(self.world(), read.object) {
                Some(name) => format!("{} ({name})", place(read)),
                None => place(read),
            };
            if !words.contains(&word) {
                words.push(word);
            }
        }
        words
    }
}

fn sent(result: Value, reads: Vec<Read>, writes: Vec<Write>) -> Done {
    let answer = Answer::Sent {
        result,
        transaction: TransactionId(0),
        thought: None,
    };
    match writes.is_empty() {
        true => Done::Seen { reads, answer },
        false => Done::Changed {
            reads,
            changes: writes.into_iter().map(Change::from).collect(),
            answer,
        },
    }
}

fn edited((draft, answer): Edit) -> Done {
    Done::Changed {
        reads: draft.reads,
        changes: draft.changes,
        answer,
    }
}

fn damaged(name: String, what: String) -> BranchView {
    BranchView {
        name,
        base: TransactionId(0),
        begun_unix_ms: 0,
        author: String::new(),
        sends: 0,
        objects: 0,
        bytes: 0,
        conflicts: Vec::new(),
        damage: Some(what),
    }
}

fn fault(error: BranchError) -> Fault {
    let message = error.to_string();
    let word = match error {
        BranchError::None(_) => reason::NO_BRANCH,
        BranchError::Name(_) | BranchError::Exists(_) => reason::BAD_ARGUMENT,
        BranchError::TooMany | BranchError::Full => reason::TOO_LARGE,
        BranchError::Damaged { .. } => reason::BRANCH_DAMAGED,
        BranchError::Broken(_) | BranchError::Retired(_) | BranchError::File(_) => reason::IMAGE_FAILED,
        BranchError::Refused(error) => return commit_fault(error),
    };
    Fault::new(word, message)
}

//! The end of a cycle that came to something: one transaction.

use shared::activation::{Mode, Outcome};
use shared::bridge::{Answer, Fault};
use shared::id::TransactionId;

use super::directive::broken_mind;
use super::{Attempt, Cycle, Step, message, put_method};
use crate::image::draft::{Change, CommitError, Draft};
use crate::image::record::{Mission, Stage};
use crate::kernel::commit_fault;
use crate::overlay::World;
use crate::send::{check_declared, with_transaction};

impl Cycle<'_> {
    /// Method, message and cycle in one transaction.
    pub(super) async fn install(&self, attempt: &mut Attempt, source: String) -> Result<Step, Fault> {
        if !attempt.proven.contains(&source) {
            return Err(broken_mind(
                "a state asked to install a source that did not pass guard and trial",
            ));
        }
        if !self.is_at_end(attempt) {
            return Err(broken_mind(&format!(
                "the state {} asked to install before the end of its workflow",
                attempt.state_name()
            )));
        }
        let mission = self.lock().clone();
        let state = &self.kernel.image.state;
        let method = vec![put_method(&mission, &source)];
        attempt.overlay.apply(state, method).map_err(commit_fault)?;
        let mut answer = None;
        if self.thinking.resend {
            let activation = self.message_activation(&mission, Mode::Proven);
            let finished = self.run_in_overlay(&attempt.overlay, &activation).await?;
            check_declared(&message(&mission), finished.declared, &finished.writes)?;
            let Outcome::Answered(result) = finished.outcome else {
                return Err(broken_mind(
                    "a method that passed its trial sent a message that nobody understands",
                ));
            };
            let changes: Vec<Change> = finished.writes.into_iter().map(Change::from).collect();
            let reads = self.kernel.keep_covenants(Some(&attempt.overlay), &changes)?;
            attempt.overlay.apply(state, changes).map_err(commit_fault)?;
            attempt.overlay.absorb(finished.reads);
            attempt.overlay.absorb(reads);
            answer = Some(Answer::Sent {
                result,
                transaction: TransactionId(0),
                thought: Some(mission.id),
            });
        }
        // The method must still be missing, or somebody's hand was quicker.
        let looked = World::of(state).look_up(mission.receiver, &mission.selector);
        attempt.overlay.reads.extend(looked.reads);
        let place = format!("{}.{}", mission.receiver, mission.selector);
        self.commit(attempt, source, answer, &place).await
    }

    /// All that the cycle changed, with its mission's record and the stored reply. `place` is where the artifact stands then.
    pub(super) async fn commit(
        &self,
        attempt: &mut Attempt,
        artifact: String,
        answer: Option<Answer>,
        place: &str,
    ) -> Result<Step, Fault> {
        let done = {
            let mut done = self.lock();
            done.elapsed_ms = self.thinking.begun.elapsed().as_millis() as u64;
            done.artifact = artifact;
            Mission {
                stage: Stage::Complete,
                ..done.clone()
            }
        };
        if self.thinking.tried.is_some() {
            return Ok(Step::complete(None));
        }
        let draft = Draft {
            thought: Some(done.id),
            reads: std::mem::take(&mut attempt.overlay.reads),
            changes: std::mem::take(&mut attempt.overlay.changes),
            reply: done.request.zip(answer.clone()),
            mission: Some(done),
            ..Draft::new(self.thinking.author.to_owned())
        };
        // What may be durable is not cancelled any more.
        self.thinking.spent.settle();
        let committed = self.kernel.image.committer.commit(draft).await;
        self.thinking.spent.unsettle();
        match committed {
            Ok(committed) => {
                self.audit_in(attempt, "COMMITTED", |event| {
                    event.transaction_id = committed.transaction.0;
                    event.artifact_oid = Some(place.to_owned());
                });
                let answer = answer.map(|answer| with_transaction(answer, committed.transaction));
                Ok(Step::complete(answer))
            }
            Err(CommitError::Conflict(_)) => Ok(Step::Replay),
            Err(CommitError::Repeated(answer)) => Ok(Step::complete(Some(*answer))),
            Err(error) => Err(commit_fault(error)),
        }
    }
}

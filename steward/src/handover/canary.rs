//! The same questions to the old kernel and to the new one, which follows it: what has not changed in between must be answered alike.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use shared::bridge::{Answer, Call, Fault};
use shared::handover::ToKernel;

/// Objects that every image has and that are seldom changed.
const OBJECTS: [&str; 4] = ["lobby", "traits", "genesis", "orchestrator"];
/// Every question of this process has another number.
static NEXT: AtomicU64 = AtomicU64::new(1);

type Said = Result<Answer, Fault>;

/// What was asked, and what came of it.
pub struct Canary(BTreeMap<u64, Question>);

#[derive(Default)]
struct Question {
    object: &'static str,
    old: Option<Said>,
    new: Option<Said>,
}

impl Canary {
    /// And what both are to be asked.
    pub fn begin() -> (Canary, Vec<ToKernel>) {
        let mut asked = BTreeMap::new();
        let mut questions = Vec::new();
        for object in OBJECTS {
            let question = NEXT.fetch_add(1, Ordering::Relaxed);
            asked.insert(
                question,
                Question {
                    object,
                    ..Question::default()
                },
            );
            let call = Call::Inspect {
                object: object.to_owned(),
            };
            questions.push(ToKernel::Ask { question, call });
        }
        (Canary(asked), questions)
    }

    pub fn old_said(&mut self, question: u64, said: Said) {
        if let Some(asked) = self.0.get_mut(&question) {
            asked.old = Some(said);
        }
    }

    pub fn new_said(&mut self, question: u64, said: Said) {
        if let Some(asked) = self.0.get_mut(&question) {
            asked.new = Some(said);
        }
    }

    /// Whether they agree; `None` until both have answered everything.
    pub fn verdict(&self) -> Option<Result<(), String>> {
        let mut verdict = Ok(());
        for asked in self.0.values() {
            let (old, new) = (asked.old.as_ref()?, asked.new.as_ref()?);
            if !agree(old, new) {
                verdict = Err(format!("asked for {}, it says {}", asked.object, told(new)));
            }
        }
        Some(verdict)
    }
}

/// An object that was changed meanwhile proves nothing.
fn agree(old: &Said, new: &Said) -> bool {
    match (old, new) {
        (Ok(Answer::Object(old)), Ok(Answer::Object(new))) => {
            old.object.version != new.object.version || old.object == new.object
        }
        (Err(old), Err(new)) => old.reason == new.reason,
        _ => false,
    }
}

fn told(said: &Said) -> String {
    let mut text = match said {
        Ok(answer) => format!("{answer:?}"),
        Err(fault) => fault.message.clone(),
    };
    if let Some((end, _)) = text.char_indices().nth(200) {
        text.truncate(end);
    }
    text
}

#[cfg(test)]
mod tests {
    use shared::bridge::ObjectView;
    use shared::id::{ObjectId, TransactionId};
    use shared::object::ObjectImage;

    use super::*;

    fn object(id: u64, version: u64) -> Said {
        Ok(Answer::Object(ObjectView {
            object: ObjectImage {
                id: ObjectId(id),
                version: TransactionId(version),
                slots: Vec::new(),
            },
            name: None,
            chain: Vec::new(),
            entries: 0,
            first_entries: Vec::new(),
        }))
    }

    #[test]
    fn only_what_has_not_changed_is_compared() {
        let check = |new: Said, agrees: bool| {
            let (mut canary, questions) = Canary::begin();
            for question in &questions {
                let ToKernel::Ask { question, .. } = question else {
                    panic!("{question:?}")
                };
                assert!(canary.verdict().is_none());
                canary.old_said(*question, object(1, 7));
                assert!(canary.verdict().is_none());
                canary.new_said(*question, new.clone());
            }
            assert_eq!(canary.verdict().unwrap().is_ok(), agrees, "{new:?}");
        };
        check(object(1, 7), true);
        check(object(2, 8), true);
        check(object(2, 7), false);
        check(Err(Fault::new("no_object", "there is none")), false);
        check(Ok(Answer::Thoughts(Vec::new())), false);
    }
}

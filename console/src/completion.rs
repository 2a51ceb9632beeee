//! What the Tab key offers: commands, names and paths of objects, slots, selectors. Asked from the image each time.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::time::Duration;

use rustyline::completion::Completer;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::validate::Validator;
use rustyline::{Context, Helper};
use shared::bridge::{Answer, Call, ObjectView};
use shared::home::Home;
use shared::value::Value;

use crate::kernel::{Kernel, Manner};
use crate::line::{OWN, programs};

/// A key press must not hang when the kernel is away.
const PATIENCE: Duration = Duration::from_millis(500);
/// How far up the delegation chain selectors are collected.
const MAX_CHAIN: usize = 16;

/// The completer of one home.
pub struct Completion {
    /// A conversation of its own: rustyline completes by a shared reference.
    kernel: RefCell<Kernel>,
    branch: Option<String>,
}

/// What stands under the cursor.
#[derive(Debug, PartialEq)]
enum Wanted<'a> {
    CommandOrObject,
    Object,
    Selector(&'a str),
    Slot(&'a str),
    Nothing,
}

impl Completion {
    pub fn of(home: &Home) -> Completion {
        Completion {
            kernel: RefCell::new(Kernel::of(home)),
            branch: None,
        }
    }

    /// Names are those of this branch from now on; `None` is the image itself.
    pub fn enter(&mut self, branch: Option<&str>) {
        self.branch = branch.map(str::to_owned);
    }

    fn candidates(&self, line: &str, part: &str) -> BTreeSet<String> {
        match wanted(line) {
            Wanted::CommandOrObject => {
                let mut found = self.objects(part);
                found.extend(OWN.iter().map(ToString::to_string));
                found.extend(programs());
                found
            }
            Wanted::Object => self.objects(part),
            Wanted::Selector(receiver) => self.selectors(receiver),
            Wanted::Slot(object) => self
                .inspect(object)
                .map(|view| slot_names(&view, |_| true))
                .unwrap_or_default(),
            Wanted::Nothing => BTreeSet::new(),
        }
    }

    /// Names in the lobby, or the paths that go on from what stands before the last dot.
    fn objects(&self, part: &str) -> BTreeSet<String> {
        let (holder, prefix) = match part.rsplit_once('.') {
            Some((path, _)) => (path.to_owned(), format!("{path}.")),
            None => ("#1".to_owned(), String::new()),
        };
        let view = self.inspect(&holder);
        let names = view
            .map(|view| slot_names(&view, |value| matches!(value, Value::Ref(_))))
            .unwrap_or_default();
        names.into_iter().map(|name| format!("{prefix}{name}")).collect()
    }

    /// Methods of the receiver and of what it delegates to.
    fn selectors(&self, receiver: &str) -> BTreeSet<String> {
        let is_method = |value: &Value| matches!(value, Value::Method(_));
        let Some(view) = self.inspect(receiver) else {
            return BTreeSet::new();
        };
        let mut found = slot_names(&view, is_method);
        for parent in view.chain.iter().take(MAX_CHAIN) {
            if let Some(view) = self.inspect(parent) {
                found.extend(slot_names(&view, is_method));
            }
        }
        found
    }

    fn inspect(&self, object: &str) -> Option<ObjectView> {
        let manner = Manner {
            patience: Some(PATIENCE),
            ..Manner::plain()
        };
        let call = Call::Inspect {
            object: object.to_owned(),
        };
        let within = self
            .branch
            .clone()
            .and_then(|branch| call.clone().in_branch(branch));
        let call = within.unwrap_or(call);
        match self.kernel.borrow_mut().call(call, manner).ok()?.answer {
            Answer::Object(view) => Some(view),
            _ => None,
        }
    }
}

fn slot_names(view: &ObjectView, is_wanted: impl Fn(&Value) -> bool) -> BTreeSet<String> {
    view.object
        .slots
        .iter()
        .filter(|slot| is_wanted(&slot.value))
        .map(|slot| slot.name.clone())
        .collect()
}

/// What the word that ends a line can be.
fn wanted(line: &str) -> Wanted<'_> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let before = if line.ends_with(char::is_whitespace) {
        &words[..]
    } else {
        &words[..words.len().saturating_sub(1)]
    };
    match before {
        [] => Wanted::CommandOrObject,
        ["inspect" | "set" | "define" | "new" | "send" | "why" | "wish" | "history" | "export"] => {
            Wanted::Object
        }
        ["set" | "history", object] => Wanted::Slot(object),
        ["send" | "why" | "wish", receiver] => Wanted::Selector(receiver),
        [command, ..] if OWN.contains(command) || programs().iter().any(|name| name == command) => {
            Wanted::Nothing
        }
        [receiver] => Wanted::Selector(receiver),
        _ => Wanted::Nothing,
    }
}

impl Completer for Completion {
    type Candidate = String;

    fn complete(&self, line: &str, pos: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        let line = line.get(..pos).unwrap_or(line);
        let start = line.rfind(char::is_whitespace).map_or(0, |at| at + 1);
        let part = line.get(start..).unwrap_or_default();
        let found = self
            .candidates(line, part)
            .into_iter()
            .filter(|name| name.starts_with(part))
            .collect();
        Ok((start, found))
    }
}

impl Hinter for Completion {
    type Hint = String;
}

impl Highlighter for Completion {}
impl Validator for Completion {}
impl Helper for Completion {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake_kernel::FakeKernel;
    use shared::bridge::{Fault, ToClient};
    use shared::id::{ObjectId, TransactionId};
    use shared::object::{ObjectImage, SlotImage};

    fn view(id: u64, slots: &[(&str, Value)], chain: &[&str]) -> Answer {
        let slot = |(name, value): &(&str, Value)| SlotImage {
            name: (*name).into(),
            value: value.clone(),
            changed: TransactionId(1),
        };
        Answer::Object(ObjectView {
            object: ObjectImage {
                id: ObjectId(id),
                version: TransactionId(1),
                slots: slots.iter().map(slot).collect(),
            },
            name: None,
            chain: chain.iter().map(|name| (*name).to_owned()).collect(),
            entries: 0,
            first_entries: Vec::new(),
        })
    }

    #[test]
    fn tab_offers_what_the_image_holds() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::resolve(Some(folder.path())).unwrap();
        let method = || Value::Method("def m(self):\n    return 1\n".into());
        let _fake = FakeKernel::start(&home, move |request| {
            let Call::Inspect { object } = request.call else {
                panic!("only inspect")
            };
            let result = match object.as_str() {
                "#1" => Ok(view(
                    1,
                    &[("genesis", Value::Ref(ObjectId(2))), ("count", Value::Int(1))],
                    &[],
                )),
                "genesis" => Ok(view(
                    2,
                    &[("greet", method()), ("mood", Value::None)],
                    &["traits"],
                )),
                "traits" => Ok(view(3, &[("clone", method())], &[])),
                _ => Err(Fault::new("no_object", "none")),
            };
            vec![ToClient::Reply {
                sequence: request.sequence,
                result,
            }]
        });
        let completion = Completion::of(&home);
        let offered = |line: &str| {
            let history = rustyline::history::MemHistory::new();
            completion
                .complete(line, line.len(), &Context::new(&history))
                .unwrap()
        };
        assert_eq!(offered("gen"), (0, vec!["genesis".to_owned()]));
        assert_eq!(offered("inspect "), (8, vec!["genesis".to_owned()]));
        assert_eq!(
            offered("genesis "),
            (8, vec!["clone".to_owned(), "greet".to_owned()])
        );
        assert_eq!(offered("hist"), (0, vec!["history".to_owned()]));
        assert_eq!(offered("history gen"), (8, vec!["genesis".to_owned()]));
        assert_eq!(offered("set genesis m"), (12, vec!["mood".to_owned()]));
        assert_eq!(offered("nobody x"), (7, vec![]));
        assert_eq!(offered("genesis greet x"), (14, vec![]));
    }
}

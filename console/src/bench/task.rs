//! A task as its file has it: read raw, checked once.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use shared::example::{Example, Expected};
use shared::json::to_hex;

use super::notation::{Drawing, drawing, example, named};
use super::part::{Part, hash};

/// Hidden examples that a task needs at least.
const MIN_HIDDEN: usize = 5;
const BUDGET: Budget = Budget {
    tokens: 10_752,
    seconds: 140,
};

/// One thing that an object lacks.
#[derive(Clone, Debug)]
pub struct Task {
    pub id: String,
    pub family: String,
    pub part: Part,
    /// In hexadecimal, of all that it says.
    pub hash: String,
    /// The first is the receiver.
    pub objects: Vec<Drawing>,
    /// Of objects of the task, there before the message is sent.
    pub methods: Vec<Method>,
    pub covenants: Vec<Covenant>,
    pub selector: String,
    /// The first is the message that is sent.
    pub visible: Vec<Example>,
    /// What is wanted, in words.
    pub intent: String,
    pub hidden: Vec<Example>,
    /// `SLOT` of the receiver or `OBJECT.SLOT`, sorted.
    pub writes: Vec<String>,
    pub budget: Budget,
    pub answer: Answer,
}

#[derive(Clone, Debug)]
pub enum Answer {
    /// The source of a method that does it; never shown to a model.
    Reference(String),
    /// Nothing can do it, or it is not clear what is wanted: it is to be refused.
    Refusal { kind: Refusal, why: String },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    Impossible,
    Ambiguous,
}

/// What the mission of a task may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    pub tokens: u64,
    pub seconds: u64,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Method {
    pub on: String,
    pub source: String,
}

/// A data covenant on an object of the task, which stands in the lobby under its name and is made once.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Covenant {
    /// `OBJECT.SLOT`.
    pub binds: String,
    pub schema: String,
}

/// A file that cannot be read as tasks; says where.
#[derive(Debug, thiserror::Error)]
#[error("{path}{task}: {message}", path = path.display())]
pub struct TaskError {
    path: PathBuf,
    task: String,
    message: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    family: String,
    /// For who reads the file.
    #[serde(rename = "about")]
    _about: String,
    #[serde(rename = "task", default)]
    tasks: Vec<RawTask>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTask {
    id: String,
    objects: Vec<String>,
    #[serde(default)]
    methods: Vec<Method>,
    #[serde(default)]
    covenants: Vec<Covenant>,
    selector: String,
    intent: String,
    visible: Vec<String>,
    #[serde(default)]
    hidden: Vec<String>,
    #[serde(default)]
    writes: Vec<String>,
    reference: Option<String>,
    impossible: Option<String>,
    ambiguous: Option<String>,
    budget: Option<Budget>,
}

impl Task {
    pub fn is_solvable(&self) -> bool {
        matches!(self.answer, Answer::Reference(_))
    }

    pub fn receiver(&self) -> &Drawing {
        &self.objects[0]
    }

    /// Whether a covenant binds it: such an object is made once, and stands in the lobby.
    pub fn is_bound(&self, object: &str) -> bool {
        self.covenants
            .iter()
            .any(|covenant| covenant.binds.split('.').next() == Some(object))
    }
}

/// Every task of a folder, in the order of the files' names.
pub fn read_all(folder: &Path) -> Result<Vec<Task>, TaskError> {
    let failed = |message: String| TaskError {
        path: folder.to_path_buf(),
        task: String::new(),
        message,
    };
    let entries = fs::read_dir(folder)
        .map_err(|error| failed(format!("{error}; name the folder of the tasks by --tasks")))?;
    let mut paths: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|end| end == "toml"))
        .collect();
    paths.sort();
    let mut tasks = Vec::new();
    for path in paths {
        tasks.extend(read(&path)?);
    }
    let mut ids = HashSet::new();
    match tasks.iter().find(|task| !ids.insert(task.id.clone())) {
        Some(twice) => Err(failed(format!("the task {} stands there twice", twice.id))),
        None => Ok(tasks),
    }
}

/// The names of the families, in their order.
pub fn families(tasks: &[Task]) -> Vec<String> {
    let mut families: Vec<String> = tasks.iter().map(|task| task.family.clone()).collect();
    families.dedup();
    families
}

fn read(path: &Path) -> Result<Vec<Task>, TaskError> {
    let failed = |task: &str, message: String| TaskError {
        path: path.to_path_buf(),
        task: match task {
            "" => String::new(),
            id => format!(", task {id}"),
        },
        message,
    };
    let text = fs::read_to_string(path).map_err(|error| failed("", error.to_string()))?;
    let file: RawFile = toml::from_str(&text).map_err(|error| failed("", error.to_string()))?;
    let family = file.family;
    file.tasks
        .into_iter()
        .map(|raw| {
            let id = raw.id.clone();
            checked(raw, &family).map_err(|message| failed(&id, message))
        })
        .collect()
}

fn checked(raw: RawTask, family: &str) -> Result<Task, String> {
    let hash = hash_of(&raw, family);
    let objects = all(&raw.objects, drawing)?;
    let visible = all(&raw.visible, example)?;
    let hidden = all(&raw.hidden, example)?;
    let answer = match (raw.reference, raw.impossible, raw.ambiguous) {
        (Some(source), None, None) => Answer::Reference(source),
        (None, Some(why), None) => Answer::Refusal {
            kind: Refusal::Impossible,
            why,
        },
        (None, None, Some(why)) => Answer::Refusal {
            kind: Refusal::Ambiguous,
            why,
        },
        _ => return Err("exactly one of reference, impossible and ambiguous is wanted".into()),
    };
    let mut writes = raw.writes;
    writes.sort();
    let task = Task {
        id: raw.id,
        family: family.to_owned(),
        part: Part::of(&hash),
        hash: to_hex(&hash),
        objects,
        methods: raw.methods,
        covenants: raw.covenants,
        selector: raw.selector,
        visible,
        intent: raw.intent,
        hidden,
        writes,
        budget: raw.budget.unwrap_or(BUDGET),
        answer,
    };
    sound(&task)?;
    Ok(task)
}

/// What can be said of a task without running it.
fn sound(task: &Task) -> Result<(), String> {
    let names: Vec<&str> = task.objects.iter().map(|object| object.name.as_str()).collect();
    if names.is_empty() {
        return Err("it has no objects".into());
    }
    if names.iter().collect::<HashSet<_>>().len() != names.len() {
        return Err("two objects have one name".into());
    }
    if !(1..=2).contains(&task.visible.len()) {
        return Err("one or two visible examples are wanted".into());
    }
    let count = task.visible[0].arguments.len();
    for example in task.visible.iter().chain(&task.hidden) {
        if example.arguments.len() != count {
            return Err("its examples have different numbers of arguments".into());
        }
        for held in example.given.iter().chain(&example.after) {
            let object = named(held)?.unwrap_or(names[0]);
            if !names.contains(&object) {
                return Err(format!("an example names {object}, which is no object of it"));
            }
            if task.is_bound(object) {
                return Err(format!(
                    "{object} is bound by a covenant; examples cannot set its slots"
                ));
            }
        }
    }
    if let Some(stranger) = task
        .methods
        .iter()
        .find(|method| !names.contains(&method.on.as_str()))
    {
        return Err(format!(
            "a method is on {}, which is no object of it",
            stranger.on
        ));
    }
    match &task.answer {
        Answer::Reference(_) if task.hidden.len() < MIN_HIDDEN => {
            Err(format!("it has fewer than {MIN_HIDDEN} hidden examples"))
        }
        Answer::Reference(_) if task.visible[0].expected == Expected::Failure => {
            Err("its first visible example is the message that is sent, so it must be answered".into())
        }
        Answer::Refusal { .. } if !task.hidden.is_empty() || !task.writes.is_empty() => {
            Err("what is to be refused has neither hidden examples nor writes".into())
        }
        Answer::Refusal { .. } if task.visible.iter().any(|one| one.expected != Expected::Failure) => {
            Err("what is to be refused fails in its examples, too: `-> !`".into())
        }
        _ => Ok(()),
    }
}

fn hash_of(raw: &RawTask, family: &str) -> [u8; 32] {
    let or_empty = |text: &Option<String>| text.clone().unwrap_or_default();
    let last = [
        or_empty(&raw.reference),
        or_empty(&raw.impossible),
        or_empty(&raw.ambiguous),
    ];
    let first = [raw.id.as_str(), family];
    let texts = raw
        .objects
        .iter()
        .chain([&raw.selector, &raw.intent])
        .chain(&raw.visible)
        .chain(&raw.hidden);
    hash(
        first
            .into_iter()
            .chain(texts.map(String::as_str))
            .chain(last.iter().map(String::as_str)),
    )
}

fn all<T>(texts: &[String], read: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>, String> {
    texts
        .iter()
        .map(|text| read(text).map_err(|error| format!("{text:?}: {error}")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
family = "counters"
about = "…"
[[task]]
id = "a"
objects = ['gate: tally=1']
selector = "note_entry"
intent = "Count one more."
visible = ['() -> _; tally=2']
hidden = ['tally=0 () -> _; tally=1', 'tally=1 () -> _; tally=2', 'tally=2 () -> _; tally=3', 'tally=-1 () -> _; tally=0', 'tally=9 () -> _; tally=10']
writes = ["tally"]
reference = "def note_entry(self):\n    pass\n"
"#;

    fn check(text: &str, expected: &str) {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("one.toml"), text).unwrap();
        let told = match read_all(folder.path()) {
            Ok(tasks) => format!("{} tasks", tasks.len()),
            Err(error) => error.to_string(),
        };
        assert!(told.contains(expected), "{told}");
    }

    #[test]
    fn what_is_no_task_is_named() {
        check(GOOD, "1 tasks");
        check(&GOOD.replace("writes =", "wrote ="), "wrote");
        check(
            &GOOD.replace("'tally=9 () -> _; tally=10'", ""),
            "task a: it has fewer than 5",
        );
        check(
            &GOOD.replace("tally=9 ()", "door.tally=9 ()"),
            "door, which is no object",
        );
        check(
            &GOOD.replace("tally=9 ()", "tally=9 (3)"),
            "different numbers of arguments",
        );
        check(
            &GOOD.replace("reference =", "impossible ="),
            "neither hidden examples",
        );
        check(&format!("{GOOD}impossible = \"x\"\n"), "exactly one of");
        check(
            &GOOD.replace("visible = ['() -> _; tally=2']", "visible = ['() -> !']"),
            "must be answered",
        );
    }
}

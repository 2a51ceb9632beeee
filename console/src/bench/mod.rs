//! `batos bench dnu`: how well the system writes the methods that it lacks, measured in the real system (docs/dnu.md).
//!
//! - [`task`]: a task as its file has it. [`notation`]: objects as text. [`part`]: development or test.
//! - [`home`]: a temporary home, which an [`interruption`] ends, too. [`world`]: a task's objects in it, and what a send did to them. [`wish`]: what is told of a task.
//! - [`check`]: every task is held to its own reference method before it counts. [`trial`]: one task with the model.
//! - [`switch`]: what a run does without. [`setting`]: what it does with instead.
//! - [`score`]: what many trials come to. [`table`]: how it is shown.

mod check;
mod home;
mod interruption;
mod notation;
mod part;
mod score;
mod setting;
mod switch;
mod table;
mod task;
mod trial;
mod wish;
mod world;

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::json;

use crate::arguments::{BenchCommand, DnuBench};
use crate::failure::Failure;
use crate::output::Report;
use home::{BenchHome, Engine};
pub use part::Part;
use score::Arm;
use setting::Setting;
pub use switch::Switch;
use task::Task;
use trial::Trial;

/// Where the tasks lie in a checkout.
const TASKS: &str = "tests/dnu";

pub fn run(command: BenchCommand, json: bool) -> Result<Report, Failure> {
    let BenchCommand::Dnu(asked) = command;
    let tasks = chosen(&asked)?;
    if asked.list {
        return Ok(list(&tasks));
    }
    if asked.check {
        return check::run(&tasks);
    }
    let mut arms = vec![asked.without.clone()];
    if let Some(switches) = &asked.ablations {
        let switches = match switches.is_empty() {
            true => &Switch::ALL[..],
            false => switches,
        };
        arms = std::iter::once(Vec::new())
            .chain(switches.iter().map(|switch| vec![*switch]))
            .collect();
    }
    let mut done = Vec::new();
    let settings: Vec<Setting> = asked
        .set
        .iter()
        .map(|text| Setting::read(text))
        .collect::<Result<_, _>>()?;
    for without in arms {
        done.push(arm(&asked, &tasks, without, &settings)?);
    }
    let document = score::document(&done);
    let text = match json {
        true => String::new(),
        false => table::markdown(&done),
    };
    Ok(Report::answered(document, text))
}

/// The tasks that were asked for, in the order of their files.
fn chosen(asked: &DnuBench) -> Result<Vec<Task>, Failure> {
    let folder = match &asked.tasks {
        Some(folder) => folder.clone(),
        None => checkout().unwrap_or_else(|| PathBuf::from(TASKS)),
    };
    let mut tasks = task::read_all(&folder).map_err(|message| Failure::usage(message.to_string()))?;
    if let Some(family) = &asked.family {
        let known: Vec<String> = task::families(&tasks);
        if !known.contains(family) {
            return Err(Failure::usage(format!(
                "there is no family {family}; there are {}",
                known.join(", ")
            )));
        }
    }
    tasks.retain(|task| {
        asked.part.is_none_or(|part| part == task.part)
            && asked.family.as_ref().is_none_or(|family| *family == task.family)
            && asked.task.as_ref().is_none_or(|id| *id == task.id)
    });
    if let Some(limit) = asked.limit {
        tasks.truncate(limit);
    }
    match tasks.is_empty() {
        true => Err(Failure::usage("no task is left of that choice")),
        false => Ok(tasks),
    }
}

/// `tests/dnu` of the folder that this stands in, or of one above it.
fn checkout() -> Option<PathBuf> {
    let here = std::env::current_dir().ok()?;
    here.ancestors()
        .map(|folder| folder.join(TASKS))
        .find(|folder| folder.is_dir())
}

fn list(tasks: &[Task]) -> Report {
    let lines: Vec<String> = tasks
        .iter()
        .map(|task| format!("{:<6}{:<22}{}", task.part.word(), task.family, task.id))
        .collect();
    let listed: Vec<_> = tasks
        .iter()
        .map(
            |task| json!({"id": task.id, "family": task.family, "part": task.part.word(), "hash": task.hash}),
        )
        .collect();
    let of = |part: Part| tasks.iter().filter(|task| task.part == part).count();
    let last = format!(
        "{} tasks, {} of them for development, {} for test",
        tasks.len(),
        of(Part::Dev),
        of(Part::Test)
    );
    let document = json!({"ok": true, "tasks": listed});
    Report::answered(document, format!("{}\n{last}", lines.join("\n")))
}

/// Every task once, in a home of its own.
fn arm(asked: &DnuBench, tasks: &[Task], without: Vec<Switch>, settings: &[Setting]) -> Result<Arm, Failure> {
    let engine = Engine {
        model: asked.model.clone(),
        backend: asked.backend.clone(),
        backend_model: asked.backend_model.clone(),
        backend_kind: asked.backend_kind.clone(),
        threads: asked.threads,
    };
    let begun = Instant::now();
    let mut home = BenchHome::up(&engine)?;
    let model = home.model()?;
    if let Some(folder) = &asked.adapters {
        home.import_adapters(folder)?;
    }
    for switch in &without {
        switch.turn_off(&mut home)?;
    }
    for setting in settings {
        setting.clone().apply(&mut home)?;
    }
    let mut name = switch::name(&without, settings);
    if let Some(folder) = &asked.adapters {
        name.push_str(&format!(", adapters of {}", folder.display()));
    }
    let mut progress = Counter::new(&name, tasks.len());
    let mut trials: Vec<Trial> = Vec::new();
    for task in tasks {
        let trial = trial::run(&mut home, task)?;
        progress.step(&task.id, &trial);
        trials.push(trial);
    }
    progress.end();
    let faults = home.verify()?;
    let audit = home.down()?;
    for trial in &mut trials {
        trial.tokens = audit.tokens(&trial.thoughts);
    }
    Ok(Arm {
        name,
        model,
        tasks: tasks.to_vec(),
        trials,
        image_faults: faults,
        elapsed: begun.elapsed(),
    })
}

/// How far an arm is, on standard error: a line that is rewritten on a terminal, one line in twenty-five tasks elsewhere.
struct Counter {
    arm: String,
    count: usize,
    done: usize,
    right: usize,
    is_terminal: bool,
}

impl Counter {
    fn new(arm: &str, count: usize) -> Counter {
        Counter {
            arm: arm.to_owned(),
            count,
            done: 0,
            right: 0,
            is_terminal: io::stderr().is_terminal(),
        }
    }

    fn step(&mut self, id: &str, trial: &Trial) {
        self.done += 1;
        self.right += usize::from(trial.verdict.is_right());
        let line = format!(
            "{}: {}/{} tasks, {} right; {id}: {}",
            self.arm,
            self.done,
            self.count,
            self.right,
            trial.verdict.word()
        );
        if self.is_terminal {
            eprint!("\r\x1b[K{line}");
            let _ = io::stderr().flush();
        } else if self.done.is_multiple_of(25) || self.done == self.count {
            eprintln!("{line}");
        }
    }

    fn end(&self) {
        if self.is_terminal {
            eprintln!();
        }
    }
}

/// A path as a text for a configuration file.
fn quoted(path: &Path) -> String {
    format!("{:?}", path.display().to_string())
}

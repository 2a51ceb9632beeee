//! A task counts only when its own reference method does what its examples say, in the real kernel.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::PathBuf;

use serde_json::json;
use shared::bridge::{Answer as Answered, Call};
use shared::example::Example;
use shared::exit;
use shared::value::Value;

use super::home::{BenchHome, Engine, unexpected};
use super::task::{Answer, Task};
use super::world::{Sent, World};
use crate::failure::Failure;
use crate::output::Report;

/// Where no model is, so that nothing is thought.
const NOWHERE: &str = "/nonexistent/model";

/// Every task against its reference; exit code 1 when one is wrong.
pub fn run(tasks: &[Task]) -> Result<Report, Failure> {
    let engine = Engine {
        model: Some(PathBuf::from(NOWHERE)),
        ..Engine::default()
    };
    let mut home = BenchHome::up(&engine)?;
    let mut faults: Vec<(String, String)> = Vec::new();
    for (number, task) in tasks.iter().enumerate() {
        // What the kernel refuses of a task is the task's fault, too.
        let told = match check(&mut home, task) {
            Ok(found) => found,
            Err(Failure::Fault { fault, .. }) => vec![fault.message],
            Err(failure) => return Err(failure),
        };
        faults.extend(told.into_iter().map(|what| (task.id.clone(), what)));
        if (number + 1).is_multiple_of(100) {
            eprintln!("{} of {} tasks, {} faults", number + 1, tasks.len(), faults.len());
        }
    }
    let mut text = String::new();
    for (task, what) in &faults {
        let _ = writeln!(text, "{task}: {what}");
    }
    let _ = write!(text, "{} tasks, {} faults", tasks.len(), faults.len());
    let listed: Vec<_> = faults
        .iter()
        .map(|(task, what)| json!({"task": task, "fault": what}))
        .collect();
    let document = json!({"ok": faults.is_empty(), "tasks": tasks.len(), "faults": listed});
    let mut report = Report::answered(document, text);
    if !faults.is_empty() {
        report.exit = exit::ERROR;
    }
    Ok(report)
}

fn check(home: &mut BenchHome, task: &Task) -> Result<Vec<String>, Failure> {
    let mut faults = Vec::new();
    let first = World::make(home, task, &task.visible[0].given)?;
    home.cover(task)?;
    if let Some(holder) = understood(home, &first, task)? {
        faults.push(format!("{holder} understands {} already", task.selector));
    }
    let Answer::Reference(source) = &task.answer else {
        return Ok(faults);
    };
    let mut written = BTreeSet::new();
    for (number, example) in task.visible.iter().chain(&task.hidden).enumerate() {
        let (sent, wrong) = World::tried(home, task, source, example)?;
        written.extend(sent.writes.iter().cloned());
        if let Some(wrong) = wrong {
            faults.push(format!(
                "example {}: {wrong:?}: {}",
                number + 1,
                describe(example, &sent)
            ));
        }
    }
    let wanted: BTreeSet<String> = task.writes.iter().cloned().collect();
    if written != wanted {
        faults.push(format!("it writes {written:?}, and {wanted:?} is expected"));
    }
    Ok(faults)
}

/// The name of the object in the receiver's chain that has the selector already.
fn understood(home: &mut BenchHome, world: &World<'_>, task: &Task) -> Result<Option<String>, Failure> {
    let call = |object: String| Call::Inspect { object };
    let Answered::Object(view) = home.ask(call(world.receiver().to_string()))? else {
        return Err(unexpected("inspect"));
    };
    if view.object.slot(&task.selector).is_some() {
        return Ok(Some("the receiver".into()));
    }
    for name in view.chain {
        let image = home.inspect(&name)?;
        if image.slot(&task.selector).is_some() {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

fn describe(example: &Example, sent: &Sent) -> String {
    let answer = match &sent.outcome {
        Ok(value) => shown(value),
        Err(fault) => format!("{}: {}", fault.reason, fault.message),
    };
    format!(
        "expected {:?}, got {answer}, wrote {:?}",
        example.expected, sent.writes
    )
}

fn shown(value: &Value) -> String {
    shared::json::to_json(value).to_string()
}

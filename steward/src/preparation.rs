//! What an upgrade does while the old kernel serves: its steps, then the new program brought into the home. One thread an action; the
//! loop begins the next when the state that names it is journalled.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;
use std::thread;
use std::time::Duration;

use shared::bridge::{Answer, Call};
use shared::client::Client;
use shared::home::Home;

use crate::event::Event;
use crate::instruction::{Action, Instruction, Kind};
use crate::spawn;
use crate::staging::{self, Staged};
use crate::tree;

/// How long a step follows a kernel that hangs up.
const PATIENCE: Duration = Duration::from_secs(2);

/// The end of one action.
pub struct Prepared {
    /// Whose it was: an upgrade that has ended meanwhile leaves its thread behind.
    pub claim: String,
    /// From 1.
    pub number: usize,
    pub result: Result<Done, Undone>,
}

pub enum Done {
    /// What the step did, for people.
    Step(String),
    Staged(Box<Both>),
}

/// The planks of an upgrade, both in the home's `planks/`; the old model is where it was.
pub struct Both {
    pub new: Staged,
    pub old: Staged,
}

pub struct Undone {
    pub reason: &'static str,
    pub message: String,
}

/// What is done next.
#[derive(Clone)]
pub enum Work {
    Step(Action),
    Stage { old_program: PathBuf },
}

impl Work {
    /// The action of that number, from 1: the steps, then staging.
    pub fn numbered(instruction: &Instruction, number: usize, old_program: PathBuf) -> Work {
        match instruction.steps.get(number - 1) {
            Some(step) => Work::Step(step.clone()),
            None => Work::Stage { old_program },
        }
    }

    pub fn word(&self) -> &'static str {
        match self {
            Work::Step(step) => step.word(),
            Work::Stage { .. } => "stage",
        }
    }
}

/// Does it on a thread of its own that sends [`Event::Prepared`].
pub fn begin(
    home: &Home,
    claim: String,
    number: usize,
    work: Work,
    instruction: &Instruction,
    events: Sender<Event>,
) -> io::Result<()> {
    let (home, instruction) = (home.clone(), instruction.clone());
    thread::Builder::new()
        .name(work.word().to_owned())
        .spawn(move || {
            let result = match work {
                Work::Step(step) => carry_out(&home, &step, instruction.limits.step),
                Work::Stage { old_program } => stage(&home, &instruction, &old_program),
            };
            let _ = events.send(Event::Prepared(Prepared {
                claim,
                number,
                result,
            }));
        })?;
    Ok(())
}

fn carry_out(home: &Home, step: &Action, limit: Duration) -> Result<Done, Undone> {
    let done = match step {
        Action::Verify => verify(home),
        Action::Backup(folder) => ask(
            home,
            Call::Backup {
                folder: folder.display().to_string(),
            },
        )
        .and_then(|answer| match answer {
            Answer::Backed(backup) if backup.damaged.is_empty() => Ok(format!(
                "transaction {} and all before are in {}",
                backup.last.0, backup.folder
            )),
            Answer::Backed(backup) => Err(format!("the image has damaged blobs: {:?}", backup.damaged)),
            other => Err(format!("the kernel answered {other:?}")),
        }),
        Action::Command(argv) => spawn::command(argv, home, limit),
    };
    done.map(Done::Step).map_err(|cause| Undone {
        reason: "step_failed",
        message: format!("the step {} failed: {cause}", step.word()),
    })
}

fn verify(home: &Home) -> Result<String, String> {
    match ask(home, Call::Verify)? {
        Answer::Verified(verified) if verified.faults.is_empty() => {
            Ok(format!("{} objects are sound", verified.objects))
        }
        Answer::Verified(verified) => Err(format!(
            "the image has {} faults; see `batos verify`",
            verified.faults.len()
        )),
        other => Err(format!("the kernel answered {other:?}")),
    }
}

fn ask(home: &Home, call: Call) -> Result<Answer, String> {
    let program = concat!("steward ", env!("CARGO_PKG_VERSION"));
    let mut client =
        Client::connect(&home.kernel_socket(), program, PATIENCE).map_err(|error| error.to_string())?;
    client.call(call, None).map_err(|error| error.to_string())
}

fn stage(home: &Home, instruction: &Instruction, old_plank: &Path) -> Result<Done, Undone> {
    let planks = home.planks();
    let (target, limit) = (&instruction.target, instruction.limits.stage);
    let staged = match target.kind {
        Kind::Model => tree::stage(target.kind, &target.path, &target.digest, &planks, limit),
        _ => staging::stage(target.kind, &target.path, &target.digest, &planks, limit),
    };
    let new = staged.map_err(|error| Undone {
        reason: error.reason(),
        message: error.to_string(),
    })?;
    let kept = match target.kind {
        // A model stays where it is: it may be large, and nobody replaces it under its name.
        Kind::Model => Ok(Staged {
            path: old_plank.to_path_buf(),
            blake3: String::new(),
            version: String::new(),
        }),
        kind => staging::keep(kind, old_plank, &planks),
    };
    let old = kept.map_err(|error| Undone {
        reason: "program_unusable",
        message: format!("the old program {} cannot be kept: {error}", old_plank.display()),
    })?;
    Ok(Done::Staged(Box::new(Both { new, old })))
}

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

use crate::change::Failure;
use crate::conversion;
use crate::environment;
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
    pub result: Result<Done, Failure>,
}

pub enum Done {
    /// What the step did, for people.
    Step(String),
    Staged(Box<Both>),
    /// The image is set aside, and converted; or put back.
    Converted(String),
    PutBack,
}

/// The planks of an upgrade, both in the home's `planks/`; the old model is where it was.
pub struct Both {
    pub new: Staged,
    pub old: Staged,
}

/// What is done next.
#[derive(Clone)]
pub enum Work {
    /// While no kernel runs.
    Convert {
        kernel: PathBuf,
    },
    PutBack,
    Step(Action),
    Stage {
        old_program: PathBuf,
        /// For which a Python environment is made.
        method_worker: PathBuf,
    },
}

impl Work {
    /// The action of that number, from 1: the steps, then staging.
    pub fn numbered(instruction: &Instruction, number: usize, old: (PathBuf, PathBuf)) -> Work {
        match instruction.steps.get(number - 1) {
            Some(step) => Work::Step(step.clone()),
            None => Work::Stage {
                old_program: old.0,
                method_worker: old.1,
            },
        }
    }

    pub fn word(&self) -> &'static str {
        match self {
            Work::Step(step) => step.word(),
            Work::Stage { .. } => "stage",
            Work::Convert { .. } => "convert",
            Work::PutBack => "put_back",
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
                Work::Convert { kernel } => convert(&home, &claim, &instruction, &kernel),
                Work::PutBack => conversion::put_back(&home, &claim)
                    .map(|_| Done::PutBack)
                    .map_err(|error| Failure {
                        reason: "not_recorded",
                        message: format!("the image cannot be put back: {error}"),
                    }),
                Work::Stage {
                    old_program,
                    method_worker,
                } => stage(&home, &instruction, &old_program, &method_worker),
            };
            let _ = events.send(Event::Prepared(Prepared {
                claim,
                number,
                result,
            }));
        })?;
    Ok(())
}

fn convert(home: &Home, claim: &str, instruction: &Instruction, kernel: &Path) -> Result<Done, Failure> {
    let format = instruction.target.format.unwrap_or_default();
    conversion::set_aside(home, claim).map_err(|error| Failure {
        reason: "backup_failed",
        message: format!("the image cannot be set aside: {error}"),
    })?;
    conversion::convert(kernel, home, format, instruction.limits.step)
        .map(Done::Converted)
        .map_err(|message| Failure {
            reason: "conversion_failed",
            message,
        })
}

fn carry_out(home: &Home, step: &Action, limit: Duration) -> Result<Done, Failure> {
    let done = match step {
        Action::Verify => verify(home),
        Action::Backup(folder) => back_up(home, folder),
        Action::Command(argv) => spawn::command(argv, home, limit),
    };
    done.map(Done::Step).map_err(|cause| Failure {
        reason: "step_failed",
        message: format!("the step {} failed: {cause}", step.word()),
    })
}

fn back_up(home: &Home, folder: &Path) -> Result<String, String> {
    let folder = folder.display().to_string();
    match ask(home, Call::Backup { folder })? {
        Answer::Backed(backup) if backup.damaged.is_empty() => Ok(format!(
            "transaction {} and all before are in {}",
            backup.last.0, backup.folder
        )),
        Answer::Backed(backup) => Err(format!("the image has damaged blobs: {:?}", backup.damaged)),
        other => Err(format!("the kernel answered {other:?}")),
    }
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

fn stage(
    home: &Home,
    instruction: &Instruction,
    old_plank: &Path,
    method_worker: &Path,
) -> Result<Done, Failure> {
    let planks = home.planks();
    let (target, limit) = (&instruction.target, instruction.limits.stage);
    let staged = match target.kind {
        Kind::Model => tree::stage(target.kind, &target.path, &target.digest, &planks, limit),
        Kind::Python => environment::build(home, target, method_worker, limit),
        _ => staging::stage(target.kind.plank(), &target.path, &target.digest, &planks, limit),
    };
    let new = staged.map_err(|error| Failure {
        reason: error.reason(),
        message: error.to_string(),
    })?;
    if let Some(image) = &instruction.image {
        let limit = instruction.limits.step;
        back_up(home, &image.folder)
            .and_then(|_| conversion::prove(old_plank, home, &image.folder, limit))
            .map_err(|message| Failure {
                reason: "backup_failed",
                message,
            })?;
    }
    if target.kind == Kind::Steward {
        spawn::rehearse_steward(&new.path, home, limit).map_err(|message| Failure {
            reason: "rehearsal_failed",
            message,
        })?;
    }
    let kept = match target.kind {
        // A model stays where it is: it may be large, and nobody replaces it under its name.
        Kind::Model | Kind::Python => Ok(Staged {
            path: old_plank.to_path_buf(),
            blake3: String::new(),
            version: String::new(),
        }),
        kind => staging::keep(kind.plank(), old_plank, &planks),
    };
    let old = kept.map_err(|error| Failure {
        reason: "program_unusable",
        message: format!("the old program {} cannot be kept: {error}", old_plank.display()),
    })?;
    Ok(Done::Staged(Box::new(Both { new, old })))
}

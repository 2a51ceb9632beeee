//! One task with the model, through the whole of the real system: the miss, the thought, guard, trial, installation, and then the
//! hidden examples on fresh objects.

use std::time::Duration;

use shared::bridge::{Answer, Call, ThoughtView};
use shared::id::ThoughtId;
use shared::reason;
use shared::value::Value;

use super::home::{BenchHome, unexpected};
use super::task::Task;
use super::wish;
use super::world::{World, Wrong};
use crate::failure::Failure;

/// What became of a task.
#[derive(Clone, Debug)]
pub struct Trial {
    pub verdict: Verdict,
    /// A method was installed.
    pub is_installed: bool,
    /// The message that was sent was answered as its example says.
    pub is_visible_right: bool,
    /// Every write of every example was expected, and all that was expected was written.
    pub is_write_set_exact: bool,
    /// Objects and entries after a failure were as before; true where nothing failed.
    pub is_image_equal: bool,
    pub rounds: u32,
    pub model_calls: u32,
    /// Filled in when the audit is whole.
    pub tokens: u64,
    pub thoughts: Vec<ThoughtId>,
    /// The message that was missed, until its answer or failure.
    pub elapsed: Duration,
    /// The same message again, when a method was installed.
    pub second: Option<Duration>,
    /// A second send asked the model again.
    pub is_thought_again: bool,
}

/// What became of a task, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verdict {
    Right,
    /// It was to be refused, and was.
    RightlyRefused,
    /// It was to be refused, and a method was installed.
    WronglyAnswered,
    /// The model refused what can be done.
    WronglyRefused,
    /// The model did not end its method.
    Unfinished,
    /// The guard refused the last candidate.
    Guard,
    /// The last candidate failed in its trial.
    TrialFailed,
    /// The mission's budget of tokens or time was over.
    Budget,
    /// No method, for another reason.
    NoMethod,
    /// Installed, and the first message was answered wrongly.
    WrongVisible,
    /// Installed, right in the visible examples, wrong in a hidden one.
    WrongHidden,
    /// Installed, and an example raised what it should answer.
    Raised,
    /// Installed, and an example was answered that should fail.
    NotRaised,
    /// Installed, and it wrote what it should not.
    WrongWrites,
}

impl Verdict {
    pub const ALL: [Verdict; 14] = [
        Verdict::Right,
        Verdict::RightlyRefused,
        Verdict::WronglyAnswered,
        Verdict::WronglyRefused,
        Verdict::Unfinished,
        Verdict::Guard,
        Verdict::TrialFailed,
        Verdict::Budget,
        Verdict::NoMethod,
        Verdict::WrongVisible,
        Verdict::WrongHidden,
        Verdict::Raised,
        Verdict::NotRaised,
        Verdict::WrongWrites,
    ];

    pub fn is_right(self) -> bool {
        matches!(self, Verdict::Right | Verdict::RightlyRefused)
    }

    pub fn word(self) -> &'static str {
        match self {
            Verdict::Right => "right",
            Verdict::RightlyRefused => "rightly refused",
            Verdict::WronglyAnswered => "answered although impossible or ambiguous",
            Verdict::WronglyRefused => "refused although possible",
            Verdict::Unfinished => "no method: unfinished",
            Verdict::Guard => "no method: refused by the guard",
            Verdict::TrialFailed => "no method: failed in its trial",
            Verdict::Budget => "no method: budget over",
            Verdict::NoMethod => "no method: another reason",
            Verdict::WrongVisible => "wrong in the visible example",
            Verdict::WrongHidden => "wrong in a hidden example",
            Verdict::Raised => "raised in a hidden example",
            Verdict::NotRaised => "answered what should fail",
            Verdict::WrongWrites => "wrong write set",
        }
    }
}

/// Runs a task.
pub fn run(home: &mut BenchHome, task: &Task) -> Result<Trial, Failure> {
    home.allow(task.budget.tokens)?;
    let first = &task.visible[0];
    let mut world = World::make(home, task, &first.given)?;
    wish::tell(home, &mut world, task)?;
    home.cover(task)?;
    let before = home.digest()?;
    let sent = world.send(home, first)?;
    let mut trial = Trial {
        verdict: Verdict::NoMethod,
        is_installed: false,
        is_visible_right: false,
        is_write_set_exact: false,
        is_image_equal: true,
        rounds: 0,
        model_calls: 0,
        tokens: 0,
        thoughts: sent.thought.into_iter().collect(),
        elapsed: sent.elapsed,
        second: None,
        is_thought_again: false,
    };
    let view = match sent.thought {
        Some(thought) => Some(thought_of(home, thought)?),
        None => None,
    };
    if let Some(view) = &view {
        trial.rounds = view.rounds;
        trial.model_calls = view.model_calls;
    }
    if let Err(fault) = &sent.outcome {
        trial.is_image_equal = home.digest()? == before;
        trial.verdict = match task.is_solvable() {
            false if fault.reason == reason::NOT_UNDERSTOOD => Verdict::RightlyRefused,
            _ => why(&fault.reason, view.as_ref()),
        };
        return Ok(trial);
    }
    trial.is_installed = true;
    if !task.is_solvable() {
        trial.verdict = Verdict::WronglyAnswered;
        return Ok(trial);
    }
    let wrong = world.judge(home, first, &sent)?;
    trial.is_visible_right = wrong.is_none();
    let again = world.send(home, first)?;
    trial.second = Some(again.elapsed);
    trial.is_thought_again = again.thought.is_some();
    let Some(source) = installed(home, &world, task)? else {
        trial.verdict = Verdict::WrongWrites;
        return Ok(trial);
    };
    let mut written = sent.writes;
    let mut first_wrong = wrong.map(|wrong| (0, wrong));
    for (number, example) in task.visible.iter().chain(&task.hidden).enumerate().skip(1) {
        let (sent, wrong) = World::tried(home, task, &source, example)?;
        trial.thoughts.extend(sent.thought);
        written.extend(sent.writes);
        if let Some(wrong) = wrong {
            first_wrong.get_or_insert((number, wrong));
        }
    }
    trial.is_write_set_exact = written.iter().eq(task.writes.iter());
    trial.verdict = match first_wrong {
        None => Verdict::Right,
        Some((_, Wrong::Writes)) => Verdict::WrongWrites,
        Some((0, _)) => Verdict::WrongVisible,
        Some((_, Wrong::Raised)) => Verdict::Raised,
        Some((_, Wrong::NotRaised)) => Verdict::NotRaised,
        Some((number, _)) if number < task.visible.len() => Verdict::WrongVisible,
        Some(_) => Verdict::WrongHidden,
    };
    Ok(trial)
}

/// Why there is no method: what the last round came to.
fn why(word: &str, view: Option<&ThoughtView>) -> Verdict {
    if word == reason::DEADLINE {
        return Verdict::Budget;
    }
    let Some(view) = view else {
        return Verdict::NoMethod;
    };
    // The states say which of several candidates counts; the message is theirs.
    let told = |words: &str| view.message.contains(words);
    if told("the model refused: ") {
        Verdict::WronglyRefused
    } else if told("did not finish") {
        Verdict::Unfinished
    } else if told("the guard refused it: ") {
        Verdict::Guard
    } else if told("its trial failed: ") || told("what had failed before") {
        Verdict::TrialFailed
    } else if told(", which is its budget") {
        Verdict::Budget
    } else {
        Verdict::NoMethod
    }
}

fn thought_of(home: &mut BenchHome, id: ThoughtId) -> Result<ThoughtView, Failure> {
    match home.ask(Call::Thoughts { id: Some(id) })? {
        Answer::Thoughts(mut views) if !views.is_empty() => Ok(views.remove(0)),
        _ => Err(unexpected("thoughts")),
    }
}

/// The source of the method that the receiver has now; none when the method has put something else into its own slot.
fn installed(home: &mut BenchHome, world: &World<'_>, task: &Task) -> Result<Option<String>, Failure> {
    let object = home.inspect(&world.receiver().to_string())?;
    Ok(match object.slot(&task.selector).map(|slot| &slot.value) {
        Some(Value::Method(source)) => Some(source.clone()),
        _ => None,
    })
}

//! Which program and environment workers are of, and how one such shift takes the place of another: a new one is compared with the old one before,
//! and while it is on trial the old one is kept at hand.

use std::io;
use std::time::Duration;

use shared::activation::{FromWorker, Mode, Outcome, Run, ToWorker};
use shared::frame::asynchronous;
use shared::id::{ObjectId, TransactionId};
use shared::object::{ObjectImage, SlotImage};
use shared::value::Value;
use tokio::time::timeout;

use super::process::{Settings, Work, Worker};

/// In which a worker must have carried a trial out.
const TRIAL: Duration = Duration::from_secs(5);

/// Methods that go through what a method may do, and say what came of it. Every shift must say the same.
const TRIALS: [&str; 3] = [
    "def trial(self):\n    self.n = 2 ** 200 + self.n\n    self.items.append([1.5, 'ä', {'k': 1}])\n    self._p_changed = True\n    \
     return [str(self.n), len(self.items), '%5.1f' % 2.5, f'{10**30:,}', sorted(['b', 'a']), math.sqrt(2), math.exp(1.0), self.again(3)]\n",
    "def trial(self):\n    self['a'] = [1]\n    self['a'].append(2)\n    self._p_changed = True\n    return [self['a'], 'b' in self]\n",
    "def trial(self):\n    return [1 / 0]\n",
];

/// Who carries methods out now, and who did before while the change is on trial.
#[derive(Clone, Debug)]
pub struct Shifts {
    pub current: Shift,
    pub former: Option<Shift>,
    /// The number of the one that was given up last: what its workers break over is carried out again.
    pub given_up: Option<u64>,
}

/// Workers that were started alike.
#[derive(Clone, Debug)]
pub struct Shift {
    /// Counted up with each change.
    pub number: u64,
    pub settings: Settings,
}

/// What is told of shifts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// So many workers are of the new shift; it is on trial.
    Replaced(u32),
    /// Nothing was replaced.
    Refused(String),
    /// The former shift carries methods out again.
    Restored(String),
}

/// What a worker of those settings makes of the trials, in words that can be compared; it is not used for anything else.
pub async fn try_out(settings: &Settings) -> Result<Vec<String>, String> {
    let started = Worker::start(settings, Work::Sends).await;
    let mut worker = started.map_err(|error| error.to_string())?;
    let mut said = Vec::new();
    for source in TRIALS {
        let done = timeout(TRIAL, carry_out(&mut worker, source)).await;
        match done {
            Ok(Ok(words)) => said.push(words),
            Ok(Err(error)) => return Err(format!("a trial broke it: {error}")),
            Err(_) => return Err(format!("a trial took longer than {} s", TRIAL.as_secs())),
        }
    }
    worker.kill().await;
    Ok(said)
}

async fn carry_out(worker: &mut Worker, source: &str) -> io::Result<String> {
    let run = ToWorker::Run(Box::new(run(source)));
    asynchronous::write(&mut worker.stream, &run)
        .await
        .map_err(io::Error::other)?;
    // Of what it asks for there is nothing.
    loop {
        let answer = match worker.hear().await.map_err(io::Error::other)? {
            FromWorker::Entry { .. } => ToWorker::Entry(None),
            FromWorker::Count(_) => ToWorker::Count(0),
            FromWorker::Scan { .. } => ToWorker::Entries {
                entries: Vec::new(),
                is_whole: true,
            },
            FromWorker::Fetch(_) => ToWorker::Objects(Vec::new()),
            FromWorker::Finished(finished) => {
                // A traceback may differ between two releases of Python.
                let outcome = match finished.outcome {
                    Outcome::Raised(raised) => format!("{}: {}", raised.kind, raised.message),
                    other => format!("{other:?}"),
                };
                return Ok(format!("{outcome} {:?} {}", finished.writes, finished.declared));
            }
            other => return Err(io::Error::other(format!("it said {other:?}"))),
        };
        asynchronous::write(&mut worker.stream, &answer)
            .await
            .map_err(io::Error::other)?;
    }
}

/// A message to a made-up object.
fn run(source: &str) -> Run {
    let slot = |name: &str, value| SlotImage {
        name: name.to_owned(),
        value,
        changed: TransactionId(0),
    };
    let again = "def again(self, n):\n    return n if n < 1 else self.again(n - 1)\n";
    let object = ObjectImage {
        id: ObjectId(1),
        version: TransactionId(0),
        slots: vec![
            slot("n", Value::Int(7)),
            slot("items", Value::List(vec![Value::Int(1)])),
            slot("again", Value::Method(again.to_owned())),
            slot("trial", Value::Method(source.to_owned())),
        ],
    };
    Run {
        receiver: ObjectId(1),
        selector: "trial".to_owned(),
        arguments: Vec::new(),
        objects: vec![object],
        stale: Vec::new(),
        uncommitted: Vec::new(),
        mode: Mode::Proven,
    }
}

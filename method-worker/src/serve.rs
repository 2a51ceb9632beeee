//! The loop: a message in, its outcome out.

use pyo3::prelude::*;
use pyo3::types::PyTuple;
use shared::activation::{DOOMED, Finished, FromWorker, Mode, Outcome, Raised, Run as Task};
use shared::frame::FrameError;
use shared::value::Value;

use crate::arguments::Arguments;
use crate::code;
use crate::decode::decode;
use crate::globals;
use crate::interpreter;
use crate::jail;
use crate::measure::measure;
use crate::peer::Peer;
use crate::range;
use crate::report;
use crate::run::{self, Run};
use crate::send;
use crate::world::World;

/// Why the worker ends with an error.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("{0}")]
    Spawn(String),
    #[error("the interpreter does not start: {0}")]
    Interpreter(String),
    #[error("the jail cannot be closed: {0}")]
    Jail(#[from] jail::JailError),
    #[error("the kernel cannot be understood: {0}")]
    Protocol(#[from] FrameError),
    #[error("the kernel sent an answer that nobody asked for")]
    Unasked,
}

/// Starts, closes the jail, says ready, and serves until the kernel closes the connection.
pub fn serve(arguments: &Arguments) -> Result<(), ServeError> {
    let peer = Peer::take().map_err(ServeError::Spawn)?;
    jail::give_way(arguments.nice)?;
    interpreter::start().map_err(ServeError::Interpreter)?;
    Python::attach(|py| {
        let python = interpreter::version(py);
        load(py, arguments).map_err(|error| ServeError::Interpreter(error.to_string()))?;
        let mut peer = rehearse(py, peer)?;
        interpreter::settle(py).map_err(|error| ServeError::Interpreter(error.to_string()))?;
        let jail = jail::close(&arguments.limits, arguments.strictness)?;
        peer.write(&FromWorker::Ready { python, jail })?;
        answer_all(py, peer)
    })
}

/// Packages first: they import what they need of Python's own.
fn load(py: Python<'_>, arguments: &Arguments) -> PyResult<()> {
    if let Some(packages) = &arguments.packages {
        let modules: Vec<&str> = arguments
            .allow
            .iter()
            .map(|allowed| allowed.module.as_str())
            .collect();
        interpreter::load(py, packages, &modules)?;
    }
    globals::prepare(py, &arguments.allow)
}

fn answer_all(py: Python<'_>, mut peer: Peer) -> Result<(), ServeError> {
    let mut world = World::default();
    loop {
        let task = match peer.next() {
            Ok(Some(task)) => task,
            Ok(None) => return Err(ServeError::Unasked),
            Err(error) if error.is_disconnect() => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let (finished, kept, back) = carry_out(py, *task, world, peer)?;
        (world, peer) = (kept, back);
        let said = match peer.finish(finished) {
            Err(FrameError::TooLarge(bytes)) => peer.finish(too_large(bytes)),
            said => said,
        };
        match said {
            Ok(()) => {}
            Err(error) if error.is_disconnect() => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        code::trim();
    }
}

/// One message, from its objects to its measured end.
fn carry_out(
    py: Python<'_>,
    task: Task,
    mut world: World,
    peer: Peer,
) -> Result<(Finished, World, Peer), ServeError> {
    let Task {
        receiver,
        selector,
        arguments,
        objects,
        stale,
        uncommitted,
        mode,
    } = task;
    world.forget(&stale);
    world.insert(objects);
    run::begin(Run::new(world, peer, mode, &selector));
    let result = arguments_of(py, &arguments)
        .and_then(|tuple| send::send(py, receiver, &selector, &tuple))
        .and_then(|answer| range::as_list(py, answer));
    // Formatting an exception may run code of the method, so the run is still in progress here.
    let result = result.map_err(|error| report::raised(py, &error));
    let mut run = run::end().ok_or(ServeError::Unasked)?;
    let (outcome, writes) = conclude(py, &mut run, result);
    let reads = run.reads();
    let finished = Finished {
        outcome,
        reads,
        writes,
        declared: run.declared,
    };
    let (mut world, peer) = run.close();
    // What the run left in cycles dies now, not in the next run.
    interpreter::collect(py);
    world.forget(&uncommitted);
    world.forget_missing();
    Ok((finished, world, peer))
}

fn conclude(
    py: Python<'_>,
    run: &mut Run,
    result: Result<Py<PyAny>, Raised>,
) -> (Outcome, Vec<shared::activation::Write>) {
    if let Some(reason) = run.doomed.take() {
        let raised = result.err();
        let also = raised
            .as_ref()
            .map(|raised| format!("; then it raised {}: {}", raised.kind, raised.message));
        let doomed = Raised {
            kind: DOOMED.to_owned(),
            message: reason + &also.unwrap_or_default(),
            traceback: raised.map(|raised| raised.traceback).unwrap_or_default(),
        };
        return (Outcome::Raised(doomed), Vec::new());
    }
    if let Some(missed) = run.missed.take() {
        return (
            match run.mode {
                Mode::Proven => Outcome::Missed {
                    receiver: missed.receiver,
                    selector: missed.selector,
                    arguments: missed.arguments,
                },
                Mode::Trial => Outcome::Raised(Raised {
                    kind: "MessageNotUnderstood".to_owned(),
                    message: format!("{} does not understand '{}'", missed.receiver, missed.selector),
                    traceback: result.err().map(|raised| raised.traceback).unwrap_or_default(),
                }),
            },
            Vec::new(),
        );
    }
    let refused = match result {
        Ok(answer) => match measure(py, run, answer.bind(py)) {
            Ok((answer, writes)) => return (Outcome::Answered(answer), writes),
            Err(refused) => Raised {
                kind: refused.kind.to_owned(),
                message: refused.message,
                traceback: String::new(),
            },
        },
        Err(raised) => raised,
    };
    (Outcome::Raised(refused), Vec::new())
}

fn arguments_of<'py>(py: Python<'py>, arguments: &[Value]) -> PyResult<Bound<'py, PyTuple>> {
    let decoded = run::with(|run| {
        arguments
            .iter()
            .map(|argument| decode(py, argument, run))
            .collect::<PyResult<Vec<_>>>()
    })?;
    PyTuple::new(py, decoded)
}

fn too_large(bytes: usize) -> Finished {
    let outcome = Outcome::Raised(Raised {
        kind: "NotPersistent".to_owned(),
        message: format!(
            "the outcome takes {bytes} bytes, more than one frame holds; do it in several messages"
        ),
        traceback: String::new(),
    });
    Finished {
        outcome,
        reads: Vec::new(),
        writes: Vec::new(),
        declared: false,
    }
}

/// Goes once through all that a run does, so that nothing is loaded for the first time inside the jail.
fn rehearse(py: Python<'_>, mut peer: Peer) -> Result<Peer, ServeError> {
    for source in interpreter::REHEARSALS {
        let (finished, _, back) = carry_out(py, interpreter::rehearsal(source), World::default(), peer)?;
        peer = back;
        if let Outcome::Raised(raised) = &finished.outcome
            && raised.kind != "ZeroDivisionError"
        {
            return Err(ServeError::Interpreter(format!(
                "{}: {}",
                raised.kind, raised.message
            )));
        }
    }
    Ok(peer)
}

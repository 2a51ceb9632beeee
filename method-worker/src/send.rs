//! Sending: the message goes to the slot that delegation finds, inside this process.

use pyo3::create_exception;
use pyo3::exceptions::{PyBaseException, PyException, PyRecursionError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use shared::id::ObjectId;
use shared::object::is_slot_name;

use crate::code;
use crate::encode::encode;
use crate::run::{self, Missed, Seen, raise};

/// Sends inside one another; the stack of the process is sized for it (see [`crate::jail::Limits`]).
pub const MAX_DEPTH: usize = 500;

create_exception!(
    image,
    NotPersistent,
    PyException,
    "Something that cannot live in an image."
);
create_exception!(
    image,
    MessageNotUnderstood,
    PyBaseException,
    "Unwinds to the loop; see run::Run::missed."
);

/// Sends `selector`. A data slot answers with its value and takes no arguments.
pub fn send(
    py: Python<'_>,
    receiver: ObjectId,
    selector: &str,
    arguments: &Bound<'_, PyTuple>,
) -> PyResult<Py<PyAny>> {
    if !is_slot_name(selector) {
        return Err(PyValueError::new_err(format!(
            "{selector:?} cannot be a selector"
        )));
    }
    match run::with(|run| run.read(py, receiver, selector))? {
        Seen::Method(source) => invoke(py, receiver, selector, &source, arguments, None),
        Seen::Data(data) if arguments.is_empty() => Ok(data),
        Seen::Data(_) => Err(PyTypeError::new_err(format!(
            "{receiver}.{selector} is a data slot; it takes no arguments"
        ))),
        Seen::Absent => miss(receiver, selector, arguments),
    }
}

/// Carries out a method with `receiver` as its `self`.
pub fn invoke(
    py: Python<'_>,
    receiver: ObjectId,
    selector: &str,
    source: &str,
    arguments: &Bound<'_, PyTuple>,
    named: Option<&Bound<'_, PyDict>>,
) -> PyResult<Py<PyAny>> {
    let proxy = run::with(|run| {
        if run.missed.is_some() {
            return Err(MessageNotUnderstood::new_err(()));
        }
        if run.depth >= MAX_DEPTH {
            return Err(PyRecursionError::new_err(format!(
                "more than {MAX_DEPTH} sends inside one another, the last is {receiver}.{selector}"
            )));
        }
        run.depth += 1;
        crate::decode::Proxies::proxy(run, py, receiver)
    })?;
    let answer = call(py, proxy.into_any(), selector, source, arguments, named);
    run::with(|run| {
        run.depth -= 1;
        Ok(())
    })?;
    answer
}

/// Ends the run with a message that nobody understands.
pub fn miss<T>(receiver: ObjectId, selector: &str, arguments: &Bound<'_, PyTuple>) -> PyResult<T> {
    let arguments = arguments
        .iter()
        .enumerate()
        .map(|(at, argument)| {
            encode(
                &argument,
                &format!("argument {} of {receiver}.{selector}", at + 1),
            )
        })
        .collect::<Result<Vec<_>, _>>()
        .map_err(raise)?;
    run::with(|run| {
        if run.missed.is_none() {
            run.missed = Some(Missed {
                receiver,
                selector: selector.to_owned(),
                arguments,
            });
        }
        Ok(())
    })?;
    Err(MessageNotUnderstood::new_err(format!(
        "{receiver} does not understand '{selector}'"
    )))
}

fn call(
    py: Python<'_>,
    receiver: Bound<'_, PyAny>,
    selector: &str,
    source: &str,
    arguments: &Bound<'_, PyTuple>,
    named: Option<&Bound<'_, PyDict>>,
) -> PyResult<Py<PyAny>> {
    let function = code::function(py, selector, source)?;
    let all = PyTuple::new(
        py,
        std::iter::once(receiver)
            .chain(arguments.iter())
            .collect::<Vec<_>>(),
    )?;
    Ok(function.call(all, named)?.unbind())
}

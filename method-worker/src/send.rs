//! Sending: the message goes to the slot that delegation finds, inside this process.

use pyo3::create_exception;
use pyo3::exceptions::{PyAttributeError, PyBaseException, PyException, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use shared::id::ObjectId;
use shared::object::is_slot_name;

use crate::code;
use crate::encode::encode;
use crate::proxy::{Method, Proxy};
use crate::run::{self, Activation, Missed, Seen, raise};

/// The selector of the face that `traits` gives to a resend.
const RESEND: &str = "resend";

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
        Seen::Method(method) => invoke(py, method.get(), arguments, None),
        Seen::Data(data) => answer_data(data, receiver, selector, arguments),
        Seen::Absent => miss(receiver, selector, arguments),
    }
}

/// Goes on with the running method's message at the next holder of its selector, `self` staying the same.
pub fn resend(py: Python<'_>, receiver: ObjectId, arguments: &Bound<'_, PyTuple>) -> PyResult<Py<PyAny>> {
    let (running, selector, seen) = run::with(|run| {
        let running = running(run).ok_or_else(|| PyTypeError::new_err("only a method can resend"))?;
        let selector = run.names.text(running.selector).clone();
        if running.receiver != receiver {
            return Err(PyTypeError::new_err(format!(
                "{}.{selector} resends to {receiver}; only `self` can be resent to",
                running.receiver
            )));
        }
        let seen = run.read_after(py, receiver, running.holder, running.selector)?;
        Ok((running, selector, seen))
    })?;
    match seen {
        Seen::Method(method) => invoke(py, method.get(), arguments, None),
        Seen::Data(data) => answer_data(data, receiver, &selector, arguments),
        Seen::Absent => Err(PyAttributeError::new_err(format!(
            "nothing to resend to: after {} no object that {receiver} delegates to has a slot '{selector}'",
            running.holder
        ))),
    }
}

/// The innermost method that is not the face of the resend itself.
fn running(run: &run::Run) -> Option<Activation> {
    let mut inner = run.activations.iter().rev();
    let last = inner.next()?;
    match &**run.names.text(last.selector) == RESEND {
        true => inner.next().copied(),
        false => Some(*last),
    }
}

/// Carries out a method with its receiver as `self`.
#[inline]
pub fn invoke(
    py: Python<'_>,
    method: &Method,
    arguments: &Bound<'_, PyTuple>,
    named: Option<&Bound<'_, PyDict>>,
) -> PyResult<Py<PyAny>> {
    let function = run::with(|run| run.enter(py, method))?;
    let answer = match function {
        Some(function) => call(function.bind(py), method.receiver.bind(py), arguments, named),
        None => code::function(py, method)
            .and_then(|function| call(&function, method.receiver.bind(py), arguments, named)),
    };
    run::with(|run| {
        run.leave();
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

fn answer_data(
    data: Py<PyAny>,
    receiver: ObjectId,
    selector: &str,
    arguments: &Bound<'_, PyTuple>,
) -> PyResult<Py<PyAny>> {
    match arguments.is_empty() {
        true => Ok(data),
        false => Err(PyTypeError::new_err(format!(
            "{receiver}.{selector} is a data slot; it takes no arguments"
        ))),
    }
}

/// Few arguments go without a tuple: Rust tuples take CPython's vectorcall.
#[inline]
fn call(
    function: &Bound<'_, PyAny>,
    receiver: &Bound<'_, Proxy>,
    arguments: &Bound<'_, PyTuple>,
    named: Option<&Bound<'_, PyDict>>,
) -> PyResult<Py<PyAny>> {
    let answer = match (arguments.as_slice(), named) {
        ([], None) => function.call1((receiver,)),
        ([a], None) => function.call1((receiver, a)),
        ([a, b], None) => function.call1((receiver, a, b)),
        ([a, b, c], None) => function.call1((receiver, a, b, c)),
        (all, named) => {
            let all = std::iter::once(receiver.as_any()).chain(all);
            function.call(PyTuple::new(function.py(), all.collect::<Vec<_>>())?, named)
        }
    };
    answer.map(Bound::unbind)
}

//! What a method sees of an object, and of a method that it has named but not called yet.
//!
//! Both types are immutable: nothing that a run puts on them could reach the next one.

use std::sync::Arc;

use pyo3::IntoPyObjectExt;
use pyo3::basic::CompareOp;
use pyo3::exceptions::PyAttributeError;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyTuple};
use shared::id::ObjectId;
use shared::object::is_slot_name;

use crate::run::{self, Seen};
use crate::send;
use crate::unanswered::Unanswered;

/// The marker of the persistence covenant (M13); not a slot.
const MARKER: &str = "_p_changed";

/// An object of the image. Equal and hashed by identity of that object.
#[pyclass(frozen, immutable_type, name = "object", module = "image")]
pub struct Proxy {
    pub id: ObjectId,
}

#[pymethods]
impl Proxy {
    /// The slot along the delegation chain: data, a [`Method`] to call, or an [`Unanswered`].
    fn __getattr__(&self, py: Python<'_>, name: &str) -> PyResult<Py<PyAny>> {
        if name == MARKER {
            return run::with(|run| Ok(run.declared))?.into_py_any(py);
        }
        if !is_slot_name(name) {
            return Err(PyAttributeError::new_err(format!(
                "{} has no slot {name:?}",
                self.id
            )));
        }
        seen(py, self.id, name, run::with(|run| run.read(py, self.id, name))?)
    }

    /// Puts a slot on this object itself, also when the name was inherited until now.
    fn __setattr__(&self, py: Python<'_>, name: &str, value: Bound<'_, PyAny>) -> PyResult<()> {
        if name == MARKER {
            return declare(&value);
        }
        let _old = run::with(|run| run.assign(py, self.id, name, value.unbind()))?;
        Ok(())
    }

    /// Removes this object's own slot.
    fn __delattr__(&self, name: &str) -> PyResult<()> {
        let _old = run::with(|run| run.remove(self.id, name))?;
        Ok(())
    }

    fn __repr__(&self) -> String {
        self.id.to_string()
    }

    fn __hash__(&self) -> u64 {
        self.id.0
    }

    fn __richcmp__(&self, other: &Bound<'_, PyAny>, op: CompareOp, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let equal = other
            .cast_exact::<Proxy>()
            .ok()
            .map(|other| other.get().id == self.id);
        match (op, equal) {
            (CompareOp::Eq, Some(equal)) => equal.into_py_any(py),
            (CompareOp::Ne, Some(equal)) => (!equal).into_py_any(py),
            _ => Ok(py.NotImplemented()),
        }
    }
}

/// What a read has found, as Python.
pub fn seen(py: Python<'_>, receiver: ObjectId, name: &str, seen: Seen) -> PyResult<Py<PyAny>> {
    match seen {
        Seen::Data(object) => Ok(object),
        Seen::Method(source) => Method {
            receiver,
            selector: name.to_owned(),
            source,
        }
        .into_py_any(py),
        Seen::Absent => Unanswered {
            receiver,
            selector: name.to_owned(),
        }
        .into_py_any(py),
    }
}

fn declare(value: &Bound<'_, PyAny>) -> PyResult<()> {
    match value.cast_exact::<PyBool>() {
        Ok(b) => run::with(|run| {
            run.declared |= b.is_true();
            Ok(())
        }),
        Err(_) => Err(pyo3::exceptions::PyTypeError::new_err(
            "_p_changed is True or False",
        )),
    }
}

/// A method of a receiver, ready to be called.
#[pyclass(frozen, immutable_type, name = "method", module = "image")]
pub struct Method {
    pub receiver: ObjectId,
    pub selector: String,
    pub source: Arc<str>,
}

impl Method {
    pub fn label(&self) -> String {
        format!("{}.{}", self.receiver, self.selector)
    }
}

#[pymethods]
impl Method {
    #[pyo3(signature = (*arguments, **named))]
    fn __call__(
        &self,
        arguments: &Bound<'_, PyTuple>,
        named: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Py<PyAny>> {
        send::invoke(
            arguments.py(),
            self.receiver,
            &self.selector,
            &self.source,
            arguments,
            named,
        )
    }

    fn __repr__(&self) -> String {
        format!("<method {}>", self.label())
    }
}

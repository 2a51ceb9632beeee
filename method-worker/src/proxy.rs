//! What a method sees of an object, and of a method that it has named but not called yet.
//!
//! Both types are immutable: nothing that a run puts on them could reach the next one.

use std::sync::{Arc, OnceLock};

use pyo3::basic::CompareOp;
use pyo3::exceptions::{PyAttributeError, PyKeyError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyString, PyTuple};
use pyo3::{IntoPyObjectExt, intern};
use shared::activation::ScanOrder;
use shared::id::ObjectId;
use shared::object::is_slot_name;
use vocabulary::MARKER;

use crate::range::{self, Range, Walking};
use crate::run::walk::Face;
use crate::run::{self, NameId, Seen};
use crate::send;
use crate::unanswered::Unanswered;

/// An object of the image. Equal and hashed by identity of that object. Subscripts, `in`, `len` and iteration are its own
/// entries, which nobody inherits; it is true however many there are.
#[pyclass(frozen, immutable_type, mapping, name = "object", module = "image")]
pub struct Proxy {
    pub id: ObjectId,
    /// Which run it belongs to, and its place among that run's shortcuts.
    pub run: u64,
    pub place: usize,
}

#[pymethods]
impl Proxy {
    /// What the last look has found. Python asks `__getattr__` after an AttributeError, so that says nothing here.
    #[inline]
    fn __getattribute__(&self, py: Python<'_>, name: &Bound<'_, PyString>) -> PyResult<Py<PyAny>> {
        run::glance(py, self, name).ok_or_else(|| PyAttributeError::new_err(()))
    }

    /// The slot along the delegation chain: data, a [`Method`] to call, or an [`Unanswered`].
    fn __getattr__(slf: &Bound<'_, Self>, name: &Bound<'_, PyString>) -> PyResult<Py<PyAny>> {
        let (py, text, id) = (slf.py(), name.to_str()?, slf.get().id);
        if text.starts_with("__") {
            let plain = py.get_type::<PyAny>().getattr(intern!(py, "__getattribute__"))?;
            return plain.call1((slf, name)).map(Bound::unbind);
        }
        if text == MARKER {
            return run::with(|run| Ok(run.declared))?.into_py_any(py);
        }
        if !is_slot_name(text) {
            return Err(PyAttributeError::new_err(format!("{id} has no slot {text:?}")));
        }
        seen(py, id, text, run::with(|run| run.look(py, slf.get(), name))?)
    }

    /// Puts a slot on this object itself, also when the name was inherited until now.
    #[inline]
    fn __setattr__(
        &self,
        py: Python<'_>,
        name: &Bound<'_, PyString>,
        value: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        if name.is(intern!(py, MARKER)) || name.to_str()? == MARKER {
            return declare(value);
        }
        let _old = run::with(|run| run.put(self, name, value))?;
        Ok(())
    }

    /// Removes this object's own slot.
    fn __delattr__(&self, name: &str) -> PyResult<()> {
        let _old = run::with(|run| run.remove(self.id, name))?;
        Ok(())
    }

    fn __getitem__(&self, py: Python<'_>, key: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        let name = range::key(key)?;
        let found = run::with(|run| run.entry(py, self.id, &name))?;
        found.ok_or_else(|| PyKeyError::new_err(key.clone().unbind()))
    }

    fn __setitem__(&self, key: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        let key = range::key(key)?;
        let _old = run::with(|run| run.put_entry(self.id, key, value))?;
        Ok(())
    }

    fn __delitem__(&self, key: &Bound<'_, PyAny>) -> PyResult<()> {
        let name = range::key(key)?;
        match run::with(|run| run.remove_entry(self.id, name))? {
            Some(_old) => Ok(()),
            None => Err(PyKeyError::new_err(key.clone().unbind())),
        }
    }

    fn __contains__(&self, key: &Bound<'_, PyAny>) -> PyResult<bool> {
        let key = range::key(key)?;
        run::with(|run| run.has_entry(self.id, &key))
    }

    fn __len__(&self) -> PyResult<usize> {
        let count = run::with(|run| run.count_entries(self.id))?;
        Ok(usize::try_from(count).unwrap_or(usize::MAX))
    }

    fn __iter__(&self) -> PyResult<Walking> {
        Range::whole(self.id, Face::Keys).__iter__()
    }

    fn __reversed__(&self) -> PyResult<Walking> {
        let mut range = Range::whole(self.id, Face::Keys);
        range.order = ScanOrder::Descending;
        range.__iter__()
    }

    fn __bool__(&self) -> bool {
        true
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
        Seen::Method(method) => Ok(method.into_any()),
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
    pub receiver: Py<Proxy>,
    /// The object whose slot it is: where a resend goes on from.
    pub holder: ObjectId,
    pub name: NameId,
    pub selector: Arc<str>,
    pub source: Arc<str>,
    /// The run that `name` belongs to.
    pub run: u64,
    /// Its place in the code cache, once it has been called.
    pub code_place: OnceLock<usize>,
}

impl Method {
    pub fn label(&self) -> String {
        format!("{}.{}", self.receiver.get().id, self.selector)
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
        send::invoke(arguments.py(), self, arguments, named)
    }

    fn __repr__(&self) -> String {
        format!("<method {}>", self.label())
    }
}

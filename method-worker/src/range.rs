//! Entries of an object from a key to before another, as a method sees them: iterated over as often as it likes, read page by
//! page while it does.

use pyo3::IntoPyObjectExt;
use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyList, PySlice, PyTuple};
use shared::activation::ScanOrder;
use shared::id::ObjectId;
use shared::key::{Key, KeyError};
use shared::value::Value;

use crate::decode::{Proxies, decode};
use crate::encode::encode;
use crate::run::walk::{Face, Walk};
use crate::run::{self, raise};

/// The description of a walk. True when it has an entry.
#[pyclass(frozen, immutable_type, name = "entries", module = "image")]
#[derive(Clone)]
pub struct Range {
    pub object: ObjectId,
    pub face: Face,
    pub from: Key,
    pub to: Key,
    pub order: ScanOrder,
    pub limit: u64,
}

impl Range {
    /// All entries of an object in key order.
    pub fn whole(object: ObjectId, face: Face) -> Range {
        Range {
            object,
            face,
            from: Key::first(),
            to: Key::last(),
            order: ScanOrder::Ascending,
            limit: u64::MAX,
        }
    }

    fn walk(&self) -> Walk {
        let (from, to) = (self.from.clone(), self.to.clone());
        Walk::new(self.object, self.face, from, to, self.order, self.limit)
    }
}

#[pymethods]
impl Range {
    pub fn __iter__(&self) -> PyResult<Walking> {
        run::with(|run| {
            run.require(self.object)?;
            Ok(Walking {
                walk: self.walk(),
                run: run.serial,
            })
        })
    }

    fn __bool__(&self, py: Python<'_>) -> PyResult<bool> {
        let mut range = self.clone();
        (range.face, range.limit) = (Face::Keys, range.limit.min(1));
        Ok(range.__iter__()?.__next__(py)?.is_some())
    }

    fn __repr__(&self) -> String {
        let face = match self.face {
            Face::Keys => "keys",
            Face::Values => "values",
            Face::Items => "items",
        };
        format!("<{face} of {}>", self.object)
    }
}

/// An iteration over a [`Range`].
#[pyclass(immutable_type, name = "entries", module = "image")]
pub struct Walking {
    walk: Walk,
    /// Which run it belongs to.
    run: u64,
}

#[pymethods]
impl Walking {
    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    pub fn __next__(&mut self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        run::with(|run| {
            if run.serial != self.run {
                return Err(PyRuntimeError::new_err(
                    "the iteration was kept from an earlier message",
                ));
            }
            let Some((key, value)) = run.next_entry(py, &mut self.walk)? else {
                return Ok(None);
            };
            let answer = match (self.walk.face, value) {
                (Face::Values, Some(value)) => value,
                (Face::Items, Some(value)) => (python(py, &key, run)?, value).into_py_any(py)?,
                _ => python(py, &key, run)?.unbind(),
            };
            Ok(Some(answer))
        })
    }
}

/// An answer that is a range or an iteration becomes the list of what it has; every other stays as it is.
pub fn as_list(py: Python<'_>, answer: Py<PyAny>) -> PyResult<Py<PyAny>> {
    let bound = answer.bind(py);
    match bound.is_exact_instance_of::<Range>() || bound.is_exact_instance_of::<Walking>() {
        true => {
            let items = bound.try_iter()?.collect::<PyResult<Vec<_>>>()?;
            PyList::new(py, items)?.into_py_any(py)
        }
        false => Ok(answer),
    }
}

/// The key that a Python object is.
pub fn key(object: &Bound<'_, PyAny>) -> PyResult<Key> {
    if object.is_exact_instance_of::<PySlice>() {
        return Err(PyTypeError::new_err(
            "an entry has one key; a range of entries comes from items(from, to) of an ordered_map",
        ));
    }
    let value = encode(object, "the key").map_err(|refused| match refused.kind {
        "AttributeError" => raise(refused),
        _ => PyTypeError::new_err(refused.message),
    })?;
    Key::of(&value).map_err(|error| match error {
        KeyError::Kind(_) => PyTypeError::new_err(error.to_string()),
        KeyError::Number | KeyError::TooLong(_) => PyValueError::new_err(error.to_string()),
    })
}

/// A key as Python: lists of keys as tuples, so that it can be a key there too.
fn python<'py>(py: Python<'py>, key: &Key, proxies: &mut impl Proxies) -> PyResult<Bound<'py, PyAny>> {
    match key.value() {
        Some(value) => tuples(py, &value, proxies),
        None => Err(PyValueError::new_err("an entry has a damaged key")),
    }
}

fn tuples<'py>(py: Python<'py>, value: &Value, proxies: &mut impl Proxies) -> PyResult<Bound<'py, PyAny>> {
    match value {
        Value::List(items) => {
            let items = items
                .iter()
                .map(|item| tuples(py, item, proxies))
                .collect::<PyResult<Vec<_>>>()?;
            Ok(PyTuple::new(py, items)?.into_any())
        }
        scalar => decode(py, scalar, proxies),
    }
}

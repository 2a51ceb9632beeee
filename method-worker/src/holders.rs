//! Who holds a list or dict: whether any method could still change it.
#![allow(unsafe_code)]

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple};

/// Whether this list, dict or tuple and those inside it are held by nobody but the `holders` that the caller knows of.
pub fn is_alone(object: &Bound<'_, PyAny>, holders: isize) -> bool {
    // Iterating holds each item once more than its container does.
    let inside =
        |mut items: Box<dyn Iterator<Item = Bound<'_, PyAny>> + '_>| items.all(|item| is_alone(&item, 2));
    let is_free = || count(object) <= holders;
    if let Ok(list) = object.cast_exact::<PyList>() {
        is_free() && inside(Box::new(list.iter()))
    } else if let Ok(map) = object.cast_exact::<PyDict>() {
        is_free() && inside(Box::new(map.iter().map(|(_, item)| item)))
    } else if let Ok(tuple) = object.cast_exact::<PyTuple>() {
        is_free() && inside(Box::new(tuple.iter()))
    } else {
        true
    }
}

fn count(object: &Bound<'_, PyAny>) -> isize {
    // SAFETY: a `Bound` keeps its object alive and is only had while the GIL is held; the count is read, nothing else.
    unsafe { ffi::Py_REFCNT(object.as_ptr()) }
}

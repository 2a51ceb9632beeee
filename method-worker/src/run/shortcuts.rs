//! From an object and a name as it stands in compiled code straight to what the last look found.
//!
//! A shortcut is only ever an answer that a full look would give again, and whose reads are noted already. Compiled code
//! keeps its names as Python strings, one for each text, so the string's address is the key; the shortcut keeps the
//! string, so that no other string can come to that address.

use pyo3::prelude::*;
use pyo3::types::PyString;
use rustc_hash::FxHashMap;

use super::names::NameId;

/// Where the value is.
pub enum Target {
    /// A slot that the run has touched, by its place in `Run::changes`.
    Touched { object: usize, slot: usize },
    /// The value itself, right while the name's generation is this one.
    Found { value: Py<PyAny>, generation: u32 },
}

pub struct Shortcut {
    /// Keeps the key's address taken.
    _text: Py<PyString>,
    pub name: NameId,
    pub target: Target,
}

/// The shortcuts of a run, by the place of the object's proxy.
#[derive(Default)]
pub struct Shortcuts {
    objects: Vec<FxHashMap<usize, Shortcut>>,
}

impl Shortcuts {
    /// A place for one more proxy.
    pub fn place(&mut self) -> usize {
        self.objects.push(FxHashMap::default());
        self.objects.len() - 1
    }

    #[inline]
    pub fn get(&self, place: usize, text: &Bound<'_, PyString>) -> Option<&Shortcut> {
        self.objects.get(place)?.get(&(text.as_ptr() as usize))
    }

    /// Puts a shortcut; one that it replaces is dropped, with a value that others hold too.
    pub fn put(&mut self, place: usize, text: &Bound<'_, PyString>, name: NameId, target: Target) {
        if let Some(object) = self.objects.get_mut(place) {
            let shortcut = Shortcut {
                _text: text.clone().unbind(),
                name,
                target,
            };
            object.insert(text.as_ptr() as usize, shortcut);
        }
    }

    /// Forgets all, after something that no generation tells: slots that moved, parents that changed.
    pub fn clear(&mut self) {
        self.objects.iter_mut().for_each(FxHashMap::clear);
    }
}

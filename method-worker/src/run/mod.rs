//! One run: what it has looked at and what it has changed so far.
//!
//! The run in progress stands in a thread-local, since Python calls come without context. It is never borrowed while
//! code of a method runs; where a value that a method made could die (and run its `__del__`), it is handed out first.

mod sight;

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use indexmap::IndexMap;
use pyo3::exceptions::{PyAttributeError, PyLookupError, PyRuntimeError};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use shared::activation::{Mode, Read, ReadSlot};
use shared::id::{ObjectId, TransactionId};
use shared::object::{PARENTS, is_slot_name};
use shared::value::Value;

use crate::encode::{NotAValue, encode, same};
use crate::peer::Peer;
use crate::proxy::Proxy;
use crate::world::World;

/// The state of one run. `world` and `peer` are lent to it by the loop.
pub struct Run {
    pub world: World,
    pub peer: Peer,
    pub mode: Mode,
    /// Some method said `self._p_changed = True`.
    pub declared: bool,
    /// A message that nobody understood; once there, the run is over whatever the method catches.
    pub missed: Option<Missed>,
    /// Sends inside one another at this moment.
    pub depth: usize,
    /// Functions made in this run, by their place in the code cache: globals are never shared between runs.
    pub functions: HashMap<usize, Py<PyAny>>,
    /// The builtins of every function of this run.
    pub builtins: Option<Py<PyDict>>,
    /// Slots that this run has touched, in order of touching.
    pub changes: IndexMap<ObjectId, Changes>,
    /// Lists and dicts that a receiver inherits, copied for it when it first looked.
    copies: IndexMap<(ObjectId, String), Copied>,
    slots_read: HashMap<ObjectId, BTreeMap<String, Option<TransactionId>>>,
    wholes_read: BTreeMap<ObjectId, TransactionId>,
    proxies: HashMap<ObjectId, Py<Proxy>>,
}

/// A message without a method.
pub struct Missed {
    pub receiver: ObjectId,
    pub selector: String,
    pub arguments: Vec<Value>,
}

/// The touched slots of one object.
#[derive(Default)]
pub struct Changes {
    /// Made in this run: nothing of it is in the image.
    pub created: bool,
    pub slots: IndexMap<String, Content>,
}

/// What a touched slot holds now.
pub enum Content {
    Stored(Value),
    /// The very Python object that methods have in their hands.
    Held(Py<PyAny>),
    Removed,
}

struct Copied {
    object: Py<PyAny>,
    original: Value,
}

/// What a read has found.
pub enum Seen {
    Data(Py<PyAny>),
    Method(Arc<str>),
    Absent,
}

thread_local! {
    static RUN: RefCell<Option<Run>> = const { RefCell::new(None) };
}

/// Works on the run in progress. Fails outside of a run and inside of another `with` (a `__del__` can cause that).
pub fn with<R>(work: impl FnOnce(&mut Run) -> PyResult<R>) -> PyResult<R> {
    RUN.with(|cell| match cell.try_borrow_mut() {
        Ok(mut run) => match run.as_mut() {
            Some(run) => work(run),
            None => Err(PyRuntimeError::new_err("no message is being carried out")),
        },
        Err(_) => Err(PyRuntimeError::new_err("the image is busy with another access")),
    })
}

/// Makes `run` the run in progress.
pub fn begin(run: Run) {
    RUN.with(|cell| *cell.borrow_mut() = Some(run));
}

/// Takes the run in progress out.
pub fn end() -> Option<Run> {
    RUN.with(|cell| cell.borrow_mut().take())
}

impl Run {
    pub fn new(world: World, peer: Peer, mode: Mode) -> Run {
        Run {
            world,
            peer,
            mode,
            declared: false,
            missed: None,
            depth: 0,
            functions: HashMap::new(),
            builtins: None,
            changes: IndexMap::new(),
            copies: IndexMap::new(),
            slots_read: HashMap::new(),
            wholes_read: BTreeMap::new(),
            proxies: HashMap::new(),
        }
    }

    /// Ends the run; what methods made dies here, while no run is in progress.
    pub fn close(self) -> (World, Peer) {
        (self.world, self.peer)
    }

    /// Puts a slot; what it held before comes back, to be dropped outside of [`with`].
    pub fn assign(
        &mut self,
        py: Python<'_>,
        object: ObjectId,
        name: &str,
        value: Py<PyAny>,
    ) -> PyResult<[Option<Py<PyAny>>; 2]> {
        if !is_slot_name(name) {
            return Err(PyAttributeError::new_err(format!(
                "{name:?} cannot be the name of a slot; use letters, digits and _, not beginning with __"
            )));
        }
        self.require(object)?;
        if name == PARENTS {
            let value = encode(value.bind(py), &format!("{object}.{PARENTS}")).map_err(raise)?;
            check_parents(object, &value).map_err(raise)?;
        }
        let copy = self.copies.shift_remove(&(object, name.to_owned()));
        let old = self.touched(object).insert(name.to_owned(), Content::Held(value));
        Ok([held(old), copy.map(|copy| copy.object)])
    }

    /// Removes the object's own slot; what it held comes back as from [`Run::assign`].
    pub fn remove(&mut self, object: ObjectId, name: &str) -> PyResult<[Option<Py<PyAny>>; 2]> {
        self.require(object)?;
        if !self.holds(object, name) {
            return Err(PyAttributeError::new_err(format!(
                "{object} has no slot '{name}' of its own"
            )));
        }
        let copy = self.copies.shift_remove(&(object, name.to_owned()));
        let committed = self.committed(object, name).is_some();
        let slots = self.touched(object);
        let old = match committed {
            true => slots.insert(name.to_owned(), Content::Removed),
            false => slots.shift_remove(name),
        };
        Ok([held(old), copy.map(|copy| copy.object)])
    }

    /// Names of the object's own slots, in slot order; none for an object that does not exist (a parent may be gone).
    pub fn own_names(&mut self, py: Python<'_>, object: ObjectId) -> PyResult<Vec<String>> {
        self.settle(py).map_err(raise)?;
        let mut names: Vec<String> = Vec::new();
        if let Some(known) = self.committed_object(object) {
            self.wholes_read.insert(object, known.version);
            names.extend(known.slots().iter().map(|slot| slot.name.clone()));
        }
        if let Some(changes) = self.changes.get(&object) {
            for (name, content) in &changes.slots {
                match content {
                    Content::Removed => names.retain(|other| other != name),
                    _ if names.contains(name) => {}
                    _ => names.push(name.clone()),
                }
            }
        }
        Ok(names)
    }

    /// The value that the object's own slot has now; `None` when it has none.
    pub fn value(&mut self, py: Python<'_>, object: ObjectId, name: &str) -> PyResult<Option<Value>> {
        if !self.holds(object, name) {
            return Ok(None);
        }
        let place = format!("{object}.{name}");
        if let Some(copy) = self.copies.get(&(object, name.to_owned())) {
            return encode(copy.object.bind(py), &place).map(Some).map_err(raise);
        }
        match self
            .changes
            .get(&object)
            .and_then(|changes| changes.slots.get(name))
        {
            Some(Content::Held(held)) => encode(held.bind(py), &place).map(Some).map_err(raise),
            Some(Content::Stored(value)) => Ok(Some(value.clone())),
            Some(Content::Removed) => Ok(None),
            None => Ok(self.committed(object, name)),
        }
    }

    /// Makes an object with these slots.
    pub fn create(&mut self, slots: Vec<(String, Value)>) -> ObjectId {
        let id = self.peer.allocate();
        let slots = slots
            .into_iter()
            .map(|(name, value)| (name, Content::Stored(value)))
            .collect();
        self.changes.insert(id, Changes { created: true, slots });
        id
    }

    /// Inherited copies that were changed become slots of their receiver.
    pub fn settle(&mut self, py: Python<'_>) -> Result<(), NotAValue> {
        let mut changed = Vec::new();
        for (key, copy) in &self.copies {
            let value = encode(copy.object.bind(py), &format!("{}.{}", key.0, key.1))?;
            if !same(&value, &copy.original) {
                changed.push(key.clone());
            }
        }
        for key in changed {
            if let Some(copy) = self.copies.shift_remove(&key) {
                self.touched(key.0).insert(key.1, Content::Held(copy.object));
            }
        }
        Ok(())
    }

    /// Every slot looked at, in order of object and name.
    pub fn reads(&self) -> Vec<Read> {
        let mut objects: Vec<_> = self.slots_read.iter().collect();
        objects.sort_by_key(|(id, _)| **id);
        let wholes = self.wholes_read.iter().map(|(object, version)| Read {
            object: *object,
            slot: ReadSlot::Whole(*version),
        });
        let slots = objects.into_iter().flat_map(|(object, slots)| {
            slots.iter().map(|(name, changed)| Read {
                object: *object,
                slot: ReadSlot::Named(name.clone(), *changed),
            })
        });
        wholes.chain(slots).collect()
    }

    /// What the image has in that slot, noted as read.
    pub fn committed(&mut self, object: ObjectId, name: &str) -> Option<Value> {
        self.note(object, name)?;
        self.world
            .known(object, &mut self.peer)?
            .slot(name)
            .map(|slot| slot.value.clone())
    }

    /// Refuses an object that does not exist.
    pub fn require(&mut self, object: ObjectId) -> PyResult<()> {
        if self.is_created(object) || self.world.known(object, &mut self.peer).is_some() {
            return Ok(());
        }
        Err(PyLookupError::new_err(format!("object {object} does not exist")))
    }

    fn is_created(&self, object: ObjectId) -> bool {
        self.changes.get(&object).is_some_and(|changes| changes.created)
    }

    fn committed_object(&mut self, object: ObjectId) -> Option<std::rc::Rc<crate::world::Known>> {
        match self.is_created(object) {
            true => None,
            false => self.world.known(object, &mut self.peer),
        }
    }

    fn touched(&mut self, object: ObjectId) -> &mut IndexMap<String, Content> {
        &mut self.changes.entry(object).or_default().slots
    }

    /// Notes that the slot as the image has it was looked at; `Some` when it is there.
    fn note(&mut self, object: ObjectId, name: &str) -> Option<()> {
        if self.is_created(object) {
            return None;
        }
        let known = self.world.known(object, &mut self.peer);
        let changed = known
            .as_ref()
            .and_then(|known| known.slot(name))
            .map(|slot| slot.changed);
        let read = self.slots_read.entry(object).or_default();
        if !read.contains_key(name) {
            read.insert(name.to_owned(), changed);
        }
        changed.map(|_| ())
    }

    /// Whether the object itself has the slot now.
    fn holds(&mut self, object: ObjectId, name: &str) -> bool {
        match self
            .changes
            .get(&object)
            .and_then(|changes| changes.slots.get(name))
        {
            Some(Content::Removed) => return false,
            Some(_) => return true,
            None => {}
        }
        self.note(object, name).is_some() || self.copy_changed(object, name)
    }

    fn copy_changed(&self, object: ObjectId, name: &str) -> bool {
        if self.copies.is_empty() {
            return false;
        }
        let Some(copy) = self.copies.get(&(object, name.to_owned())) else {
            return false;
        };
        Python::attach(|py| match encode(copy.object.bind(py), "") {
            Ok(value) => !same(&value, &copy.original),
            Err(_) => true,
        })
    }
}

/// A refused value as a Python exception.
pub fn raise(refused: NotAValue) -> PyErr {
    match refused.kind {
        "AttributeError" => PyAttributeError::new_err(refused.message),
        _ => crate::send::NotPersistent::new_err(refused.message),
    }
}

/// Refuses what delegation could not follow.
pub fn check_parents(object: ObjectId, value: &Value) -> Result<(), NotAValue> {
    match value {
        Value::List(items) if items.iter().all(|item| matches!(item, Value::Ref(_))) => Ok(()),
        _ => Err(NotAValue {
            kind: "NotPersistent",
            message: format!("{object}.{PARENTS} is not a list of objects; delegation follows nothing else"),
        }),
    }
}

fn held(content: Option<Content>) -> Option<Py<PyAny>> {
    match content {
        Some(Content::Held(held)) => Some(held),
        _ => None,
    }
}

//! One run: what it has looked at and what it has changed so far.
//!
//! The run in progress stands in a thread-local, since Python calls come without context. It is never borrowed while
//! code of a method runs; where a value that a method made could die (and run its `__del__`), it is handed out first.
//!
//! - [`names`], [`shortcuts`]: what makes a look that was made before cheap.
//! - [`sight`]: reading along the delegation chain. [`entries`], [`walk`]: the entries of objects.
//! - [`memory`]: what is indexed and searched.
//! - [`savepoint`]: going back within a run. [`deep`]: copying a part of the image.

mod deep;
pub mod entries;
mod memory;
mod names;
mod savepoint;
mod shortcuts;
mod sight;
pub mod walk;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use indexmap::IndexMap;
use pyo3::exceptions::{PyAttributeError, PyLookupError, PyRecursionError, PyRuntimeError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use rustc_hash::{FxBuildHasher, FxHashMap};
use shared::activation::{Mode, Read, ReadSlot};
use shared::id::{ObjectId, TransactionId};
use shared::object::{PARENTS, is_slot_name};
use shared::value::Value;

use self::entries::AllEntries;
pub use self::names::NameId;
use self::names::Names;
use self::savepoint::Savepoint;
use self::shortcuts::{Shortcuts, Target};
use crate::encode::{NotAValue, encode, same};
use crate::peer::Peer;
use crate::proxy::{Method, Proxy};
use crate::world::{Known, World};

/// Sends inside one another; the stack of the process is sized for it (see [`crate::jail::Limits`]).
const MAX_DEPTH: usize = 500;

/// The state of one run. `world` and `peer` are lent to it by the loop.
pub struct Run {
    pub world: World,
    pub peer: Peer,
    pub mode: Mode,
    /// Of a trial: the selector of the method that has never run, until it is compiled.
    candidate: Option<String>,
    /// Some method said `self._p_changed = True`.
    pub declared: bool,
    /// A message that nobody understood; once there, the run is over whatever the method catches.
    pub missed: Option<Missed>,
    /// Why this transaction may never commit; once there, nothing takes it away.
    pub doomed: Option<String>,
    /// The methods that run at this moment, the innermost last.
    pub activations: Vec<Activation>,
    /// Functions made in this run, by their place in the code cache: globals are never shared between runs.
    pub functions: Vec<Option<Py<PyAny>>>,
    /// The builtins of every function of this run.
    pub builtins: Option<Py<PyDict>>,
    pub names: Names,
    /// Slots that this run has touched, in order of touching.
    pub changes: IndexMap<ObjectId, Changes, FxBuildHasher>,
    pub entries: AllEntries,
    /// Lists and dicts that a receiver inherits, copied for it when it first looked.
    copies: IndexMap<(ObjectId, NameId), Copied, FxBuildHasher>,
    slots_read: FxHashMap<(ObjectId, NameId), Option<TransactionId>>,
    wholes_read: BTreeMap<ObjectId, TransactionId>,
    proxies: FxHashMap<ObjectId, Py<Proxy>>,
    shortcuts: Shortcuts,
    /// A method has a list of parents in its hands: where delegation leads can change without anybody being told.
    parents_are_loose: bool,
    savepoints: Vec<Savepoint>,
    /// Tells the proxies and methods of this run from those that an earlier one may have hidden somewhere.
    pub serial: u64,
}

/// A message without a method.
pub struct Missed {
    pub receiver: ObjectId,
    pub selector: String,
    pub arguments: Vec<Value>,
}

/// A running method.
#[derive(Clone, Copy)]
pub struct Activation {
    pub receiver: ObjectId,
    /// The object whose slot the method is.
    pub holder: ObjectId,
    pub selector: NameId,
}

/// The touched slots of one object.
#[derive(Default)]
pub struct Changes {
    /// Made in this run: nothing of it is in the image.
    pub created: bool,
    pub slots: IndexMap<NameId, Content, FxBuildHasher>,
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
    Method(Py<Method>),
    Absent,
}

thread_local! {
    static RUN: RefCell<Option<Run>> = const { RefCell::new(None) };
    static SERIAL: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
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

/// What the last look at that slot found, if a look would find it again.
#[inline]
pub fn glance(py: Python<'_>, proxy: &Proxy, name: &Bound<'_, PyString>) -> Option<Py<PyAny>> {
    RUN.with(|cell| cell.try_borrow().ok()?.as_ref()?.glance(py, proxy, name))
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
    pub fn new(world: World, peer: Peer, mode: Mode, selector: &str) -> Run {
        let serial = SERIAL.get() + 1;
        SERIAL.set(serial);
        Run {
            world,
            peer,
            mode,
            candidate: (mode == Mode::Trial).then(|| selector.to_owned()),
            declared: false,
            missed: None,
            doomed: None,
            activations: Vec::new(),
            functions: Vec::new(),
            builtins: None,
            names: Names::new(),
            changes: IndexMap::default(),
            entries: IndexMap::default(),
            copies: IndexMap::default(),
            slots_read: FxHashMap::default(),
            wholes_read: BTreeMap::new(),
            proxies: FxHashMap::default(),
            shortcuts: Shortcuts::default(),
            parents_are_loose: false,
            savepoints: Vec::new(),
            serial,
        }
    }

    /// True for the first method of that selector that a trial compiles: the candidate, whose run is the trial.
    pub fn take_candidate(&mut self, selector: &str) -> bool {
        self.candidate
            .take_if(|candidate| candidate == selector)
            .is_some()
    }

    /// Ends the run; what methods made dies here, while no run is in progress.
    pub fn close(self) -> (World, Peer) {
        (self.world, self.peer)
    }

    /// Begins a method; the function that it is, if this run has made it before.
    #[inline]
    pub fn enter(&mut self, py: Python<'_>, method: &Method) -> PyResult<Option<Py<PyAny>>> {
        if self.missed.is_some() {
            return Err(crate::send::MessageNotUnderstood::new_err(()));
        }
        if method.run != self.serial {
            return Err(PyRuntimeError::new_err(format!(
                "the method {} was kept from an earlier message",
                method.label()
            )));
        }
        if self.activations.len() >= MAX_DEPTH {
            return Err(PyRecursionError::new_err(format!(
                "more than {MAX_DEPTH} sends inside one another, the last is {}",
                method.label()
            )));
        }
        self.activations.push(Activation {
            receiver: method.receiver.get().id,
            holder: method.holder,
            selector: method.name,
        });
        let place = method.code_place.get();
        let function = place.and_then(|place| self.functions.get(*place)?.as_ref());
        Ok(function.map(|function| function.clone_ref(py)))
    }

    /// Ends the method that was entered last.
    #[inline]
    pub fn leave(&mut self) {
        self.activations.pop();
    }

    #[inline]
    fn glance(&self, py: Python<'_>, proxy: &Proxy, name: &Bound<'_, PyString>) -> Option<Py<PyAny>> {
        if proxy.run != self.serial {
            return None;
        }
        let shortcut = self.shortcuts.get(proxy.place, name)?;
        match &shortcut.target {
            Target::Found { value, generation } if self.names.generation(shortcut.name) == *generation => {
                Some(value.clone_ref(py))
            }
            Target::Found { .. } => None,
            Target::Touched { object, slot } => {
                match self.changes.get_index(*object)?.1.slots.get_index(*slot)? {
                    (_, Content::Held(held)) => Some(held.clone_ref(py)),
                    _ => None,
                }
            }
        }
    }

    /// Puts a slot through the proxy; what it held before comes back, to be dropped outside of [`with`].
    #[inline]
    pub fn put(
        &mut self,
        proxy: &Proxy,
        name: &Bound<'_, PyString>,
        value: &Bound<'_, PyAny>,
    ) -> PyResult<[Option<Py<PyAny>>; 2]> {
        if proxy.run == self.serial
            && let Some(shortcut) = self.shortcuts.get(proxy.place, name)
            && let Target::Touched { object, slot } = shortcut.target
            && let Some((_, changes)) = self.changes.get_index_mut(object)
            && let Some((_, Content::Held(held))) = changes.slots.get_index_mut(slot)
        {
            let old = std::mem::replace(held, value.clone().unbind());
            self.names.touch(shortcut.name);
            return Ok([Some(old), None]);
        }
        let text = name.to_str()?;
        let old = self.assign(proxy.id, text, value)?;
        let id = self.names.id(text);
        if proxy.run == self.serial
            && id != NameId::PARENTS
            && let Some(target) = self.touched_target(proxy.id, id)
        {
            self.shortcuts.put(proxy.place, name, id, target);
        }
        Ok(old)
    }

    /// Puts a slot; what it held before comes back, to be dropped outside of [`with`].
    pub fn assign(
        &mut self,
        object: ObjectId,
        name: &str,
        value: &Bound<'_, PyAny>,
    ) -> PyResult<[Option<Py<PyAny>>; 2]> {
        if !is_slot_name(name) {
            return Err(PyAttributeError::new_err(format!(
                "{name:?} cannot be the name of a slot; use letters, digits and _, not beginning with __"
            )));
        }
        self.require(object)?;
        if name == PARENTS {
            let parents = encode(value, &format!("{object}.{PARENTS}")).map_err(raise)?;
            check_parents(object, &parents).map_err(raise)?;
            self.loosen_parents();
        }
        let name = self.names.id(name);
        let copy = self.copies.shift_remove(&(object, name));
        let old = self.touch(object, name, Content::Held(value.clone().unbind()));
        Ok([held(old), copy.map(|copy| copy.object)])
    }

    /// Removes the object's own slot; what it held comes back as from [`Run::assign`].
    pub fn remove(&mut self, object: ObjectId, name: &str) -> PyResult<[Option<Py<PyAny>>; 2]> {
        self.require(object)?;
        let id = self.names.id(name);
        if !self.holds(object, id) {
            return Err(PyAttributeError::new_err(format!(
                "{object} has no slot '{name}' of its own"
            )));
        }
        self.shortcuts.clear();
        let copy = self.copies.shift_remove(&(object, id));
        let committed = self.committed(object, id).is_some();
        let slots = &mut self.changes.entry(object).or_default().slots;
        let old = match committed {
            true => slots.insert(id, Content::Removed),
            false => slots.shift_remove(&id),
        };
        Ok([held(old), copy.map(|copy| copy.object)])
    }

    /// Names of the object's own slots, in slot order; none for an object that does not exist (a parent may be gone).
    pub fn own_names(&mut self, py: Python<'_>, object: ObjectId) -> PyResult<Vec<NameId>> {
        self.settle(py).map_err(raise)?;
        let mut names: Vec<NameId> = Vec::new();
        if let Some(known) = self.committed_object(object) {
            self.wholes_read.insert(object, known.version);
            names.extend(known.slots().iter().map(|slot| self.names.id(&slot.name)));
        }
        if let Some(changes) = self.changes.get(&object) {
            for (name, content) in &changes.slots {
                match content {
                    Content::Removed => names.retain(|other| other != name),
                    _ if names.contains(name) => {}
                    _ => names.push(*name),
                }
            }
        }
        Ok(names)
    }

    /// The object's own slots with their values, in slot order.
    pub fn own_slots(&mut self, py: Python<'_>, object: ObjectId) -> PyResult<Vec<(NameId, Value)>> {
        let names = self.own_names(py, object)?;
        let mut slots = Vec::with_capacity(names.len());
        for name in names {
            if let Some(value) = self.value(py, object, name)? {
                slots.push((name, value));
            }
        }
        Ok(slots)
    }

    /// The value that the object's own slot has now; `None` when it has none.
    pub fn value(&mut self, py: Python<'_>, object: ObjectId, name: NameId) -> PyResult<Option<Value>> {
        if !self.holds(object, name) {
            return Ok(None);
        }
        let held = match (self.copies.get(&(object, name)), self.content(object, name)) {
            (Some(copy), _) => copy.object.bind(py),
            (None, Some(Content::Held(held))) => held.bind(py),
            (None, Some(Content::Stored(value))) => return Ok(Some(value.clone())),
            (None, Some(Content::Removed)) => return Ok(None),
            (None, None) => return Ok(self.committed(object, name)),
        };
        let place = format!("{object}.{}", self.names.text(name));
        encode(held, &place).map(Some).map_err(raise)
    }

    /// Makes an object with these slots.
    pub fn create(&mut self, slots: Vec<(NameId, Value)>) -> ObjectId {
        let id = self.peer.allocate();
        self.create_as(id, slots);
        id
    }

    fn create_as(&mut self, id: ObjectId, slots: Vec<(NameId, Value)>) {
        let slots = slots
            .into_iter()
            .map(|(name, value)| (name, Content::Stored(value)))
            .collect();
        self.changes.insert(id, Changes { created: true, slots });
    }

    /// Inherited copies that were changed become slots of their receiver.
    pub fn settle(&mut self, py: Python<'_>) -> Result<(), NotAValue> {
        let mut changed = Vec::new();
        for ((object, name), copy) in &self.copies {
            // The place is only needed for a refusal.
            let copied = copy.object.bind(py);
            let value = encode(copied, "")
                .or_else(|_| encode(copied, &format!("{object}.{}", self.names.text(*name))))?;
            if !same(&value, &copy.original) {
                changed.push((*object, *name));
            }
        }
        for (object, name) in changed {
            if let Some(copy) = self.copies.shift_remove(&(object, name)) {
                self.touch(object, name, Content::Held(copy.object));
            }
        }
        Ok(())
    }

    /// Every slot looked at, in order of object and name.
    pub fn reads(&self) -> Vec<Read> {
        let wholes = self.wholes_read.iter().map(|(object, version)| Read {
            object: *object,
            slot: ReadSlot::Whole(*version),
        });
        let mut slots: Vec<(ObjectId, &str, Option<TransactionId>)> = self
            .slots_read
            .iter()
            .map(|((object, name), changed)| (*object, &**self.names.text(*name), *changed))
            .collect();
        slots.sort_unstable();
        let slots = slots.into_iter().map(|(object, name, changed)| Read {
            object,
            slot: ReadSlot::Named(name.to_owned(), changed),
        });
        wholes.chain(slots).collect()
    }

    /// What the image has in that slot, noted as read.
    pub fn committed(&mut self, object: ObjectId, name: NameId) -> Option<Value> {
        self.note(object, name)?;
        let text = self.names.text(name);
        let known = self.world.known(object, &mut self.peer)?;
        known.slot(text).map(|slot| slot.value.clone())
    }

    /// Refuses an object that does not exist.
    pub fn require(&mut self, object: ObjectId) -> PyResult<()> {
        match self.exists(object) {
            true => Ok(()),
            false => Err(PyLookupError::new_err(format!("object {object} does not exist"))),
        }
    }

    fn exists(&mut self, object: ObjectId) -> bool {
        self.is_created(object) || self.world.known(object, &mut self.peer).is_some()
    }

    fn is_created(&self, object: ObjectId) -> bool {
        self.changes.get(&object).is_some_and(|changes| changes.created)
    }

    fn committed_object(&mut self, object: ObjectId) -> Option<Rc<Known>> {
        match self.is_created(object) {
            true => None,
            false => self.world.known(object, &mut self.peer),
        }
    }

    /// What this run has put into the slot.
    fn content(&self, object: ObjectId, name: NameId) -> Option<&Content> {
        self.changes.get(&object)?.slots.get(&name)
    }

    /// Puts a content; the old one comes back.
    fn touch(&mut self, object: ObjectId, name: NameId, content: Content) -> Option<Content> {
        self.names.touch(name);
        self.changes
            .entry(object)
            .or_default()
            .slots
            .insert(name, content)
    }

    fn touched_target(&self, object: ObjectId, name: NameId) -> Option<Target> {
        let object = self.changes.get_index_of(&object)?;
        let slot = self.changes[object].slots.get_index_of(&name)?;
        Some(Target::Touched { object, slot })
    }

    /// From here on delegation is followed anew at each look.
    fn loosen_parents(&mut self) {
        self.parents_are_loose = true;
        self.shortcuts.clear();
    }

    /// Notes that the slot as the image has it was looked at; `Some` when it is there.
    fn note(&mut self, object: ObjectId, name: NameId) -> Option<()> {
        if let Some(changed) = self.slots_read.get(&(object, name)) {
            return changed.map(|_| ());
        }
        if self.is_created(object) {
            return None;
        }
        let text = self.names.text(name);
        let known = self.world.known(object, &mut self.peer);
        let changed = known.and_then(|known| Some(known.slot(text)?.changed));
        self.slots_read.insert((object, name), changed);
        changed.map(|_| ())
    }

    /// Whether the object itself has the slot now.
    fn holds(&mut self, object: ObjectId, name: NameId) -> bool {
        match self.content(object, name) {
            Some(Content::Removed) => false,
            Some(_) => true,
            None => self.note(object, name).is_some() || self.copy_changed(object, name),
        }
    }

    fn copy_changed(&self, object: ObjectId, name: NameId) -> bool {
        let Some(copy) = self.copies.get(&(object, name)) else {
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

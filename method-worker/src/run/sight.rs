//! Reading: what delegation finds, pending writes of the run included.

use std::convert::Infallible;

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple};
use shared::id::ObjectId;
use shared::lookup::{self, Slots};
use shared::object::PARENTS;
use shared::value::Value;

use super::{Content, Copied, Run, Seen};
use crate::decode::{Proxies, decode, is_mutable};
use crate::encode::encode;
use crate::proxy::Proxy;

impl Run {
    /// The slot along the delegation chain of `receiver`.
    pub fn read(&mut self, py: Python<'_>, receiver: ObjectId, name: &str) -> PyResult<Seen> {
        self.require(receiver)?;
        if name == PARENTS {
            return self.read_parents(py, receiver);
        }
        match self.find(receiver, name) {
            None => Ok(Seen::Absent),
            Some(holder) if holder == receiver => self.own(py, receiver, name),
            Some(holder) => self.inherited(py, receiver, holder, name),
        }
    }

    /// The object along the chain that holds the slot.
    pub fn find(&mut self, receiver: ObjectId, name: &str) -> Option<ObjectId> {
        match lookup::lookup(self, receiver, name) {
            Ok(found) => found.map(|found| found.holder),
        }
    }

    /// The receiver and what it delegates to, in lookup order.
    pub fn chain(&mut self, receiver: ObjectId) -> PyResult<Vec<ObjectId>> {
        self.require(receiver)?;
        match lookup::chain(self, receiver) {
            Ok(chain) => Ok(chain),
        }
    }

    /// The object's own slot, which is there.
    fn own(&mut self, py: Python<'_>, object: ObjectId, name: &str) -> PyResult<Seen> {
        let stored = match self
            .changes
            .get(&object)
            .and_then(|changes| changes.slots.get(name))
        {
            Some(Content::Held(held)) => return Ok(Seen::Data(held.clone_ref(py))),
            Some(Content::Stored(value)) => value.clone(),
            Some(Content::Removed) => return Ok(Seen::Absent),
            None => match self.copies.get(&(object, name.to_owned())) {
                Some(copy) => return Ok(Seen::Data(copy.object.clone_ref(py))),
                None => match self.committed(object, name) {
                    Some(value) => value,
                    None => return Ok(Seen::Absent),
                },
            },
        };
        if let Value::Method(source) = &stored {
            return Ok(Seen::Method(source.as_str().into()));
        }
        let data = decode(py, &stored, self)?.unbind();
        if is_mutable(&stored) {
            self.touched(object)
                .insert(name.to_owned(), Content::Held(data.clone_ref(py)));
        }
        Ok(Seen::Data(data))
    }

    /// The slot of `holder`, for a receiver that must not change it in place.
    fn inherited(
        &mut self,
        py: Python<'_>,
        receiver: ObjectId,
        holder: ObjectId,
        name: &str,
    ) -> PyResult<Seen> {
        let key = (receiver, name.to_owned());
        if let Some(copy) = self.copies.get(&key) {
            return Ok(Seen::Data(copy.object.clone_ref(py)));
        }
        if let Some(Content::Held(held)) = self.changes.get(&holder).and_then(|c| c.slots.get(name)) {
            let bound = held.bind(py);
            let container = bound.is_exact_instance_of::<PyList>()
                || bound.is_exact_instance_of::<PyDict>()
                || bound.is_exact_instance_of::<PyTuple>();
            if !container {
                return Ok(Seen::Data(held.clone_ref(py)));
            }
        }
        match self.value(py, holder, name)? {
            None => Ok(Seen::Absent),
            Some(Value::Method(source)) => Ok(Seen::Method(source.into())),
            Some(value) => {
                let data = decode(py, &value, self)?.unbind();
                if is_mutable(&value) {
                    let copy = Copied {
                        object: data.clone_ref(py),
                        original: value,
                    };
                    self.copies.insert(key, copy);
                }
                Ok(Seen::Data(data))
            }
        }
    }

    /// Parents are never inherited; an object without them has an empty list.
    fn read_parents(&mut self, py: Python<'_>, object: ObjectId) -> PyResult<Seen> {
        if self.holds(object, PARENTS) {
            return self.own(py, object, PARENTS);
        }
        let key = (object, PARENTS.to_owned());
        if let Some(copy) = self.copies.get(&key) {
            return Ok(Seen::Data(copy.object.clone_ref(py)));
        }
        let list = PyList::empty(py).into_any().unbind();
        let copy = Copied {
            object: list.clone_ref(py),
            original: Value::List(Vec::new()),
        };
        self.copies.insert(key, copy);
        Ok(Seen::Data(list))
    }

    /// The parents as they are now; in-place changes count at once.
    fn parents_now(&mut self, object: ObjectId) -> Option<Value> {
        let touched = self
            .changes
            .get(&object)
            .and_then(|changes| changes.slots.get(PARENTS));
        let copied = match self.copies.is_empty() {
            true => None,
            false => self.copies.get(&(object, PARENTS.to_owned())),
        };
        match (touched, copied) {
            (Some(Content::Stored(value)), _) => Some(value.clone()),
            (Some(Content::Removed), _) => None,
            (Some(Content::Held(held)), _) | (None, Some(Copied { object: held, .. })) => {
                Python::attach(|py| encode(held.bind(py), "").ok())
            }
            (None, None) => self.committed(object, PARENTS),
        }
    }
}

impl Slots for Run {
    type Error = Infallible;

    /// Only `parents` answers with its value: the walk needs no other, and values may be large.
    fn slot(&mut self, object: ObjectId, name: &str) -> Result<Option<Value>, Infallible> {
        if name != PARENTS {
            return Ok(self.holds(object, name).then_some(Value::None));
        }
        let parents = self.parents_now(object);
        if let Some(parents) = &parents {
            let mut ids = Vec::new();
            parents.each_reference(&mut |id| {
                if !self.is_created(id) {
                    ids.push(id);
                }
            });
            self.world.fetch(&ids, &mut self.peer);
        }
        Ok(parents)
    }
}

impl Proxies for Run {
    fn proxy<'py>(&mut self, py: Python<'py>, id: ObjectId) -> PyResult<Bound<'py, Proxy>> {
        if let Some(proxy) = self.proxies.get(&id) {
            return Ok(proxy.bind(py).clone());
        }
        let proxy = Bound::new(py, Proxy { id })?;
        self.proxies.insert(id, proxy.clone().unbind());
        Ok(proxy)
    }
}

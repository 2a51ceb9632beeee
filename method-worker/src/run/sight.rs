//! Reading: what delegation finds, pending writes of the run included.

use std::convert::Infallible;
use std::sync::OnceLock;

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString, PyTuple};
use shared::id::ObjectId;
use shared::lookup::{self, Slots};
use shared::object::PARENTS;
use shared::value::Value;

use super::names::NameId;
use super::shortcuts::Target;
use super::{Content, Copied, Run, Seen};
use crate::decode::{Proxies, decode, is_mutable};
use crate::encode::encode;
use crate::proxy::{Method, Proxy};

/// How long what a read has found stays what a read finds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stays {
    /// Until a slot of that name is changed somewhere.
    UntilNamed,
    /// The receiver's copy of an inherited list or dict: the same, and delegation must lead the same way.
    Copied,
    /// The same, and nobody in between may have a copy of its own, which it may change at any moment.
    Inherited,
    /// As long as the slot is not removed: the run has touched it, and its content tells.
    Touched,
    Not,
}

impl Run {
    /// The slot along the delegation chain of `receiver`.
    pub fn read(&mut self, py: Python<'_>, receiver: ObjectId, name: &str) -> PyResult<Seen> {
        let name = self.names.id(name);
        self.see(py, receiver, name).map(|(seen, _)| seen)
    }

    /// The same, and a shortcut to it for the next time.
    pub fn look(&mut self, py: Python<'_>, proxy: &Proxy, text: &Bound<'_, PyString>) -> PyResult<Seen> {
        let name = self.names.id(text.to_str()?);
        let (seen, stays) = self.see(py, proxy.id, name)?;
        if proxy.run != self.serial {
            return Ok(seen);
        }
        let is_lasting = match stays {
            Stays::UntilNamed => true,
            Stays::Copied => !self.parents_are_loose,
            Stays::Inherited => !self.parents_are_loose && !self.names.is_copied(name),
            Stays::Touched | Stays::Not => false,
        };
        let target = match &seen {
            Seen::Data(_) if stays == Stays::Touched => self.touched_target(proxy.id, name),
            Seen::Data(value) if is_lasting => Some(value.clone_ref(py)).map(|value| self.found(name, value)),
            Seen::Method(method) if is_lasting => {
                Some(method.clone_ref(py).into_any()).map(|value| self.found(name, value))
            }
            _ => None,
        };
        if let Some(target) = target {
            self.shortcuts.put(proxy.place, text, name, target);
        }
        Ok(seen)
    }

    /// The object along the chain that holds the slot.
    pub fn find(&mut self, receiver: ObjectId, name: &str) -> Option<ObjectId> {
        match lookup::lookup(self, receiver, name) {
            Ok(found) => found.map(|found| found.holder),
        }
    }

    /// What a resend reaches: the slot of that name of the next holder after `holder` on the receiver's chain. Data comes as
    /// a copy that belongs to nobody.
    pub fn read_after(
        &mut self,
        py: Python<'_>,
        receiver: ObjectId,
        holder: ObjectId,
        name: NameId,
    ) -> PyResult<Seen> {
        let chain = self.chain(receiver)?;
        let after = chain.into_iter().skip_while(|object| *object != holder).skip(1);
        for next in after {
            if self.holds(next, name) {
                return match self.value(py, next, name)? {
                    None => Ok(Seen::Absent),
                    Some(Value::Method(source)) => {
                        self.method(py, receiver, next, name, &source).map(Seen::Method)
                    }
                    Some(value) => Ok(Seen::Data(decode(py, &value, self)?.unbind())),
                };
            }
        }
        Ok(Seen::Absent)
    }

    /// The receiver and what it delegates to, in lookup order.
    pub fn chain(&mut self, receiver: ObjectId) -> PyResult<Vec<ObjectId>> {
        self.require(receiver)?;
        match lookup::chain(self, receiver) {
            Ok(chain) => Ok(chain),
        }
    }

    fn found(&self, name: NameId, value: Py<PyAny>) -> Target {
        Target::Found {
            value,
            generation: self.names.generation(name),
        }
    }

    fn see(&mut self, py: Python<'_>, receiver: ObjectId, name: NameId) -> PyResult<(Seen, Stays)> {
        self.require(receiver)?;
        if name == NameId::PARENTS {
            return self.read_parents(py, receiver).map(|seen| (seen, Stays::Not));
        }
        let text = self.names.text(name).clone();
        match self.find(receiver, &text) {
            None => Ok((Seen::Absent, Stays::Not)),
            Some(holder) if holder == receiver => self.own(py, receiver, name),
            Some(holder) => self.inherited(py, receiver, holder, name),
        }
    }

    /// The object's own slot, which is there.
    fn own(&mut self, py: Python<'_>, object: ObjectId, name: NameId) -> PyResult<(Seen, Stays)> {
        let stored = match self.content(object, name) {
            Some(Content::Held(held)) => return Ok((Seen::Data(held.clone_ref(py)), Stays::Touched)),
            Some(Content::Stored(value)) => value.clone(),
            Some(Content::Removed) => return Ok((Seen::Absent, Stays::Not)),
            None => match self.copies.get(&(object, name)) {
                Some(copy) => return Ok((Seen::Data(copy.object.clone_ref(py)), Stays::Copied)),
                None => match self.committed(object, name) {
                    Some(value) => value,
                    None => return Ok((Seen::Absent, Stays::Not)),
                },
            },
        };
        if let Value::Method(source) = &stored {
            let method = self.method(py, object, object, name, source)?;
            return Ok((Seen::Method(method), Stays::UntilNamed));
        }
        let data = decode(py, &stored, self)?.unbind();
        if is_mutable(&stored) {
            self.touch(object, name, Content::Held(data.clone_ref(py)));
            return Ok((Seen::Data(data), Stays::Touched));
        }
        Ok((Seen::Data(data), Stays::UntilNamed))
    }

    /// The slot of `holder`, for a receiver that must not change it in place.
    fn inherited(
        &mut self,
        py: Python<'_>,
        receiver: ObjectId,
        holder: ObjectId,
        name: NameId,
    ) -> PyResult<(Seen, Stays)> {
        let key = (receiver, name);
        if let Some(copy) = self.copies.get(&key) {
            return Ok((Seen::Data(copy.object.clone_ref(py)), Stays::Copied));
        }
        if let Some(Content::Held(held)) = self.content(holder, name) {
            let bound = held.bind(py);
            let container = bound.is_exact_instance_of::<PyList>()
                || bound.is_exact_instance_of::<PyDict>()
                || bound.is_exact_instance_of::<PyTuple>();
            if !container {
                return Ok((Seen::Data(held.clone_ref(py)), Stays::Inherited));
            }
        }
        match self.value(py, holder, name)? {
            None => Ok((Seen::Absent, Stays::Not)),
            Some(Value::Method(source)) => {
                let method = self.method(py, receiver, holder, name, &source)?;
                Ok((Seen::Method(method), Stays::Inherited))
            }
            Some(value) => {
                let data = decode(py, &value, self)?.unbind();
                if !is_mutable(&value) {
                    return Ok((Seen::Data(data), Stays::Inherited));
                }
                let copy = Copied {
                    object: data.clone_ref(py),
                    original: value,
                };
                self.names.set_copied(name);
                self.copies.insert(key, copy);
                Ok((Seen::Data(data), Stays::Copied))
            }
        }
    }

    fn method(
        &mut self,
        py: Python<'_>,
        receiver: ObjectId,
        holder: ObjectId,
        name: NameId,
        source: &str,
    ) -> PyResult<Py<Method>> {
        let method = Method {
            receiver: self.proxy(py, receiver)?.unbind(),
            holder,
            name,
            selector: self.names.text(name).clone(),
            source: source.into(),
            run: self.serial,
            code_place: OnceLock::new(),
        };
        Py::new(py, method)
    }

    /// Parents are never inherited; an object without them has an empty list.
    fn read_parents(&mut self, py: Python<'_>, object: ObjectId) -> PyResult<Seen> {
        self.loosen_parents();
        if self.holds(object, NameId::PARENTS) {
            return self.own(py, object, NameId::PARENTS).map(|(seen, _)| seen);
        }
        let key = (object, NameId::PARENTS);
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
    pub fn parents_now(&mut self, object: ObjectId) -> Option<Value> {
        let copied = self.copies.get(&(object, NameId::PARENTS));
        match (self.content(object, NameId::PARENTS), copied) {
            (Some(Content::Stored(value)), _) => Some(value.clone()),
            (Some(Content::Removed), _) => None,
            (Some(Content::Held(held)), _) | (None, Some(Copied { object: held, .. })) => {
                Python::attach(|py| encode(held.bind(py), "").ok())
            }
            (None, None) => self.committed(object, NameId::PARENTS),
        }
    }
}

impl Slots for Run {
    type Error = Infallible;

    /// Only `parents` answers with its value: the walk needs no other, and values may be large.
    fn slot(&mut self, object: ObjectId, name: &str) -> Result<Option<Value>, Infallible> {
        if name != PARENTS {
            let name = self.names.id(name);
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
        let proxy = Proxy {
            id,
            run: self.serial,
            place: self.shortcuts.place(),
        };
        let proxy = Bound::new(py, proxy)?;
        self.proxies.insert(id, proxy.clone().unbind());
        Ok(proxy)
    }
}

//! `primitive(name, …)`: what the image's own methods are made of. Generated code never gets the name past the guard.
//!
//! | primitive | answer |
//! |---|---|
//! | `object_id(o)` | `"#12"` |
//! | `slot_names(o)` | names of its own slots, in slot order |
//! | `all_slots(o)` | `[name, kind, holder]` along the delegation chain, the first holder of a name only |
//! | `chain(o)` | the object and what it delegates to, in lookup order |
//! | `get_slot(o, name, default)` | as `o.name`; the default (else `None`) where it is absent |
//! | `has_slot(o, name)` | whether `o.name` would be there, inherited included |
//! | `set_slot(o, name, value)`, `remove_slot(o, name)` | `o.name = value`, `del o.name` |
//! | `clone(o)` | a new object with the same own slots, by value |
//! | `deep_clone(o)` | the same of all that it reaches; the rule stands in `run/deep.rs` |
//! | `child(o)` | a new object whose only parent is `o` |
//! | `send(o, selector, arguments)` | the answer; a data slot answers with its value |
//! | `resend(self, arguments)` | the answer of the next holder of the running method's selector, after its own holder |
//! | `savepoint()`, `rollback_to(n)` | the number of a state of all changes so far; takes back the changes since then |
//! | `doom(reason)` | this transaction may never commit: its send ends with the reason `doomed`, whatever follows |
//! | `mirror(o)` | kinds, holders, sources, parents and chain as data; no code of `o` runs |
//! | `method_source(o, name)` | the source of the method that `o.name` would run |
//! | `entry(o, key, default)` | as `o[key]`; the default (else `None`) where it is absent |
//! | `keys(o, from, to, limit, descending)`, `values(…)`, `items(…)` | entries from a key to before another, read as they are iterated over; all but `o` may be left out or `None` |
//! | `prefix(o, text, limit, descending)` | items whose keys are texts that begin so |
//! | `first(o)`, `last(o)` | key and value, or `None` without entries |
//! | `add(o, key, amount)` | adds to an entry, an absent one counts as zero; looks at nothing, so it never conflicts |
//! | `append(o, value)` | puts an entry under the integer after the largest integer key; the same |
//! | `index_document(text, source, meta)` | the document that the text is now: made by this transaction, with its chunks |
//! | `search(question, k, filter, at)` | hits as maps, the best first; what this transaction has indexed is seen |
//! | `kind(value)` | `text`, `list[int]`, `ref`, `method` … |

use std::collections::HashSet;

use pyo3::exceptions::{PyAttributeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyList, PyString, PyTuple};
use pyo3::{IntoPyObjectExt, wrap_pyfunction};
use shared::activation::ScanOrder;
use shared::id::ObjectId;
use shared::key::Key;
use shared::value::Value;

use crate::decode::{Proxies, decode};
use crate::encode::encode;
use crate::proxy::{Method, Proxy, seen};
use crate::range::{self, Range};
use crate::report;
use crate::run::walk::Face;
use crate::run::{self, NameId, Run, Seen, raise};
use crate::send;

/// The callable that stands in every method's globals.
pub fn function(py: Python<'_>) -> PyResult<Py<PyAny>> {
    wrap_pyfunction!(primitive, py)?.into_py_any(py)
}

#[pyfunction]
#[pyo3(signature = (name, *arguments))]
fn primitive(py: Python<'_>, name: &str, arguments: &Bound<'_, PyTuple>) -> PyResult<Py<PyAny>> {
    let given = Given { name, arguments };
    match (name, arguments.len()) {
        ("object_id", 1) => given.object(0)?.to_string().into_py_any(py),
        ("slot_names", 1) => {
            let object = given.object(0)?;
            run::with(|run| {
                let names = run.own_names(py, object)?;
                PyList::new(py, names.iter().map(|name| &**run.names.text(*name)))
            })?
            .into_py_any(py)
        }
        ("all_slots", 1) => all_slots(py, given.object(0)?),
        ("chain", 1) => {
            let object = given.object(0)?;
            run::with(|run| {
                let chain = run.chain(object)?;
                chain
                    .into_iter()
                    .map(|id| run.proxy(py, id))
                    .collect::<PyResult<Vec<_>>>()
            })?
            .into_py_any(py)
        }
        ("get_slot", 2 | 3) => {
            let (object, slot) = (given.object(0)?, given.text(1)?);
            match run::with(|run| run.read(py, object, &slot))? {
                Seen::Absent if arguments.len() == 3 => Ok(arguments.get_item(2)?.unbind()),
                Seen::Absent => Ok(py.None()),
                found => seen(py, object, &slot, found),
            }
        }
        ("has_slot", 2) => {
            let (object, slot) = (given.object(0)?, given.text(1)?);
            run::with(|run| {
                run.require(object)?;
                Ok(run.find(object, &slot).is_some())
            })?
            .into_py_any(py)
        }
        ("set_slot", 3) => {
            let (object, slot, value) = (given.object(0)?, given.text(1)?, arguments.get_item(2)?);
            let _old = run::with(|run| run.assign(object, &slot, &value))?;
            Ok(py.None())
        }
        ("remove_slot", 2) => {
            let (object, slot) = (given.object(0)?, given.text(1)?);
            let _old = run::with(|run| run.remove(object, &slot))?;
            Ok(py.None())
        }
        ("clone", 1) => clone(py, given.object(0)?),
        ("child", 1) => {
            let parents = Value::List(vec![Value::Ref(given.object(0)?)]);
            made(py, vec![(NameId::PARENTS, parents)])
        }
        ("deep_clone", 1) => {
            let object = given.object(0)?;
            run::with(|run| {
                let copy = run.deep_clone(py, object)?;
                run.proxy(py, copy)
            })?
            .into_py_any(py)
        }
        ("mirror", 1) => mirror(py, given.object(0)?),
        ("send", 3) => send::send(py, given.object(0)?, &given.text(1)?, &given.list(2)?),
        ("resend", 2) => send::resend(py, given.object(0)?, &given.list(1)?),
        ("savepoint", 0) => run::with(|run| run.savepoint(py))?.into_py_any(py),
        ("rollback_to", 1) => {
            let Ok(number) = arguments.get_item(0)?.extract::<usize>() else {
                return Err(given.wrong(0, "a savepoint"));
            };
            let _old = run::with(|run| run.roll_back(number))?;
            Ok(py.None())
        }
        ("doom", 1) => {
            let reason = arguments.get_item(0)?;
            let Ok(reason) = reason.cast_exact::<PyString>() else {
                return Err(given.wrong(0, "text that says why"));
            };
            let reason = report::shorten(&reason.to_string_lossy(), report::MAX_MESSAGE_BYTES);
            run::with(|run| {
                run.doomed.get_or_insert(reason);
                Ok(())
            })?;
            Ok(py.None())
        }
        ("method_source", 2) => {
            let (object, slot) = (given.object(0)?, given.text(1)?);
            match run::with(|run| run.read(py, object, &slot))? {
                Seen::Method(method) => method.get().source.into_py_any(py),
                _ => Err(PyAttributeError::new_err(format!(
                    "{object} has no method '{slot}'"
                ))),
            }
        }
        ("entry", 2 | 3) => {
            let (object, key) = (given.object(0)?, given.key(1)?);
            match run::with(|run| run.entry(py, object, &key))? {
                Some(value) => Ok(value),
                None if arguments.len() == 3 => Ok(arguments.get_item(2)?.unbind()),
                None => Ok(py.None()),
            }
        }
        ("keys", 1..=5) => given.range(Face::Keys)?.into_py_any(py),
        ("values", 1..=5) => given.range(Face::Values)?.into_py_any(py),
        ("items", 1..=5) => given.range(Face::Items)?.into_py_any(py),
        ("prefix", 2..=4) => given.prefixed()?.into_py_any(py),
        ("first", 1) => end(py, given.object(0)?, ScanOrder::Ascending),
        ("last", 1) => end(py, given.object(0)?, ScanOrder::Descending),
        ("add", 3) => {
            let (object, key) = (given.object(0)?, given.key(1)?);
            let amount = encode(&arguments.get_item(2)?, "the amount").map_err(raise)?;
            let _old = run::with(|run| run.add_to_entry(py, object, key, amount))?;
            Ok(py.None())
        }
        ("append", 2) => {
            let (object, value) = (given.object(0)?, arguments.get_item(1)?);
            run::with(|run| run.append_entry(object, &value))?;
            Ok(py.None())
        }
        ("index_document", 3) => {
            let (text, source, meta) = (given.string(0)?, given.optional_string(1)?, given.texts(2)?);
            run::with(|run| {
                let document = run.index_text(py, text, source, meta)?;
                run.proxy(py, document)
            })?
            .into_py_any(py)
        }
        ("search", 4) => {
            let (question, filters) = (given.string(0)?, given.texts(2)?);
            let k = arguments.get_item(1)?;
            let k: u32 = k.extract().map_err(|_| given.wrong(1, "a number of hits"))?;
            let at = match given.given(3)? {
                None => None,
                Some(at) => match encode(&at, "the time").map_err(raise)? {
                    Value::Time(at) => Some(at),
                    _ => return Err(given.wrong(3, "a time")),
                },
            };
            run::with(|run| run.recall(py, question, k, filters, at).map(Bound::unbind))
        }
        ("kind", 1) => {
            let value = arguments.get_item(0)?;
            if value.is_exact_instance_of::<Method>() {
                return "method".into_py_any(py);
            }
            encode(&value, "the value")
                .map_err(raise)?
                .detailed_kind()
                .into_py_any(py)
        }
        (_, count) => Err(PyTypeError::new_err(format!(
            "there is no primitive '{name}' of {count} arguments"
        ))),
    }
}

/// A slot as the receiver sees it.
struct Row {
    name: NameId,
    value: Value,
    holder: ObjectId,
}

/// Every slot along the chain, the first holder of a name only.
fn rows(py: Python<'_>, run: &mut Run, chain: &[ObjectId]) -> PyResult<Vec<Row>> {
    let mut rows = Vec::new();
    let mut known = HashSet::new();
    for holder in chain {
        for name in run.own_names(py, *holder)? {
            if known.insert(name)
                && let Some(value) = run.value(py, *holder, name)?
            {
                let holder = *holder;
                rows.push(Row { name, value, holder });
            }
        }
    }
    Ok(rows)
}

fn all_slots(py: Python<'_>, object: ObjectId) -> PyResult<Py<PyAny>> {
    let rows = run::with(|run| {
        let chain = run.chain(object)?;
        rows(py, run, &chain)?
            .into_iter()
            .map(|row| {
                let row: [Bound<'_, PyAny>; 3] = [
                    PyString::new(py, run.names.text(row.name)).into_any(),
                    PyString::new(py, &row.value.detailed_kind()).into_any(),
                    run.proxy(py, row.holder)?.into_any(),
                ];
                PyList::new(py, row)
            })
            .collect::<PyResult<Vec<_>>>()
    })?;
    rows.into_py_any(py)
}

fn mirror(py: Python<'_>, object: ObjectId) -> PyResult<Py<PyAny>> {
    let text = |text: &str| Value::Text(text.to_owned());
    let references = |ids: &[ObjectId]| Value::List(ids.iter().copied().map(Value::Ref).collect());
    run::with(|run| {
        let chain = run.chain(object)?;
        let mut slots = Vec::new();
        for Row { name, value, holder } in rows(py, run, &chain)? {
            let mut facts = vec![
                (text("kind"), Value::Text(value.detailed_kind())),
                (text("holder"), Value::Ref(holder)),
            ];
            if let Value::Method(source) = value {
                facts.push((text("source"), Value::Text(source)));
            }
            slots.push((text(run.names.text(name)), Value::Map(facts)));
        }
        let parents = run.parents_now(object).unwrap_or(Value::List(Vec::new()));
        let mirror = Value::Map(vec![
            (text("object"), Value::Ref(object)),
            (text("parents"), parents),
            (text("chain"), references(&chain)),
            (text("slots"), Value::Map(slots)),
        ]);
        decode(py, &mirror, run).map(Bound::unbind)
    })
}

fn clone(py: Python<'_>, object: ObjectId) -> PyResult<Py<PyAny>> {
    let slots = run::with(|run| run.own_slots(py, object))?;
    made(py, slots)
}

fn made(py: Python<'_>, slots: Vec<(NameId, Value)>) -> PyResult<Py<PyAny>> {
    run::with(|run| {
        let id = run.create(slots);
        run.proxy(py, id)
    })?
    .into_py_any(py)
}

/// The first entry in that order: a tuple of key and value.
fn end(py: Python<'_>, object: ObjectId, order: ScanOrder) -> PyResult<Py<PyAny>> {
    let mut range = Range::whole(object, Face::Items);
    (range.order, range.limit) = (order, 1);
    let first = range.__iter__()?.__next__(py)?;
    Ok(first.unwrap_or_else(|| py.None()))
}

/// The arguments of one call, with checks that name the primitive.
struct Given<'a, 'py> {
    name: &'a str,
    arguments: &'a Bound<'py, PyTuple>,
}

impl<'py> Given<'_, 'py> {
    fn object(&self, at: usize) -> PyResult<ObjectId> {
        match self.arguments.get_item(at)?.cast_exact::<Proxy>() {
            Ok(proxy) => Ok(proxy.get().id),
            Err(_) => Err(self.wrong(at, "an object")),
        }
    }

    fn text(&self, at: usize) -> PyResult<String> {
        let argument = self.arguments.get_item(at)?;
        let Ok(text) = argument.cast_exact::<PyString>() else {
            return Err(self.wrong(at, "a name"));
        };
        let text = text.to_str()?;
        match shared::object::is_slot_name(text) {
            true => Ok(text.to_owned()),
            false => Err(PyValueError::new_err(format!(
                "{text:?} cannot be the name of a slot"
            ))),
        }
    }

    fn string(&self, at: usize) -> PyResult<String> {
        let argument = self.arguments.get_item(at)?;
        match argument.cast_exact::<PyString>() {
            Ok(text) => Ok(text.to_str()?.to_owned()),
            Err(_) => Err(self.wrong(at, "text")),
        }
    }

    fn optional_string(&self, at: usize) -> PyResult<Option<String>> {
        match self.given(at)? {
            Some(_) => self.string(at).map(Some),
            None => Ok(None),
        }
    }

    /// A dict of text to text, or None.
    fn texts(&self, at: usize) -> PyResult<Vec<(String, String)>> {
        let Some(given) = self.given(at)? else {
            return Ok(Vec::new());
        };
        let Value::Map(pairs) = encode(&given, "the pairs").map_err(raise)? else {
            return Err(self.wrong(at, "a dict of texts"));
        };
        pairs
            .into_iter()
            .map(|pair| match pair {
                (Value::Text(key), Value::Text(value)) => Ok((key, value)),
                _ => Err(self.wrong(at, "a dict of texts")),
            })
            .collect()
    }

    fn key(&self, at: usize) -> PyResult<Key> {
        range::key(&self.arguments.get_item(at)?)
    }

    /// An object, then what bounds the range.
    fn range(&self, face: Face) -> PyResult<Range> {
        let mut range = Range::whole(self.object(0)?, face);
        if let Some(from) = self.given(1)? {
            range.from = range::key(&from)?;
        }
        if let Some(to) = self.given(2)? {
            range.to = range::key(&to)?;
        }
        self.bounded(range, 3)
    }

    /// An object, the prefix, then what bounds the range.
    fn prefixed(&self) -> PyResult<Range> {
        let mut range = Range::whole(self.object(0)?, Face::Items);
        let prefix = self.arguments.get_item(1)?;
        let Ok(prefix) = prefix.cast_exact::<PyString>() else {
            return Err(self.wrong(1, "text"));
        };
        (range.from, range.to) =
            Key::text_prefix(prefix.to_str()?).map_err(|error| PyValueError::new_err(error.to_string()))?;
        self.bounded(range, 2)
    }

    /// The limit at `at` and the order after it.
    fn bounded(&self, mut range: Range, at: usize) -> PyResult<Range> {
        if let Some(limit) = self.given(at)? {
            range.limit = limit
                .extract()
                .map_err(|_| self.wrong(at, "a number of entries"))?;
        }
        if let Some(descending) = self.given(at + 1)? {
            range.order = match descending.cast_exact::<PyBool>() {
                Ok(descending) if descending.is_true() => ScanOrder::Descending,
                Ok(_) => ScanOrder::Ascending,
                Err(_) => return Err(self.wrong(at + 1, "True or False")),
            };
        }
        Ok(range)
    }

    /// An argument that may be left out or None.
    fn given(&self, at: usize) -> PyResult<Option<Bound<'py, PyAny>>> {
        match at < self.arguments.len() {
            true => Ok(Some(self.arguments.get_item(at)?).filter(|argument| !argument.is_none())),
            false => Ok(None),
        }
    }

    fn list(&self, at: usize) -> PyResult<Bound<'py, PyTuple>> {
        match self.arguments.get_item(at)?.cast_exact::<PyList>() {
            Ok(list) => Ok(list.to_tuple()),
            Err(_) => Err(self.wrong(at, "a list of arguments")),
        }
    }

    fn wrong(&self, at: usize, expected: &str) -> PyErr {
        PyTypeError::new_err(format!(
            "argument {} of primitive '{}' is not {expected}",
            at + 1,
            self.name
        ))
    }
}

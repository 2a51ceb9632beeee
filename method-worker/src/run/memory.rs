//! Indexing and searching: the kernel cuts texts and finds them, the run makes the objects, as it makes all others.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use shared::activation::{OwnChunk, Refused, Remembered};
use shared::bridge::Hit;
use shared::id::ObjectId;
use shared::value::Value;

use super::entries::Pending;
use super::{Content, Run};
use crate::decode::decode;

/// A created object with this slot is a chunk; only the kernel says what is in it.
const TEXT: &str = "memory_text";

impl Run {
    /// Makes what the kernel says a text comes to; answers its document.
    pub fn index_text(
        &mut self,
        py: Python<'_>,
        text: String,
        source: Option<String>,
        meta: Vec<(String, String)>,
    ) -> PyResult<ObjectId> {
        let own = self.own_chunks(py)?;
        let remembered = self.peer.remember(text, source, meta, own).map_err(refused)?;
        let Remembered {
            document,
            objects,
            entries,
            slots,
        } = remembered;
        for (id, slots) in objects {
            let slots = slots
                .into_iter()
                .map(|(name, value)| (self.names.id(&name), value))
                .collect();
            self.create_as(id, slots);
        }
        for (object, key, value) in entries {
            self.require(object)?;
            let is = Pending::Is(Content::Stored(value));
            // What it replaces was put by the same run, by way of this, and holds no Python object.
            self.entries_of(object).pending.insert(key, is);
        }
        for (object, name, value) in slots {
            self.require(object)?;
            let name = self.names.id(&name);
            self.touch(object, name, Content::Stored(value));
        }
        Ok(document)
    }

    /// What the memory knows, this run's own included: a list of dicts.
    pub fn recall<'py>(
        &mut self,
        py: Python<'py>,
        question: String,
        k: u32,
        filters: Vec<(String, String)>,
        at: Option<i64>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let own = self.own_chunks(py)?;
        let hits = self.peer.recall(question, k, filters, at, own).map_err(refused)?;
        let hits = Value::List(hits.into_iter().map(told).collect());
        decode(py, &hits, self)
    }

    fn own_chunks(&mut self, py: Python<'_>) -> PyResult<Vec<OwnChunk>> {
        let text = self.names.id(TEXT);
        let made: Vec<ObjectId> = self
            .changes
            .iter()
            .filter(|(_, changes)| changes.created && changes.slots.contains_key(&text))
            .map(|(id, _)| *id)
            .collect();
        let mut own = Vec::with_capacity(made.len());
        for chunk in made {
            let slots = self.own_slots(py, chunk)?.into_iter();
            let slots = slots.map(|(name, value)| (self.names.text(name).to_string(), value));
            own.push(OwnChunk {
                chunk,
                slots: slots.collect(),
            });
        }
        Ok(own)
    }
}

fn refused(refused: Refused) -> PyErr {
    PyValueError::new_err(format!("{} ({})", refused.message, refused.reason))
}

/// A hit as a map.
fn told(hit: Hit) -> Value {
    let text = |text: &str| Value::Text(text.to_owned());
    let int = |number: u64| Value::Int(i64::try_from(number).unwrap_or(i64::MAX));
    let float = |number: f32| Value::Float(f64::from(number));
    let texts = |pairs: &[(String, String)]| {
        Value::Map(
            pairs
                .iter()
                .map(|(key, value)| (text(key), text(value)))
                .collect(),
        )
    };
    let terms = hit.terms.iter().map(|(term, worth)| (text(term), float(*worth)));
    let members = [
        // The document may be one that this run makes: that is an object of it by now.
        ("chunk", Value::Ref(hit.chunk)),
        ("document", Value::Ref(hit.document)),
        ("source", text(&hit.source)),
        ("begin", int(hit.begin)),
        ("end", int(hit.end)),
        ("text", text(&hit.text)),
        ("score", float(hit.score)),
        ("text_score", float(hit.text_score)),
        ("vector_score", hit.vector_score.map_or(Value::None, float)),
        ("terms", Value::Map(terms.collect())),
        ("at", hit.at.map_or(Value::None, Value::Time)),
        ("author", text(&hit.author)),
        ("trust", text(&hit.trust)),
        ("meta", texts(&hit.meta)),
        ("joined", int(u64::from(hit.joined))),
    ];
    Value::Map(
        members
            .into_iter()
            .map(|(name, value)| (text(name), value))
            .collect(),
    )
}

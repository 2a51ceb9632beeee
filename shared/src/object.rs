//! An object as it travels between processes.

use serde::{Deserialize, Serialize};

use crate::id::{ObjectId, TransactionId};
use crate::value::Value;

/// The slot whose value is the ordered list of parents.
pub const PARENTS: &str = "parents";

/// An object with every slot, as of one transaction.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ObjectImage {
    pub id: ObjectId,
    /// The newest transaction that changed any slot; zero for an object that is not committed yet.
    pub version: TransactionId,
    /// In slot order.
    pub slots: Vec<SlotImage>,
}

/// One slot: its name, its value, and when it last changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SlotImage {
    pub name: String,
    pub value: Value,
    pub changed: TransactionId,
}

impl ObjectImage {
    /// The slot of that name, on this object alone.
    pub fn slot(&self, name: &str) -> Option<&SlotImage> {
        self.slots.iter().find(|slot| slot.name == name)
    }

    /// The parents in order; empty when the slot is absent or holds no references.
    pub fn parents(&self) -> Vec<ObjectId> {
        match self.slot(PARENTS).map(|slot| &slot.value) {
            Some(Value::List(items)) => items
                .iter()
                .filter_map(|item| match item {
                    Value::Ref(id) => Some(*id),
                    _ => None,
                })
                .collect(),
            _ => Vec::new(),
        }
    }
}

/// True for a name that a slot can have: a Python identifier of ASCII letters, digits and `_`, at most 128 bytes, not
/// beginning with `__`.
pub fn is_slot_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    name.len() <= 128
        && !name.starts_with("__")
        && bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

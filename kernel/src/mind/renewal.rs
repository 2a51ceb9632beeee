//! What a newer program's genesis brings into an image that an older one made (`docs/mind.md`): objects and slots that are missing, and slots
//! that are still what they were given. What a person changed or took away stays so.

use std::collections::BTreeMap;
use std::sync::Arc;

use shared::id::{ObjectId, TransactionId};
use shared::object::ObjectImage;
use shared::value::Value;

use super::genesis::{self, GenesisError, Primordial};
use crate::image::draft::{Change, CommitError, Draft};
use crate::kernel::Kernel;
use crate::names::resolve;

/// Who a renewal's transactions are of.
const AUTHOR: &str = "genesis";
/// Images from before the record of what was given have so many primordial objects at most, by the names of the manifest.
const UNRECORDED: u64 = 30;
/// The object that says what the others were given.
pub const RECORD: &str = "awakening";
const OBJECTS: &str = "objects";
const GIVEN: &str = "given";
const OFFERED: &str = "offered";

/// Why an image was left as it is.
#[derive(Debug, thiserror::Error)]
pub enum RenewalError {
    #[error(transparent)]
    Genesis(#[from] GenesisError),
    #[error("{0}")]
    Commit(#[from] CommitError),
    #[error("a data covenant stands against it: {0}")]
    Covenant(String),
    #[error("awakening is no object of the image's own: somebody has that name in the lobby")]
    Taken,
}

/// What a renewal came to.
#[derive(Debug, Default, PartialEq)]
pub struct Renewed {
    /// Objects that are new.
    pub made: Vec<String>,
    /// `object.slot` of what was added, of what was changed, and of what was left since somebody changed it.
    pub added: Vec<String>,
    pub changed: Vec<String>,
    pub kept: Vec<String>,
}

/// What the image knows of the objects that it was given.
#[derive(Clone, Default)]
struct Record {
    objects: BTreeMap<String, ObjectId>,
    given: BTreeMap<String, String>,
}

impl Kernel {
    /// Brings in what this program's genesis has more than the one that the image was offered last. Three transactions at most: the record
    /// itself, in an image that has none; everything that changes, which `undo` takes back; and that it was offered, so that
    /// what was taken back is not brought in again.
    pub async fn renew(&self) -> Result<(), RenewalError> {
        let offering = genesis::digest();
        let record = match self.recorded() {
            Some(record) => record,
            None => self.begin_record().await?,
        };
        if text(&record, OFFERED) == offering {
            return Ok(());
        }
        let known = read(&record);
        let (changes, renewed) = self.plan(&record, known)?;
        if !changes.is_empty() {
            let mut draft = Draft::new(AUTHOR);
            let reads = self.keep_covenants(None, &changes);
            draft.reads = reads.map_err(|fault| RenewalError::Covenant(fault.message))?;
            draft.changes = changes;
            let committed = self.image.committer.commit(draft).await?;
            tracing::info!(
                transaction = %committed.transaction,
                made = renewed.made.join(" "),
                added = renewed.added.join(" "),
                changed = renewed.changed.join(" "),
                kept = renewed.kept.join(" "),
                "a newer genesis was brought in; `batos undo` of this transaction takes it back"
            );
        }
        let mut draft = Draft::new(AUTHOR);
        draft.changes = vec![Change::Put {
            object: record.id,
            slot: OFFERED.into(),
            value: Value::Text(offering.to_owned()),
        }];
        self.image.committer.commit(draft).await?;
        Ok(())
    }

    /// The image's record of what it was given.
    fn recorded(&self) -> Option<Arc<ObjectImage>> {
        let id = resolve(self.world(), RECORD).ok()?;
        let object = self.image.state.object(id)?;
        (object.slot(GIVEN).is_some() && object.slot(OFFERED).is_some()).then_some(object)
    }

    /// An older image: what its awakening made and nobody changed since was given; all else is somebody's.
    async fn begin_record(&self) -> Result<Arc<ObjectImage>, RenewalError> {
        if resolve(self.world(), RECORD).is_ok() {
            return Err(RenewalError::Taken);
        }
        let mut record = Record::default();
        for name in genesis::names() {
            // A name that somebody has given to another object since does not count.
            if let Ok(id) = resolve(self.world(), name)
                && id.0 <= UNRECORDED
            {
                record.objects.insert(name.to_owned(), id);
            }
        }
        let objects: Vec<(&String, Arc<ObjectImage>)> = record
            .objects
            .iter()
            .filter_map(|(name, id)| Some((name, self.image.state.object(*id)?)))
            .collect();
        // Some slot of some object was never changed.
        let awakened = objects
            .iter()
            .flat_map(|(_, object)| object.slots.iter().map(|slot| slot.changed))
            .min()
            .unwrap_or(TransactionId(0));
        let mut given = BTreeMap::new();
        for (name, object) in &objects {
            for slot in object.slots.iter().filter(|slot| slot.changed == awakened) {
                given.insert(format!("{name}.{}", slot.name), digest_of(&slot.value));
            }
        }
        record.given = given;
        let id = self.image.state.allocate();
        let mut slots = genesis::described(RECORD, &record.objects)?;
        slots.retain(|(name, _)| ![OBJECTS, GIVEN].contains(&name.as_str()));
        slots.extend(written(&record));
        let mut draft = Draft::new(AUTHOR);
        draft.changes = vec![
            Change::Create { object: id, slots },
            Change::Put {
                object: ObjectId::LOBBY,
                slot: RECORD.into(),
                value: Value::Ref(id),
            },
        ];
        self.image.committer.commit(draft).await?;
        self.recorded().ok_or(RenewalError::Taken)
    }

    /// What is to change.
    fn plan(&self, held: &ObjectImage, known: Record) -> Result<(Vec<Change>, Renewed), RenewalError> {
        let mut record = known.clone();
        let mut missing = Vec::new();
        for name in genesis::names() {
            if name == RECORD {
                record.objects.insert(name.to_owned(), held.id);
            } else if !known.objects.contains_key(name) {
                record
                    .objects
                    .insert(name.to_owned(), self.image.state.allocate());
                missing.push(name);
            }
        }
        let (mut changes, mut renewed) = (Vec::new(), Renewed::default());
        for Primordial { name, slots } in genesis::primordial(&record.objects)? {
            if name == RECORD {
                continue;
            }
            let id = record.objects[name];
            if missing.contains(&name) {
                for (slot, value) in &slots {
                    record.given.insert(format!("{name}.{slot}"), digest_of(value));
                }
                changes.push(Change::Create { object: id, slots });
                renewed.made.push(name.to_owned());
                continue;
            }
            // A pack has collected what somebody threw away.
            let Some(object) = self.image.state.object(id) else {
                continue;
            };
            for (slot, value) in slots {
                let place = format!("{name}.{slot}");
                let digest = digest_of(&value);
                let before = known.given.get(&place);
                match object.slot(&slot).map(|slot| &slot.value) {
                    Some(current) if *current == value => {}
                    Some(current) if before != Some(&digest_of(current)) => {
                        // Told only when genesis has something new to say there.
                        if before != Some(&digest) {
                            renewed.kept.push(place);
                        }
                        continue;
                    }
                    Some(_) => renewed.changed.push(place.clone()),
                    // Somebody took it away.
                    None if before.is_some() => continue,
                    None => renewed.added.push(place.clone()),
                }
                if object.slot(&slot).map(|slot| &slot.value) != Some(&value) {
                    changes.push(Change::Put {
                        object: id,
                        slot,
                        value,
                    });
                }
                record.given.insert(place, digest);
            }
        }
        if !changes.is_empty() {
            changes.extend(written(&record).into_iter().map(|(slot, value)| Change::Put {
                object: held.id,
                slot,
                value,
            }));
        }
        Ok((changes, renewed))
    }
}

/// The record of a new image: everything is as it was given.
pub fn record_of(objects: &BTreeMap<String, ObjectId>, described: &[Primordial]) -> Vec<(String, Value)> {
    let given = described.iter().filter(|object| object.name != RECORD);
    let given = given.flat_map(|object| {
        let slots = object.slots.iter();
        slots.map(|(slot, value)| (format!("{}.{slot}", object.name), digest_of(value)))
    });
    let record = Record {
        objects: objects.clone(),
        given: given.collect(),
    };
    let mut slots = written(&record);
    slots.push((OFFERED.into(), Value::Text(genesis::digest().to_owned())));
    slots
}

fn read(record: &ObjectImage) -> Record {
    let pairs = |slot: &str| match record.slot(slot).map(|slot| &slot.value) {
        Some(Value::Map(pairs)) => pairs.clone(),
        _ => Vec::new(),
    };
    let key = |key: &Value| key.as_text().map(str::to_owned);
    Record {
        objects: pairs(OBJECTS)
            .iter()
            .filter_map(|(name, object)| match object {
                Value::Ref(id) => Some((key(name)?, *id)),
                _ => None,
            })
            .collect(),
        given: pairs(GIVEN)
            .iter()
            .filter_map(|(place, digest)| Some((key(place)?, key(digest)?)))
            .collect(),
    }
}

fn written(record: &Record) -> Vec<(String, Value)> {
    let objects = record
        .objects
        .iter()
        .map(|(name, id)| (Value::Text(name.clone()), Value::Ref(*id)));
    let given = record
        .given
        .iter()
        .map(|(place, digest)| (Value::Text(place.clone()), Value::Text(digest.clone())));
    vec![
        (OBJECTS.into(), Value::Map(objects.collect())),
        (GIVEN.into(), Value::Map(given.collect())),
    ]
}

fn text(object: &ObjectImage, slot: &str) -> String {
    let slot = object.slot(slot).and_then(|slot| slot.value.as_text());
    slot.unwrap_or_default().to_owned()
}

/// Sixteen hexadecimal digits that stand for a value.
fn digest_of(value: &Value) -> String {
    let json = shared::json::to_json(value).to_string();
    blake3::hash(json.as_bytes()).to_hex()[..16].to_owned()
}

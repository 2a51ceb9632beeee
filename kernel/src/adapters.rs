//! Adapters as objects of the image: a generation is an object, its weights a blob; `memory_manager.adapters` names the newest of each.
//! docs/adapters.md draws them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use shared::activation::{Read, ReadSlot};
use shared::bridge::{AdapterHold, AdapterListing, Answer, Fault};
use shared::id::{ObjectId, TransactionId};
use shared::inference::{
    Adapter, AdapterAnswer, AdapterRequest, AdapterSummary, AdapterView, Contents, Hold, Manifest,
};
use shared::json::to_hex;
use shared::key::Key;
use shared::object::{ObjectImage, PARENTS, is_slot_name};
use shared::reason;
use shared::value::{BlobRef, Value};

use crate::image::draft::{Change, Draft};
use crate::kernel::{Asker, Kernel};
use crate::names::resolve;
use crate::overlay::World;
use crate::transfers;

/// A load may read gigabytes.
const LOADING: Duration = Duration::from_secs(600);
/// A look at what the worker knows; without one the image's own part is told.
const LOOKING: Duration = Duration::from_secs(2);
const MAX_CONFIG_BYTES: usize = 64 << 10;
const HOLDER: &str = "memory_manager";
const FOLDER: &str = "adapters";

/// Tells one check apart from another.
static CHECKS: AtomicU64 = AtomicU64::new(1);

impl Kernel {
    /// Has a content checked, and makes it the next generation of a name, in one transaction.
    pub async fn import_adapter(
        self: &Arc<Self>,
        asker: &Asker,
        name: String,
        weights: BlobRef,
        config: String,
        replaces: Option<u64>,
    ) -> Result<Answer, Fault> {
        if !is_slot_name(&name) || name == PARENTS || name == "comment" {
            return Err(bad(format!(
                "{name:?} cannot name an adapter: letters, digits and _, not beginning with a digit or __"
            )));
        }
        if config.len() > MAX_CONFIG_BYTES {
            let length = config.len();
            return Err(bad(format!(
                "the configuration has {length} bytes, {MAX_CONFIG_BYTES} at most"
            )));
        }
        let blobs = &self.image.state.blobs;
        let length = blobs
            .length(&weights.digest)
            .map_err(|error| transfers::fault(&error))?;
        if length != Some(weights.bytes) {
            return Err(Fault::new(
                reason::NO_BLOB,
                format!(
                    "there is no blob {} of {} bytes in this image",
                    to_hex(&weights.digest),
                    weights.bytes
                ),
            ));
        }
        // Seen before the check, which may take long: whatever changes until the commit is a conflict.
        let place = Place::find(self.world(), &name)?;
        place.may_replace(&name, replaces)?;
        let summary = self.check(&name, &config, weights).await?;
        let (draft, listing) = self.generation(asker, &name, place, weights, config, summary)?;
        let answer = Answer::AdapterImported {
            adapter: Box::new(listing),
            transaction: TransactionId(0),
        };
        let answer = self.commit_edit(asker, draft, answer).await?;
        // Whoever imports it will use it. A worker that is gone by now loads it when it is asked for.
        if let Ok(adapter) = self.adapter(&name) {
            let kernel = self.clone();
            tokio::spawn(async move {
                let hold = Hold::Warm;
                let _ = kernel.ask_worker(AdapterRequest::Stage { adapter, hold }).await;
            });
        }
        Ok(answer)
    }

    /// What a worker needs to load the newest generation of a name.
    pub fn adapter(&self, name: &str) -> Result<Adapter, Fault> {
        let place = Place::find(self.world(), name)?;
        let (_, object) = place.current.ok_or_else(|| unknown(name))?;
        self.told(&object).ok_or_else(|| damaged(name))
    }

    pub async fn adapters(self: &Arc<Self>, name: Option<String>) -> Result<Answer, Fault> {
        let (known, manifest) = match self.look_at_worker().await {
            Some((views, manifest)) => (views, Some(manifest)),
            None => (Vec::new(), None),
        };
        let mut known: HashMap<(String, u64), AdapterView> = known
            .into_iter()
            .map(|view| ((view.name.clone(), view.generation), view))
            .collect();
        let world = self.world();
        let mut found = Vec::new();
        match &name {
            Some(name) => {
                let mut next = Place::find(world, name)?.current.map(|(_, object)| object);
                if next.is_none() {
                    return Err(unknown(name));
                }
                while let Some(object) = next {
                    let previous = match value(&object, "previous") {
                        Some(Value::Ref(id)) if *id < object.id => {
                            world.object(*id).map(|(object, _)| object)
                        }
                        _ => None,
                    };
                    found.push(object);
                    next = previous;
                }
            }
            None => {
                if let Some(folder) = folder(world)? {
                    for slot in &folder.slots {
                        if let (true, Value::Ref(id)) = (slot.name != PARENTS, &slot.value) {
                            found.extend(world.object(*id).map(|(object, _)| object));
                        }
                    }
                }
            }
        }
        let listings = found.iter().filter_map(|object| {
            let mut listing = listing(object)?;
            listing.worker = known.remove(&(listing.name.clone(), listing.generation));
            Some(listing)
        });
        let mut adapters: Vec<AdapterListing> = listings.collect();
        if name.is_none() {
            adapters.sort_by(|a, b| a.name.cmp(&b.name));
        }
        Ok(Answer::Adapters { adapters, manifest })
    }

    pub async fn drop_adapter(self: &Arc<Self>, asker: &Asker, name: String) -> Result<Answer, Fault> {
        let place = Place::find(self.world(), &name)?;
        let (Some(folder), Some(_)) = (place.folder, &place.current) else {
            return Err(unknown(&name));
        };
        let mut draft = Draft::new(asker.author.clone());
        draft.reads.extend(place.reads);
        draft.changes.push(Change::Remove {
            object: folder,
            slot: name.clone(),
        });
        let transaction = TransactionId(0);
        let answer = Answer::AdapterDropped {
            name: name.clone(),
            transaction,
        };
        let answer = self.commit_edit(asker, draft, answer).await?;
        let _ = self
            .mind
            .model
            .adapters(
                AdapterRequest::Forget {
                    name,
                    generation: None,
                },
                LOOKING,
            )
            .await;
        Ok(answer)
    }

    pub async fn hold_adapter(self: &Arc<Self>, name: String, hold: AdapterHold) -> Result<Answer, Fault> {
        let adapter = self.adapter(&name)?;
        let ask = match hold {
            AdapterHold::Stage => AdapterRequest::Stage {
                adapter,
                hold: Hold::Warm,
            },
            AdapterHold::Pin => AdapterRequest::Stage {
                adapter,
                hold: Hold::Pinned,
            },
            AdapterHold::Unpin => AdapterRequest::Unpin {
                name: name.clone(),
                generation: adapter.generation,
            },
        };
        self.ask_worker(ask).await?;
        Ok(Answer::AdapterHeld { name, hold })
    }

    /// Has the worker read and check a content, as a generation of its own that it forgets then.
    async fn check(&self, name: &str, config: &str, weights: BlobRef) -> Result<AdapterSummary, Fault> {
        // None of the image's, which count from 1, and none that an earlier kernel may have left in the worker.
        let epoch = self.image.state.standing().epoch.0;
        let generation = u64::MAX - (epoch << 32) - CHECKS.fetch_add(1, Ordering::Relaxed);
        let adapter = Adapter {
            name: name.to_owned(),
            generation,
            config: config.to_owned(),
            weights: self.contents(weights),
        };
        let hold = Hold::Warm;
        let staged = self.ask_worker(AdapterRequest::Stage { adapter, hold }).await;
        let forget = AdapterRequest::Forget {
            name: name.to_owned(),
            generation: Some(generation),
        };
        let _ = self.mind.model.adapters(forget, LOOKING).await;
        match staged? {
            AdapterAnswer::Staged(AdapterView {
                summary: Some(summary),
                ..
            }) => Ok(summary),
            other => Err(Fault::new(
                reason::INTERNAL,
                format!("the inference-worker answered a check by {other:?}"),
            )),
        }
    }

    async fn ask_worker(&self, ask: AdapterRequest) -> Result<AdapterAnswer, Fault> {
        self.mind.model.adapters(ask, LOADING).await
    }

    async fn look_at_worker(&self) -> Option<(Vec<AdapterView>, Manifest)> {
        match self.mind.model.adapters(AdapterRequest::List, LOOKING).await {
            Ok(AdapterAnswer::Listed { adapters, manifest }) => Some((adapters, manifest)),
            _ => None,
        }
    }

    /// The transaction that makes a generation, and what it will say of itself.
    fn generation(
        &self,
        asker: &Asker,
        name: &str,
        place: Place,
        weights: BlobRef,
        config: String,
        summary: AdapterSummary,
    ) -> Result<(Draft, AdapterListing), Fault> {
        let world = self.world();
        let traits = Value::List(vec![Value::Ref(resolve(world, "traits")?)]);
        let state = &self.image.state;
        let mut draft = Draft::new(asker.author.clone());
        draft.reads.extend(place.reads);
        let folder = match place.folder {
            Some(folder) => folder,
            None => {
                let folder = state.allocate();
                let comment = "Adapters by name, each the newest generation of one.";
                draft.changes.push(Change::Create {
                    object: folder,
                    slots: vec![
                        (PARENTS.into(), traits.clone()),
                        ("comment".into(), Value::Text(comment.into())),
                    ],
                });
                draft.changes.push(Change::Put {
                    object: place.holder,
                    slot: FOLDER.into(),
                    value: Value::Ref(folder),
                });
                folder
            }
        };
        let object = state.allocate();
        let generation = place.last + 1;
        let previous = place.current.map(|(id, _)| id);
        let products: Vec<Value> = summary.products.iter().cloned().map(Value::Text).collect();
        let int = |number: u64| Value::Int(i64::try_from(number).unwrap_or(i64::MAX));
        let comment = format!(
            "Generation {generation} of the adapter {name}: weights that are added to those of a model."
        );
        let slots: [(&str, Value); 12] = [
            (PARENTS, traits),
            ("comment", Value::Text(comment)),
            ("name", Value::Text(name.to_owned())),
            ("generation", int(generation)),
            ("weights", Value::Blob(weights)),
            ("config", Value::Text(config)),
            ("rank", int(u64::from(summary.rank))),
            ("alpha", Value::Float(f64::from(summary.alpha))),
            ("products", Value::List(products)),
            ("base", Value::Text(summary.base.clone())),
            ("bytes", int(summary.bytes)),
            ("previous", previous.map_or(Value::None, Value::Ref)),
        ];
        draft.changes.push(Change::Create {
            object,
            slots: slots.map(|(name, value)| (name.to_owned(), value)).to_vec(),
        });
        draft.changes.push(Change::Put {
            object: folder,
            slot: name.to_owned(),
            value: Value::Ref(object),
        });
        // Numbers are not used again, also not after a drop: caches know generations by them.
        draft.changes.push(Change::PutEntry {
            object: folder,
            key: key(name)?,
            value: int(generation),
        });
        let listing = AdapterListing {
            object,
            name: name.to_owned(),
            generation,
            weights,
            rank: summary.rank,
            alpha: f64::from(summary.alpha),
            products: summary.products,
            base: summary.base,
            bytes: summary.bytes,
            worker: None,
        };
        Ok((draft, listing))
    }

    fn contents(&self, blob: BlobRef) -> Contents {
        Contents {
            path: self.image.state.blobs.path(&blob.digest).display().to_string(),
            digest: blob.digest,
            bytes: blob.bytes,
        }
    }

    fn told(&self, object: &ObjectImage) -> Option<Adapter> {
        let listing = listing(object)?;
        let Some(Value::Text(config)) = value(object, "config") else {
            return None;
        };
        Some(Adapter {
            name: listing.name,
            generation: listing.generation,
            config: config.clone(),
            weights: self.contents(listing.weights),
        })
    }
}

/// Where a name stands, and what was read to find it.
struct Place {
    holder: ObjectId,
    folder: Option<ObjectId>,
    current: Option<(ObjectId, Arc<ObjectImage>)>,
    /// The last generation that had this name.
    last: u64,
    reads: Vec<Read>,
}

impl Place {
    fn find(world: World<'_>, name: &str) -> Result<Place, Fault> {
        let holder = resolve(world, HOLDER)?;
        let mut reads = Vec::new();
        let mut look = |object: ObjectId, slot: &str| {
            let image = world.object(object).map(|(image, _)| image);
            let found = image.as_ref().and_then(|image| image.slot(slot)).cloned();
            reads.push(Read {
                object,
                slot: ReadSlot::Named(slot.to_owned(), found.as_ref().map(|slot| slot.changed)),
            });
            match found.map(|slot| slot.value) {
                Some(Value::Ref(id)) => Some(id),
                _ => None,
            }
        };
        let folder = look(holder, FOLDER).filter(|folder| world.object(*folder).is_some());
        let current = folder.and_then(|folder| look(folder, name));
        let last = match folder {
            Some(folder) => world.entry(folder, &key(name)?, &mut reads),
            None => None,
        };
        Ok(Place {
            holder,
            folder,
            current: current.and_then(|id| Some((id, world.object(id)?.0))),
            last: match last {
                Some(Value::Int(last)) => last.max(0) as u64,
                _ => 0,
            },
            reads,
        })
    }

    /// A name that exists is replaced only by whoever says which generation.
    fn may_replace(&self, name: &str, replaces: Option<u64>) -> Result<(), Fault> {
        let current = self.current.as_ref().and_then(|(_, object)| listing(object));
        match (current.map(|listing| listing.generation), replaces) {
            (None, None) => Ok(()),
            (Some(current), Some(told)) if current == told => Ok(()),
            (Some(current), None) => Err(bad(format!(
                "there is an adapter {name} already, generation {current}; replace it with --replace {current}, or choose another name"
            ))),
            (Some(current), Some(told)) => Err(Fault::new(
                reason::CONFLICT,
                format!(
                    "the adapter {name} is generation {current} now, not {told}; look at it and say --replace {current}"
                ),
            )),
            (None, Some(_)) => Err(unknown(name)),
        }
    }
}

fn folder(world: World<'_>) -> Result<Option<Arc<ObjectImage>>, Fault> {
    let holder = resolve(world, HOLDER)?;
    let slot = world
        .object(holder)
        .and_then(|(holder, _)| holder.slot(FOLDER).cloned());
    Ok(match slot.map(|slot| slot.value) {
        Some(Value::Ref(folder)) => world.object(folder).map(|(folder, _)| folder),
        _ => None,
    })
}

fn value<'o>(object: &'o ObjectImage, slot: &str) -> Option<&'o Value> {
    object.slot(slot).map(|slot| &slot.value)
}

/// What a generation's slots say; None where somebody changed them to what they cannot be.
fn listing(object: &ObjectImage) -> Option<AdapterListing> {
    let int = |slot: &str| match value(object, slot) {
        Some(Value::Int(number)) => u64::try_from(*number).ok(),
        _ => None,
    };
    let text = |slot: &str| match value(object, slot) {
        Some(Value::Text(text)) => Some(text.clone()),
        _ => None,
    };
    let (Some(Value::Blob(weights)), Some(Value::Float(alpha)), Some(Value::List(products))) = (
        value(object, "weights"),
        value(object, "alpha"),
        value(object, "products"),
    ) else {
        return None;
    };
    let products = products.iter().filter_map(|product| match product {
        Value::Text(product) => Some(product.clone()),
        _ => None,
    });
    Some(AdapterListing {
        object: object.id,
        name: text("name")?,
        generation: int("generation").filter(|generation| *generation > 0)?,
        weights: *weights,
        rank: u32::try_from(int("rank")?).ok()?,
        alpha: *alpha,
        products: products.collect(),
        base: text("base")?,
        bytes: int("bytes")?,
        worker: None,
    })
}

fn key(name: &str) -> Result<Key, Fault> {
    Key::of(&Value::Text(name.to_owned())).map_err(|error| bad(error.to_string()))
}

fn bad(message: String) -> Fault {
    Fault::new(reason::BAD_ARGUMENT, message)
}

fn unknown(name: &str) -> Fault {
    Fault::new(
        reason::NO_ADAPTER,
        format!(
            "there is no adapter {name:?}; `batos adapter list` names them, `batos adapter import` brings one"
        ),
    )
}

fn damaged(name: &str) -> Fault {
    Fault::new(
        reason::NO_ADAPTER,
        format!("the object of the adapter {name} was changed so that it is none any more; import it again"),
    )
}

//! What methods ask of the memory, inside their own transaction: the kernel prepares, the method-worker makes the objects as it makes
//! others, so that whatever takes a transaction back takes these back.

use std::collections::HashMap;
use std::sync::Arc;

use shared::activation::{FromWorker, OwnChunk, Read, Refused, Remembered, ToWorker, Write};
use shared::bridge::{Fault, Hit, MOST_PASSAGE_BYTES};
use shared::id::{ObjectId, TransactionId};
use shared::key::Key;
use shared::reason;
use shared::value::Value;

use super::Memory;
use super::add::{Prepared, bad, check_meta, check_source, named_by};
use super::chunker::paragraphs;
use super::document::{Born, catalog, key, now_us, of_source};
use super::find::{Asked, Meanings};
use super::ledger::sentences;
use crate::image::layer::{empty_object, put};
use crate::image::memory::TEXT;
use crate::image::memory::fresh::{Fresh, Pending};
use crate::image::memory::vector::Vector;
use crate::overlay::World;

/// What a worker asked, ready to be answered from its world.
pub enum Ready {
    Remember {
        text: String,
        source: Option<String>,
        meta: Vec<(String, String)>,
        own: Vec<OwnChunk>,
        prepared: Prepared,
    },
    Recall {
        asked: Asked,
        own: Vec<OwnChunk>,
    },
    Refused {
        fault: Fault,
        is_recall: bool,
    },
}

/// What one activation has had of the memory.
#[derive(Default)]
pub struct Had {
    /// Sentences of hits that it was told.
    retrieved: Vec<u64>,
    /// The chunks that were made for it: their text, and what they mean.
    made: HashMap<ObjectId, (String, Option<Vector>)>,
}

/// Does what needs no world: cutting and encoding. `meanings` are of the world in which a question is answered.
pub async fn prepare(memory: Arc<Memory>, asked: FromWorker, meanings: Meanings) -> Ready {
    match asked {
        FromWorker::Remember {
            text,
            source,
            meta,
            own,
        } => {
            let fault = check(&memory, &text, source.as_deref(), &meta).err();
            match fault {
                Some(fault) => Ready::Refused {
                    fault,
                    is_recall: false,
                },
                None => Ready::Remember {
                    prepared: memory.prepare(paragraphs(&text)).await,
                    text,
                    source,
                    meta,
                    own,
                },
            }
        }
        FromWorker::Recall {
            question,
            k,
            filters,
            at,
            own,
        } => match memory.ask(meanings, question, k as usize, filters, at).await {
            Ok(asked) => Ready::Recall { asked, own },
            Err(fault) => Ready::Refused {
                fault,
                is_recall: true,
            },
        },
        _ => Ready::Refused {
            fault: Fault::new(reason::INTERNAL, "no question of the memory"),
            is_recall: true,
        },
    }
}

fn check(memory: &Memory, text: &str, source: Option<&str>, meta: &[(String, String)]) -> Result<(), Fault> {
    if text.len() > MOST_PASSAGE_BYTES {
        return Err(Fault::new(
            reason::TOO_LARGE,
            format!(
                "a text of {} bytes; a message indexes at most {MOST_PASSAGE_BYTES}, `batos memory add` any length",
                text.len()
            ),
        ));
    }
    check_meta(meta)?;
    source.map_or(Ok(()), check_source)?;
    match memory.ledger.knows(text) {
        true => Err(retrieved()),
        false => Ok(()),
    }
}

fn retrieved() -> Fault {
    Fault::new(
        reason::RETRIEVED,
        "this text, or a sentence of it, was retrieved from the memory or was a prompt; it is not indexed again",
    )
}

impl Had {
    /// What a question can be compared with in the world of the activation.
    pub fn meanings(&self, world: World<'_>, asked: &FromWorker) -> Meanings {
        match asked {
            FromWorker::Recall { own, .. } => Meanings::of(world, Some(self.fresh(own))),
            _ => Meanings::None,
        }
    }

    /// Answers from the world of the activation.
    pub fn conclude(&mut self, world: World<'_>, ready: Ready, reads: &mut Vec<Read>) -> ToWorker {
        match ready {
            Ready::Refused {
                fault,
                is_recall: true,
            } => ToWorker::Recalled(Err(refused(fault))),
            Ready::Refused { fault, .. } => ToWorker::Remembered(Err(refused(fault))),
            Ready::Recall { asked, own } => {
                let found = asked.answer(world, Some(self.fresh(&own)));
                self.note(&found.hits);
                ToWorker::Recalled(Ok(found.hits))
            }
            Ready::Remember {
                text,
                source,
                meta,
                own,
                prepared,
            } => {
                let remembered = self.remember((world, reads), &text, source, &meta, &own, prepared);
                ToWorker::Remembered(remembered.map_err(refused))
            }
        }
    }

    fn note(&mut self, hits: &[Hit]) {
        self.retrieved
            .extend(hits.iter().flat_map(|hit| sentences(&hit.text)));
    }

    /// What the activation has made, as the search sees it.
    fn fresh(&self, own: &[OwnChunk]) -> Arc<Fresh> {
        let mut fresh = Fresh::default();
        for chunk in own {
            let mut image = empty_object(chunk.chunk);
            for (name, value) in &chunk.slots {
                put(&mut image, name.clone(), value.clone(), TransactionId(0));
            }
            // Only what the memory made for it, as it was made.
            if let Some((text, vector)) = self.made.get(&chunk.chunk)
                && crate::image::memory::text_of(&image) == Some(text)
            {
                fresh
                    .chunks
                    .insert(chunk.chunk, Some(Pending::of(Arc::new(image))));
                fresh.vectors.insert(chunk.chunk, vector.clone().map(Arc::new));
            }
        }
        Arc::new(fresh)
    }

    fn remember(
        &mut self,
        (world, reads): (World<'_>, &mut Vec<Read>),
        text: &str,
        source: Option<String>,
        meta: &[(String, String)],
        own: &[OwnChunk],
        mut prepared: Prepared,
    ) -> Result<Remembered, Fault> {
        if sentences(text).any(|sentence| self.retrieved.contains(&sentence)) {
            return Err(retrieved());
        }
        let catalog = catalog(world)?;
        let digest = blake3::hash(text.as_bytes());
        let source = source.unwrap_or_else(|| named_by(&digest));
        // Who puts the same source at the same time is in conflict at this entry.
        let former = of_source(world, catalog, &source, reads);
        let digest = digest.to_hex().to_string();
        if let Some(former) = &former
            && former.text("digest") == Some(&digest)
            && former.is_whole()
            && former.time("valid_until").is_none()
        {
            return Ok(Remembered {
                document: former.0.id,
                objects: Vec::new(),
                entries: Vec::new(),
                slots: Vec::new(),
            });
        }
        let supersedes = former.as_ref().map(|former| former.0.id);
        let mut pending = vec![self.fresh(own)];
        pending.extend(world.memory());
        prepared.leave_known_out(world, &pending, supersedes);
        let document = world.state.allocate();
        let now = now_us();
        let born = Born {
            source: &source,
            format: "text",
            digest,
            bytes: text.len() as u64,
            at: None,
            author: "method",
            trust: "method",
            meta,
            supersedes,
            now,
            is_whole: true,
        };
        let mut objects = vec![(document, born.slots(world)?)];
        let mut entries = vec![(catalog, key(&source), Value::Ref(document))];
        let chunks = prepared.objects(document, 0, meta, || world.state.allocate());
        for (at, (id, slots, vector)) in chunks.into_iter().enumerate() {
            let text = slots.iter().find(|(name, _)| name == TEXT);
            let text = text.and_then(|(_, value)| value.as_text()).unwrap_or_default();
            self.made.insert(id, (text.to_owned(), vector));
            let key = Key::of(&Value::Int(at as i64)).map_err(|error| bad(error.to_string()))?;
            entries.push((document, key, Value::Ref(id)));
            objects.push((id, slots));
        }
        let until = supersedes.map(|former| (former, "valid_until".to_owned(), Value::Time(now)));
        Ok(Remembered {
            document,
            objects,
            entries,
            slots: until.into_iter().collect(),
        })
    }

    /// Every id that was given out with an answer.
    pub fn allocated(answer: &ToWorker) -> Vec<ObjectId> {
        match answer {
            ToWorker::Remembered(Ok(remembered)) => remembered.objects.iter().map(|(id, _)| *id).collect(),
            _ => Vec::new(),
        }
    }

    /// Refuses a write that would make a chunk which the memory has not made; answers what the chunk means.
    pub fn check(&self, write: &Write) -> Result<Option<(ObjectId, Vector)>, String> {
        let (object, value) = match write {
            Write::Create { object, slots } => {
                let text = slots.iter().find(|(name, _)| name == TEXT);
                match text {
                    Some((_, value)) => (*object, value),
                    None => return Ok(None),
                }
            }
            Write::Put { object, slot, value } if slot == TEXT => (*object, value),
            _ => return Ok(None),
        };
        match (self.made.get(&object), value.as_text()) {
            (Some((text, vector)), Some(now)) if text == now => {
                Ok(vector.clone().map(|vector| (object, vector)))
            }
            _ => Err(format!(
                "it put {TEXT} into {object}; only knowledge_catalog.index_document makes chunks"
            )),
        }
    }
}

fn refused(fault: Fault) -> Refused {
    Refused {
        reason: fault.reason,
        message: fault.message,
    }
}

//! Vectors for chunks that have none of the encoder that answers now: they were added while none answered, or another one.

use std::sync::Arc;

use shared::activation::{Read, ReadSlot};
use shared::bridge::{Answer, Fault, MemoryEncoded};
use shared::id::ObjectId;
use shared::reason;

use super::add::REPLAYS;
use super::document::Chunk;
use crate::image::draft::{Change, CommitError, Draft};
use crate::image::memory::TEXT;
use crate::image::memory::vector::{Encoder, Vector};
use crate::kernel::{Asker, Kernel, commit_fault};

/// Chunks of one transaction: a few seconds of an encoder's work.
const AT_ONCE: usize = 128;

impl Kernel {
    /// Encodes some chunks, the first of which has the id `from` or a later one, in one transaction.
    pub async fn encode_memory(self: &Arc<Self>, asker: &Asker, from: ObjectId) -> Result<Answer, Fault> {
        let no_encoder = |why: String| Fault::new(reason::NO_MODEL, why);
        // Somebody may forget a chunk at the same time; then this looks again.
        for _ in 0..REPLAYS {
            let embedder = self.memory.model.embedder().await.map_err(no_encoder)?;
            let encoder = Encoder::of(&embedder.name, embedder.dimension as usize);
            let kernel = self.clone();
            let finding =
                tokio::task::spawn_blocking(move || kernel.image.state.unencoded(encoder, from, AT_ONCE));
            let ids = finding
                .await
                .map_err(|error| Fault::new(reason::INTERNAL, error.to_string()))?;
            let objects = ids.iter().filter_map(|id| self.image.state.object(*id));
            let chunks: Vec<Chunk> = objects.filter_map(Chunk::of).collect();
            let texts: Vec<String> = chunks.iter().map(|chunk| chunk.text().to_owned()).collect();
            let encoded = self.memory.model.embed(&texts).await.map_err(no_encoder)?;
            if encoded.encoder != encoder {
                continue; // Another model took over in between.
            }
            let mut draft = Draft::new(asker.author.clone());
            let mut vectors = 0;
            for (chunk, numbers) in chunks.iter().zip(&encoded.vectors) {
                // A text of which no vector can be made stays without.
                let Some(vector) = Vector::of(encoder, numbers) else {
                    continue;
                };
                vectors += 1;
                let text = chunk.0.slot(TEXT).map(|slot| slot.changed);
                draft.reads.push(Read {
                    object: chunk.0.id,
                    slot: ReadSlot::Named(TEXT.into(), text),
                });
                draft.changes.push(Change::Vector {
                    object: chunk.0.id,
                    vector: Some(vector),
                });
            }
            let transaction = match draft.changes.is_empty() {
                true => self.image.state.standing().last,
                false => match self.commit_memory(draft).await {
                    Ok(transaction) => transaction,
                    Err(CommitError::Conflict(_)) => continue,
                    Err(error) => return Err(commit_fault(error)),
                },
            };
            let last = ids.last().filter(|_| ids.len() == AT_ONCE);
            return Ok(Answer::MemoryEncoded(MemoryEncoded {
                encoder: embedder.name,
                vectors,
                next: last.map(|id| ObjectId(id.0 + 1)),
                transaction,
            }));
        }
        Err(Fault::new(
            reason::MOVED_ON,
            "the memory, or its encoder, changes at the same time; encode again, and what is missing follows",
        ))
    }
}

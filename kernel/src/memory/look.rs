//! Show, forget, figures.

use std::sync::Arc;

use shared::bridge::{Answer, Fault, MemoryFigures, MemoryView};
use shared::id::{ObjectId, TransactionId};
use shared::key::Key;
use shared::value::Value;

use super::document::{CATALOG, Chunk, Document, catalog, key, no_document, of_source};
use crate::image::draft::{Change, Draft};
use crate::image::layer::Layer;
use crate::image::lmdb::Direction;
use crate::image::memory::TEXT;
use crate::kernel::{Asker, Kernel, commit_fault};
use crate::names::resolve;

/// So many chunks of a document are shown.
const SHOWN: usize = 50;
/// So many chunks are forgotten by one transaction.
const AT_ONCE: usize = 2_000;

/// What a name means to the memory.
enum Named {
    Document(Document),
    Chunk(Chunk),
}

impl Kernel {
    fn in_memory(&self, name: &str) -> Result<Named, Fault> {
        let world = self.world();
        if let Some(document) = of_source(world, catalog(world)?, name, &mut Vec::new()) {
            return Ok(Named::Document(document));
        }
        let id = resolve(world, name).map_err(|_| no_document(name))?;
        let image = self.image.state.object(id).ok_or_else(|| no_document(name))?;
        let document = || Document::of(image.clone()).map(Named::Document);
        Chunk::of(image.clone())
            .map(Named::Chunk)
            .or_else(document)
            .ok_or_else(|| no_document(name))
    }

    pub fn show_memory(&self, name: &str) -> Result<Answer, Fault> {
        let (document, chunks) = match self.in_memory(name)? {
            Named::Document(document) => {
                let chunks = self.chunks_of(document.0.id, Key::first(), SHOWN);
                (document, chunks.into_iter().map(|(_, chunk)| chunk).collect())
            }
            Named::Chunk(chunk) => {
                let document = chunk.document().ok_or_else(|| no_document(name))?;
                (self.document(document)?, vec![chunk])
            }
        };
        Ok(Answer::MemoryShown(Box::new(MemoryView {
            document: self.view(&document),
            chunks: chunks.iter().map(Chunk::view).collect(),
        })))
    }

    /// Takes text and vector of chunks away, and the document out of the catalog with the last of them. A kill between two of the
    /// transactions leaves some of the chunks; who forgets again goes on there.
    pub async fn forget_memory(self: &Arc<Self>, asker: &Asker, name: &str) -> Result<Answer, Fault> {
        let (document, only) = match self.in_memory(name)? {
            Named::Document(document) => (document, None),
            Named::Chunk(chunk) => {
                let document = chunk.document().ok_or_else(|| no_document(name))?;
                (self.document(document)?, Some(chunk.0.id))
            }
        };
        let id = document.0.id;
        let mut transaction = TransactionId(0);
        let mut chunks = 0;
        let mut from = Key::first();
        loop {
            let found = self.chunks_of(id, from.clone(), AT_ONCE);
            let is_last = found.len() < AT_ONCE;
            if let Some((last, _)) = found.last() {
                from = last.after();
            }
            let mut draft = Draft::new(asker.author.clone());
            let wanted = found
                .into_iter()
                .filter(|(_, chunk)| only.is_none_or(|only| only == chunk.0.id));
            for (key, chunk) in wanted {
                chunks += 1;
                let object = chunk.0.id;
                draft.changes.push(Change::Remove {
                    object,
                    slot: TEXT.into(),
                });
                draft.changes.push(Change::Vector { object, vector: None });
                draft.changes.push(Change::RemoveEntry { object: id, key });
            }
            if is_last && only.is_none() {
                self.drop_document(&document, &mut draft)?;
            }
            if !draft.changes.is_empty() {
                transaction = self.commit_memory(draft).await.map_err(commit_fault)?;
            }
            if is_last {
                return Ok(Answer::MemoryForgotten {
                    document: id,
                    chunks,
                    transaction,
                });
            }
        }
    }

    /// Takes a document out of the catalog; what it superseded is not valid again.
    fn drop_document(&self, document: &Document, draft: &mut Draft) -> Result<(), Fault> {
        let world = self.world();
        let catalog = catalog(world)?;
        let source = document.text("source").unwrap_or_default();
        let current = of_source(world, catalog, source, &mut draft.reads);
        if current.is_some_and(|current| current.0.id == document.0.id) {
            draft.changes.push(Change::RemoveEntry {
                object: catalog,
                key: key(source),
            });
        }
        Ok(())
    }

    /// Chunks of a document from a key on, in order.
    fn chunks_of(&self, document: ObjectId, from: Key, most: usize) -> Vec<(Key, Chunk)> {
        let state = &self.image.state;
        let found = state.scan(
            &Layer::default(),
            document,
            &from,
            &Key::last(),
            most,
            Direction::Ascending,
        );
        let chunks = found.into_iter().filter_map(|(key, entry)| match entry.value {
            Value::Ref(id) => Some((key, Chunk::of(state.object(id)?)?)),
            _ => None,
        });
        chunks.collect()
    }

    pub async fn memory_figures(self: &Arc<Self>) -> Result<Answer, Fault> {
        let kernel = self.clone();
        let counting = tokio::task::spawn_blocking(move || kernel.image.state.memory_totals());
        let (totals, text_bytes, vector_bytes) = counting
            .await
            .map_err(|error| Fault::new(shared::reason::INTERNAL, error.to_string()))?;
        let encoder = self.memory.model.embedder().await;
        let documents = resolve(self.world(), CATALOG).map_or(0, |catalog| self.entries_of(catalog));
        Ok(Answer::MemoryStats(MemoryFigures {
            documents,
            chunks: totals.chunks,
            terms: totals.terms,
            vectors: totals.vectors,
            languages: totals.languages.into_iter().collect(),
            text_bytes,
            vector_bytes,
            encoder: encoder.map(|embedder| format!("{} ({} numbers)", embedder.name, embedder.dimension)),
        }))
    }
}

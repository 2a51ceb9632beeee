//! Questions to the memory, of one unchanging state.

use std::sync::Arc;

use shared::id::ObjectId;

use super::super::doubt;
use super::super::lmdb::{Reading, Table};
use super::super::memory::fresh::Fresh;
use super::super::memory::recall::{self, Question, Recalled, Totals};
use super::super::memory::vector::Encoder;
use super::State;

impl State {
    /// What answers a question, with `pending` in front of the durable state, the newest first.
    pub fn recall(&self, pending: &[Arc<Fresh>], question: &Question<'_>) -> Recalled {
        self.with_memory(pending, |reading, layers| {
            recall::recall(reading, layers, question)
        })
    }

    /// Whether a chunk may have a vector, with `pending` in front of the durable state; true for some time after the last one is gone.
    pub fn has_vectors(&self, pending: &[Arc<Fresh>]) -> bool {
        self.with_memory(pending, recall::has_vectors)
    }

    /// The first chunks from an id on that have no vector of an encoder.
    pub fn unencoded(&self, encoder: Encoder, from: ObjectId, most: usize) -> Vec<ObjectId> {
        self.with_memory(&[], |reading, layers| {
            recall::unencoded(reading, layers, encoder, from, most)
        })
    }

    /// For each fingerprint the chunks whose own is near it; a few of them.
    pub fn near(&self, pending: &[Arc<Fresh>], fingerprints: &[u64]) -> Vec<Vec<ObjectId>> {
        self.with_memory(pending, |reading, layers| {
            recall::near(reading, layers, fingerprints)
        })
    }

    /// How much the memory has, and how many bytes of the index it takes: of terms with chunks, and of vectors.
    pub fn memory_totals(&self) -> (Totals, u64, u64) {
        self.with_memory(&[], |reading, layers| {
            let text = reading.bytes(Table::Chunks)? + reading.bytes(Table::Postings)?;
            Ok((
                recall::totals(reading, layers)?,
                text,
                reading.bytes(Table::Vectors)?,
            ))
        })
    }

    /// Runs `work` on one unchanging state, without holding publishes up.
    fn with_memory<T>(
        &self,
        pending: &[Arc<Fresh>],
        work: impl FnOnce(&Reading<'_>, &[Arc<Fresh>]) -> Result<T, ::lmdb::Error>,
    ) -> T {
        let mut layers = pending.to_vec();
        let index = self.index();
        let reading = {
            let core = self.read();
            layers.extend(core.layers().iter().map(|layer| layer.memory.clone()));
            // The index may have been replaced since: then what it lacks is not in the layers.
            match Arc::ptr_eq(&core.index, &index) {
                true => Some(doubt::believed(&index, index.reading())),
                false => None,
            }
        };
        match reading {
            Some(reading) => doubt::believed(&index, work(&reading, &layers)),
            None => self.with_memory(pending, work),
        }
    }
}

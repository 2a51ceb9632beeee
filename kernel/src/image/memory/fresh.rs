//! What of the memory stands in front of the index: chunks and vectors that it does not contain yet, or that only one sender sees.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use shared::id::ObjectId;
use shared::object::ObjectImage;

use super::analysis::Analysis;
use super::text_of;
use super::vector::Vector;

/// The newest state of what was touched; `None` is what is gone.
#[derive(Clone, Debug, Default)]
pub struct Fresh {
    pub chunks: BTreeMap<ObjectId, Option<Arc<Pending>>>,
    pub vectors: BTreeMap<ObjectId, Option<Arc<Vector>>>,
}

/// A chunk that is not in the index.
#[derive(Debug)]
pub struct Pending {
    pub image: Arc<ObjectImage>,
    analysis: OnceLock<Arc<Analysis>>,
}

impl Pending {
    pub fn of(image: Arc<ObjectImage>) -> Arc<Pending> {
        Arc::new(Pending {
            image,
            analysis: OnceLock::new(),
        })
    }

    /// Its terms, found when first asked for.
    pub fn analysis(&self) -> Arc<Analysis> {
        let find = || {
            let analysis = Analysis::of(&self.image).unwrap_or_else(Analysis::empty);
            Arc::new(analysis)
        };
        self.analysis.get_or_init(find).clone()
    }
}

impl Fresh {
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty() && self.vectors.is_empty()
    }

    /// Puts something newer over this.
    pub fn absorb(&mut self, newer: &Fresh) {
        let chunks = newer.chunks.iter().map(|(id, chunk)| (*id, chunk.clone()));
        self.chunks.extend(chunks);
        let vectors = newer.vectors.iter().map(|(id, vector)| (*id, vector.clone()));
        self.vectors.extend(vectors);
    }

    /// Notes the newest state of an object. `was_chunk` tells whether its former state was one.
    pub fn note(this: &mut Arc<Fresh>, id: ObjectId, now: Option<&Arc<ObjectImage>>, was_chunk: bool) {
        match now.filter(|now| text_of(now).is_some()) {
            Some(now) => {
                Arc::make_mut(this)
                    .chunks
                    .insert(id, Some(Pending::of(now.clone())));
            }
            None if was_chunk => {
                let fresh = Arc::make_mut(this);
                fresh.chunks.insert(id, None);
                fresh.vectors.insert(id, None);
            }
            None => {}
        }
    }
}

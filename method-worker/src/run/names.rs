//! The slot names that a run has met, each with a small number, so that no other table keeps text.

use std::sync::Arc;

use rustc_hash::FxHashMap;
use shared::object::PARENTS;

/// A name within one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NameId(u32);

impl NameId {
    /// `parents`.
    pub const PARENTS: NameId = NameId(0);
}

pub struct Names {
    all: Vec<Name>,
    by_text: FxHashMap<Arc<str>, NameId>,
}

struct Name {
    text: Arc<str>,
    /// Counts the changes of slots of this name; what was found before the last one may be elsewhere now.
    generation: u32,
    /// Some receiver has a copy of an inherited list or dict under this name, which may be changed at any moment.
    is_copied: bool,
}

impl Names {
    pub fn new() -> Names {
        let mut names = Names {
            all: Vec::new(),
            by_text: FxHashMap::default(),
        };
        names.id(PARENTS);
        names
    }

    pub fn id(&mut self, text: &str) -> NameId {
        if let Some(id) = self.by_text.get(text) {
            return *id;
        }
        // A run that meets 2^32 names has long run out of memory.
        let id = NameId(self.all.len() as u32);
        let text: Arc<str> = text.into();
        self.by_text.insert(text.clone(), id);
        self.all.push(Name {
            text,
            generation: 0,
            is_copied: false,
        });
        id
    }

    pub fn text(&self, id: NameId) -> &Arc<str> {
        &self.all[id.0 as usize].text
    }

    pub fn generation(&self, id: NameId) -> u32 {
        self.all[id.0 as usize].generation
    }

    /// A slot of that name was changed somewhere.
    pub fn touch(&mut self, id: NameId) {
        let name = &mut self.all[id.0 as usize];
        name.generation = name.generation.wrapping_add(1);
    }

    pub fn set_copied(&mut self, id: NameId) {
        self.touch(id);
        self.all[id.0 as usize].is_copied = true;
    }

    pub fn is_copied(&self, id: NameId) -> bool {
        self.all[id.0 as usize].is_copied
    }
}

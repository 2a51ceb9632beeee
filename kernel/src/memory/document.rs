//! Documents and chunks as objects of the image.

use std::sync::Arc;

use shared::bridge::{ChunkView, DocumentView, Fault};
use shared::id::ObjectId;
use shared::key::Key;
use shared::object::{ObjectImage, PARENTS};
use shared::reason;
use shared::value::Value;

use crate::image::memory::fresh::Fresh;
use crate::image::memory::{LANGUAGE, META, TEXT, meta_of, text_of};
use crate::names::resolve;
use crate::overlay::World;

/// The object whose entries are the documents, by their sources.
pub const CATALOG: &str = "knowledge_catalog";
/// A longer source is known by its hash.
const SOURCE_BYTES: usize = 400;

/// A document as its slots say it.
pub struct Document(pub Arc<ObjectImage>);

/// What a new document is.
pub struct Born<'a> {
    pub source: &'a str,
    pub format: &'a str,
    pub digest: String,
    pub bytes: u64,
    pub at: Option<i64>,
    pub author: &'a str,
    pub trust: &'a str,
    pub meta: &'a [(String, String)],
    pub supersedes: Option<ObjectId>,
    pub now: i64,
    /// Indexed already, all of it.
    pub is_whole: bool,
}

impl Document {
    /// One of a world; `None` for an object that is no document there.
    pub fn seen(world: World<'_>, id: ObjectId) -> Option<Document> {
        let (image, _) = world.object(id)?;
        Document::of(image)
    }

    /// `None` for an object that is no document.
    pub fn of(image: Arc<ObjectImage>) -> Option<Document> {
        let document = Document(image);
        let is_one = document.text("source").is_some()
            && document.text("digest").is_some()
            && document.int("indexed").is_some();
        is_one.then_some(document)
    }

    fn value(&self, slot: &str) -> Option<&Value> {
        self.0.slot(slot).map(|slot| &slot.value)
    }

    pub fn text(&self, slot: &str) -> Option<&str> {
        self.value(slot).and_then(Value::as_text)
    }

    pub fn int(&self, slot: &str) -> Option<u64> {
        match self.value(slot) {
            Some(Value::Int(number)) => u64::try_from(*number).ok(),
            _ => None,
        }
    }

    pub fn time(&self, slot: &str) -> Option<i64> {
        match self.value(slot) {
            Some(Value::Time(time)) => Some(*time),
            _ => None,
        }
    }

    pub fn is_whole(&self) -> bool {
        self.value("is_whole") == Some(&Value::Bool(true))
    }

    pub fn supersedes(&self) -> Option<ObjectId> {
        match self.value("supersedes") {
            Some(Value::Ref(id)) => Some(*id),
            _ => None,
        }
    }

    pub fn meta(&self) -> Vec<(String, String)> {
        owned(meta_of(&self.0))
    }

    /// Whether it is valid at a time.
    pub fn is_valid(&self, at: i64) -> bool {
        let is_begun = self.time("valid_from").is_none_or(|from| from <= at);
        is_begun && self.time("valid_until").is_none_or(|until| at < until)
    }

    pub fn view(&self, chunks: u64) -> DocumentView {
        let words = |slot: &str| self.text(slot).unwrap_or_default().to_owned();
        DocumentView {
            document: self.0.id,
            source: words("source"),
            format: words("format"),
            bytes: self.int("bytes").unwrap_or(0),
            indexed: self.int("indexed").unwrap_or(0),
            is_whole: self.is_whole(),
            chunks,
            at: self.time("at"),
            author: words("author"),
            trust: words("trust"),
            meta: self.meta(),
            valid_from: self.time("valid_from"),
            valid_until: self.time("valid_until"),
            supersedes: self.supersedes(),
        }
    }
}

impl Born<'_> {
    /// The slots of the new document.
    pub fn slots(&self, world: World<'_>) -> Result<Vec<(String, Value)>, Fault> {
        let text = |text: &str| Value::Text(text.to_owned());
        let traits = resolve(world, "traits")?;
        let slots = [
            (PARENTS, Value::List(vec![Value::Ref(traits)])),
            ("comment", text("A document of the memory.")),
            ("source", text(self.source)),
            ("format", text(self.format)),
            ("digest", text(&self.digest)),
            ("bytes", int(self.bytes)),
            ("indexed", int(if self.is_whole { self.bytes } else { 0 })),
            ("is_whole", Value::Bool(self.is_whole)),
            ("at", Value::Time(self.at.unwrap_or(self.now))),
            ("author", text(self.author)),
            ("trust", text(self.trust)),
            (META, pairs(self.meta)),
            ("valid_from", Value::Time(self.now)),
            ("valid_until", Value::None),
            ("supersedes", self.supersedes.map_or(Value::None, Value::Ref)),
        ];
        Ok(slots.map(|(name, value)| (name.to_owned(), value)).to_vec())
    }
}

/// A chunk as its slots say it.
pub struct Chunk(pub Arc<ObjectImage>);

impl Chunk {
    /// One of a world that something pending stands in front of; `None` for an object that is no chunk there.
    pub fn seen(world: World<'_>, pending: &[Arc<Fresh>], id: ObjectId) -> Option<Chunk> {
        let image = match pending.iter().find_map(|fresh| fresh.chunks.get(&id)) {
            Some(made) => made.as_ref()?.image.clone(),
            None => world.object(id)?.0,
        };
        Chunk::of(image)
    }

    pub fn of(image: Arc<ObjectImage>) -> Option<Chunk> {
        text_of(&image)?;
        Some(Chunk(image))
    }

    pub fn text(&self) -> &str {
        text_of(&self.0).unwrap_or_default()
    }

    /// Its document is its first parent.
    pub fn document(&self) -> Option<ObjectId> {
        self.0.parents().first().copied()
    }

    /// Begin, end and ordinal.
    pub fn span(&self) -> (u64, u64, u64) {
        let Some(Value::List(items)) = self.0.slot("span").map(|slot| &slot.value) else {
            return (0, 0, 0);
        };
        let number = |at: usize| match items.get(at) {
            Some(Value::Int(number)) => u64::try_from(*number).unwrap_or(0),
            _ => 0,
        };
        (number(0), number(1), number(2))
    }

    pub fn at(&self) -> Option<i64> {
        match self.0.slot("at").map(|slot| &slot.value) {
            Some(Value::Time(time)) => Some(*time),
            _ => None,
        }
    }

    pub fn view(&self) -> ChunkView {
        let (begin, end, _) = self.span();
        let language = self.0.slot(LANGUAGE).and_then(|slot| slot.value.as_text());
        ChunkView {
            chunk: self.0.id,
            begin,
            end,
            language: language.unwrap_or_default().to_owned(),
            text: self.text().to_owned(),
        }
    }
}

/// What a new chunk says.
pub struct NewChunk<'a> {
    pub document: ObjectId,
    pub text: &'a str,
    pub begin: u64,
    pub end: u64,
    pub ordinal: u64,
    pub language: &'a str,
    pub at: Option<i64>,
    pub meta: &'a [(String, String)],
}

impl NewChunk<'_> {
    pub fn slots(&self) -> Vec<(String, Value)> {
        let mut slots = vec![
            (PARENTS.to_owned(), Value::List(vec![Value::Ref(self.document)])),
            (TEXT.to_owned(), Value::Text(self.text.to_owned())),
            (
                "span".to_owned(),
                Value::List(vec![int(self.begin), int(self.end), int(self.ordinal)]),
            ),
            (LANGUAGE.to_owned(), Value::Text(self.language.to_owned())),
        ];
        slots.extend(self.at.map(|at| ("at".to_owned(), Value::Time(at))));
        if !self.meta.is_empty() {
            slots.push((META.to_owned(), pairs(self.meta)));
        }
        slots
    }
}

/// The entry of the catalog that a source has.
pub fn key(source: &str) -> Key {
    let name = match source.len() {
        0..=SOURCE_BYTES => source.to_owned(),
        _ => hashed(source),
    };
    let key = Key::of(&Value::Text(name));
    // Text of that length fits, unless it is full of zeros.
    key.or_else(|_| Key::of(&Value::Text(hashed(source))))
        .unwrap_or_else(|_| Key::first())
}

fn hashed(source: &str) -> String {
    format!("blake3:{}", blake3::hash(source.as_bytes()).to_hex())
}

pub fn catalog(world: World<'_>) -> Result<ObjectId, Fault> {
    resolve(world, CATALOG)
}

/// The document of a source, and the read that found it.
pub fn of_source(
    world: World<'_>,
    catalog: ObjectId,
    source: &str,
    reads: &mut Vec<shared::activation::Read>,
) -> Option<Document> {
    match world.entry(catalog, &key(source), reads) {
        Some(Value::Ref(id)) => Document::of(world.object(id)?.0),
        _ => None,
    }
}

pub fn int(number: u64) -> Value {
    Value::Int(i64::try_from(number).unwrap_or(i64::MAX))
}

pub fn pairs(meta: &[(String, String)]) -> Value {
    let pairs = meta.iter();
    Value::Map(
        pairs
            .map(|(key, value)| (Value::Text(key.clone()), Value::Text(value.clone())))
            .collect(),
    )
}

pub fn owned(pairs: Vec<(&str, &str)>) -> Vec<(String, String)> {
    let pairs = pairs.into_iter();
    pairs
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

pub fn no_document(name: &str) -> Fault {
    Fault::new(
        reason::NO_OBJECT,
        format!(
            "{name:?} is no document or chunk of the memory, nor a source of one; `batos memory search` finds them"
        ),
    )
}

/// Microseconds since 1970.
pub fn now_us() -> i64 {
    i64::try_from(crate::image::log::unix_ms())
        .unwrap_or(0)
        .saturating_mul(1_000)
}

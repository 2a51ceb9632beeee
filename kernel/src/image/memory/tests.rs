//! The index of the memory against a plain model, over flushes, removals, packs, reopenings and rebuilds.

use std::sync::Arc;

use shared::id::ObjectId;
use shared::object::{ObjectImage, PARENTS};
use shared::value::Value;

use super::analysis::{Analysis, fingerprint};
use super::fresh::{Fresh, Pending};
use super::recall::{B, Candidate, K1, LEADERS, MOVED, NEAR_BITS, NEIGHBOUR, Question, TEXT_SHARE};
use super::vector::{Encoder, Vector};
use super::{LANGUAGE, META, TEXT};
use crate::image::draft::{Change, Draft};
use crate::image::layer::put;
use crate::image::verify::{Chains, verify};
use crate::image::{Image, pack, reindex};
use crate::reporter::Reporter;

const DIMENSION: usize = 16;
const LOBBY_SLOT: &str = "kept";

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn text(&mut self) -> String {
        let words = [
            "wing", "flow", "plate", "heat", "shock", "layer", "body", "nose", "drag", "lift", "wave",
            "speed",
        ];
        let count = 3 + self.next() % 20;
        let picked: Vec<&str> = (0..count)
            .map(|_| words[(self.next() % words.len() as u64) as usize])
            .collect();
        picked.join(" ")
    }

    fn numbers(&mut self) -> Vec<f32> {
        (0..DIMENSION)
            .map(|_| (self.next() % 2_001) as f32 / 1_000.0 - 1.0)
            .collect()
    }
}

fn encoder() -> Encoder {
    Encoder::of("test", DIMENSION)
}

fn slots(text: &str, meta: &str) -> Vec<(String, Value)> {
    let meta = vec![(Value::Text("part".into()), Value::Text(meta.into()))];
    vec![
        (PARENTS.into(), Value::List(Vec::new())),
        (TEXT.into(), Value::Text(text.into())),
        (LANGUAGE.into(), Value::Text("en".into())),
        (META.into(), Value::Map(meta)),
    ]
}

/// An image with a lobby whose one slot keeps what is made.
fn opened(folder: &std::path::Path) -> Image {
    let image = Image::open(folder).unwrap();
    if image.is_empty() {
        let object = image.state.allocate();
        assert_eq!(object, ObjectId::LOBBY);
        let mut draft = Draft::new("test");
        let slots = vec![(LOBBY_SLOT.to_owned(), Value::List(Vec::new()))];
        draft.changes.push(Change::Create { object, slots });
        image.committer.commit_blocking(draft).unwrap();
    }
    image
}

/// What must be there: id, text, meta, numbers.
type Model = Vec<(ObjectId, String, String, Vec<f32>)>;

fn add(image: &Image, model: &mut Model, random: &mut Random, count: usize) {
    let mut draft = Draft::new("test");
    for _ in 0..count {
        let object = image.state.allocate();
        let (text, meta, numbers) = (random.text(), format!("p{}", random.next() % 3), random.numbers());
        draft.changes.push(Change::Create {
            object,
            slots: slots(&text, &meta),
        });
        let vector = Vector::of(encoder(), &numbers);
        draft.changes.push(Change::Vector { object, vector });
        model.push((object, text, meta, numbers));
    }
    keep(&mut draft, model);
    image.committer.commit_blocking(draft).unwrap();
}

fn keep(draft: &mut Draft, model: &Model) {
    draft.changes.push(Change::Put {
        object: ObjectId::LOBBY,
        slot: LOBBY_SLOT.into(),
        value: Value::List(model.iter().map(|(id, ..)| Value::Ref(*id)).collect()),
    });
}

fn forget(image: &Image, model: &mut Model, random: &mut Random) {
    let at = (random.next() % model.len() as u64) as usize;
    let (object, ..) = model.swap_remove(at);
    let mut draft = Draft::new("test");
    draft.changes.push(Change::Remove {
        object,
        slot: TEXT.into(),
    });
    draft.changes.push(Change::Vector { object, vector: None });
    keep(&mut draft, model);
    image.committer.commit_blocking(draft).unwrap();
}

/// BM25 as a textbook has it, and the cosine of the rounded numbers.
fn expected(model: &Model, words: &str, asked: &[f32], part: Option<&str>) -> Vec<(ObjectId, f32, f32)> {
    let analysed: Vec<Analysis> = model
        .iter()
        .map(|(id, text, meta, _)| {
            let mut image = crate::image::layer::empty_object(*id);
            for (name, value) in slots(text, meta) {
                put(&mut image, name, value, Default::default());
            }
            Analysis::of(&image).unwrap()
        })
        .collect();
    let total: u32 = analysed.iter().map(|analysis| analysis.length).sum();
    let average = total as f32 / model.len() as f32;
    let terms: Vec<&str> = words.split(' ').collect();
    let length = |numbers: &[f32]| numbers.iter().map(|n| n * n).sum::<f32>().sqrt();
    let mut found: Vec<(ObjectId, f32, f32)> = model
        .iter()
        .zip(&analysed)
        .filter(|((_, _, meta, _), _)| part.is_none_or(|part| part == meta))
        .map(|((id, _, _, numbers), analysis)| {
            let text = terms.iter().map(|term| {
                let times = analysis.terms.get(term.as_bytes()).copied().unwrap_or(0) as f32;
                let having = analysed
                    .iter()
                    .filter(|other| other.terms.contains_key(term.as_bytes()))
                    .count() as f32;
                let worth = (1.0 + (model.len() as f32 - having + 0.5) / (having + 0.5)).ln();
                worth * times * (K1 + 1.0) / (times + K1 * (1.0 - B + B * analysis.length as f32 / average))
            });
            let dot: f32 = numbers.iter().zip(asked).map(|(one, other)| one * other).sum();
            // Kept vectors are not made to length 1: those of an encoder are.
            (*id, text.sum(), dot / length(asked))
        })
        .collect();
    found.sort_by_key(|(id, ..)| *id);
    found
}

type Scores = [(ObjectId, f32, f32)];

/// Both scores as parts of their best ones, the question first taken as it is, then moved towards those that lead.
/// Neighbours are looked for in `all`.
fn scored(model: &Model, found: &Scores, all: &Scores, asked: &[f32]) -> Vec<f32> {
    let numbers_of = |id: ObjectId| &model.iter().find(|(other, ..)| *other == id).unwrap().3;
    let length = |numbers: &[f32]| numbers.iter().map(|n| n * n).sum::<f32>().sqrt();
    let of = |id: u64| {
        all.iter()
            .find(|(other, ..)| other.0 == id)
            .map_or(0.0, |own| own.1)
    };
    let text = |id: ObjectId| of(id.0) + NEIGHBOUR * of(id.0 - 1).max(of(id.0 + 1));
    let best_text = found.iter().map(|(id, ..)| text(*id)).fold(0.0, f32::max);
    let score = |alike: &[f32]| -> Vec<f32> {
        let best = alike.iter().copied().fold(0.0, f32::max);
        let part = |own: f32, best: f32| if best > 0.0 { own.max(0.0) / best } else { 0.0 };
        let both = found.iter().zip(alike);
        both.map(|((id, ..), alike)| {
            TEXT_SHARE * part(text(*id), best_text) + (1.0 - TEXT_SHARE) * part(*alike, best)
        })
        .collect()
    };
    let first = score(&found.iter().map(|(.., cosine)| *cosine).collect::<Vec<_>>());
    let mut order: Vec<usize> = (0..found.len()).collect();
    order.sort_by(|one, other| first[*other].total_cmp(&first[*one]));
    let mut moved: Vec<f32> = asked.iter().map(|number| number / length(asked)).collect();
    let print = |at: usize| fingerprint(&model.iter().find(|(id, ..)| *id == found[at].0).unwrap().1);
    let mut leaders: Vec<usize> = Vec::new();
    for at in order {
        let is_near = |other: &usize| (print(*other) ^ print(at)).count_ones() <= NEAR_BITS;
        if leaders.len() < LEADERS && !leaders.iter().any(is_near) {
            leaders.push(at);
        }
    }
    let leaders = &leaders;
    for at in leaders {
        let own = numbers_of(found[*at].0).iter();
        moved
            .iter_mut()
            .zip(own)
            .for_each(|(sum, number)| *sum += MOVED / leaders.len() as f32 * number);
    }
    let dot = |numbers: &[f32]| {
        numbers
            .iter()
            .zip(&moved)
            .map(|(one, other)| one * other)
            .sum::<f32>()
    };
    let alike: Vec<f32> = found
        .iter()
        .map(|(id, ..)| dot(numbers_of(*id)) / length(&moved))
        .collect();
    score(&alike)
}

fn check(image: &Image, pending: &[Arc<Fresh>], model: &Model, random: &mut Random) {
    let asked = random.numbers();
    for (words, part) in [("flow plate", None), ("drag", Some("p1"))] {
        let filters: Vec<(String, String)> = part
            .iter()
            .map(|part: &&str| ("part".to_owned(), (*part).to_owned()))
            .collect();
        let question = Question {
            words,
            vector: Some((encoder(), &asked)),
            filters: &filters,
            wanted: 10,
            pool: 100_000,
            is_valid: &|_| true,
        };
        let recalled = image.state.recall(pending, &question);
        assert!(recalled.is_all);
        let mut found: Vec<&Candidate> = recalled.candidates.iter().collect();
        found.sort_by_key(|candidate| candidate.chunk);
        let expected = expected(model, words, &asked, part);
        let ids = |found: Vec<ObjectId>| found;
        assert_eq!(
            ids(found.iter().map(|candidate| candidate.chunk).collect()),
            ids(expected.iter().map(|(id, ..)| *id).collect()),
            "{words} {part:?}"
        );
        for (candidate, (id, text, cosine)) in found.iter().zip(&expected) {
            assert!((candidate.text - text).abs() < 1e-3, "{id}: {candidate:?} {text}");
            let own = candidate.cosine.unwrap();
            assert!((own - cosine).abs() < 0.03, "{id}: {candidate:?} {cosine}");
            let sum: f32 = candidate.terms.iter().map(|(_, worth)| worth).sum();
            assert!((sum - candidate.text).abs() < 1e-3);
        }
        // By the cosines as they came: which three lead may hang on how numbers are rounded.
        let own = found.iter().map(|own| (own.chunk, own.text, own.cosine.unwrap()));
        let scores = scored(model, &own.collect::<Vec<_>>(), &expected, &asked);
        for (candidate, score) in found.iter().zip(scores) {
            assert!((candidate.score - score).abs() < 0.05, "{candidate:?} {score}");
        }
    }
    assert_eq!(image.state.has_vectors(pending), !model.is_empty());
    let (totals, ..) = image.state.memory_totals();
    if pending.is_empty() {
        assert_eq!(
            (totals.chunks, totals.vectors),
            (model.len() as u64, model.len() as u64)
        );
        assert_eq!(totals.languages.get("en"), Some(&totals.chunks));
    }
}

fn digest(image: &Image) -> [u8; 32] {
    image.flush().unwrap();
    crate::image::digest::digest(&image.state.index(), image.state.standing().last).unwrap()
}

#[test]
fn the_index_is_what_the_model_says_whatever_happens_to_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image");
    let mut random = Random(0x5eed_0001);
    let mut model = Model::new();
    let mut image = opened(&path);
    for round in 0..24 {
        let count = 1 + random.next() as usize % 60;
        add(&image, &mut model, &mut random, count);
        for _ in 0..random.next() % 12 {
            forget(&image, &mut model, &mut random);
        }
        check(&image, &[], &model, &mut random);
        match round % 6 {
            1 => image.flush().unwrap(),
            3 => {
                // As after a kill: what was not flushed is replayed.
                drop(image);
                image = opened(&path);
            }
            5 => {
                let packed = pack::pack(&image, &path, &Reporter::silent()).unwrap();
                assert!(packed.objects >= model.len() as u64);
            }
            _ => {}
        }
        check(&image, &[], &model, &mut random);
    }
    let scratch = folder.path().join("scratch");
    let found = verify(&image, &path, &scratch, Chains::Untold, &Reporter::silent())
        .unwrap()
        .found;
    assert_eq!(found.faults, []);
    let before = digest(&image);
    assert_eq!(found.digest, crate::image::digest::hex(&before));
    image.close();
    drop(image);
    assert_eq!(reindex::reindex(&path, &Reporter::silent()).unwrap(), before);
    let image = opened(&path);
    check(&image, &[], &model, &mut random);
}

#[test]
fn what_stands_in_front_is_seen_by_who_has_it_alone() {
    let folder = tempfile::tempdir().unwrap();
    let image = opened(&folder.path().join("image"));
    let mut random = Random(7);
    let mut model = Model::new();
    add(&image, &mut model, &mut random, 50);
    image.flush().unwrap();
    let mut own = model.clone();
    let mut fresh = Fresh::default();
    let (empty, behind) = (tempfile::tempdir().unwrap(), Arc::new(fresh.clone()));
    let empty = opened(&empty.path().join("image"));
    assert!(!empty.state.has_vectors(&[behind]));
    let id = image.state.allocate();
    let (text, numbers) = ("flow flow plate".to_owned(), random.numbers());
    let mut made = ObjectImage {
        id,
        version: Default::default(),
        slots: Vec::new(),
    };
    for (name, value) in slots(&text, "p1") {
        put(&mut made, name, value, Default::default());
    }
    fresh.chunks.insert(id, Some(Pending::of(Arc::new(made))));
    fresh
        .vectors
        .insert(id, Vector::of(encoder(), &numbers).map(Arc::new));
    own.push((id, text, "p1".into(), numbers));
    let gone = own.remove(3).0;
    fresh.chunks.insert(gone, None);
    fresh.vectors.insert(gone, None);
    let fresh = Arc::new(fresh);
    assert!(empty.state.has_vectors(std::slice::from_ref(&fresh)));
    check(&image, &[fresh], &own, &mut random);
    check(&image, &[], &model, &mut random);
}

#[test]
fn damage_of_the_memory_is_found_and_mended() {
    use crate::image::lmdb::{IndexWrite, Table};
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image");
    let image = opened(&path);
    let mut random = Random(9);
    let mut model = Model::new();
    add(&image, &mut model, &mut random, 40);
    image.flush().unwrap();
    let index = image.state.index();
    let (from, to) = super::postings::range(b"flow");
    let key = index
        .reading()
        .unwrap()
        .slices(Table::Postings, &from, &to)
        .unwrap()[0]
        .0
        .to_vec();
    let value = super::postings::frozen([(1u16, 1u32)]);
    index
        .write(&[IndexWrite::Put {
            table: Table::Postings,
            key,
            value,
        }])
        .unwrap();
    let scratch = folder.path().join("scratch");
    let found = verify(&image, &path, &scratch, Chains::Untold, &Reporter::silent())
        .unwrap()
        .found;
    assert_eq!(found.faults.len(), 1, "{:?}", found.faults);
    assert!(
        found.faults[0].place.contains("Postings flow"),
        "{:?}",
        found.faults
    );
    image.close();
    drop(image);
    reindex::reindex(&path, &Reporter::silent()).unwrap();
    check(&opened(&path), &[], &model, &mut random);
}

/// Vectors that lie in groups, as texts of a topic do: the signatures must not lose what a look at all finds.
#[test]
fn signatures_lose_nothing_of_the_answer() {
    use super::matrix;
    use super::recall;
    use crate::image::lmdb::{IndexWrite, Lmdb, Table};
    use std::collections::BTreeMap;
    const WIDE: usize = 384;
    let folder = tempfile::tempdir().unwrap();
    let index = Lmdb::open(folder.path()).unwrap();
    let encoder = Encoder::of("wide", WIDE);
    let mut random = Random(77);
    let near = |random: &mut Random, centre: &[f32], spread: f32| -> Vec<f32> {
        let raw: Vec<f32> = centre
            .iter()
            .map(|n| n + spread * ((random.next() % 2_001) as f32 / 1_000.0 - 1.0))
            .collect();
        let length = raw.iter().map(|n| n * n).sum::<f32>().sqrt();
        raw.into_iter().map(|n| n / length).collect()
    };
    let centres: Vec<Vec<f32>> = (0..40).map(|_| near(&mut random, &[0.0; WIDE], 1.0)).collect();
    let mut writes = Vec::new();
    let mut all = Vec::new();
    for block in 0..120u64 {
        let mut vectors = BTreeMap::new();
        let mut rows = BTreeMap::new();
        for low in 0..=255u8 {
            let centre = &centres[(random.next() % 40) as usize];
            let numbers = near(&mut random, centre, 0.08);
            vectors.insert(low, Arc::new(Vector::of(encoder, &numbers).unwrap()));
            let id = matrix::id_at(block, low);
            all.push((id, numbers));
            let (_, place) = super::block::place(id);
            let row = super::block::Row {
                fingerprint: 0,
                length: 1,
            };
            rows.insert(place, row);
        }
        writes.push(IndexWrite::Put {
            table: Table::Vectors,
            key: matrix::key(encoder, block),
            value: matrix::frozen(&vectors).unwrap(),
        });
    }
    let mut blocks: BTreeMap<u32, BTreeMap<u16, super::block::Row>> = BTreeMap::new();
    for (id, _) in &all {
        let (block, low) = super::block::place(*id);
        let row = super::block::Row {
            fingerprint: 0,
            length: 1,
        };
        blocks.entry(block).or_default().insert(low, row);
    }
    for (block, rows) in blocks {
        writes.push(IndexWrite::Put {
            table: Table::Chunks,
            key: block.to_be_bytes().to_vec(),
            value: super::block::frozen(&rows).unwrap(),
        });
    }
    index.write(&writes).unwrap();
    let reading = index.reading().unwrap();
    let (mut same, rounds) = (0, 30);
    for round in 0..rounds {
        let asked = near(&mut random, &centres[round % 40], 0.06);
        let question = Question {
            words: "",
            vector: Some((encoder, &asked)),
            filters: &[],
            wanted: 10,
            pool: 10,
            is_valid: &|_| true,
        };
        let found = recall::recall(&reading, &[], &question).unwrap();
        let mut exact: Vec<(f32, ObjectId)> = all
            .iter()
            .map(|(id, numbers)| (numbers.iter().zip(&asked).map(|(a, b)| a * b).sum::<f32>(), *id))
            .collect();
        exact.sort_by(|one, other| other.0.total_cmp(&one.0));
        let best: Vec<ObjectId> = exact[..10].iter().map(|(_, id)| *id).collect();
        same += found
            .candidates
            .iter()
            .filter(|found| best.contains(&found.chunk))
            .count();
    }
    assert!(same * 100 >= rounds * 10 * 98, "{same} of {}", rounds * 10);
}

/// Some chunks in a row, each with its text and numbers.
fn row_of(folder: &std::path::Path, chunks: &[(&str, [f32; DIMENSION])]) -> (Image, Vec<ObjectId>) {
    let image = opened(&folder.join("image"));
    let mut draft = Draft::new("test");
    let mut ids = Vec::new();
    for (text, numbers) in chunks {
        let object = image.state.allocate();
        ids.push(object);
        draft.changes.push(Change::Create {
            object,
            slots: slots(text, "p"),
        });
        let vector = Vector::of(encoder(), numbers);
        draft.changes.push(Change::Vector { object, vector });
    }
    let kept = Value::List(ids.iter().map(|id| Value::Ref(*id)).collect());
    draft.changes.push(Change::Put {
        object: ObjectId::LOBBY,
        slot: LOBBY_SLOT.into(),
        value: kept,
    });
    image.committer.commit_blocking(draft).unwrap();
    (image, ids)
}

fn asked<'a>(
    words: &'a str,
    vector: Option<&'a [f32]>,
    is_valid: &'a dyn Fn(ObjectId) -> bool,
) -> Question<'a> {
    Question {
        words,
        vector: vector.map(|numbers| (encoder(), numbers)),
        filters: &[],
        wanted: 10,
        pool: 100,
        is_valid,
    }
}

#[test]
fn a_neighbour_speaks_for_a_chunk() {
    let folder = tempfile::tempdir().unwrap();
    let none = [0.5; DIMENSION];
    let far = ("heat lift wave body", none);
    let (image, ids) = row_of(
        folder.path(),
        &[
            ("flow plate nose", none),
            ("flow flow drag", none),
            far,
            far,
            ("flow plate drag", none),
        ],
    );
    let found = image
        .state
        .recall(&[], &asked("flow", None, &|_| true))
        .candidates;
    let of = |at: usize| found.iter().find(|own| own.chunk == ids[at]).unwrap();
    let best = of(1).text + NEIGHBOUR * of(0).text;
    for (at, wanted) in [
        (0, of(0).text + NEIGHBOUR * of(1).text),
        (1, best),
        (4, of(4).text),
    ] {
        assert!(
            (of(at).score - wanted / best).abs() < 1e-5,
            "{:?} {}",
            of(at),
            wanted / best
        );
    }
    assert!((of(0).text - of(4).text).abs() < 1e-5 && of(0).score > of(4).score);
}

#[test]
fn the_question_is_moved_by_what_may_be_answered_and_by_nothing_twice() {
    let folder = tempfile::tempdir().unwrap();
    let mut unit = [[0.0; DIMENSION]; 3];
    (0..3).for_each(|at| unit[at][at] = 1.0);
    let [x, y, z] = unit;
    let texts = [
        "wing nose body",
        "wing nose body",
        "shock layer heat",
        "drag speed lift",
        "plate flow wave",
    ];
    // The first two are the same text; a part of x in the third, of the third's y in the fourth.
    let half = |one: [f32; DIMENSION], other: [f32; DIMENSION]| {
        std::array::from_fn(|at| (one[at] + other[at]) * std::f32::consts::FRAC_1_SQRT_2)
    };
    let numbers = [x, x, half(x, y), half(y, z), z];
    let chunks: Vec<(&str, [f32; DIMENSION])> = texts.into_iter().zip(numbers).collect();
    let (image, ids) = row_of(folder.path(), &chunks);
    let found = |is_valid: &dyn Fn(ObjectId) -> bool| {
        let mut found = image
            .state
            .recall(&[], &asked("nothing", Some(&x), is_valid))
            .candidates;
        found.sort_by_key(|own| own.chunk);
        found
    };
    let all = found(&|_| true);
    // Leaders: x once, the third, the fourth; moved = x + 0.25 × (x + the third + the fourth).
    let moved: Vec<f32> = (0..DIMENSION)
        .map(|at| x[at] + MOVED / 3.0 * (x[at] + numbers[2][at] + numbers[3][at]))
        .collect();
    let dot = |at: usize| {
        numbers[at]
            .iter()
            .zip(&moved)
            .map(|(one, other)| one * other)
            .sum::<f32>()
    };
    let best = (0..5).map(dot).fold(0.0, f32::max);
    for (at, own) in all.iter().enumerate() {
        let wanted = (1.0 - TEXT_SHARE) * dot(at) / best;
        assert!((own.score - wanted).abs() < 2e-3, "{at}: {own:?} {wanted}");
        assert!(
            (own.cosine.unwrap() - numbers[at][0]).abs() < 1e-3,
            "as it was asked"
        );
    }
    // What may not be answered does not lead: the question is no longer moved towards the third.
    let without = found(&|id| id != ids[2]);
    assert!(without[2].score < all[2].score - 0.01, "{without:?} {all:?}");
}

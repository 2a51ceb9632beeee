//! Vectors against sentence-transformers' (fixtures made by tests/fixtures/encoders.py), and what is refused.

use std::fs;
use std::path::{Path, PathBuf};

use safetensors::SafeTensors;
use serde_json::{Value as Json, json};
use shared::inference::Embedding;
use tempfile::TempDir;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::bert::Scratch;
use super::source::load;
use super::*;
use crate::crew::Crew;
use crate::kernel::Level;

const SMALL: [&str; 2] = ["bert-mean", "bert-first"];
const PARTS: [&str; 5] = [
    "config.json",
    "tokenizer.json",
    "modules.json",
    "sentence_bert_config.json",
    "1_Pooling/config.json",
];

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn texts() -> Vec<String> {
    serde_json::from_slice(&fs::read(fixtures().join("texts.json")).unwrap()).unwrap()
}

/// The wanted vectors, and tokens of each text.
fn wanted(name: &str) -> (Vec<Vec<f32>>, Vec<u32>) {
    let bytes = fs::read(fixtures().join(name).join("embeddings.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let floats = |name: &str| -> Vec<f32> {
        let bytes = file.tensor(name).unwrap().data().to_vec();
        bytes
            .as_chunks()
            .0
            .iter()
            .map(|bytes| f32::from_le_bytes(*bytes))
            .collect()
    };
    let dimension = file.tensor("vectors").unwrap().shape()[1];
    let vectors = floats("vectors").chunks(dimension).map(<[f32]>::to_vec).collect();
    (
        vectors,
        floats("tokens").into_iter().map(|count| count as u32).collect(),
    )
}

fn start(model: &Path) -> Encoder {
    Encoder::start(Some(Settings {
        model: model.to_owned(),
        hash: None,
        threads: 2,
    }))
    .unwrap()
}

fn submit(
    encoder: &Encoder,
    texts: &[String],
    deadline_ms: u64,
) -> (Arc<AtomicBool>, UnboundedReceiver<InferenceEvent>) {
    let (events, answers) = unbounded_channel();
    let cancelled = Arc::new(AtomicBool::new(false));
    encoder.submit(EmbedJob {
        request: Embed {
            request: 7,
            texts: texts.to_vec(),
            deadline_ms,
        },
        events,
        cancelled: cancelled.clone(),
        arrived: Instant::now(),
    });
    (cancelled, answers)
}

fn answer(mut answers: UnboundedReceiver<InferenceEvent>) -> Result<Vec<Embedding>, InferenceFault> {
    match answers.blocking_recv().unwrap() {
        InferenceEvent::Embedded { embeddings, .. } => Ok(embeddings),
        InferenceEvent::Failed { fault, .. } => Err(fault),
        other => panic!("{other:?}"),
    }
}

fn embed(encoder: &Encoder, texts: &[String]) -> Vec<Embedding> {
    answer(submit(encoder, texts, 60_000).1).unwrap()
}

fn check_against(name: &str, found: &[Embedding]) {
    let (vectors, tokens) = wanted(name);
    assert_eq!(found.len(), vectors.len());
    for (at, (found, wanted)) in found.iter().zip(&vectors).enumerate() {
        assert_eq!(found.tokens, tokens[at], "{name}, text {at}");
        let length: f32 = found.vector.iter().map(|value| value * value).sum();
        assert!((length - 1.0).abs() < 1e-5, "{length}");
        let cosine: f64 = found
            .vector
            .iter()
            .zip(wanted)
            .map(|(a, b)| f64::from(*a) * f64::from(*b))
            .sum();
        assert!(cosine > 0.99999, "{name}, text {at}: {cosine}");
    }
}

#[test]
fn vectors_are_those_of_sentence_transformers() {
    for name in SMALL {
        let found = embed(&start(&fixtures().join(name)), &texts());
        check_against(name, &found);
        let most = found.iter().map(|found| found.tokens).max().unwrap();
        assert!(found.iter().all(|found| !found.is_cut || found.tokens == most));
        assert!(found.last().unwrap().is_cut && !found[0].is_cut);
    }
}

#[test]
fn the_real_model_agrees_where_it_is_present() {
    let folder = std::env::var_os("BATOS_EMBEDDER").map(PathBuf::from).or_else(|| {
        let home = shared::home::Home::resolve(None).ok()?;
        Some(home.models().join("all-minilm-l6-v2"))
    });
    match folder.filter(|folder| folder.exists()) {
        Some(folder) => check_against("minilm", &embed(&start(&folder), &texts())),
        None => eprintln!("all-MiniLM-L6-v2 is not here: not checked (./scripts/embedding-model fetches it)"),
    }
}

#[test]
fn every_level_and_every_company_gives_the_same_vectors() {
    for name in SMALL {
        let mut loaded = load(&fixtures().join(name), None, Crew::new(2).unwrap()).unwrap();
        let (vectors, _) = wanted(name);
        let tokens: Vec<Vec<u32>> = texts()
            .iter()
            .map(|text| {
                loaded
                    .tokenizer
                    .encode(text.as_str(), true)
                    .unwrap()
                    .get_ids()
                    .to_vec()
            })
            .collect();
        for level in Level::every() {
            loaded.bert.level = level;
            let mut scratch = Scratch::default();
            let together = loaded.bert.forward(&tokens, &mut scratch);
            for (at, text) in tokens.iter().enumerate() {
                let alone = loaded.bert.forward(std::slice::from_ref(text), &mut scratch);
                assert_eq!(alone[0], together[at], "{name} on {}, text {at}", level.name());
                let cosine: f32 = alone[0].iter().zip(&vectors[at]).map(|(a, b)| a * b).sum();
                assert!(
                    cosine > 0.99999,
                    "{name} on {}, text {at}: {cosine}",
                    level.name()
                );
            }
        }
    }
}

#[test]
fn many_requests_at_once_get_what_each_gets_alone() {
    let encoder = start(&fixtures().join("bert-mean"));
    let texts = texts();
    let alone = embed(&encoder, &texts);
    // The first keeps the thread busy for some passes, so that the others meet in one.
    let long: Vec<String> = texts.iter().cycle().take(1_000).cloned().collect();
    let first = submit(&encoder, &long, 60_000);
    let others: Vec<_> = (0..50)
        .map(|at| submit(&encoder, &texts[at % texts.len()..], 60_000))
        .collect();
    for (at, (_, answers)) in others.into_iter().enumerate() {
        assert_eq!(answer(answers).unwrap(), alone[at % texts.len()..]);
    }
    let long = answer(first.1).unwrap();
    assert_eq!(long.len(), 1_000);
    assert!(
        long.chunks(texts.len())
            .all(|found| found == &alone[..found.len()])
    );
}

#[test]
fn late_and_cancelled_requests_are_ended_and_others_go_on() {
    let encoder = start(&fixtures().join("bert-mean"));
    let texts = texts();
    let long: Vec<String> = texts.iter().cycle().take(1_000).cloned().collect();
    let busy = submit(&encoder, &long, 60_000);
    let late = submit(&encoder, &texts, 0);
    let given_up = submit(&encoder, &long, 60_000);
    given_up.0.store(true, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(answer(late.1).unwrap_err().reason, "deadline");
    assert_eq!(answer(given_up.1).unwrap_err().reason, "cancelled");
    assert_eq!(answer(busy.1).unwrap().len(), 1_000);
    assert!(embed(&encoder, &[]).is_empty());
}

#[test]
fn without_an_encoder_requests_say_what_to_do() {
    let encoder = Encoder::start(None).unwrap();
    assert_eq!(encoder.describe().unwrap_err().reason, "no_embedder");
    let fault = answer(submit(&encoder, &texts(), 1_000).1).unwrap_err();
    assert!(fault.message.contains("[inference] embedder"), "{fault}");
    let encoder = start(Path::new("/nonexistent"));
    let fault = answer(submit(&encoder, &texts(), 1_000).1).unwrap_err();
    assert_eq!(fault.reason, "model_missing");
}

/// A copy of a good encoder.
fn copy() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("1_Pooling")).unwrap();
    for name in PARTS.iter().chain(&["model.safetensors"]) {
        fs::copy(fixtures().join("bert-mean").join(name), folder.path().join(name)).unwrap();
    }
    folder
}

/// The loading fails, and its message holds these words.
fn check_refused(model: &Path, words: &str) {
    check_load_refused(model, None, words);
}

fn check_hash_refused(model: &Path, hash: blake3::Hash, words: &str) {
    check_load_refused(model, Some(hash), words);
}

fn check_load_refused(model: &Path, hash: Option<blake3::Hash>, words: &str) {
    match load(model, hash, Crew::new(1).unwrap()) {
        Ok(_) => panic!("it was loaded; \"{words}\" was expected"),
        Err(fault) => assert!(fault.message.contains(words), "{words}: {fault}"),
    }
}

#[test]
fn one_file_holds_all_of_an_encoder() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("0123abcd");
    let from = fixtures().join("bert-mean");
    let bytes = fs::read(from.join("model.safetensors")).unwrap();
    let count = u64::from_le_bytes(*bytes.first_chunk().unwrap()) as usize;
    let mut header: Json = serde_json::from_slice(&bytes[8..8 + count]).unwrap();
    for name in PARTS {
        header["__metadata__"][name] = json!(fs::read_to_string(from.join(name)).unwrap());
    }
    let header = header.to_string();
    let mut whole = (header.len() as u64).to_le_bytes().to_vec();
    whole.extend(header.as_bytes());
    whole.extend(&bytes[8 + count..]);
    fs::write(&path, &whole).unwrap();
    check_against("bert-mean", &embed(&start(&path), &texts()));
    let hash = blake3::hash(&whole);
    assert!(load(&path, Some(hash), Crew::new(1).unwrap()).is_ok());
    let last = whole.len() - 1;
    whole[last] ^= 1;
    fs::write(&path, &whole).unwrap();
    check_hash_refused(&path, hash, "another hash");
    check_hash_refused(&from, hash, "it is a folder");
    fs::write(&path, &whole[..whole.len() - 4]).unwrap();
    check_refused(&path, "truncated");
    fs::write(&path, &bytes).unwrap();
    check_refused(&path, "lacks config.json");
}

#[test]
fn configurations_that_cannot_be_followed_are_named() {
    let with = |name: &str, change: &dyn Fn(&mut Json), words: &str| {
        let folder = copy();
        let path = folder.path().join(name);
        let mut document: Json = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        change(&mut document);
        fs::write(path, document.to_string()).unwrap();
        check_refused(folder.path(), words);
    };
    let config = "config.json";
    with(
        config,
        &|config| config["model_type"] = json!("mpnet"),
        "architecture is \"mpnet\"",
    );
    with(
        config,
        &|config| config["hidden_act"] = json!("relu"),
        "activation is relu",
    );
    with(
        config,
        &|config| config["position_embedding_type"] = json!("relative_key"),
        "relative_key",
    );
    with(
        config,
        &|config| config["hidden_size"] = json!(4_000_000_000_u64),
        "hidden size",
    );
    with(
        config,
        &|config| config["num_attention_heads"] = json!(7),
        "cannot be shared",
    );
    with(
        config,
        &|config| config["layer_norm_eps"] = json!(0),
        "layer_norm_eps",
    );
    with(
        config,
        &|config| config["num_hidden_layers"] = json!(3),
        "lacks the tensor encoder.layer.2.",
    );
    with(
        config,
        &|config| config["intermediate_size"] = json!(96),
        "the configuration needs",
    );
    with(
        config,
        &|config| config["vocab_size"] = json!(100),
        "more tokens than the model",
    );
    with(
        config,
        &|config| config["max_position_embeddings"] = json!(1 << 20),
        "number of positions",
    );
    with(
        "sentence_bert_config.json",
        &|file| file["max_seq_length"] = json!(1),
        "hold nothing",
    );
    with(
        "1_Pooling/config.json",
        &|file| file["pooling_mode_max_tokens"] = json!(true),
        "pooling",
    );
    with(
        "modules.json",
        &|file| file[2]["type"] = json!("models.Dense"),
        "models.Dense is not known",
    );
    with(
        "modules.json",
        &|file| file[1]["path"] = json!("../.."),
        "not in this folder",
    );
}

#[test]
fn weights_and_tokenizers_that_are_damaged_are_named() {
    let with = |name: &str, change: &dyn Fn(&mut Vec<u8>), words: &str| {
        let folder = copy();
        let path = folder.path().join(name);
        let mut bytes = fs::read(&path).unwrap();
        change(&mut bytes);
        fs::write(path, bytes).unwrap();
        check_refused(folder.path(), words);
    };
    let weights = "model.safetensors";
    with(weights, &|bytes| bytes.truncate(bytes.len() / 2), "truncated");
    with(weights, &|bytes| bytes.truncate(3), "too short");
    with(weights, &|bytes| bytes[7] = 1, "its header claims");
    let not_a_number = |bytes: &mut Vec<u8>| {
        let at = bytes.len() - 4;
        bytes[at..].copy_from_slice(&f32::NAN.to_le_bytes());
    };
    with(weights, &not_a_number, "not finite");
    with("tokenizer.json", &|bytes| bytes.truncate(99), "tokenizer.json");
    let folder = copy();
    let told = json!({"files": {"model.safetensors": {"bytes": 185_920, "sha256": "00"}}});
    fs::write(folder.path().join("model.json"), told.to_string()).unwrap();
    check_refused(folder.path(), "SHA-256 differs");
}

//! Truncated, hostile and mismatched checkpoints are told from good ones, and named.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::*;

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/llama2")
}

/// A copy of a good checkpoint.
fn copy() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in [safetensors::WEIGHTS, CONFIG, TOKENIZER] {
        fs::copy(fixture().join(name), folder.path().join(name)).unwrap();
    }
    folder
}

/// The loading fails, and its message holds these words.
fn check(model: &Path, words: &str) {
    let fault = match load(model, None, Weights::AsStored, Crew::new(1).unwrap()) {
        Ok(_) => panic!("it was loaded; \"{words}\" was expected"),
        Err(fault) => fault,
    };
    assert!(fault.message.contains(words), "{fault}");
    assert!(fault.message.contains(&*model.to_string_lossy()), "{fault}");
}

fn with_config(change: impl Fn(&mut serde_json::Value), words: &str) {
    let folder = copy();
    let path = folder.path().join(CONFIG);
    let mut config: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut config);
    fs::write(path, config.to_string()).unwrap();
    check(folder.path(), words);
}

fn with_weights(change: impl Fn(&mut Vec<u8>), words: &str) {
    let folder = copy();
    let path = folder.path().join(safetensors::WEIGHTS);
    let mut bytes = fs::read(&path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
    check(folder.path(), words);
}

#[test]
fn a_good_one_is_loaded() {
    let checkpoint = load(copy().path(), None, Weights::AsStored, Crew::new(1).unwrap());
    assert!(checkpoint.is_ok_and(|checkpoint| checkpoint.model.layers.len() == 2));
}

#[test]
fn other_architectures_and_sizes_that_make_no_model_are_named() {
    with_config(
        |config| config["model_type"] = "gpt2".into(),
        "architecture is \"gpt2\"",
    );
    with_config(
        |config| config["hidden_act"] = "gelu".into(),
        "activation is gelu",
    );
    with_config(|config| config["attention_bias"] = true.into(), "biases");
    with_config(
        |config| config["hidden_size"] = 4_000_000_000_u64.into(),
        "hidden size",
    );
    with_config(
        |config| config["num_hidden_layers"] = 1_000_000.into(),
        "number of layers",
    );
    with_config(|config| config["num_key_value_heads"] = 2.into(), "cannot share");
    with_config(|config| config["rms_norm_eps"] = 0.0.into(), "rms_norm_eps");
    with_config(
        |config| config["num_hidden_layers"] = 3.into(),
        "lacks the tensor model.layers.2.",
    );
    with_config(
        |config| config["intermediate_size"] = 96.into(),
        "the configuration needs",
    );
    with_config(|config| config["vocab_size"] = (-1).into(), CONFIG);
    with_config(
        |config| config["rope_parameters"] = serde_json::json!({"rope_type": "yarn"}),
        "yarn",
    );
}

#[test]
fn weights_that_are_cut_off_or_claim_too_much_are_named() {
    with_weights(|bytes| bytes.truncate(bytes.len() / 2), "truncated");
    with_weights(|bytes| bytes.truncate(5), "too short");
    with_weights(
        |bytes| bytes[..8].copy_from_slice(&u64::MAX.to_le_bytes()),
        "its header claims",
    );
    with_weights(|bytes| bytes[7] = 1, "its header claims");
    with_weights(|bytes| bytes[8] = b'[', "cannot be used");
    with_weights(|bytes| bytes.truncate(0), "too short");
    // The last four bytes are a number of the last tensor.
    with_weights(
        |bytes| {
            let at = bytes.len() - 4;
            bytes[at..].copy_from_slice(&f32::NAN.to_le_bytes());
        },
        "not finite",
    );
}

#[test]
fn a_tokenizer_of_another_model_is_named() {
    let folder = copy();
    fs::copy(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("seed/model/tokenizer.json"),
        folder.path().join(TOKENIZER),
    )
    .unwrap();
    check(folder.path(), "more tokens than the model");
}

#[test]
fn a_digest_that_differs_is_named() {
    let folder = copy();
    let bytes = fs::metadata(folder.path().join(safetensors::WEIGHTS))
        .unwrap()
        .len();
    let manifest = |bytes: u64| {
        let told = serde_json::json!({"files": {"model.safetensors": {"bytes": bytes, "sha256": "00"}}});
        fs::write(folder.path().join(MANIFEST), told.to_string()).unwrap();
    };
    manifest(bytes + 1);
    check(folder.path(), "model.json says");
    manifest(bytes);
    check(folder.path(), "SHA-256 differs");
}

/// A GGUF header with these counts and bytes after them.
fn gguf(tensors: u64, entries: u64, rest: &[u8]) -> Vec<u8> {
    let mut bytes = b"GGUF".to_vec();
    bytes.extend(3_u32.to_le_bytes());
    bytes.extend(tensors.to_le_bytes());
    bytes.extend(entries.to_le_bytes());
    bytes.extend(rest);
    bytes
}

#[test]
fn a_gguf_file_that_lies_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.gguf");
    let entry = |key: &str, kind: u32, value: &[u8]| {
        let mut bytes = (key.len() as u64).to_le_bytes().to_vec();
        bytes.extend(key.as_bytes());
        bytes.extend(kind.to_le_bytes());
        bytes.extend(value);
        bytes
    };
    for (bytes, words) in [
        (Vec::new(), "cannot be used"),
        (b"GGUF".to_vec(), "cannot be used"),
        (gguf(u64::MAX, u64::MAX, &[]), "exceeds max"),
        (gguf(1 << 29, 0, &[]), "remaining"),
        (
            gguf(0, 1, &entry("general.alignment", 4, &[0; 4])),
            "not that of a GGUF file",
        ),
        (
            gguf(0, 1, &entry("x", 8, &u64::MAX.to_le_bytes())),
            "string length",
        ),
        (gguf(0, 0, &[]), "architecture is \"not told\""),
    ] {
        fs::write(&path, bytes).unwrap();
        check(&path, words);
    }
}

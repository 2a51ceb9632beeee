//! The encoder: found when it comes, from a folder or out of the image, and told by `batos status`.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use crate::harness::{System, repository};

const PATIENCE: Duration = Duration::from_secs(30);

fn fixture() -> PathBuf {
    repository().join("inference-worker/tests/fixtures/bert-mean")
}

/// Until the embedder is one of this name.
fn wait_for(system: &System, name: &str) {
    let begun = Instant::now();
    loop {
        let kernel = system.ok(&["status"])["kernel"].clone();
        if kernel["embedder"] == json!(format!("{name} (48 numbers)")) {
            assert_eq!(kernel["embedder_fault"], json!(null));
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{kernel}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn an_embedder_is_found_when_it_comes_and_may_be_a_content_of_the_image() {
    let system = System::new().up();
    let begun = Instant::now();
    loop {
        let kernel = system.ok(&["status"])["kernel"].clone();
        assert_eq!(kernel["embedder"], json!(null));
        if kernel["embedder_fault"]
            .as_str()
            .is_some_and(|why| why.contains("./scripts/embedding-model"))
        {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "{kernel}");
    }
    std::os::unix::fs::symlink(fixture(), system.home().join("models/all-minilm-l6-v2")).unwrap();
    wait_for(&system, "all-minilm-l6-v2");

    // The same as one file, in the image.
    let file = system.folder().join("encoder");
    fs::write(&file, one_file()).unwrap();
    let file = file.to_str().unwrap();
    system.ok(&["new", "traits", "--name", "keeper"]);
    let put = system.ok(&["blob", "put", file, "--object", "keeper", "--slot", "encoder"]);
    let digest = put["blob"]["$blob"].as_str().unwrap().to_owned();
    system.ok(&["down"]);
    let system = system
        .configure(&format!("[inference]\nembedder = \"blob:{digest}\"\n"))
        .up();
    wait_for(&system, "kept");
}

/// The header of the weights takes the other files.
fn one_file() -> Vec<u8> {
    let bytes = fs::read(fixture().join("model.safetensors")).unwrap();
    let length = u64::from_le_bytes(*bytes.first_chunk().unwrap()) as usize;
    let mut header: Json = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    for name in [
        "config.json",
        "tokenizer.json",
        "modules.json",
        "1_Pooling/config.json",
    ] {
        header["__metadata__"][name] = json!(fs::read_to_string(fixture().join(name)).unwrap());
    }
    header["__metadata__"]["model.json"] = json!("{\"name\": \"kept\"}");
    let header = header.to_string();
    let mut whole = (header.len() as u64).to_le_bytes().to_vec();
    whole.extend(header.as_bytes());
    whole.extend(&bytes[8 + length..]);
    whole
}

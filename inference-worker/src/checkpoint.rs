//! What is loaded, and what is refused: sizes, digests, bounds and shapes are checked before anything is allocated.

use std::collections::HashMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use candle_core::{DType, Device};
use candle_nn::VarBuilder;
use candle_transformers::models::llama::{Config, Llama, LlamaConfig, LlamaEosToks};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use shared::inference::{Description, InferenceFault};
use tokenizers::Tokenizer;

const WEIGHTS: &str = "model.safetensors";
const CONFIG: &str = "config.json";
const TOKENIZER: &str = "tokenizer.json";
const MANIFEST: &str = "model.json";
/// Larger files are not for this first form of the worker.
const MAX_WEIGHTS_BYTES: u64 = 4 << 30;
const MAX_TEXT_BYTES: u64 = 64 << 20;

/// A model ready to run.
pub struct Checkpoint {
    pub model: Llama,
    pub config: Config,
    pub tokenizer: Tokenizer,
    /// Tokens that end a text.
    pub ends: Vec<u32>,
    pub description: Description,
    pub device: Device,
}

/// When the files last changed: a failed load is not tried again before they differ.
pub type Stamp = Vec<Option<(u64, SystemTime)>>;

#[derive(Deserialize)]
struct Manifest {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    files: HashMap<String, ManifestFile>,
}

#[derive(Deserialize)]
struct ManifestFile {
    bytes: u64,
    sha256: String,
}

/// The stamp of a model folder.
pub fn stamp(folder: &Path) -> Stamp {
    let look = |name: &&str| {
        let metadata = fs::metadata(folder.join(name)).ok()?;
        Some((metadata.len(), metadata.modified().ok()?))
    };
    [WEIGHTS, CONFIG, TOKENIZER, MANIFEST].iter().map(look).collect()
}

/// Loads a folder, or says which file is wrong and what to do.
pub fn load(folder: &Path) -> Result<Checkpoint, InferenceFault> {
    let begun = Instant::now();
    for name in [WEIGHTS, CONFIG, TOKENIZER] {
        if !folder.join(name).is_file() {
            return Err(InferenceFault {
                reason: "model_missing".into(),
                message: format!(
                    "{} does not exist; put a model there, or name one as [inference] model in steward.toml",
                    folder.join(name).display()
                ),
            });
        }
    }
    let manifest = read_manifest(folder)?;
    let read = |name: &str, most: u64| {
        let bytes = read_bounded(&folder.join(name), most)?;
        check_digest(&folder.join(name), &bytes, manifest.files.get(name))?;
        Ok::<_, InferenceFault>(bytes)
    };
    let config_path = folder.join(CONFIG);
    let llama: LlamaConfig = serde_json::from_slice(&read(CONFIG, MAX_TEXT_BYTES)?)
        .map_err(|error| damaged(&config_path, &error.to_string()))?;
    check_bounds(&config_path, &llama)?;
    let tokenizer_path = folder.join(TOKENIZER);
    let tokenizer = Tokenizer::from_bytes(read(TOKENIZER, MAX_TEXT_BYTES)?)
        .map_err(|error| damaged(&tokenizer_path, &error.to_string()))?;
    if tokenizer.get_vocab_size(true) > llama.vocab_size {
        return Err(damaged(
            &tokenizer_path,
            "it has more tokens than the model has embedding rows",
        ));
    }
    let weights_path = folder.join(WEIGHTS);
    let weights = read(WEIGHTS, MAX_WEIGHTS_BYTES)?;
    let parameters = check_tensors(&weights_path, &weights, &llama)?;
    let device = Device::Cpu;
    let ends = match &llama.eos_token_id {
        Some(LlamaEosToks::Single(id)) => vec![*id],
        Some(LlamaEosToks::Multiple(ids)) => ids.clone(),
        None => Vec::new(),
    };
    let config = llama.into_config(false);
    let model = VarBuilder::from_buffered_safetensors(weights, DType::F32, &device)
        .and_then(|variables| Llama::load(variables, &config))
        .map_err(|error| damaged(&weights_path, &error.to_string()))?;
    let description = Description {
        name: manifest.name.unwrap_or_else(|| {
            folder
                .file_name()
                .map(|name| name.to_string_lossy().into_owned())
                .unwrap_or_default()
        }),
        parameters,
        context_tokens: config.max_position_embeddings as u32,
        path: folder.display().to_string(),
        load_ms: begun.elapsed().as_millis() as u64,
    };
    Ok(Checkpoint {
        model,
        config,
        tokenizer,
        ends,
        description,
        device,
    })
}

fn read_manifest(folder: &Path) -> Result<Manifest, InferenceFault> {
    let path = folder.join(MANIFEST);
    if !path.exists() {
        return Ok(Manifest {
            name: None,
            files: HashMap::new(),
        });
    }
    serde_json::from_slice(&read_bounded(&path, MAX_TEXT_BYTES)?)
        .map_err(|error| damaged(&path, &error.to_string()))
}

fn read_bounded(path: &Path, most: u64) -> Result<Vec<u8>, InferenceFault> {
    let file = fs::File::open(path).map_err(|error| damaged(path, &error.to_string()))?;
    let mut bytes = Vec::new();
    file.take(most + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| damaged(path, &error.to_string()))?;
    if bytes.len() as u64 > most {
        return Err(damaged(path, &format!("it is larger than {most} bytes")));
    }
    Ok(bytes)
}

fn check_digest(path: &Path, bytes: &[u8], expected: Option<&ManifestFile>) -> Result<(), InferenceFault> {
    let Some(expected) = expected else { return Ok(()) };
    if bytes.len() as u64 != expected.bytes {
        return Err(damaged(
            path,
            &format!("it has {} bytes, {MANIFEST} says {}", bytes.len(), expected.bytes),
        ));
    }
    let digest: String = Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    if digest != expected.sha256 {
        return Err(damaged(
            path,
            &format!("its SHA-256 differs from the one in {MANIFEST}"),
        ));
    }
    Ok(())
}

/// Hostile sizes are refused before anything is allocated by them.
fn check_bounds(path: &Path, config: &LlamaConfig) -> Result<(), InferenceFault> {
    let heads = config.num_attention_heads;
    let key_value_heads = config.num_key_value_heads();
    let sane = (16..=16_384).contains(&config.hidden_size)
        && (16..=65_536).contains(&config.intermediate_size)
        && (2..=262_144).contains(&config.vocab_size)
        && (1..=256).contains(&config.num_hidden_layers)
        && (1..=256).contains(&heads)
        && (1..=heads).contains(&key_value_heads)
        && heads.is_multiple_of(key_value_heads)
        && config.hidden_size.is_multiple_of(2 * heads)
        && (16..=131_072).contains(&config.max_position_embeddings)
        && config.rms_norm_eps > 0.0
        && config.rms_norm_eps < 0.1
        && config.rope_theta >= 1.0;
    if sane {
        Ok(())
    } else {
        Err(damaged(path, "its sizes do not make a Llama model"))
    }
}

/// Names and shapes against the config; answers how many parameters there are.
fn check_tensors(path: &Path, weights: &[u8], config: &LlamaConfig) -> Result<u64, InferenceFault> {
    let tensors =
        safetensors::SafeTensors::deserialize(weights).map_err(|error| damaged(path, &error.to_string()))?;
    let (hidden, inner, vocabulary) = (config.hidden_size, config.intermediate_size, config.vocab_size);
    let key_value = hidden / config.num_attention_heads * config.num_key_value_heads();
    let check = |name: String, shape: &[usize]| {
        let tensor = tensors
            .tensor(&name)
            .map_err(|_| damaged(path, &format!("it lacks the tensor {name}")))?;
        if tensor.shape() != shape {
            return Err(damaged(
                path,
                &format!("{name} has shape {:?}, {CONFIG} needs {shape:?}", tensor.shape()),
            ));
        }
        Ok(())
    };
    check("model.embed_tokens.weight".into(), &[vocabulary, hidden])?;
    check("model.norm.weight".into(), &[hidden])?;
    if !config.tie_word_embeddings.unwrap_or(false) {
        check("lm_head.weight".into(), &[vocabulary, hidden])?;
    }
    for layer in 0..config.num_hidden_layers {
        let name = |part: &str| format!("model.layers.{layer}.{part}.weight");
        check(name("input_layernorm"), &[hidden])?;
        check(name("post_attention_layernorm"), &[hidden])?;
        check(name("self_attn.q_proj"), &[hidden, hidden])?;
        check(name("self_attn.k_proj"), &[key_value, hidden])?;
        check(name("self_attn.v_proj"), &[key_value, hidden])?;
        check(name("self_attn.o_proj"), &[hidden, hidden])?;
        check(name("mlp.gate_proj"), &[inner, hidden])?;
        check(name("mlp.up_proj"), &[inner, hidden])?;
        check(name("mlp.down_proj"), &[hidden, inner])?;
    }
    Ok(tensors
        .tensors()
        .iter()
        .map(|(_, tensor)| tensor.shape().iter().product::<usize>() as u64)
        .sum())
}

fn damaged(path: &Path, what: &str) -> InferenceFault {
    let path: PathBuf = path.to_path_buf();
    InferenceFault {
        reason: "model_damaged".into(),
        message: format!(
            "{} cannot be used: {what}; replace it with an intact copy",
            path.display()
        ),
    }
}

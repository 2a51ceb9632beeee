//! What is loaded, and what is refused: headers, sizes, shapes and the memory they need are checked before it is spent; numbers and
//! digests while they are read.
//!
//! Parts in reading order: `config` (config.json), `safetensors`, `gguf` (with `pieces`, its tokenizer), `stored` (a tensor in a file).

mod config;
pub mod digest;
mod gguf;
mod pieces;
pub mod safetensors;
pub mod stored;

use std::collections::HashMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use candle_core::quantized::GgmlDType;
use serde::Deserialize;
use shared::inference::{Description, InferenceFault};
use tokenizers::Tokenizer;

use crate::crew::Crew;
use crate::device;
use crate::device::place::Accelerator;
use crate::device::weights::Load;
use crate::kernel::Level;
use crate::kernel::tile::Format;
use crate::meters::METERS;
use crate::model::matrix::{Matrix, fitting, own_format, packed_bytes};
use crate::model::rope::{Scaling, speeds};
use crate::model::shape::Shape;
use crate::model::{Layer, Llama};
use config::{Architecture, Config};
use digest::{ManifestFile, Told, checked_beside};
use gguf::Gguf;
use stored::Stored;

const CONFIG: &str = "config.json";
const TOKENIZER: &str = "tokenizer.json";
const TOKENIZER_CONFIG: &str = "tokenizer_config.json";
const CHAT_TEMPLATE: &str = "chat_template.jinja";
const MANIFEST: &str = "model.json";
/// A GGUF file in a model folder, when there are no safetensors.
const GGUF: &str = "model.gguf";
pub const MAX_TEXT_BYTES: u64 = 64 << 20;

/// A model ready to run.
pub struct Checkpoint<M = Llama> {
    pub model: M,
    pub shape: Shape,
    pub tokenizer: Tokenizer,
    /// The token that begins a conversation, by its text, for the chat template.
    pub begin: Option<u32>,
    /// Tokens that end a text.
    pub ends: Vec<u32>,
    /// The model's own way to write a conversation, a Jinja template.
    pub chat_template: Option<String>,
    pub description: Description,
}

/// How weights are kept that the checkpoint has as plain numbers; quantised ones stay as they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Weights {
    /// As they are in the checkpoint.
    #[default]
    AsStored,
    /// 8 bits and a scale for each 32.
    #[value(name = "q8_0")]
    Q8_0,
    /// 4 bits with scales in blocks of 256, the last product 6 bits; q8_0 where a block does not fit.
    #[value(name = "q4_k")]
    Q4K,
}

/// When the files last changed: a failed load is not tried again before they differ.
pub type Stamp = Vec<Option<(u64, SystemTime)>>;

#[derive(Default, Deserialize)]
pub struct Manifest {
    #[serde(default)]
    pub name: Option<String>,
    #[serde(default)]
    pub files: HashMap<String, ManifestFile>,
    /// What it can do; not said of most models.
    #[serde(default)]
    pub abilities: Option<Vec<String>>,
}

/// What the card of a model folder says that the model can do.
pub fn abilities(model: &Path) -> Option<Vec<String>> {
    card(model)?.abilities
}

/// The SHA-256 that the card of a model folder tells of its weights, in hexadecimal; they were held to it when they were loaded.
pub fn weights_digest(model: &Path) -> Option<String> {
    card(model)?
        .files
        .get(safetensors::WEIGHTS)
        .map(|file| file.sha256().to_owned())
}

/// The card of a model folder, where it has one that can be read.
fn card(model: &Path) -> Option<Manifest> {
    let text = fs::read(model.join(MANIFEST)).ok()?;
    serde_json::from_slice(&text).ok()
}

/// The stamp of a model: a folder, or a GGUF file.
pub fn stamp(model: &Path) -> Stamp {
    let look = |path: PathBuf| {
        let metadata = fs::metadata(path).ok()?;
        Some((metadata.len(), metadata.modified().ok()?))
    };
    let names = [
        safetensors::WEIGHTS,
        safetensors::INDEX,
        GGUF,
        CONFIG,
        TOKENIZER,
        MANIFEST,
    ];
    let mut stamp: Stamp = names.iter().map(|name| look(model.join(name))).collect();
    stamp.push(look(model.to_owned()).filter(|_| model.is_file()));
    stamp
}

/// Loads a folder or a GGUF file, or says which file is wrong and what to do. The crew packs the weights, and runs the model then.
/// With a BLAKE3 hash it must be a file, and have it.
pub fn load(
    model: &Path,
    hash: Option<blake3::Hash>,
    weights: Weights,
    crew: Crew,
) -> Result<Checkpoint, InferenceFault> {
    let begun = Instant::now();
    Parts::of(model, hash)?.load(model, weights, begun, fits_in_memory, |plan| plan.pack(crew))
}

/// As [`load`], into the memory of an accelerator; the crew widens the weights on the way.
pub fn load_onto(
    accelerator: Accelerator,
    model: &Path,
    hash: Option<blake3::Hash>,
    crew: Crew,
) -> Result<Checkpoint<device::Llama>, InferenceFault> {
    let begun = Instant::now();
    let fits = |_| Ok(());
    Parts::of(model, hash)?.load(model, Weights::AsStored, begun, fits, |plan| {
        plan.load_onto(accelerator, crew)
    })
}

impl<M> Checkpoint<M> {
    /// The model, and all else.
    pub fn split(self) -> (M, Checkpoint<()>) {
        let rest = Checkpoint {
            model: (),
            shape: self.shape,
            tokenizer: self.tokenizer,
            begin: self.begin,
            ends: self.ends,
            chat_template: self.chat_template,
            description: self.description,
        };
        (self.model, rest)
    }
}

/// What a checkpoint is made of, before its weights are read.
struct Parts {
    /// Named in errors.
    weights_path: PathBuf,
    architecture: Architecture,
    tensors: HashMap<String, Stored>,
    tokenizer: Tokenizer,
    chat_template: Option<String>,
    name: Option<String>,
    /// Files whose digest is told, checked while the weights are packed.
    digests: Vec<(PathBuf, Told)>,
}

impl Parts {
    fn of(model: &Path, hash: Option<blake3::Hash>) -> Result<Parts, InferenceFault> {
        let gguf = if model.is_file() {
            model.to_owned()
        } else {
            model.join(GGUF)
        };
        if gguf.is_file() && !model.join(safetensors::WEIGHTS).exists() {
            return Parts::of_gguf(&gguf, hash);
        }
        if hash.is_some() && model.exists() {
            return Err(damaged(
                model,
                "it is no GGUF file, so it cannot have the one hash that is told",
            ));
        }
        Parts::of_folder(model)
    }

    fn of_folder(folder: &Path) -> Result<Parts, InferenceFault> {
        let files = safetensors::files(folder).map_err(|(path, what)| damaged(&path, &what))?;
        for path in files
            .iter()
            .cloned()
            .chain([folder.join(CONFIG), folder.join(TOKENIZER)])
        {
            if !path.is_file() {
                return Err(InferenceFault::new(
                    "model_missing",
                    format!(
                        "{} does not exist; put a model there, or name one as [inference] model in steward.toml",
                        path.display()
                    ),
                ));
            }
        }
        let mut manifest: Manifest = match folder.join(MANIFEST) {
            path if path.exists() => read_json(&path)?,
            _ => Manifest::default(),
        };
        let config: Config = read_json(&folder.join(CONFIG))?;
        let architecture = config
            .architecture()
            .map_err(|what| damaged(&folder.join(CONFIG), &what))?;
        let tokenizer_path = folder.join(TOKENIZER);
        let tokenizer = read_bounded(&tokenizer_path, MAX_TEXT_BYTES)
            .and_then(|bytes| Tokenizer::from_bytes(bytes).map_err(|error| error.to_string()))
            .map_err(|what| damaged(&tokenizer_path, &what))?;
        let mut tensors = HashMap::new();
        for path in &files {
            tensors.extend(safetensors::read(path).map_err(|what| damaged(path, &what))?);
        }
        let names = [CONFIG, TOKENIZER].into_iter().map(|name| folder.join(name));
        let digests = files.iter().cloned().chain(names).filter_map(|path| {
            let name = path.file_name()?.to_str()?.to_owned();
            Some((path, Told::Sha256(manifest.files.remove(&name)?)))
        });
        Ok(Parts {
            digests: digests.collect(),
            weights_path: files.into_iter().next().unwrap_or_default(),
            architecture,
            tensors,
            tokenizer,
            chat_template: chat_template(folder)?,
            name: manifest.name,
        })
    }

    fn of_gguf(path: &Path, hash: Option<blake3::Hash>) -> Result<Parts, InferenceFault> {
        let wrong = |what: String| damaged(path, &what);
        let file = Gguf::open(path).map_err(wrong)?;
        let mut architecture = file.architecture().map_err(wrong)?;
        let tensors = file.tensors(&architecture.shape).map_err(wrong)?;
        if let Some(scaling) = file.divisors(&tensors, &architecture.shape).map_err(wrong)? {
            architecture.scaling = scaling;
        }
        Ok(Parts {
            weights_path: path.to_owned(),
            tokenizer: file.tokenizer().map_err(wrong)?,
            chat_template: file.chat_template().map(str::to_owned),
            name: file.name().map(str::to_owned),
            architecture,
            tensors,
            digests: hash
                .map(|hash| (path.to_owned(), Told::Blake3(hash)))
                .into_iter()
                .collect(),
        })
    }

    /// `fits` is asked whether so many bytes of packed weights have room before `make` makes the model.
    fn load<M>(
        self,
        model: &Path,
        weights: Weights,
        begun: Instant,
        fits: impl FnOnce(u64) -> Result<(), String>,
        make: impl FnOnce(&Plan<'_>) -> Result<M, String>,
    ) -> Result<Checkpoint<M>, InferenceFault> {
        let wrong = |what: String| damaged(&self.weights_path, &what);
        let shape = self.architecture.shape;
        has_rows(&self.tokenizer, shape.vocabulary).map_err(wrong)?;
        let plan = Plan {
            tensors: &self.tensors,
            architecture: &self.architecture,
            weights,
        };
        plan.check().and_then(fits).map_err(wrong)?;
        METERS.begin_loading(self.tensors.values().map(Stored::bytes).sum());
        let made = checked_beside(&self.weights_path, &self.digests, || make(&plan));
        METERS.end_loading();
        let made = made?.map_err(wrong)?;
        let description = Description {
            name: self.name.unwrap_or_else(|| name_of(model)),
            parameters: self.tensors.values().map(Stored::elements).sum(),
            context_tokens: shape.context_tokens as u32,
            path: model.display().to_string(),
            load_ms: begun.elapsed().as_millis() as u64,
        };
        Ok(Checkpoint {
            model: made,
            shape,
            tokenizer: self.tokenizer,
            begin: self.architecture.begin,
            ends: self.architecture.ends,
            chat_template: self.chat_template,
            description,
        })
    }
}

/// Which tensor becomes what.
struct Plan<'a> {
    tensors: &'a HashMap<String, Stored>,
    architecture: &'a Architecture,
    weights: Weights,
}

pub const EMBEDDING: &str = "model.embed_tokens.weight";
pub const HEAD: &str = "lm_head.weight";
pub const NORM: &str = "model.norm.weight";

impl Plan<'_> {
    /// Names and shapes against the configuration; the memory that they take as the kernels read them.
    fn check(&self) -> Result<u64, String> {
        let mut bytes = 0;
        for (name, wanted) in self.wanted() {
            let stored = self
                .tensors
                .get(&name)
                .ok_or_else(|| format!("it lacks the tensor {name}"))?;
            stored.has_shape(&name, &wanted)?;
            let format = self.format(&name, stored);
            if let [rows, columns] = *wanted {
                bytes += packed_bytes(format, rows, columns);
            }
        }
        Ok(bytes)
    }

    fn wanted(&self) -> Vec<(String, Vec<usize>)> {
        let shape = self.architecture.shape;
        let queries = shape.heads * shape.head_dimension;
        let keys = shape.key_value_heads * shape.head_dimension;
        let (hidden, inner) = (shape.hidden, shape.inner);
        let mut wanted = vec![
            (EMBEDDING.to_owned(), vec![shape.vocabulary, hidden]),
            (NORM.to_owned(), vec![hidden]),
        ];
        if !self.architecture.is_tied {
            wanted.push((HEAD.to_owned(), vec![shape.vocabulary, hidden]));
        }
        for layer in 0..shape.layers {
            for (part, size) in [
                ("input_layernorm", vec![hidden]),
                ("post_attention_layernorm", vec![hidden]),
                ("self_attn.q_proj", vec![queries, hidden]),
                ("self_attn.k_proj", vec![keys, hidden]),
                ("self_attn.v_proj", vec![keys, hidden]),
                ("self_attn.o_proj", vec![hidden, queries]),
                ("mlp.gate_proj", vec![inner, hidden]),
                ("mlp.up_proj", vec![inner, hidden]),
                ("mlp.down_proj", vec![hidden, inner]),
            ] {
                wanted.push((format!("model.layers.{layer}.{part}.weight"), size));
            }
        }
        wanted
    }

    fn format(&self, name: &str, stored: &Stored) -> Format {
        let columns = stored.shape.last().copied().unwrap_or(0);
        let is_plain = matches!(stored.kind, GgmlDType::F32 | GgmlDType::F16 | GgmlDType::BF16);
        let is_last = name == HEAD || name == EMBEDDING && self.architecture.is_tied;
        match self.weights {
            Weights::Q8_0 if is_plain => fitting(Format::Q8_0, columns),
            Weights::Q4K if is_plain && is_last => fitting(Format::Q6K, columns),
            Weights::Q4K if is_plain => fitting(Format::Q4K, columns),
            _ => own_format(stored.kind, columns),
        }
    }

    fn load_onto(&self, accelerator: Accelerator, crew: Crew) -> Result<device::Llama, String> {
        let Architecture { shape, .. } = *self.architecture;
        let scaling: &Scaling = &self.architecture.scaling;
        let load = Load {
            tensors: self.tensors,
            shape,
            is_tied: self.architecture.is_tied,
            rope_speeds: speeds(shape.head_dimension, self.architecture.rope_base, scaling),
            crew,
        };
        load.onto(accelerator)
    }

    fn pack(&self, crew: Crew) -> Result<Llama, String> {
        let find = |name: &str| {
            self.tensors
                .get(name)
                .ok_or_else(|| format!("it lacks the tensor {name}"))
        };
        let matrix = |name: &str| {
            let stored = find(name)?;
            let matrix = Matrix::pack(&crew, stored, self.format(name, stored));
            METERS.loaded(stored.bytes());
            matrix.map_err(|what| format!("{name}: {what}"))
        };
        let vector = |name: &str| find(name)?.plain().map_err(|what| format!("{name}: {what}"));
        let Architecture { shape, .. } = *self.architecture;
        let layers = (0..shape.layers).map(|layer| {
            let name = |part: &str| format!("model.layers.{layer}.{part}.weight");
            Ok(Layer {
                input_layernorm: vector(&name("input_layernorm"))?,
                q_proj: matrix(&name("self_attn.q_proj"))?,
                k_proj: matrix(&name("self_attn.k_proj"))?,
                v_proj: matrix(&name("self_attn.v_proj"))?,
                o_proj: matrix(&name("self_attn.o_proj"))?,
                post_attention_layernorm: vector(&name("post_attention_layernorm"))?,
                gate_proj: matrix(&name("mlp.gate_proj"))?,
                up_proj: matrix(&name("mlp.up_proj"))?,
                down_proj: matrix(&name("mlp.down_proj"))?,
            })
        });
        let layers = layers.collect::<Result<Vec<_>, String>>()?;
        let scaling: &Scaling = &self.architecture.scaling;
        Ok(Llama {
            embed_tokens: matrix(EMBEDDING)?,
            layers,
            norm: vector(NORM)?,
            lm_head: if self.architecture.is_tied {
                None
            } else {
                Some(matrix(HEAD)?)
            },
            rope_speeds: speeds(shape.head_dimension, self.architecture.rope_base, scaling),
            level: Level::best(),
            shape,
            crew,
        })
    }
}

/// The template in its own file, or in tokenizer_config.json.
fn chat_template(folder: &Path) -> Result<Option<String>, InferenceFault> {
    #[derive(Deserialize)]
    struct TokenizerConfig {
        chat_template: Option<serde_json::Value>,
    }
    let own = folder.join(CHAT_TEMPLATE);
    if own.is_file() {
        let bytes = read_bounded(&own, MAX_TEXT_BYTES).map_err(|what| damaged(&own, &what))?;
        return Ok(Some(String::from_utf8_lossy(&bytes).into_owned()));
    }
    let path = folder.join(TOKENIZER_CONFIG);
    if !path.is_file() {
        return Ok(None);
    }
    let config: TokenizerConfig = read_json(&path)?;
    Ok(config
        .chat_template
        .and_then(|template| template.as_str().map(str::to_owned)))
}

/// A model without a name of its own has that of its file or folder.
pub fn name_of(model: &Path) -> String {
    let name = model.file_stem().map(|name| name.to_string_lossy().into_owned());
    name.unwrap_or_default()
}

/// Each of the tokenizer's tokens has a row of the embedding.
pub fn has_rows(tokenizer: &Tokenizer, rows: usize) -> Result<(), String> {
    match tokenizer.get_vocab_size(true) > rows {
        true => Err("its tokenizer has more tokens than the model has embedding rows".into()),
        false => Ok(()),
    }
}

/// Weights of so many bytes against what the machine has left.
pub fn fits_in_memory(bytes: u64) -> Result<(), String> {
    match available_bytes() {
        Some(available) if bytes > available => Err(format!(
            "its weights need {} MiB, {} MiB of memory are left",
            bytes >> 20,
            available >> 20
        )),
        _ => Ok(()),
    }
}

/// Of Linux; elsewhere nothing is known, and nothing is refused for it.
fn available_bytes() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("MemAvailable:"))?;
    let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes << 10)
}

fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, InferenceFault> {
    read_bounded(path, MAX_TEXT_BYTES)
        .and_then(|bytes| serde_json::from_slice(&bytes).map_err(|error| error.to_string()))
        .map_err(|what| damaged(path, &what))
}

/// A whole file of at most `most` bytes.
pub fn read_bounded(path: &Path, most: u64) -> Result<Vec<u8>, String> {
    let file = fs::File::open(path).map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    file.take(most + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| error.to_string())?;
    if bytes.len() as u64 > most {
        return Err(format!("it is larger than {most} bytes"));
    }
    Ok(bytes)
}

pub fn damaged(path: &Path, what: &str) -> InferenceFault {
    InferenceFault::new(
        "model_damaged",
        format!(
            "{} cannot be used: {what}; replace it with an intact copy",
            path.display()
        ),
    )
}

#[cfg(test)]
mod tests;

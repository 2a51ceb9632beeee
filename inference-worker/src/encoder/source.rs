//! The files of an encoder: a folder, or one safetensors file whose `__metadata__` holds the others by their names, which an image keeps
//! as one blob.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use shared::inference::{Embedder, InferenceFault};
use tokenizers::{Tokenizer, TruncationParams};

use super::bert::{Bert, Linear, Norm, Weights};
use super::settings::{Settings, Sizes};
use crate::checkpoint::digest::{Told, checked_beside};
use crate::checkpoint::stored::Stored;
use crate::checkpoint::{
    MAX_TEXT_BYTES, Manifest, damaged, fits_in_memory, has_rows, name_of, read_bounded, safetensors,
};
use crate::crew::Crew;
use crate::kernel::Level;
use crate::kernel::tile::{Format, ROWS};
use crate::model::matrix::{Matrix, Rows, packed_bytes};

const TOKENIZER: &str = "tokenizer.json";
const MANIFEST: &str = "model.json";

/// A loaded encoder.
pub struct Loaded {
    pub bert: Bert,
    /// Cuts nothing and fills nothing up.
    pub tokenizer: Tokenizer,
    pub settings: Settings,
    pub description: Embedder,
}

/// Where the files are.
pub enum Source {
    Folder(PathBuf),
    File(HashMap<String, String>),
}

impl Source {
    /// The bytes of one file, if there is one of this name.
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>, String> {
        is_inside(name)?;
        match self {
            Source::File(words) => Ok(words.get(name).map(|text| text.clone().into_bytes())),
            Source::Folder(folder) => {
                let path = folder.join(name);
                if !path.is_file() {
                    return Ok(None);
                }
                read_bounded(&path, MAX_TEXT_BYTES)
                    .map(Some)
                    .map_err(|what| format!("{name}: {what}"))
            }
        }
    }
}

/// A name cannot lead out of the folder.
fn is_inside(name: &str) -> Result<(), String> {
    if name.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(format!("{name:?} is not in this folder"));
    }
    Ok(())
}

/// Loads a folder or a file, or says what is wrong with it and what to do.
pub fn load(model: &Path, hash: Option<blake3::Hash>, crew: Crew) -> Result<Loaded, InferenceFault> {
    let begun = Instant::now();
    if hash.is_some() && model.is_dir() {
        return Err(damaged(
            model,
            "it is a folder, so it cannot have the one hash that is told",
        ));
    }
    let weights = if model.is_file() {
        model.to_owned()
    } else {
        model.join(safetensors::WEIGHTS)
    };
    if !weights.is_file() {
        return Err(InferenceFault::new(
            "model_missing",
            format!(
                "{} does not exist; fetch an embedder by ./scripts/embedding-model, or name another as [inference] embedder in steward.toml",
                weights.display()
            ),
        ));
    }
    let wrong = |what: String| damaged(model, &what);
    let (tensors, words) =
        safetensors::read_with_metadata(&weights).map_err(|what| damaged(&weights, &what))?;
    let source = if model.is_file() {
        Source::File(words)
    } else {
        Source::Folder(model.to_owned())
    };
    let settings = Settings::of(&source).map_err(wrong)?;
    let tokenizer = tokenizer(&source, &settings).map_err(wrong)?;
    let mut manifest: Manifest = match source.read(MANIFEST).map_err(wrong)? {
        Some(bytes) => {
            serde_json::from_slice(&bytes).map_err(|error| wrong(format!("{MANIFEST}: {error}")))?
        }
        None => Manifest::default(),
    };
    manifest
        .files
        .keys()
        .try_for_each(|name| is_inside(name))
        .map_err(wrong)?;
    let plan = Plan {
        prefix: if tensors.keys().any(|name| name.starts_with("bert.")) {
            "bert."
        } else {
            ""
        },
        tensors: &tensors,
        sizes: settings.sizes,
    };
    plan.check().map_err(wrong)?;
    let digests: Vec<(PathBuf, Told)> = match hash {
        Some(hash) => vec![(model.to_owned(), Told::Blake3(hash))],
        None if model.is_dir() => {
            let files = std::mem::take(&mut manifest.files).into_iter();
            files
                .map(|(name, told)| (model.join(name), Told::Sha256(told)))
                .collect()
        }
        None => Vec::new(),
    };
    let weights = checked_beside(model, &digests, || plan.weights(&crew))?;
    let bert = Bert {
        sizes: settings.sizes,
        pooling: settings.pooling,
        weights: weights.map_err(wrong)?,
        level: Level::best(),
        crew,
    };
    Ok(Loaded {
        bert,
        tokenizer,
        description: Embedder {
            name: manifest.name.unwrap_or_else(|| name_of(model)),
            dimension: settings.sizes.hidden as u32,
            most_tokens: settings.most_tokens as u32,
            path: model.display().to_string(),
            load_ms: begun.elapsed().as_millis() as u64,
        },
        settings,
    })
}

/// The tokenizer, told to cut where this encoder ends and not where the file says; nothing is filled up: a batch has rows, not columns.
fn tokenizer(source: &Source, settings: &Settings) -> Result<Tokenizer, String> {
    let bytes = source
        .read(TOKENIZER)?
        .ok_or_else(|| format!("it lacks {TOKENIZER}"))?;
    let mut tokenizer = Tokenizer::from_bytes(bytes).map_err(|error| format!("{TOKENIZER}: {error}"))?;
    has_rows(&tokenizer, settings.sizes.vocabulary)?;
    tokenizer.with_padding(None);
    let cut = TruncationParams {
        max_length: settings.most_tokens,
        ..TruncationParams::default()
    };
    tokenizer
        .with_truncation(Some(cut))
        .map_err(|error| format!("{TOKENIZER}: {error}"))?;
    Ok(tokenizer)
}

/// Which tensor becomes what.
struct Plan<'a> {
    tensors: &'a HashMap<String, Stored>,
    prefix: &'static str,
    sizes: Sizes,
}

impl Plan<'_> {
    /// Names and shapes against the configuration, and the memory for them against what the machine has.
    fn check(&self) -> Result<(), String> {
        let mut bytes = 0;
        for (name, wanted) in self.wanted() {
            let stored = self.find(&name)?;
            stored.has_shape(&name, &wanted)?;
            bytes += match *wanted {
                [rows, columns] => packed_bytes(Format::F32, rows, columns),
                _ => 0,
            };
        }
        fits_in_memory(bytes)
    }

    fn wanted(&self) -> Vec<(String, Vec<usize>)> {
        let Sizes { hidden, inner, .. } = self.sizes;
        let mut wanted = vec![
            (
                "embeddings.word_embeddings.weight".to_owned(),
                vec![self.sizes.vocabulary, hidden],
            ),
            (
                "embeddings.position_embeddings.weight".to_owned(),
                vec![self.sizes.positions, hidden],
            ),
            (
                "embeddings.token_type_embeddings.weight".to_owned(),
                vec![self.sizes.kinds, hidden],
            ),
            ("embeddings.LayerNorm.weight".to_owned(), vec![hidden]),
            ("embeddings.LayerNorm.bias".to_owned(), vec![hidden]),
        ];
        for layer in 0..self.sizes.layers {
            for (part, rows, columns) in [
                ("attention.self.query", hidden, hidden),
                ("attention.self.key", hidden, hidden),
                ("attention.self.value", hidden, hidden),
                ("attention.output.dense", hidden, hidden),
                ("intermediate.dense", inner, hidden),
                ("output.dense", hidden, inner),
            ] {
                let name = format!("encoder.layer.{layer}.{part}");
                wanted.push((format!("{name}.weight"), vec![rows, columns]));
                wanted.push((format!("{name}.bias"), vec![rows]));
            }
            for part in ["attention.output.LayerNorm", "output.LayerNorm"] {
                for kind in ["weight", "bias"] {
                    wanted.push((format!("encoder.layer.{layer}.{part}.{kind}"), vec![hidden]));
                }
            }
        }
        wanted
    }

    fn find(&self, name: &str) -> Result<&Stored, String> {
        self.tensors
            .get(&format!("{}{name}", self.prefix))
            .ok_or_else(|| format!("it lacks the tensor {}{name}", self.prefix))
    }

    fn weights(&self, crew: &Crew) -> Result<Weights, String> {
        let vector = |name: &str| self.find(name)?.plain().map_err(|what| format!("{name}: {what}"));
        let norm = |name: &str| {
            Ok::<_, String>(Norm {
                weight: vector(&format!("{name}.weight"))?,
                bias: vector(&format!("{name}.bias"))?,
            })
        };
        let linear = |name: &str| {
            let stored = self.find(&format!("{name}.weight"))?;
            let bias = vector(&format!("{name}.bias"))?;
            let mut tiles = vec![[0.0; ROWS]; bias.len().div_ceil(ROWS)];
            tiles.as_flattened_mut()[..bias.len()].copy_from_slice(&bias);
            Ok::<_, String>(Linear {
                weight: Matrix::pack(crew, stored, Format::F32).map_err(|what| format!("{name}: {what}"))?,
                bias: tiles,
            })
        };
        let layers = (0..self.sizes.layers).map(|layer| {
            let name = |part: &str| format!("encoder.layer.{layer}.{part}");
            Ok(super::bert::Layer {
                query: linear(&name("attention.self.query"))?,
                key: linear(&name("attention.self.key"))?,
                value: linear(&name("attention.self.value"))?,
                attention_output: linear(&name("attention.output.dense"))?,
                attention_norm: norm(&name("attention.output.LayerNorm"))?,
                intermediate: linear(&name("intermediate.dense"))?,
                output: linear(&name("output.dense"))?,
                output_norm: norm(&name("output.LayerNorm"))?,
            })
        });
        let table = |name: &str| {
            let stored = self.find(name)?;
            let mut values = Vec::with_capacity(stored.elements() as usize);
            for row in 0..stored.rows() {
                let row = stored.plain_row(row).map_err(|what| format!("{name}: {what}"))?;
                values.extend(row);
            }
            Ok::<_, String>(values)
        };
        // Every text is of the first kind: its row is added to each position's.
        let mut positions = table("embeddings.position_embeddings.weight")?;
        let kinds = table("embeddings.token_type_embeddings.weight")?;
        for position in positions.chunks_mut(self.sizes.hidden) {
            position
                .iter_mut()
                .zip(&kinds)
                .for_each(|(value, kind)| *value += kind);
        }
        Ok(Weights {
            words: table("embeddings.word_embeddings.weight")?,
            positions,
            norm: norm("embeddings.LayerNorm")?,
            layers: layers.collect::<Result<Vec<_>, String>>()?,
        })
    }
}

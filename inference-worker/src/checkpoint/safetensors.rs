//! Tensors of a folder's safetensors: one file, or several that `model.safetensors.index.json` names.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::quantized::GgmlDType;
use safetensors::Dtype;
use safetensors::tensor::Metadata;
use serde::Deserialize;

use super::stored::{Order, Stored};

pub const WEIGHTS: &str = "model.safetensors";
pub const INDEX: &str = "model.safetensors.index.json";
/// Of names and shapes; the largest real models need some 200 kB.
const MAX_HEADER_BYTES: u64 = 16 << 20;
const MAX_FILES: usize = 1_000;

#[derive(Deserialize)]
struct Index {
    weight_map: HashMap<String, String>,
}

/// The files of a folder's weights. Fails with the file that is wrong and why.
pub fn files(folder: &Path) -> Result<Vec<PathBuf>, (PathBuf, String)> {
    let index = folder.join(INDEX);
    if folder.join(WEIGHTS).exists() || !index.exists() {
        return Ok(vec![folder.join(WEIGHTS)]);
    }
    let fail = |what: String| (index.clone(), what);
    let bytes = super::read_bounded(&index, MAX_HEADER_BYTES).map_err(fail)?;
    let parsed: Index = serde_json::from_slice(&bytes).map_err(|error| fail(error.to_string()))?;
    let names: BTreeSet<String> = parsed.weight_map.into_values().collect();
    if names.is_empty() || names.len() > MAX_FILES {
        return Err(fail(format!("it names {} files", names.len())));
    }
    if let Some(name) = names
        .iter()
        .find(|name| name.contains('/') || name.contains(".."))
    {
        return Err(fail(format!("it names {name}, which is not in this folder")));
    }
    Ok(names.into_iter().map(|name| folder.join(name)).collect())
}

/// Tensors by name.
pub type Tensors = HashMap<String, Stored>;

/// The tensors of one file by name.
pub fn read(path: &Path) -> Result<Tensors, String> {
    read_with_metadata(path).map(|(tensors, _)| tensors)
}

/// The tensors of one file, and the texts that its header holds beside them.
pub fn read_with_metadata(path: &Path) -> Result<(Tensors, HashMap<String, String>), String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    let length = file.metadata().map_err(|error| error.to_string())?.len();
    let mut first = [0; 8];
    file.read_exact_at(&mut first, 0)
        .map_err(|_| "it is too short to be a safetensors file".to_owned())?;
    let header_bytes = u64::from_le_bytes(first);
    if header_bytes > MAX_HEADER_BYTES || header_bytes + 8 > length {
        return Err(format!(
            "its header claims {header_bytes} bytes, the file has {length}"
        ));
    }
    let mut header = vec![0; header_bytes as usize];
    file.read_exact_at(&mut header, 8)
        .map_err(|error| error.to_string())?;
    // Offsets follow one another and agree with shapes and types: the crate looks at that. The file's length is ours to look at.
    let metadata: Metadata = serde_json::from_slice(&header).map_err(|error| error.to_string())?;
    let file = Arc::new(file);
    let mut tensors = HashMap::new();
    for (name, info) in metadata.tensors() {
        let kind = match info.dtype {
            Dtype::F32 => GgmlDType::F32,
            Dtype::F16 => GgmlDType::F16,
            Dtype::BF16 => GgmlDType::BF16,
            // Older BERT checkpoints number their positions; nothing needs that.
            _ if name.ends_with("position_ids") => continue,
            other => {
                return Err(format!(
                    "{name} has numbers of type {other:?}; F32, F16 and BF16 are known"
                ));
            }
        };
        let (from, to) = info.data_offsets;
        let end = (header_bytes + 8).checked_add(to as u64);
        if end.is_none_or(|end| end > length) {
            return Err(format!(
                "{name} would end after the file's {length} bytes: it is truncated"
            ));
        }
        let stored = Stored {
            file: file.clone(),
            offset: header_bytes + 8 + from as u64,
            kind,
            shape: info.shape.clone(),
            order: Order::AsIs,
        };
        tensors.insert(name.clone(), stored);
    }
    Ok((tensors, metadata.metadata().clone().unwrap_or_default()))
}

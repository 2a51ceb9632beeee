//! An adapter that lies in a folder or a file of its own, as a request names it.

use std::fs::{self, File};
use std::path::Path;

use anyhow::{Context, bail};
use shared::inference::{Adapter, Contents};

use super::config::MAX_BYTES;

const CONFIG: &str = "adapter_config.json";
const WEIGHTS: &str = "adapter_model.safetensors";

/// Reads what names it; `alpha` is for weights that do not tell it.
pub fn adapter(path: &Path, alpha: Option<f64>) -> anyhow::Result<Adapter> {
    let (weights, config) = if path.is_dir() {
        let weights = path.join(WEIGHTS);
        if !weights.exists() && path.join("adapter_model.bin").exists() {
            bail!(
                "{} holds adapter_model.bin, a pickle, which is a program; save it as safetensors",
                path.display()
            );
        }
        (weights, Some(path.join(CONFIG)).filter(|config| config.exists()))
    } else {
        (path.to_owned(), None)
    };
    let config = match (config, alpha) {
        (Some(config), _) => {
            let length = fs::metadata(&config).map_or(0, |data| data.len());
            if length > MAX_BYTES as u64 {
                bail!("{} has {length} bytes, {MAX_BYTES} at most", config.display());
            }
            fs::read_to_string(&config).with_context(|| config.display().to_string())?
        }
        (None, Some(alpha)) => format!("{{\"lora_alpha\":{alpha}}}"),
        (None, None) => String::new(),
    };
    let weights = fs::canonicalize(&weights).with_context(|| weights.display().to_string())?;
    let mut hasher = blake3::Hasher::new();
    let file = File::open(&weights)?;
    let bytes = file.metadata()?.len();
    hasher
        .update_reader(file)
        .with_context(|| weights.display().to_string())?;
    let name = path.file_stem().map(|name| name.to_string_lossy().into_owned());
    Ok(Adapter {
        name: name.unwrap_or_else(|| "adapter".into()),
        generation: 1,
        config,
        weights: Contents {
            path: weights.display().to_string(),
            digest: *hasher.finalize().as_bytes(),
            bytes,
        },
    })
}

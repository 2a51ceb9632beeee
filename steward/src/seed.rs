//! The shipped seed model, staged into the home at first start.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use tracing::{info, warn};

use crate::durable;
use crate::succession;

/// Copies the shipped model to `<models>/seed` when nothing is there. Says why when it could not: the system runs without
/// a model, it only cannot think.
pub fn stage(models: &Path) -> Result<(), String> {
    let target = models.join("seed");
    remove_leftovers(models);
    if target.exists() {
        return Ok(());
    }
    let source = source()?;
    match copy(&source, models, &target) {
        Ok(bytes) => {
            info!(source = %source.display(), bytes, "seed model staged");
            Ok(())
        }
        Err(error) => Err(format!(
            "cannot copy the seed model {} to {}: {error}",
            source.display(),
            target.display()
        )),
    }
}

/// `$BATOS_SEED`, else `../share/batos/seed` beside the program, else `inference-worker/seed/model` of the checkout that
/// the program was built in.
fn source() -> Result<PathBuf, String> {
    if let Some(given) = std::env::var_os("BATOS_SEED").filter(|value| !value.is_empty()) {
        let given = PathBuf::from(given);
        return if is_model(&given) {
            Ok(given)
        } else {
            Err(format!(
                "$BATOS_SEED names {}, which holds no model",
                given.display()
            ))
        };
    }
    let programs = succession::programs().map_err(|error| format!("where this program is: {error}"))?;
    let program = programs.join("steward");
    let installed = program
        .ancestors()
        .nth(2)
        .map(|prefix| prefix.join("share/batos/seed"));
    let checkouts = program
        .ancestors()
        .skip(1)
        .map(|folder| folder.join("inference-worker/seed/model"));
    installed.into_iter().chain(checkouts).find(|folder| is_model(folder)).ok_or_else(|| {
        "no seed model was shipped with this program; put a model into models/seed of the home, or name one in \
         steward.toml (inference.model)"
            .to_owned()
    })
}

/// True for a folder with a tokenizer and weights. An unfinished one must not be staged for good.
fn is_model(folder: &Path) -> bool {
    let Ok(entries) = fs::read_dir(folder) else {
        return false;
    };
    let names: Vec<_> = entries
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    let has = |end: &str| names.iter().any(|name| name.ends_with(end));
    has(".gguf") || (has(".safetensors") && has("tokenizer.json"))
}

fn copy(source: &Path, models: &Path, target: &Path) -> io::Result<u64> {
    let temporary = models.join(format!(".seed-{}.new", std::process::id()));
    fs::create_dir(&temporary)?;
    let mut bytes = 0;
    for entry in fs::read_dir(source)? {
        let entry = entry?;
        if fs::metadata(entry.path())?.is_file() {
            let to = temporary.join(entry.file_name());
            bytes += fs::copy(entry.path(), &to)?;
            File::open(&to)?.sync_all()?;
        }
    }
    durable::sync_folder(&temporary)?;
    fs::rename(&temporary, target)?;
    durable::sync_folder(models)?;
    Ok(bytes)
}

fn remove_leftovers(models: &Path) {
    for entry in fs::read_dir(models).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with(".seed-")
            && name.ends_with(".new")
            && let Err(error) = fs::remove_dir_all(entry.path())
        {
            warn!("cannot remove {}: {error}", entry.path().display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_copied_whole_and_an_unfinished_one_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let (source, models) = (folder.path().join("source"), folder.path().join("models"));
        fs::create_dir_all(&source).unwrap();
        fs::create_dir_all(models.join(".seed-1.new")).unwrap();
        fs::write(source.join("tokenizer.json"), "{}").unwrap();
        assert!(!is_model(&source));
        fs::write(source.join("model.safetensors"), "weights").unwrap();
        assert!(is_model(&source));
        remove_leftovers(&models);
        assert_eq!(copy(&source, &models, &models.join("seed")).unwrap(), 9);
        let names: Vec<_> = fs::read_dir(&models)
            .unwrap()
            .flatten()
            .map(|entry| entry.file_name())
            .collect();
        assert_eq!(names, ["seed"]);
    }
}

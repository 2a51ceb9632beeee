//! What is told of a file beside it: its digest, checked while the weights are packed, for both take as long as the disk.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sha2::{Digest, Sha256};
use shared::inference::InferenceFault;

use super::{MANIFEST, damaged};

#[derive(Deserialize)]
pub struct ManifestFile {
    bytes: u64,
    sha256: String,
}

impl ManifestFile {
    pub fn sha256(&self) -> &str {
        &self.sha256
    }
}

/// What is told of a file beside it.
pub enum Told {
    Sha256(ManifestFile),
    Blake3(blake3::Hash),
}

/// What `work` makes, where each file has the digest that is told of it.
pub fn checked_beside<T>(
    model: &Path,
    digests: &[(PathBuf, Told)],
    work: impl FnOnce() -> T,
) -> Result<T, InferenceFault> {
    let (made, checked) = std::thread::scope(|scope| {
        let checked = scope.spawn(|| digests.iter().try_for_each(|(path, told)| check(path, told)));
        (work(), checked.join())
    });
    checked.unwrap_or_else(|_| Err(damaged(model, "its digest could not be made")))?;
    Ok(made)
}

fn check(path: &Path, told: &Told) -> Result<(), InferenceFault> {
    let wrong = |what: &str| damaged(path, what);
    let mut file = fs::File::open(path).map_err(|error| wrong(&error.to_string()))?;
    let told = match told {
        Told::Sha256(told) => told,
        Told::Blake3(told) => {
            let mut hasher = blake3::Hasher::new();
            hasher
                .update_reader(file)
                .map_err(|error| wrong(&error.to_string()))?;
            return match hasher.finalize() == *told {
                true => Ok(()),
                false => Err(wrong("its content has another hash than the one that names it")),
            };
        }
    };
    let bytes = file.metadata().map_err(|error| wrong(&error.to_string()))?.len();
    if bytes != told.bytes {
        return Err(wrong(&format!(
            "it has {bytes} bytes, {MANIFEST} says {}",
            told.bytes
        )));
    }
    let mut digest = Sha256::new();
    std::io::copy(&mut file, &mut digest).map_err(|error| wrong(&error.to_string()))?;
    let digest: String = digest
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    if digest != told.sha256 {
        return Err(wrong(&format!("its SHA-256 differs from the one in {MANIFEST}")));
    }
    Ok(())
}

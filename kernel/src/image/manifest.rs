//! What a backup says about itself: `manifest.json`. The form is told in `docs/image-format.md`.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::blob::{digest_of, relative_path};

/// Raised when a backup changes incompatibly.
pub const FORMAT: u32 = 2;
const NAME: &str = "manifest.json";

/// Everything of a backup. It is written last, so a backup that has one is whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    pub format: u32,
    /// The image's id, in hexadecimal.
    pub image: String,
    /// The transaction that the backup ends at, and the chain hash after it.
    pub last: u64,
    pub chain: String,
    pub unix_ms: u64,
    /// The version of the kernel that wrote it.
    pub kernel: String,
    pub files: Vec<ManifestFile>,
    pub blobs: Vec<ManifestBlob>,
    /// Blobs that are damaged in the image and therefore not here.
    pub damaged: Vec<String>,
    /// The BLAKE3 hash of this document, compact and with this field empty. Format 1 had none.
    #[serde(default)]
    pub seal: String,
}

/// A file of the log or of a branch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestFile {
    /// In the image; the file of the backup may be longer by what a backup that did not end has added.
    pub path: String,
    pub bytes: u64,
    pub blake3: String,
    /// Of a log segment: its last transaction and the chain hash after it.
    pub end: Option<ManifestEnd>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestEnd {
    pub transaction: u64,
    pub chain: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestBlob {
    pub digest: String,
    pub bytes: u64,
}

/// Why a manifest cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    #[error("{path}: {source}{}", super::segment::advice(source))]
    Io { path: PathBuf, source: io::Error },
    #[error("{path} is not the manifest of a backup: {what}")]
    Wrong { path: PathBuf, what: String },
    #[error("{path} has format {found}, this kernel knows {FORMAT}: it was made by a newer version")]
    Newer { path: PathBuf, found: u32 },
}

impl Manifest {
    /// The manifest of a backup's folder, checked; `None` when there is none.
    pub fn read(folder: &Path) -> Result<Option<Manifest>, ManifestError> {
        let path = folder.join(NAME);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(ManifestError::Io { path, source }),
        };
        let wrong = |what: String| ManifestError::Wrong {
            path: path.clone(),
            what,
        };
        let document: serde_json::Value =
            serde_json::from_slice(&bytes).map_err(|error| wrong(error.to_string()))?;
        match document["format"].as_u64() {
            Some(found) if found > u64::from(FORMAT) => {
                return Err(ManifestError::Newer {
                    path: path.clone(),
                    found: found as u32,
                });
            }
            _ => {}
        }
        let manifest: Manifest =
            serde_json::from_value(document).map_err(|error| wrong(error.to_string()))?;
        if manifest.seal != manifest.own_seal()? {
            return Err(wrong("it is damaged: its seal does not fit".into()));
        }
        for file in &manifest.files {
            if !is_path(&file.path) {
                return Err(wrong(format!("{:?} is no file of an image", file.path)));
            }
        }
        if let Some(blob) = manifest
            .blobs
            .iter()
            .find(|blob| digest_of(&blob.digest).is_none())
        {
            return Err(wrong(format!("{:?} is no hash", blob.digest)));
        }
        Ok(Some(manifest))
    }

    /// Puts this manifest in the place of the former one, durably and at once.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        let new = folder.join("manifest.new");
        let mut file = File::create(&new)?;
        let sealed = Manifest {
            seal: self.own_seal().map_err(io::Error::other)?,
            ..self.clone()
        };
        serde_json::to_writer_pretty(&mut file, &sealed)?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        fs::rename(&new, folder.join(NAME))?;
        File::open(folder)?.sync_all()
    }

    fn own_seal(&self) -> Result<String, ManifestError> {
        if self.format == 1 {
            return Ok(String::new());
        }
        let unsealed = Manifest {
            seal: String::new(),
            ..self.clone()
        };
        let bytes = serde_json::to_vec(&unsealed).map_err(|error| ManifestError::Wrong {
            path: NAME.into(),
            what: error.to_string(),
        })?;
        Ok(blake3::hash(&bytes).to_hex().to_string())
    }

    pub fn file(&self, path: &str) -> Option<&ManifestFile> {
        self.files.iter().find(|file| file.path == path)
    }

    /// Bytes of all files and blobs.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum::<u64>()
            + self.blobs.iter().map(|blob| blob.bytes).sum::<u64>()
    }
}

impl ManifestFile {
    /// Where it lies in the backup. Segments only grow, so they keep their name; what is rewritten is named by its content.
    pub fn kept_as(&self) -> PathBuf {
        match self.path.starts_with("log/") {
            true => PathBuf::from(&self.path),
            false => Path::new("branches").join(&self.blake3),
        }
    }
}

impl ManifestBlob {
    /// Where it lies in a backup and in an image.
    pub fn path(&self) -> PathBuf {
        let name = digest_of(&self.digest).map(|digest| relative_path(&digest));
        Path::new("blobs").join(name.unwrap_or_default())
    }
}

/// A name in `log/` or `branches/`, and nothing that leads elsewhere.
fn is_path(path: &str) -> bool {
    let parts: Vec<Component<'_>> = Path::new(path).components().collect();
    match parts[..] {
        [Component::Normal(folder), Component::Normal(_)] => folder == "log" || folder == "branches",
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_leads_nowhere_else() {
        for good in ["log/1.log", "branches/draft"] {
            assert!(is_path(good), "{good}");
        }
        for bad in [
            "",
            "log",
            "log/..",
            "../log/1",
            "/log/1",
            "log/a/b",
            "index/data.mdb",
        ] {
            assert!(!is_path(bad), "{bad}");
        }
    }
}

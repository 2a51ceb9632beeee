//! Folders of files, such as a model, brought into the home: copied, and known by one digest over all that is in them.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sha2::Digest as _;

use crate::durable;
use crate::instruction::{Digest, Kind};
use crate::staging::{Staged, StagingError};

/// Most files of one folder.
const MOST_FILES: usize = 10_000;

/// Copies a folder, or a single file, into `planks` as `<kind>-<first 12 digits of its BLAKE3>` (a file keeps its extension), within `limit`.
/// Leaves nothing behind when it refuses.
pub fn stage(
    kind: Kind,
    source: &Path,
    expected: &Digest,
    planks: &Path,
    limit: Duration,
) -> Result<Staged, StagingError> {
    let until = Instant::now() + limit;
    let temporary = planks.join(format!(".{}.new", kind.word()));
    let staged = copy(source, &temporary, until)
        .map_err(|error| match error.kind() {
            io::ErrorKind::TimedOut => StagingError::Late {
                path: source.to_path_buf(),
                limit_ms: limit.as_millis(),
            },
            _ => StagingError::Unusable {
                path: source.to_path_buf(),
                cause: error.to_string(),
            },
        })
        .and_then(|sums| place(kind, source, expected, planks, &temporary, &sums));
    remove(&temporary);
    staged
}

/// The digest of a file, or of a folder as `docs/upgrade.md` draws it, by the same algorithm as another digest.
pub fn digest_like(other: &Digest, path: &Path) -> io::Result<Digest> {
    let mut sums = Sums::default();
    for (name, file) in files(path)? {
        sums.add(&name, &mut File::open(&file)?, &mut io::sink(), None)?;
    }
    Ok(sums.like(other))
}

fn place(
    kind: Kind,
    source: &Path,
    expected: &Digest,
    planks: &Path,
    temporary: &Path,
    sums: &Sums,
) -> Result<Staged, StagingError> {
    let found = sums.like(expected);
    if found != *expected {
        return Err(StagingError::Digest {
            path: source.to_path_buf(),
            kind: match expected {
                Digest::Blake3(_) => "BLAKE3",
                Digest::Sha256(_) => "SHA-256",
            },
            found: found.digits().to_owned(),
            expected: expected.digits().to_owned(),
        });
    }
    let blake3 = sums.like(&Digest::Blake3(String::new())).digits().to_owned();
    let mut name = format!("{}-{}", kind.word(), &blake3[..12]);
    if let (true, Some(extension)) = (temporary.is_file(), source.extension()) {
        name.push('.');
        name.push_str(&extension.to_string_lossy());
    }
    let path = planks.join(name);
    // What lies there under that name is of the same contents, or damaged.
    remove(&path);
    fs::rename(temporary, &path)
        .and_then(|()| durable::sync_folder(planks))
        .map_err(|error| StagingError::Unusable {
            path: path.clone(),
            cause: error.to_string(),
        })?;
    Ok(Staged {
        path,
        blake3,
        version: format!("{} {}", kind.word(), source.display()),
    })
}

pub fn remove(path: &Path) {
    let _ = match path.is_dir() && !path.is_symlink() {
        true => fs::remove_dir_all(path),
        false => fs::remove_file(path),
    };
}

fn copy(source: &Path, target: &Path, until: Instant) -> io::Result<Sums> {
    remove(target);
    let mut sums = Sums::default();
    for (name, file) in files(source)? {
        let to = match name.is_empty() {
            true => target.to_path_buf(),
            false => target.join(&name),
        };
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut written = File::create(&to)?;
        sums.add(&name, &mut File::open(&file)?, &mut written, Some(until))?;
        written.sync_all()?;
    }
    if target.is_dir() {
        durable::sync_folder(target)?;
    }
    Ok(sums)
}

/// Every file with its name inside the folder, in the order of their bytes; a single file has no name. Links and what is no file are refused.
fn files(root: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let data = fs::metadata(root)?;
    if data.is_file() {
        return Ok(vec![(String::new(), root.to_path_buf())]);
    }
    if !data.is_dir() {
        return Err(io::Error::other("it is neither a file nor a folder"));
    }
    let mut found = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let (path, kind) = (entry.path(), entry.file_type()?);
            let name = path
                .strip_prefix(root)
                .ok()
                .and_then(Path::to_str)
                .map(str::to_owned);
            match (kind.is_dir(), kind.is_file(), name) {
                (true, _, _) => folders.push(path),
                (_, true, Some(name)) if !name.contains('\n') => found.push((name, path)),
                _ => {
                    return Err(io::Error::other(format!(
                        "{} is no regular file of a plain name",
                        path.display()
                    )));
                }
            }
            if found.len() > MOST_FILES {
                return Err(io::Error::other(format!("it has more than {MOST_FILES} files")));
            }
        }
    }
    found.sort();
    match found.is_empty() {
        true => Err(io::Error::other("it is an empty folder")),
        false => Ok(found),
    }
}

/// Digests of all files so far: what `b3sum` and `sha256sum` print for them.
#[derive(Default)]
struct Sums {
    blake3: String,
    sha256: String,
    /// Of a single file, whose digest is that of its bytes.
    is_single: bool,
}

impl Sums {
    fn add(
        &mut self,
        name: &str,
        reader: &mut impl Read,
        writer: &mut impl Write,
        until: Option<Instant>,
    ) -> io::Result<()> {
        let (mut blake3, mut sha256) = (blake3::Hasher::new(), sha2::Sha256::new());
        let mut buffer = vec![0; 1 << 18];
        loop {
            let count = match reader.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if until.is_some_and(|until| Instant::now() > until) {
                return Err(io::ErrorKind::TimedOut.into());
            }
            blake3.update(&buffer[..count]);
            sha256.update(&buffer[..count]);
            writer.write_all(&buffer[..count])?;
        }
        let blake3 = blake3.finalize().to_hex().to_string();
        let sha256 = hexadecimal(&sha256.finalize());
        if name.is_empty() {
            self.is_single = true;
            (self.blake3, self.sha256) = (blake3, sha256);
        } else {
            self.blake3.push_str(&format!("{blake3}  {name}\n"));
            self.sha256.push_str(&format!("{sha256}  {name}\n"));
        }
        Ok(())
    }

    fn like(&self, other: &Digest) -> Digest {
        match other {
            Digest::Blake3(_) if self.is_single => Digest::Blake3(self.blake3.clone()),
            Digest::Sha256(_) if self.is_single => Digest::Sha256(self.sha256.clone()),
            Digest::Blake3(_) => Digest::Blake3(blake3::hash(self.blake3.as_bytes()).to_hex().to_string()),
            Digest::Sha256(_) => Digest::Sha256(hexadecimal(&sha2::Sha256::digest(self.sha256.as_bytes()))),
        }
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    fn folder() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let (model, planks) = (folder.path().join("model"), folder.path().join("planks"));
        fs::create_dir_all(model.join("inner")).unwrap();
        fs::create_dir(&planks).unwrap();
        fs::write(model.join("b"), "two").unwrap();
        fs::write(model.join("inner/a"), "one").unwrap();
        (folder, model, planks)
    }

    #[test]
    fn a_folder_is_known_by_the_digests_of_its_files() {
        let (_folder, model, planks) = folder();
        let hex = |text: &str| blake3::hash(text.as_bytes()).to_hex().to_string();
        let expected = Digest::Blake3(hex(&format!("{}  b\n{}  inner/a\n", hex("two"), hex("one"))));
        assert_eq!(digest_like(&expected, &model).unwrap(), expected);
        let staged = stage(Kind::Model, &model, &expected, &planks, LIMIT).unwrap();
        assert_eq!(fs::read(staged.path.join("inner/a")).unwrap(), b"one");
        assert_eq!(digest_like(&expected, &staged.path).unwrap(), expected);
        fs::write(model.join("b"), "other").unwrap();
        let refused = stage(Kind::Model, &model, &expected, &planks, LIMIT).unwrap_err();
        assert_eq!(refused.reason(), "digest_mismatch");
        assert_eq!(fs::read_dir(&planks).unwrap().count(), 1);
    }

    #[test]
    fn a_file_keeps_its_extension_and_links_are_refused() {
        let (_folder, model, planks) = folder();
        let file = model.join("tiny.gguf");
        fs::write(&file, "weights").unwrap();
        let digest = Digest::Blake3(blake3::hash(b"weights").to_hex().to_string());
        let staged = stage(Kind::Model, &file, &digest, &planks, LIMIT).unwrap();
        assert!(
            staged
                .path
                .extension()
                .is_some_and(|extension| extension == "gguf")
        );
        std::os::unix::fs::symlink("/etc/passwd", model.join("link")).unwrap();
        let refused = stage(Kind::Model, &model, &digest, &planks, LIMIT).unwrap_err();
        assert_eq!(refused.reason(), "program_unusable");
        let late = stage(Kind::Model, &file, &digest, &planks, Duration::ZERO).unwrap_err();
        assert_eq!(late.reason(), "limit_passed");
    }
}

//! A new program brought into the home: copied, its digest checked over the bytes copied, asked for its version.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use sha2::Digest as _;

use crate::durable;
use crate::instruction::{Digest, Kind};
use crate::spawn;

/// Largest program.
const LARGEST_BYTES: u64 = 1 << 30;
/// In which the old program must be copied.
const KEEP_LIMIT: Duration = Duration::from_secs(60);
/// In which the copy must answer `--version`.
const VERSION_DEADLINE: Duration = Duration::from_secs(5);

/// A program that lies in the home.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Staged {
    /// Absolute.
    pub path: PathBuf,
    pub blake3: String,
    /// First line that `--version` printed; empty for one that was only kept.
    pub version: String,
}

#[derive(Debug, thiserror::Error)]
pub enum StagingError {
    #[error("the program {path} cannot be used: {cause}")]
    Unusable { path: PathBuf, cause: String },
    #[error("the program {path} has the {kind} digest {found}, not {expected}")]
    Digest {
        path: PathBuf,
        kind: &'static str,
        found: String,
        expected: String,
    },
    #[error("the program {path} is no {kind}: {cause}")]
    Version {
        kind: String,
        path: PathBuf,
        cause: String,
    },
    #[error("copying and checking {path} took longer than {limit_ms} ms (limits.stage_ms)")]
    Late { path: PathBuf, limit_ms: u128 },
}

impl StagingError {
    /// The stable word of `docs/upgrade.md`.
    pub fn reason(&self) -> &'static str {
        match self {
            StagingError::Unusable { .. } => "program_unusable",
            StagingError::Digest { .. } => "digest_mismatch",
            StagingError::Version { .. } => "version_failed",
            StagingError::Late { .. } => "limit_passed",
        }
    }
}

/// Copies `source` into `planks` as `<kind>-<first 12 digits of its BLAKE3>`, within `limit`. Leaves nothing behind when it refuses.
pub fn stage(
    kind: Kind,
    source: &Path,
    expected: &Digest,
    planks: &Path,
    limit: Duration,
) -> Result<Staged, StagingError> {
    let until = Instant::now() + limit;
    let unusable = |cause: String| StagingError::Unusable {
        path: source.to_path_buf(),
        cause,
    };
    let word = kind.word();
    let temporary = planks.join(format!(".{word}.new"));
    let copied = copy(source, &temporary, until).map_err(|error| {
        let _ = fs::remove_file(&temporary);
        match error.kind() {
            io::ErrorKind::TimedOut => StagingError::Late {
                path: source.to_path_buf(),
                limit_ms: limit.as_millis(),
            },
            _ => unusable(error.to_string()),
        }
    })?;
    let result = check(word, source, expected, &copied, &temporary).and_then(|version| {
        let path = planks.join(format!("{word}-{}", &copied.blake3[..12]));
        // What runs from there would be known for another program by the next steward.
        let kept = match holds(&path, &copied.blake3) {
            true => fs::set_permissions(&path, fs::Permissions::from_mode(0o755))
                .and_then(|()| fs::remove_file(&temporary)),
            false => fs::rename(&temporary, &path),
        };
        kept.and_then(|()| durable::sync_folder(planks))
            .map_err(|error| unusable(error.to_string()))?;
        Ok(Staged {
            path,
            blake3: copied.blake3.clone(),
            version,
        })
    });
    if result.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    result
}

/// BLAKE3 of a file's bytes, 64 hexadecimal digits.
pub fn digest(path: &Path) -> io::Result<String> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(File::open(path)?)?;
    Ok(hasher.finalize().to_hex().to_string())
}

/// Whether these bytes lie there already.
fn holds(path: &Path, blake3: &str) -> bool {
    digest(path).is_ok_and(|there| there == blake3)
}

/// Keeps a program that has proved itself: what lies in `planks` already stays as it is, else it is copied there, unchecked.
pub fn keep(kind: Kind, program: &Path, planks: &Path) -> io::Result<Staged> {
    let blake3 = digest(program)?;
    let word = kind.word();
    let path = planks.join(format!("{word}-{}", &blake3[..12]));
    if path != program && !holds(&path, &blake3) {
        let temporary = planks.join(format!(".{word}.old"));
        // Not what is there by now: the file may have been replaced since the digest was taken.
        let copied = copy(program, &temporary, Instant::now() + KEEP_LIMIT)?;
        if copied.blake3 != blake3 {
            let _ = fs::remove_file(&temporary);
            return Err(io::Error::other("it changes while it is read"));
        }
        fs::rename(&temporary, &path)?;
        durable::sync_folder(planks)?;
    }
    Ok(Staged {
        path,
        blake3,
        version: String::new(),
    })
}

struct Copied {
    blake3: String,
    sha256: String,
}

fn copy(source: &Path, target: &Path, until: Instant) -> io::Result<Copied> {
    // A pipe must not hold the steward up.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(OFlag::O_NONBLOCK.bits())
        .open(source)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut reader = file.take(LARGEST_BYTES + 1);
    let mut writer = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o700)
        .open(target)?;
    let (mut blake3, mut sha256) = (blake3::Hasher::new(), sha2::Sha256::new());
    let mut buffer = vec![0; 1 << 18];
    let mut total = 0;
    loop {
        let count = match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        total += count as u64;
        if Instant::now() > until {
            return Err(io::ErrorKind::TimedOut.into());
        }
        blake3.update(&buffer[..count]);
        sha256.update(&buffer[..count]);
        writer.write_all(&buffer[..count])?;
    }
    if total > LARGEST_BYTES {
        return Err(io::Error::other(format!(
            "it is larger than {LARGEST_BYTES} bytes"
        )));
    }
    writer.set_permissions(Permissions::from_mode(0o755))?;
    writer.sync_all()?;
    Ok(Copied {
        blake3: blake3.finalize().to_hex().to_string(),
        sha256: hexadecimal(&sha256.finalize()),
    })
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn check(
    word: &str,
    source: &Path,
    expected: &Digest,
    copied: &Copied,
    temporary: &Path,
) -> Result<String, StagingError> {
    let path = source.to_path_buf();
    let (kind, found, expected) = match expected {
        Digest::Blake3(expected) => ("BLAKE3", &copied.blake3, expected),
        Digest::Sha256(expected) => ("SHA-256", &copied.sha256, expected),
    };
    if found != expected {
        return Err(StagingError::Digest {
            path,
            kind,
            found: found.clone(),
            expected: expected.clone(),
        });
    }
    match spawn::version(temporary, VERSION_DEADLINE) {
        Ok(text) if text.strip_prefix(word).is_some_and(|rest| rest.starts_with(' ')) => {
            Ok(text.lines().next().unwrap_or_default().trim().to_owned())
        }
        Ok(text) => Err(StagingError::Version {
            kind: word.to_owned(),
            path,
            cause: format!(
                "--version printed {:?}",
                text.chars().take(60).collect::<String>()
            ),
        }),
        Err(cause) => Err(StagingError::Version {
            kind: word.to_owned(),
            path,
            cause,
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    fn program(folder: &Path, text: &str) -> PathBuf {
        let path = folder.join("program");
        fs::write(&path, text).unwrap();
        path
    }

    fn check_refusal(text: &str, expected: Option<Digest>, reason: &str) {
        let folder = tempfile::tempdir().unwrap();
        let planks = folder.path().join("planks");
        fs::create_dir(&planks).unwrap();
        let path = program(folder.path(), text);
        let expected = expected.unwrap_or_else(|| Digest::Blake3(digest(&path).unwrap()));
        assert_eq!(
            stage(Kind::Kernel, &path, &expected, &planks, LIMIT)
                .unwrap_err()
                .reason(),
            reason,
            "{text}"
        );
        assert_eq!(fs::read_dir(&planks).unwrap().count(), 0);
    }

    #[test]
    fn a_kernel_is_staged_and_its_source_may_go() {
        let folder = tempfile::tempdir().unwrap();
        let path = program(folder.path(), "#!/bin/sh\necho kernel 9.9.9\n");
        let blake3 = digest(&path).unwrap();
        let staged = stage(
            Kind::Kernel,
            &path,
            &Digest::Blake3(blake3.clone()),
            folder.path(),
            LIMIT,
        )
        .unwrap();
        fs::remove_file(path).unwrap();
        assert_eq!(
            (staged.version.as_str(), &staged.blake3),
            ("kernel 9.9.9", &blake3)
        );
        assert!(staged.path.ends_with(format!("kernel-{}", &blake3[..12])));
        assert_eq!(
            fs::metadata(&staged.path).unwrap().permissions().mode() & 0o777,
            0o755
        );
    }

    #[test]
    fn what_is_staged_again_stays_the_same_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = program(folder.path(), "#!/bin/sh\necho kernel 9.9.9\n");
        let expected = Digest::Blake3(digest(&path).unwrap());
        let staged = || stage(Kind::Kernel, &path, &expected, folder.path(), LIMIT).unwrap();
        let inode = |staged: &Staged| fs::metadata(&staged.path).unwrap().ino();
        let first = staged();
        let before = inode(&first);
        assert_eq!(inode(&staged()), before);
        fs::write(&first.path, "damaged").unwrap();
        assert_ne!(inode(&staged()), before);
        assert_eq!(digest(&first.path).unwrap(), first.blake3);
        assert!(!folder.path().join(".kernel.new").exists());
    }

    #[test]
    fn sha256_will_do() {
        let folder = tempfile::tempdir().unwrap();
        let path = program(folder.path(), "#!/bin/sh\necho kernel 1\n");
        let sha256 = sha2::Sha256::digest(fs::read(&path).unwrap());
        let hex = sha256.iter().map(|byte| format!("{byte:02x}")).collect();
        stage(Kind::Kernel, &path, &Digest::Sha256(hex), folder.path(), LIMIT).unwrap();
    }

    #[test]
    fn what_is_no_kernel_is_refused_and_leaves_nothing() {
        check_refusal(
            "#!/bin/sh\necho kernel 1\n",
            Some(Digest::Blake3("0".repeat(64))),
            "digest_mismatch",
        );
        check_refusal("#!/bin/sh\necho batos 1\n", None, "version_failed");
        check_refusal("#!/bin/sh\nexit 3\n", None, "version_failed");
        check_refusal("not a program", None, "version_failed");
        check_refusal("", None, "version_failed");
    }

    #[test]
    fn what_is_no_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let none = Digest::Blake3("0".repeat(64));
        for path in [pipe.as_path(), folder.path(), Path::new("/no/such")] {
            assert_eq!(
                stage(Kind::Kernel, path, &none, folder.path(), LIMIT)
                    .unwrap_err()
                    .reason(),
                "program_unusable"
            );
        }
    }

    #[test]
    fn a_copy_that_takes_too_long_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let planks = folder.path().join("planks");
        fs::create_dir(&planks).unwrap();
        let path = program(folder.path(), "#!/bin/sh\necho kernel 1\n");
        let digest = Digest::Blake3(digest(&path).unwrap());
        let late = stage(Kind::Kernel, &path, &digest, &planks, Duration::ZERO).unwrap_err();
        assert_eq!(late.reason(), "limit_passed");
        assert_eq!(fs::read_dir(&planks).unwrap().count(), 0);
    }

    #[test]
    fn an_old_program_is_kept_once() {
        let folder = tempfile::tempdir().unwrap();
        let planks = folder.path().join("planks");
        fs::create_dir(&planks).unwrap();
        let path = program(folder.path(), "old");
        let kept = keep(Kind::Kernel, &path, &planks).unwrap();
        assert_eq!(fs::read(&kept.path).unwrap(), b"old");
        assert_eq!(keep(Kind::Kernel, &kept.path, &planks).unwrap(), kept);
        fs::write(&kept.path, "damaged").unwrap();
        assert_eq!(keep(Kind::Kernel, &path, &planks).unwrap(), kept);
        assert_eq!(fs::read(&kept.path).unwrap(), b"old");
        assert_eq!(fs::read_dir(&planks).unwrap().count(), 1);
    }
}

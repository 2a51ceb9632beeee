//! A new format of the image: the one upgrade that cannot be taken back by starting the old program. A backup is made and proved before, and the image is
//! set aside whole when nobody has it open, so that it can be put back. Told in `docs/upgrade.md`, "A new image format".

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use shared::home::Home;
use tracing::{error, info, warn};

use crate::durable;
use crate::spawn;
use crate::tree;

/// Restores a backup beside the image and verifies what came of it, by the kernel that runs; takes it away again.
pub fn prove(kernel: &Path, home: &Home, backup: &Path, limit: Duration) -> Result<(), String> {
    let trial = home.path().join("image-trial");
    tree::remove(&trial);
    let run = |words: [OsString; 5]| spawn::work(kernel, &words, &home.logs().join("kernel.log"), limit);
    let proved = run([
        "restore".into(),
        "--image".into(),
        trial.clone().into(),
        "--from".into(),
        backup.into(),
    ])
    .and_then(|_| {
        run([
            "verify".into(),
            "--image".into(),
            trial.clone().into(),
            "--json".into(),
            "--progress".into(),
        ])
    });
    tree::remove(&trial);
    proved
        .map(drop)
        .map_err(|cause| format!("the backup cannot be proved: {cause}"))
}

/// Copies the image aside. Legal while no kernel has it open. What is never changed in place is linked.
pub fn set_aside(home: &Home, claim: &str) -> io::Result<()> {
    let (aside, new) = (
        aside(home, claim),
        home.path().join(format!("image-before-{claim}.new")),
    );
    tree::remove(&new);
    copy(&home.image(), &new, Path::new(""))?;
    durable::sync_all(home.path())?;
    fs::rename(&new, &aside)?;
    durable::sync_folder(home.path())
}

/// Has the new kernel convert the image.
pub fn convert(kernel: &Path, home: &Home, format: u64, limit: Duration) -> Result<String, String> {
    let words: [OsString; 5] = [
        "convert".into(),
        "--image".into(),
        home.image().into(),
        "--to".into(),
        format.to_string().into(),
    ];
    spawn::work(kernel, &words, &home.logs().join("kernel.log"), limit)
}

/// Puts the image that was set aside back; what the new kernel made of it stays beside as `image-failed-<claim>`. True when there was one.
pub fn put_back(home: &Home, claim: &str) -> io::Result<bool> {
    let aside = aside(home, claim);
    if !aside.exists() {
        return Ok(false);
    }
    let failed = home.path().join(format!("image-failed-{claim}"));
    // Twice is once: a steward may have died between the two.
    if home.image().exists() && !failed.exists() {
        fs::rename(home.image(), &failed)?;
    }
    tree::remove(&home.image());
    fs::rename(&aside, home.image())?;
    durable::sync_folder(home.path())?;
    info!(
        "the image is as it was; what the new kernel made of it is {}",
        failed.display()
    );
    Ok(true)
}

/// The new format is chosen.
pub fn forget(home: &Home, claim: &str) {
    tree::remove(&aside(home, claim));
}

/// What a steward that died in the middle left: nothing of it is served before this.
pub fn recover(home: &Home, claim: &str, is_chosen: bool, is_restored: bool) {
    tree::remove(&home.path().join(format!("image-before-{claim}.new")));
    match (is_chosen, is_restored) {
        (true, _) => forget(home, claim),
        (false, true) => match put_back(home, claim) {
            Ok(_) => {}
            Err(cause) => error!("the image cannot be put back: {cause}"),
        },
        (false, false) => {
            warn!("the image may be of the new format: the instruction said that it is not put back")
        }
    }
}

fn aside(home: &Home, claim: &str) -> PathBuf {
    home.path().join(format!("image-before-{claim}"))
}

/// Contents have names that are their hashes, and are never written again: a link is as good as a copy.
fn copy(from: &Path, to: &Path, inside: &Path) -> io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let inside = inside.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&source, &target, &inside)?;
        } else if inside.starts_with("blobs") && !inside.starts_with("blobs/new") {
            fs::hard_link(&source, &target)?;
        } else {
            fs::copy(&source, &target)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_set_aside_and_put_back() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::resolve(Some(folder.path())).unwrap();
        fs::create_dir_all(home.image().join("log")).unwrap();
        fs::create_dir_all(home.image().join("blobs/ab")).unwrap();
        let log = home.image().join("log/1.log");
        fs::write(&log, "before").unwrap();
        fs::write(home.image().join("blobs/ab/abc"), "content").unwrap();
        assert!(!put_back(&home, "c").unwrap());
        set_aside(&home, "c").unwrap();
        fs::write(&log, "after").unwrap();
        assert!(put_back(&home, "c").unwrap());
        assert_eq!(fs::read(&log).unwrap(), b"before");
        assert_eq!(fs::read(home.image().join("blobs/ab/abc")).unwrap(), b"content");
        assert_eq!(
            fs::read(folder.path().join("image-failed-c/log/1.log")).unwrap(),
            b"after"
        );
        // A steward that died while it copied, or after it was chosen.
        set_aside(&home, "d").unwrap();
        fs::create_dir(folder.path().join("image-before-d.new")).unwrap();
        recover(&home, "d", true, true);
        assert!(
            !folder.path().join("image-before-d").exists()
                && !folder.path().join("image-before-d.new").exists()
        );
        assert_eq!(fs::read(&log).unwrap(), b"before");
    }
}

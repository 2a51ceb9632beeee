//! Calls that look after the image's files: verification, pack and backup.

use std::path::Path;

use shared::bridge::{Answer, Fault};
use shared::reason;

use crate::image::Image;
use crate::image::backup::{BackupError, backup};
use crate::image::digest::{hex, objects_digest};
use crate::image::pack::pack;
use crate::image::verify::{Chains, verify};
use crate::reporter::Reporter;

/// Every fault of the image.
pub fn verified(image: &Image, reporter: &Reporter) -> Result<Answer, Fault> {
    let scratch = image.folder.join("verify");
    match verify(image, &image.folder, &scratch, Chains::Untold, reporter) {
        Ok(report) => Ok(Answer::Verified(report.found)),
        Err(error) => Err(Fault::new(
            reason::IMAGE_FAILED,
            format!("the image could not be verified: {error}"),
        )),
    }
}

/// The hash over all objects and entries as they are now, and nothing else.
pub fn digested(image: &Image, _: &Reporter) -> Result<Answer, Fault> {
    let digest = || {
        image.flush()?;
        let index = image.state.index();
        objects_digest(&index.reading()?)
    };
    match digest() {
        Ok(digest) => Ok(Answer::Digested { digest: hex(&digest) }),
        Err(error) => Err(Fault::new(
            reason::IMAGE_FAILED,
            format!("the image could not be read: {error}"),
        )),
    }
}

/// Drops what no root reaches, and history before now.
pub fn packed(image: &Image, reporter: &Reporter) -> Result<Answer, Fault> {
    match pack(image, &image.folder, reporter) {
        Ok(packing) => Ok(Answer::Packed(packing)),
        Err(error) => Err(Fault::new(
            reason::IMAGE_FAILED,
            format!("the image was not packed: {error}; nothing is lost, try again"),
        )),
    }
}

/// A copy of the image in a folder.
pub fn backed(image: &Image, folder: &str, reporter: &Reporter) -> Result<Answer, Fault> {
    let path = Path::new(folder);
    if !path.is_absolute() {
        return Err(Fault::new(
            reason::BAD_ARGUMENT,
            format!("{folder:?} is no absolute path, and the kernel stands in another folder than you"),
        ));
    }
    match backup(image, path, reporter) {
        Ok(backup) => Ok(Answer::Backed(backup)),
        Err(error) => {
            let word = match error {
                BackupError::Io { .. } | BackupError::Log(_) | BackupError::Image(_) => reason::IMAGE_FAILED,
                _ => reason::BAD_ARGUMENT,
            };
            Err(Fault::new(word, format!("there is no new backup: {error}")))
        }
    }
}

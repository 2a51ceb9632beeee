//! Calls that look after the image's files: verification and pack.

use shared::bridge::{Answer, Fault};
use shared::reason;

use crate::image::Image;
use crate::image::pack::pack;
use crate::image::verify::{Chains, verify};

/// Every fault of the image.
pub fn verified(image: &Image) -> Result<Answer, Fault> {
    let scratch = image.folder.join("verify");
    match verify(image, &image.folder, &scratch, Chains::Untold) {
        Ok(report) => Ok(Answer::Verified(report.found)),
        Err(error) => Err(Fault::new(
            reason::IMAGE_FAILED,
            format!("the image could not be verified: {error}"),
        )),
    }
}

/// Drops what no root reaches, and history before now.
pub fn packed(image: &Image) -> Result<Answer, Fault> {
    let mut progress = |step: &str| tracing::info!(step, "pack");
    match pack(image, &image.folder, &mut progress) {
        Ok(packing) => Ok(Answer::Packed(packing)),
        Err(error) => Err(Fault::new(
            reason::IMAGE_FAILED,
            format!("the image was not packed: {error}; nothing is lost, try again"),
        )),
    }
}

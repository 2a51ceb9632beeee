//! Whether an instruction that was claimed is to be carried out.

use std::path::Path;

use super::claim::Claim;
use super::{Channel, signature, unix_ms};
use crate::chosen::Chosen;
use crate::instruction::{Action, Digest, Instruction, Refusal};
use crate::tree;

/// How far ahead of this clock that of a writer may be, seconds.
const CLOCKS_DIFFER_S: u64 = 300;

impl Channel {
    pub(super) fn judge(&self, claim: &Claim, running: &Chosen) -> Result<Instruction, Refusal> {
        let bytes = claim.read()?;
        let keys = &self.configuration.public_keys;
        let signed = signature::check(keys, &bytes, claim.signature().as_deref());
        let instruction = match (signed, Instruction::parse(&bytes)) {
            (Ok(()), parsed) => parsed?,
            (Err(refusal), parsed) => {
                let id = parsed.map_or_else(|refused| refused.id, |instruction| Some(instruction.id));
                return Err(Refusal { id, ..refusal });
            }
        };
        match self.admit(&instruction, running) {
            Ok(()) => Ok(instruction),
            Err(refusal) => Err(Refusal {
                id: Some(instruction.id),
                ..refusal
            }),
        }
    }

    /// Judges what the form does not say: time, history, place, base.
    fn admit(&self, instruction: &Instruction, running: &Chosen) -> Result<(), Refusal> {
        let refuse = |reason, message: String| Err(Refusal::new(reason, message));
        let now = unix_ms() / 1000;
        if let Some(expires) = instruction.expires_unix.filter(|expires| *expires <= now) {
            return refuse(
                "expired",
                format!("it expired at {expires}, {} s ago", now - expires),
            );
        }
        if let Some(created) = instruction
            .created_unix
            .filter(|created| *created > now + CLOCKS_DIFFER_S)
        {
            let message = format!("it was created {} s from now; is a clock wrong?", created - now);
            return refuse("from_future", message);
        }
        if self.applied.has(&instruction.id) {
            return refuse(
                "replayed",
                format!("an instruction with the id {} was applied before", instruction.id),
            );
        }
        match (instruction.sequence, self.applied.largest_sequence()) {
            (Some(given), Some(largest)) if given <= largest => {
                return refuse(
                    "stale_sequence",
                    format!("sequence {given} is not larger than {largest}, applied before"),
                );
            }
            (None, _) if !self.configuration.public_keys.is_empty() => {
                return refuse(
                    "missing_key",
                    "sequence is missing; a signed instruction needs it".to_owned(),
                );
            }
            _ => {}
        }
        let digest = instruction.target.digest.to_string();
        if let Some(bad) = self.known_bad.find(&digest).filter(|_| !instruction.is_again) {
            let message = format!(
                "this program was tried by {} and found bad ({}); an instruction with \"again\": true tries it all the same",
                bad.instruction, bad.reason
            );
            return refuse("known_bad", message);
        }
        let path = &instruction.target.path;
        let folders = &self.configuration.allow_under;
        let is_allowed = folders.is_empty()
            || path.canonicalize().is_ok_and(|path| {
                self.is_kept(&path) || folders.iter().any(|folder| path.starts_with(folder))
            });
        if !is_allowed {
            return refuse(
                "not_allowed",
                format!("{} lies in no folder of channel.allow_under", path.display()),
            );
        }
        let is_command = |step: &Action| matches!(step, Action::Command(_));
        if !self.configuration.allow_commands && instruction.steps.iter().any(is_command) {
            let message = "it has a command step, and channel.allow_commands is not true";
            return refuse("not_allowed", message.to_owned());
        }
        match &instruction.base {
            Some(base) => check_base(base, &running.judged_by(instruction.target.kind)),
            None => Ok(()),
        }
    }

    /// True for a program that an earlier upgrade brought into the home: the way back is always allowed.
    fn is_kept(&self, path: &Path) -> bool {
        self.home
            .planks()
            .canonicalize()
            .is_ok_and(|planks| path.starts_with(planks))
    }
}

fn check_base(base: &Digest, running: &Path) -> Result<(), Refusal> {
    let found = tree::digest_like(base, running).map_err(|error| {
        let message = format!("{}, which runs, cannot be read: {error}", running.display());
        Refusal::new("base_mismatch", message)
    })?;
    match found == *base {
        true => Ok(()),
        false => Err(Refusal::new(
            "base_mismatch",
            format!("{} runs, which is {found} and not {base}", running.display()),
        )),
    }
}

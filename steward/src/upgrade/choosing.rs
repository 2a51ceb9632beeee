//! The end that is wished for: the new plank is chosen, and copies that nobody needs go.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde_json::json;

use super::Upgrade;
use crate::change::Failure;
use crate::channel::Outcome;
use crate::choice::Choice;
use crate::conversion;
use crate::health;
use crate::preparation::Both;
use crate::supervisor::Supervisor;
use crate::tree;

impl Upgrade {
    /// Makes the staged program the chosen one.
    pub(super) fn record(&mut self, both: &Both, planks: &mut Supervisor) -> Result<(), Failure> {
        let kind = self.kind();
        let instead_of = planks.configured(kind);
        let mut chosen = self.choice(
            &both.new.path,
            &both.new.blake3,
            &self.instruction.id,
            &self.claim.name,
        );
        chosen.instead_of = instead_of;
        let former = Choice::load(&self.home, kind).ok().flatten();
        let of_former = |part: fn(&Choice) -> &String| former.as_ref().map(part).cloned().unwrap_or_default();
        let (instruction, claim) = (of_former(|it| &it.instruction), of_former(|it| &it.claim));
        let blake3 = match both.old.blake3.is_empty() {
            true => of_former(|it| &it.blake3),
            false => both.old.blake3.clone(),
        };
        let is_kept = both.old.path.starts_with(self.home.planks());
        let previous = is_kept.then(|| self.choice(&both.old.path, &blake3, &instruction, &claim));
        self.enter("choosing", json!({ "health": self.health }))?;
        chosen
            .record(previous.as_ref(), &self.home, kind)
            .map_err(|error| {
                Failure::new("not_recorded", format!("the choice cannot be recorded: {error}"))
            })?;
        planks.choose(kind, &both.new.path);
        Ok(())
    }

    pub(super) fn applied(&mut self, both: &Both) {
        self.remove_old_copies(both);
        conversion::forget(&self.home, &self.claim.name);
        let version = &both.new.version;
        let failure = match &self.health {
            Some(health) if health.outcome == health::Outcome::Degraded => {
                let remarks = health.remarks.join("; ");
                Failure::new(
                    "degraded",
                    format!("{version} serves, worse than the old one: {remarks}"),
                )
            }
            _ => Failure::new("applied", format!("{version} serves")),
        };
        self.end(Outcome::Applied, failure);
    }

    fn choice(&self, program: &Path, blake3: &str, instruction: &str, claim: &str) -> Choice {
        let name = program.file_name().unwrap_or_default();
        Choice {
            schema: 1,
            program: name.to_string_lossy().into_owned(),
            blake3: blake3.to_owned(),
            instruction: instruction.to_owned(),
            claim: claim.to_owned(),
            instead_of: None,
        }
    }

    /// Keeps the new copy, the one before and, of earlier ones, as many as the instruction says, the newest.
    fn remove_old_copies(&self, both: &Both) {
        let mut others: Vec<(SystemTime, PathBuf)> = fs::read_dir(self.home.planks())
            .into_iter()
            .flatten()
            .flatten()
            .filter(|entry| {
                entry
                    .file_name()
                    .to_string_lossy()
                    .starts_with(&format!("{}-", self.kind().word()))
            })
            .map(|entry| {
                let changed = entry.metadata().and_then(|data| data.modified());
                (changed.unwrap_or(SystemTime::UNIX_EPOCH), entry.path())
            })
            .filter(|(_, path)| *path != both.new.path && *path != both.old.path)
            .collect();
        others.sort_by(|one, other| other.cmp(one));
        for (_, path) in others.into_iter().skip(self.instruction.keep - 1) {
            tree::remove(&path);
        }
    }
}

//! Which planks run in this home: `planks/current.json` for the kernel, `planks/current-KIND.json` for the others, written when a new one has
//! proved itself.

use std::fs;
use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use shared::home::Home;

use crate::durable;
use crate::instruction::Kind;
use crate::staging::digest;

/// The chosen program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Choice {
    pub schema: u32,
    /// File name inside `planks/`.
    pub program: String,
    /// Of the file's bytes, 64 hexadecimal digits.
    pub blake3: String,
    /// The instruction that chose it, and its claim.
    pub instruction: String,
    pub claim: String,
    /// What `steward.toml` named then, where it names such a plank: once it names another, that one counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instead_of: Option<String>,
}

impl Choice {
    /// The choice as recorded; `None` when nothing was ever chosen.
    pub fn load(home: &Home, kind: Kind) -> Result<Option<Choice>, String> {
        Choice::read(path(home, kind))
    }

    fn read(path: PathBuf) -> Result<Option<Choice>, String> {
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(format!("cannot read {}: {error}", path.display())),
        };
        let choice: Choice = serde_json::from_slice(&bytes)
            .map_err(|error| format!("{} is damaged: {error}", path.display()))?;
        match (choice.schema, choice.program.contains('/')) {
            (1, false) => Ok(Some(choice)),
            _ => Err(format!(
                "{} is not of a form that this steward knows",
                path.display()
            )),
        }
    }

    /// The program, when it is there and undamaged. Of a model or an environment it is only asked whether it is there: its reader
    /// checks it.
    pub fn verified(&self, home: &Home, kind: Kind) -> Result<PathBuf, String> {
        let path = home.planks().join(&self.program);
        if matches!(kind, Kind::Model | Kind::Python) {
            return match path.exists() {
                true => Ok(path),
                false => Err(format!("{} is gone", path.display())),
            };
        }
        match digest(&path) {
            Ok(found) if found == self.blake3 => Ok(path),
            Ok(found) => Err(format!(
                "{} is damaged: its BLAKE3 is {found}, not {}",
                path.display(),
                self.blake3
            )),
            Err(error) => Err(format!("{} cannot be read: {error}", path.display())),
        }
    }

    /// Makes this the choice, durably: the point of commitment of an upgrade. What ran before is recorded first, where it
    /// lies in `planks/`.
    pub fn record(&self, previous: Option<&Choice>, home: &Home, kind: Kind) -> io::Result<()> {
        if let Some(previous) = previous {
            durable::write(&previous_path(home, kind), &serde_json::to_vec_pretty(previous)?)?;
        }
        durable::write(&path(home, kind), &serde_json::to_vec_pretty(self)?)
    }
}

fn path(home: &Home, kind: Kind) -> PathBuf {
    home.planks().join(name("current", kind))
}

fn previous_path(home: &Home, kind: Kind) -> PathBuf {
    home.planks().join(name("previous", kind))
}

fn name(which: &str, kind: Kind) -> String {
    match kind.plank() {
        Kind::Kernel => format!("{which}.json"),
        other => format!("{which}-{}.json", other.word()),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_choice_is_believed_only_while_its_program_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::resolve(Some(folder.path())).unwrap();
        fs::create_dir(home.planks()).unwrap();
        assert_eq!(Choice::load(&home, Kind::Kernel), Ok(None));
        let program = home.planks().join("kernel-1");
        fs::write(&program, "program").unwrap();
        let choice = Choice {
            schema: 1,
            program: "kernel-1".into(),
            blake3: digest(Path::new(&program)).unwrap(),
            instruction: "i".into(),
            claim: "c".into(),
            instead_of: None,
        };
        let before = Choice {
            program: "kernel-0".into(),
            ..choice.clone()
        };
        choice.record(Some(&before), &home, Kind::Kernel).unwrap();
        assert_eq!(Choice::read(previous_path(&home, Kind::Kernel)), Ok(Some(before)));
        assert_eq!(Choice::load(&home, Kind::Kernel).unwrap().unwrap(), choice);
        assert_eq!(choice.verified(&home, Kind::Kernel).unwrap(), program);
        fs::write(&program, "damaged").unwrap();
        assert!(
            choice
                .verified(&home, Kind::Kernel)
                .unwrap_err()
                .contains("damaged")
        );
        fs::remove_file(&program).unwrap();
        assert!(
            choice
                .verified(&home, Kind::Kernel)
                .unwrap_err()
                .contains("cannot be read")
        );
        fs::write(path(&home, Kind::Kernel), "{").unwrap();
        assert!(Choice::load(&home, Kind::Kernel).unwrap_err().contains("damaged"));
    }
}

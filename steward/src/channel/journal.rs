//! The states that one instruction went through: `channel/claimed/<claim>/journal`, drawn in `docs/upgrade.md`.

use std::cell::RefCell;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::rc::Rc;

use serde_json::{Map, Value, json};

use super::unix_ms;
use crate::durable;

/// The file's name inside the claim's folder; no instruction can have it, since theirs end in `.json`.
pub const NAME: &str = "journal";
/// Room made at the beginning, so that a disk that runs full later holds up no state.
const ROOM_BYTES: usize = 16_384;

/// Open for the next state; a clone is the same journal.
#[derive(Clone, Debug)]
pub struct Journal(Rc<RefCell<Open>>);

#[derive(Debug)]
struct Open {
    file: File,
    /// Where the next line begins.
    end: u64,
    last: Value,
}

impl Journal {
    /// Makes the journal of a claim, durably. Legal once per claim.
    pub fn begin(folder: &Path) -> io::Result<Journal> {
        let path = folder.join(NAME);
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)?;
        let begun = file
            .write_all_at(&vec![0; ROOM_BYTES], 0)
            .and_then(|()| file.sync_all())
            .and_then(|()| durable::sync_folder(folder));
        if let Err(error) = begun {
            // Without room it is none: a journal without a line says that nothing was done.
            let _ = fs::remove_file(&path);
            return Err(error);
        }
        let open = Open {
            file,
            end: 0,
            last: Value::Null,
        };
        Ok(Journal(Rc::new(RefCell::new(open))))
    }

    /// Goes on with the journal of a claim that this process began, before it became this program.
    pub fn reopen(folder: &Path) -> io::Result<Journal> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(folder.join(NAME))?;
        let states = read(folder);
        let end = states.iter().map(|state| line(state).len() as u64).sum();
        let last = states.last().cloned().unwrap_or(Value::Null);
        Ok(Journal(Rc::new(RefCell::new(Open { file, end, last }))))
    }

    /// Appends a state with what stands beside it; on disk when this returns, and only then may it be acted on.
    pub fn enter(&self, state: &str, beside: Value) -> io::Result<()> {
        let mut keys = Map::new();
        keys.insert("state".to_owned(), json!(state));
        keys.insert("at".to_owned(), json!(unix_ms()));
        if let Value::Object(more) = beside {
            keys.extend(more);
        }
        let document = Value::Object(keys);
        let line = line(&document);
        let mut open = self.0.borrow_mut();
        open.file.write_all_at(line.as_bytes(), open.end)?;
        open.file.sync_data()?;
        open.end += line.len() as u64;
        open.last = document;
        Ok(())
    }

    /// The state in force with what stands beside it.
    pub fn last(&self) -> Value {
        self.0.borrow().last.clone()
    }

    /// The state in force and when it began, milliseconds since 1970; an empty word before the first.
    pub fn state(&self) -> (String, u64) {
        let last = &self.0.borrow().last;
        let state = last["state"].as_str().unwrap_or_default().to_owned();
        (state, last["at"].as_u64().unwrap_or_default())
    }
}

/// The states of a claim, oldest first, up to the first line that is not whole; empty when there is no journal.
pub fn read(folder: &Path) -> Vec<Value> {
    let bytes = fs::read(folder.join(NAME)).unwrap_or_default();
    let lines = bytes.split_inclusive(|byte| *byte == b'\n');
    lines.map_while(whole).collect()
}

fn line(document: &Value) -> String {
    let text = document.to_string();
    format!("{:08x} {text}\n", crc32c::crc32c(text.as_bytes()))
}

fn whole(line: &[u8]) -> Option<Value> {
    let text = line.strip_suffix(b"\n")?;
    let (sum, state) = (text.get(..8)?, text.get(9..)?);
    let expected = format!("{:08x}", crc32c::crc32c(state));
    (sum == expected.as_bytes() && text[8] == b' ')
        .then(|| serde_json::from_slice(state).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_read_up_to_the_first_line_that_is_not_whole() {
        let folder = tempfile::tempdir().unwrap();
        assert!(read(folder.path()).is_empty());
        let journal = Journal::begin(folder.path()).unwrap();
        assert!(read(folder.path()).is_empty());
        assert_eq!(journal.state().0, "");
        journal.enter("accepted", json!({"id": "a\nb"})).unwrap();
        journal.enter("draining", Value::Null).unwrap();
        assert_eq!(journal.state().0, "draining");
        assert_eq!(
            Journal::reopen(folder.path()).unwrap().0.borrow().end,
            journal.0.borrow().end
        );
        let states = read(folder.path());
        assert_eq!(
            (&states[0]["id"], &states[1]["state"]),
            (&json!("a\nb"), &json!("draining"))
        );
        let path = folder.path().join(NAME);
        let bytes = fs::read(&path).unwrap();
        assert_eq!(bytes.len(), ROOM_BYTES);
        // Every byte of the last line changed or cut off: the state before counts.
        let begin = bytes.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        let end = journal.0.borrow().end;
        for at in begin..end as usize {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            fs::write(&path, &damaged).unwrap();
            assert_eq!(read(folder.path()).len(), 1, "at {at}");
            fs::write(&path, &bytes[..at]).unwrap();
            assert_eq!(read(folder.path()).len(), 1, "cut at {at}");
        }
    }
}

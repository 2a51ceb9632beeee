//! `batos blob`: contents of any length to the image and back, a chunk at a time.

use std::fs::{self, File};
use std::io::{self, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::json;
use shared::bridge::{Answer, BlobName, CHUNK_BYTES, Call, Chunk};
use shared::exit;
use shared::home::Home;
use shared::id::TransferId;
use shared::json::{from_hex, to_json};
use shared::reason;
use shared::value::{BlobRef, Value};

use crate::arguments::{BlobCommand, BlobGet, BlobPut};
use crate::failure::Failure;
use crate::kernel::{Kernel, Manner};
use crate::meter::Meter;
use crate::output::Report;

/// A transfer whose connection is lost is begun again, so often at most.
const MOST_BEGINS: u32 = 20;

/// Runs one of them. `json` is true for a program that wants one document; a slot is one of `branch`.
pub fn run(home: &Home, command: BlobCommand, json: bool, branch: Option<String>) -> Result<Report, Failure> {
    match command {
        BlobCommand::Put(put) => give(home, put, json, branch),
        BlobCommand::Get(get) => read(home, &get, json),
    }
}

fn give(home: &Home, put: BlobPut, json: bool, branch: Option<String>) -> Result<Report, Failure> {
    let begun = Instant::now();
    let mut kernel = Kernel::of(home);
    let mut begins = 0;
    let blob = loop {
        let (mut source, total) = open(&put.file)?;
        begins += 1;
        match send(&mut kernel, &mut source, Meter::new("sent", total, !json)) {
            // A transfer ends with its connection, as when one kernel takes over from another: a file can be read again.
            Err(failure)
                if failure.is_for(reason::NO_TRANSFER) && total.is_some() && begins < MOST_BEGINS => {}
            sent => break sent?,
        }
    };
    let value = Value::Blob(blob);
    let mut document = json!({ "ok": true, "blob": to_json(&value) });
    let mut text = to_json(&value).to_string();
    if let (Some(object), Some(slot)) = (put.object, put.slot) {
        let mut call = Call::Set { object, slot, value };
        if let Some(branch) = &branch {
            call = call
                .in_branch(branch.clone())
                .ok_or_else(|| Failure::internal("a set that no branch knows"))?;
        }
        let answer = ask(&mut kernel, call)?;
        let Answer::Changed {
            object,
            slot,
            transaction,
        } = answer
        else {
            return Err(strange(&answer));
        };
        document["object"] = json!(object.to_string());
        document["slot"] = json!(slot);
        document["transaction"] = json!(transaction.0);
        let place = match &branch {
            Some(branch) => format!("branch {branch}"),
            None => format!("transaction {transaction}"),
        };
        text = format!("{text}\n{object}.{slot} changed in {place}");
        if let Some(branch) = branch {
            document = shared::document::in_branch(document, &branch);
        }
    }
    document["elapsed_ms"] = json!(begun.elapsed().as_millis() as u64);
    Ok(Report::answered(document, text))
}

/// Gives a file's content; the meter is for people.
pub fn give_file(kernel: &mut Kernel, file: &Path, is_shown: bool) -> Result<BlobRef, Failure> {
    let (mut source, total) = open(file)?;
    send(kernel, &mut source, Meter::new("sent", total, is_shown))
}

/// Sends a content chunk by chunk; each waits for the answer to the one before, so neither side gathers any.
fn send(kernel: &mut Kernel, source: &mut dyn Read, mut meter: Meter) -> Result<BlobRef, Failure> {
    let transfer = match ask(kernel, Call::BlobBegin)? {
        Answer::Transfer { transfer, .. } => transfer,
        other => return Err(strange(&other)),
    };
    let mut offset = 0;
    loop {
        let mut bytes = Vec::with_capacity(CHUNK_BYTES);
        let got = source
            .take(CHUNK_BYTES as u64)
            .read_to_end(&mut bytes)
            .map_err(|error| Failure::usage(format!("the content cannot be read: {error}")))?;
        if got == 0 {
            break;
        }
        let write = Call::BlobWrite {
            transfer,
            offset,
            bytes: Chunk(bytes),
        };
        offset += got as u64;
        match ask(kernel, write)? {
            Answer::Arrived { bytes, .. } if bytes == offset => meter.show(offset),
            other => return Err(strange(&other)),
        }
    }
    match ask(kernel, Call::BlobEnd { transfer })? {
        Answer::Blob(blob) => Ok(blob),
        other => Err(strange(&other)),
    }
}

fn open(file: &Path) -> Result<(Box<dyn Read>, Option<u64>), Failure> {
    if file == Path::new("-") {
        if io::stdin().is_terminal() {
            return Err(Failure::usage(
                "standard input is a terminal; name a file or give the content by a pipe",
            ));
        }
        return Ok((Box::new(io::stdin().lock()), None));
    }
    let failed = |error: io::Error| Failure::usage(format!("cannot read {}: {error}", file.display()));
    let opened = File::open(file).map_err(failed)?;
    let data = opened.metadata().map_err(failed)?;
    if data.is_dir() {
        return Err(Failure::usage(format!(
            "{} is a folder; name a file",
            file.display()
        )));
    }
    Ok((Box::new(opened), data.is_file().then_some(data.len())))
}

fn read(home: &Home, get: &BlobGet, json: bool) -> Result<Report, Failure> {
    let begun = Instant::now();
    let name = blob_name(&get.blob)?;
    let Some(path) = &get.output else {
        if json {
            return Err(Failure::usage(
                "with --json standard output is for the document; name a file by -o FILE",
            ));
        }
        if io::stdout().is_terminal() {
            return Err(Failure::usage(
                "a content may be no text; name a file by -o FILE, or give standard output to a pipe or a file",
            ));
        }
        let mut out = io::stdout().lock();
        receive(home, name, &mut out, Meter::new("read", None, true))?;
        return Ok(Report {
            document: serde_json::Value::Null,
            text: String::new(),
            exit: exit::ANSWERED,
        });
    };
    let mut target = Target::open(path)?;
    let blob = receive(home, name, &mut target.file, Meter::new("read", None, !json))?;
    target.finish()?;
    let document = json!({
        "ok": true,
        "blob": to_json(&Value::Blob(blob)),
        "file": path.display().to_string(),
        "elapsed_ms": begun.elapsed().as_millis() as u64,
    });
    let text = format!("{} bytes in {}", blob.bytes, path.display());
    Ok(Report::answered(document, text))
}

/// Writes a content as it comes. The kernel gives the last chunk only when the whole has the right hash.
fn receive(home: &Home, blob: BlobName, out: &mut dyn Write, mut meter: Meter) -> Result<BlobRef, Failure> {
    let mut kernel = Kernel::of(home);
    let (transfer, blob): (TransferId, BlobRef) = match ask(&mut kernel, Call::BlobOpen { blob })? {
        Answer::Transfer {
            transfer,
            blob: Some(blob),
        } => (transfer, blob),
        other => return Err(strange(&other)),
    };
    meter.expect(blob.bytes);
    let unwritable = |error: io::Error| Failure::usage(format!("the content cannot be written: {error}"));
    let (mut transfer, mut begins) = (transfer, 1);
    // Of the content, and of this transfer of it.
    let (mut written, mut offset) = (0, 0);
    loop {
        let answer = match ask(&mut kernel, Call::BlobRead { transfer, offset }) {
            Err(failure) if failure.is_for(reason::NO_TRANSFER) && begins < MOST_BEGINS => {
                // It ended with its connection; what has a hash is the same the next time.
                let blob = BlobName::Digest(blob.digest);
                match ask(&mut kernel, Call::BlobOpen { blob })? {
                    Answer::Transfer { transfer: next, .. } => transfer = next,
                    other => return Err(strange(&other)),
                }
                (offset, begins) = (0, begins + 1);
                continue;
            }
            answer => answer?,
        };
        let Answer::Content { bytes, is_last, .. } = answer else {
            return Err(strange(&answer));
        };
        let end = offset + bytes.0.len() as u64;
        let known = usize::try_from(written.clamp(offset, end) - offset).unwrap_or(bytes.0.len());
        out.write_all(&bytes.0[known..]).map_err(unwritable)?;
        offset = end;
        written = written.max(end);
        meter.show(written);
        if is_last {
            out.flush().map_err(unwritable)?;
            return Ok(blob);
        }
    }
}

/// A hash, or an object and its slot.
fn blob_name(text: &str) -> Result<BlobName, Failure> {
    let is_digest = text.len() == 64 && !text.contains('.');
    if let Some(Ok(digest)) = from_hex(text).filter(|_| is_digest).map(<[u8; 32]>::try_from) {
        return Ok(BlobName::Digest(digest));
    }
    match text.rsplit_once('.') {
        Some((object, slot)) if !object.is_empty() && !slot.is_empty() => Ok(BlobName::Slot {
            object: object.to_owned(),
            slot: slot.to_owned(),
        }),
        _ => Err(Failure::usage(format!(
            "'{text}' names no blob: give its 64 hexadecimal digits, or OBJECT.SLOT such as account.photo"
        ))),
    }
}

/// The file that a content is written to: whole, or as it was before.
struct Target {
    path: PathBuf,
    file: File,
    /// Written aside first; `None` where there is no aside, such as /dev/null.
    aside: Option<PathBuf>,
}

impl Target {
    fn open(path: &Path) -> Result<Target, Failure> {
        let failed = |error: io::Error| Failure::usage(format!("cannot write {}: {error}", path.display()));
        if fs::metadata(path).is_ok_and(|data| data.is_dir()) {
            return Err(Failure::usage(format!(
                "{} is a folder; name a file",
                path.display()
            )));
        }
        let is_special = fs::metadata(path).is_ok_and(|data| !data.is_file());
        let aside = match path.file_name() {
            Some(name) if !is_special => {
                let mut aside = std::ffi::OsString::from(".");
                aside.push(name);
                aside.push(format!(".{}", std::process::id()));
                Some(path.with_file_name(aside))
            }
            _ => None,
        };
        let file = File::options()
            .write(true)
            .create(aside.is_some())
            .truncate(aside.is_some())
            .open(aside.as_deref().unwrap_or(path))
            .map_err(failed)?;
        Ok(Target {
            path: path.to_path_buf(),
            file,
            aside,
        })
    }

    fn finish(mut self) -> Result<(), Failure> {
        let Some(aside) = self.aside.take() else {
            return Ok(());
        };
        let moved = self.file.sync_all().and_then(|()| fs::rename(&aside, &self.path));
        moved.map_err(|error| {
            let _ = fs::remove_file(&aside);
            Failure::usage(format!("cannot write {}: {error}", self.path.display()))
        })
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if let Some(aside) = &self.aside {
            let _ = fs::remove_file(aside);
        }
    }
}

fn ask(kernel: &mut Kernel, call: Call) -> Result<Answer, Failure> {
    kernel.call(call, Manner::plain()).map(|answered| answered.answer)
}

fn strange(answer: &Answer) -> Failure {
    Failure::internal(format!("the kernel answered a transfer by {answer:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blobs_are_named_by_hash_or_slot() {
        assert_eq!(
            blob_name(&"0f".repeat(32)).ok(),
            Some(BlobName::Digest([0x0f; 32]))
        );
        let slot = |object: &str, slot: &str| {
            Some(BlobName::Slot {
                object: object.into(),
                slot: slot.into(),
            })
        };
        assert_eq!(blob_name("#12.photo").ok(), slot("#12", "photo"));
        assert_eq!(
            blob_name("personas.brick.photo").ok(),
            slot("personas.brick", "photo")
        );
        for bad in ["", "photo", ".photo", "a.", "0g"] {
            assert!(blob_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_target_is_whole_or_as_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        fs::write(&path, "old").unwrap();
        let mut half = Target::open(&path).unwrap();
        half.file.write_all(b"ne").unwrap();
        drop(half);
        assert_eq!(fs::read(&path).unwrap(), b"old");
        let mut whole = Target::open(&path).unwrap();
        whole.file.write_all(b"new").unwrap();
        whole.finish().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        Target::open(Path::new("/dev/null")).unwrap().finish().unwrap();
        assert!(Target::open(folder.path()).is_err());
    }
}

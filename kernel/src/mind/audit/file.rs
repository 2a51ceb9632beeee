//! The file of the stream: where its chain stands, lines added to it, and another begun when it is large.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::event::{Event, sha256_hex};
use crate::image::log::unix_ms;

/// The file is renamed when it is larger.
const ROTATE_BYTES: u64 = 64 << 20;
const NAME: &str = "thoughts.jsonl";

/// The newest file, open for appending.
pub struct StreamFile {
    folder: PathBuf,
    file: File,
    bytes: u64,
    chain: Chain,
}

/// Where the chain stands: the last line's number and hash.
#[derive(Clone, Debug, PartialEq)]
pub struct Chain {
    pub sequence: u64,
    pub hash: String,
}

/// A line with its place in the chain.
#[derive(Serialize)]
struct Chained<'a> {
    sequence: u64,
    previous: &'a str,
    #[serde(flatten)]
    event: &'a Event,
}

/// What a line says of its place.
#[derive(Deserialize)]
struct Place {
    sequence: u64,
    previous: String,
}

impl Chain {
    fn beginning() -> Chain {
        Chain {
            sequence: 0,
            hash: "0".repeat(64),
        }
    }
}

impl StreamFile {
    /// Opens the stream of a folder, and cuts off a line that was half written.
    pub fn open(folder: &Path) -> io::Result<StreamFile> {
        fs::create_dir_all(folder)?;
        let mut chain = Chain::beginning();
        // The last line of the newest file that has one.
        for path in files(folder)?.iter().rev() {
            if let Some(last) = last_line(path)? {
                chain = Chain {
                    sequence: place(&last).map_or(0, |place| place.sequence),
                    hash: sha256_hex(&last),
                };
                break;
            }
        }
        let file = append(&folder.join(NAME))?;
        let bytes = file.metadata()?.len();
        Ok(StreamFile {
            folder: folder.to_path_buf(),
            file,
            bytes,
            chain,
        })
    }

    /// Adds events as lines, at once. After an error none of them counts.
    pub fn add(&mut self, events: &[Event]) -> io::Result<()> {
        let mut text = Vec::new();
        let mut chain = self.chain.clone();
        for event in events {
            let chained = Chained {
                sequence: chain.sequence + 1,
                previous: &chain.hash,
                event,
            };
            let line = serde_json::to_vec(&chained)?;
            chain = Chain {
                sequence: chain.sequence + 1,
                hash: sha256_hex(&line),
            };
            text.extend(line);
            text.push(b'\n');
        }
        if let Err(error) = self.file.write_all(&text) {
            // Half a line must not stand before the next.
            let _ = self.file.set_len(self.bytes);
            return Err(error);
        }
        self.bytes += text.len() as u64;
        self.chain = chain;
        if self.bytes > ROTATE_BYTES {
            self.rotate()?;
        }
        Ok(())
    }

    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn rotate(&mut self) -> io::Result<()> {
        self.file.sync_data()?;
        let aside = self.folder.join(format!("thoughts.{}.jsonl", unix_ms()));
        fs::rename(self.folder.join(NAME), aside)?;
        self.file = append(&self.folder.join(NAME))?;
        self.bytes = 0;
        Ok(())
    }
}

/// The files of a stream, oldest first.
pub fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found: Vec<(u64, PathBuf)> = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        if name == NAME {
            found.push((u64::MAX, path));
        } else if let Some(begun) = name
            .strip_prefix("thoughts.")
            .and_then(|name| name.strip_suffix(".jsonl"))
            && let Ok(unix_ms) = begun.parse()
        {
            found.push((unix_ms, path));
        }
    }
    found.sort();
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

/// The last whole line of a file; what stands behind it is cut off.
fn last_line(path: &Path) -> io::Result<Option<Vec<u8>>> {
    const PIECE: u64 = 1 << 16;
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    let length = file.metadata()?.len();
    let mut tail = Vec::new();
    let mut from = length;
    // Enough for two ends of lines, or all.
    while from > 0 && tail.iter().filter(|byte| **byte == b'\n').count() < 2 {
        let step = PIECE.min(from);
        from -= step;
        file.seek(SeekFrom::Start(from))?;
        let mut piece = vec![0; step as usize];
        file.read_exact(&mut piece)?;
        piece.extend(tail);
        tail = piece;
    }
    let Some(end) = tail.iter().rposition(|byte| *byte == b'\n') else {
        if length > 0 {
            tracing::warn!(path = %path.display(), "a line of the audit that was half written is cut off");
            file.set_len(0)?;
        }
        return Ok(None);
    };
    let whole = from + end as u64 + 1;
    if whole < length {
        tracing::warn!(path = %path.display(), "a line of the audit that was half written is cut off");
        file.set_len(whole)?;
    }
    let begin = tail[..end]
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |at| at + 1);
    Ok(Some(tail[begin..end].to_vec()))
}

/// Walks a stream's files; answers how many lines there are, where the chain stands, and what is wrong with it.
pub fn check(folder: &Path) -> io::Result<(u64, Chain, Vec<String>)> {
    let mut faults = Vec::new();
    let mut chain: Option<Chain> = None;
    let mut lines = 0;
    for path in files(folder)? {
        let mut reader = BufReader::new(File::open(&path)?);
        let mut number = 0;
        loop {
            let mut line = Vec::new();
            if reader.read_until(b'\n', &mut line)? == 0 {
                break;
            }
            number += 1;
            if line.pop() != Some(b'\n') {
                // It is being written, or a crash has cut it off.
                break;
            }
            lines += 1;
            let at = format!("{} line {number}", path.display());
            match place(&line) {
                None => faults.push(format!("{at} is no line of the stream")),
                Some(told) => {
                    // The oldest files may have been deleted.
                    if let Some(before) = &chain {
                        if told.sequence != before.sequence + 1 {
                            faults.push(format!(
                                "{at} has number {} after {}",
                                told.sequence, before.sequence
                            ));
                        } else if told.previous != before.hash {
                            faults.push(format!(
                                "{at} does not continue the line before it: one of both was changed"
                            ));
                        }
                    }
                    chain = Some(Chain {
                        sequence: told.sequence,
                        hash: sha256_hex(&line),
                    });
                }
            }
        }
    }
    Ok((lines, chain.unwrap_or_else(Chain::beginning), faults))
}

fn place(line: &[u8]) -> Option<Place> {
    serde_json::from_slice(line).ok()
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(count: usize) -> Vec<Event> {
        (0..count).map(|n| Event::now(&format!("EVENT_{n}"))).collect()
    }

    #[test]
    fn the_chain_goes_on_over_restarts_and_files() {
        let folder = tempfile::tempdir().unwrap();
        let mut stream = StreamFile::open(folder.path()).unwrap();
        stream.add(&lines(3)).unwrap();
        stream.rotate().unwrap();
        drop(stream);
        let mut stream = StreamFile::open(folder.path()).unwrap();
        stream.add(&lines(2)).unwrap();
        // A crash in the middle of a line.
        let newest = folder.path().join(NAME);
        append(&newest)
            .unwrap()
            .write_all(b"{\"sequence\":6,\"prev")
            .unwrap();
        let mut stream = StreamFile::open(folder.path()).unwrap();
        stream.add(&lines(1)).unwrap();
        let (count, chain, faults) = check(folder.path()).unwrap();
        assert_eq!((count, chain.sequence, faults), (6, 6, Vec::<String>::new()));
        assert_eq!(chain, StreamFile::open(folder.path()).unwrap().chain);
    }

    #[test]
    fn what_was_changed_or_cut_out_is_named() {
        let folder = tempfile::tempdir().unwrap();
        StreamFile::open(folder.path()).unwrap().add(&lines(5)).unwrap();
        let path = folder.path().join(NAME);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace("EVENT_2", "EVENT_9")).unwrap();
        let (_, _, faults) = check(folder.path()).unwrap();
        assert!(
            faults.len() == 1 && faults[0].contains("line 4 does not continue"),
            "{faults:?}"
        );
        let kept: Vec<&str> = text.lines().filter(|line| !line.contains("EVENT_2")).collect();
        fs::write(&path, kept.join("\n") + "\n").unwrap();
        let (_, _, faults) = check(folder.path()).unwrap();
        assert!(
            faults.len() == 1 && faults[0].contains("has number 4 after 2"),
            "{faults:?}"
        );
    }
}

//! What a file is, and how its passages come.

use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use shared::bridge::Passage;

use super::code::{Code, ENDINGS};
use super::events::Events;
use super::lines::{Lines, Looked, look};
use super::prose::Prose;
use super::{html, pdf};

const PDF_MARK: &[u8] = b"%PDF-";
const BLOCK: usize = 1 << 20;

/// A file that is about to be indexed.
pub struct Source {
    /// Its name in the memory.
    pub name: String,
    pub format: &'static str,
    pub digest: [u8; 32],
    pub bytes: u64,
    /// When it was changed, in microseconds since 1970.
    pub at: Option<i64>,
    /// What it is read as, where that is not UTF-8.
    pub note: Option<String>,
    file: File,
    path: PathBuf,
    looked: Looked,
}

/// Its passages, in order.
pub enum Passages {
    Prose(Prose),
    Code(Code),
    Events(Events),
    Blocks(std::vec::IntoIter<Passage>),
    Pdf(Prose, Option<pdf::Reading>),
}

/// What a person calls a source: a path of a file that is there is told in full.
pub fn named(text: &str) -> String {
    let path = Path::new(text);
    match path.exists() && !text.starts_with('#') {
        true => full(path),
        false => text.to_owned(),
    }
}

fn full(path: &Path) -> String {
    let full = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    full.to_string_lossy().into_owned()
}

/// The files of a folder and its folders, in the order of their names; hidden ones and links are left out.
pub fn walk(folder: &Path, found: &mut Vec<PathBuf>) -> io::Result<()> {
    let mut entries: Vec<_> = fs::read_dir(folder)?.collect::<io::Result<_>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        let kind = entry.file_type()?;
        if kind.is_dir() {
            walk(&entry.path(), found)?;
        } else if kind.is_file() {
            found.push(entry.path());
        }
    }
    Ok(())
}

impl Source {
    /// Opens a file; the error says why it is none for the memory.
    pub fn open(path: &Path, format: Option<&'static str>) -> Result<Source, String> {
        let file = File::open(path).map_err(|error| format!("it cannot be read: {error}"))?;
        Source::of(file, path, full(path), format)
    }

    /// Standard input, put aside into a file that has no name: its hash comes first.
    pub fn standard_input(format: Option<&'static str>) -> Result<Source, String> {
        let failed = |error: io::Error| format!("standard input cannot be put aside: {error}");
        let mut aside = tempfile::tempfile().map_err(failed)?;
        io::copy(&mut io::stdin().lock(), &mut aside).map_err(failed)?;
        aside.flush().map_err(failed)?;
        aside.rewind().map_err(failed)?;
        let mut source = Source::of(aside, Path::new("-"), String::new(), format)?;
        source.name = format!("stdin:{}", &blake3::Hash::from(source.digest).to_hex()[..32]);
        source.at = None;
        Ok(source)
    }

    fn of(mut file: File, path: &Path, name: String, format: Option<&'static str>) -> Result<Source, String> {
        let failed = |error: io::Error| format!("it cannot be read: {error}");
        let data = file.metadata().map_err(failed)?;
        if data.is_dir() {
            return Err("it is a folder".into());
        }
        let format = match format {
            Some(format) => format,
            None => guessed(&mut file, path).map_err(failed)?,
        };
        let looked = match format {
            "pdf" => Looked::Text(encoding_rs::UTF_8),
            _ => look(&mut file).map_err(failed)?,
        };
        let note = match &looked {
            Looked::Binary(why) => return Err(why.clone()),
            Looked::Text(encoding) if *encoding != encoding_rs::UTF_8 => {
                Some(format!("{} is read as {}", path.display(), encoding.name()))
            }
            Looked::Text(_) => None,
        };
        let mut hasher = blake3::Hasher::new();
        let mut block = vec![0; BLOCK];
        let mut bytes = 0;
        loop {
            let read = file.read(&mut block).map_err(failed)?;
            if read == 0 {
                break;
            }
            hasher.update(&block[..read]);
            bytes += read as u64;
        }
        file.rewind().map_err(failed)?;
        let changed = data
            .modified()
            .ok()
            .and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        Ok(Source {
            name,
            format,
            digest: *hasher.finalize().as_bytes(),
            bytes,
            at: changed.and_then(|since| i64::try_from(since.as_micros()).ok()),
            note,
            file,
            path: path.to_path_buf(),
            looked,
        })
    }

    pub fn passages(self) -> Result<Passages, String> {
        let lines = |file, looked: &Looked| match looked {
            Looked::Text(encoding) => Lines::of(file, encoding),
            Looked::Binary(why) => Err(why.clone()),
        };
        Ok(match self.format {
            "html" => Passages::Blocks(html::passages(self.file, &self.looked)?.into_iter()),
            "pdf" => {
                let (lines, reading) = pdf::lines(&self.path)?;
                Passages::Pdf(Prose::of(lines, false), Some(reading))
            }
            "code" => Passages::Code(Code::of(lines(self.file, &self.looked)?)),
            "jsonl" => Passages::Events(Events::of(lines(self.file, &self.looked)?)),
            format => Passages::Prose(Prose::of(lines(self.file, &self.looked)?, format == "markdown")),
        })
    }
}

impl Passages {
    pub fn next(&mut self) -> Result<Option<Passage>, String> {
        match self {
            Passages::Prose(prose) => prose.next(),
            Passages::Code(code) => code.next(),
            Passages::Events(events) => events.next(),
            Passages::Blocks(blocks) => Ok(blocks.next()),
            Passages::Pdf(prose, reading) => match prose.next()? {
                Some(passage) => Ok(Some(passage)),
                None => reading.take().map_or(Ok(()), pdf::Reading::finish).map(|()| None),
            },
        }
    }
}

/// By its name's ending, and by how it begins.
fn guessed(file: &mut File, path: &Path) -> io::Result<&'static str> {
    let mut head = [0; 512];
    let read = file.read(&mut head)?;
    file.rewind()?;
    let head = &head[..read];
    if head.starts_with(PDF_MARK) {
        return Ok("pdf");
    }
    let ending = path
        .extension()
        .map(|ending| ending.to_string_lossy().to_lowercase());
    Ok(match ending.as_deref() {
        Some("md" | "markdown" | "mkd") => "markdown",
        Some("html" | "htm" | "xhtml") => "html",
        Some("jsonl" | "ndjson") => "jsonl",
        Some("log") if head.starts_with(b"{") => "jsonl",
        Some("pdf") => "pdf",
        Some(ending) if ENDINGS.contains(&ending) => "code",
        _ => match head.trim_ascii_start().to_ascii_lowercase() {
            start if start.starts_with(b"<!doctype html") || start.starts_with(b"<html") => "html",
            _ => "text",
        },
    })
}

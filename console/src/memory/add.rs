//! Passages go to the kernel, batch by batch; each is one transaction, which also says how far its document is.

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::json;
use shared::bridge::{Added, Answer, Call, DocumentView, Passage, SourceView};
use shared::exit;
use shared::home::Home;
use shared::reason;

use super::pairs;
use super::source::{Source, walk};
use crate::arguments::MemoryAdd;
use crate::failure::Failure;
use crate::kernel::{Kernel, Manner};
use crate::meter::Meter;
use crate::output::Report;

/// A batch has so many bytes of text, or so many passages.
const BATCH_BYTES: usize = 128 << 10;
const BATCH: usize = 512;
/// A document that somebody else indexes at the same time is looked at again, so many times.
const MOST_BEGINS: u32 = 20;

/// What came of all files.
#[derive(Default)]
struct Sum {
    documents: Vec<DocumentView>,
    /// Documents that the memory had.
    known_documents: u64,
    chunks: u64,
    known_chunks: u64,
    vectors: u64,
    bytes: u64,
    text_only: Option<String>,
    /// Files that were left out, and why.
    left_out: Vec<(PathBuf, String)>,
    notes: Vec<String>,
}

pub fn run(home: &Home, add: &MemoryAdd, json: bool) -> Result<Report, Failure> {
    let begun = Instant::now();
    let mut files = Vec::new();
    let mut is_one = true;
    for given in &add.files {
        match given.is_dir() {
            true => {
                is_one = false;
                walk(given, &mut files)
                    .map_err(|error| Failure::usage(format!("cannot read {}: {error}", given.display())))?;
            }
            false => files.push(given.clone()),
        }
    }
    is_one &= files.len() == 1;
    if add.source.is_some() && !is_one {
        return Err(Failure::usage("--source names one file, not several"));
    }
    let mut kernel = Kernel::of(home);
    let mut sum = Sum::default();
    for (at, file) in files.iter().enumerate() {
        let told = match files.len() {
            1 => None,
            all => Some(format!("{} of {all}: {}", at + 1, file.display())),
        };
        if let (Some(told), true) = (told, !json && io::stderr().is_terminal()) {
            eprintln!("{told}");
        }
        let source = match file == Path::new("-") {
            true if io::stdin().is_terminal() => {
                return Err(Failure::usage(
                    "standard input is a terminal; name a file or give the text by a pipe",
                ));
            }
            true => Source::standard_input(add.format()),
            false => Source::open(file, add.format()),
        };
        let indexed = source
            .map_err(Trouble::File)
            .and_then(|source| index(&mut kernel, add, source, &mut sum, !json));
        match indexed {
            Ok(()) => {}
            Err(Trouble::Kernel(failure)) => return Err(failure),
            Err(Trouble::File(why)) if is_one => {
                return Err(Failure::usage(format!("{}: {why}", file.display())));
            }
            Err(Trouble::File(why)) => sum.left_out.push((file.clone(), why)),
        }
    }
    Ok(sum.report(begun))
}

/// What keeps a file from being indexed.
enum Trouble {
    /// It is the file's; others may do.
    File(String),
    Kernel(Failure),
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Trouble {
        Trouble::Kernel(failure)
    }
}

fn index(
    kernel: &mut Kernel,
    add: &MemoryAdd,
    source: Source,
    sum: &mut Sum,
    is_shown: bool,
) -> Result<(), Trouble> {
    let view = SourceView {
        source: add.source.clone().unwrap_or_else(|| source.name.clone()),
        format: source.format.to_owned(),
        digest: source.digest,
        bytes: source.bytes,
        at: add.date.map(|date| date.0).or(source.at),
        meta: pairs(add.meta.clone()),
    };
    sum.notes.extend(source.note.clone());
    let mut meter = Meter::new("indexed", Some(source.bytes), is_shown);
    let mut passages = source.passages().map_err(Trouble::File)?;
    let mut document = begin(kernel, &view)?;
    if document.is_whole {
        sum.known_documents += 1;
        sum.documents.push(document);
        return Ok(());
    }
    let mut begins = 1;
    let mut batch: Vec<Passage> = Vec::new();
    let (mut bytes, mut from) = (0, document.indexed);
    loop {
        let next = passages.next().map_err(Trouble::File)?;
        let is_last = next.is_none();
        if let Some(passage) = next {
            if passage.begin < document.indexed {
                continue;
            }
            bytes += passage.text.len();
            batch.push(passage);
            if bytes < BATCH_BYTES && batch.len() < BATCH {
                continue;
            }
        }
        let to = batch
            .iter()
            .map(|passage| passage.end)
            .max()
            .unwrap_or(from)
            .max(from);
        let call = Call::MemoryAdd {
            document: document.document,
            from,
            to,
            passages: batch.clone(),
            is_last,
        };
        match ask(kernel, call) {
            Ok(Answer::MemoryAdded(added)) => {
                sum.add(&added);
                sum.bytes += bytes as u64;
                from = to;
                meter.show(to);
            }
            Ok(other) => return Err(Failure::internal(format!("the kernel answered {other:?}")).into()),
            // Somebody else indexes it: where they are, this goes on.
            Err(failure) if failure.is_for(reason::MOVED_ON) && begins < MOST_BEGINS => {
                begins += 1;
                document = begin(kernel, &view)?;
                batch.retain(|passage| passage.begin >= document.indexed);
                from = document.indexed;
                if !document.is_whole && !batch.is_empty() {
                    let call = Call::MemoryAdd {
                        document: document.document,
                        from,
                        to: to.max(from),
                        passages: batch.clone(),
                        is_last,
                    };
                    if let Answer::MemoryAdded(added) = ask(kernel, call)? {
                        sum.add(&added);
                        from = to.max(from);
                    }
                }
            }
            Err(failure) => return Err(failure.into()),
        }
        batch.clear();
        bytes = 0;
        if is_last {
            sum.documents.push(begin(kernel, &view)?);
            return Ok(());
        }
    }
}

fn begin(kernel: &mut Kernel, view: &SourceView) -> Result<DocumentView, Failure> {
    match ask(kernel, Call::MemoryBegin(view.clone()))? {
        Answer::MemoryDocument(document) => Ok(document),
        other => Err(Failure::internal(format!("the kernel answered {other:?}"))),
    }
}

pub fn ask(kernel: &mut Kernel, call: Call) -> Result<Answer, Failure> {
    kernel.call(call, Manner::plain()).map(|answered| answered.answer)
}

impl Sum {
    fn add(&mut self, added: &Added) {
        self.chunks += added.chunks;
        self.known_chunks += added.known;
        self.vectors += added.vectors;
        if let Some(why) = &added.text_only {
            self.text_only = Some(why.clone());
        }
    }

    fn report(self, begun: Instant) -> Report {
        let documents: Vec<_> = self
            .documents
            .iter()
            .map(shared::document::memory_document)
            .collect();
        let left_out: Vec<_> = self
            .left_out
            .iter()
            .map(|(file, why)| json!({ "file": file.display().to_string(), "why": why }))
            .collect();
        let document = json!({
            "ok": true,
            "documents": documents,
            "known_documents": self.known_documents,
            "chunks": self.chunks,
            "known": self.known_chunks,
            "vectors": self.vectors,
            "bytes": self.bytes,
            "text_only": self.text_only,
            "left_out": left_out,
            "notes": self.notes,
            "elapsed_ms": begun.elapsed().as_millis() as u64,
        });
        let mut lines = Vec::new();
        if let [one] = self.documents.as_slice() {
            lines.push(format!("{} is {}", one.source, one.document));
        }
        lines.push(format!(
            "{} documents ({} known before), {} chunks and {} vectors made, {} chunks known before",
            self.documents.len(),
            self.known_documents,
            self.chunks,
            self.vectors,
            self.known_chunks
        ));
        lines.extend(self.text_only.map(|why| format!("text only: {why}")));
        lines.extend(self.notes);
        lines.extend(
            self.left_out
                .iter()
                .map(|(file, why)| format!("left out: {}: {why}", file.display())),
        );
        Report {
            document,
            text: lines.join("\n"),
            exit: exit::ANSWERED,
        }
    }
}

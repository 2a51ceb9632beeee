//! The stream of consciousness (M30): one JSON document a line, appended outside the image's transactions, so that a thought
//! that left nothing can still be explained. Drawn in `docs/thoughts.md`.
//!
//! - [`event`]: what is told. [`file`]: the chained lines. [`otlp`]: the same as traces for other tools.

pub mod event;
pub mod file;
pub mod otlp;

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use self::event::{Event, Prompts};
use self::file::StreamFile;

/// So many bytes of events wait for the disk at most.
const QUEUE_BYTES: usize = 64 << 20;
/// So many events are written at once at most.
const TOGETHER: usize = 256;

/// The door to the writing thread.
pub struct Audit {
    prompts: Prompts,
    queue: Mutex<Option<Sender<Event>>>,
    waiting: Arc<Waiting>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Waiting {
    bytes: AtomicUsize,
    /// Events that found no room since the last that did.
    lost: AtomicU64,
}

impl Audit {
    /// Appends to the stream of a folder.
    pub fn open(folder: &Path, prompts: Prompts) -> io::Result<Audit> {
        let file = StreamFile::open(folder)?;
        let (sender, queue) = channel();
        let waiting = Arc::<Waiting>::default();
        let its = waiting.clone();
        let thread = std::thread::Builder::new()
            .name("audit".into())
            .spawn(move || write_all(file, &queue, &its))?;
        Ok(Audit {
            prompts,
            queue: Mutex::new(Some(sender)),
            waiting,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Never waits. What finds no room is counted and told.
    pub fn write(&self, mut event: Event) {
        event.keep(self.prompts);
        let bytes = event.bytes();
        if self.waiting.bytes.load(Ordering::Relaxed) + bytes > QUEUE_BYTES {
            self.waiting.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.waiting.bytes.fetch_add(bytes, Ordering::Relaxed);
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(queue) = queue.as_ref() {
            let _ = queue.send(event);
        }
    }

    /// Returns when everything that was written is durable. What comes later is left out.
    pub fn close(&self) {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(queue);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

fn write_all(mut file: StreamFile, queue: &Receiver<Event>, waiting: &Waiting) {
    while let Ok(first) = queue.recv() {
        let mut events = vec![first];
        events.extend(queue.try_iter().take(TOGETHER));
        let bytes = events.iter().map(Event::bytes).sum();
        let lost = waiting.lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            events.push(Event {
                tokens: Some(lost),
                ..Event::now("EVENTS_LOST")
            });
        }
        let count = events.len() as u64;
        if let Err(error) = file.add(&events) {
            tracing::error!(%error, events = count, "the audit cannot be written");
            waiting.lost.fetch_add(count, Ordering::Relaxed);
        }
        waiting.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
    if let Err(error) = file.sync() {
        tracing::error!(%error, "the audit cannot be synced");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clean_stop_loses_nothing_and_what_found_no_room_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        let audit = Audit::open(folder.path(), Prompts::None).unwrap();
        for _ in 0..1_000 {
            let mut event = Event::now("ARTIFACT_GENERATED");
            event.llm_prompt = Some("secret".into());
            audit.write(event);
        }
        // As if the disk stood still.
        audit.waiting.bytes.fetch_add(QUEUE_BYTES, Ordering::Relaxed);
        audit.write(Event::now("TOO_MUCH"));
        audit.waiting.bytes.fetch_sub(QUEUE_BYTES, Ordering::Relaxed);
        audit.write(Event::now("LAST"));
        audit.close();
        let text = std::fs::read_to_string(folder.path().join("thoughts.jsonl")).unwrap();
        assert!(!text.contains("secret") && !text.contains("TOO_MUCH"), "{text}");
        let (lines, _, faults) = file::check(folder.path()).unwrap();
        assert_eq!((lines, faults.len()), (1_002, 0));
        assert!(
            text.contains("\"event_type\":\"EVENTS_LOST\"") && text.contains("\"tokens\":1"),
            "{text}"
        );
    }
}

//! The kernel, at the other end of descriptor 3.
#![allow(unsafe_code)]

use std::collections::VecDeque;
use std::io::Write;
use std::os::fd::{FromRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use shared::activation::{Finished, FromWorker, OwnChunk, Refused, Remembered, Run, ScanOrder, ToWorker};
use shared::bridge::Hit;
use shared::frame::{self, FrameError};
use shared::id::ObjectId;
use shared::incoming::Incoming;
use shared::key::Key;
use shared::object::ObjectImage;
use shared::value::Value;

use crate::progress::Progress;

/// The only descriptor of a jailed worker.
pub const DESCRIPTOR: RawFd = 3;

/// Results wait for one another so long and up to so many bytes, while there is more to carry out.
const PATIENCE: Duration = Duration::from_micros(50);
const OUTGOING_BYTES: usize = 32 << 10;

/// The connection; owned by whoever may speak at the moment: the loop, or the run in progress.
pub struct Peer {
    stream: UnixStream,
    incoming: Incoming,
    /// Messages that came while another one was carried out.
    waiting: VecDeque<Box<Run>>,
    /// Results that are not sent yet, and when the first of them was there.
    outgoing: Vec<u8>,
    since: Instant,
    /// `None` when nobody would see which run is in progress: then no result waits.
    progress: Option<Progress>,
}

impl Peer {
    /// Takes descriptor 3. Called once, before anything else opens a descriptor.
    pub fn take() -> Result<Peer, String> {
        if nix::sys::socket::getsockopt(&borrowed(), nix::sys::socket::sockopt::SockType).is_err() {
            return Err("descriptor 3 is not a socket; the kernel starts this program".to_owned());
        }
        // SAFETY: descriptor 3 is open (asked just above), was handed over by exec to this program alone, and this
        // function is called once, first thing in `serve`, so that nothing else owns it.
        Ok(Peer {
            stream: unsafe { UnixStream::from_raw_fd(DESCRIPTOR) },
            incoming: Incoming::default(),
            waiting: VecDeque::new(),
            outgoing: Vec::new(),
            since: Instant::now(),
            progress: Progress::take(),
        })
    }

    /// The next message to carry out; `None` for anything else, which nobody asked for.
    pub fn next(&mut self) -> Result<Option<Box<Run>>, FrameError> {
        let run = match self.waiting.pop_front() {
            Some(run) => run,
            None => match self.read()? {
                ToWorker::Run(run) => run,
                _ => return Ok(None),
            },
        };
        if let Some(progress) = &self.progress {
            progress.count();
        }
        Ok(Some(run))
    }

    /// Says how a run ended: at once, or with the results of those that wait behind it. One that is too large is not said.
    pub fn finish(&mut self, finished: Finished) -> Result<(), FrameError> {
        let frame = frame::encode(&FromWorker::Finished(Box::new(finished)))?;
        if self.outgoing.is_empty() {
            self.since = Instant::now();
        }
        self.outgoing.extend_from_slice(&frame);
        match self.progress {
            Some(_) if self.outgoing.len() < OUTGOING_BYTES && self.since.elapsed() < PATIENCE => Ok(()),
            _ => self.flush(),
        }
    }

    /// What comes next; whoever waits for a result gets it before this process waits itself.
    fn read(&mut self) -> Result<ToWorker, FrameError> {
        if let Some(message) = self.incoming.take()? {
            return Ok(message);
        }
        self.flush()?;
        self.incoming.read(&mut self.stream)
    }

    fn flush(&mut self) -> Result<(), FrameError> {
        self.stream.write_all(&self.outgoing)?;
        self.outgoing.clear();
        Ok(())
    }

    pub fn write(&mut self, message: &FromWorker) -> Result<(), FrameError> {
        self.flush()?;
        frame::write(&mut self.stream, message)
    }

    /// The objects that exist among `ids`.
    ///
    /// A run has no way to go on without its kernel, so a lost or nonsensical one ends the process.
    pub fn fetch(&mut self, ids: Vec<ObjectId>) -> Vec<ObjectImage> {
        match self.ask(&FromWorker::Fetch(ids)) {
            ToWorker::Objects(objects) => objects,
            _ => end(),
        }
    }

    /// A fresh id. Ends the process like [`Peer::fetch`].
    pub fn allocate(&mut self) -> ObjectId {
        match self.ask(&FromWorker::Allocate) {
            ToWorker::Allocated(id) => id,
            _ => end(),
        }
    }

    /// A stored entry. Ends the process like [`Peer::fetch`].
    pub fn entry(&mut self, object: ObjectId, key: Key) -> Option<Value> {
        match self.ask(&FromWorker::Entry { object, key }) {
            ToWorker::Entry(value) => value,
            _ => end(),
        }
    }

    /// Stored entries of a range and whether they are all of it. Ends the process like [`Peer::fetch`].
    pub fn scan(
        &mut self,
        object: ObjectId,
        from: Key,
        to: Key,
        limit: u32,
        order: ScanOrder,
    ) -> (Vec<(Key, Value)>, bool) {
        let question = FromWorker::Scan {
            object,
            from,
            to,
            limit,
            order,
        };
        match self.ask(&question) {
            ToWorker::Entries { entries, is_whole } => (entries, is_whole),
            _ => end(),
        }
    }

    /// How many entries an object has. Ends the process like [`Peer::fetch`].
    pub fn count(&mut self, object: ObjectId) -> u64 {
        match self.ask(&FromWorker::Count(object)) {
            ToWorker::Count(count) => count,
            _ => end(),
        }
    }

    /// What a text that is to be indexed comes to. Ends the process like [`Peer::fetch`].
    pub fn remember(
        &mut self,
        text: String,
        source: Option<String>,
        meta: Vec<(String, String)>,
        own: Vec<OwnChunk>,
    ) -> Result<Remembered, Refused> {
        let question = FromWorker::Remember {
            text,
            source,
            meta,
            own,
        };
        match self.ask(&question) {
            ToWorker::Remembered(remembered) => remembered,
            _ => end(),
        }
    }

    /// What the memory knows about a question. Ends the process like [`Peer::fetch`].
    pub fn recall(
        &mut self,
        question: String,
        k: u32,
        filters: Vec<(String, String)>,
        at: Option<i64>,
        own: Vec<OwnChunk>,
    ) -> Result<Vec<Hit>, Refused> {
        let question = FromWorker::Recall {
            question,
            k,
            filters,
            at,
            own,
        };
        match self.ask(&question) {
            ToWorker::Recalled(recalled) => recalled,
            _ => end(),
        }
    }

    /// The answer to a question; messages that stand before it wait.
    fn ask(&mut self, question: &FromWorker) -> ToWorker {
        if self.write(question).is_err() {
            end();
        }
        loop {
            match self.read() {
                Ok(ToWorker::Run(run)) => self.waiting.push_back(run),
                Ok(answer) => return answer,
                Err(_) => end(),
            }
        }
    }
}

/// Leaves without running anything of the interpreter.
fn end() -> ! {
    // SAFETY: `_exit` takes no pointer and runs no handler.
    unsafe { libc::_exit(i32::from(shared::exit::ERROR)) }
}

fn borrowed() -> std::os::fd::BorrowedFd<'static> {
    // SAFETY: 3 is not -1; whether it is open is what the caller finds out (EBADF is an ordinary error).
    unsafe { std::os::fd::BorrowedFd::borrow_raw(DESCRIPTOR) }
}

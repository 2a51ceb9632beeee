//! The kernel, at the other end of descriptor 3.
#![allow(unsafe_code)]

use std::os::fd::{FromRawFd, RawFd};
use std::os::unix::net::UnixStream;

use shared::activation::{FromWorker, ScanOrder, ToWorker};
use shared::frame::{self, FrameError};
use shared::id::ObjectId;
use shared::key::Key;
use shared::object::ObjectImage;
use shared::value::Value;

/// The only descriptor of a jailed worker.
pub const DESCRIPTOR: RawFd = 3;

/// The connection; owned by whoever may speak at the moment: the loop, or the run in progress.
pub struct Peer {
    stream: UnixStream,
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
        })
    }

    pub fn read(&mut self) -> Result<ToWorker, FrameError> {
        frame::read(&mut self.stream)
    }

    pub fn write(&mut self, message: &FromWorker) -> Result<(), FrameError> {
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

    fn ask(&mut self, question: &FromWorker) -> ToWorker {
        match self.write(question).and_then(|()| self.read()) {
            Ok(answer) => answer,
            Err(_) => end(),
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

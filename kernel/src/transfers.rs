//! Contents on their way between a client and the blobs, a chunk a request. They belong to one conversation and end with it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use shared::bridge::{Answer, BlobName, CHUNK_BYTES, Call, Chunk, Fault};
use shared::id::TransferId;
use shared::json::to_hex;
use shared::reason;
use shared::value::{BlobRef, Value};

use crate::image::blob::{BlobError, Content, Upload};
use crate::kernel::Kernel;
use crate::overlay::World;

/// One conversation has at most so many under way.
const MAX_OPEN: usize = 16;

/// What one conversation has under way. Dropped with it; an upload that is not finished then leaves nothing.
#[derive(Default)]
pub struct Transfers {
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    last: u64,
    transfers: HashMap<TransferId, Transfer>,
}

enum Transfer {
    Upload(Upload),
    Download(Content),
    /// A request is at work on it.
    Busy,
}

impl Transfers {
    fn begin(&self, transfer: Transfer) -> Result<TransferId, Fault> {
        let mut open = self.open();
        if open.transfers.len() >= MAX_OPEN {
            return Err(Fault::new(
                reason::TOO_LARGE,
                format!(
                    "one connection has at most {MAX_OPEN} transfers under way; finish one or use another"
                ),
            ));
        }
        open.last += 1;
        let id = TransferId(open.last);
        open.transfers.insert(id, transfer);
        Ok(id)
    }

    /// Takes a transfer to work on it. After an error the transfer is gone.
    fn take(&self, id: TransferId) -> Result<Transfer, Fault> {
        let mut open = self.open();
        match open.transfers.get_mut(&id) {
            Some(Transfer::Busy) => Err(Fault::new(
                reason::BAD_ARGUMENT,
                format!("another request is at work on transfer {id}; wait for its reply"),
            )),
            Some(transfer) => Ok(std::mem::replace(transfer, Transfer::Busy)),
            None => Err(Fault::new(
                reason::NO_TRANSFER,
                format!(
                    "there is no transfer {id} on this connection: it ended, or was interrupted; begin it again"
                ),
            )),
        }
    }

    fn put_back(&self, id: TransferId, transfer: Transfer) {
        self.open().transfers.insert(id, transfer);
    }

    fn end(&self, id: TransferId) {
        self.open().transfers.remove(&id);
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kernel {
    /// Carries out one call of a transfer, off the threads that serve.
    pub async fn transfer(self: &Arc<Self>, transfers: Arc<Transfers>, call: Call) -> Result<Answer, Fault> {
        let kernel = self.clone();
        let done = tokio::task::spawn_blocking(move || kernel.carry(&transfers, call)).await;
        done.unwrap_or_else(|error| Err(Fault::new(reason::INTERNAL, error.to_string())))
    }

    fn carry(&self, transfers: &Transfers, call: Call) -> Result<Answer, Fault> {
        match call {
            Call::BlobBegin => {
                let upload = self.image.state.blobs.begin().map_err(|error| fault(&error))?;
                let transfer = transfers.begin(Transfer::Upload(upload))?;
                Ok(Answer::Transfer { transfer, blob: None })
            }
            Call::BlobOpen { blob } => {
                let content = self.open_blob(&blob)?;
                let blob = Some(content.blob());
                let transfer = transfers.begin(Transfer::Download(content))?;
                Ok(Answer::Transfer { transfer, blob })
            }
            Call::BlobWrite {
                transfer,
                offset,
                bytes,
            } => self.step(transfers, transfer, |taken| {
                write(transfer, taken, offset, &bytes)
            }),
            Call::BlobRead { transfer, offset } => {
                self.step(transfers, transfer, |taken| read(transfer, taken, offset))
            }
            Call::BlobEnd { transfer } => self.step(transfers, transfer, |taken| match taken {
                Transfer::Upload(upload) => {
                    let blob = self
                        .image
                        .state
                        .blobs
                        .keep(upload)
                        .map_err(|error| fault(&error))?;
                    Ok((Answer::Blob(blob), None))
                }
                _ => Err(wrong_way(transfer)),
            }),
            _ => Err(Fault::new(reason::INTERNAL, "a call that is no transfer")),
        }
    }

    /// Works on a transfer; without another state, or after an error, it is over.
    fn step(
        &self,
        transfers: &Transfers,
        id: TransferId,
        work: impl FnOnce(Transfer) -> Result<(Answer, Option<Transfer>), Fault>,
    ) -> Result<Answer, Fault> {
        let taken = transfers.take(id)?;
        let result = work(taken);
        match result {
            Ok((answer, Some(rest))) => {
                transfers.put_back(id, rest);
                Ok(answer)
            }
            Ok((answer, None)) => {
                transfers.end(id);
                Ok(answer)
            }
            Err(fault) => {
                transfers.end(id);
                Err(fault)
            }
        }
    }

    fn open_blob(&self, name: &BlobName) -> Result<Content, Fault> {
        let blobs = &self.image.state.blobs;
        let (object, slot) = match name {
            BlobName::Digest(digest) => return blobs.open(digest).map_err(|error| fault(&error)),
            BlobName::Slot { object, slot } => (object, slot),
        };
        let receiver = self.resolve(object)?;
        let world = World {
            state: &self.image.state,
            overlay: None,
        };
        let wanted: BlobRef = match world.look_up(receiver, slot).found.map(|found| found.value) {
            Some(Value::Blob(blob)) => blob,
            Some(other) => {
                return Err(Fault::new(
                    reason::BAD_ARGUMENT,
                    format!("{object}.{slot} is a {}, not a blob", other.kind()),
                ));
            }
            None => {
                return Err(Fault::new(
                    reason::NO_SLOT,
                    format!("{object} has no slot {slot}"),
                ));
            }
        };
        let content = blobs.open(&wanted.digest).map_err(|error| fault(&error))?;
        match content.blob() == wanted {
            true => Ok(content),
            false => Err(fault(&BlobError::Damaged {
                digest: wanted.digest,
                what: format!("it has {} bytes, not {}", content.blob().bytes, wanted.bytes),
            })),
        }
    }
}

fn write(
    id: TransferId,
    taken: Transfer,
    offset: u64,
    bytes: &Chunk,
) -> Result<(Answer, Option<Transfer>), Fault> {
    let Transfer::Upload(mut upload) = taken else {
        return Err(wrong_way(id));
    };
    check_offset(id, offset, upload.bytes())?;
    upload.write(&bytes.0).map_err(|error| fault(&error))?;
    let arrived = Answer::Arrived {
        transfer: id,
        bytes: upload.bytes(),
    };
    Ok((arrived, Some(Transfer::Upload(upload))))
}

fn read(id: TransferId, taken: Transfer, offset: u64) -> Result<(Answer, Option<Transfer>), Fault> {
    let Transfer::Download(mut content) = taken else {
        return Err(wrong_way(id));
    };
    check_offset(id, offset, content.at())?;
    let (bytes, is_last) = content.next(CHUNK_BYTES).map_err(|error| fault(&error))?;
    let answer = Answer::Content {
        transfer: id,
        offset,
        bytes: Chunk(bytes),
        is_last,
    };
    Ok((answer, (!is_last).then_some(Transfer::Download(content))))
}

fn check_offset(id: TransferId, given: u64, at: u64) -> Result<(), Fault> {
    match given == at {
        true => Ok(()),
        false => Err(Fault::new(
            reason::BAD_ARGUMENT,
            format!("transfer {id} is at byte {at}, not {given}; it is given up"),
        )),
    }
}

fn wrong_way(id: TransferId) -> Fault {
    Fault::new(
        reason::BAD_ARGUMENT,
        format!("transfer {id} goes the other way; it is given up"),
    )
}

/// What a client is told about a failure of the blobs.
pub fn fault(error: &BlobError) -> Fault {
    let word = match error {
        BlobError::Io { .. } => reason::IMAGE_FAILED,
        BlobError::Missing(_) => reason::NO_BLOB,
        BlobError::Damaged { digest, .. } => {
            tracing::error!(blob = to_hex(digest), %error, "a blob is damaged");
            reason::BLOB_DAMAGED
        }
    };
    Fault::new(word, error.to_string())
}

//! Fractal memory (M29, `docs/memory.md`): what was read, cut into chunks, found again by its words and its meaning.
//!
//! - [`document`]: documents and chunks as objects. [`chunker`]: passages become chunks. [`add`]: chunks become objects.
//! - [`encode`]: vectors for chunks that have none.
//! - [`find`]: what answers a question; [`Kernel::retrieve`](crate::kernel::Kernel::retrieve) is the door for thoughts. [`look`]: show, forget, figures.
//! - [`crew`]: much of the same kind is done on all processors.
//! - [`message`]: the same for methods, inside their transaction. [`ledger`]: what is never indexed again.

pub mod add;
pub mod chunker;
pub mod crew;
pub mod document;
mod encode;
pub mod find;
pub mod ledger;
mod look;
pub mod message;

use std::path::PathBuf;

use self::ledger::Ledger;
use crate::mind::model::Model;

/// What the memory needs besides the image.
pub struct Memory {
    /// Where encoders answer.
    pub model: Model,
    pub ledger: Ledger,
}

impl Memory {
    pub fn new(inference_socket: PathBuf) -> Memory {
        Memory {
            model: Model::new(inference_socket),
            ledger: Ledger::default(),
        }
    }
}

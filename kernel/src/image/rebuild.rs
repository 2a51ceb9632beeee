//! Makes an index anew from the log alone.

use std::path::Path;

use shared::id::TransactionId;

use super::OpenError;
use super::lmdb::Lmdb;
use super::log::{Archive, BEGINNING};
use super::record::Entry;
use super::state::State;

/// The state is written into the index in steps of so many changes.
const STEP: usize = 20_000;

/// Fills an empty index with the state as of `last`. Every record is shown to `watch` before it is carried out, with the state
/// before it.
pub fn rebuild(
    log_folder: &Path,
    index: Lmdb,
    last: TransactionId,
    mut watch: impl FnMut(&State, TransactionId, &Entry),
) -> Result<State, OpenError> {
    let folder = index.folder().to_path_buf();
    let failed = |source| OpenError::Index {
        path: folder.clone(),
        source,
    };
    let state = State::load(index, Archive::new(log_folder))?;
    let from = state.position().unwrap_or(BEGINNING);
    let archive = Archive::new(log_folder);
    archive.walk(from, last, |next, entry, position| {
        watch(&state, next.transaction, &entry);
        state.replay(next, entry, position);
        if state.fresh_weight() > STEP {
            state.flush().map_err(failed)?;
        }
        Ok::<bool, OpenError>(true)
    })?;
    state.flush().map_err(failed)?;
    Ok(state)
}

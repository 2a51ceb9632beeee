//! A branch in front of the state as it is now.

use shared::id::TransactionId;

use super::Branch;
use crate::image::draft::CommitError;
use crate::image::overlay::Overlay;
use crate::image::state::State;

/// How often it is tried to see one state, while others commit.
const TRIES: u32 = 4;

/// The changes of a branch, resolved in front of the newest state that was looked at.
#[derive(Default)]
pub struct View {
    overlay: Overlay,
    /// The transaction that it stands in front of; `None` at first.
    at: Option<TransactionId>,
}

impl View {
    /// Resolves the branch's changes anew if the state has moved. An error tells why they no longer fit it.
    pub fn refresh(&mut self, state: &State, branch: &Branch) -> Result<(), CommitError> {
        for _ in 0..TRIES {
            let now = state.standing().last;
            if self.at == Some(now) {
                break;
            }
            let mut overlay = Overlay::default();
            let resolved = overlay.resolve(state, branch.changes())?;
            overlay.place(state, resolved);
            *self = View {
                overlay,
                at: Some(now),
            };
        }
        Ok(())
    }

    pub fn overlay(&self) -> &Overlay {
        &self.overlay
    }

    pub(super) fn overlay_mut(&mut self) -> &mut Overlay {
        &mut self.overlay
    }
}

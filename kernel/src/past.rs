//! Calls about the past: history, log, time travel, differences, undo.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp, civil, tz::TimeZone};
use shared::bridge::{Answer, Fault, ObjectView, TransactionView};
use shared::id::{ObjectId, TransactionId};
use shared::reason;

use crate::edit::SHOWN_ENTRIES;
use crate::image::draft::CommitError;
use crate::image::history::{History, HistoryError};
use crate::kernel::{Asker, Kernel, commit_fault};

/// No answer holds more transactions than this.
const MOST: u32 = 10_000;

impl Kernel {
    pub fn history(&self, object: &str, slot: Option<&str>, limit: u32) -> Result<Answer, Fault> {
        let object = self.resolve(object)?;
        let past = History::of(&self.image.state);
        let versions = past
            .versions(object, slot, limit.clamp(1, MOST) as usize)
            .map_err(fault)?;
        let base = self.image.state.base();
        match versions.is_empty() && base.0 > 0 {
            true => Err(Fault::new(
                reason::PACKED,
                format!("nothing has changed there since transaction {base}, where the image was packed"),
            )),
            false => Ok(Answer::Log(versions)),
        }
    }

    /// The transaction that a slot has its value from.
    pub fn put_by(&self, object: ObjectId, slot: &str) -> Result<TransactionView, Fault> {
        let past = History::of(&self.image.state);
        let versions = past.versions(object, Some(slot), 1).map_err(fault)?;
        versions.into_iter().next().ok_or_else(|| {
            Fault::new(
                reason::PACKED,
                format!(
                    "{object}.{slot} has not changed since transaction {}, where the image was packed: where it came from is forgotten",
                    self.image.state.base()
                ),
            )
        })
    }

    pub fn log(&self, from: Option<&str>, limit: u32) -> Result<Answer, Fault> {
        let from = match from {
            Some(from) => self.moment(from)?,
            None => self.image.state.standing().last,
        };
        let past = History::of(&self.image.state);
        Ok(Answer::Log(
            past.log(from, limit.clamp(1, MOST) as usize).map_err(fault)?,
        ))
    }

    pub fn inspect_at(&self, object: &str, at: &str) -> Result<Answer, Fault> {
        let at = self.moment(at)?;
        let id = self.resolve(object)?;
        let past = History::of(&self.image.state);
        let found = past.object_at(id, at).map_err(fault)?.ok_or_else(|| {
            Fault::new(
                reason::NO_OBJECT,
                format!("{id} did not exist yet after transaction {at}"),
            )
        })?;
        let chain = found.parents().iter().map(ObjectId::to_string).collect();
        let (entries, first) = past.entries_at(id, at, SHOWN_ENTRIES).map_err(fault)?;
        Ok(Answer::Object(ObjectView {
            object: found,
            name: crate::names::known_name(self.world(), id),
            chain,
            entries,
            first_entries: first
                .into_iter()
                .filter_map(|(key, value)| Some((key.value()?, value)))
                .collect(),
        }))
    }

    pub fn difference(&self, from: &str, to: &str) -> Result<Answer, Fault> {
        let (from, to) = (self.moment(from)?, self.moment(to)?);
        let (from, to) = (from.min(to), from.max(to));
        let differences = History::of(&self.image.state)
            .difference(from, to)
            .map_err(fault)?;
        Ok(Answer::Difference {
            from,
            to,
            differences,
        })
    }

    /// Takes a transaction back by another one.
    pub async fn undo(self: &Arc<Self>, asker: Asker, undone: TransactionId) -> Result<Answer, Fault> {
        let mut draft = History::of(&self.image.state)
            .undo(undone, &asker.author)
            .map_err(fault)?;
        let answer = Answer::Undone {
            undone,
            transaction: TransactionId(0),
        };
        draft.reads.extend(self.keep_covenants(None, &draft.changes)?);
        draft.reply = asker.request.map(|request| (request, answer.clone()));
        match self.image.committer.commit(draft).await {
            Ok(committed) => Ok(committed
                .answer
                .unwrap_or_else(|| crate::send::with_transaction(answer, committed.transaction))),
            Err(CommitError::Repeated(answer)) => Ok(*answer),
            Err(error) => Err(commit_fault(error)),
        }
    }

    /// The transaction that a number or a time means: `17`, `2026-11-21T03:00:00Z`, `2026-11-21`, `-10m`.
    fn moment(&self, text: &str) -> Result<TransactionId, Fault> {
        if let Ok(number) = text.parse::<u64>() {
            return Ok(TransactionId(number));
        }
        let unix_ms = time(text).ok_or_else(|| {
            Fault::new(
                reason::BAD_ARGUMENT,
                format!(
                    "{text:?} is neither a transaction nor a time such as 2026-11-21, 2026-11-21T03:00:00Z or -10m (before now)"
                ),
            )
        })?;
        History::of(&self.image.state).at_time(unix_ms).map_err(fault)
    }
}

pub fn time(text: &str) -> Option<u64> {
    let timestamp = if let Some(before) = text.strip_prefix('-') {
        let duration: SignedDuration = before.parse().ok()?;
        Timestamp::now().checked_sub(duration).ok()?
    } else if let Ok(date) = text.parse::<civil::Date>()
        && text.len() == 10
    {
        date.to_zoned(TimeZone::UTC).ok()?.timestamp()
    } else {
        text.parse().ok()?
    };
    u64::try_from(timestamp.as_millisecond()).ok()
}

fn fault(error: HistoryError) -> Fault {
    let message = error.to_string();
    match error {
        HistoryError::Packed { .. } => Fault::new(reason::PACKED, message),
        HistoryError::Unknown(..) => Fault::new(reason::NO_TRANSACTION, message),
        HistoryError::Bound(..) => Fault::new(reason::BOUND, message),
        HistoryError::Log(_) => Fault::new(reason::IMAGE_FAILED, message),
    }
}

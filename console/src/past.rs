//! How transactions and differences are shown to people.

use jiff::Timestamp;
use shared::bridge::{ChangeView, Difference, OriginView, TransactionView};
use shared::value::Value;

use crate::render::{self, nested};

/// Values are cut after so many characters.
const SHOWN: usize = 60;
/// Of each transaction so many changes are shown.
const CHANGES: usize = 12;

/// Transactions, as they were told.
pub fn log(views: &[TransactionView]) -> String {
    if views.is_empty() {
        return "nothing".into();
    }
    views.iter().map(transaction).collect::<Vec<_>>().join("\n")
}

/// What differs, object by object.
pub fn differences(differences: &[Difference]) -> String {
    if differences.is_empty() {
        return "nothing differs".into();
    }
    let lines = differences.iter().map(|difference| {
        let old = difference.old.as_ref().map(short);
        let new = difference.new.as_ref().map(short);
        let place = place(
            &difference.object.to_string(),
            difference.slot.as_deref(),
            difference.key.as_ref(),
        );
        match (old, new) {
            (Some(old), Some(new)) => format!("~ {place}: {old} → {new}"),
            (None, Some(new)) => format!("+ {place}: {new}"),
            (Some(old), None) => format!("- {place}: {old}"),
            (None, None) => format!("  {place}"),
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// How a method came to be.
pub fn origin(origin: &OriginView) -> String {
    let put = &origin.transaction;
    let mut out = format!(
        "{}.{} was put by transaction {} at {}, by {}\n\n{}",
        origin.name,
        origin.selector,
        put.transaction,
        moment(put.unix_ms),
        put.author,
        origin.source.trim_end()
    );
    match (&origin.thought, put.thought) {
        (Some(thought), _) => out.push_str(&format!(
            "\n\nThe thought that wrote it:\n{}",
            render::thought(thought)
        )),
        (None, Some(thought)) => out.push_str(&format!(
            "\n\nThought {thought} changed it; the image holds no more of it."
        )),
        (None, None) => {
            out.push_str("\n\nNo thought wrote it: somebody defined it, or it was there at the awakening.")
        }
    }
    out
}

fn transaction(view: &TransactionView) -> String {
    let mut head = format!("{}  {}  {}", view.transaction, moment(view.unix_ms), view.author);
    if let Some(thought) = view.thought {
        head.push_str(&format!("  thought {thought}"));
    }
    if let Some(undone) = view.undoes {
        head.push_str(&format!("  takes back {undone}"));
    }
    if view.collected > 0 {
        head.push_str("  collects what is unreachable");
    }
    let mut lines = vec![head];
    lines.extend(view.changes.iter().take(CHANGES).map(change));
    let more = view.changes.len().saturating_sub(CHANGES) as u64 + view.more_changes;
    if more > 0 {
        lines.push(format!("      and {more} more"));
    }
    lines.join("\n")
}

fn change(change: &ChangeView) -> String {
    let place = place(
        &change.object.to_string(),
        change.slot.as_deref(),
        change.key.as_ref(),
    );
    match &change.value {
        Some(value) if change.is_new => format!("    + {place} = {}", short(value)),
        Some(value) => format!("      {place} = {}", short(value)),
        None => format!("    - {place}"),
    }
}

fn place(object: &str, slot: Option<&str>, key: Option<&Value>) -> String {
    match (slot, key) {
        (Some(slot), _) => format!("{object}.{slot}"),
        (None, Some(key)) => format!("{object}[{}]", short(key)),
        (None, None) => object.to_owned(),
    }
}

/// One line, cut where it is long.
fn short(value: &Value) -> String {
    let text = match value {
        Value::Method(source) => source.lines().next().unwrap_or_default().to_owned(),
        other => nested(other).replace('\n', " "),
    };
    match text.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

pub fn moment(unix_ms: u64) -> String {
    match Timestamp::from_millisecond(unix_ms as i64) {
        Ok(time) => time.strftime("%Y-%m-%d %H:%M:%SZ").to_string(),
        Err(_) => format!("{unix_ms} ms"),
    }
}

#[cfg(test)]
mod tests {
    use shared::id::{ObjectId, TransactionId};

    use super::*;

    #[test]
    fn a_transaction_reads_as_who_when_and_what() {
        let view = TransactionView {
            transaction: TransactionId(7),
            unix_ms: 0,
            author: "client a".into(),
            thought: None,
            undoes: Some(TransactionId(5)),
            collected: 0,
            changes: vec![ChangeView {
                object: ObjectId(12),
                is_new: false,
                slot: Some("n".into()),
                key: None,
                value: Some(Value::Int(3)),
            }],
            more_changes: 2,
        };
        assert_eq!(
            log(&[view]),
            "7  1970-01-01 00:00:00Z  client a  takes back 5\n      #12.n = 3\n      and 2 more"
        );
    }
}

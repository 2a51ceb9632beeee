//! Values, objects, thoughts and status as text for people.

use std::fmt::Write as _;

use shared::bridge::{
    Backup, Finding, KernelStatus, MissionView, ObjectView, Packing, ThoughtView, Verification, WishView,
};
use shared::control::StewardStatus;
use shared::inference::Figures;
use shared::json::{to_hex, to_json};
use shared::value::Value;

use crate::meter::size;

/// A list or map whose one-line form is longer than this is spread over lines.
const LINE_CHARS: usize = 76;

/// A value as the answer to a send: text bare, everything else as in [`nested`].
pub fn answer(value: &Value) -> String {
    match value {
        Value::Text(text) => text.clone(),
        Value::Method(source) => source.trim_end().to_owned(),
        other => nested(other),
    }
}

/// A value as part of something: text quoted, references as `#12`, lists and maps spread when they are long.
pub fn nested(value: &Value) -> String {
    let mut out = String::new();
    write_value(value, 0, &mut out);
    out
}

fn write_value(value: &Value, indent: usize, out: &mut String) {
    let line = flat(value);
    match value {
        Value::List(items) if !items.is_empty() && line.chars().count() + indent > LINE_CHARS => {
            out.push_str("[\n");
            for item in items {
                pad(indent + 2, out);
                write_value(item, indent + 2, out);
                out.push_str(",\n");
            }
            pad(indent, out);
            out.push(']');
        }
        Value::Map(pairs) if !pairs.is_empty() && line.chars().count() + indent > LINE_CHARS => {
            out.push_str("{\n");
            for (key, value) in pairs {
                pad(indent + 2, out);
                out.push_str(&flat(key));
                out.push_str(": ");
                write_value(value, indent + 2, out);
                out.push_str(",\n");
            }
            pad(indent, out);
            out.push('}');
        }
        _ => out.push_str(&line),
    }
}

fn flat(value: &Value) -> String {
    match value {
        Value::Ref(id) => id.to_string(),
        Value::Big(digits) => digits.clone(),
        Value::Bytes(bytes) => format!("<{} bytes>", bytes.len()),
        Value::Time(us) => shared::time::to_text(*us),
        Value::Blob(blob) => format!("<blob {}…, {} bytes>", to_hex(&blob.digest[..6]), blob.bytes),
        Value::Method(source) => format!("<method: {}>", source.lines().next().unwrap_or_default().trim()),
        Value::Float(f) if !f.is_finite() => f.to_string().to_lowercase(),
        Value::List(items) => format!("[{}]", items.iter().map(flat).collect::<Vec<_>>().join(", ")),
        Value::Map(pairs) => {
            let pairs: Vec<String> = pairs
                .iter()
                .map(|(k, v)| format!("{}: {}", flat(k), flat(v)))
                .collect();
            format!("{{{}}}", pairs.join(", "))
        }
        Value::None | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_) => {
            to_json(value).to_string()
        }
    }
}

fn pad(columns: usize, out: &mut String) {
    out.extend(std::iter::repeat_n(' ', columns));
}

/// Text of somebody else without what could steer the terminal.
pub fn harmless(text: &str) -> String {
    let shown = |c: char| match c {
        '\n' | '\t' => c,
        c if c.is_control() => '\u{FFFD}',
        c => c,
    };
    text.chars().map(shown).collect()
}

pub fn object(view: &ObjectView) -> String {
    let mut out = view.object.id.to_string();
    if let Some(name) = &view.name {
        let _ = write!(out, "  {name}");
    }
    let _ = match view.object.version.committed() {
        Some(version) => writeln!(out, "  (version {version})"),
        None => writeln!(out, "  (changed in this branch)"),
    };
    let _ = writeln!(out, "delegates to: {}", or_dash(&view.chain.join(" → ")));
    let width = view
        .object
        .slots
        .iter()
        .map(|slot| slot.name.len())
        .max()
        .unwrap_or(0)
        .min(32);
    for slot in &view.object.slots {
        let shown = match &slot.value {
            Value::Method(source) => {
                let lines: Vec<String> = source
                    .trim_end()
                    .lines()
                    .map(|line| format!("      {line}"))
                    .collect();
                format!("\n{}", lines.join("\n"))
            }
            other => {
                let mut text = String::new();
                write_value(other, 2, &mut text);
                text
            }
        };
        let _ = writeln!(
            out,
            "  {:width$}  {:<10} {shown}",
            slot.name,
            slot.value.detailed_kind()
        );
    }
    if view.entries > 0 {
        let noun = if view.entries == 1 { "entry" } else { "entries" };
        let _ = writeln!(out, "{} {noun}:", view.entries);
    }
    for (key, value) in &view.first_entries {
        let _ = write!(out, "  {}: ", flat(key));
        write_value(value, 2, &mut out);
        out.push('\n');
    }
    if view.entries > view.first_entries.len() as u64 {
        out.push_str("  …");
    }
    out.trim_end().to_owned()
}

pub fn findings(findings: &[Finding]) -> String {
    if findings.is_empty() {
        return "the guard has no objection".to_owned();
    }
    let lines = findings
        .iter()
        .map(|f| format!("line {}: {} ({})", f.line, f.message, f.rule));
    lines.collect::<Vec<_>>().join("\n")
}

/// A line for each thought.
pub fn thoughts(views: &[ThoughtView]) -> String {
    if views.is_empty() {
        return "no thoughts yet: nobody has sent what nobody understands".to_owned();
    }
    let line = |view: &ThoughtView| {
        let why = if view.message.is_empty() {
            String::new()
        } else {
            format!("  {}", view.message)
        };
        format!(
            "{:>5}  {:<8} {} {}  rounds {}, model calls {}, {} ms{why}",
            view.id.0,
            view.outcome,
            view.receiver,
            view.selector,
            view.rounds,
            view.model_calls,
            view.elapsed_ms
        )
    };
    views.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// What is wanted of each method: its words, then an example a line.
pub fn wishes(views: &[WishView]) -> String {
    if views.is_empty() {
        return "nothing is wished for; `batos wish --help` tells how to".to_owned();
    }
    let mut lines = Vec::new();
    for view in views {
        let intent = view.wish.intent.as_deref().unwrap_or("(by examples alone)");
        lines.push(format!("{} {}  {intent}", view.name, view.selector));
        lines.extend(view.wish.examples.iter().map(|example| format!("    {example}")));
    }
    lines.join("\n")
}

/// The missions under way.
pub fn missions(views: &[MissionView]) -> String {
    if views.is_empty() {
        return "no mission is under way".to_owned();
    }
    let line = |view: &MissionView| {
        format!(
            "{:>5}  {:<13} {} {}  round {}, {} of {} tokens, {}, {} waiting",
            view.id.0,
            view.state,
            view.name,
            view.selector,
            view.round,
            view.tokens,
            view.token_budget,
            duration(view.elapsed_ms),
            view.waiting
        )
    };
    views.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// One thought with its events and artifact.
pub fn thought(view: &ThoughtView) -> String {
    let mut out = thoughts(std::slice::from_ref(view));
    for event in &view.events {
        let after_ms = event.unix_ms.saturating_sub(view.begun_unix_ms);
        let detail = event.detail.trim_end().replace('\n', "\n                 ");
        let _ = write!(
            out,
            "\n  {after_ms:>7} ms  round {}  {:<18} {:<13} {detail}",
            event.round, event.kind, event.state
        );
    }
    let artifact = view.artifact.trim();
    // Mostly an event has told it.
    let is_told = view.events.iter().any(|event| event.detail.trim() == artifact);
    if !artifact.is_empty() && !is_told {
        let _ = write!(out, "\n\n{}", view.artifact.trim_end());
    }
    out
}

pub fn steward(status: Option<&StewardStatus>) -> String {
    let Some(status) = status else {
        return "steward  not running".to_owned();
    };
    let mut out = format!(
        "steward  running, pid {}, version {}, up {}",
        status.pid,
        status.version,
        duration(status.uptime_ms)
    );
    for plank in &status.planks {
        let pid = plank.pid.map_or(String::new(), |pid| format!(", pid {pid}"));
        let _ = write!(
            out,
            "\n  {:<16} {}{pid}, restarts {}",
            plank.name, plank.state, plank.restarts
        );
        if !plank.last_exit.is_empty() {
            let _ = write!(out, ", last end: {}", plank.last_exit);
        }
    }
    if let Some(upgrade) = &status.upgrade {
        let _ = write!(out, "\n  upgrade {}: {}", upgrade.id, upgrade.state);
    }
    for (file, outcome) in &status.instructions {
        let _ = write!(out, "\n  instruction {file}: {outcome}");
    }
    out
}

pub fn kernel(status: &KernelStatus) -> String {
    let told = |what: &Result<String, String>| match what {
        Ok(what) => what.clone(),
        Err(why) => format!("none: {why}"),
    };
    let (model, embedder) = (told(&status.model), told(&status.embedder));
    let workers: Vec<String> = status.method_workers.iter().map(ToString::to_string).collect();
    format!(
        "kernel   ready, pid {}, version {}, epoch {}, up {}\n  image    {} objects, transaction {}, log {} bytes\n  blobs    {}, {} bytes\n  \
         traffic  {} sends, {} conflicts, {} clients, {} open missions\n  workers  {}\n  model    {model}\n  embedder {embedder}{}",
        status.pid,
        status.version,
        status.epoch,
        duration(status.uptime_ms),
        status.objects,
        status.last_transaction,
        status.log_bytes,
        status.blobs,
        status.blob_bytes,
        status.sends,
        status.conflicts,
        status.clients,
        status.missions_open,
        or_dash(&workers.join(", ")),
        status.inference.as_ref().map(figures).unwrap_or_default(),
    )
}

/// Lines of what the inference-worker does.
fn figures(figures: &Figures) -> String {
    let ended = figures.stopped + figures.full + figures.late + figures.cancelled;
    let mut lines = format!(
        "\n  requests {} at work, {} wait, {ended} ended, {} failed; {} embeddings wait, {} texts embedded",
        figures.active, figures.waiting, figures.failed, figures.embed_waiting, figures.texts
    );
    lines += &format!(
        "\n  tokens   {:.1} a second; {} written, {} read, {} found in the cache",
        figures.written_per_second, figures.written_tokens, figures.read_tokens, figures.shared_tokens
    );
    if figures.cache_tokens > 0 {
        lines += &format!(
            "\n  cache    {} tokens: {} held, {} kept",
            figures.cache_tokens, figures.held_tokens, figures.kept_tokens
        );
    }
    for tier in &figures.tiers {
        lines += &format!(
            "\n  {:8} {} adapters, {} of {} bytes",
            tier.name, tier.adapters, tier.bytes, tier.budget_bytes
        );
    }
    lines
}

fn duration(ms: u64) -> String {
    let seconds = ms / 1000;
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

fn or_dash(text: &str) -> &str {
    if text.is_empty() { "-" } else { text }
}

/// What a verification found.
pub fn verification(found: &Verification) -> String {
    let mut lines: Vec<String> = found
        .faults
        .iter()
        .map(|fault| format!("{}: {}", fault.place, fault.what))
        .collect();
    lines.push(format!(
        "{} faults; transaction {}, {} objects, {} entries, digest {}",
        found.faults.len() as u64 + found.more_faults,
        found.last,
        found.objects,
        found.entries,
        found.digest
    ));
    lines.join("\n")
}

/// What a backup holds.
pub fn backup(backup: &Backup) -> String {
    let mut lines = vec![format!(
        "{} holds transaction {}: {} in {} files and {} blobs, {} of it copied now",
        backup.folder,
        backup.last,
        size(backup.bytes),
        backup.files,
        backup.blobs,
        size(backup.copied_bytes)
    )];
    let damaged = backup.damaged.iter();
    lines.extend(damaged.map(|digest| {
        format!("the blob {digest} is damaged and was left out; put its content again (batos blob put), then back up")
    }));
    lines.join("\n")
}

/// What a pack did.
pub fn packing(packing: &Packing) -> String {
    format!(
        "{} objects stay, {} were reached from nowhere and are gone; history begins after transaction {}; {} bytes on disk, {} before",
        packing.objects, packing.collected, packing.base, packing.bytes_after, packing.bytes_before
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::id::{ObjectId, TransactionId};
    use shared::object::{ObjectImage, SlotImage};

    #[test]
    fn values_read_well() {
        let map = Value::Map(vec![
            (Value::Text("id".into()), Value::Ref(ObjectId(12))),
            (
                Value::Text("n".into()),
                Value::List(vec![Value::Int(1), Value::None]),
            ),
        ]);
        assert_eq!(answer(&map), "{\"id\": #12, \"n\": [1, null]}");
        assert_eq!(answer(&Value::Text("a\nb".into())), "a\nb");
        assert_eq!(nested(&Value::Text("a\nb".into())), "\"a\\nb\"");
        assert_eq!(answer(&Value::Float(f64::NAN)), "nan");
        let long = Value::List((0..40).map(|n| Value::Int(n * 1000)).collect());
        assert_eq!(answer(&long).lines().count(), 42);
    }

    #[test]
    fn an_object_shows_its_slots_and_chain() {
        let slot = |name: &str, value| SlotImage {
            name: name.into(),
            value,
            changed: TransactionId(2),
        };
        let view = ObjectView {
            object: ObjectImage {
                id: ObjectId(12),
                version: TransactionId(2),
                slots: vec![
                    slot("balance", Value::Int(5)),
                    slot("show", Value::Method("def show(self):\n    return 1\n".into())),
                ],
            },
            name: Some("account".into()),
            chain: vec!["traits".into()],
            entries: 1200,
            first_entries: vec![(Value::Text("a".into()), Value::Int(1))],
        };
        let mut pending = view.clone();
        pending.object.version = TransactionId::PENDING;
        assert!(object(&pending).starts_with("#12  account  (changed in this branch)\n"));
        let text = object(&view);
        for part in [
            "#12  account  (version 2)",
            "delegates to: traits",
            "balance  int        5",
            "      def show(self):",
            "1200 entries:\n  \"a\": 1\n  …",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn a_message_cannot_steer_the_terminal() {
        assert_eq!(harmless("a\x1b[2Jb\n"), "a\u{FFFD}[2Jb\n");
    }
}

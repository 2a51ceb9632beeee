//! Answers of the memory for people.

use shared::bridge::{Answer, DocumentView, Hit, MemoryFigures};
use shared::time;

/// So much of a hit's text is shown.
const SHOWN_CHARS: usize = 600;
/// So many terms.
const SHOWN_TERMS: usize = 6;

pub fn answer(answer: &Answer) -> String {
    match answer {
        Answer::MemoryHits { hits, text_only } => found(hits, text_only.as_deref()),
        Answer::MemoryShown(view) => {
            let mut lines = vec![document(&view.document)];
            for chunk in &view.chunks {
                lines.push(format!(
                    "{}  bytes {} to {}  {}\n{}",
                    chunk.chunk,
                    chunk.begin,
                    chunk.end,
                    chunk.language,
                    indented(&chunk.text)
                ));
            }
            if (view.chunks.len() as u64) < view.document.chunks && view.chunks.len() > 1 {
                lines.push(format!("… of {} chunks", view.document.chunks));
            }
            lines.join("\n")
        }
        Answer::MemoryForgotten {
            document,
            chunks,
            transaction,
        } => format!(
            "{chunks} chunks of {document} are out of the memory since transaction {transaction}; history has them until a pack"
        ),
        Answer::MemoryStats(figures) => stats(figures),
        other => format!("{other:?}"),
    }
}

fn found(hits: &[Hit], text_only: Option<&str>) -> String {
    let mut lines: Vec<String> = hits
        .iter()
        .enumerate()
        .map(|(at, found)| hit(at + 1, found))
        .collect();
    if hits.is_empty() {
        lines.push("nothing was found".into());
    }
    lines.extend(text_only.map(|why| format!("text only: {why}")));
    lines.join("\n")
}

fn hit(place: usize, hit: &Hit) -> String {
    let terms: Vec<String> = hit
        .terms
        .iter()
        .take(SHOWN_TERMS)
        .map(|(term, worth)| format!("{term} {worth:.2}"))
        .collect();
    let mut why = vec![format!("text {:.2}", hit.text_score)];
    if !terms.is_empty() {
        why[0] = format!("text {:.2}: {}", hit.text_score, terms.join(", "));
    }
    why.extend(hit.vector_score.map(|cosine| format!("cosine {cosine:.3}")));
    let joined = match hit.joined {
        1 => String::new(),
        joined => format!("  {joined} joined"),
    };
    let date = hit
        .at
        .map(|at| format!("  {}", &time::to_text(at)[..10.min(time::to_text(at).len())]));
    format!(
        "{place}  {:.3}  {}  {}:{}-{}{joined}{}  {}\n   [{}]\n{}",
        hit.score,
        hit.chunk,
        hit.source,
        hit.begin,
        hit.end,
        date.unwrap_or_default(),
        hit.trust,
        why.join("; "),
        indented(&hit.text)
    )
}

fn document(view: &DocumentView) -> String {
    let meta: Vec<String> = view
        .meta
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let state = match (view.valid_until, view.is_whole) {
        (Some(until), _) => format!("superseded since {}", time::to_text(until)),
        (None, true) => "valid".into(),
        (None, false) => format!("indexed up to byte {} of {}", view.indexed, view.bytes),
    };
    format!(
        "{}  {}\n    {}, {} bytes, {} chunks, {state}\n    by {} ({}){}",
        view.document,
        view.source,
        view.format,
        view.bytes,
        view.chunks,
        view.author,
        view.trust,
        match meta.is_empty() {
            true => String::new(),
            false => format!("\n    {}", meta.join(" ")),
        }
    )
}

fn stats(figures: &MemoryFigures) -> String {
    let languages: Vec<String> = figures
        .languages
        .iter()
        .map(|(language, count)| match language.is_empty() {
            true => format!("unknown {count}"),
            false => format!("{language} {count}"),
        })
        .collect();
    let encoder = match &figures.encoder {
        Ok(name) => name.clone(),
        Err(why) => format!("none, so searches look at words alone: {why}"),
    };
    format!(
        "{} documents, {} chunks with {} terms, {} vectors\nlanguages: {}\nindex: {:.1} MiB for terms, {:.1} MiB for vectors\nencoder: {encoder}",
        figures.documents,
        figures.chunks,
        figures.terms,
        figures.vectors,
        match languages.is_empty() {
            true => "none".into(),
            false => languages.join(", "),
        },
        figures.text_bytes as f64 / f64::from(1 << 20),
        figures.vector_bytes as f64 / f64::from(1 << 20),
    )
}

fn indented(text: &str) -> String {
    let shown: String = text.chars().take(SHOWN_CHARS).collect();
    let rest = if shown.len() < text.len() { " …" } else { "" };
    let lines: Vec<String> = shown.lines().map(|line| format!("   {line}")).collect();
    format!("{}{rest}", lines.join("\n"))
}

//! Passages become chunks: sentences, breakpoints where neighbours have least in common, bounds in tokens.

use shared::bridge::{Passage, PassageKind};
use unicode_segmentation::UnicodeSegmentation;

use super::crew;
use crate::image::memory::analysis::tokens;

/// A chunk has so many tokens at least, where there is more to come, and so many at most: what an encoder reads, its marks
/// counted, is 256.
pub const LEAST_TOKENS: usize = 48;
pub const MOST_TOKENS: usize = 220;
/// Neighbours in the lowest hundredths of similarity are parted.
const PERCENTILE: f32 = 5.0;
/// What follows without a space is cut so long, in bytes.
const WORD_BYTES: usize = 900;

/// A chunk to be.
#[derive(Clone, Debug, PartialEq)]
pub struct Piece {
    pub text: String,
    /// Bytes of the source.
    pub begin: u64,
    pub end: u64,
    pub at: Option<i64>,
    pub is_code: bool,
}

/// A sentence of a passage.
#[derive(Clone, Debug)]
struct Sentence {
    text: String,
    begin: u64,
    end: u64,
    tokens: usize,
    /// It ends its passage.
    is_last: bool,
    /// Its passage, and its place in the passage's text, where that is verbatim: neighbours keep what stands between them.
    place: Option<(usize, usize, usize)>,
}

/// Sentences that follow one another, and what else the source has.
enum Run {
    Prose(Vec<Sentence>),
    Whole(Vec<Piece>),
}

/// How passages are cut, before it is known what their sentences mean.
pub struct Plan {
    passages: Vec<Passage>,
    runs: Vec<Run>,
}

impl Plan {
    pub fn of(passages: Vec<Passage>) -> Plan {
        let numbered: Vec<(usize, &Passage)> = passages.iter().enumerate().collect();
        let parts = crew::each(&numbered, |(number, passage)| match passage.kind {
            PassageKind::Prose | PassageKind::Heading => Run::Prose(sentences(*number, passage)),
            PassageKind::Code | PassageKind::Event => Run::Whole(cut_lines(passage)),
        });
        let mut runs = Vec::new();
        let mut prose: Vec<Sentence> = Vec::new();
        for (passage, part) in passages.iter().zip(parts) {
            match part {
                Run::Prose(mut sentences) => {
                    if passage.kind == PassageKind::Heading {
                        close(&mut prose, &mut runs);
                    }
                    prose.append(&mut sentences);
                }
                whole => {
                    close(&mut prose, &mut runs);
                    runs.push(whole);
                }
            }
        }
        close(&mut prose, &mut runs);
        Plan { passages, runs }
    }

    /// The sentences whose meaning decides where to cut, in order: those of runs that do not fit into one chunk.
    pub fn wanted(&self) -> Vec<String> {
        let mut wanted = Vec::new();
        for run in &self.runs {
            if let Run::Prose(sentences) = run
                && is_long(sentences)
            {
                wanted.extend(sentences.iter().map(|sentence| sentence.text.clone()));
            }
        }
        wanted
    }

    /// The chunks; `vectors` are those of [`Plan::wanted`], of length 1. Without them paragraphs end chunks.
    pub fn cut(self, vectors: Option<&[Vec<f32>]>) -> Vec<Piece> {
        let Plan { passages, runs } = self;
        let mut pieces = Vec::new();
        let mut rest = vectors.unwrap_or_default();
        for run in runs {
            match run {
                Run::Whole(mut whole) => pieces.append(&mut whole),
                Run::Prose(sentences) => {
                    let breaks = match (is_long(&sentences), vectors) {
                        (true, Some(_)) if rest.len() >= sentences.len() => {
                            let (own, after) = rest.split_at(sentences.len());
                            rest = after;
                            breakpoints(own)
                        }
                        _ => sentences.iter().map(|sentence| sentence.is_last).collect(),
                    };
                    pack(&passages, &sentences, &breaks, &mut pieces);
                }
            }
        }
        pieces
    }
}

fn close(prose: &mut Vec<Sentence>, runs: &mut Vec<Run>) {
    if !prose.is_empty() {
        runs.push(Run::Prose(std::mem::take(prose)));
    }
}

fn is_long(sentences: &[Sentence]) -> bool {
    sentences.iter().map(|sentence| sentence.tokens).sum::<usize>() > MOST_TOKENS
}

/// Splits a passage; a sentence that is longer than a chunk may be is cut at words.
fn sentences(number: usize, passage: &Passage) -> Vec<Sentence> {
    let mut out: Vec<Sentence> = Vec::new();
    for (at, sentence) in passage.text.split_sentence_bound_indices() {
        for (from, part) in cut_words(sentence) {
            let text = part.trim();
            if text.is_empty() {
                continue;
            }
            let start = at + from + (part.len() - part.trim_start().len());
            let end = start + text.len();
            let (begin, until) = match passage.is_verbatim {
                true => (passage.begin + start as u64, passage.begin + end as u64),
                false => (passage.begin, passage.end),
            };
            out.push(Sentence {
                text: text.to_owned(),
                begin,
                end: until,
                tokens: tokens(text),
                is_last: false,
                place: Some((number, start, end)),
            });
        }
    }
    if let Some(last) = out.last_mut() {
        last.is_last = true;
    }
    out
}

/// Parts of a text that have not more tokens than a chunk may have, and where each begins.
fn cut_words(text: &str) -> Vec<(usize, &str)> {
    // A token has a byte at least; and to find words takes longer than to count them.
    if text.len() <= MOST_TOKENS || tokens(text) <= MOST_TOKENS {
        return vec![(0, text)];
    }
    let mut parts = Vec::new();
    let (mut begin, mut end, mut sum) = (0, 0, 0);
    for (at, word) in text.split_word_bound_indices() {
        let mut from = at;
        while from < at + word.len() {
            let piece = crate::image::memory::analysis::head(&text[from..at + word.len()], WORD_BYTES);
            let own = tokens(piece);
            if sum + own > MOST_TOKENS && end > begin {
                parts.push((begin, &text[begin..end]));
                (begin, sum) = (end, 0);
            }
            sum += own;
            from += piece.len().max(1);
            end = from.min(text.len());
        }
    }
    if end > begin {
        parts.push((begin, &text[begin..end]));
    }
    parts
}

/// Where the similarity to the next sentence is among the lowest.
fn breakpoints(vectors: &[Vec<f32>]) -> Vec<bool> {
    let near: Vec<f32> = vectors
        .windows(2)
        .map(|pair| pair[0].iter().zip(&pair[1]).map(|(one, other)| one * other).sum())
        .collect();
    let mut sorted = near.clone();
    sorted.sort_by(f32::total_cmp);
    let rank = (sorted.len() as f32 * PERCENTILE / 100.0).ceil() as usize;
    let limit = sorted.get(rank.max(1) - 1).copied().unwrap_or(f32::NEG_INFINITY);
    let mut breaks: Vec<bool> = near.iter().map(|near| *near <= limit).collect();
    breaks.push(true);
    breaks
}

/// Sentences become chunks: one ends at a breakpoint that leaves it long enough, and before it would be too long.
fn pack(passages: &[Passage], sentences: &[Sentence], breaks: &[bool], out: &mut Vec<Piece>) {
    let mut groups: Vec<(usize, usize, usize)> = Vec::new();
    let (mut first, mut sum) = (0, 0);
    for (at, sentence) in sentences.iter().enumerate() {
        if sum + sentence.tokens > MOST_TOKENS && at > first {
            groups.push((first, at, sum));
            (first, sum) = (at, 0);
        }
        sum += sentence.tokens;
        if breaks[at] && sum >= LEAST_TOKENS {
            groups.push((first, at + 1, sum));
            (first, sum) = (at + 1, 0);
        }
    }
    if first < sentences.len() {
        match groups.last_mut() {
            // What is too short alone goes with what stands before it, if both fit.
            Some((_, end, before)) if sum < LEAST_TOKENS && *before + sum <= MOST_TOKENS => {
                *end = sentences.len()
            }
            _ => groups.push((first, sentences.len(), sum)),
        }
    }
    out.extend(
        groups
            .into_iter()
            .map(|(from, to, _)| joined(passages, &sentences[from..to])),
    );
}

fn joined(passages: &[Passage], sentences: &[Sentence]) -> Piece {
    let mut text = String::new();
    let mut before: Option<(usize, usize, usize)> = None;
    for sentence in sentences {
        match (before, sentence.place) {
            (Some((passage, _, end)), Some((own, start, _))) if passage == own => {
                text.push_str(&passages[own].text[end..start]);
            }
            (Some(_), _) => text.push('\n'),
            (None, _) => {}
        }
        text.push_str(&sentence.text);
        before = sentence.place;
    }
    let at = sentences
        .first()
        .and_then(|sentence| passages[sentence.place?.0].at);
    Piece {
        text,
        begin: sentences.first().map_or(0, |sentence| sentence.begin),
        end: sentences.last().map_or(0, |sentence| sentence.end),
        at,
        is_code: false,
    }
}

/// A definition, or an event: one chunk, or as many as its lines need.
fn cut_lines(passage: &Passage) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let (mut begin, mut end, mut sum) = (0, 0, 0);
    let mut push = |begin: usize, end: usize| {
        let text = &passage.text[begin..end];
        let kept = text.trim_matches(['\n', '\r']);
        if kept.trim().is_empty() {
            return;
        }
        let start = begin + (text.len() - text.trim_start_matches(['\n', '\r']).len());
        let (from, to) = match passage.is_verbatim {
            true => (
                passage.begin + start as u64,
                passage.begin + (start + kept.len()) as u64,
            ),
            false => (passage.begin, passage.end),
        };
        pieces.push(Piece {
            text: kept.to_owned(),
            begin: from,
            end: to,
            at: passage.at,
            is_code: passage.kind == PassageKind::Code,
        });
    };
    for line in passage.text.split_inclusive('\n') {
        for (_, part) in cut_words(line) {
            let own = tokens(part);
            if sum + own > MOST_TOKENS && end > begin {
                push(begin, end);
                (begin, sum) = (end, 0);
            }
            sum += own;
            end += part.len();
        }
    }
    push(begin, end);
    pieces
}

/// The paragraphs of a text, for what comes as one.
pub fn paragraphs(text: &str) -> Vec<Passage> {
    let mut passages = Vec::new();
    let mut begin: Option<usize> = None;
    let mut at = 0;
    let mut push = |begin: usize, end: usize| {
        passages.push(Passage {
            begin: begin as u64,
            end: end as u64,
            text: text[begin..end].to_owned(),
            kind: PassageKind::Prose,
            is_verbatim: true,
            at: None,
        });
    };
    for line in text.split_inclusive('\n') {
        if line.trim().is_empty() {
            if let Some(begin) = begin.take() {
                push(begin, at);
            }
        } else {
            begin.get_or_insert(at);
        }
        at += line.len();
    }
    if let Some(begin) = begin {
        push(begin, at);
    }
    passages
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passage(text: &str, begin: u64, kind: PassageKind) -> Passage {
        Passage {
            begin,
            end: begin + text.len() as u64,
            text: text.to_owned(),
            kind,
            is_verbatim: true,
            at: None,
        }
    }

    fn check(source: &str, pieces: &[Piece]) {
        for piece in pieces {
            let own = &source[piece.begin as usize..piece.end as usize];
            assert!(
                own.starts_with(piece.text.split('\n').next().unwrap()),
                "{piece:?}"
            );
            assert!(
                tokens(&piece.text) <= MOST_TOKENS,
                "{} {piece:?}",
                tokens(&piece.text)
            );
        }
        assert!(
            pieces.windows(2).all(|pair| pair[0].end <= pair[1].begin),
            "{pieces:?}"
        );
    }

    #[test]
    fn short_texts_are_one_chunk_and_long_ones_are_cut_within_bounds() {
        let short = "Dr. Who lives here.  He is old.\n\nShe is not.";
        let pieces = Plan::of(paragraphs(short)).cut(None);
        assert_eq!(pieces.len(), 1);
        assert_eq!(pieces[0].text, "Dr. Who lives here.  He is old.\nShe is not.");
        check(short, &pieces);
        let long: String = (0..200)
            .map(|n| format!("Sentence number {n} tells of boundary layers and of plates. "))
            .collect();
        let pieces = Plan::of(paragraphs(&long)).cut(None);
        check(&long, &pieces);
        assert!(pieces.len() > 8, "{}", pieces.len());
        let all: String = pieces
            .iter()
            .map(|piece| piece.text.as_str())
            .collect::<Vec<_>>()
            .join(" ");
        assert_eq!(
            all.split_whitespace().count(),
            long.split_whitespace().count(),
            "nothing is lost"
        );
    }

    #[test]
    fn a_sentence_without_an_end_is_cut() {
        for text in ["x".repeat(50_000), "wing ".repeat(20_000), "機".repeat(9_000)] {
            let pieces = Plan::of(paragraphs(&text)).cut(None);
            check(&text, &pieces);
            let kept: usize = pieces.iter().map(|piece| piece.text.trim().len()).sum();
            assert!(kept * 10 >= text.trim().len() * 8, "{kept} of {}", text.len());
        }
        assert!(Plan::of(paragraphs(" \n\n\t\n")).cut(None).is_empty());
    }

    #[test]
    fn chunks_end_where_neighbours_have_least_in_common() {
        let of = |word: &str| -> String {
            (0..8)
                .map(|n| format!("The {word} number {n} is described here in some detail for readers. "))
                .collect()
        };
        let text = format!("{}{}", of("wing"), of("horse"));
        let plan = Plan::of(paragraphs(&text));
        let wanted = plan.wanted();
        assert_eq!(wanted.len(), 16);
        let vectors: Vec<Vec<f32>> = wanted
            .iter()
            .enumerate()
            .map(|(at, sentence)| {
                let small = 0.02 * at as f32;
                match sentence.contains("wing") {
                    true => vec![1.0, small],
                    false => vec![small, 1.0],
                }
            })
            .collect();
        let pieces = plan.cut(Some(&vectors));
        check(&text, &pieces);
        let mixed = pieces
            .iter()
            .filter(|piece| piece.text.contains("wing") && piece.text.contains("horse"))
            .count();
        assert_eq!(mixed, 0, "{pieces:#?}");
    }

    #[test]
    fn definitions_and_events_stand_alone() {
        let code = "def a():\n    return 1\n";
        let passages = vec![
            passage("Before.", 0, PassageKind::Prose),
            passage(code, 10, PassageKind::Code),
            passage("{\"event\": 1}", 40, PassageKind::Event),
            passage("{\"event\": 2}", 60, PassageKind::Event),
        ];
        let pieces = Plan::of(passages).cut(None);
        let texts: Vec<&str> = pieces.iter().map(|piece| piece.text.as_str()).collect();
        assert_eq!(
            texts,
            [
                "Before.",
                "def a():\n    return 1",
                "{\"event\": 1}",
                "{\"event\": 2}"
            ]
        );
        assert!(pieces[1].is_code && !pieces[2].is_code);
        assert_eq!((pieces[1].begin, pieces[1].end), (10, 31));
    }
}

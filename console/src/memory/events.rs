//! Logs: an event a line, as JSON or as words.

use serde_json::Value as Json;
use shared::bridge::{Passage, PassageKind};

use super::lines::{Line, Lines};

/// What the model was shown and what it said, and what was retrieved for it: never indexed again.
const NEVER: [&str; 3] = ["llm_prompt", "llm_response_raw", "retrieved"];
/// Where an event says when it was.
const TIMES: [&str; 6] = ["timestamp", "@timestamp", "time", "ts", "at", "date"];
/// Members of members, so deep.
const DEPTH: usize = 8;

pub struct Events {
    lines: Lines,
}

impl Events {
    pub fn of(lines: Lines) -> Events {
        Events { lines }
    }

    pub fn next(&mut self) -> Result<Option<Passage>, String> {
        while let Some(line) = self.lines.next()? {
            if !line.is_blank() {
                return Ok(Some(event(line)));
            }
        }
        Ok(None)
    }
}

fn event(line: Line) -> Passage {
    let parsed: Option<Json> = serde_json::from_str(&line.text).ok();
    let passage = |text: String, is_verbatim: bool, at: Option<i64>| Passage {
        begin: line.begin,
        end: line.end,
        text,
        kind: PassageKind::Event,
        is_verbatim,
        at,
    };
    match parsed {
        Some(Json::Object(members)) => {
            let at = TIMES.iter().find_map(|name| time(members.get(*name)?));
            let mut text = String::new();
            for (name, value) in &members {
                tell(name, value, 0, &mut text);
            }
            passage(text, false, at)
        }
        _ => passage(line.text.clone(), line.is_verbatim, None),
    }
}

/// A line for each member.
fn tell(name: &str, value: &Json, depth: usize, out: &mut String) {
    let last = name.rsplit('.').next().unwrap_or(name);
    if NEVER.contains(&last) || depth > DEPTH {
        return;
    }
    let mut line = |words: &str| {
        out.push_str(name);
        out.push_str(": ");
        out.push_str(words);
        out.push('\n');
    };
    match value {
        Json::Null => {}
        Json::String(text) => line(text),
        Json::Object(members) => members
            .iter()
            .for_each(|(inner, value)| tell(&format!("{name}.{inner}"), value, depth + 1, out)),
        Json::Array(items) if items.iter().any(Json::is_object) => {
            items.iter().for_each(|item| tell(name, item, depth + 1, out));
        }
        other => line(&other.to_string()),
    }
}

/// Text of RFC 3339, or seconds or milliseconds since 1970.
fn time(value: &Json) -> Option<i64> {
    match value {
        Json::String(text) => text
            .parse::<jiff::Timestamp>()
            .ok()
            .map(|time| time.as_microsecond()),
        Json::Number(number) => {
            let number = number.as_f64()?;
            let seconds = if number > 1e11 { number / 1e3 } else { number };
            (0.0..1e11).contains(&seconds).then_some((seconds * 1e6) as i64)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    #[test]
    fn events_tell_their_members_and_keep_prompts_out() {
        let text = concat!(
            "{\"timestamp\": \"2026-11-21T01:00:00Z\", \"event\": \"FAILED\", \"llm_prompt\": \"you are\", \"more\": {\"retrieved\": [1], \"n\": 3}}\n",
            "\nplain words\n",
        );
        let lines = Lines::reading(Box::new(Cursor::new(text)), encoding_rs::UTF_8);
        let mut events = Events::of(lines);
        let first = events.next().unwrap().unwrap();
        assert_eq!(
            first.text,
            "timestamp: 2026-11-21T01:00:00Z\nevent: FAILED\nmore.n: 3\n"
        );
        assert_eq!(first.at, Some(1_795_222_800_000_000));
        let second = events.next().unwrap().unwrap();
        assert_eq!(
            (second.text.as_str(), second.is_verbatim),
            ("plain words\n", true)
        );
        assert_eq!(events.next().unwrap(), None);
    }
}

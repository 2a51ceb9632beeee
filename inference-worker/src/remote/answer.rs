//! What a server tells in its events, believed only as far as it can be checked here.

use serde::Deserialize;
use shared::inference::{Finish, Generate};

use crate::text::Text;

/// No token of any model is longer on average; a text of so many bytes a token has not been limited by the server.
const MAX_BYTES_A_TOKEN: usize = 64;
const MIN_TEXT_BYTES: usize = 4 << 10;

/// The text so far.
pub struct Answer<'a> {
    request: &'a Generate,
    text: Text,
    bytes: usize,
    pieces: u32,
    pub finish: Option<Finish>,
    /// Whether the server has said that nothing follows.
    pub is_over: bool,
    usage: Option<Usage>,
}

#[derive(Deserialize)]
struct Chunk {
    #[serde(default)]
    choices: Vec<Choice>,
    usage: Option<Usage>,
    error: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    index: u32,
    text: Option<String>,
    delta: Option<Delta>,
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Delta {
    content: Option<String>,
}

#[derive(Clone, Copy, Deserialize)]
struct Usage {
    #[serde(default)]
    prompt_tokens: u32,
    #[serde(default)]
    completion_tokens: u32,
}

impl<'a> Answer<'a> {
    pub fn new(request: &'a Generate) -> Answer<'a> {
        Answer {
            request,
            text: Text::default(),
            bytes: 0,
            pieces: 0,
            finish: None,
            is_over: false,
            usage: None,
        }
    }

    /// Takes one event; true when a stop sequence was met and nothing more is wanted. Fails at what cannot be followed.
    pub fn take(&mut self, data: &str) -> Result<bool, String> {
        if data.trim() == "[DONE]" {
            self.is_over = true;
            return Ok(false);
        }
        let chunk: Chunk =
            serde_json::from_str(data).map_err(|error| format!("an event is no chunk of text: {error}"))?;
        if let Some(error) = chunk.error {
            return Err(format!("it tells an error: {error}"));
        }
        self.usage = chunk.usage.or(self.usage);
        for choice in chunk.choices.into_iter().filter(|choice| choice.index == 0) {
            let new = choice
                .text
                .or(choice.delta.and_then(|delta| delta.content))
                .unwrap_or_default();
            if !new.is_empty() {
                if self.finish.is_some() {
                    return Err("text follows after its end".into());
                }
                self.pieces += 1;
                self.bytes += new.len();
                let most = MIN_TEXT_BYTES.max(self.request.max_tokens as usize * MAX_BYTES_A_TOKEN);
                if self.bytes > most {
                    return Err(format!(
                        "the text is longer than {most} bytes, {} tokens were asked for",
                        self.request.max_tokens
                    ));
                }
                if self.text.push(&new, &self.request.stop) {
                    self.finish = Some(Finish::Stop);
                    return Ok(true);
                }
            }
            self.finish = match choice.finish_reason.as_deref() {
                None => self.finish,
                Some("stop" | "eos") => Some(Finish::Stop),
                Some("length") => Some(Finish::MaxTokens),
                Some(other) => {
                    let other: String = other.chars().take(40).collect();
                    return Err(format!("it ended for a reason that is not known: {other:?}"));
                }
            };
        }
        Ok(false)
    }

    /// What can be told since the last call; nothing is held back at the `end`.
    pub fn piece(&mut self, end: bool) -> &str {
        self.text.piece(&self.request.stop, end)
    }

    pub fn whole(&self) -> &str {
        self.text.whole()
    }

    /// Of the prompt and of the text: as the server counts them where that can be, else as pieces came.
    pub fn tokens(&self) -> (u32, u32) {
        let usage = self.usage.unwrap_or(Usage {
            prompt_tokens: 0,
            completion_tokens: 0,
        });
        let told = usage.completion_tokens;
        let is_possible = told > 0 && told <= self.request.max_tokens.saturating_add(1);
        (usage.prompt_tokens, if is_possible { told } else { self.pieces })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(stop: &[&str]) -> Generate {
        Generate {
            request: 1,
            prompt: "x".into(),
            max_tokens: 3,
            temperature: 0.0,
            top_p: 1.0,
            seed: 0,
            stop: stop.iter().map(|stop| (*stop).to_owned()).collect(),
            deadline_ms: 1_000,
        }
    }

    /// The text and its end after these events, or why they cannot be followed.
    fn check(stop: &[&str], events: &[&str]) -> Result<(String, Option<Finish>, u32), String> {
        let request = request(stop);
        let mut answer = Answer::new(&request);
        for event in events {
            if answer.take(event)? {
                break;
            }
        }
        Ok((answer.whole().to_owned(), answer.finish, answer.tokens().1))
    }

    #[test]
    fn completions_and_conversations_are_read() {
        let text = [
            r#"{"choices":[{"index":0,"text":"a"},{"index":1,"text":"not ours"}]}"#,
            r#"{"choices":[{"text":"b","finish_reason":"length"}]}"#,
            r#"{"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":3}}"#,
            "[DONE]",
        ];
        assert_eq!(
            check(&[], &text).unwrap(),
            ("ab".into(), Some(Finish::MaxTokens), 3)
        );
        let talk = [
            r#"{"choices":[{"delta":{"role":"assistant"}}]}"#,
            r#"{"choices":[{"delta":{"content":"hi"},"finish_reason":null}]}"#,
            r#"{"choices":[{"delta":{},"finish_reason":"stop"}],"usage":{"completion_tokens":4000000}}"#,
        ];
        assert_eq!(check(&[], &talk).unwrap(), ("hi".into(), Some(Finish::Stop), 1));
    }

    #[test]
    fn stop_sequences_are_looked_for_here_too() {
        let events = [
            r#"{"choices":[{"text":"one EN"}]}"#,
            r#"{"choices":[{"text":"D two"}]}"#,
            "nonsense",
        ];
        assert_eq!(
            check(&["END"], &events).unwrap(),
            ("one ".into(), Some(Finish::Stop), 2)
        );
    }

    #[test]
    fn what_cannot_be_followed_is_named() {
        let long = format!(
            r#"{{"choices":[{{"text":"{}"}}]}}"#,
            "x".repeat(MIN_TEXT_BYTES + 1)
        );
        let ended = r#"{"choices":[{"text":"a","finish_reason":"stop"}]}"#;
        for (events, word) in [
            (vec!["{"], "no chunk"),
            (vec!["[1]"], "no chunk"),
            (vec![r#"{"choices":"x"}"#], "no chunk"),
            (vec![r#"{"error":{"message":"out of memory"}}"#], "out of memory"),
            (vec![long.as_str()], "longer than"),
            (vec![ended, r#"{"choices":[{"text":"b"}]}"#], "after its end"),
            (
                vec![r#"{"choices":[{"finish_reason":"content_filter"}]}"#],
                "content_filter",
            ),
        ] {
            let message = check(&[], &events).unwrap_err();
            assert!(message.contains(word), "{events:?}: {message}");
        }
    }
}

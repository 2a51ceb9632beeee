//! Tokens to text: whole characters only, and nothing past a stop sequence.

use tokenizers::Tokenizer;

/// A character has at most four bytes; more tokens than this without a whole one are told as they are.
const MOST_UNSETTLED: usize = 6;

/// A text that grows token by token.
#[derive(Debug, Default)]
pub struct Text {
    /// What no later token can change, but for a stop sequence that may have begun at its end.
    settled: String,
    /// The tokens from here to `read` are decoded again with each new one: a token's text may depend on those before it.
    context: usize,
    read: usize,
    told: usize,
}

impl Text {
    /// Reads the tokens that are new since the last call; `tokens` is the whole text so far. True when a stop sequence was met: the
    /// text ends before it.
    pub fn grow(&mut self, tokenizer: &Tokenizer, tokens: &[u32], stops: &[String]) -> Result<bool, String> {
        let decode = |from: usize, to: usize| {
            tokenizer
                .decode(&tokens[from..to], false)
                .map_err(|error| error.to_string())
        };
        let before = decode(self.context, self.read)?;
        let with = decode(self.context, tokens.len())?;
        let is_whole = !with.ends_with('\u{FFFD}') || tokens.len() - self.read > MOST_UNSETTLED;
        if is_whole && let Some(new) = with.get(before.len()..) {
            self.settled.push_str(new);
            self.context = self.read;
            self.read = tokens.len();
        }
        Ok(self.cut(stops))
    }

    /// Takes text that came as text. True when a stop sequence was met: the text ends before it.
    pub fn push(&mut self, new: &str, stops: &[String]) -> bool {
        self.settled.push_str(new);
        self.cut(stops)
    }

    /// The end: what was still unsettled is told as it is.
    pub fn end(&mut self, tokenizer: &Tokenizer, tokens: &[u32], stops: &[String]) -> Result<(), String> {
        if self.read < tokens.len() {
            let decode = |to: usize| {
                tokenizer
                    .decode(&tokens[self.context..to], false)
                    .map_err(|error| error.to_string())
            };
            let (before, with) = (decode(self.read)?, decode(tokens.len())?);
            self.settled
                .push_str(with.get(before.len()..).unwrap_or_default());
            self.read = tokens.len();
            self.cut(stops);
        }
        Ok(())
    }

    /// What can be told since the last call; nothing is held back at the `end`.
    pub fn piece(&mut self, stops: &[String], end: bool) -> &str {
        let held = if end {
            0
        } else {
            stops
                .iter()
                .map(|stop| stop.len().saturating_sub(1))
                .max()
                .unwrap_or(0)
        };
        let mut tellable = self.settled.len().saturating_sub(held).max(self.told);
        while !self.settled.is_char_boundary(tellable) {
            tellable -= 1;
        }
        let from = self.told;
        self.told = tellable;
        &self.settled[from..tellable]
    }

    pub fn whole(&self) -> &str {
        &self.settled
    }

    fn cut(&mut self, stops: &[String]) -> bool {
        let new = &self.settled[self.told..];
        let found = stops
            .iter()
            .filter(|stop| !stop.is_empty())
            .filter_map(|stop| new.find(stop.as_str()))
            .min();
        if let Some(at) = found {
            self.settled.truncate(self.told + at);
        }
        found.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokenizers::decoders::byte_level::ByteLevel;
    use tokenizers::models::bpe::{BPE, Vocab};

    /// A token for each byte, as byte-level tokenizers write them.
    fn bytes() -> Tokenizer {
        // What can be printed stands for itself, the others for characters from U+0100 on.
        let prints = |byte: u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
        let mut others = 0x100..;
        let mut write = |byte: u8| match prints(byte) {
            true => char::from(byte),
            false => others.next().and_then(char::from_u32).unwrap(),
        };
        let vocabulary: Vocab = (0..=255)
            .map(|byte| (write(byte).to_string(), u32::from(byte)))
            .collect();
        let model = BPE::builder()
            .vocab_and_merges(vocabulary, vec![])
            .build()
            .unwrap();
        let mut tokenizer = Tokenizer::new(model);
        tokenizer.with_decoder(Some(ByteLevel::default()));
        tokenizer
    }

    /// Grows by one byte a time; the pieces joined with `|`, then the whole.
    fn check(text: &[u8], stops: &[&str], pieces: &str, whole: &str) {
        let tokenizer = bytes();
        let stops: Vec<String> = stops.iter().map(|stop| (*stop).to_owned()).collect();
        let tokens: Vec<u32> = text.iter().map(|byte| u32::from(*byte)).collect();
        let mut growing = Text::default();
        let mut told = Vec::new();
        let mut read = 0;
        for count in 1..=tokens.len() {
            read = count;
            let stopped = growing.grow(&tokenizer, &tokens[..count], &stops).unwrap();
            let piece = growing.piece(&stops, stopped);
            if !piece.is_empty() {
                told.push(piece.to_owned());
            }
            if stopped {
                break;
            }
        }
        growing.end(&tokenizer, &tokens[..read], &stops).unwrap();
        let piece = growing.piece(&stops, true);
        if !piece.is_empty() {
            told.push(piece.to_owned());
        }
        assert_eq!(told.join("|"), pieces);
        assert_eq!(told.concat(), growing.whole());
        assert_eq!(growing.whole(), whole);
    }

    #[test]
    fn only_what_cannot_change_is_told() {
        check(b"abc", &[], "a|b|c", "abc");
        check("aé".as_bytes(), &[], "a|é", "aé");
        check(b"a\xc3", &[], "a|\u{FFFD}", "a\u{FFFD}");
        check(b"abcEN", &["END"], "a|b|c|EN", "abcEN");
        check(b"abcENDx", &["END"], "a|b|c", "abc");
        check("aéEND".as_bytes(), &["END", "é"], "a", "a");
        check("€é😀.".as_bytes(), &[], "€|é|😀|.", "€é😀.");
    }
}

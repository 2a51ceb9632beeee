//! Tokens to text: whole characters only, and nothing past a stop sequence.

use tokenizers::Tokenizer;

/// A text that may still grow.
#[derive(Debug, PartialEq, Eq)]
pub struct Grown {
    pub whole: String,
    /// Bytes of `whole` that no later token can change.
    pub tellable: usize,
    /// A stop sequence was met; `whole` ends before it.
    pub stopped: bool,
}

/// The text of these tokens.
pub fn grown(tokenizer: &Tokenizer, tokens: &[u32], stops: &[String]) -> Result<Grown, String> {
    tokenizer
        .decode(tokens, false)
        .map(|whole| cut(whole, stops))
        .map_err(|error| error.to_string())
}

fn cut(mut whole: String, stops: &[String]) -> Grown {
    let stops = || stops.iter().filter(|stop| !stop.is_empty());
    if let Some(at) = stops().filter_map(|stop| whole.find(stop.as_str())).min() {
        whole.truncate(at);
        return Grown {
            tellable: at,
            whole,
            stopped: true,
        };
    }
    // A character that is still incomplete decodes to U+FFFD; the last bytes may turn out to begin a stop sequence.
    let held = stops().map(|stop| stop.len() - 1).max().unwrap_or(0);
    let mut tellable = whole.trim_end_matches('\u{FFFD}').len().saturating_sub(held);
    while !whole.is_char_boundary(tellable) {
        tellable -= 1;
    }
    Grown {
        whole,
        tellable,
        stopped: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, stops: &[&str], whole: &str, tellable: usize, stopped: bool) {
        let stops: Vec<String> = stops.iter().map(|stop| (*stop).to_owned()).collect();
        assert_eq!(
            cut(text.into(), &stops),
            Grown {
                whole: whole.into(),
                tellable,
                stopped
            }
        );
    }

    #[test]
    fn only_what_cannot_change_is_told() {
        check("abc", &[], "abc", 3, false);
        check("abc\u{FFFD}", &[], "abc\u{FFFD}", 3, false);
        check("abcEN", &["END"], "abcEN", 3, false);
        check("abcENDx", &["END"], "abc", 3, true);
        check("aéEND", &["END", "é"], "a", 1, true);
        check("aé", &["XYZ"], "aé", 1, false);
    }
}

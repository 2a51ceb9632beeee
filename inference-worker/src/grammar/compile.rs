//! Grammars to parsers: within bounds of size, nesting and work, and each only once while it is in use.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use llguidance::api::{ParserLimits, TopLevelGrammar};
use llguidance::toktrie::TokEnv;
use llguidance::{Matcher, ParserFactory};
use shared::inference::Grammar;
use tokenizers::Tokenizer;

use super::constraint::Constraint;
use super::{python, vocabulary};
use crate::checkpoint::Checkpoint;

const MAX_BYTES: usize = 1 << 20;
const MAX_NESTING: usize = 64;
/// Compiled grammars that are kept for the next request.
const MAX_KEPT: usize = 32;

/// Compiles the grammars of one model's requests; may be asked by many threads at the same time.
pub struct Grammars {
    tokenizer: Tokenizer,
    ends: Vec<u32>,
    logits: usize,
    /// Made when the first grammar comes: a large vocabulary takes a second.
    factory: OnceLock<Result<ParserFactory, String>>,
    kept: Mutex<VecDeque<Kept>>,
}

/// A compiled grammar. Its requests share what their lexers learn.
struct Kept {
    grammar: Grammar,
    matcher: Matcher,
    /// It became too complex for one of its requests: the next begins afresh.
    is_spoilt: Arc<AtomicBool>,
}

impl Kept {
    fn constraint(&self) -> Constraint {
        Constraint::new(self.matcher.clone(), self.is_spoilt.clone())
    }
}

impl Grammars {
    pub fn new<M>(checkpoint: &Checkpoint<M>) -> Grammars {
        Grammars::of(
            checkpoint.tokenizer.clone(),
            checkpoint.ends.clone(),
            checkpoint.shape.vocabulary,
        )
    }

    /// Of a tokenizer, the tokens that end a text, and the number of a model's logits.
    pub fn of(tokenizer: Tokenizer, ends: Vec<u32>, logits: usize) -> Grammars {
        Grammars {
            tokenizer,
            ends,
            logits,
            factory: OnceLock::new(),
            kept: Mutex::new(VecDeque::new()),
        }
    }

    /// The parser of a grammar at its beginning, or what is wrong with it. Takes milliseconds.
    pub fn compile(&self, grammar: &Grammar) -> Result<Constraint, String> {
        if let Some(constraint) = self.known(grammar) {
            return Ok(constraint);
        }
        let kept = Kept {
            grammar: grammar.clone(),
            matcher: self.matcher(grammar)?,
            is_spoilt: Arc::new(AtomicBool::new(false)),
        };
        let constraint = kept.constraint();
        let mut all = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        all.truncate(MAX_KEPT - 1);
        all.push_front(kept);
        Ok(constraint)
    }

    fn known(&self, grammar: &Grammar) -> Option<Constraint> {
        let mut all = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|kept| !kept.is_spoilt.load(Ordering::Relaxed));
        let at = all.iter().position(|kept| kept.grammar == *grammar)?;
        let kept = all.remove(at)?;
        let constraint = kept.constraint();
        all.push_front(kept);
        Some(constraint)
    }

    fn matcher(&self, grammar: &Grammar) -> Result<Matcher, String> {
        let parsed = match grammar {
            Grammar::JsonSchema(text) => schema(text)?,
            Grammar::Lark(text) => {
                within(text, "the grammar")?;
                TopLevelGrammar::from_lark(text.clone())
            }
            Grammar::Method(wish) => {
                let is_special = |text: &str| self.tokenizer.token_to_id(text).is_some();
                TopLevelGrammar::from_lark(python::method(wish, is_special)?)
            }
        };
        self.parser(parsed)
    }

    /// A text as the model's tokens.
    pub fn tokenize(&self, text: &str) -> Result<Vec<u32>, String> {
        Ok(self.factory()?.tok_env().tokenize(text))
    }

    /// The id of a token.
    #[cfg(test)]
    pub fn token(&self, text: &str) -> Option<u32> {
        self.tokenizer.token_to_id(text)
    }

    /// All tokens' bytes.
    #[cfg(test)]
    pub fn tokens(&self) -> Vec<Vec<u8>> {
        self.factory()
            .map(|factory| factory.tok_env().tok_trie().all_tokens())
            .unwrap_or_default()
    }

    /// As `compile`, of a text that is not from outside.
    #[cfg(test)]
    pub fn trusted(&self, lark: String) -> Result<Constraint, String> {
        let matcher = self.parser(TopLevelGrammar::from_lark(lark))?;
        Ok(Constraint::new(matcher, Arc::default()))
    }

    fn parser(&self, grammar: TopLevelGrammar) -> Result<Matcher, String> {
        let factory = self.factory()?;
        // llguidance asserts where it should refuse, and catches that itself in most places.
        let parser = catch_unwind(AssertUnwindSafe(|| factory.create_parser(grammar)))
            .map_err(|_| "the grammar cannot be compiled".to_owned())?;
        let matcher = Matcher::new(parser);
        match matcher.get_error() {
            None => Ok(matcher),
            Some(error) => Err(format!("the grammar cannot be compiled: {}", first_lines(&error))),
        }
    }

    fn factory(&self) -> Result<&ParserFactory, String> {
        let made = self.factory.get_or_init(|| {
            let environment = vocabulary::environment(&self.tokenizer, &self.ends, self.logits)?;
            factory(&environment).map_err(|error| error.to_string())
        });
        made.as_ref()
            .map_err(|what| format!("this model cannot be held to a grammar: {what}"))
    }
}

fn factory(environment: &TokEnv) -> anyhow::Result<ParserFactory> {
    let mut factory = ParserFactory::new_simple(environment)?;
    factory.quiet();
    *factory.limits_mut() = ParserLimits {
        // Python after a deep dedent needs some 1,500 items.
        max_items_in_row: 4_000,
        initial_lexer_fuel: 2_000_000,
        step_lexer_fuel: 500_000,
        step_max_items: 100_000,
        // One or two KiB each.
        max_lexer_states: 50_000,
        max_grammar_size: 200_000,
        precompute_large_lexemes: false,
        verbose_errors: false,
    };
    Ok(factory)
}

/// A schema as JSON, within bounds, that refers to no other document.
pub fn document(text: &str) -> Result<serde_json::Value, String> {
    within(text, "the schema")?;
    let document: serde_json::Value =
        serde_json::from_str(text).map_err(|error| format!("the schema is not JSON: {error}"))?;
    if let Some(reference) = foreign_reference(&document) {
        return Err(format!(
            "the schema refers to another document, {reference:?}: put what it needs under $defs"
        ));
    }
    Ok(document)
}

fn schema(text: &str) -> Result<TopLevelGrammar, String> {
    let mut document = document(text)?;
    if let Some(options) = document.as_object_mut() {
        // As `json.dumps` writes it: free white space is room for a model to fill, and the schema's own wishes are not ours.
        let ours = serde_json::json!({ "whitespace_flexible": false, "item_separator": ", ", "key_separator": ": " });
        options.insert("x-guidance".into(), ours);
    }
    Ok(TopLevelGrammar::from_json_schema(document))
}

/// The first `$ref` that does not lead into the document itself. The text nests no deeper than `MAX_NESTING`.
fn foreign_reference(document: &serde_json::Value) -> Option<&str> {
    match document {
        serde_json::Value::Object(members) => members.iter().find_map(|(key, value)| match value.as_str() {
            Some(reference) if key == "$ref" && !reference.starts_with('#') => Some(reference),
            _ => foreign_reference(value),
        }),
        serde_json::Value::Array(elements) => elements.iter().find_map(foreign_reference),
        _ => None,
    }
}

/// Refuses what is too large or nests too deep for parsers that recurse.
fn within(text: &str, what: &str) -> Result<(), String> {
    if text.len() > MAX_BYTES {
        return Err(format!("{what} has {} bytes, {MAX_BYTES} at most", text.len()));
    }
    let mut depth = 0usize;
    let mut is_escaped = false;
    for byte in text.bytes() {
        match byte {
            _ if is_escaped => {
                is_escaped = false;
                continue;
            }
            b'\\' => is_escaped = true,
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_NESTING {
            return Err(format!("{what} nests deeper than {MAX_NESTING}"));
        }
    }
    Ok(())
}

/// What a person can read of an error.
fn first_lines(error: &str) -> String {
    let error = error.split("<backtrace>").next().unwrap_or_default();
    let lines: Vec<&str> = error
        .lines()
        .map(str::trim)
        .filter(|line| !line.starts_with('<') && !line.is_empty())
        .collect();
    let mut text = lines[..lines.len().min(5)].join("; ");
    let most = text.floor_char_boundary(500);
    text.truncate(most);
    text
}

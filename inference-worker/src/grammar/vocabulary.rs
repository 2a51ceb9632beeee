//! The tokenizer as llguidance sees it: each token's bytes, and how a text is written in tokens.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use llguidance::token_bytes_from_tokenizer_json;
use llguidance::toktrie::{TokEnv, TokRxInfo, TokTrie, TokenId, TokenizerEnv};
use tokenizers::Tokenizer;

struct Vocabulary {
    tokenizer: Tokenizer,
    trie: TokTrie,
}

/// The environment of a tokenizer for a model with so many logits, ended by any of `ends`.
pub fn environment(tokenizer: &Tokenizer, ends: &[u32], logits: usize) -> Result<TokEnv, String> {
    let Some(end) = ends.first() else {
        return Err("the model has no token that ends a text".into());
    };
    let text = tokenizer.to_string(false).map_err(|error| error.to_string())?;
    let document = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    // It panics at tokens that it does not know the form of.
    let words = catch_unwind(AssertUnwindSafe(|| token_bytes_from_tokenizer_json(&document)));
    let mut words = match words {
        Ok(words) => words.map_err(|error| format!("the tokens' bytes are not known: {error}"))?,
        Err(_) => return Err("the tokens' bytes are not known".into()),
    };
    // A model may have rows beyond its tokens; those are never chosen.
    words.resize(logits.max(words.len()), Vec::new());
    let trie = TokTrie::from(&TokRxInfo::new(words.len() as u32, *end), &words).with_eos_tokens(ends);
    Ok(Arc::new(Vocabulary {
        tokenizer: tokenizer.clone(),
        trie,
    }))
}

impl TokenizerEnv for Vocabulary {
    fn tok_trie(&self) -> &TokTrie {
        &self.trie
    }

    fn tokenize_bytes(&self, bytes: &[u8]) -> Vec<TokenId> {
        self.trie.tokenize_with_greedy_fallback(bytes, |text| {
            let tokens = match self.tokenizer.encode(text, false) {
                Ok(encoding) => encoding.get_ids().to_vec(),
                Err(_) => Vec::new(),
            };
            // Some tokenizers put a space before a text or normalise it: these tokens would say something else.
            match self.trie.decode_raw(&tokens) == text.as_bytes() {
                true => tokens,
                false => self.trie.greedy_tokenize(text.as_bytes()),
            }
        })
    }
}

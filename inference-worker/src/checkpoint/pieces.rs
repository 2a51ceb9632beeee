//! The tokenizer of a GGUF file of the kind "llama": SentencePiece pieces with scores, merged best first, bytes where no piece fits.

use std::collections::HashMap;

use candle_core::quantized::gguf_file::{Content, Value};
use tokenizers::decoders::byte_fallback::ByteFallback;
use tokenizers::decoders::fuse::Fuse;
use tokenizers::decoders::sequence::Sequence as Decoders;
use tokenizers::decoders::strip::Strip;
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::normalizers::{NormalizerWrapper, Prepend, Replace, Sequence as Normalizers};
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{AddedToken, Tokenizer};

/// Of `tokenizer.ggml.token_type`.
const UNKNOWN: i64 = 2;
const CONTROL: i64 = 3;
const USER_DEFINED: i64 = 4;
/// The character that stands for a space.
const SPACE: &str = "▁";

pub fn tokenizer(content: &Content) -> Result<Tokenizer, String> {
    let list = |key: &str| {
        content
            .metadata
            .get(key)
            .and_then(|value| value.to_vec().ok())
            .ok_or_else(|| format!("it lacks {key}"))
    };
    let pieces: Vec<String> = list("tokenizer.ggml.tokens")?
        .iter()
        .map(|value| value.to_string().cloned().map_err(|error| error.to_string()))
        .collect::<Result<_, _>>()?;
    let scores: Vec<f32> = list("tokenizer.ggml.scores")?
        .iter()
        .map(|value| value.to_f32().map_err(|error| error.to_string()))
        .collect::<Result<_, _>>()?;
    let kinds: Vec<i64> = list("tokenizer.ggml.token_type")?.iter().map(whole).collect();
    if scores.len() != pieces.len() || kinds.len() != pieces.len() {
        return Err("its tokens, scores and token types differ in number".into());
    }
    let ids: HashMap<&str, u32> = (0..)
        .zip(&pieces)
        .map(|(id, piece)| (piece.as_str(), id))
        .collect();

    // SentencePiece joins the two neighbours that make the piece with the best score: a merge for each way to cut a piece in two,
    // best score first.
    let mut merges: Vec<(f32, u32, u32, (String, String))> = Vec::new();
    for (piece, score) in pieces.iter().zip(&scores) {
        for (at, _) in piece.char_indices().skip(1) {
            let (left, right) = piece.split_at(at);
            if let (Some(a), Some(b)) = (ids.get(left), ids.get(right)) {
                merges.push((*score, *a, *b, (left.to_owned(), right.to_owned())));
            }
        }
    }
    merges.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)).then(a.2.cmp(&b.2)));
    let merges = merges.into_iter().map(|(_, _, _, pair)| pair).collect();
    let vocabulary: Vocab = ids.iter().map(|(piece, id)| ((*piece).to_owned(), *id)).collect();
    let mut builder = BPE::builder()
        .vocab_and_merges(vocabulary, merges)
        .byte_fallback(true)
        .fuse_unk(true);
    if let Some(unknown) = kinds.iter().position(|kind| *kind == UNKNOWN) {
        builder = builder.unk_token(pieces[unknown].clone());
    }
    let told = |error: tokenizers::Error| error.to_string();
    let mut tokenizer = Tokenizer::new(builder.build().map_err(told)?);

    let begins_with_space = !matches!(
        content.metadata.get("tokenizer.ggml.add_space_prefix"),
        Some(Value::Bool(false))
    );
    let mut steps: Vec<NormalizerWrapper> = Vec::new();
    if begins_with_space {
        steps.push(Prepend::new(SPACE.into()).into());
    }
    steps.push(Replace::new(" ", SPACE).map_err(told)?.into());
    tokenizer
        .with_normalizer(Some(Normalizers::new(steps)))
        .map_err(told)?;
    let mut decoders = vec![
        Replace::new(SPACE, " ").map_err(told)?.into(),
        ByteFallback::new().into(),
        Fuse::new().into(),
    ];
    if begins_with_space {
        decoders.push(Strip::new(' ', 1, 0).into());
    }
    tokenizer.with_decoder(Some(Decoders::new(decoders)));
    let special: Vec<AddedToken> = pieces
        .iter()
        .zip(&kinds)
        .filter(|(_, kind)| matches!(**kind, UNKNOWN | CONTROL | USER_DEFINED))
        .map(|(piece, _)| AddedToken::from(piece.clone(), true).normalized(false))
        .collect();
    tokenizer.add_special_tokens(special).map_err(told)?;
    let adds_begin = !matches!(
        content.metadata.get("tokenizer.ggml.add_bos_token"),
        Some(Value::Bool(false))
    );
    let begin = content.metadata.get("tokenizer.ggml.bos_token_id").map(whole);
    if let Some(begin) = begin
        .and_then(|id| usize::try_from(id).ok())
        .filter(|_| adds_begin)
    {
        let piece = pieces
            .get(begin)
            .ok_or_else(|| format!("its bos_token_id {begin} is no token"))?;
        let template = TemplateProcessing::builder()
            .try_single(vec![piece.clone(), "$0".into()])
            .map_err(|error| error.to_string())?
            .special_tokens(vec![(piece.clone(), begin as u32)])
            .build()
            .map_err(|error| error.to_string())?;
        tokenizer.with_post_processor(Some(template));
    }
    Ok(tokenizer)
}

fn whole(value: &Value) -> i64 {
    match value {
        Value::U32(value) => i64::from(*value),
        value => value.to_i32().map(i64::from).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::quantized::gguf_file::VersionedMagic;

    fn content(pieces: &[(&str, f32, i32)]) -> Content {
        let list = |of: &dyn Fn(&(&str, f32, i32)) -> Value| Value::Array(pieces.iter().map(of).collect());
        let metadata = [
            (
                "tokenizer.ggml.tokens",
                list(&|piece| Value::String(piece.0.into())),
            ),
            ("tokenizer.ggml.scores", list(&|piece| Value::F32(piece.1))),
            ("tokenizer.ggml.token_type", list(&|piece| Value::I32(piece.2))),
            ("tokenizer.ggml.bos_token_id", Value::U32(1)),
        ];
        Content {
            magic: VersionedMagic::GgufV3,
            metadata: metadata
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value))
                .collect(),
            tensor_infos: std::collections::HashMap::new(),
            tensor_data_offset: 0,
        }
    }

    #[test]
    fn the_best_pieces_are_joined_first_and_unknown_characters_become_bytes() {
        let mut pieces = vec![("<unk>", 0.0, 2), ("<s>", 0.0, 3), ("</s>", 0.0, 3)];
        let bytes: Vec<String> = (0..256).map(|byte| format!("<0x{byte:02X}>")).collect();
        pieces.extend(bytes.iter().map(|byte| (byte.as_str(), 0.0, 6)));
        let words = ["▁", "a", "b", "c", "ab", "bc", "▁a"];
        pieces.extend(
            words
                .iter()
                .zip([-9.0, -9.0, -9.0, -9.0, -3.0, -1.0, -2.0])
                .map(|(word, score)| (*word, score, 1)),
        );
        let tokenizer = tokenizer(&content(&pieces)).unwrap();
        let encoding = tokenizer.encode("abc é", true).unwrap();
        // "bc" scores better than "▁a", and both better than "ab".
        assert_eq!(
            encoding.get_tokens(),
            ["<s>", "▁a", "bc", "▁", "<0xC3>", "<0xA9>"]
        );
        assert_eq!(tokenizer.decode(encoding.get_ids(), true).unwrap(), "abc é");
        let plain = tokenizer.encode("ab", false).unwrap();
        assert_eq!(plain.get_tokens(), ["▁a", "b"]);
    }
}

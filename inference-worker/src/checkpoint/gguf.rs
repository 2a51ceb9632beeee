//! A GGUF file: its architecture, its tensors under the names of a Hugging Face checkpoint, its tokenizer.

use std::collections::HashMap;
use std::fs::File;
use std::io::Cursor;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use candle_core::quantized::gguf_file::{Content, Value};
use candle_core::quantized::tokenizer::TokenizerFromGguf;
use tokenizers::Tokenizer;

use super::config::Architecture;
use super::stored::{Order, Stored};
use crate::model::rope::Scaling;
use crate::model::shape::Shape;

/// Metadata and names; vocabularies of 128 thousand tokens take some 8 MB.
const MAX_HEADER_BYTES: u64 = 32 << 20;

/// What a GGUF file holds.
pub struct Gguf {
    content: Content,
    file: Arc<File>,
    length: u64,
}

impl Gguf {
    /// Reads the header, and nothing else.
    pub fn open(path: &Path) -> Result<Gguf, String> {
        let file = File::open(path).map_err(|error| error.to_string())?;
        let length = file.metadata().map_err(|error| error.to_string())?.len();
        let mut header = vec![0; length.min(MAX_HEADER_BYTES) as usize];
        file.read_exact_at(&mut header, 0)
            .map_err(|error| error.to_string())?;
        // The reader counts what it is given as the whole file, and refuses counts that go beyond it. An alignment of zero makes it
        // panic (candle 0.11.1).
        let read = std::panic::catch_unwind(|| Content::read(&mut Cursor::new(header)));
        let content = match read {
            Ok(read) => read.map_err(|error| one_line(&error))?,
            Err(_) => return Err("its header is not that of a GGUF file".into()),
        };
        Ok(Gguf {
            content,
            file: Arc::new(file),
            length,
        })
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.content
            .metadata
            .get(key)?
            .to_string()
            .ok()
            .map(String::as_str)
    }

    fn whole(&self, key: &str) -> Option<usize> {
        match self.content.metadata.get(key)? {
            Value::I32(value) => usize::try_from(*value).ok(),
            Value::I64(value) => usize::try_from(*value).ok(),
            value => usize::try_from(value.to_u64().ok()?).ok(),
        }
    }

    fn float(&self, key: &str) -> Option<f32> {
        self.content.metadata.get(key)?.to_f32().ok()
    }

    fn id(&self, key: &str) -> Option<u32> {
        u32::try_from(self.whole(key)?).ok()
    }

    pub fn name(&self) -> Option<&str> {
        self.text("general.name")
    }

    pub fn chat_template(&self) -> Option<&str> {
        self.text("tokenizer.chat_template")
    }

    /// The sizes, checked.
    pub fn architecture(&self) -> Result<Architecture, String> {
        match self.text("general.architecture") {
            Some("llama") => {}
            other => {
                let found = other.unwrap_or("not told");
                return Err(format!(
                    "its architecture is \"{found}\"; only \"llama\" is known"
                ));
            }
        }
        if self.whole("split.count").is_some_and(|count| count > 1) {
            return Err("it is one part of several; join them with llama-gguf-split first".into());
        }
        let need = |key: &str| self.whole(key).ok_or_else(|| format!("it lacks {key}"));
        let hidden = need("llama.embedding_length")?;
        let heads = need("llama.attention.head_count")?;
        let embedding = self.content.tensor_infos.get("token_embd.weight");
        let shape = Shape {
            hidden,
            inner: need("llama.feed_forward_length")?,
            vocabulary: embedding
                .and_then(|info| info.shape.dims().first().copied())
                .unwrap_or(0),
            layers: need("llama.block_count")?,
            heads,
            key_value_heads: self.whole("llama.attention.head_count_kv").unwrap_or(heads),
            head_dimension: self
                .whole("llama.attention.key_length")
                .unwrap_or(hidden / heads.max(1)),
            norm_epsilon: self
                .float("llama.attention.layer_norm_rms_epsilon")
                .unwrap_or(1e-5),
            context_tokens: need("llama.context_length")?,
        };
        shape.check()?;
        if self
            .whole("llama.rope.dimension_count")
            .is_some_and(|count| count != shape.head_dimension)
        {
            return Err("it turns only a part of each head; a Llama model turns all of it".into());
        }
        if self.whole("llama.expert_count").is_some_and(|count| count > 0) {
            return Err("it is a mixture of experts; only dense models are known".into());
        }
        let scaling = match self.text("llama.rope.scaling.type") {
            None | Some("none") => Scaling::None,
            Some("linear") => match self.float("llama.rope.scaling.factor") {
                Some(factor) if factor.is_finite() && factor > 0.0 => Scaling::Linear { factor },
                _ => return Err("it lacks a positive llama.rope.scaling.factor".into()),
            },
            Some(other) => return Err(format!("its rope scaling is {other}; none and linear are known")),
        };
        let rope_base = self.float("llama.rope.freq_base").unwrap_or(10_000.0);
        if !(rope_base.is_finite() && rope_base >= 1.0) {
            return Err(format!("its llama.rope.freq_base is {rope_base}"));
        }
        let ends = ["eos", "eot", "eom"]
            .iter()
            .filter_map(|name| self.id(&format!("tokenizer.ggml.{name}_token_id")))
            .collect();
        let adds_begin = matches!(
            self.content.metadata.get("tokenizer.ggml.add_bos_token"),
            None | Some(Value::Bool(true))
        );
        Ok(Architecture {
            shape,
            rope_base,
            scaling,
            is_tied: !self.content.tensor_infos.contains_key("output.weight"),
            begin: self.id("tokenizer.ggml.bos_token_id").filter(|_| adds_begin),
            ends,
        })
    }

    /// The tensors by their Hugging Face names.
    pub fn tensors(&self, shape: &Shape) -> Result<HashMap<String, Stored>, String> {
        let mut tensors = HashMap::new();
        for (name, info) in &self.content.tensor_infos {
            let Some(known_as) = known_as(name) else { continue };
            let dims = info.shape.dims().to_vec();
            let (block, bytes) = (info.ggml_dtype.block_size(), info.ggml_dtype.type_size());
            let elements = dims.iter().try_fold(1_usize, |all, size| all.checked_mul(*size));
            let columns = dims.last().copied().unwrap_or(0);
            let end = elements
                .filter(|_| columns.is_multiple_of(block))
                .and_then(|elements| (elements / block).checked_mul(bytes))
                .and_then(|bytes| (bytes as u64).checked_add(info.offset))
                .and_then(|end| end.checked_add(self.content.tensor_data_offset));
            match end {
                None => {
                    return Err(format!(
                        "{name} has the shape {dims:?}, which its blocks of {block} do not fill"
                    ));
                }
                Some(end) if end > self.length => {
                    return Err(format!(
                        "{name} would end after the file's {} bytes: it is truncated",
                        self.length
                    ));
                }
                Some(_) => {}
            }
            let is_paired = name.ends_with("attn_q.weight") || name.ends_with("attn_k.weight");
            let stored = Stored {
                file: self.file.clone(),
                offset: self.content.tensor_data_offset + info.offset,
                kind: info.ggml_dtype,
                shape: dims,
                order: if is_paired {
                    Order::Paired(shape.head_dimension)
                } else {
                    Order::AsIs
                },
            };
            tensors.insert(known_as, stored);
        }
        Ok(tensors)
    }

    /// The divisors of `rope_freqs.weight`, where the file has them: they stand for Llama 3.1's scaling.
    pub fn divisors(
        &self,
        tensors: &HashMap<String, Stored>,
        shape: &Shape,
    ) -> Result<Option<Scaling>, String> {
        let Some(stored) = tensors.get(ROPE_FREQS) else {
            return Ok(None);
        };
        let divisors = stored.plain()?;
        if divisors.len() != shape.head_dimension / 2 || divisors.iter().any(|divisor| *divisor <= 0.0) {
            return Err("rope_freqs.weight does not hold a positive divisor for each pair of a head".into());
        }
        Ok(Some(Scaling::Divisors(divisors)))
    }

    /// The tokenizer of a byte-level BPE ("gpt2") or of a SentencePiece BPE ("llama").
    pub fn tokenizer(&self) -> Result<Tokenizer, String> {
        match self.text("tokenizer.ggml.model") {
            Some("gpt2") => {
                let read = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                    Tokenizer::from_gguf(&self.content)
                }));
                read.map_err(|_| "its tokenizer is damaged".to_owned())?
                    .map_err(|error| one_line(&error))
            }
            Some("llama") => super::pieces::tokenizer(&self.content),
            Some(other) => Err(format!(
                "its tokenizer is of the kind {other}; gpt2 and llama are known"
            )),
            None => Err("it has no tokenizer".into()),
        }
    }
}

const ROPE_FREQS: &str = "rope_freqs.weight";

/// The Hugging Face name of a tensor.
fn known_as(name: &str) -> Option<String> {
    match name {
        "token_embd.weight" => return Some("model.embed_tokens.weight".into()),
        "output_norm.weight" => return Some("model.norm.weight".into()),
        "output.weight" => return Some("lm_head.weight".into()),
        ROPE_FREQS => return Some(ROPE_FREQS.into()),
        _ => {}
    }
    let (layer, part) = name
        .strip_prefix("blk.")?
        .strip_suffix(".weight")?
        .split_once('.')?;
    let part = match part {
        "attn_norm" => "input_layernorm",
        "attn_q" => "self_attn.q_proj",
        "attn_k" => "self_attn.k_proj",
        "attn_v" => "self_attn.v_proj",
        "attn_output" => "self_attn.o_proj",
        "ffn_norm" => "post_attention_layernorm",
        "ffn_gate" => "mlp.gate_proj",
        "ffn_up" => "mlp.up_proj",
        "ffn_down" => "mlp.down_proj",
        _ => return None,
    };
    Some(format!("model.layers.{layer}.{part}.weight"))
}

/// candle's errors may carry a backtrace behind their first line.
fn one_line(error: &candle_core::Error) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

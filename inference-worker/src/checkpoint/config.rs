//! `config.json` of a Hugging Face checkpoint.

use serde::Deserialize;

use crate::model::rope::{Scaling, ScalingConfig};
use crate::model::shape::Shape;

/// As it stands in the file; what is not named here does not change the arithmetic of a Llama model.
#[derive(Deserialize)]
pub struct Config {
    #[serde(default)]
    architectures: Vec<String>,
    model_type: Option<String>,
    hidden_size: usize,
    intermediate_size: usize,
    vocab_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    rms_norm_eps: f32,
    rope_theta: Option<f32>,
    rope_scaling: Option<ScalingConfig>,
    rope_parameters: Option<ScalingConfig>,
    max_position_embeddings: usize,
    #[serde(default)]
    tie_word_embeddings: bool,
    hidden_act: Option<String>,
    #[serde(default)]
    attention_bias: bool,
    #[serde(default)]
    mlp_bias: bool,
    bos_token_id: Option<u32>,
    eos_token_id: Option<Ends>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Ends {
    One(u32),
    Several(Vec<u32>),
}

/// What the model needs of a configuration.
#[derive(Clone, Debug)]
pub struct Architecture {
    pub shape: Shape,
    pub rope_base: f32,
    pub scaling: Scaling,
    pub is_tied: bool,
    /// The token that begins a text, where the model was trained with one.
    pub begin: Option<u32>,
    /// Tokens that end a text.
    pub ends: Vec<u32>,
}

impl Config {
    /// The checked sizes, or which of them is not one of a Llama model.
    pub fn architecture(self) -> Result<Architecture, String> {
        let is_llama = match &self.model_type {
            Some(kind) => kind == "llama",
            None => self.architectures.iter().any(|name| name == "LlamaForCausalLM"),
        };
        if !is_llama {
            let found = self.model_type.unwrap_or_else(|| self.architectures.join(", "));
            return Err(format!(
                "its architecture is \"{found}\"; only \"llama\" is known"
            ));
        }
        if let Some(act) = self.hidden_act.filter(|act| act != "silu") {
            return Err(format!("its activation is {act}, not silu"));
        }
        if self.attention_bias || self.mlp_bias {
            return Err("it has biases; a Llama model has none".into());
        }
        let heads = self.num_attention_heads.max(1);
        let shape = Shape {
            hidden: self.hidden_size,
            inner: self.intermediate_size,
            vocabulary: self.vocab_size,
            layers: self.num_hidden_layers,
            heads: self.num_attention_heads,
            key_value_heads: self.num_key_value_heads.unwrap_or(self.num_attention_heads),
            head_dimension: self.head_dim.unwrap_or(self.hidden_size / heads),
            norm_epsilon: self.rms_norm_eps,
            context_tokens: self.max_position_embeddings,
        };
        shape.check()?;
        let scaling_config = self.rope_scaling.or(self.rope_parameters);
        let in_scaling = scaling_config.as_ref().and_then(|config| config.rope_theta);
        let rope_base = self.rope_theta.or(in_scaling).unwrap_or(10_000.0);
        if !(rope_base.is_finite() && rope_base >= 1.0) {
            return Err(format!("its rope_theta is {rope_base}"));
        }
        let scaling = match scaling_config {
            Some(config) => config.scaling()?,
            None => Scaling::None,
        };
        Ok(Architecture {
            shape,
            rope_base,
            scaling,
            is_tied: self.tie_word_embeddings,
            begin: self.bos_token_id,
            ends: match self.eos_token_id {
                Some(Ends::One(id)) => vec![id],
                Some(Ends::Several(ids)) => ids,
                None => Vec::new(),
            },
        })
    }
}

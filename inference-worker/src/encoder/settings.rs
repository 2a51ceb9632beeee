//! What the files of an encoder say: `config.json` of a BERT checkpoint, and how sentence-transformers makes one vector of it.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::source::Source;

const CONFIG: &str = "config.json";
const MODULES: &str = "modules.json";
const SENTENCES: &str = "sentence_bert_config.json";

/// Sizes that make a BERT model, checked before anything is allocated by them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sizes {
    pub hidden: usize,
    pub inner: usize,
    pub vocabulary: usize,
    pub layers: usize,
    pub heads: usize,
    /// Of texts, in tokens.
    pub positions: usize,
    pub kinds: usize,
    pub norm_epsilon: f32,
}

impl Sizes {
    pub fn head_dimension(&self) -> usize {
        self.hidden / self.heads
    }
}

/// How the vectors of a text's tokens become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    Mean,
    /// That of the first token.
    First,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    pub sizes: Sizes,
    pub pooling: Pooling,
    /// What is beyond is cut off.
    pub most_tokens: usize,
}

#[derive(Deserialize)]
struct Config {
    model_type: Option<String>,
    hidden_size: usize,
    intermediate_size: usize,
    vocab_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    max_position_embeddings: usize,
    #[serde(default = "two")]
    type_vocab_size: usize,
    #[serde(default = "tiny")]
    layer_norm_eps: f32,
    hidden_act: Option<String>,
    position_embedding_type: Option<String>,
}

fn two() -> usize {
    2
}

fn tiny() -> f32 {
    1e-12
}

#[derive(Deserialize)]
struct Module {
    path: String,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct Sentences {
    max_seq_length: Option<usize>,
}

/// Old files have a flag for each way, new ones a word.
#[derive(Deserialize)]
struct PoolingConfig {
    pooling_mode: Option<String>,
    #[serde(default)]
    pooling_mode_mean_tokens: bool,
    #[serde(default)]
    pooling_mode_cls_token: bool,
    #[serde(default)]
    pooling_mode_max_tokens: bool,
    #[serde(default)]
    pooling_mode_mean_sqrt_len_tokens: bool,
    #[serde(default)]
    pooling_mode_weightedmean_tokens: bool,
    #[serde(default)]
    pooling_mode_lasttoken: bool,
}

impl Settings {
    /// The checked settings, or which file says what cannot be followed.
    pub fn of(source: &Source) -> Result<Settings, String> {
        let config: Config = parse(source, CONFIG)?.ok_or_else(|| format!("it lacks {CONFIG}"))?;
        let sizes = config.sizes().map_err(|what| format!("{CONFIG}: {what}"))?;
        let sentences: Option<Sentences> = parse(source, SENTENCES)?;
        let wanted = sentences
            .and_then(|file| file.max_seq_length)
            .unwrap_or(sizes.positions);
        if wanted < 3 {
            return Err(format!("{SENTENCES}: texts of {wanted} tokens hold nothing"));
        }
        Ok(Settings {
            sizes,
            pooling: pooling(source)?,
            most_tokens: wanted.min(sizes.positions),
        })
    }
}

impl Config {
    fn sizes(self) -> Result<Sizes, String> {
        match self.model_type.as_deref() {
            Some("bert") => {}
            other => {
                let found = other.unwrap_or("not told");
                return Err(format!(
                    "its architecture is \"{found}\"; of encoders only \"bert\" is known"
                ));
            }
        }
        if let Some(act) = self.hidden_act.filter(|act| act != "gelu") {
            return Err(format!("its activation is {act}, not gelu"));
        }
        if let Some(kind) = self.position_embedding_type.filter(|kind| kind != "absolute") {
            return Err(format!("its positions are {kind}, not absolute"));
        }
        let within = |name: &str, value: usize, least: usize, most: usize| {
            if (least..=most).contains(&value) {
                Ok(())
            } else {
                Err(format!("its {name} is {value}, not within {least} and {most}"))
            }
        };
        within("hidden size", self.hidden_size, 8, 8_192)?;
        within("intermediate size", self.intermediate_size, 8, 65_536)?;
        within("vocabulary", self.vocab_size, 2, 1 << 20)?;
        within("number of layers", self.num_hidden_layers, 1, 128)?;
        within("number of attention heads", self.num_attention_heads, 1, 128)?;
        within("number of positions", self.max_position_embeddings, 3, 8_192)?;
        within("number of text kinds", self.type_vocab_size, 1, 64)?;
        if !self.hidden_size.is_multiple_of(2 * self.num_attention_heads) {
            return Err(format!(
                "a hidden size of {} cannot be shared by {} attention heads",
                self.hidden_size, self.num_attention_heads
            ));
        }
        if !(self.layer_norm_eps > 0.0 && self.layer_norm_eps < 0.1) {
            return Err(format!("its layer_norm_eps is {}", self.layer_norm_eps));
        }
        Ok(Sizes {
            hidden: self.hidden_size,
            inner: self.intermediate_size,
            vocabulary: self.vocab_size,
            layers: self.num_hidden_layers,
            heads: self.num_attention_heads,
            positions: self.max_position_embeddings,
            kinds: self.type_vocab_size,
            norm_epsilon: self.layer_norm_eps,
        })
    }
}

/// A checkpoint without modules is pooled by the mean, as sentence-transformers does.
fn pooling(source: &Source) -> Result<Pooling, String> {
    let Some(modules) = parse::<Vec<Module>>(source, MODULES)? else {
        return Ok(Pooling::Mean);
    };
    let mut pooling = Pooling::Mean;
    for module in modules {
        match module.kind.rsplit('.').next() {
            Some("Transformer" | "Normalize") => {}
            Some("Pooling") => {
                let name = format!("{}/{CONFIG}", module.path);
                let config: PoolingConfig =
                    parse(source, &name)?.ok_or_else(|| format!("it lacks {name}"))?;
                pooling = config.pooling().map_err(|what| format!("{name}: {what}"))?;
            }
            _ => return Err(format!("{MODULES}: a module {} is not known", module.kind)),
        }
    }
    Ok(pooling)
}

impl PoolingConfig {
    fn pooling(self) -> Result<Pooling, String> {
        let others = self.pooling_mode_max_tokens
            || self.pooling_mode_mean_sqrt_len_tokens
            || self.pooling_mode_weightedmean_tokens
            || self.pooling_mode_lasttoken;
        let (mean, first) = (self.pooling_mode_mean_tokens, self.pooling_mode_cls_token);
        match (self.pooling_mode.as_deref(), mean, first, others) {
            (Some("mean"), ..) | (None, true, false, false) => Ok(Pooling::Mean),
            (Some("cls"), ..) | (None, false, true, false) => Ok(Pooling::First),
            _ => Err("the pooling is neither that of the mean nor that of the first token".into()),
        }
    }
}

fn parse<T: DeserializeOwned>(source: &Source, name: &str) -> Result<Option<T>, String> {
    let Some(bytes) = source.read(name)? else {
        return Ok(None);
    };
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|error| format!("{name}: {error}"))
}

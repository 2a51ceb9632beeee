//! `adapter_config.json` of PEFT: by what the product of the two matrices is multiplied, and what cannot be followed.

use regex::RegexBuilder;
use serde_json::{Map, Value};

/// The longest text of it.
pub const MAX_BYTES: usize = 64 << 10;
/// A pattern that compiles to more is not meant for names.
const MAX_PATTERN_BYTES: usize = 1 << 18;

/// What tells how the adapter was trained, or what for: nothing that a forward pass follows.
const HISTORY: [&str; 21] = [
    "auto_mapping",
    "base_model_name_or_path",
    "corda_config",
    "eva_config",
    "exclude_modules",
    "inference_mode",
    "layers_pattern",
    "layers_to_transform",
    "loftq_config",
    "lora_dropout",
    "lora_ga_config",
    "megatron_config",
    "megatron_core",
    "peft_version",
    "qalora_group_size",
    "revision",
    "runtime_config",
    "target_modules",
    "task_type",
    "velora_config",
    "ensure_weight_tying",
];

/// What would have to be followed and is not.
const CHANGES: [(&str, &str); 13] = [
    ("use_dora", "DoRA also scales the base's own weights"),
    (
        "lora_bias",
        "it adds a bias to the product; a Llama model has none",
    ),
    ("modules_to_save", "it replaces whole modules of the base"),
    ("trainable_token_indices", "it replaces embeddings of the base"),
    ("layer_replication", "it repeats layers of the base"),
    (
        "fan_in_fan_out",
        "its matrices stand the other way round than a Llama model's",
    ),
    (
        "target_parameters",
        "it changes parameters that are no linear products",
    ),
    ("alora_invocation_tokens", "it begins only at certain tokens"),
    ("use_qalora", "it pools its input in groups"),
    ("use_bdlora", "its matrices are made of blocks"),
    ("arrow_config", "it chooses among other adapters"),
    ("monteclora_config", "it draws its weights at random"),
    (
        "kasa_config",
        "it multiplies with a diagonal between its matrices",
    ),
];

/// Ways to begin a training that subtract from the base what the adapter then holds.
const CHANGED_BASE: [&str; 5] = ["pissa", "olora", "corda", "loftq", "lora_ga"];

/// A checked configuration.
#[derive(Debug)]
pub struct Config {
    /// The SHA-256 of the weights that it was trained on, in hexadecimal, where `revision` is `sha256:` and that.
    pub trained_on: Option<String>,
    rank: Option<usize>,
    alpha: f64,
    uses_root: bool,
    ranks: Vec<Pattern<usize>>,
    alphas: Vec<Pattern<f64>>,
}

#[derive(Debug)]
struct Pattern<T> {
    names: regex::Regex,
    value: T,
}

impl Config {
    /// Reads it, or says which key cannot be followed and why.
    pub fn read(text: &str) -> Result<Config, String> {
        if text.len() > MAX_BYTES {
            return Err(format!(
                "its configuration has {} bytes, {MAX_BYTES} at most",
                text.len()
            ));
        }
        let keys: Map<String, Value> = serde_json::from_str(text)
            .map_err(|error| format!("its configuration is no JSON object: {error}"))?;
        for (key, value) in &keys {
            check(key, value)?;
        }
        let rank = match keys.get("r") {
            None | Some(Value::Null) => None,
            Some(value) => Some(whole("r", value)?),
        };
        let alpha = match keys.get("lora_alpha") {
            Some(value) => number("lora_alpha", value)?,
            None => {
                return Err("its configuration does not say lora_alpha; give it with --alpha".into());
            }
        };
        let revision = keys.get("revision").and_then(Value::as_str);
        let trained_on = revision.and_then(|revision| revision.strip_prefix("sha256:"));
        Ok(Config {
            trained_on: trained_on.map(str::to_ascii_lowercase),
            rank,
            alpha,
            uses_root: keys.get("use_rslora").is_some_and(|value| value == true),
            ranks: patterns(&keys, "rank_pattern", whole)?,
            alphas: patterns(&keys, "alpha_pattern", number)?,
        })
    }

    /// Alpha for a module, by its name in the base.
    pub fn alpha(&self, module: &str) -> f64 {
        let pattern = self.alphas.iter().find(|pattern| pattern.names.is_match(module));
        pattern.map_or(self.alpha, |pattern| pattern.value)
    }

    /// What `B·(A·x)` of a module is multiplied with; `rank` is that of its tensors, which must be the one told here.
    pub fn scale(&self, module: &str, rank: usize) -> Result<f32, String> {
        let pattern = self.ranks.iter().find(|pattern| pattern.names.is_match(module));
        let told = pattern.map(|pattern| pattern.value).or(self.rank);
        if let Some(told) = told.filter(|told| *told != rank) {
            return Err(format!(
                "{module} has the rank {rank}, the configuration says {told}"
            ));
        }
        let below = if self.uses_root {
            (rank as f64).sqrt()
        } else {
            rank as f64
        };
        Ok((self.alpha(module) / below) as f32)
    }
}

fn check(key: &str, value: &Value) -> Result<(), String> {
    match key {
        "r" | "lora_alpha" | "rank_pattern" | "alpha_pattern" => return Ok(()),
        "use_rslora" if value.is_boolean() || value.is_null() => return Ok(()),
        "peft_type" => {
            return match value.as_str() {
                Some(kind) if kind.eq_ignore_ascii_case("lora") => Ok(()),
                _ => Err(format!("its peft_type is {}; only LORA is known", short(value))),
            };
        }
        "bias" => {
            return match value.as_str() {
                None | Some("none") if value.is_string() || value.is_null() => Ok(()),
                _ => Err(format!(
                    "its bias is {}: it changes biases, of which a Llama model has none",
                    short(value)
                )),
            };
        }
        "init_lora_weights" => {
            let way = value.as_str().unwrap_or_default().to_ascii_lowercase();
            return match CHANGED_BASE.iter().any(|changed| way.starts_with(changed)) {
                true => Err(format!(
                    "init_lora_weights is {way}: the base was changed when training began; save it with PEFT's path_initial_model_for_weight_conversion"
                )),
                false => Ok(()),
            };
        }
        _ => {}
    }
    if HISTORY.contains(&key) || is_off(value) {
        return Ok(());
    }
    match CHANGES.iter().find(|(known, _)| *known == key) {
        Some((_, why)) => Err(format!("it has {key}, which cannot be followed: {why}")),
        None => Err(format!(
            "it has {key} = {}, and what that does is not known here",
            short(value)
        )),
    }
}

fn is_off(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(is_on) => !is_on,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(keys) => keys.is_empty(),
    }
}

fn patterns<T>(
    keys: &Map<String, Value>,
    name: &str,
    read: impl Fn(&str, &Value) -> Result<T, String>,
) -> Result<Vec<Pattern<T>>, String> {
    let found = match keys.get(name) {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Object(found)) => found,
        Some(other) => return Err(format!("{name} is {}, no object", short(other))),
    };
    let pattern = |(key, value): (&String, &Value)| {
        // As PEFT looks: at the end of a name, behind a dot or at its beginning.
        let names = RegexBuilder::new(&format!(r"\A(?:.*\.)?(?:{key})\z"))
            .size_limit(MAX_PATTERN_BYTES)
            .build()
            .map_err(|_| {
                format!(
                    "{name} has the pattern {}, which is not understood",
                    short(&Value::from(key.as_str()))
                )
            })?;
        let value = read(name, value)?;
        Ok(Pattern { names, value })
    };
    found.iter().map(pattern).collect()
}

fn whole(name: &str, value: &Value) -> Result<usize, String> {
    match value.as_u64() {
        Some(rank @ 1..=65_536) => Ok(rank as usize),
        _ => Err(format!("{name} has {}, which is no rank", short(value))),
    }
}

fn number(name: &str, value: &Value) -> Result<f64, String> {
    match value.as_f64() {
        Some(number) if number.is_finite() && number.abs() <= 1e6 => Ok(number),
        _ => Err(format!("{name} has {}, which is no alpha", short(value))),
    }
}

fn short(value: &Value) -> String {
    value.to_string().chars().take(60).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scale(text: &str, module: &str, rank: usize) -> Result<f32, String> {
        Config::read(text)?.scale(module, rank)
    }

    #[test]
    fn alpha_and_rank_follow_their_patterns() {
        let plain = r#"{"peft_type":"LORA","r":8,"lora_alpha":16,"rank_pattern":{"q_proj":4,"layers\\.1\\..*":2},
            "alpha_pattern":{"layers.0.self_attn.q_proj":1,"(q|k)_proj":3}}"#;
        assert_eq!(scale(plain, "model.layers.0.self_attn.v_proj", 8), Ok(2.0));
        assert_eq!(scale(plain, "model.layers.0.self_attn.q_proj", 4), Ok(0.25));
        // The first pattern that fits counts.
        assert_eq!(scale(plain, "model.layers.1.self_attn.q_proj", 4), Ok(0.75));
        assert_eq!(scale(plain, "model.layers.1.self_attn.k_proj", 2), Ok(1.5));
        let error = scale(plain, "model.layers.0.self_attn.v_proj", 9).unwrap_err();
        assert!(error.contains("rank 9") && error.contains("says 8"), "{error}");
        let root = r#"{"r":16,"lora_alpha":16,"use_rslora":true}"#;
        assert_eq!(scale(root, "x", 16), Ok(4.0));
        assert_eq!(scale(r#"{"lora_alpha":3}"#, "x", 6), Ok(0.5));
    }

    #[test]
    fn what_cannot_be_followed_is_named() {
        for (text, named) in [
            (r#"{"r":8,"lora_alpha":8,"use_dora":true}"#, "use_dora"),
            (r#"{"r":8,"lora_alpha":8,"bias":"all"}"#, "bias"),
            (r#"{"r":8,"lora_alpha":8,"bias":7}"#, "bias"),
            (
                r#"{"r":8,"lora_alpha":8,"modules_to_save":["lm_head"]}"#,
                "whole modules",
            ),
            (
                r#"{"r":8,"lora_alpha":8,"layer_replication":[[0,2]]}"#,
                "repeats layers",
            ),
            (
                r#"{"r":8,"lora_alpha":8,"init_lora_weights":"pissa_niter_4"}"#,
                "pissa",
            ),
            (r#"{"r":8,"lora_alpha":8,"tomorrow":"x"}"#, "tomorrow"),
            (r#"{"r":8,"lora_alpha":8,"use_rslora":"yes"}"#, "use_rslora"),
            (r#"{"peft_type":"IA3","r":8,"lora_alpha":8}"#, "IA3"),
            (r#"{"r":0,"lora_alpha":8}"#, "no rank"),
            (r#"{"r":-3,"lora_alpha":8}"#, "no rank"),
            (r#"{"r":8,"lora_alpha":1e300}"#, "no alpha"),
            (r#"{"r":8}"#, "--alpha"),
            (
                r#"{"r":8,"lora_alpha":8,"rank_pattern":{"(?=x)":3}}"#,
                "not understood",
            ),
            (
                r#"{"r":8,"lora_alpha":8,"rank_pattern":{"((x{900}){900}){900}":3}}"#,
                "not understood",
            ),
            ("[]", "no JSON object"),
            ("", "no JSON object"),
        ] {
            let error = Config::read(text).unwrap_err();
            assert!(error.contains(named), "{text}: {error}");
        }
        let off = r#"{"r":8,"lora_alpha":8,"use_dora":false,"modules_to_save":null,"tomorrow":{},"lora_dropout":0.1}"#;
        assert!(Config::read(off).is_ok());
        assert!(Config::read(&format!("{{\"r\":8,\"x\":\"{}\"}}", "a".repeat(MAX_BYTES))).is_err());
    }
}

//! What a state of the image asks for: maps whose members may be missing or wrong.

use shared::bridge::Fault;
use shared::inference::Options;
use shared::reason;
use shared::value::Value;

/// How tokens are drawn, as far as the state says so.
pub fn options(directive: &Value) -> Options {
    let default = Options::default();
    let or = |key: &str, value: f32, least: f64, most: f64| {
        number(directive, key).map_or(value, |asked| asked.clamp(least, most) as f32)
    };
    Options {
        likelihoods: is_true(directive, "confidence").then_some(0),
        top_k: number(directive, "top_k").unwrap_or(0.0).clamp(0.0, 1e6) as u32,
        min_p: or("min_p", default.min_p, 0.0, 1.0),
        repetition_penalty: or("repetition_penalty", default.repetition_penalty, 0.1, 10.0),
        ..default
    }
}

/// The image's own word, if it is one that programs know.
pub fn known_reason(word: &str) -> &'static str {
    match word {
        reason::NO_MODEL => reason::NO_MODEL,
        reason::DEADLINE => reason::DEADLINE,
        _ => reason::NOT_UNDERSTOOD,
    }
}

/// The thinking objects themselves do not work: somebody edited them.
pub fn broken_mind(what: &str) -> Fault {
    Fault::new(
        reason::NOT_UNDERSTOOD,
        format!("the mind's own objects cannot think: {what}"),
    )
}

pub fn is_true(value: &Value, key: &str) -> bool {
    matches!(value.member(key), Some(Value::Bool(true)))
}

/// The items of a list.
pub fn list<'a>(value: &'a Value, key: &str) -> Option<&'a [Value]> {
    match value.member(key) {
        Some(Value::List(items)) => Some(items),
        _ => None,
    }
}

pub fn number(value: &Value, key: &str) -> Option<f64> {
    match value.member(key) {
        Some(Value::Int(i)) => Some(*i as f64),
        Some(Value::Float(f)) => Some(*f),
        _ => None,
    }
}

/// A payload that says what failed.
pub fn failure(fault: &Fault) -> Value {
    Value::record([
        ("ok", Value::Bool(false)),
        ("reason", Value::Text(fault.reason.clone())),
        ("message", Value::Text(fault.message.clone())),
    ])
}

//! A generation as a server's request.

use serde_json::{Map, Value as Json, json};

use super::settings::Kind;
use super::wanted::Wanted;
use crate::engine::Job;

/// OpenAI's own limit; all stop sequences are looked for here as well.
const OPENAI_STOPS: usize = 4;

/// Where it is posted, and what. Fails with what this kind of server cannot be asked.
pub fn request(
    kind: Kind,
    model: &str,
    job: &Job,
    wanted: Option<&Wanted>,
) -> Result<(&'static str, Json), String> {
    let (generate, options) = (&job.request, &job.options);
    if options.likelihoods.is_some() {
        return Err("a server does not tell the likelihoods of tokens by their numbers: this needs a model of the worker's own".into());
    }
    let mut body = Map::new();
    let mut put = |name: &str, value: Json| body.insert(name.to_owned(), value);
    put("model", json!(model));
    put("max_tokens", json!(generate.max_tokens));
    put("temperature", plain(generate.temperature.max(0.0)));
    put("top_p", plain(generate.top_p));
    // Some servers keep it in 32 bits with a sign.
    put("seed", json!(generate.seed & 0x7fff_ffff));
    put("stream", json!(true));
    put("stream_options", json!({"include_usage": true}));
    let stops = match kind {
        Kind::Openai => OPENAI_STOPS,
        _ => usize::MAX,
    };
    let stops: Vec<&String> = generate
        .stop
        .iter()
        .filter(|stop| !stop.is_empty())
        .take(stops)
        .collect();
    if !stops.is_empty() {
        put("stop", json!(stops));
    }
    let is_told = options.top_k != 0 || options.min_p != 0.0 || options.repetition_penalty != 1.0;
    match kind {
        Kind::LlamaCpp => {
            put("top_k", json!(options.top_k));
            put("min_p", plain(options.min_p));
            put("repeat_penalty", plain(options.repetition_penalty));
            put("repeat_last_n", json!(options.repetition_window));
        }
        Kind::Vllm => {
            // Its word for all of them.
            put(
                "top_k",
                if options.top_k == 0 {
                    json!(-1)
                } else {
                    json!(options.top_k)
                },
            );
            put("min_p", plain(options.min_p));
            put("repetition_penalty", plain(options.repetition_penalty));
        }
        Kind::Openai | Kind::Ollama if is_told => {
            return Err("top-k, min-p and a repetition penalty are not in OpenAI's requests; name the kind of the server if it is llama.cpp or vllm".into());
        }
        Kind::Openai | Kind::Ollama => {}
    }
    if let Some(Wanted {
        field: (name, value), ..
    }) = wanted
    {
        put(name, value.clone());
    }
    if job.messages.is_empty() {
        put("prompt", json!(generate.prompt));
        return Ok(("/completions", Json::Object(body)));
    }
    let message = |role: &str, content: &str| json!({"role": role, "content": content});
    let mut messages: Vec<Json> = job
        .messages
        .iter()
        .map(|told| message(&told.role, &told.content))
        .collect();
    if !generate.prompt.is_empty() {
        // The answer has begun.
        messages.push(message("assistant", &generate.prompt));
        if kind == Kind::Vllm {
            put("continue_final_message", json!(true));
            put("add_generation_prompt", json!(false));
        }
    }
    put("messages", json!(messages));
    Ok(("/chat/completions", Json::Object(body)))
}

/// As it is written in decimals, not as its bits are in double precision.
fn plain(value: f32) -> Json {
    value
        .to_string()
        .parse::<f64>()
        .map_or(json!(0), |value| json!(value))
}

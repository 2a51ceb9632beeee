//! What a text must be, where a server writes it: told in the server's own words, and checked here when the text is there.

use std::sync::Arc;

use jsonschema::{PatternOptions, Validator};
use serde_json::{Value as Json, json};
use shared::inference::{Grammar, InferenceFault};

use super::settings::Kind;
use crate::engine::Job;
use crate::grammar::document;

const COMPLAINT_CHARS: usize = 300;

/// A schema that a text is held to.
pub struct Wanted {
    /// Of the request's body.
    pub field: (&'static str, Json),
    validator: Arc<Validator>,
}

impl Wanted {
    /// What a job's text must be, if it is said. Fails with what this kind of server cannot be told, or with what is wrong with it.
    pub async fn of(kind: Kind, job: &Job) -> Result<Option<Wanted>, InferenceFault> {
        let text = match &job.grammar {
            None => return Ok(None),
            Some(Grammar::JsonSchema(text)) => text,
            Some(Grammar::Lark(_) | Grammar::Method(_)) => {
                return Err(InferenceFault::new(
                    "no_grammar",
                    "a server knows no grammar but a JSON schema: this needs a model of the worker's own",
                ));
            }
        };
        if !job.request.stop.is_empty() {
            return Err(InferenceFault::new(
                "bad_request",
                "a server's text that a stop sequence cuts cannot be checked against a JSON schema",
            ));
        }
        let schema = document(text).map_err(|what| InferenceFault::new("bad_request", what))?;
        let field = field(kind, !job.messages.is_empty(), &schema).ok_or_else(|| {
            InferenceFault::new(
                "no_grammar",
                "OpenAI's requests have a JSON schema for conversations alone; name the kind of the server if it is llama.cpp or vllm",
            )
        })?;
        let validator = beside(move || {
            jsonschema::draft202012::options()
                // Its time does not depend on how a pattern is written.
                .with_pattern_options(PatternOptions::regex())
                .build(&schema)
                .map_err(|error| format!("the schema is none of draft 2020-12: {error}"))
        });
        let validator = validator
            .await
            .map_err(|what| InferenceFault::new("bad_request", what))?;
        Ok(Some(Wanted {
            field,
            validator: Arc::new(validator),
        }))
    }

    /// Whether a text that ended by itself is one document that the schema allows.
    pub async fn check(&self, text: &str) -> Result<(), String> {
        let (validator, text) = (self.validator.clone(), text.to_owned());
        let checked = beside(move || {
            let document: Json = serde_json::from_str(&text).map_err(|error| format!("no JSON: {error}"))?;
            validator.validate(&document).map_err(|error| error.to_string())
        });
        checked.await.map_err(|what| {
            let what: String = what.chars().take(COMPLAINT_CHARS).collect();
            format!("it wrote what the JSON schema does not allow: {what}")
        })
    }
}

/// On a thread of its own: a schema may be much work, and others are served here.
async fn beside<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(error.to_string()))
}

/// Where each kind takes a schema.
fn field(kind: Kind, is_conversation: bool, schema: &Json) -> Option<(&'static str, Json)> {
    match (kind, is_conversation) {
        (Kind::LlamaCpp, false) => Some(("json_schema", schema.clone())),
        // The form that llama-cpp-python's server takes as well.
        (Kind::LlamaCpp, true) => Some((
            "response_format",
            json!({"type": "json_object", "schema": schema}),
        )),
        (Kind::Vllm, _) | (Kind::Openai | Kind::Ollama, true) => Some((
            "response_format",
            json!({"type": "json_schema", "json_schema": {"name": "text", "strict": true, "schema": schema}}),
        )),
        (Kind::Openai | Kind::Ollama, false) => None,
    }
}

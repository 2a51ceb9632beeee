//! JSON documents that a model wrote, held to a schema.

use serde_json::Value as Json;
use shared::bridge::Fault;
use shared::json::{from_json, to_json};
use shared::value::Value;

use super::directive::broken_mind;

/// So many complaints are told.
const TOLD: usize = 5;
/// So much of one.
const COMPLAINT_CHARS: usize = 300;

/// A schema as JSON: a state may give it as a text or as a map.
pub fn document(schema: &Value) -> Result<Json, String> {
    match schema {
        Value::Text(text) => serde_json::from_str(text).map_err(|error| format!("it is no JSON: {error}")),
        Value::Map(_) => Ok(to_json(schema)),
        other => Err(format!("it is a {}, not a text or a map", other.kind())),
    }
}

/// What a text means, when it is one JSON document that the schema allows; else what is wrong with it.
///
/// Texts come from a model: an object in the form that stands for a reference (`{"$ref": …}`) or another value that JSON lacks is refused,
/// so that no text can name what it was not shown.
pub fn read(text: &str, schema: &Json) -> Result<Value, Vec<String>> {
    let json: Json =
        serde_json::from_str(text.trim()).map_err(|error| vec![format!("it is no JSON: {error}")])?;
    check(&json, schema)?;
    if has_form(&json) {
        return Err(vec![
            "a member's name begins with $, which stands for what JSON lacks".into(),
        ]);
    }
    from_json(&json).map_err(|error| vec![error.to_string()])
}

/// What a `validate` directive comes to.
pub fn validate(directive: &Value) -> Result<Value, Fault> {
    let schema = directive
        .member("schema")
        .ok_or_else(|| broken_mind("a validate directive lacks its schema"))?;
    let schema =
        document(schema).map_err(|what| broken_mind(&format!("a validate directive's schema: {what}")))?;
    let judged = match (directive.member_text("text"), directive.member("value")) {
        (Some(text), _) => read(&text, &schema),
        (None, Some(value)) => check(&to_json(value), &schema).map(|()| value.clone()),
        (None, None) => return Err(broken_mind("a validate directive has neither value nor text")),
    };
    Ok(match judged {
        Ok(value) => Value::record([
            ("ok", Value::Bool(true)),
            ("value", value),
            ("errors", Value::List(Vec::new())),
        ]),
        Err(errors) => Value::record([
            ("ok", Value::Bool(false)),
            ("value", Value::None),
            (
                "errors",
                Value::List(errors.into_iter().map(Value::Text).collect()),
            ),
        ]),
    })
}

/// Whether a schema allows a document; else what is wrong. A schema that is none allows nothing.
pub fn check(json: &Json, schema: &Json) -> Result<(), Vec<String>> {
    let validator = jsonschema::draft202012::options()
        .should_validate_formats(true)
        .build(schema)
        .map_err(|error| vec![format!("its schema is none of draft 2020-12: {error}")])?;
    let complaints: Vec<String> = validator
        .iter_errors(json)
        .take(TOLD)
        .map(|error| {
            let what: String = error.to_string().chars().take(COMPLAINT_CHARS).collect();
            match error.instance_path().as_str() {
                "" => what,
                place => format!("at {place}: {what}"),
            }
        })
        .collect();
    match complaints.is_empty() {
        true => Ok(()),
        false => Err(complaints),
    }
}

fn has_form(json: &Json) -> bool {
    match json {
        Json::Array(items) => items.iter().any(has_form),
        Json::Object(members) => members
            .iter()
            .any(|(key, value)| key.starts_with('$') || has_form(value)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(text: &str, schema: &Json, word: &str) {
        let complaints = read(text, schema).unwrap_err();
        assert!(complaints.join("; ").contains(word), "{complaints:?}");
    }

    #[test]
    fn only_what_the_schema_allows_is_read() {
        let schema = json!({"type": "object", "properties": {"n": {"type": "integer", "maximum": 3}}, "required": ["n"]});
        let read = read(" {\"n\": 3}\n", &schema).unwrap();
        assert_eq!(read, Value::Map(vec![(Value::Text("n".into()), Value::Int(3))]));
        refused("{\"n\": 4}", &schema, "at /n");
        refused("{}", &schema, "required");
        refused("{\"n\": 3} and more", &schema, "no JSON");
        refused(
            "{\"n\": 1, \"x\": [{\"$ref\": \"#2\"}]}",
            &schema,
            "begins with $",
        );
        refused("{\"n\": 1}", &json!({"type": "nothing"}), "none of draft");
    }

    #[test]
    fn a_schema_is_a_text_or_a_map() {
        let map = Value::Map(vec![(Value::Text("type".into()), Value::Text("array".into()))]);
        assert_eq!(document(&map).unwrap(), json!({"type": "array"}));
        assert_eq!(
            document(&Value::Text("{\"type\": \"array\"}".into())).unwrap(),
            json!({"type": "array"})
        );
        assert!(document(&Value::Int(3)).is_err());
    }
}

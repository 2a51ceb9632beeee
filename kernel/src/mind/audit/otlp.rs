//! The stream as traces for other tools: OTLP/JSON with the GenAI conventions, one trace a thought.
//!
//! Forms: <https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding> and
//! <https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-agent-spans/>.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;

use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::event::sha256_hex;
use super::file::files;

const SPAN_INTERNAL: u32 = 1;
const SPAN_CLIENT: u32 = 3;
const STATUS_OK: u32 = 1;
const STATUS_ERROR: u32 = 2;

/// What is read of a line.
#[derive(Clone, Debug, Deserialize)]
struct Told {
    sequence: u64,
    timestamp: jiff::Timestamp,
    cycle_id: String,
    event_type: String,
    current_state: String,
    transition_to: Option<String>,
    active_persona: String,
    validation_result: Option<String>,
    final_outcome: Option<String>,
    artifact_oid: Option<String>,
    receiver: String,
    selector: String,
    tokens: Option<u64>,
    duration_ms: Option<u64>,
}

impl Told {
    fn nanoseconds(&self) -> i128 {
        self.timestamp.as_nanosecond()
    }

    fn thought(&self) -> &str {
        self.cycle_id.split('.').next().unwrap_or_default()
    }

    fn round(&self) -> &str {
        self.cycle_id.split('.').nth(1).unwrap_or_default()
    }
}

/// Writes a document a line for every thought of the stream; one that goes on is told as far as it is. Answers how many there were.
pub fn export(folder: &Path, out: &mut impl Write) -> io::Result<u64> {
    let mut open: BTreeMap<String, Vec<Told>> = BTreeMap::new();
    let mut count = 0;
    for path in files(folder)? {
        for line in BufReader::new(File::open(&path)?).lines() {
            // A line that is none is `--check`'s to tell.
            let Ok(told) = serde_json::from_str::<Told>(&line?) else {
                continue;
            };
            let thought = told.thought().to_owned();
            if thought == "0" {
                continue;
            }
            let is_end = told.event_type == "MISSION_ENDED";
            open.entry(thought.clone()).or_default().push(told);
            if is_end && let Some(events) = open.remove(&thought) {
                writeln!(out, "{}", document(&events))?;
                count += 1;
            }
        }
    }
    for events in open.values() {
        writeln!(out, "{}", document(events))?;
        count += 1;
    }
    Ok(count)
}

fn document(events: &[Told]) -> Json {
    json!({ "resourceSpans": [{
        "resource": { "attributes": [text("service.name", "batos"), text("service.version", env!("CARGO_PKG_VERSION"))] },
        "scopeSpans": [{ "scope": { "name": "batos.mind" }, "spans": spans(events) }],
    }] })
}

/// The thought, its states, and the model's calls in them.
fn spans(events: &[Told]) -> Vec<Json> {
    let (Some(first), Some(last)) = (events.first(), events.last()) else {
        return Vec::new();
    };
    let trace = sha256_hex(format!("{} {}", first.thought(), first.timestamp).as_bytes());
    let (trace, root) = (&trace[..32], &trace[32..48]);
    let failure = match last.final_outcome.as_deref() {
        None | Some("complete") => None,
        Some(outcome) => Some((outcome, last.validation_result.clone().unwrap_or_default())),
    };
    let mut attributes = vec![
        text("gen_ai.operation.name", "invoke_agent"),
        text("gen_ai.provider.name", "batos"),
        text("gen_ai.agent.name", "orchestrator"),
        text("batos.thought", first.thought()),
        text("batos.receiver", &first.receiver),
        text("batos.selector", &first.selector),
    ];
    attributes.extend(
        events
            .iter()
            .find_map(|told| told.artifact_oid.as_deref())
            .map(|oid| text("batos.artifact", oid)),
    );
    attributes.extend(failure.as_ref().map(|(outcome, _)| text("error.type", outcome)));
    let mut spans = vec![json!({
        "traceId": trace, "spanId": root, "name": format!("invoke_agent {}", first.selector), "kind": SPAN_INTERNAL,
        "startTimeUnixNano": first.nanoseconds().to_string(), "endTimeUnixNano": last.nanoseconds().to_string(),
        "attributes": attributes, "status": status(failure.map(|(_, message)| message)),
    })];
    // A state lasts until the next transition.
    let mut state: Option<(String, &Told)> = None;
    let id = |told: &Told| sha256_hex(format!("{trace} {}", told.sequence).as_bytes())[..16].to_owned();
    let state_span = |state: &(String, &Told), end: &Told| {
        json!({
            "traceId": trace, "spanId": id(state.1), "parentSpanId": root, "name": state.0, "kind": SPAN_INTERNAL,
            "startTimeUnixNano": state.1.nanoseconds().to_string(), "endTimeUnixNano": end.nanoseconds().to_string(),
            "attributes": [text("gen_ai.agent.name", &state.1.active_persona), text("batos.round", state.1.round())],
        })
    };
    for told in events {
        match told.event_type.as_str() {
            "STATE_TRANSITION" => {
                let next = told.transition_to.clone().unwrap_or_default();
                if let Some(before) = state.replace((next, told)) {
                    spans.push(state_span(&before, told));
                }
            }
            "ARTIFACT_GENERATED" | "MODEL_FAILURE" => {
                let parent = state.as_ref().map_or(root.to_owned(), |state| id(state.1));
                spans.push(model_call(told, trace, &id(told), &parent));
            }
            _ => {}
        }
    }
    spans.extend(state.map(|state| state_span(&state, last)));
    spans
}

fn model_call(told: &Told, trace: &str, id: &str, parent: &str) -> Json {
    let failure =
        (told.event_type == "MODEL_FAILURE").then(|| told.validation_result.clone().unwrap_or_default());
    let begun = told.nanoseconds() - i128::from(told.duration_ms.unwrap_or(0)) * 1_000_000;
    let mut attributes = vec![
        text("gen_ai.operation.name", "chat"),
        text("gen_ai.provider.name", "batos"),
        text("gen_ai.agent.name", &told.active_persona),
    ];
    attributes.extend(told.tokens.map(
        |tokens| json!({ "key": "gen_ai.usage.output_tokens", "value": { "intValue": tokens.to_string() } }),
    ));
    attributes.extend(failure.is_some().then(|| text("error.type", "model_failure")));
    json!({
        "traceId": trace, "spanId": id, "parentSpanId": parent, "name": format!("chat {}", told.current_state),
        "kind": SPAN_CLIENT, "startTimeUnixNano": begun.to_string(), "endTimeUnixNano": told.nanoseconds().to_string(),
        "attributes": attributes, "status": status(failure),
    })
}

fn status(failure: Option<String>) -> Json {
    match failure {
        None => json!({ "code": STATUS_OK }),
        Some(message) => json!({ "code": STATUS_ERROR, "message": message }),
    }
}

fn text(key: &str, value: &str) -> Json {
    json!({ "key": key, "value": { "stringValue": value } })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mind::audit::event::Event;
    use crate::mind::audit::file::StreamFile;

    fn event(kind: &str, state: &str, fill: impl FnOnce(&mut Event)) -> Event {
        let mut event = Event::now(kind);
        event.cycle_id = "7.1".into();
        event.current_state = state.into();
        event.active_persona = "ROBIN".into();
        event.selector = "average".into();
        fill(&mut event);
        event
    }

    #[test]
    fn a_thought_is_a_trace() {
        let folder = tempfile::tempdir().unwrap();
        let events = [
            Event::now("EVENTS_LOST"),
            event("MISSION_BEGUN", "", |_| {}),
            event("STATE_TRANSITION", "", |event| {
                event.transition_to = Some("synthesizing".into())
            }),
            event("ARTIFACT_GENERATED", "synthesizing", |event| {
                (event.tokens, event.duration_ms) = (Some(40), Some(25));
            }),
            event("STATE_TRANSITION", "synthesizing", |event| {
                event.transition_to = Some("validating".into())
            }),
            event("MISSION_ENDED", "validating", |event| {
                event.final_outcome = Some("failed".into());
                event.validation_result = Some("its trial failed".into());
            }),
        ];
        StreamFile::open(folder.path()).unwrap().add(&events).unwrap();
        let mut out = Vec::new();
        assert_eq!(export(folder.path(), &mut out).unwrap(), 1);
        let document: Json = serde_json::from_slice(&out).unwrap();
        let spans = document["resourceSpans"][0]["scopeSpans"][0]["spans"]
            .as_array()
            .unwrap()
            .clone();
        let names: Vec<&str> = spans.iter().filter_map(|span| span["name"].as_str()).collect();
        assert_eq!(
            names,
            [
                "invoke_agent average",
                "chat synthesizing",
                "synthesizing",
                "validating"
            ]
        );
        assert_eq!(
            spans[0]["status"],
            json!({ "code": 2, "message": "its trial failed" })
        );
        assert_eq!(spans[1]["parentSpanId"], spans[2]["spanId"]);
        assert_eq!(spans[2]["parentSpanId"], spans[0]["spanId"]);
        let nanoseconds = |span: &Json, key: &str| span[key].as_str().unwrap().parse::<i128>().unwrap();
        assert_eq!(
            nanoseconds(&spans[1], "endTimeUnixNano") - nanoseconds(&spans[1], "startTimeUnixNano"),
            25_000_000
        );
        assert!(spans.iter().all(|span| span["traceId"] == spans[0]["traceId"]));
    }
}

//! What a state asks the model, and what it is told of the answer.

use std::time::Instant;

use shared::bridge::Fault;
use shared::inference::{ANY_SLOT, ChatMessage, Generate, Grammar, MethodGrammar};
use shared::value::Value;
use tokio::task::JoinSet;

use super::directive::{broken_mind, failure, list, number, options};
use super::{Attempt, Cycle, MODEL_DEADLINE, MOST_SECONDS, narrow, schema};
use crate::mind::model::{Generated, Question};
use crate::mind::recall::recall;

/// The most that a state may ask at the same time.
const MOST_ASKS: usize = 16;

/// What was asked in this cycle, and the answers.
pub type Answered = Vec<(Asked, Value)>;

#[derive(PartialEq)]
pub enum Asked {
    Abilities,
    Recall(Vec<String>),
    Model(Box<Question>),
}

/// A question on its way, and in whose name.
struct Ask {
    question: Question,
    persona: Option<String>,
    /// What its text must be, where that is more than the model can be held to.
    schema: Option<serde_json::Value>,
}

/// The answer that is known already.
pub fn known(answered: &Answered, asked: &Asked) -> Option<Value> {
    answered
        .iter()
        .find(|(known, _)| known == asked)
        .map(|(_, answer)| answer.clone())
}

impl Cycle<'_> {
    /// What the model can do.
    pub(super) async fn abilities(&self, answered: &mut Answered) -> Value {
        if let Some(known) = known(answered, &Asked::Abilities) {
            return known;
        }
        let answer = match self.kernel.mind.model.abilities().await {
            Ok(abilities) => {
                let words = |words: Vec<String>| Value::List(words.into_iter().map(Value::Text).collect());
                Value::record([
                    ("ok", Value::Bool(true)),
                    ("abilities", abilities.map_or(Value::None, words)),
                ])
            }
            Err(fault) => failure(&fault),
        };
        answered.push((Asked::Abilities, answer.clone()));
        answer
    }

    pub(super) async fn retrieve(&self, directive: &Value, answered: &mut Answered) -> Result<Value, Fault> {
        let queries = list(directive, "queries").unwrap_or_default();
        let queries: Option<Vec<String>> = queries
            .iter()
            .map(|query| query.as_text().map(str::to_owned))
            .collect();
        let queries =
            queries.ok_or_else(|| broken_mind("a retrieve directive has queries that are no texts"))?;
        let asked = Asked::Recall(queries);
        if let Some(known) = known(answered, &asked) {
            return Ok(known);
        }
        let Asked::Recall(queries) = &asked else {
            return Err(broken_mind("a retrieve directive lacks its queries"));
        };
        let answer = match recall(self.kernel, queries).await {
            Ok(found) => Value::record([
                ("ok", Value::Bool(true)),
                ("found", Value::List(found.into_iter().map(Value::Text).collect())),
            ]),
            Err(fault) => Value::record([
                ("ok", Value::Bool(false)),
                ("found", Value::List(Vec::new())),
                ("reason", Value::Text(fault.reason)),
                ("message", Value::Text(fault.message)),
            ]),
        };
        answered.push((asked, answer.clone()));
        Ok(answer)
    }

    pub(super) async fn infer(
        &self,
        attempt: &Attempt,
        directive: &Value,
        answered: &mut Answered,
    ) -> Result<Value, Fault> {
        let mut answers = self
            .ask(attempt, std::slice::from_ref(directive), answered)
            .await?;
        let answer = answers.pop().ok_or_else(|| broken_mind("nothing was asked"))?;
        // A plan or a verdict is no artifact.
        if let (Some(written), None) = (answer.member_text("text"), answer.member("value")) {
            self.lock().artifact = written;
        }
        Ok(answer)
    }

    pub(super) async fn infer_all(
        &self,
        attempt: &Attempt,
        directive: &Value,
        answered: &mut Answered,
    ) -> Result<Value, Fault> {
        let asks = list(directive, "asks").unwrap_or_default();
        if asks.is_empty() || asks.len() > MOST_ASKS {
            return Err(broken_mind(&format!(
                "an infer_all directive has {} asks; 1 to {MOST_ASKS} are allowed",
                asks.len()
            )));
        }
        let answers = self.ask(attempt, asks, answered).await?;
        Ok(Value::record([("answers", Value::List(answers))]))
    }

    /// Asks all at the same time; answers come in the order of the asks. Dropped, it gives every request up.
    async fn ask(
        &self,
        attempt: &Attempt,
        directives: &[Value],
        answered: &mut Answered,
    ) -> Result<Vec<Value>, Fault> {
        let asks: Vec<Ask> = directives
            .iter()
            .map(|directive| self.understood(directive))
            .collect::<Result<_, _>>()?;
        let mut new: Vec<usize> = Vec::new();
        for (at, ask) in asks.iter().enumerate() {
            let is_known = known(answered, &Asked::Model(Box::new(ask.question.clone()))).is_some();
            let is_asked = new.iter().any(|other| asks[*other].question == ask.question);
            if !is_known && !is_asked {
                new.push(at);
            }
        }
        let wanted: u32 = new
            .iter()
            .map(|at| asks[*at].question.generate.max_tokens)
            .fold(0, u32::saturating_add);
        let allowed = match new.is_empty() {
            true => 0,
            false => self.thinking.spent.left(wanted)?,
        };
        let mut running = JoinSet::new();
        for at in &new {
            let mut question = asks[*at].question.clone();
            if allowed < wanted {
                let share = (allowed / new.len() as u32).max(1);
                question.generate.max_tokens = question.generate.max_tokens.min(share);
            }
            let (kernel, at, begun) = (self.kernel.clone(), *at, Instant::now());
            self.lock().model_calls += 1;
            // What the model is shown never becomes a document of the memory.
            self.kernel.memory.ledger.note(&question.words());
            running.spawn(async move { (at, kernel.mind.model.generate(question).await, begun) });
        }
        let mut told = Vec::new();
        while let Some(done) = running.join_next().await {
            let (at, generated, begun) =
                done.map_err(|error| broken_mind(&format!("a request was broken off: {error}")))?;
            told.push((at, self.note_answer(attempt, &asks[at], generated, begun)));
        }
        for (at, answer) in told {
            answered.push((Asked::Model(Box::new(asks[at].question.clone())), answer));
        }
        asks.into_iter()
            .map(|ask| {
                known(answered, &Asked::Model(Box::new(ask.question)))
                    .ok_or_else(|| broken_mind("an ask has no answer"))
            })
            .collect()
    }

    /// What an ask of the image means.
    fn understood(&self, directive: &Value) -> Result<Ask, Fault> {
        let prompt = directive
            .member_text("prompt")
            .ok_or_else(|| broken_mind("an ask lacks its prompt"))?;
        let turn = |role: &str, content: String| ChatMessage {
            role: role.to_owned(),
            content,
        };
        let (messages, prompt) = match directive.member_text("system") {
            Some(system) => (vec![turn("system", system), turn("user", prompt)], String::new()),
            None => (Vec::new(), prompt),
        };
        let deadline = number(directive, "deadline_s").unwrap_or(MODEL_DEADLINE.as_secs_f64());
        let generate = Generate {
            request: 1,
            prompt,
            max_tokens: number(directive, "max_tokens")
                .unwrap_or(256.0)
                .clamp(1.0, 4096.0) as u32,
            temperature: number(directive, "temperature").unwrap_or(0.0).clamp(0.0, 2.0) as f32,
            top_p: number(directive, "top_p").unwrap_or(1.0).clamp(0.01, 1.0) as f32,
            seed: number(directive, "seed").unwrap_or(0.0).max(0.0) as u64,
            stop: Vec::new(),
            deadline_ms: (deadline.clamp(0.1, MOST_SECONDS) * 1e3) as u64,
        };
        // An adapter of the image by its name.
        let adapter = match directive.member_text("adapter") {
            Some(name) => Some(self.kernel.adapter(&name)?),
            None => None,
        };
        let (grammar, schema) = self.grammar(directive)?;
        Ok(Ask {
            question: Question {
                generate,
                messages,
                options: options(directive),
                adapter,
                grammar,
                is_escalated: self.is_escalated,
            },
            persona: directive.member_text("persona"),
            schema,
        })
    }

    /// What the text must be, if the state says so; of a JSON schema, the document as well.
    fn grammar(&self, directive: &Value) -> Result<(Option<Grammar>, Option<serde_json::Value>), Fault> {
        let asked = match directive.member("grammar") {
            None | Some(Value::None) => return Ok((None, None)),
            Some(asked) => asked,
        };
        match (
            asked.as_text(),
            asked.member("json_schema"),
            asked.member_text("lark"),
        ) {
            (Some("method"), ..) => {
                let mission = self.lock().clone();
                if !mission.selector.is_ascii() {
                    // The grammar of names is that of ASCII; the guard and the trial say the rest.
                    return Ok((None, None));
                }
                let mut slots: Vec<String> = match narrow::is_wanted(self.kernel) {
                    true => self.visible_slots(&mission).into_iter().collect(),
                    false => vec![ANY_SLOT.to_owned()],
                };
                slots.sort_unstable();
                let grammar = Grammar::Method(MethodGrammar {
                    arguments: mission.arguments.len() as u32,
                    selector: mission.selector,
                    slots,
                    refusal: directive.member_text("refusal"),
                });
                Ok((Some(grammar), None))
            }
            (None, Some(schema), None) => {
                let schema = schema::document(schema)
                    .map_err(|what| broken_mind(&format!("a directive's JSON schema: {what}")))?;
                Ok((Some(Grammar::JsonSchema(schema.to_string())), Some(schema)))
            }
            (None, None, Some(lark)) => Ok((Some(Grammar::Lark(lark)), None)),
            _ => Err(broken_mind(
                "a directive's grammar is \"method\", or a map with json_schema or lark",
            )),
        }
    }

    /// Records what the model said, and puts it into the image's words.
    fn note_answer(
        &self,
        attempt: &Attempt,
        ask: &Ask,
        generated: Result<Generated, Fault>,
        begun: Instant,
    ) -> Value {
        let question = &ask.question;
        let persona = ask.persona.clone().unwrap_or_else(|| attempt.persona.clone());
        let duration_ms = begun.elapsed().as_millis() as u64;
        let generated = match generated {
            Ok(generated) => generated,
            Err(fault) => {
                self.tell("MODEL_FAILURE", attempt.state_name(), &fault.message);
                self.audit_in(attempt, "MODEL_FAILURE", |event| {
                    event.active_persona = persona;
                    event.llm_prompt = Some(question.words());
                    event.validation_result = Some(fault.message.clone());
                    event.duration_ms = Some(duration_ms);
                });
                return failure(&fault);
            }
        };
        self.thinking.spent.add(generated.tokens);
        self.audit_in(attempt, "ARTIFACT_GENERATED", |event| {
            event.active_persona = persona;
            event.llm_prompt = Some(question.words());
            event.llm_response_raw = Some(generated.text.clone());
            event.tokens = Some(u64::from(generated.tokens));
            event.confidence = generated.confidence;
            event.duration_ms = Some(duration_ms);
        });
        self.tell("ARTIFACT_GENERATED", attempt.state_name(), &generated.text);
        let read = match &ask.schema {
            None => Ok(None),
            Some(schema) => schema::read(&generated.text, schema).map(Some),
        };
        match read {
            Ok(value) => {
                let mut answer = vec![
                    ("ok", Value::Bool(true)),
                    ("text", Value::Text(generated.text)),
                    (
                        "finish",
                        Value::Text(format!("{:?}", generated.finish).to_lowercase()),
                    ),
                    ("tokens", Value::Int(i64::from(generated.tokens))),
                    (
                        "confidence",
                        generated.confidence.map_or(Value::None, Value::Float),
                    ),
                ];
                answer.extend(value.map(|value| ("value", value)));
                let pairs = answer
                    .into_iter()
                    .map(|(key, value)| (Value::Text(key.to_owned()), value));
                Value::Map(pairs.collect())
            }
            Err(complaints) => {
                let told = complaints.join("; ");
                self.verdict(attempt, false, &format!("schema: {told}"), begun);
                failure(&Fault::new(
                    "schema",
                    format!("what the model wrote is not what its schema allows: {told}"),
                ))
            }
        }
    }
}

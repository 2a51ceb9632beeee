//! `batos workflow`: the ways to think, as objects that can be cloned, compared, adopted and dropped. What they may do is decided by the
//! image's own `workflows`; this only asks it, and shows what it says.

use std::io::{self, IsTerminal};
use std::path::Path;

use serde_json::json;
use shared::bridge::{Answer, Call, TriedView, TryMission};
use shared::document;
use shared::home::Home;
use shared::id::ThoughtId;
use shared::json::to_json;
use shared::value::Value;

use crate::arguments::{ClientSequence, WorkflowCommand};
use crate::failure::Failure;
use crate::kernel::{Kernel, Manner};
use crate::literal;
use crate::output::Report;

/// The end of a line that stands for a view instead of a message.
const VIEW: &str = ":view";

pub fn run(home: &Home, command: WorkflowCommand, json: bool) -> Result<Report, Failure> {
    match command {
        WorkflowCommand::List => {
            let (listing, _) = ask(home, "listing", vec![], None)?;
            let text = rows(&listing).iter().map(line).collect::<Vec<_>>().join("\n");
            let document = json!({ "ok": true, "workflows": to_json(&listing) });
            Ok(Report::answered(document, text))
        }
        WorkflowCommand::Show { name, dot } => {
            let (shown, _) = ask(home, "description", vec![text(&name)], None)?;
            let described = if dot { graph(&shown) } else { description(&shown) };
            let document = json!({ "ok": true, "workflow": to_json(&shown) });
            Ok(Report::answered(document, described))
        }
        WorkflowCommand::Clone { name, new, request } => {
            let (made, transaction) = ask(home, "clone_as", vec![text(&name), text(&new)], request.id)?;
            let id = match made {
                Value::Ref(id) => id.to_string(),
                _ => String::new(),
            };
            let said = format!(
                "workflows.{new} is {id}, a clone of {name}: change it with `batos set workflows.{new} …`; its states are shared until it is given others"
            );
            let document = json!({ "ok": true, "workflow": new, "object": id, "transaction": transaction });
            Ok(Report::answered(document, said))
        }
        WorkflowCommand::Adopt { name, request } => {
            let (order, transaction) = ask(home, "adopt", vec![text(&name)], request.id)?;
            let said = format!(
                "{name} is taken first now, in transaction {transaction}: {}",
                words(&order)
            );
            let document =
                json!({ "ok": true, "adopted": name, "order": to_json(&order), "transaction": transaction });
            Ok(Report::answered(document, said))
        }
        WorkflowCommand::Drop { name, request } => {
            let (order, transaction) = ask(home, "drop", vec![text(&name)], request.id)?;
            let said = format!(
                "{name} is no workflow any more, since transaction {transaction}: {}",
                words(&order)
            );
            let document =
                json!({ "ok": true, "dropped": name, "order": to_json(&order), "transaction": transaction });
            Ok(Report::answered(document, said))
        }
        WorkflowCommand::Compare {
            a,
            b,
            thoughts,
            missions,
        } => {
            let mut wanted: Vec<(String, TryMission)> = thoughts
                .iter()
                .map(|id| (format!("thought {id}"), TryMission::Past(ThoughtId(*id))))
                .collect();
            if let Some(file) = missions {
                wanted.extend(read(&file)?);
            }
            if wanted.is_empty() {
                return Err(Failure::usage(
                    "name the missions to compare by: numbers of thoughts, or --missions FILE",
                ));
            }
            compare(home, &a, &b, &wanted, json)
        }
    }
}

/// What the image's `workflows` answers, and in which transaction.
fn ask(
    home: &Home,
    selector: &str,
    arguments: Vec<Value>,
    identity: Option<ClientSequence>,
) -> Result<(Value, u64), Failure> {
    let call = Call::Send {
        receiver: "workflows".into(),
        selector: selector.to_owned(),
        arguments,
        deadline_ms: None,
    };
    let answered = Kernel::identified(home, identity).call(call, Manner::plain())?;
    match answered.answer {
        Answer::Sent {
            result, transaction, ..
        } => Ok((result, transaction.0)),
        _ => Err(Failure::internal("workflows answered something else than a send")),
    }
}

/// Each mission by both workflows, one after the other; nothing of it is kept.
fn compare(
    home: &Home,
    a: &str,
    b: &str,
    missions: &[(String, TryMission)],
    json: bool,
) -> Result<Report, Failure> {
    let mut kernel = Kernel::of(home);
    let is_told = !json && io::stderr().is_terminal();
    let compared = missions.iter().enumerate().map(|(at, (name, mission))| {
        if is_told {
            eprint!("\rmission {} of {}: {name}\x1b[K", at + 1, missions.len());
        }
        let mut one = |workflow: &str| {
            let call = Call::WorkflowTry {
                workflow: workflow.to_owned(),
                mission: mission.clone(),
            };
            match kernel.call(call, Manner::plain())?.answer {
                Answer::Tried(tried) => Ok(*tried),
                _ => Err(Failure::internal(
                    "the kernel answered something else than a trial",
                )),
            }
        };
        Ok((name.clone(), one(a)?, one(b)?))
    });
    let compared: Result<Vec<_>, Failure> = compared.collect();
    if is_told {
        eprint!("\r\x1b[K");
    }
    let pairs = compared?;
    let of = |pick: fn(&(String, TriedView, TriedView)) -> &TriedView| Total::of(pairs.iter().map(pick));
    let (first, second) = (of(|pair| &pair.1), of(|pair| &pair.2));
    let same = pairs.iter().filter(|(_, a, b)| is_same(a, b)).count();
    let rows: Vec<_> = pairs
        .iter()
        .map(|(name, a, b)| {
            let plain = |tried: &TriedView| document::answer(&Answer::Tried(Box::new(tried.clone())), tried.elapsed_ms);
            json!({ "mission": name, "receiver": a.receiver.to_string(), "selector": a.selector, "a": plain(a), "b": plain(b), "same": is_same(a, b) })
        })
        .collect();
    let document = json!({
        "ok": true,
        "workflows": [a, b],
        "missions": rows,
        "totals": { "a": first.document(), "b": second.document(), "same": same },
    });
    Ok(Report::answered(document, table(a, b, &pairs, &first, &second)))
}

/// Both came to the same method, or to the same view.
fn is_same(a: &TriedView, b: &TriedView) -> bool {
    a.outcome == "complete" && b.outcome == "complete" && a.artifact.trim() == b.artifact.trim()
}

/// What all missions came to by one workflow.
#[derive(Default)]
struct Total {
    missions: usize,
    complete: usize,
    rounds: u64,
    model_calls: u64,
    tokens: u64,
    elapsed_ms: u64,
}

impl Total {
    fn of<'a>(tried: impl Iterator<Item = &'a TriedView>) -> Total {
        tried.fold(Total::default(), |total, tried| Total {
            missions: total.missions + 1,
            complete: total.complete + usize::from(tried.outcome == "complete"),
            rounds: total.rounds + u64::from(tried.rounds),
            model_calls: total.model_calls + u64::from(tried.model_calls),
            tokens: total.tokens + tried.tokens,
            elapsed_ms: total.elapsed_ms + tried.elapsed_ms,
        })
    }

    fn document(&self) -> serde_json::Value {
        json!({
            "missions": self.missions,
            "complete": self.complete,
            "rounds": self.rounds,
            "model_calls": self.model_calls,
            "tokens": self.tokens,
            "elapsed_ms": self.elapsed_ms,
        })
    }
}

fn table(
    a: &str,
    b: &str,
    pairs: &[(String, TriedView, TriedView)],
    first: &Total,
    second: &Total,
) -> String {
    let width = pairs
        .iter()
        .map(|(name, ..)| name.chars().count())
        .max()
        .unwrap_or(0)
        .max(7);
    let ways = a.chars().count().max(b.chars().count()).max(8);
    let mut lines = vec![format!(
        "{:<width$}  {:<ways$}  outcome   rounds  calls  tokens  seconds",
        "mission", "workflow"
    )];
    for (name, one, two) in pairs {
        for (name, tried) in [(name.as_str(), one), ("", two)] {
            lines.push(format!(
                "{name:<width$}  {:<ways$}  {:<8}  {:>6}  {:>5}  {:>6}  {:>7.2}",
                tried.workflow,
                tried.outcome,
                tried.rounds,
                tried.model_calls,
                tried.tokens,
                tried.elapsed_ms as f64 / 1e3
            ));
            if !tried.message.is_empty() {
                lines.push(format!("{:<width$}  {:<ways$}  {}", "", "", tried.message));
            }
        }
        let both = one.outcome == "complete" && two.outcome == "complete";
        if both {
            let said = if is_same(one, two) {
                "the same"
            } else {
                "not the same"
            };
            lines.push(format!("{:<width$}  {:<ways$}  both came to {said}", "", ""));
        }
    }
    for (name, total) in [(a, first), (b, second)] {
        lines.push(format!(
            "{:<width$}  {name:<ways$}  {:<8}  {:>6}  {:>5}  {:>6}  {:>7.2}",
            "all",
            format!("{}/{}", total.complete, total.missions),
            total.rounds,
            total.model_calls,
            total.tokens,
            total.elapsed_ms as f64 / 1e3
        ));
    }
    lines.push("nothing of it was kept".into());
    lines.join("\n")
}

/// A mission that was tried out, alone.
pub fn one(tried: &TriedView) -> String {
    let message = match tried.message.is_empty() {
        true => String::new(),
        false => format!(": {}", tried.message),
    };
    format!(
        "{} {} by {}: {}, {} rounds, {} calls, {} tokens, {:.2} s; nothing was kept{message}",
        tried.name,
        tried.selector,
        tried.workflow,
        tried.outcome,
        tried.rounds,
        tried.model_calls,
        tried.tokens,
        tried.elapsed_ms as f64 / 1e3
    )
}

/// The missions of a file: a line each, `OBJECT SELECTOR [JSON…]` or `OBJECT :view`; empty lines and what begins with `# ` are left out.
fn read(file: &Path) -> Result<Vec<(String, TryMission)>, Failure> {
    let text = literal::read_file(file)?;
    let mut missions = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line == "#" || line.starts_with("# ") {
            continue;
        }
        let mission = mission(line)
            .map_err(|failure| Failure::usage(format!("{}, line {}: {failure}", file.display(), at + 1)))?;
        missions.push((line.to_owned(), mission));
    }
    Ok(missions)
}

fn mission(line: &str) -> Result<TryMission, Failure> {
    let mut parts = line.splitn(3, char::is_whitespace);
    let receiver = parts.next().unwrap_or_default().to_owned();
    let selector = parts.next().unwrap_or_default().trim();
    let rest = parts.next().unwrap_or_default();
    match selector {
        "" => Err(Failure::usage(
            "a mission is OBJECT SELECTOR [JSON…], or OBJECT :view",
        )),
        VIEW if rest.trim().is_empty() => Ok(TryMission::View { object: receiver }),
        selector => {
            let values = serde_json::Deserializer::from_str(rest).into_iter();
            let arguments = values
                .map(|json| {
                    let json: serde_json::Value = json.map_err(|error| literal::not_json(rest, &error))?;
                    literal::of_document(&json, rest)
                })
                .collect::<Result<_, _>>()?;
            Ok(TryMission::Message {
                receiver,
                selector: selector.to_owned(),
                arguments,
            })
        }
    }
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn rows(value: &Value) -> &[Value] {
    match value {
        Value::List(rows) => rows,
        _ => &[],
    }
}

/// A list of texts, in one line.
fn words(value: &Value) -> String {
    let words: Vec<&str> = rows(value).iter().filter_map(Value::as_text).collect();
    words.join(", ")
}

fn line(row: &Value) -> String {
    let word = |key: &str| row.member_text(key).unwrap_or_default();
    let place = match row.member("place") {
        Some(Value::Int(place)) => format!("{place}."),
        _ => "-".into(),
    };
    let needs = match row.member("needs").map(words).unwrap_or_default() {
        none if none.is_empty() => "no model".into(),
        needs => needs,
    };
    let states = row.member("states").map(words).unwrap_or_default();
    format!(
        "{place:<3} {:<14} for a {:<7} needs {needs}\n      {}",
        word("name"),
        word("kind"),
        states.replace(", ", " → ")
    )
}

fn description(shown: &Value) -> String {
    let word = |key: &str| shown.member_text(key).unwrap_or_default();
    let mut lines = vec![format!(
        "{}  {}  for a {}",
        word("name"),
        word("object"),
        word("kind")
    )];
    if !word("comment").is_empty() {
        lines.push(format!("  {}", word("comment").replace('\n', "\n  ")));
    }
    let needs = shown.member("needs").map(words).unwrap_or_default();
    lines.push(format!(
        "  needs {}",
        if needs.is_empty() { "no model" } else { &needs }
    ));
    if !word("archetype").is_empty() {
        lines.push(format!("  archetype {}", word("archetype")));
    }
    for state in shown.member("states").map(rows).unwrap_or_default() {
        let word = |key: &str| state.member_text(key).unwrap_or_default();
        let next = state.member("next").map(words).unwrap_or_default();
        lines.push(format!(
            "  {:<13} {:<5} {:<12} {}",
            word("name"),
            word("object"),
            word("persona"),
            if next.is_empty() {
                "the end".into()
            } else {
                format!("→ {next}")
            }
        ));
    }
    lines.join("\n")
}

/// The graph in Graphviz's language.
fn graph(shown: &Value) -> String {
    let quoted = |text: &str| format!("\"{}\"", text.replace(['"', '\\'], "_"));
    let name = shown.member_text("name").unwrap_or_default();
    let mut lines = vec![format!(
        "digraph {} {{\n  rankdir=LR; node [shape=box, style=rounded];",
        quoted(&name)
    )];
    for state in shown.member("states").map(rows).unwrap_or_default() {
        let word = |key: &str| state.member_text(key).unwrap_or_default();
        let label = format!(
            "{}\\n{}",
            word("name").replace('"', "_"),
            word("persona").replace('"', "_")
        );
        lines.push(format!("  {} [label=\"{label}\"];", quoted(&word("name"))));
        let next = state.member("next").map(rows).unwrap_or_default();
        for (at, next) in next.iter().filter_map(Value::as_text).enumerate() {
            let style = if at == 0 { "" } else { " [style=dashed]" };
            lines.push(format!("  {} -> {}{style};", quoted(&word("name")), quoted(next)));
        }
    }
    lines.push("}".into());
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_line_is_a_message_or_a_view() {
        let TryMission::Message {
            receiver,
            selector,
            arguments,
        } = mission("account deposit 25 \"a b\" [1, 2]").unwrap()
        else {
            panic!("a message")
        };
        assert_eq!((receiver.as_str(), selector.as_str()), ("account", "deposit"));
        assert_eq!(arguments.len(), 3);
        assert_eq!(arguments[1], text("a b"));
        assert_eq!(
            mission("#12 :view").unwrap(),
            TryMission::View { object: "#12".into() }
        );
        assert!(mission("account").is_err());
        assert!(mission("account deposit {").is_err());
    }

    #[test]
    fn a_file_says_which_line_is_wrong() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("missions");
        fs::write(&file, "# what is compared\n\naccount total\n#12 :view\n").unwrap();
        assert_eq!(read(&file).unwrap().len(), 2);
        fs::write(&file, "account total\naccount add {\n").unwrap();
        let failure = read(&file).unwrap_err().to_string();
        assert!(failure.contains("line 2"), "{failure}");
    }

    #[test]
    fn a_graph_has_every_way() {
        let state = |name: &str, next: &[&str]| {
            Value::record([
                ("name", text(name)),
                ("persona", text("BABS")),
                ("next", Value::List(next.iter().map(|next| text(next)).collect())),
            ])
        };
        let shown = Value::record([
            ("name", text("w")),
            (
                "states",
                Value::List(vec![state("idle", &["b", "failed"]), state("b", &[])]),
            ),
        ]);
        let graph = graph(&shown);
        assert!(graph.contains("\"idle\" -> \"b\";"), "{graph}");
        assert!(
            graph.contains("\"idle\" -> \"failed\" [style=dashed];"),
            "{graph}"
        );
    }
}

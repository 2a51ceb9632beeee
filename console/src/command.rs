//! What each subcommand does: one call, two forms of its answer.

use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::path::Path;

use clap::Parser;
use clap::error::ErrorKind;
use shared::bridge::{Answer, Call, WishText};
use shared::home::Home;
use shared::id::{ThoughtId, TransactionId};
use shared::{document, exit};

use crate::arguments::{Arguments, BlobCommand, BranchCommand, ClientSequence, CodexCommand, Command};
use crate::failure::Failure;
use crate::kernel::{Answered, Kernel};
use crate::output::{self, Report};
use crate::{
    adapter, bench, blob, branch, codex, down, follow, literal, memory, metrics, offline, past, render, repl,
    status, up, upgrade, view, wish, workflow,
};

/// Runs the command line and returns the exit code.
pub fn run(words: Vec<OsString>) -> u8 {
    let wants_json = words
        .iter()
        .take_while(|word| *word != "--")
        .any(|word| word == "--json");
    match Arguments::try_parse_from(words) {
        Ok(arguments) => {
            let json = arguments.json;
            output::finish(perform(arguments), json)
        }
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            let _ = error.print();
            exit::ANSWERED
        }
        Err(error) if wants_json => {
            let message = error.to_string();
            let message = message
                .strip_prefix("error: ")
                .unwrap_or(&message)
                .trim_end()
                .to_owned();
            output::finish(Err(Failure::usage(message)), true)
        }
        Err(error) => {
            let _ = error.print();
            exit::USAGE
        }
    }
}

fn perform(arguments: Arguments) -> Result<Report, Failure> {
    let json = arguments.json;
    let branch = arguments.branch;
    let home = Home::resolve(arguments.home.as_deref())
        .map_err(|error| Failure::usage(format!("the home folder cannot be named: {error}")))?;
    match arguments.command {
        Command::Up
        | Command::Down
        | Command::Status { .. }
        | Command::Reindex
        | Command::Restore { .. }
        | Command::Upgrade { .. }
        | Command::Adapter { .. }
        | Command::Bench { .. }
        | Command::Digest
        | Command::Memory { .. }
        | Command::View(_)
        | Command::Workflow { .. }
        | Command::Blob {
            command: BlobCommand::Get(_),
        }
        | Command::Verify
            if branch.is_some() =>
        {
            Err(not_in_a_branch())
        }
        Command::Up => up::run(&home, json),
        Command::Down => down::run(&home),
        Command::Status { metrics: true } if json => {
            Err(Failure::usage("--metrics prints text; leave --json away"))
        }
        Command::Status { metrics: true } => metrics::run(&home),
        Command::Status { metrics: false } => status::run(&home),
        Command::Reindex => offline::reindex(&home, !json),
        Command::Restore { folder, replace } => offline::restore(&home, &folder, replace, !json),
        Command::Blob { command } => blob::run(&home, command, json, branch),
        Command::Upgrade { command } => upgrade::run(&home, command),
        Command::Adapter { command } => adapter::run(&home, command, json),
        Command::Bench { command } => bench::run(command, json),
        Command::Memory { command } => memory::run(&home, command, json),
        Command::View(view) => view::run(&home, view, json),
        Command::Workflow { command } => workflow::run(&home, command, json),
        Command::Codex {
            command: CodexCommand::Export { file },
        } if file != Path::new("-") => codex::export(&home, &file),
        Command::Thoughts { check: true, .. } => offline::check(&home),
        Command::Thoughts { otlp: true, .. } => offline::traces(&home),
        Command::Thoughts { id, follow: true, .. } => follow::run(&home, id, json),
        Command::Verify if !offline::has_kernel(&home) => offline::verify(&home, !json),
        Command::Console if json => Err(Failure::usage(
            "the console is for people; use the commands with --json",
        )),
        Command::Console => repl::run(&home, branch),
        command => {
            let (call, identity, is_quiet) = call(command)?;
            let call = match &branch {
                Some(branch) => call.in_branch(branch.clone()).ok_or_else(not_in_a_branch)?,
                None => call,
            };
            let is_watched = !json && !is_quiet && io::stderr().is_terminal();
            let mut kernel = Kernel::identified(&home, identity);
            let view = AnswerView::of(&call);
            kernel
                .call_shown(call, is_watched)
                .map(|answered| view.report(&answered, branch.as_deref()))
        }
    }
}

fn not_in_a_branch() -> Failure {
    Failure::usage(
        "this cannot be done in a branch; send, inspect, new, set, define, blob put and console can",
    )
}

/// The call that a subcommand means; its identity, and whether it wants no progress.
fn call(command: Command) -> Result<(Call, Option<ClientSequence>, bool), Failure> {
    Ok(match command {
        Command::Send(send) => {
            let arguments = send
                .arguments
                .iter()
                .map(|text| literal::value(text))
                .collect::<Result<_, _>>()?;
            let deadline_ms = send.deadline.map(|deadline| deadline.0);
            let call = Call::Send {
                receiver: send.receiver,
                selector: send.selector,
                arguments,
                deadline_ms,
            };
            (call, send.request.id, send.quiet)
        }
        Command::Inspect { object, at: None } => (Call::Inspect { object }, None, true),
        Command::Inspect { object, at: Some(at) } => (Call::InspectAt { object, at }, None, true),
        Command::History { object, slot, limit } => (Call::History { object, slot, limit }, None, true),
        Command::Log { from, limit } => (Call::Log { from, limit }, None, true),
        Command::Diff { from, to } => (Call::Diff { from, to }, None, true),
        Command::Undo { transaction, request } => (
            Call::Undo {
                transaction: TransactionId(transaction),
            },
            request.id,
            true,
        ),
        Command::New(new) => {
            let slots: Vec<_> = new
                .slots
                .iter()
                .map(|text| literal::slot(text))
                .collect::<Result<_, _>>()?;
            let mut names: Vec<&str> = slots.iter().map(|(name, _)| name.as_str()).collect();
            names.sort_unstable();
            if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
                return Err(Failure::usage(format!("the slot {} is given twice", twice[0])));
            }
            (
                Call::New {
                    parent: new.parent,
                    slots,
                    name: new.name,
                },
                new.request.id,
                true,
            )
        }
        Command::Set {
            object,
            slot,
            value,
            request,
        } => (
            Call::Set {
                object,
                slot,
                value: literal::value(&value)?,
            },
            request.id,
            true,
        ),
        Command::Define {
            object,
            file,
            request,
        } => (
            Call::Define {
                object,
                source: literal::source(&file)?,
            },
            request.id,
            true,
        ),
        Command::Guard { file } => (
            Call::Guard {
                source: literal::source(&file)?,
            },
            None,
            true,
        ),
        Command::Thoughts { id, .. } => (
            Call::Thoughts {
                id: id.map(ThoughtId),
            },
            None,
            true,
        ),
        Command::Codex {
            command: CodexCommand::Export { .. },
        } => (Call::Codex, None, true),
        Command::Codex {
            command:
                CodexCommand::Import {
                    file,
                    dry_run,
                    request,
                },
        } => (
            Call::CodexImport {
                text: literal::source(&file)?,
                dry_run,
            },
            request.id,
            false,
        ),
        Command::Missions => (Call::Missions, None, true),
        Command::Cancel { id } => (Call::Cancel { id: ThoughtId(id) }, None, true),
        Command::Why { object, selector } => (Call::Why { object, selector }, None, true),
        Command::Wish {
            object,
            selector,
            intent,
            examples,
            drop,
            request,
        } => match selector {
            Some(selector) if drop || intent.is_some() || !examples.is_empty() => {
                let wish = (!drop).then_some(WishText { intent, examples });
                let call = Call::Wish {
                    object,
                    selector,
                    wish,
                };
                (call, request.id, true)
            }
            selector => (Call::Wishes { object, selector }, None, true),
        },
        Command::Branch { command } => match command {
            BranchCommand::New { name, request } => (Call::BranchNew { name }, request.id, true),
            BranchCommand::List => (Call::BranchList, None, true),
            BranchCommand::Show { name } => (Call::BranchShow { name }, None, true),
            BranchCommand::Drop { name } => (Call::BranchDrop { name }, None, true),
            BranchCommand::Commit { name, request } => (Call::BranchCommit { name }, request.id, true),
        },
        Command::Verify => (Call::Verify, None, false),
        Command::Digest => (Call::Digest, None, true),
        Command::Pack => (Call::Pack, None, false),
        Command::Export {
            objects,
            output,
            depth,
        } => (
            Call::Export {
                objects,
                depth,
                folder: absolute(&output)?,
            },
            None,
            false,
        ),
        Command::Import {
            folder,
            name,
            request,
        } => (
            Call::Import {
                folder: absolute(&folder)?,
                name,
            },
            request.id,
            false,
        ),
        Command::Backup { folder } => (
            Call::Backup {
                folder: absolute(&folder)?,
            },
            None,
            false,
        ),
        Command::Up
        | Command::Down
        | Command::Status { .. }
        | Command::Reindex
        | Command::Restore { .. }
        | Command::Upgrade { .. }
        | Command::Blob { .. }
        | Command::Adapter { .. }
        | Command::Bench { .. }
        | Command::Memory { .. }
        | Command::View(_)
        | Command::Workflow { .. }
        | Command::Console => {
            return Err(Failure::internal("a command without a call"));
        }
    })
}

/// A path as the kernel can use it, which stands in another folder.
fn absolute(path: &Path) -> Result<String, Failure> {
    let absolute = std::path::absolute(path).ok();
    let text = absolute.and_then(|path| path.into_os_string().into_string().ok());
    text.ok_or_else(|| Failure::usage(format!("{} cannot be named in UTF-8", path.display())))
}

/// How the answer to a call is shown.
pub struct AnswerView {
    /// A single thought is shown in full.
    is_one: bool,
    remark: Option<&'static str>,
}

impl AnswerView {
    pub fn of(call: &Call) -> AnswerView {
        AnswerView {
            is_one: matches!(call, Call::Thoughts { id: Some(_) }),
            remark: wish::remark(call),
        }
    }

    /// Both forms of the answer; `in_branch` is where it was asked for.
    pub fn report(&self, answered: &Answered, in_branch: Option<&str>) -> Report {
        report(answered, self.is_one, in_branch).remarked(self.remark)
    }
}

fn report(answered: &Answered, is_one: bool, in_branch: Option<&str>) -> Report {
    let document = document::answer(&answered.answer, answered.elapsed_ms);
    let document = match in_branch {
        Some(branch) => document::in_branch(document, branch),
        None => document,
    };
    let (text, exit) = match &answered.answer {
        Answer::Sent { result, .. } => (render::answer(result), exit::ANSWERED),
        Answer::Object(view) => (render::object(view), exit::ANSWERED),
        Answer::Created { object, .. } => (object.to_string(), exit::ANSWERED),
        Answer::Changed {
            object,
            slot,
            transaction,
        } => (
            match in_branch {
                Some(branch) => format!("{object}.{slot} changed in branch {branch}"),
                None => format!("{object}.{slot} changed in transaction {transaction}"),
            },
            exit::ANSWERED,
        ),
        Answer::Verdict { findings } => {
            let exit = if findings.is_empty() {
                exit::ANSWERED
            } else {
                exit::ERROR
            };
            (render::findings(findings), exit)
        }
        Answer::Thoughts(views) => match views.as_slice() {
            [view] if is_one => (render::thought(view), exit::ANSWERED),
            views => (render::thoughts(views), exit::ANSWERED),
        },
        Answer::Status(status) => (render::kernel(status), exit::ANSWERED),
        Answer::Log(views) => (past::log(views), exit::ANSWERED),
        Answer::Difference { differences, .. } => (past::differences(differences), exit::ANSWERED),
        Answer::Undone { undone, transaction } => (
            format!("transaction {undone} is taken back by transaction {transaction}"),
            exit::ANSWERED,
        ),
        Answer::Digested { digest } => (digest.clone(), exit::ANSWERED),
        Answer::Verified(found) => {
            let exit = match found.faults.is_empty() {
                true => exit::ANSWERED,
                false => exit::ERROR,
            };
            (render::verification(found), exit)
        }
        Answer::Packed(packing) => (render::packing(packing), exit::ANSWERED),
        Answer::Backed(backup) => {
            let exit = match backup.damaged.is_empty() {
                true => exit::ANSWERED,
                false => exit::ERROR,
            };
            (render::backup(backup), exit)
        }
        Answer::Exported {
            folder,
            last,
            objects,
            blobs,
        } => (
            format!("{objects} objects and {blobs} blobs as of transaction {last} are in {folder}"),
            exit::ANSWERED,
        ),
        Answer::Imported {
            roots,
            objects,
            transaction,
        } => {
            let roots: Vec<String> = roots.iter().map(|(name, id)| format!("{id} {name}")).collect();
            let text = format!(
                "{}\n{objects} objects were made in transaction {transaction}",
                roots.join("\n")
            );
            (text, exit::ANSWERED)
        }
        Answer::Branches(views) => (branch::list(views), exit::ANSWERED),
        Answer::Branch(view) => (branch::one(view), exit::ANSWERED),
        Answer::BranchShown {
            branch: view,
            differences,
        } => (
            format!("{}\n{}", branch::one(view), past::differences(differences)),
            exit::ANSWERED,
        ),
        Answer::BranchDropped { name } => (format!("the branch {name} is gone"), exit::ANSWERED),
        Answer::BranchCommitted {
            name,
            objects,
            transaction,
            ..
        } => (
            format!(
                "the branch {name} is transaction {transaction}; it changed {}",
                branch::counted(*objects, "object")
            ),
            exit::ANSWERED,
        ),
        Answer::Codex { text } => (text.trim_end().to_owned(), exit::ANSWERED),
        Answer::CodexImported { changes, transaction } => (
            match (changes.is_empty(), transaction) {
                (true, _) => "the image holds this codex already".to_owned(),
                (false, Some(transaction)) => format!("{}\nin transaction {transaction}", changes.join("\n")),
                (false, None) => format!("{}\nnothing was changed: this was a dry run", changes.join("\n")),
            },
            exit::ANSWERED,
        ),
        Answer::Missions(views) => (render::missions(views), exit::ANSWERED),
        Answer::Wishes(views) => (render::wishes(views), exit::ANSWERED),
        Answer::Cancelled { id } => (format!("mission {id} is cancelled"), exit::ANSWERED),
        Answer::Followed => (String::new(), exit::ANSWERED),
        Answer::View(view) => (view::described(view), exit::ANSWERED),
        Answer::Tried(tried) => (workflow::one(tried), exit::ANSWERED),
        Answer::Why(origin) => (past::origin(origin), exit::ANSWERED),
        // Parts of a transfer, which `blob` looks at itself; what `adapter` and `memory` show.
        Answer::Transfer { .. }
        | Answer::Arrived { .. }
        | Answer::Content { .. }
        | Answer::Blob(_)
        | Answer::AdapterImported { .. }
        | Answer::Adapters { .. }
        | Answer::AdapterDropped { .. }
        | Answer::AdapterHeld { .. }
        | Answer::Figures(_)
        | Answer::MemoryDocument(_)
        | Answer::MemoryAdded(_)
        | Answer::MemoryHits { .. }
        | Answer::MemoryShown(_)
        | Answer::MemoryForgotten { .. }
        | Answer::MemoryEncoded(_)
        | Answer::MemoryStats(_) => (document.to_string(), exit::ANSWERED),
    };
    Report { document, text, exit }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::bridge::Finding;
    use shared::id::ObjectId;
    use shared::value::Value;

    fn check(answer: Answer, document: &str, text: &str, exit: u8) {
        let report = report(
            &Answered {
                answer,
                elapsed_ms: 4,
            },
            false,
            None,
        );
        assert_eq!(
            (
                report.document.to_string().as_str(),
                report.text.as_str(),
                report.exit
            ),
            (document, text, exit)
        );
    }

    #[test]
    fn documents_are_the_promised_ones() {
        check(
            Answer::Sent {
                result: Value::Ref(ObjectId(12)),
                transaction: TransactionId(7),
                thought: None,
            },
            r##"{"ok":true,"result":{"$ref":"#12"},"transaction":7,"thought":null,"elapsed_ms":4}"##,
            "#12",
            0,
        );
        check(
            Answer::Created {
                object: ObjectId(12),
                transaction: TransactionId(7),
            },
            r##"{"ok":true,"object":"#12","transaction":7}"##,
            "#12",
            0,
        );
        check(
            Answer::Verdict {
                findings: vec![Finding {
                    rule: "no_import".into(),
                    line: 2,
                    message: "no".into(),
                }],
            },
            r#"{"ok":false,"findings":[{"rule":"no_import","line":2,"message":"no"}]}"#,
            "line 2: no (no_import)",
            1,
        );
        check(
            Answer::Verdict { findings: vec![] },
            r#"{"ok":true,"findings":[]}"#,
            "the guard has no objection",
            0,
        );
    }

    #[test]
    fn what_cannot_be_done_in_a_branch_is_usage() {
        for line in [
            "log",
            "pack",
            "status",
            "guard -",
            "branch list",
            "undo 3",
            "verify",
            "blob get a.b",
            "adapter list",
        ] {
            let words = ["batos", "--home", "/h", "--branch", "b"]
                .into_iter()
                .chain(line.split(' '));
            let failure = perform(Arguments::try_parse_from(words).unwrap()).err().unwrap();
            assert_eq!(failure.exit_code(), exit::USAGE, "{line}: {failure}");
            assert!(failure.to_string().contains("in a branch"), "{line}: {failure}");
        }
    }

    #[test]
    fn an_answer_in_a_branch_names_it_and_no_transaction() {
        let changed = Answer::Changed {
            object: ObjectId(12),
            slot: "n".into(),
            transaction: TransactionId(0),
        };
        let answered = Answered {
            answer: changed,
            elapsed_ms: 4,
        };
        let report = report(&answered, false, Some("b"));
        assert_eq!(
            (report.document.to_string().as_str(), report.text.as_str()),
            (
                r##"{"ok":true,"object":"#12","slot":"n","transaction":null,"branch":"b"}"##,
                "#12.n changed in branch b"
            )
        );
    }

    #[test]
    fn a_slot_given_twice_is_usage() {
        let arguments = Arguments::try_parse_from(["batos", "new", "traits", "a=1", "b=2", "a=3"]).unwrap();
        let failure = call(arguments.command).err().unwrap();
        assert_eq!(
            (failure.exit_code(), &failure.document()["reason"]),
            (2, &"usage".into())
        );
    }
}

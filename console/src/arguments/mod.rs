//! The command line of `batos`.

mod adapter;
mod bench;
mod blob;
mod branch;
mod codex;
mod memory;
mod request;
mod upgrade;
mod workflow;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub use adapter::{AdapterCommand, AdapterImport};
pub use bench::{BenchCommand, DnuBench};
pub use blob::{BlobCommand, BlobGet, BlobPut};
pub use branch::BranchCommand;
pub use codex::CodexCommand;
pub use memory::{MemoryAdd, MemoryCommand, Pair};
pub use request::{ClientSequence, DeadlineMs, RequestId};
pub use upgrade::{UpgradeCommand, UpgradeKind, UpgradePlank, UpgradeRollback, UpgradeSubmit, UpgradeWait};
pub use workflow::WorkflowCommand;

use request::seconds;

const EXAMPLES: &str = "\
Examples:
  batos up                                     start the system, or say that it runs
  batos send genesis display_yourself          send a message; what nobody understands is thought about
  batos new traits balance=0 --name account    make an object, named in the lobby
  batos send account deposit 25                arguments are JSON; text needs its quotes: '\"abc\"'
  batos inspect account                        slots, parents and delegation chain
  batos thoughts                               what the system has thought, newest last
  batos why account deposit                    how a method came to be
  batos console                                the same, interactively

Objects are named by id ('#12', quoted for the shell), by path (personas.brick) or by name (genesis).
A JSON argument may be @FILE or - (standard input), at most 16 MiB.
JSON beyond JSON: {\"$ref\":\"#12\"} {\"$bytes\":\"00ff\"} {\"$int\":\"9999999999999999999\"} {\"$float\":\"nan\"} {\"$map\":[[1,2]]}
                  {\"$time\":\"2026-11-21T01:22:10.5Z\"} {\"$blob\":\"<64 hex digits>\",\"bytes\":N}

Exit codes: 0 answered, 1 the image answered with an error, 2 usage, 3 no kernel;
            of up: 4 home in use, 5 home unusable, 6 configuration wrong, 1 another failure.";

const WISH_HELP: &str = "\
Examples:
  batos wish lock release_water 'The given number goes from the own stored water to the lower lock.' \\
      --example 'stored_water=800 lower.stored_water=100 (300) -> _; stored_water=500 lower.stored_water=400' \\
      --example '(-1) -> !'
  batos wish lock                      all wishes that hold for it, inherited ones too
  batos wish lock release_water --drop

An example says what slots hold before, the arguments, the answer, and what slots hold afterwards; every slot that is not
named holds what it held. _ is any answer; ! says that the send must fail and change nothing. VALUE is JSON. PATH is a slot
of the receiver (stored_water), of what one refers to (lower.stored_water, lamps[0].burning), of an argument (1.score) or
of any object (#12.name); the text \"@lower\" is that object, \"@self\" the receiver, \"@@x\" the text @x.
Who sends a message that nobody understands gets a method that passes every example, or none. docs/wishes.md has it all.";

/// Talks to a BAT OS image: a living world of prototype objects that writes the methods it lacks.
#[derive(Debug, Parser)]
#[command(name = "batos", version, after_help = EXAMPLES, subcommand_required = true, arg_required_else_help = true)]
pub struct Arguments {
    /// The home folder [default: $BATOS_HOME, else $XDG_STATE_HOME/batos, else ~/.local/state/batos]
    #[arg(long, global = true, value_name = "DIR")]
    pub home: Option<PathBuf>,
    /// Print exactly one JSON document on standard output
    #[arg(long, global = true)]
    pub json: bool,
    /// Send, inspect, new, set, define, blob put and console: in this branch, and not in the image itself
    #[arg(long, global = true, value_name = "NAME")]
    pub branch: Option<String>,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start the system and return when its kernel is ready; starts nothing twice
    Up,
    /// Stop kernel, workers and steward in order
    Down,
    /// Show steward, kernel, workers and model
    Status {
        /// Print figures in the text format of Prometheus instead, as for node_exporter's textfile collector
        #[arg(long)]
        metrics: bool,
    },
    /// Send a message to an object
    #[command(after_help = "Examples:\n  batos send genesis display_yourself\n  \
        batos send account deposit 25\n  batos send account rename '\"savings\"'\n  \
        batos send '#12' load @values.json --deadline 60")]
    Send(Send),
    /// Show an object: slots, parents, delegation chain
    Inspect {
        /// '#12', a path such as personas.brick, or a name
        object: String,
        /// As it was just after a transaction (17) or a time (2026-11-21, 2026-11-21T03:00:00Z, -10m)
        #[arg(long, value_name = "MOMENT", allow_hyphen_values = true)]
        at: Option<String>,
    },
    /// Make an object whose parent is PARENT
    #[command(
        after_help = "Example:\n  batos new traits balance=0 owner='\"ada\"' --name account\nAnswers with the object's id."
    )]
    New(New),
    /// Give a slot a value
    #[command(after_help = "Example:\n  batos set account balance 100")]
    Set {
        object: String,
        slot: String,
        /// JSON, @FILE, or - for standard input
        #[arg(value_name = "JSON", allow_negative_numbers = true)]
        value: String,
        #[command(flatten)]
        request: RequestId,
    },
    /// Say what a method is to do, in words and by examples that it must pass before it is installed; or show the wishes of an object
    #[command(after_help = WISH_HELP)]
    Wish {
        object: String,
        /// The message's name; without it all wishes of the object are shown
        selector: Option<String>,
        /// What is wanted, in a sentence or two
        #[arg(requires = "selector", conflicts_with = "drop")]
        intent: Option<String>,
        /// [PATH=VALUE …] ([VALUE, …]) -> ANSWER [; PATH=VALUE …], each in one argument; see below
        #[arg(
            long = "example",
            value_name = "EXAMPLE",
            allow_hyphen_values = true,
            requires = "selector",
            conflicts_with = "drop"
        )]
        examples: Vec<String>,
        /// Take the wish away
        #[arg(long, requires = "selector")]
        drop: bool,
        #[command(flatten)]
        request: RequestId,
    },
    /// Install a method from a Python file through the guard; the function's name is the selector
    #[command(
        after_help = "Example:\n  batos define account deposit.py\nwith deposit.py:\n  \
        def deposit(self, amount):\n      self.balance = self.balance + amount\n      \
        self._p_changed = True\n      return self.balance"
    )]
    Define {
        object: String,
        /// A Python file, or - for standard input
        file: PathBuf,
        #[command(flatten)]
        request: RequestId,
    },
    /// Say what the guard thinks of a Python file; installs nothing
    Guard {
        /// A Python file, or - for standard input
        file: PathBuf,
    },
    /// List the thoughts, or show one with its events and its artifact
    #[command(
        after_help = "Examples:\n  batos thoughts 12\n  batos thoughts --follow           live, until Ctrl-C; with --json a document a line\n  \
        batos thoughts --otlp > traces.jsonl\n  batos thoughts --check            walks the files of audit/ and their hash chain"
    )]
    Thoughts {
        /// The thought's number
        id: Option<u64>,
        /// Show what happens in thoughts while it happens; with a number, until that thought ends
        #[arg(long)]
        follow: bool,
        /// Walk the audit's files and say whether their chain is whole
        #[arg(long, conflicts_with_all = ["id", "follow", "otlp"])]
        check: bool,
        /// Print the audit as OTLP/JSON traces for OpenTelemetry tools, one document a line
        #[arg(long, conflicts_with_all = ["id", "follow"])]
        otlp: bool,
    },
    /// Personas, their dynamics and data covenants as one file (docs/codex.md)
    Codex {
        #[command(subcommand)]
        command: CodexCommand,
    },
    /// List the missions that are under way or wait for their turn
    Missions,
    /// End a mission: whoever waits for it is told, and nothing is left of its thought
    Cancel {
        /// The thought's number; `batos missions` lists them
        id: u64,
    },
    /// Tell how a method came to be: who wrote it, and the thought with its events
    #[command(after_help = "Example:\n  batos why genesis display_yourself")]
    Why { object: String, selector: String },
    /// Tell who changed an object, or one slot of it, when and in which thought, newest first
    History {
        object: String,
        slot: Option<String>,
        /// At most so many transactions
        #[arg(long, default_value_t = 50)]
        limit: u32,
    },
    /// Tell the newest transactions, newest first
    Log {
        /// Begin at a transaction or a time
        #[arg(long, value_name = "MOMENT", allow_hyphen_values = true)]
        from: Option<String>,
        /// At most so many transactions
        #[arg(long, default_value_t = 20)]
        limit: u32,
    },
    /// Tell what differs between two moments
    #[command(after_help = "Examples:\n  batos diff 17 42\n  batos diff -- -1h -5m")]
    Diff {
        /// A transaction or a time
        #[arg(allow_hyphen_values = true)]
        from: String,
        /// A transaction or a time
        #[arg(allow_hyphen_values = true)]
        to: String,
    },
    /// Take a transaction back by a new one; refused where later ones build on it
    Undo {
        transaction: u64,
        #[command(flatten)]
        request: RequestId,
    },
    /// Try changes in a branch of the image, then commit them all at once or throw them away
    #[command(after_help = "Examples:\n  \
        batos branch new what_if\n  \
        batos --branch what_if send account deposit 25\n  \
        batos --branch what_if inspect account\n  \
        batos branch show what_if                  what it would change\n  \
        batos branch commit what_if                one transaction; in conflict nothing is done\n  \
        batos branch drop what_if                  nothing is left of it\n\n\
        Whoever looks into a branch sees its own changes, and for all else what the image says now. What the\n\
        branch's sends read or replaced must be as it was when it is committed. Nothing is thought about in a branch.")]
    Branch {
        #[command(subcommand)]
        command: BranchCommand,
    },
    /// Find every fault of the image: chain, records, references, index; exit code 1 when there is one
    #[command(
        after_help = "While a kernel runs it looks at its own image; else the image is opened as a start would."
    )]
    Verify,
    /// The hash over all objects and entries as they are now: equal for equal states, whatever was thought in between
    Digest,
    /// Drop what nothing reaches from the lobby, and all history before now; others go on meanwhile
    Pack,
    /// Make the index anew from the log, while no kernel runs
    Reindex,
    /// Give the image a content of any length, or read one
    Blob {
        #[command(subcommand)]
        command: BlobCommand,
    },
    /// Bring in what a fine-tuning learned, and look at what is loaded
    #[command(after_help = "Examples:\n  \
        batos adapter import ./robin-lora --name ROBIN          a folder that PEFT's save_pretrained wrote\n  \
        batos adapter import ./robin-2 --name ROBIN --replace 1\n  \
        batos adapter list\n\n\
        The inference-worker checks it against the model before anything is kept. LoRA of a layer's linear products is known;\n\
        what changes the model itself (DoRA, biases, whole modules, embeddings) is refused: see docs/adapters.md.")]
    Adapter {
        #[command(subcommand)]
        command: AdapterCommand,
    },
    /// Index texts, and find them again by words and meaning (docs/memory.md)
    #[command(after_help = "Examples:\n  \
        batos memory add notes/ README.md --meta project=wing\n  \
        batos memory search 'how does the boundary layer grow' --k 5\n  \
        batos memory search flow --filter project=wing --at 2026-11-01\n  \
        git log -p | batos memory add - --source history\n\n\
        Plain text, Markdown, HTML, source code, logs of JSON lines, and PDF by poppler's pdftotext. An add that is broken off goes on\n\
        where it was. Without an encoder (./scripts/embedding-model) searches look at words alone, and say so.")]
    Memory {
        #[command(subcommand)]
        command: MemoryCommand,
    },
    /// Show an object as a page of HTML or a picture of SVG, thought out by the personas or drawn without a model
    #[command(after_help = "Examples:\n  \
        batos view account --out account.html\n  \
        batos view account --svg --out account.svg\n  \
        batos view account --fresh --out account.html          think anew about what to show, and how\n  \
        batos view account --workflow view_plain > plain.html  every data slot in order, without a model\n\n\
        What the personas choose is kept with the object: the next view of it is there at once, and drawn again where the object has\n\
        changed. No page or picture has a script, or fetches anything; the kernel checks each. Nothing is opened. See docs/views.md.")]
    View(View),
    /// The ways to think: list, show, clone, compare, adopt and drop them
    #[command(after_help = "Examples:\n  \
        batos workflow list\n  \
        batos workflow show view --dot | dot -Tsvg > view.svg\n  \
        batos workflow clone full quick && batos set workflows.quick needs '[\"method\",\"plan\",\"answer\"]'\n  \
        batos workflow compare full quick 12 15 --missions missions.txt    nothing of it is kept\n  \
        batos workflow adopt quick                                         `batos undo` takes it back\n\n\
        A line of missions.txt is OBJECT SELECTOR [JSON…], or OBJECT :view.")]
    Workflow {
        #[command(subcommand)]
        command: WorkflowCommand,
    },
    /// Copy what is new of the image into a folder, while the system runs
    #[command(
        after_help = "The first backup into a folder copies everything, the next only what was added since. It ends at one\n\
            transaction; one that is interrupted leaves the former as it was."
    )]
    Backup {
        /// A new or empty folder, or one that holds an earlier backup of this image
        #[arg(value_name = "DIR")]
        folder: PathBuf,
    },
    /// Put the image of a backup into a home that has none, while nothing runs there
    #[command(after_help = "Example:\n  batos --home NEW restore /backups/batos && batos --home NEW up")]
    Restore {
        /// The backup's folder
        #[arg(value_name = "DIR")]
        folder: PathBuf,
        /// Move an image that is there aside
        #[arg(long)]
        replace: bool,
    },
    /// Write objects and what they reach as Python files, one an object, into a new folder
    #[command(
        after_help = "What stands in the lobby is only named, unless it is asked for.\nExample:\n  batos export account -o account"
    )]
    Export {
        #[arg(required = true, value_name = "OBJECT")]
        objects: Vec<String>,
        /// A new or empty folder
        #[arg(short, long, value_name = "DIR")]
        output: PathBuf,
        /// Follow at most so many references from the objects named
        #[arg(long, value_name = "N")]
        depth: Option<u32>,
    },
    /// Make new objects of an export, in one transaction; nothing of it is executed
    #[command(after_help = "Example:\n  batos import account --name account_2")]
    Import {
        #[arg(value_name = "DIR")]
        folder: PathBuf,
        /// Put the object that the export was made of into the lobby under this name
        #[arg(long)]
        name: Option<String>,
        #[command(flatten)]
        request: RequestId,
    },
    /// Replace programs of the running system, and tell what came of it
    #[command(
        after_help = "An upgrade is an instruction file in the channel of the home; the steward checks it, switches, asks the new program\n\
            whether it is well, and goes back by itself when it is not. The form: docs/upgrade.md.\nExamples:\n  \
            batos upgrade submit --kernel target/release/kernel --verify\n  batos upgrade submit kernel-0.2.0.json\n  \
            batos upgrade list\n  batos upgrade rollback"
    )]
    Upgrade {
        #[command(subcommand)]
        command: UpgradeCommand,
    },
    /// Measure the system on tasks whose answers are known
    Bench {
        #[command(subcommand)]
        command: BenchCommand,
    },
    /// Open the interactive console
    Console,
}

#[derive(Debug, Args)]
pub struct View {
    /// '#12', a path such as personas.brick, or a name
    pub object: String,
    /// Write here; the file is whole or as it was before [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// The picture instead of the page
    #[arg(long)]
    pub svg: bool,
    /// Think anew where the object has a view
    #[arg(long)]
    pub fresh: bool,
    /// Only by this workflow; `batos workflow list` lists them
    #[arg(long, value_name = "NAME")]
    pub workflow: Option<String>,
    /// Give up after so many seconds; the thought goes on
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub deadline: Option<DeadlineMs>,
}

#[derive(Debug, Args)]
pub struct Send {
    pub receiver: String,
    pub selector: String,
    /// JSON, @FILE, or - for standard input
    #[arg(value_name = "JSON-ARG", allow_negative_numbers = true)]
    pub arguments: Vec<String>,
    /// Give up after so many seconds
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub deadline: Option<DeadlineMs>,
    /// Do not show the states of a thought
    #[arg(long)]
    pub quiet: bool,
    #[command(flatten)]
    pub request: RequestId,
}

#[derive(Debug, Args)]
pub struct New {
    pub parent: String,
    /// A slot's name and its value
    #[arg(value_name = "SLOT=JSON")]
    pub slots: Vec<String>,
    /// Put it into the lobby under this name
    #[arg(long)]
    pub name: Option<String>,
    #[command(flatten)]
    pub request: RequestId,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from(std::iter::once("batos").chain(line.split_whitespace()))
    }

    #[test]
    fn the_definition_is_sound() {
        use clap::CommandFactory as _;
        Arguments::command().debug_assert();
    }

    #[test]
    fn global_options_stand_before_and_after() {
        for line in [
            "--json --home /h status",
            "status --json --home /h",
            "--home /h status --json",
        ] {
            let arguments = parse(line).unwrap();
            assert!(arguments.json, "{line}");
            assert_eq!(arguments.home, Some("/h".into()), "{line}");
        }
    }

    #[test]
    fn arguments_of_a_send_may_be_negative_or_standard_input() {
        let Command::Send(send) = parse("send a b -5 -1.5 - @f --json --deadline 2.5")
            .unwrap()
            .command
        else {
            panic!("a send");
        };
        assert_eq!(send.arguments, ["-5", "-1.5", "-", "@f"]);
        assert_eq!(send.deadline, Some(DeadlineMs(2500)));
    }

    #[test]
    fn nonsense_is_refused() {
        for line in [
            "",
            "fly",
            "send genesis",
            "thoughts x",
            "send a b --deadline -1",
            "send a b --deadline nan",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}

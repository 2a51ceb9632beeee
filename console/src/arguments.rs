//! The command line of `batos`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use shared::id::ClientId;

use crate::bench::{Part, Switch};

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

#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    /// How well the system writes the methods that it lacks: DNU-Bench
    #[command(
        after_help = "Each task is done by the real system in a temporary home: a message that nobody understands, the thought about it, guard,\n\
            trial, installation, and then hidden examples on fresh objects (docs/dnu.md).\nExamples:\n  \
            batos bench dnu --part dev\n  \
            batos bench dnu --family 'maps' --without grammar\n  \
            batos bench dnu --part test --ablations\n  \
            batos bench dnu --backend http://127.0.0.1:8080/v1 --backend-kind llama.cpp --limit 20\n  \
            batos bench dnu --check                every task against its own reference method"
    )]
    Dnu(DnuBench),
}

#[derive(Debug, Args)]
pub struct DnuBench {
    /// Only this part of the tasks
    #[arg(long, value_enum)]
    pub part: Option<Part>,
    /// Only this family
    #[arg(long)]
    pub family: Option<String>,
    /// Only the task of this id
    #[arg(long, value_name = "ID")]
    pub task: Option<String>,
    /// At most so many tasks
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// A model to measure instead of the shipped seed model: a folder or a GGUF file
    #[arg(long, value_name = "PATH", conflicts_with = "backend")]
    pub model: Option<PathBuf>,
    /// A server to measure, as inference.server.url in docs/backends.md
    #[arg(long, value_name = "URL")]
    pub backend: Option<String>,
    /// The model's name at that server
    #[arg(long, value_name = "NAME", requires = "backend")]
    pub backend_model: Option<String>,
    /// openai, llama.cpp, vllm or ollama
    #[arg(long, value_name = "KIND", requires = "backend")]
    pub backend_kind: Option<String>,
    /// Threads of the model; one is best where others keep the processor busy [default: the worker's own choice]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub threads: Option<u32>,
    /// Do without this; may be given more than once
    #[arg(long, value_enum)]
    pub without: Vec<Switch>,
    /// Run with everything on, and then without each of these switches [of no list: without each there is]
    #[arg(long, value_enum, num_args = 0.., value_delimiter = ',', require_equals = true, conflicts_with = "without", value_name = "SWITCH,…")]
    pub ablations: Option<Vec<Switch>>,
    /// Run with this in a slot of the image, such as pllm.candidates=16; may be given more than once
    #[arg(long, value_name = "OBJECT.SLOT=JSON")]
    pub set: Vec<String>,
    /// Hold every task to its own reference method, and ask no model
    #[arg(long, conflicts_with_all = ["model", "backend", "without", "ablations", "set"])]
    pub check: bool,
    /// Name the tasks and their parts, and do nothing
    #[arg(long, conflicts_with = "check")]
    pub list: bool,
    /// The folder of the tasks [default: tests/dnu of the checkout around]
    #[arg(long, value_name = "DIR")]
    pub tasks: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub enum UpgradeCommand {
    /// Give an instruction, written beforehand or made of these options, and wait for its result
    #[command(
        after_help = "FILE.minisig is given along when it lies beside FILE. Where the configuration names public keys, write the\n\
            instruction by --output with --sequence, sign it (minisign -S -m FILE), and submit FILE.\n\
            Exit codes: 0 applied, 1 refused, failed or rolled back (the reason is in docs/upgrade.md), 3 no steward.\nExamples:\n  \
            batos upgrade submit --kernel ./kernel --verify --backup /backups/batos\n  \
            batos upgrade submit --model ./models/llama-3.1-8b.gguf\n  \
            batos upgrade submit --python requirements.txt --allow toolz.frequencies\n  \
            batos upgrade submit --kernel ./kernel --sequence 7 --output up.json && minisign -S -m up.json && batos upgrade submit up.json"
    )]
    Submit(Box<UpgradeSubmit>),
    /// Tell which instruction is being carried out and in which state, how many wait, and the last result
    Status,
    /// List results, newest last
    List {
        /// At most so many
        #[arg(long, default_value_t = 20)]
        limit: usize,
    },
    /// Go back to the kernel, or another plank, before; once more goes forth again
    #[command(
        after_help = "An upgrade like any other, to what planks/previous.json (previous-KIND.json) names, checked and proved in the same way."
    )]
    Rollback(UpgradeRollback),
}

#[derive(Debug, Args)]
pub struct UpgradeSubmit {
    /// An instruction in the form of docs/upgrade.md
    #[arg(conflicts_with_all = ["plank", "id", "sequence", "expires_in", "verify", "again", "backup", "output"])]
    pub file: Option<PathBuf>,
    #[command(flatten)]
    pub plank: UpgradePlank,
    /// Of --python: what methods may use, as module.name; may be given several times
    #[arg(long, value_name = "NAME", requires = "python")]
    pub allow: Vec<String>,
    /// Its id [default: of digest and time]
    #[arg(long)]
    pub id: Option<String>,
    /// Its number: larger than that of every one applied before; needed where signatures are
    #[arg(long, value_name = "N")]
    pub sequence: Option<u64>,
    /// Refuse it when it is not begun within so many seconds
    #[arg(long, value_name = "SECONDS")]
    pub expires_in: Option<u64>,
    /// Verify the image first, and end when it has a fault
    #[arg(long)]
    pub verify: bool,
    /// Try a program that was found bad before all the same
    #[arg(long)]
    pub again: bool,
    /// Back the image up first, as `batos backup DIR` does
    #[arg(long, value_name = "DIR")]
    pub backup: Option<PathBuf>,
    /// Write the instruction here, to be signed, and give nothing
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    #[command(flatten)]
    pub wait: UpgradeWait,
}

/// Make an instruction that replaces one of these.
#[derive(Debug, Args)]
#[group(id = "plank", multiple = false)]
pub struct UpgradePlank {
    /// Make an instruction that replaces the kernel by this program
    #[arg(long, value_name = "PROGRAM")]
    pub kernel: Option<PathBuf>,
    /// The same of the inference-worker: what is being written is written to its end by the old one
    #[arg(long, value_name = "PROGRAM")]
    pub inference_worker: Option<PathBuf>,
    /// The same of the method-workers, one after the other
    #[arg(long, value_name = "PROGRAM")]
    pub method_worker: Option<PathBuf>,
    /// The same of the steward, which becomes this program and keeps what it supervises
    #[arg(long, value_name = "PROGRAM")]
    pub steward: Option<PathBuf>,
    /// The same of the base model: a folder, or a GGUF file
    #[arg(long, value_name = "MODEL")]
    pub model: Option<PathBuf>,
    /// A Python environment for methods, built by pip from this file of requirements
    #[arg(long, value_name = "REQUIREMENTS")]
    pub python: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum UpgradeKind {
    #[default]
    Kernel,
    InferenceWorker,
    MethodWorker,
    Steward,
    Model,
    Python,
}

#[derive(Debug, Args)]
pub struct UpgradeRollback {
    /// What is to go back
    #[arg(long, value_enum, default_value_t)]
    pub kind: UpgradeKind,
    /// Its number: larger than that of every one applied before; needed where signatures are
    #[arg(long, value_name = "N")]
    pub sequence: Option<u64>,
    /// Write the instruction here, to be signed, and give nothing
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    #[command(flatten)]
    pub wait: UpgradeWait,
}

#[derive(Debug, Args)]
pub struct UpgradeWait {
    /// Return once the instruction is in the inbox, also where no steward runs
    #[arg(long)]
    pub no_wait: bool,
}

#[derive(Debug, Subcommand)]
pub enum CodexCommand {
    /// Write the codex of the image into a file
    Export {
        /// A TOML file, or - for standard output
        #[arg(default_value = "-")]
        file: PathBuf,
    },
    /// Make a file the codex of the image, in one transaction
    #[command(
        after_help = "Example:\n  batos codex export codex.toml\n  batos codex import codex.toml --dry-run"
    )]
    Import {
        /// A TOML file, or - for standard input
        file: PathBuf,
        /// Only tell what would change
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        request: RequestId,
    },
}

#[derive(Debug, Subcommand)]
pub enum BranchCommand {
    /// Begin a branch
    New {
        /// 1 to 64 of A-Z a-z 0-9 _ -
        name: String,
        #[command(flatten)]
        request: RequestId,
    },
    /// List the branches, and whether each could be committed now
    List,
    /// Tell what a branch changes, slot by slot
    #[command(visible_alias = "diff")]
    Show { name: String },
    /// Throw a branch away
    Drop { name: String },
    /// Make all that a branch changes one transaction; in conflict the places are named and the branch stays
    Commit {
        name: String,
        #[command(flatten)]
        request: RequestId,
    },
}

#[derive(Debug, Subcommand)]
pub enum BlobCommand {
    /// Give a content; prints the blob's value, which names it in slots and arguments
    #[command(after_help = "Example:\n  batos blob put film.mp4 --object account --slot film")]
    Put(BlobPut),
    /// Read a content, to standard output or into a file
    #[command(
        after_help = "Examples:\n  batos blob get account.film -o film.mp4\n  batos blob get 0123…ef | sha256sum"
    )]
    Get(BlobGet),
}

#[derive(Debug, Subcommand)]
pub enum MemoryCommand {
    /// Index files; what the memory has already, or nearly, is left out
    Add(MemoryAdd),
    /// Find what answers a question; each hit says why it was found
    Search {
        #[arg(required = true, value_name = "QUERY")]
        question: Vec<String>,
        /// So many hits at most
        #[arg(short, long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
        k: u32,
        /// Only what has this pair of meta; again for more
        #[arg(long = "filter", value_name = "K=V", value_parser = pair)]
        filters: Vec<Pair>,
        /// What was valid then: 2026-11-21, 2026-11-21T03:00:00Z, -10m
        #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
        at: Option<String>,
    },
    /// Show a document with its chunks, or a chunk: its id, its source, or its file
    Show { object: String },
    /// Take a document, or one chunk, out of the memory
    Forget { object: String },
    /// Give chunks the vectors that they lack: those that were added before the encoder was there
    Encode,
    /// Tell how much the memory holds, and who encodes
    Stats,
}

#[derive(Debug, Args)]
pub struct MemoryAdd {
    /// Files, folders, or - for standard input
    #[arg(required = true, value_name = "FILE|DIR")]
    pub files: Vec<PathBuf>,
    /// A pair that every chunk carries, for filters; again for more
    #[arg(long, value_name = "K=V", value_parser = pair)]
    pub meta: Vec<Pair>,
    /// Its name in the memory [default: the full path]; the same name again supersedes
    #[arg(long, value_name = "NAME")]
    pub source: Option<String>,
    /// What it is, where ending and beginning do not tell
    #[arg(long, value_parser = ["text", "markdown", "html", "code", "jsonl", "pdf"])]
    pub format: Option<String>,
    /// What its date is [default: when the file was changed]
    #[arg(long, value_name = "TIME", value_parser = date)]
    pub date: Option<DateUs>,
}

impl MemoryAdd {
    pub fn format(&self) -> Option<&'static str> {
        let formats = ["text", "markdown", "html", "code", "jsonl", "pdf"];
        formats
            .into_iter()
            .find(|format| Some(*format) == self.format.as_deref())
    }
}

/// A key and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    pub key: String,
    pub value: String,
}

/// A date in microseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DateUs(pub i64);

fn pair(text: &str) -> Result<Pair, String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok(Pair {
            key: key.to_owned(),
            value: value.to_owned(),
        }),
        _ => Err("a key, =, and a value, such as project=wing".into()),
    }
}

fn date(text: &str) -> Result<DateUs, String> {
    let time = match text.len() {
        10 => format!("{text}T00:00:00Z"),
        _ => text.to_owned(),
    };
    let time = time.parse::<jiff::Timestamp>();
    time.map(|time| DateUs(time.as_microsecond()))
        .map_err(|_| "a date such as 2026-11-21 or 2026-11-21T03:00:00Z".into())
}

#[derive(Debug, Subcommand)]
pub enum AdapterCommand {
    /// Make a PEFT folder or a safetensors file the next generation of an adapter
    Import(AdapterImport),
    /// List the adapters: generation, where they are, what they take, how often they were used; and what memory is used for
    List,
    /// Show every generation of an adapter, newest first
    Show { name: String },
    /// Take an adapter's name away; its generations go at the next pack
    Drop {
        name: String,
        #[command(flatten)]
        request: RequestId,
    },
    /// Load an adapter ahead
    Stage { name: String },
    /// Load an adapter and keep it in memory
    Pin { name: String },
    /// Let a pinned adapter give way again
    Unpin { name: String },
}

#[derive(Debug, Args)]
pub struct AdapterImport {
    /// A folder with adapter_config.json and adapter_model.safetensors, or a safetensors file
    #[arg(value_name = "DIR|FILE")]
    pub from: PathBuf,
    /// Letters, digits and _
    #[arg(long)]
    pub name: String,
    /// The generation that it replaces; needed when the name exists
    #[arg(long, value_name = "N")]
    pub replace: Option<u64>,
    /// Its alpha, where no configuration tells it
    #[arg(long)]
    pub alpha: Option<f64>,
    #[command(flatten)]
    pub request: RequestId,
}

#[derive(Debug, Subcommand)]
pub enum WorkflowCommand {
    /// List the workflows, those that are taken first before the others
    List,
    /// Show a workflow: who works in which state, and where each may lead
    Show {
        name: String,
        /// As a graph for Graphviz
        #[arg(long)]
        dot: bool,
    },
    /// Make a copy under a new name, to be changed
    Clone {
        name: String,
        new: String,
        #[command(flatten)]
        request: RequestId,
    },
    /// Think about the same missions by two workflows, keep nothing of it, and tell what each came to and cost
    Compare {
        a: String,
        b: String,
        /// Numbers of past thoughts; `batos thoughts` lists them
        #[arg(value_name = "THOUGHT")]
        thoughts: Vec<u64>,
        /// A file with a mission a line: OBJECT SELECTOR [JSON…], or OBJECT :view
        #[arg(long, value_name = "FILE")]
        missions: Option<PathBuf>,
    },
    /// Take a workflow first for its kind of mission
    Adopt {
        name: String,
        #[command(flatten)]
        request: RequestId,
    },
    /// Take a workflow away; refused while it is the first of its kind, or the last
    Drop {
        name: String,
        #[command(flatten)]
        request: RequestId,
    },
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
pub struct BlobPut {
    /// A file, or - for standard input
    pub file: PathBuf,
    /// Make the content the value of a slot of this object
    #[arg(long, requires = "slot")]
    pub object: Option<String>,
    /// The slot's name
    #[arg(long, requires = "object", value_name = "NAME")]
    pub slot: Option<String>,
}

#[derive(Debug, Args)]
pub struct BlobGet {
    /// The content's 64 hexadecimal digits, or the slot that holds it
    #[arg(value_name = "DIGEST|OBJECT.SLOT")]
    pub blob: String,
    /// Write here; the file is whole or as it was before
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
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

#[derive(Debug, Args)]
pub struct RequestId {
    /// Identify the request, so that a repeat is answered and not run again: 32 hex digits, a colon, a number from 1
    #[arg(long = "request-id", value_name = "HEX32:SEQ", value_parser = request_id)]
    pub id: Option<ClientSequence>,
}

/// A request's identity, chosen by a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientSequence {
    pub client: ClientId,
    pub sequence: u64,
}

/// A deadline in milliseconds, at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeadlineMs(pub u64);

fn seconds(text: &str) -> Result<DeadlineMs, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.001..=86_400.0 * 365.0).contains(&seconds) => {
            Ok(DeadlineMs((seconds * 1000.0) as u64))
        }
        _ => Err("a number of seconds from 0.001, such as 2.5".into()),
    }
}

fn request_id(text: &str) -> Result<ClientSequence, String> {
    let parts = text.split_once(':').and_then(|(client, sequence)| {
        let hex = client.len() == 32 && client.bytes().all(|byte| byte.is_ascii_hexdigit());
        let client = u128::from_str_radix(client, 16).ok().filter(|_| hex)?;
        let sequence = sequence.parse().ok().filter(|sequence| *sequence > 0)?;
        Some(ClientSequence {
            client: ClientId(client.to_be_bytes()),
            sequence,
        })
    });
    parts.ok_or_else(|| "32 hex digits, a colon and a number from 1".into())
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
    fn a_request_id_is_checked() {
        let good = request_id("000102030405060708090a0b0c0d0e0f:7").unwrap();
        assert_eq!((good.client.0[15], good.sequence), (15, 7));
        for bad in [
            "",
            "00:1",
            "000102030405060708090a0b0c0d0e0f:0",
            "+00102030405060708090a0b0c0d0e0f:1",
        ] {
            assert!(request_id(bad).is_err(), "{bad}");
        }
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

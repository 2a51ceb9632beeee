//! Kernel ↔ inference-worker, over the local socket `run/inference.sock`: requests in, events out, many at once.

use serde::{Deserialize, Serialize};

/// What the kernel asks.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum InferenceRequest {
    /// Answered by [`InferenceEvent::Described`].
    Describe,
    Generate(Generate),
    /// Ends a running generation with [`Finish::Cancelled`]; unknown ids are ignored.
    Cancel {
        request: u64,
    },
    /// As `Generate`, with more to say about it. (A variant of its own: a kernel and a worker of different age understand each other.)
    GenerateWith {
        generate: Generate,
        options: Options,
        /// A conversation, written by the model's own chat template, up to where the answer begins; then follows the prompt.
        messages: Vec<ChatMessage>,
    },
    /// The generation of this number, asked for next on this connection, is made with the adapter.
    Adapt {
        request: u64,
        adapter: Adapter,
    },
    /// Answered by [`InferenceEvent::Adapters`] of the same number.
    Adapters {
        request: u64,
        ask: AdapterRequest,
    },
    /// The generation of this number, asked for next on this connection, keeps to the grammar.
    Constrain {
        request: u64,
        grammar: Grammar,
    },
    /// Answered by [`InferenceEvent::EmbedderDescribed`].
    DescribeEmbedder,
    /// Answered by [`InferenceEvent::Embedded`] or `Failed`; ended early by `Cancel`, as one of `Generate`.
    Embed(Embed),
    /// Answered by [`InferenceEvent::Figures`].
    Figures,
    /// Of the worker's own socket alone (`docs/handover.md`): accept conversations at the passed socket. Answered by
    /// [`InferenceEvent::Serving`].
    Serve,
    /// The same: accept no more of them, finish those that are open. Answered by [`InferenceEvent::Yielded`].
    Yield,
    /// Answered by [`InferenceEvent::Abilities`].
    Abilities,
    /// The generation of this number, asked for next on this connection, is written by the server that stands by for what the model cannot do.
    Escalate {
        request: u64,
    },
    /// Answered by [`InferenceEvent::ServerDescribed`].
    DescribeServer,
}

/// What a text must be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Grammar {
    /// One JSON document that this JSON schema allows.
    JsonSchema(String),
    /// What the rule `start` gives, in llguidance's variant of Lark.
    Lark(String),
    Method(MethodGrammar),
}

/// Among the slots of a [`MethodGrammar`]: every name may follow `self.`.
pub const ANY_SLOT: &str = "*";

/// A Python method that can answer a message, or a refusal to write one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MethodGrammar {
    pub selector: String,
    /// How many the message has.
    pub arguments: u32,
    /// The only names that may follow `self.`; with [`ANY_SLOT`] among them, any name.
    pub slots: Vec<String>,
    /// The token, or the text, that a refusal begins with, when it may refuse; a line of words follows.
    pub refusal: Option<String>,
}

/// A generation of an adapter, and all that is needed to load it. What a name and a generation mean never changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Adapter {
    pub name: String,
    /// Counted from 1.
    pub generation: u64,
    /// PEFT's `adapter_config.json`; empty when the weights' own metadata hold it.
    pub config: String,
    pub weights: Contents,
}

/// A file that the worker may read, and what must be in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contents {
    /// Absolute.
    pub path: String,
    /// BLAKE3.
    pub digest: [u8; 32],
    pub bytes: u64,
}

/// What may be asked about adapters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AdapterRequest {
    /// Load and check it, and keep it so; answered when it is there.
    Stage {
        adapter: Adapter,
        hold: Hold,
    },
    /// A pinned one may be evicted again.
    Unpin {
        name: String,
        generation: u64,
    },
    /// Forget a generation of a name, or every one, once no request uses it.
    Forget {
        name: String,
        generation: Option<u64>,
    },
    List,
}

/// How an adapter is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Hold {
    /// Warm, until others need the room.
    Warm,
    /// Hot, until it is unpinned.
    Pinned,
}

/// What is answered about adapters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum AdapterAnswer {
    Staged(AdapterView),
    Unpinned,
    /// How many generations were forgotten.
    Forgotten(u32),
    Listed {
        adapters: Vec<AdapterView>,
        manifest: Manifest,
    },
}

/// An adapter as a worker knows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AdapterView {
    pub name: String,
    pub generation: u64,
    pub tier: Tier,
    pub is_pinned: bool,
    /// Known once it was loaded.
    pub summary: Option<AdapterSummary>,
    /// Requests that used it, and those that do now.
    pub uses: u64,
    pub in_flight: u32,
}

/// What a file of weights turned out to hold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AdapterSummary {
    /// The largest of its products.
    pub rank: u32,
    /// Of the first of its products.
    pub alpha: f32,
    /// Such as `self_attn.q_proj`.
    pub products: Vec<String>,
    pub parameters: u64,
    /// What it takes in memory.
    pub bytes: u64,
    /// The model that it was checked against.
    pub base: String,
    pub load_ms: u64,
}

/// Where an adapter is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Tier {
    Cold,
    Loading,
    Warm,
    Hot,
}

/// What a worker's process uses: the parts add up to what the system counts for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// What is neither of the others: code, tokenizer, threads. Measured once, when the model had been loaded.
    pub program_bytes: u64,
    pub base_bytes: u64,
    /// Blocks that have been written.
    pub cache_bytes: u64,
    pub cache_budget_bytes: u64,
    /// Memory of the forward pass.
    pub scratch_bytes: u64,
    pub loading_bytes: u64,
    pub warm_bytes: u64,
    pub warm_budget_bytes: u64,
    pub hot_bytes: u64,
    pub hot_budget_bytes: u64,
    /// What the system counts for the process; zero where it does not tell.
    pub resident_bytes: u64,
}

impl Manifest {
    /// The sum of the parts.
    pub fn used_bytes(&self) -> u64 {
        self.program_bytes
            + self.base_bytes
            + self.cache_bytes
            + self.scratch_bytes
            + self.loading_bytes
            + self.warm_bytes
            + self.hot_bytes
    }
}

/// Texts whose meaning is wanted as vectors. What the worker refuses: more than [`MOST_TEXTS`], a text above [`MOST_TEXT_BYTES`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Embed {
    /// Chosen by the asker, unique among its open requests on this connection.
    pub request: u64,
    pub texts: Vec<String>,
    pub deadline_ms: u64,
}

/// Texts of one [`Embed`].
pub const MOST_TEXTS: usize = 1024;
/// Bytes of one text of an [`Embed`]; what is beyond the encoder's own tokens is cut off and told.
pub const MOST_TEXT_BYTES: usize = 64 << 10;

/// One turn of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatMessage {
    /// `system`, `user` or `assistant`.
    pub role: String,
    pub content: String,
}

/// One generation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Generate {
    /// Chosen by the asker, unique among its open requests on this connection.
    pub request: u64,
    pub prompt: String,
    pub max_tokens: u32,
    /// Zero means greedy.
    pub temperature: f32,
    pub top_p: f32,
    pub seed: u64,
    /// The text ends before the first of these; a checkpoint's own end token always ends it.
    pub stop: Vec<String>,
    pub deadline_ms: u64,
}

/// How tokens are chosen beyond temperature and top-p, and what is told of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Options {
    /// Only so many of the likeliest are drawn from; zero means all.
    pub top_k: u32,
    /// Only those are drawn from that are at least so likely, measured by the likeliest.
    pub min_p: f32,
    /// Logits of tokens that came lately are divided by it, negative ones multiplied; 1 changes nothing.
    pub repetition_penalty: f32,
    /// How many tokens are "lately".
    pub repetition_window: u32,
    /// Tell each token's likelihood, and so many of the likeliest beside it, by [`InferenceEvent::Likelihoods`].
    pub likelihoods: Option<u8>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            top_k: 0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            repetition_window: 64,
            likelihoods: None,
        }
    }
}

/// What the inference-worker answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum InferenceEvent {
    /// The loaded model, or why none is loaded.
    Described(Result<Description, InferenceFault>),
    /// A piece of text as it is decoded; pieces join to the final text.
    Text {
        request: u64,
        text: String,
    },
    Done {
        request: u64,
        text: String,
        finish: Finish,
        prompt_tokens: u32,
        generated_tokens: u32,
        elapsed_ms: u64,
    },
    Failed {
        request: u64,
        fault: InferenceFault,
    },
    /// Of tokens as they are chosen, before the text that they make.
    Likelihoods {
        request: u64,
        tokens: Vec<Likelihood>,
    },
    Adapters {
        request: u64,
        answer: Result<AdapterAnswer, InferenceFault>,
    },
    /// The loaded encoder, or why none is loaded.
    EmbedderDescribed(Result<Embedder, InferenceFault>),
    /// One embedding for each text, in their order.
    Embedded {
        request: u64,
        embeddings: Vec<Embedding>,
        elapsed_ms: u64,
    },
    Figures(Figures),
    Serving,
    /// How many conversations are open.
    Yielded {
        open: u32,
    },
    /// What the model's own card says that it can do (`docs/mind.md`); none where it says nothing.
    Abilities(Option<Vec<String>>),
    /// The server that stands by (`docs/backends.md`), or why it cannot be used; none where there is none.
    ServerDescribed(Option<Result<Description, InferenceFault>>),
}

/// What a worker does and has done since it was started.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// While a model is being loaded.
    pub loading: Option<Loading>,
    /// Requests for texts that are being written, and that wait for their turn.
    pub active: u32,
    pub waiting: u32,
    /// Requests that have ended: at the text's own end, at the most tokens, at the deadline, cancelled, by a fault (embeddings as well).
    pub stopped: u64,
    pub full: u64,
    pub late: u64,
    pub cancelled: u64,
    pub failed: u64,
    /// Tokens of prompts that the model read, those that were found in the cache instead, and tokens that it wrote.
    pub read_tokens: u64,
    pub shared_tokens: u64,
    pub written_tokens: u64,
    /// Of the last ten seconds, since the first token in them.
    pub written_per_second: f32,
    /// The cache: what it can hold, what requests hold, and what is kept for the next.
    pub cache_tokens: u64,
    pub held_tokens: u64,
    pub kept_tokens: u64,
    /// Requests for embeddings that are not answered; texts and their tokens that were encoded.
    pub embed_waiting: u32,
    pub texts: u64,
    pub text_tokens: u64,
    /// Where adapters are.
    pub tiers: Vec<TierFigures>,
}

/// How far loading is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loading {
    pub loaded_bytes: u64,
    pub all_bytes: u64,
}

/// One of the places where adapters can be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TierFigures {
    pub name: String,
    pub adapters: u32,
    pub bytes: u64,
    pub budget_bytes: u64,
}

/// A text as a point: texts that mean the like lie near each other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Embedding {
    /// What the encoder read, the marks at begin and end counted.
    pub tokens: u32,
    /// The text had more tokens than the encoder reads.
    pub is_cut: bool,
    /// Of length 1, so that the scalar product of two is their cosine.
    pub vector: Vec<f32>,
}

/// The loaded encoder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Embedder {
    pub name: String,
    /// Numbers of a vector.
    pub dimension: u32,
    /// Of one text; what is beyond is cut off.
    pub most_tokens: u32,
    pub path: String,
    pub load_ms: u64,
}

/// How likely the model held a token where it was chosen, whatever the temperature: natural logarithms.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Likelihood {
    pub token: u32,
    pub logprob: f32,
    /// The likeliest tokens, best first.
    pub top: Vec<(u32, f32)>,
}

/// The loaded model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    pub name: String,
    pub parameters: u64,
    pub context_tokens: u32,
    pub path: String,
    pub load_ms: u64,
}

/// Why generation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Finish {
    /// The model's end token or a stop sequence.
    Stop,
    MaxTokens,
    Deadline,
    Cancelled,
}

/// A stable word (`loading`, `model_missing`, `model_damaged`, `prompt_too_long`, `busy`, `bad_request`, `engine`, `server`, `no_grammar`; of adapters
/// `adapter_refused`, `adapter_missing`, `adapter_damaged`, `adapter_conflict`, `adapter_too_large`; of an [`Embed`] also `no_embedder`,
/// `deadline`, `cancelled`) and a sentence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct InferenceFault {
    pub reason: String,
    pub message: String,
}

impl InferenceFault {
    pub fn new(reason: impl Into<String>, message: impl Into<String>) -> InferenceFault {
        InferenceFault {
            reason: reason.into(),
            message: message.into(),
        }
    }
}

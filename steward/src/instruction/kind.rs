//! What an instruction can replace.

/// A kind of plank.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Kernel,
    InferenceWorker,
    MethodWorker,
    /// The base model: a folder, or a GGUF file.
    Model,
}

impl Kind {
    pub const ALL: [Kind; 4] = [
        Kind::Kernel,
        Kind::InferenceWorker,
        Kind::MethodWorker,
        Kind::Model,
    ];

    /// The word of `target.kind`; copies in `planks/` begin with it, and what `--version` of a program prints.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Kernel => "kernel",
            Kind::InferenceWorker => "inference-worker",
            Kind::MethodWorker => "method-worker",
            Kind::Model => "model",
        }
    }

    pub fn of(word: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.word() == word)
    }
}

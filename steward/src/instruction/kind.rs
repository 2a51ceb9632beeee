//! What an instruction can replace.

/// A kind of plank.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Kernel,
    InferenceWorker,
    MethodWorker,
    /// The base model: a folder, or a GGUF file.
    Model,
    /// The Python environment of methods: a file of requirements for pip.
    Python,
    /// The steward itself.
    Steward,
    /// A kernel of another image format, which converts the image.
    ImageFormat,
}

impl Kind {
    pub const ALL: [Kind; 7] = [
        Kind::Kernel,
        Kind::InferenceWorker,
        Kind::MethodWorker,
        Kind::Model,
        Kind::Python,
        Kind::Steward,
        Kind::ImageFormat,
    ];

    /// The word of `target.kind`; copies in `planks/` begin with it, and what `--version` of a program prints.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Kernel => "kernel",
            Kind::InferenceWorker => "inference-worker",
            Kind::MethodWorker => "method-worker",
            Kind::Model => "model",
            Kind::Python => "python",
            Kind::Steward => "steward",
            Kind::ImageFormat => "image-format",
        }
    }

    /// Which plank it replaces.
    pub fn plank(self) -> Kind {
        match self {
            Kind::ImageFormat => Kind::Kernel,
            kind => kind,
        }
    }

    pub fn of(word: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.word() == word)
    }
}

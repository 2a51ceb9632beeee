//! Which planks are started: the programs beside the steward's own and what the configuration names, or what an upgrade has put in their place.

use std::path::{Path, PathBuf};

use shared::handover::Environment;
use shared::home::Home;
use tracing::{info, warn};

use crate::choice::Choice;
use crate::configuration::Configuration;
use crate::environment;
use crate::instruction::Kind;

/// All planks, as paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    pub kernel: PathBuf,
    pub inference: PathBuf,
    pub method_worker: PathBuf,
    pub model: PathBuf,
    /// Whether an upgrade chose the model, so that what the configuration says of its contents is of another one.
    pub is_model_chosen: bool,
    /// The steward's own program.
    pub steward: PathBuf,
    /// Folder and contents of the Python environment of methods, when there is one.
    pub python: Option<(PathBuf, Environment)>,
}

impl Chosen {
    /// Reads the choices; one that cannot be followed is left, with a warning. `programs` is the folder of the steward's own program.
    pub fn load(home: &Home, configuration: &Configuration, programs: &Path) -> Chosen {
        let of = |kind: Kind, built_in: PathBuf, configured: Option<String>| {
            choice(home, kind, configured).unwrap_or(built_in)
        };
        let program = |kind: Kind| of(kind, programs.join(kind.word()), None);
        let model = choice(home, Kind::Model, configured_model(configuration));
        Chosen {
            kernel: program(Kind::Kernel),
            inference: program(Kind::InferenceWorker),
            method_worker: program(Kind::MethodWorker),
            steward: std::env::current_exe().unwrap_or_default(),
            is_model_chosen: model.is_some(),
            python: choice(home, Kind::Python, None).and_then(|folder| {
                let loaded = environment::load(&folder);
                let loaded = loaded.inspect_err(|error| warn!("{error}; methods have no packages"));
                Some((folder, loaded.ok()?))
            }),
            model: model.unwrap_or_else(|| configuration.inference.model.clone()),
        }
    }

    /// Empty for a Python environment where there is none.
    pub fn path(&self, kind: Kind) -> &Path {
        match kind {
            Kind::Kernel | Kind::ImageFormat => &self.kernel,
            Kind::InferenceWorker => &self.inference,
            Kind::MethodWorker => &self.method_worker,
            Kind::Model => &self.model,
            Kind::Steward => &self.steward,
            Kind::Python => self.python.as_ref().map_or(Path::new(""), |(folder, _)| folder),
        }
    }

    /// What the digest of such a plank is of.
    pub fn judged_by(&self, kind: Kind) -> PathBuf {
        match kind {
            Kind::Python => environment::requirements(self.path(kind)),
            _ => self.path(kind).to_path_buf(),
        }
    }

    /// The same with another plank of that kind.
    pub fn with(&self, kind: Kind, path: &Path) -> Chosen {
        let mut chosen = self.clone();
        let place = match kind {
            Kind::Kernel | Kind::ImageFormat => &mut chosen.kernel,
            Kind::InferenceWorker => &mut chosen.inference,
            Kind::MethodWorker => &mut chosen.method_worker,
            Kind::Steward => &mut chosen.steward,
            Kind::Model => {
                chosen.is_model_chosen = true;
                &mut chosen.model
            }
            Kind::Python => {
                let loaded = environment::load(path).inspect_err(|error| warn!("{error}"));
                chosen.python = loaded.ok().map(|environment| (path.to_path_buf(), environment));
                return chosen;
            }
        };
        *place = path.to_path_buf();
        chosen
    }
}

/// What a choice of a model stands in the place of.
pub fn configured_model(configuration: &Configuration) -> Option<String> {
    Some(configuration.inference.model.display().to_string())
}

fn choice(home: &Home, kind: Kind, configured: Option<String>) -> Option<PathBuf> {
    let word = kind.word();
    let choice = Choice::load(home, kind).unwrap_or_else(|error| {
        warn!("{error}; what is configured, or lies beside the steward, is started");
        None
    })?;
    if choice.instead_of != configured {
        info!("steward.toml names another {word} than when an upgrade replaced it: the upgrade is left");
        return None;
    }
    choice
        .verified(home, kind)
        .inspect_err(|error| warn!("{error}; what is configured, or lies beside the steward, is started"))
        .ok()
}

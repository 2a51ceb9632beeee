//! The signature of a method: its selector and its parameters.

use ruff_python_ast::StmtFunctionDef;

use crate::verdict;

/// One parameter after `self`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// The name, as a sender may use it.
    pub name: String,
    /// Whether a sender may leave it out.
    pub has_default: bool,
}

/// What a sender must know of a method.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// The selector: the name of the `def`.
    pub name: String,
    /// The parameters in order, without `self`.
    pub parameters: Vec<Parameter>,
    /// How many of them have no default.
    pub required: usize,
}

impl Signature {
    /// Whether a message with this many arguments fits.
    pub fn accepts(&self, arguments: usize) -> bool {
        (self.required..=self.parameters.len()).contains(&arguments)
    }

    pub(crate) fn of(function: &StmtFunctionDef) -> Signature {
        let parameters: Vec<Parameter> = function
            .parameters
            .args
            .iter()
            .skip(1)
            .map(|parameter| Parameter {
                name: parameter.name().to_string(),
                has_default: parameter.default.is_some(),
            })
            .collect();
        let required = parameters
            .iter()
            .filter(|parameter| !parameter.has_default)
            .count();
        Signature {
            name: function.name.to_string(),
            parameters,
            required,
        }
    }
}

/// The signature of a method file: a source that is within bounds, parses, and is exactly one plain `def` with `self` first
/// and plain parameters. `None` otherwise. Says nothing about whether the body may run; that is [`crate::check`].
pub fn signature(source: &str) -> Option<Signature> {
    verdict::signature_of(source)
}

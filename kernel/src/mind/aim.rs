//! What a mission is for: a method that is missing, or a view of an object (`docs/views.md`).
//!
//! A view's mission is durable as any other. Its record's selector is `view:` and the workflow that is wanted, or `view:any`: no selector of a
//! message has a colon.

use crate::image::record::Mission;

const VIEW: &str = "view";
/// Stands for the first workflow of the kind that the model can do.
const ANY: &str = "any";

/// What a mission is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aim<'a> {
    /// `method` or `view`: what a workflow's slot `kind` says.
    pub kind: &'a str,
    /// The only workflow that may be taken.
    pub workflow: Option<&'a str>,
    /// What the brief tells as its selector.
    pub selector: &'a str,
}

impl<'a> Aim<'a> {
    pub fn of(mission: &'a Mission) -> Aim<'a> {
        match mission.selector.split_once(':') {
            Some((kind, workflow)) => Aim {
                kind,
                workflow: (workflow != ANY).then_some(workflow),
                selector: kind,
            },
            None => Aim {
                kind: "method",
                workflow: None,
                selector: &mission.selector,
            },
        }
    }

    pub fn is_view(&self) -> bool {
        self.kind == VIEW
    }
}

/// What the record of a view's mission has for its selector.
pub fn view_selector(workflow: Option<&str>) -> String {
    format!("{VIEW}:{}", workflow.unwrap_or(ANY))
}

//! The codex as a file, and what a file must be to be one.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// Raised when the file changes incompatibly.
pub const FORMAT: u32 = 1;
/// Longer than anybody writes.
const MOST_BYTES: usize = 1 << 20;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Codex {
    pub format: u32,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub personas: Vec<Persona>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dynamics: Vec<Dynamic>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub covenants: Vec<Covenant>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Persona {
    pub name: String,
    pub title: String,
    pub mission: String,
    pub voice: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adapter: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pillars: Vec<Pillar>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pillar {
    pub name: String,
    pub prompt: String,
}

/// A row of the dynamics matrix.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dynamic {
    pub archetype: String,
    pub lead: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub facets: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub on_demand: Vec<String>,
    pub weaver: String,
    pub auditor: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Covenant {
    pub name: String,
    pub binds: Vec<String>,
    /// A JSON document.
    pub schema: String,
}

impl Codex {
    /// Reads and checks a file; the error says where and what.
    pub fn read(text: &str) -> Result<Codex, String> {
        if text.len() > MOST_BYTES {
            return Err(format!(
                "a codex has at most {MOST_BYTES} bytes, and this has {}",
                text.len()
            ));
        }
        let codex: Codex = toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())?;
        codex.check()?;
        Ok(codex)
    }

    /// As a person would read it.
    pub fn write(&self) -> Result<String, String> {
        toml::to_string_pretty(self).map_err(|error| error.to_string())
    }

    fn check(&self) -> Result<(), String> {
        if self.format != FORMAT {
            return Err(format!(
                "its format is {}, and this kernel reads {FORMAT}",
                self.format
            ));
        }
        if self.personas.is_empty() {
            return Err("it has no personas; somebody must think".into());
        }
        let mut facets = BTreeSet::new();
        let mut names = BTreeSet::new();
        for persona in &self.personas {
            let name = &persona.name;
            if !is_name(name) {
                return Err(format!(
                    "{name:?} cannot name a persona: a letter, then a-z 0-9 _, at most 64"
                ));
            }
            if !names.insert(name.clone()) {
                return Err(format!("the persona {name} is there twice"));
            }
            for pillar in &persona.pillars {
                if !is_name(&pillar.name) {
                    return Err(format!(
                        "{:?} cannot name a pillar of {name}: a letter, then a-z 0-9 _, at most 64",
                        pillar.name
                    ));
                }
                if !facets.insert(format!("{name}.{}", pillar.name)) {
                    return Err(format!("the pillar {name}.{} is there twice", pillar.name));
                }
            }
        }
        for row in &self.dynamics {
            let archetype = &row.archetype;
            for name in [&row.lead, &row.weaver, &row.auditor] {
                if !names.contains(name) {
                    return Err(format!(
                        "the dynamic {archetype:?} names {name}, which is no persona of this codex"
                    ));
                }
            }
            for facet in row.facets.iter().chain(&row.on_demand) {
                if !facets.contains(facet) {
                    return Err(format!(
                        "the dynamic {archetype:?} names {facet}, which is no pillar of this codex; write PERSONA.PILLAR"
                    ));
                }
            }
        }
        if !self.covenants.is_empty() && !names.contains("alfred") {
            return Err("it has covenants and no persona alfred, who keeps them".into());
        }
        let mut known = BTreeSet::new();
        for covenant in &self.covenants {
            if !known.insert(&covenant.name) {
                return Err(format!("the covenant {:?} is there twice", covenant.name));
            }
            if covenant.binds.is_empty() {
                return Err(format!("the covenant {:?} binds nothing", covenant.name));
            }
        }
        Ok(())
    }
}

fn is_name(name: &str) -> bool {
    name.len() <= 64
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = r#"
format = 1
[[personas]]
name = "sage"
title = "t"
mission = "m"
voice = "v"
[[personas.pillars]]
name = "calm"
prompt = "p"
[[dynamics]]
archetype = "a"
lead = "sage"
facets = ["sage.calm"]
weaver = "sage"
auditor = "sage"
"#;

    #[test]
    fn what_is_written_is_read_as_the_same() {
        let codex = Codex::read(SMALL).unwrap();
        assert_eq!(Codex::read(&codex.write().unwrap()).unwrap(), codex);
    }

    #[test]
    fn mistakes_are_named() {
        for (wrong, right, told) in [
            ("format = 1", "format = 2", "its format is 2"),
            ("name = \"sage\"", "name = \"Sage\"", "cannot name a persona"),
            ("name = \"calm\"", "name = \"calm down\"", "cannot name a pillar"),
            ("lead = \"sage\"", "lead = \"oracle\"", "names oracle"),
            ("\"sage.calm\"", "\"sage.storm\"", "names sage.storm"),
            (
                "voice = \"v\"",
                "voice = \"v\"\ncolour = \"red\"",
                "unknown field `colour`",
            ),
        ] {
            let error = Codex::read(&SMALL.replace(wrong, right)).unwrap_err();
            assert!(error.contains(told), "{error}");
        }
        assert!(Codex::read("format = 1").unwrap_err().contains("no personas"));
    }
}

//! A slot of the bench's image that holds something else for a run, as a user would set it.

use std::fmt;

use shared::value::Value;

use super::home::BenchHome;
use crate::failure::Failure;
use crate::{literal, render};

#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    pub object: String,
    pub slot: String,
    pub value: Value,
}

impl Setting {
    /// Reads `OBJECT.SLOT=JSON`; the object's name may have points itself.
    pub fn read(text: &str) -> Result<Setting, Failure> {
        let (place, json) = text.split_once('=').unwrap_or((text, ""));
        let Some((object, slot)) = place.rsplit_once('.') else {
            return Err(Failure::usage(format!(
                "{text} names no slot of an object; a setting is written OBJECT.SLOT=JSON, such as pllm.candidates=16"
            )));
        };
        let (slot, value) = literal::slot(&format!("{slot}={json}"))?;
        let object = object.to_owned();
        Ok(Setting { object, slot, value })
    }

    /// Refused where the image has no such slot.
    pub fn apply(self, home: &mut BenchHome) -> Result<(), Failure> {
        let Setting { object, slot, value } = self;
        if home.inspect(&object)?.slot(&slot).is_none() {
            return Err(Failure::usage(format!(
                "{object} has no slot {slot} in this image: setting it would change nothing"
            )));
        }
        home.set(&object, &slot, value)
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}.{} = {}",
            self.object,
            self.slot,
            render::nested(&self.value)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_names_a_slot_of_an_object() {
        let setting = Setting::read("workflows.full.most_facets=[1, \"a=b\"]").unwrap();
        assert_eq!(setting.object, "workflows.full");
        assert_eq!(setting.slot, "most_facets");
        assert_eq!(setting.to_string(), "workflows.full.most_facets = [1, \"a=b\"]");
        for wrong in [
            "",
            "pllm",
            "pllm.candidates",
            "pllm.candidates=x",
            "pllm.=1",
            "=1",
        ] {
            assert!(Setting::read(wrong).is_err(), "{wrong}");
        }
    }
}

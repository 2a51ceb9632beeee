//! The part of JSON Schema (draft 2020-12) that `docs/upgrade.schema.json` uses, for the test that it and the code agree. A keyword that is not
//! known here fails the test.

use regex_lite::Regex;
use serde_json::Value;

pub struct Schema(Value);

impl Schema {
    pub fn new(text: &str) -> Schema {
        Schema(serde_json::from_str(text).unwrap())
    }

    pub fn is_valid(&self, document: &Value) -> bool {
        self.fits(&self.0, document)
    }

    fn fits(&self, schema: &Value, document: &Value) -> bool {
        let keywords = schema.as_object().unwrap();
        keywords
            .iter()
            .all(|(keyword, value)| self.keyword(keyword, value, schema, document))
    }

    fn keyword(&self, keyword: &str, value: &Value, schema: &Value, document: &Value) -> bool {
        let limit = value.as_f64().unwrap_or_default();
        let number = document.as_f64();
        match keyword {
            "$schema" | "$defs" | "title" | "description" => true,
            "$ref" => {
                let name = value.as_str().unwrap().strip_prefix("#/$defs/").unwrap();
                self.fits(&self.0["$defs"][name], document)
            }
            "oneOf" => {
                let fitting = value
                    .as_array()
                    .unwrap()
                    .iter()
                    .filter(|one| self.fits(one, document));
                fitting.count() == 1
            }
            "type" => match value.as_str().unwrap() {
                "object" => document.is_object(),
                "array" => document.is_array(),
                "string" => document.is_string(),
                "boolean" => document.is_boolean(),
                "integer" => {
                    document.is_i64() || document.is_u64() || number.is_some_and(|it| it.fract() == 0.0)
                }
                other => panic!("the type {other}"),
            },
            "const" => value == document,
            "enum" => value.as_array().unwrap().contains(document),
            "pattern" => document
                .as_str()
                .is_none_or(|text| Regex::new(value.as_str().unwrap()).unwrap().is_match(text)),
            "minimum" => number.is_none_or(|it| it >= limit),
            // Beyond 2^53 a float cannot tell.
            "maximum" => match (document.as_u64(), value.as_u64()) {
                (Some(it), Some(largest)) => it <= largest,
                _ => number.is_none_or(|it| it <= limit),
            },
            "required" => document.as_object().is_none_or(|map| {
                let mut keys = value.as_array().unwrap().iter();
                keys.all(|key| map.contains_key(key.as_str().unwrap()))
            }),
            "properties" => document.as_object().is_none_or(|map| {
                let mut known = value.as_object().unwrap().iter();
                known.all(|(key, schema)| map.get(key).is_none_or(|member| self.fits(schema, member)))
            }),
            "additionalProperties" => document.as_object().is_none_or(|map| {
                assert_eq!(*value, false);
                map.keys().all(|key| schema["properties"].get(key).is_some())
            }),
            "maxLength" => document
                .as_str()
                .is_none_or(|text| text.chars().count() as f64 <= limit),
            "minItems" => document.as_array().is_none_or(|list| list.len() as f64 >= limit),
            "maxItems" => document.as_array().is_none_or(|list| list.len() as f64 <= limit),
            "prefixItems" => document.as_array().is_none_or(|list| {
                let mut first = value.as_array().unwrap().iter().zip(list);
                first.all(|(schema, item)| self.fits(schema, item))
            }),
            "items" => document.as_array().is_none_or(|list| {
                let before = schema["prefixItems"].as_array().map_or(0, Vec::len);
                list.iter().skip(before).all(|item| self.fits(value, item))
            }),
            other => panic!("the keyword {other}"),
        }
    }
}

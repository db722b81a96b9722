//! The part of JSON Schema (2020-12) that the final answer of a chat agent is checked against.
//!
//! A schema that uses a keyword which is not enforced here is refused when it is read: by validation
//! when the agent is applied, and by the chat agent itself before any model is asked. Both use this
//! crate, so that an answer is never called valid on the strength of a rule that nobody checked.
#![forbid(unsafe_code)]

mod check;
#[cfg(test)]
mod tests;

use serde_json::Value;

use check::Check;

/// Deepest nesting of schemas and values.
const DEPTH: usize = 64;

/// Keywords that say nothing about validity.
const ANNOTATIONS: &[&str] = &[
    "$comment",
    "$id",
    "$schema",
    "default",
    "deprecated",
    "description",
    "examples",
    "readOnly",
    "title",
    "writeOnly",
];
/// Keywords that are enforced.
const ENFORCED: &[&str] = &[
    "$defs",
    "$ref",
    "additionalProperties",
    "allOf",
    "anyOf",
    "const",
    "definitions",
    "enum",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "items",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "not",
    "oneOf",
    "prefixItems",
    "properties",
    "required",
    "type",
    "uniqueItems",
];
const TYPES: &[&str] = &[
    "array", "boolean", "integer", "null", "number", "object", "string",
];

/// A schema that can be enforced in full.
#[derive(Debug, Clone)]
pub struct Schema {
    root: Value,
}

impl Schema {
    /// Takes a schema.
    ///
    /// # Errors
    /// A sentence that names the place, when a keyword is unknown, not enforced here, or malformed.
    pub fn new(root: Value) -> Result<Self, String> {
        let schema = Self { root };
        schema.inspect(&schema.root, "#", 0)?;
        Ok(schema)
    }

    /// The schema as JSON text.
    pub fn text(&self) -> String {
        self.root.to_string()
    }

    /// What is wrong with `value`, one sentence each; nothing when it is valid.
    pub fn violations(&self, value: &Value) -> Vec<String> {
        Check::all(&self.root, value)
    }

    fn inspect(&self, schema: &Value, at: &str, depth: usize) -> Result<(), String> {
        if depth > DEPTH {
            return Err(format!("{at}: schemas are nested more than {DEPTH} deep"));
        }
        let keywords = match schema {
            Value::Bool(_) => return Ok(()),
            Value::Object(keywords) => keywords,
            _ => return Err(format!("{at}: a schema is an object or a boolean")),
        };
        for (keyword, rule) in keywords {
            let at = format!("{at}/{keyword}");
            let wrong = |what: &str| Err(format!("{at}: expected {what}"));
            match keyword.as_str() {
                name if ANNOTATIONS.contains(&name) => {}
                "type" => {
                    let known = |t: &Value| t.as_str().is_some_and(|t| TYPES.contains(&t));
                    let fine = match rule {
                        Value::Array(types) => !types.is_empty() && types.iter().all(known),
                        single => known(single),
                    };
                    if !fine {
                        return wrong("a type or a list of types");
                    }
                }
                "enum" if rule.is_array() => {}
                "enum" => return wrong("a list"),
                "const" => {}
                "required" => {
                    if !rule
                        .as_array()
                        .is_some_and(|l| l.iter().all(Value::is_string))
                    {
                        return wrong("a list of names");
                    }
                }
                "properties" | "$defs" | "definitions" => {
                    let Value::Object(schemas) = rule else {
                        return wrong("an object of schemas");
                    };
                    for (name, schema) in schemas {
                        self.inspect(schema, &format!("{at}/{name}"), depth + 1)?;
                    }
                }
                "items" | "additionalProperties" | "not" => self.inspect(rule, &at, depth + 1)?,
                "allOf" | "anyOf" | "oneOf" | "prefixItems" => {
                    let Some(schemas) = rule.as_array().filter(|l| !l.is_empty()) else {
                        return wrong("a list of schemas");
                    };
                    for (index, schema) in schemas.iter().enumerate() {
                        self.inspect(schema, &format!("{at}/{index}"), depth + 1)?;
                    }
                }
                "minItems" | "maxItems" | "minLength" | "maxLength" | "minProperties"
                | "maxProperties" => {
                    if !rule.is_u64() {
                        return wrong("a whole number from 0");
                    }
                }
                "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" => {
                    if !rule.is_number() {
                        return wrong("a number");
                    }
                }
                "uniqueItems" => {
                    if !rule.is_boolean() {
                        return wrong("true or false");
                    }
                }
                "$ref" => {
                    let Some(reference) = rule.as_str() else {
                        return wrong("a reference");
                    };
                    if resolve(&self.root, reference).is_none() {
                        return Err(format!(
                            "{at}: {reference:?} leads nowhere; only references within the schema work"
                        ));
                    }
                }
                other => {
                    debug_assert!(!ENFORCED.contains(&other));
                    return Err(format!(
                        "{at}: the keyword {other:?} is not enforced; leave it out"
                    ));
                }
            }
        }
        Ok(())
    }
}

/// The schema that `#/…` points to.
fn resolve<'a>(root: &'a Value, reference: &str) -> Option<&'a Value> {
    let pointer = reference.strip_prefix('#')?;
    root.pointer(pointer)
        .filter(|s| s.is_object() || s.is_boolean())
}

//! The part of JSON Schema (2020-12) that a final answer is checked against.
//!
//! A schema that uses a keyword which is not enforced here is refused when it is read, before any
//! model is asked: an answer is never called valid on the strength of a rule that nobody checked.

use serde_json::{Map, Value};

/// Deepest nesting of schemas and values.
const DEPTH: usize = 64;
/// Most violations that are reported.
const VIOLATIONS: usize = 10;
/// Most steps of one check: references and alternatives can multiply.
const STEPS: usize = 200_000;

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
        let mut check = Check {
            root: &self.root,
            steps: STEPS,
            found: Vec::new(),
        };
        check.value(&self.root, value, "$", 0);
        check.found
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

struct Check<'a> {
    root: &'a Value,
    steps: usize,
    found: Vec<String>,
}

impl Check<'_> {
    fn report(&mut self, what: String) {
        if self.found.len() < VIOLATIONS {
            self.found.push(what);
        }
    }

    /// Whether `value` follows `schema`, without reporting why not.
    fn holds(&mut self, schema: &Value, value: &Value, at: &str, depth: usize) -> bool {
        let mut inner = Check {
            root: self.root,
            steps: self.steps,
            found: Vec::new(),
        };
        inner.value(schema, value, at, depth);
        self.steps = inner.steps;
        inner.found.is_empty()
    }

    fn value(&mut self, schema: &Value, value: &Value, at: &str, depth: usize) {
        if depth > DEPTH || self.steps == 0 {
            self.report(format!("{at}: the value is too deep or too large to check"));
            return;
        }
        self.steps -= 1;
        let rules = match schema {
            Value::Bool(true) => return,
            Value::Object(rules) => rules,
            _ => return self.report(format!("{at}: nothing is allowed here")),
        };
        for (keyword, rule) in rules {
            match keyword.as_str() {
                "type" if !has_type(rule, value) => {
                    self.report(format!(
                        "{at}: expected {}, found {}",
                        types(rule),
                        kind(value)
                    ));
                }
                "enum"
                    if !rule
                        .as_array()
                        .is_some_and(|l| l.iter().any(|v| same(v, value))) =>
                {
                    self.report(format!("{at}: expected one of {rule}"));
                }
                "const" if !same(rule, value) => self.report(format!("{at}: expected {rule}")),
                "$ref" => {
                    if let Some(target) = rule.as_str().and_then(|r| resolve(self.root, r)) {
                        self.value(target, value, at, depth + 1);
                    }
                }
                "not" => {
                    if self.holds(rule, value, at, depth + 1) {
                        self.report(format!("{at}: this is excluded by \"not\""));
                    }
                }
                "allOf" => {
                    for part in rule.as_array().into_iter().flatten() {
                        self.value(part, value, at, depth + 1);
                    }
                }
                "anyOf" | "oneOf" => {
                    let mut count = 0;
                    for part in rule.as_array().into_iter().flatten() {
                        count += usize::from(self.holds(part, value, at, depth + 1));
                    }
                    if count == 0 || (keyword == "oneOf" && count > 1) {
                        self.report(format!(
                            "{at}: {count} of the alternatives of {keyword} match"
                        ));
                    }
                }
                _ => {}
            }
        }
        match value {
            Value::Object(members) => self.object(rules, members, at, depth),
            Value::Array(items) => self.array(rules, items, at, depth),
            Value::String(text) => {
                let length = text.chars().count() as u64;
                self.count(rules, "Length", "characters", length, at);
            }
            Value::Number(number) => self.number(rules, number, at),
            Value::Null | Value::Bool(_) => {}
        }
    }

    fn object(
        &mut self,
        rules: &Map<String, Value>,
        members: &Map<String, Value>,
        at: &str,
        depth: usize,
    ) {
        for name in rules
            .get("required")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            if name
                .as_str()
                .is_some_and(|name| !members.contains_key(name))
            {
                self.report(format!("{at}: {name} is missing"));
            }
        }
        self.count(rules, "Properties", "members", members.len() as u64, at);
        let properties = rules.get("properties").and_then(Value::as_object);
        for (name, value) in members {
            let at = format!("{at}.{name}");
            if let Some(schema) = properties.and_then(|p| p.get(name)) {
                self.value(schema, value, &at, depth + 1);
            } else if let Some(schema) = rules.get("additionalProperties") {
                if schema == &Value::Bool(false) {
                    self.report(format!("{at}: there is no such member"));
                } else {
                    self.value(schema, value, &at, depth + 1);
                }
            }
        }
    }

    fn array(&mut self, rules: &Map<String, Value>, items: &[Value], at: &str, depth: usize) {
        self.count(rules, "Items", "items", items.len() as u64, at);
        let first = rules.get("prefixItems").and_then(Value::as_array);
        for (index, item) in items.iter().enumerate() {
            let schema = first
                .and_then(|f| f.get(index))
                .or_else(|| rules.get("items"));
            if let Some(schema) = schema {
                self.value(schema, item, &format!("{at}[{index}]"), depth + 1);
            }
        }
        if rules.get("uniqueItems") == Some(&Value::Bool(true)) {
            for (index, item) in items.iter().enumerate() {
                self.steps = self.steps.saturating_sub(index);
                if self.steps == 0 {
                    return self.report(format!("{at}: the value is too large to check"));
                }
                if items[..index].iter().any(|other| same(other, item)) {
                    self.report(format!("{at}[{index}]: the item is there twice"));
                }
            }
        }
    }

    fn number(&mut self, rules: &Map<String, Value>, number: &serde_json::Number, at: &str) {
        let Some(number) = number.as_f64() else {
            return;
        };
        type Rule = (&'static str, fn(f64, f64) -> bool, &'static str);
        const RULES: [Rule; 4] = [
            ("minimum", |n, limit| n >= limit, "at least"),
            ("maximum", |n, limit| n <= limit, "at most"),
            ("exclusiveMinimum", |n, limit| n > limit, "more than"),
            ("exclusiveMaximum", |n, limit| n < limit, "less than"),
        ];
        for (keyword, fine, words) in RULES {
            if let Some(limit) = rules.get(keyword).and_then(Value::as_f64)
                && !fine(number, limit)
            {
                self.report(format!("{at}: expected {words} {limit}, found {number}"));
            }
        }
    }

    /// Checks `minX` and `maxX`.
    fn count(&mut self, rules: &Map<String, Value>, of: &str, unit: &str, count: u64, at: &str) {
        let limit = |which: &str| rules.get(&format!("{which}{of}")).and_then(Value::as_u64);
        if let Some(least) = limit("min").filter(|least| count < *least) {
            self.report(format!(
                "{at}: expected at least {least} {unit}, found {count}"
            ));
        }
        if let Some(most) = limit("max").filter(|most| count > *most) {
            self.report(format!(
                "{at}: expected at most {most} {unit}, found {count}"
            ));
        }
    }
}

fn has_type(rule: &Value, value: &Value) -> bool {
    let is = |name: &Value| match name.as_str() {
        Some("integer") => {
            value.is_u64() || value.is_i64() || value.as_f64().is_some_and(|n| n.fract() == 0.0)
        }
        Some("number") => value.is_number(),
        Some(name) => name == kind(value),
        None => false,
    };
    match rule {
        Value::Array(types) => types.iter().any(is),
        single => is(single),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn types(rule: &Value) -> String {
    match rule {
        Value::Array(types) => {
            let names: Vec<_> = types.iter().filter_map(Value::as_str).collect();
            names.join(" or ")
        }
        single => single.as_str().unwrap_or_default().to_owned(),
    }
}

/// JSON Schema's equality: 1 and 1.0 are the same number, the order of members means nothing.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(x), Value::Number(y)) => {
            x == y || (x.is_f64() || y.is_f64()) && x.as_f64() == y.as_f64()
        }
        (Value::Array(x), Value::Array(y)) => {
            x.len() == y.len() && x.iter().zip(y).all(|(x, y)| same(x, y))
        }
        (Value::Object(x), Value::Object(y)) => {
            x.len() == y.len() && x.iter().all(|(k, v)| y.get(k).is_some_and(|w| same(v, w)))
        }
        _ => a == b,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(schema: Value, value: Value) -> Vec<String> {
        Schema::new(schema).unwrap().violations(&value)
    }

    #[test]
    fn each_keyword_accepts_and_refuses() {
        let tree = json!({"$ref": "#/$defs/tree", "$defs": {"tree": {
            "type": "object", "required": ["kids"], "additionalProperties": false,
            "properties": {"kids": {"type": "array", "items": {"$ref": "#/$defs/tree"}}}}}});
        for (schema, good, bad) in [
            (json!({"type": "integer"}), json!(2.0), json!(2.5)),
            (json!({"type": ["string", "null"]}), json!(null), json!(1)),
            (json!({"enum": ["a", 1]}), json!(1.0), json!("b")),
            (
                json!({"const": {"a": 1, "b": 2}}),
                json!({"b": 2, "a": 1}),
                json!({}),
            ),
            (json!({"required": ["a"]}), json!({"a": null}), json!({})),
            (
                json!({"properties": {"a": {"type": "string"}}}),
                json!({"b": 1}),
                json!({"a": 1}),
            ),
            (
                json!({"additionalProperties": false}),
                json!({}),
                json!({"a": 1}),
            ),
            (
                json!({"additionalProperties": {"type": "null"}}),
                json!({"a": null}),
                json!({"a": 1}),
            ),
            (
                json!({"items": {"minimum": 1}}),
                json!([1, 2]),
                json!([1, 0]),
            ),
            (
                json!({"prefixItems": [true], "items": false}),
                json!([1]),
                json!([1, 2]),
            ),
            (json!({"minItems": 1, "maxItems": 2}), json!([1]), json!([])),
            (json!({"uniqueItems": true}), json!([1, 2]), json!([1, 1.0])),
            (
                json!({"minLength": 2, "maxLength": 2}),
                json!("éé"),
                json!("é"),
            ),
            (
                json!({"exclusiveMinimum": 0, "exclusiveMaximum": 1}),
                json!(0.5),
                json!(0),
            ),
            (
                json!({"minProperties": 1, "maxProperties": 1}),
                json!({"a": 1}),
                json!({"a": 1, "b": 1}),
            ),
            (
                json!({"anyOf": [{"type": "null"}, {"type": "string"}]}),
                json!("x"),
                json!(1),
            ),
            (
                json!({"oneOf": [{"type": "number"}, {"type": "integer"}]}),
                json!(1.5),
                json!(1),
            ),
            (
                json!({"allOf": [{"minimum": 1}, {"maximum": 2}]}),
                json!(2),
                json!(3),
            ),
            (json!({"not": {"type": "string"}}), json!(1), json!("x")),
            (
                tree,
                json!({"kids": [{"kids": []}]}),
                json!({"kids": [{"kid": []}]}),
            ),
        ] {
            assert_eq!(
                check(schema.clone(), good),
                Vec::<String>::new(),
                "{schema}"
            );
            assert!(!check(schema.clone(), bad).is_empty(), "{schema}");
        }
    }

    #[test]
    fn a_rule_that_would_not_be_enforced_is_refused_up_front() {
        for (schema, place) in [
            (json!({"type": "string", "pattern": "^a"}), "#/pattern"),
            (
                json!({"properties": {"d": {"format": "date"}}}),
                "#/properties/d/format",
            ),
            (json!({"$ref": "https://example.com/s"}), "#/$ref"),
            (json!({"$ref": "#/$defs/none"}), "#/$ref"),
            (json!({"type": "text"}), "#/type"),
            (json!({"minItems": -1}), "#/minItems"),
            (json!({"if": true, "then": false}), "#/if"),
            (json!([1]), "#"),
        ] {
            let error = Schema::new(schema).unwrap_err();
            assert!(error.starts_with(place), "{error}");
        }
    }

    #[test]
    fn a_reference_to_itself_ends() {
        let violations = check(json!({"$ref": "#"}), json!(1));
        assert!(violations[0].contains("too deep"), "{violations:?}");
    }

    #[test]
    fn alternatives_that_multiply_end() {
        let fork = json!({"anyOf": [{"$ref": "#"}, {"$ref": "#"}]});
        assert!(!check(fork, json!(1)).is_empty());
    }
}

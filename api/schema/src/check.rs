//! Checking a value.

use serde_json::{Map, Value};

use super::{DEPTH, resolve};

/// Most violations that are reported.
const VIOLATIONS: usize = 10;
/// Most steps of one check: references and alternatives can multiply.
const STEPS: usize = 200_000;

pub(super) struct Check<'a> {
    root: &'a Value,
    steps: usize,
    found: Vec<String>,
}

impl<'a> Check<'a> {
    /// What is wrong with `value` under the schema `root`.
    pub(super) fn all(root: &'a Value, value: &Value) -> Vec<String> {
        let mut check = Self {
            root,
            steps: STEPS,
            found: Vec::new(),
        };
        check.value(root, value, "$", 0);
        check.found
    }

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
                "not" if self.holds(rule, value, at, depth + 1) => {
                    self.report(format!("{at}: this is excluded by \"not\""));
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

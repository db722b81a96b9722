//! Checks the shape of a document against the JSON Schema of its kind, and reports every fault rather
//! than the first: unknown and missing fields, wrong types, names that are no names.
//!
//! Serde decides in the end; this pass exists for its messages. It knows the parts of JSON Schema that
//! schemars writes for the kinds of this crate, and lets everything else pass.

use std::sync::LazyLock;

use serde_json::{Map, Value};

use crate::problem::{Problem, Report, suggestion};
use crate::{
    AgentSpec, CeilingSpec, Digest, FunctionName, Kind, Metadata, ModelSpec, Name, TenantName,
    ToolSpec,
};

static METADATA: LazyLock<Value> = LazyLock::new(schema::<Metadata>);
static AGENT: LazyLock<Value> = LazyLock::new(schema::<AgentSpec>);
static TOOL: LazyLock<Value> = LazyLock::new(schema::<ToolSpec>);
static CEILING: LazyLock<Value> = LazyLock::new(schema::<CeilingSpec>);
static MODEL: LazyLock<Value> = LazyLock::new(schema::<ModelSpec>);

fn schema<T: schemars::JsonSchema>() -> Value {
    schemars::schema_for!(T).to_value()
}

/// The JSON Schema of a kind's `spec`.
pub fn spec_schema(kind: Kind) -> &'static Value {
    match kind {
        Kind::Agent => &AGENT,
        Kind::Tool => &TOOL,
        Kind::Model => &MODEL,
        Kind::Ceiling => &CEILING,
    }
}

/// The JSON Schema of `metadata`.
pub fn metadata_schema() -> &'static Value {
    &METADATA
}

/// Checks a value of the document at `path` against one of the schemas above.
pub(crate) fn check(root: &Value, value: &Value, path: &str, problems: &mut Vec<Problem>) {
    Walk { root }.visit(root, value, &mut Report::at(path, problems));
}

struct Walk<'s> {
    root: &'s Value,
}

impl<'s> Walk<'s> {
    fn visit(&self, schema: &'s Value, value: &Value, report: &mut Report<'_>) {
        if let Some(reference) = schema["$ref"].as_str() {
            let name = reference.rsplit('/').next().unwrap_or_default();
            if let Value::String(text) = value
                && let Some(message) = misnamed(name, text)
            {
                return report.say(message);
            }
            return self.visit(&self.root["$defs"][name], value, report);
        }
        for keyword in ["anyOf", "oneOf"] {
            if let Some(choices) = schema[keyword].as_array() {
                return self.choose(choices, value, report);
            }
        }
        if let Some(allowed) = schema["enum"].as_array() {
            return one_of(allowed.iter(), value, report);
        }
        if schema["format"] == "uri"
            && let Value::String(text) = value
            && let Err(error) = url::Url::parse(text)
        {
            return report.say(format!("{text:?} is not a URL: {error}"));
        }
        if !fits(&schema["type"], value) {
            return report.say(mismatch(&schema["type"], value));
        }
        match value {
            Value::Object(map) => self.object(schema, map, report),
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.visit(&schema["items"], item, &mut report.index(index));
                }
            }
            Value::Number(number) => {
                let below = schema["minimum"]
                    .as_f64()
                    .is_some_and(|least| number.as_f64().is_some_and(|n| n < least));
                let most = match schema["format"].as_str() {
                    Some("uint16") => u64::from(u16::MAX),
                    Some("uint32") => u64::from(u32::MAX),
                    _ => u64::MAX,
                };
                if below || number.as_u64().is_some_and(|n| n > most) {
                    report.say(format!("{number} is out of range"));
                }
            }
            _ => {}
        }
    }

    fn object(&self, schema: &'s Value, map: &Map<String, Value>, report: &mut Report<'_>) {
        let properties = schema["properties"].as_object();
        for (key, value) in map {
            match properties.and_then(|known| known.get(key)) {
                Some(property) => self.visit(property, value, &mut report.field(key)),
                None if schema["additionalProperties"] == false => {
                    let known = properties
                        .into_iter()
                        .flat_map(Map::keys)
                        .map(String::as_str);
                    report.field(key).say(format!(
                        "there is no such field: {}",
                        suggestion(key, known)
                    ));
                }
                None => self.visit(
                    &schema["additionalProperties"],
                    value,
                    &mut report.field(key),
                ),
            }
        }
        let required = schema["required"].as_array().into_iter().flatten();
        for key in required.filter_map(Value::as_str) {
            if !map.contains_key(key) {
                report.field(key).say("is missing");
            }
        }
    }

    /// An optional value, an enumeration, or an object with one key that says which variant it is.
    fn choose(&self, choices: &'s [Value], value: &Value, report: &mut Report<'_>) {
        let null = |choice: &Value| choice["type"] == "null";
        if value.is_null() && choices.iter().any(null) {
            return;
        }
        let choices: Vec<&Value> = choices.iter().filter(|choice| !null(choice)).collect();
        if let [only] = choices[..] {
            return self.visit(only, value, report);
        }
        if choices.iter().all(|choice| !choice["const"].is_null()) {
            return one_of(choices.iter().map(|choice| &choice["const"]), value, report);
        }
        let variants: Map<String, Value> = choices
            .iter()
            .filter_map(|choice| choice["properties"].as_object())
            .flatten()
            .map(|(key, property)| (key.clone(), property.clone()))
            .collect();
        let names = || variants.keys().map(String::as_str);
        let Value::Object(map) = value else {
            let names: Vec<&str> = names().collect();
            return report.say(format!("expected one of the fields {}", names.join(", ")));
        };
        for key in map.keys().filter(|key| !variants.contains_key(*key)) {
            report.field(key).say(format!(
                "there is no such field: {}",
                suggestion(key, names())
            ));
        }
        let mut given = map.iter().filter(|(key, _)| variants.contains_key(*key));
        let (first, second) = (given.next(), given.next());
        match (first, second) {
            (Some((key, value)), None) => {
                let property = choices
                    .iter()
                    .map(|choice| &choice["properties"][key])
                    .find(|property| !property.is_null());
                if let Some(property) = property {
                    self.visit(property, value, &mut report.field(key));
                }
            }
            (Some(_), Some(_)) => {
                let names: Vec<&str> = names().collect();
                report.say(format!("give one of {}, not several", names.join(", ")));
            }
            (None, _) if map.is_empty() => {
                let names: Vec<&str> = names().collect();
                report.say(format!("give one of {}", names.join(", ")));
            }
            (None, _) => {}
        }
    }
}

fn one_of<'v>(
    allowed: impl Iterator<Item = &'v Value> + Clone,
    value: &Value,
    report: &mut Report<'_>,
) {
    if allowed.clone().any(|choice| choice == value) {
        return;
    }
    let names = allowed.filter_map(Value::as_str);
    match value {
        Value::String(text) => {
            report.say(format!(
                "{text:?} is not known: {}",
                suggestion(text, names)
            ));
        }
        _ => report.say(format!(
            "expected one of {}",
            names.collect::<Vec<_>>().join(", ")
        )),
    }
}

/// Why a text is no name of the type that the schema calls `definition`.
fn misnamed(definition: &str, text: &str) -> Option<String> {
    match definition {
        "Name" => text.parse::<Name>().err().map(|error| error.to_string()),
        "TenantName" => text
            .parse::<TenantName>()
            .err()
            .map(|error| error.to_string()),
        "FunctionName" => text
            .parse::<FunctionName>()
            .err()
            .map(|error| error.to_string()),
        "Digest" => text.parse::<Digest>().err().map(|error| error.to_string()),
        _ => None,
    }
}

fn fits(types: &Value, value: &Value) -> bool {
    let fits_one = |name: &str| match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "string" => value.is_string(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => true,
    };
    match types {
        Value::String(name) => fits_one(name),
        Value::Array(names) => names.iter().filter_map(Value::as_str).any(fits_one),
        _ => true,
    }
}

fn mismatch(types: &Value, value: &Value) -> String {
    let wanted = match types {
        Value::String(name) => name.as_str(),
        Value::Array(names) => names
            .iter()
            .filter_map(Value::as_str)
            .next()
            .unwrap_or_default(),
        _ => "",
    };
    if value.is_null() {
        return "has no value: give it one, or remove the field".to_owned();
    }
    let (wanted, hint) = match (wanted, value) {
        ("string", Value::Bool(_) | Value::Number(_)) => ("text", ": put it in quotes"),
        ("string", _) => ("text", ""),
        ("array", _) => ("a list", ": start each entry with \"- \""),
        ("object", _) => ("fields", ""),
        ("boolean", _) => ("true or false", ""),
        ("integer", _) => ("a whole number", ""),
        ("number", _) => ("a number", ""),
        _ => ("something else", ""),
    };
    let found = match value {
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "fields".to_owned(),
        other => other.to_string(),
    };
    format!("expected {wanted}, found {found}{hint}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn say(kind: Kind, spec: Value) -> Vec<String> {
        let mut problems = Vec::new();
        check(spec_schema(kind), &spec, "spec", &mut problems);
        problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_fault_is_reported_at_once() {
        let spec = json!({
            "instruction": "x",
            "model": {"name": "Big_Model", "temperature": "hot"},
            "grants": {"tools": [{"name": "fs", "function": []}, {}], "clock": true, "http": {}},
            "component": {"image": "a", "digest": "sha256:12"},
            "limits": {"memoryBytes": -1},
            "parameters": [{"name": "port", "value": 8080}]
        });
        assert_eq!(
            say(Kind::Agent, spec),
            [
                "spec.instruction: there is no such field: did you mean \"instructions\"?",
                "spec.model.name: \"Big_Model\" is not a valid name: use 1 to 63 lower-case letters, \
                 digits and '-', starting and ending with a letter or digit",
                "spec.model.temperature: expected a number, found \"hot\"",
                "spec.grants.tools[0].function: there is no such field: did you mean \"functions\"?",
                "spec.grants.tools[1].name: is missing",
                "spec.grants.clock: there is no such field: did you mean \"clocks\"?",
                "spec.grants.http: expected a list, found fields: start each entry with \"- \"",
                "spec.component.digest: \"sha256:12\" is not a digest: expected sha256: and 64 lower-case hexadecimal digits",
                "spec.limits.memoryBytes: -1 is out of range",
                "spec.parameters[0].value: expected text, found 8080: put it in quotes",
            ]
        );
    }

    #[test]
    fn variants_and_enumerations_are_told() {
        assert_eq!(
            say(Kind::Model, json!({"provider": {"openai": {"model": "m"}}})),
            ["spec.provider.openai: there is no such field: did you mean \"openAi\"?"]
        );
        assert_eq!(
            say(
                Kind::Model,
                json!({"provider": {"openAi": {"modl": "m", "addresses": "any"}}})
            ),
            [
                "spec.provider.openAi.modl: there is no such field: did you mean \"model\"?",
                "spec.provider.openAi.addresses: \"any\" is not known: use one of public, private",
                "spec.provider.openAi.model: is missing",
            ]
        );
        assert_eq!(
            say(
                Kind::Tool,
                json!({"mcp": {"url": "nowhere"}, "grants": null})
            ),
            [
                "spec.mcp.url: \"nowhere\" is not a URL: relative URL without a base",
                "spec.grants: has no value: give it one, or remove the field",
            ]
        );
    }

    #[test]
    fn what_serde_takes_is_not_refused() {
        let spec = json!({
            "instructions": "x", "model": {"name": "m", "temperature": 1},
            "outputSchema": {"type": "object", "x": null}, "loop": {"maxTurns": 3},
            "grants": {
                "tools": [{"name": "fs", "functions": ["read", "a.b"]}],
                "http": [{"host": "example.com", "scheme": "http", "port": 80,
                          "headers": [{"name": "x", "valueFrom": {"env": "KEY"}}]}],
                "folders": [{"name": "docs", "mount": "/docs", "access": "readWrite"}]
            },
            "component": null
        });
        assert_eq!(say(Kind::Agent, spec.clone()), Vec::<String>::new());
        assert!(serde_json::from_value::<AgentSpec>(spec).is_ok());
    }
}

//! One resource in full, for people.

use serde_json::Value;

use super::{Style, safe};

/// The `Ready` condition: its status, and where it is not true, its message.
pub fn condition_summary(resource: &Value) -> (String, Style, String) {
    let conditions = resource["status"]["conditions"].as_array();
    let ready = conditions
        .into_iter()
        .flatten()
        .find(|c| c["type"] == "Ready");
    let Some(ready) = ready else {
        return ("Unknown".to_owned(), Style::Warn, String::new());
    };
    let status = ready["status"].as_str().unwrap_or("Unknown").to_owned();
    let good = status == "True";
    let other = conditions
        .into_iter()
        .flatten()
        .find(|c| c["status"] == "False");
    let message = other
        .and_then(|c| c["message"].as_str())
        .unwrap_or_default()
        .to_owned();
    (status, if good { Style::Good } else { Style::Bad }, message)
}

/// Everything about a resource: what it is, what holds, what it may do, what it offers.
pub fn describe(resource: &Value, color: bool) -> String {
    let mut out = String::new();
    let text = |value: &Value| match value {
        Value::String(text) => safe(text),
        Value::Null => String::new(),
        other => other.to_string(),
    };
    let mut field = |name: &str, value: String| {
        if !value.is_empty() {
            let label = format!("{:<13}", format!("{name}:"));
            out += &format!("{}{value}\n", Style::Faint.paint(&label, color));
        }
    };
    let (metadata, spec, status) = (
        &resource["metadata"],
        &resource["spec"],
        &resource["status"],
    );
    field("Kind", text(&resource["kind"]));
    field("Name", text(&metadata["name"]));
    field("Tenant", text(&metadata["namespace"]));
    field("Description", text(&spec["description"]));
    field("Generation", text(&metadata["generation"]));
    field("Created", text(&metadata["creationTimestamp"]));
    field("From file", text(&status["file"]));
    field("Component", text(&status["digest"]));
    out += &section("Conditions", color);
    for condition in status["conditions"].as_array().into_iter().flatten() {
        let holds = condition["status"] == "True";
        let style = match (holds, condition["type"] == "Ready") {
            (true, _) => Style::Good,
            (false, true) => Style::Bad,
            (false, false) => Style::Warn,
        };
        out += &format!(
            "  {} {}  {}\n",
            style.paint(if holds { "✓" } else { "✗" }, color),
            text(&condition["type"]),
            text(&condition["message"])
        );
    }
    let capabilities = super::grants::summary(resource);
    if !capabilities.is_empty() {
        out += &section("Capabilities", color);
        for (meaning, names, style) in capabilities {
            out += &format!("  {meaning}: {}\n", style.paint(&names, color));
        }
    }
    if let Some(grants) = status["effectiveGrants"]
        .as_object()
        .filter(|grants| !grants.is_empty())
    {
        out += &section("Grants", color);
        // By name: hosts and clusters keep the fields in an order of their own.
        let sorted: std::collections::BTreeMap<_, _> = grants.iter().collect();
        for (capability, granted) in sorted {
            match granted {
                Value::Array(entries) => {
                    for entry in entries {
                        out += &format!("  {capability}: {}\n", grant(entry));
                    }
                }
                other => out += &format!("  {capability}: {other}\n"),
            }
        }
    }
    if let Some(functions) = status["functions"].as_array().filter(|all| !all.is_empty()) {
        out += &section("Functions", color);
        for function in functions {
            let name = Style::Strong.paint(&text(&function["name"]), color);
            out += &format!("  {name}({})\n", arguments(&function["inputSchema"]));
            for line in text(&function["description"]).lines() {
                out += &format!("      {line}\n");
            }
        }
    }
    out
}

fn section(name: &str, color: bool) -> String {
    format!("{}\n", Style::Faint.paint(&format!("{name}:"), color))
}

/// A grant on one line, without the braces and quotes of JSON.
pub(super) fn grant(entry: &Value) -> String {
    let Some(fields) = entry.as_object() else {
        return safe(&entry.to_string());
    };
    let fields = fields.iter().map(|(name, value)| match value {
        Value::String(text) if name == "name" => text.clone(),
        Value::String(text) => format!("{name}={text}"),
        other => format!("{name}={other}"),
    });
    safe(&fields.collect::<Vec<_>>().join(" "))
}

/// The arguments of a function: `name: type`, with `?` where it may be left out.
fn arguments(schema: &Value) -> String {
    let required: Vec<&str> = schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let properties = schema["properties"].as_object().into_iter().flatten();
    let one = |(name, schema): (&String, &Value)| {
        let optional = if required.contains(&name.as_str()) {
            ""
        } else {
            "?"
        };
        let kind = match &schema["type"] {
            Value::String(kind) => kind.clone(),
            Value::Array(kinds) => kinds
                .iter()
                .filter_map(Value::as_str)
                .collect::<Vec<_>>()
                .join("|"),
            _ => "any".to_owned(),
        };
        format!("{name}{optional}: {kind}")
    };
    safe(&properties.map(one).collect::<Vec<_>>().join(", "))
}

//! What a resource may do, what not, and why: from its spec and its status, wherever it is kept.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::resource::grant;
use super::{Style, Table, safe};

/// What is asked, granted, given and refused, as the REST API of a host reports it.
pub fn report(resource: &Value) -> Value {
    let (metadata, status) = (&resource["metadata"], &resource["status"]);
    let or_empty = |value: &Value, empty: Value| {
        if value.is_null() {
            empty
        } else {
            value.clone()
        }
    };
    let mut report = json!({
        "kind": resource["kind"],
        "namespace": metadata["namespace"],
        "name": metadata["name"],
        "granted": or_empty(&resource["spec"]["grants"], json!({})),
        "refused": or_empty(&status["refused"], json!([])),
    });
    for field in ["asked", "effectiveGrants"] {
        if !status[field].is_null() {
            report[field] = status[field].clone();
        }
    }
    report
}

/// A report as a table. None where it is not known yet what the component asks for.
pub fn grants(report: &Value) -> Option<Table> {
    report.get("asked")?;
    let mut table = Table::new(["CAPABILITY", "TARGET", "GIVEN", "WHY NOT"]);
    for (capability, target) in entries(&report["effectiveGrants"]) {
        let cells = [capability, target].map(|text| (text, Style::Plain));
        let given = [
            ("yes".to_owned(), Style::Good),
            (String::new(), Style::Plain),
        ];
        table.row_uncut(cells.into_iter().chain(given));
    }
    for refusal in list(&report["refused"]) {
        let text = |field: &str| refusal[field].as_str().unwrap_or_default().to_owned();
        let why = match text("ceiling") {
            ceiling if ceiling.is_empty() => "asked for, not granted".to_owned(),
            ceiling => format!("ceiling {ceiling}"),
        };
        table.row_uncut([
            (text("capability"), Style::Plain),
            (text("target"), Style::Plain),
            ("no".to_owned(), Style::Bad),
            (why, Style::Plain),
        ]);
    }
    for capability in unused(report) {
        table.row_uncut([
            (capability, Style::Faint),
            (String::new(), Style::Plain),
            ("no".to_owned(), Style::Faint),
            ("granted, not asked for".to_owned(), Style::Faint),
        ]);
    }
    Some(table)
}

/// Capabilities in a few lines: meaning, names, style.
pub(super) fn summary(resource: &Value) -> Vec<(&'static str, String, Style)> {
    let report = report(resource);
    let used: BTreeSet<String> = entries(&report["effectiveGrants"])
        .into_iter()
        .map(|(capability, _)| capability)
        .collect();
    let refused = list(&report["refused"]);
    let text = |value: &Value| safe(value.as_str().unwrap_or_default());
    let asked = refused
        .iter()
        .filter(|refusal| refusal["ceiling"].is_null());
    let ceilings = refused
        .iter()
        .filter(|refusal| !refusal["ceiling"].is_null());
    let bounded = ceilings.map(|refusal| {
        let target = text(&refusal["target"]);
        let space = if target.is_empty() { "" } else { " " };
        let capability = text(&refusal["capability"]);
        format!(
            "{capability}{space}{target} (ceiling {})",
            text(&refusal["ceiling"])
        )
    });
    let join = |names: Vec<String>| names.join(", ");
    let lines = [
        (
            "granted and used",
            join(used.into_iter().collect()),
            Style::Good,
        ),
        (
            "asked, not granted",
            join(asked.map(|refusal| text(&refusal["capability"])).collect()),
            Style::Warn,
        ),
        ("refused by a ceiling", join(bounded.collect()), Style::Bad),
        ("granted, not asked", join(unused(&report)), Style::Faint),
    ];
    lines
        .into_iter()
        .filter(|(_, names, _)| !names.is_empty())
        .collect()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Each grant: its capability and what of it.
fn entries(grants: &Value) -> Vec<(String, String)> {
    let mut entries = Vec::new();
    for (capability, granted) in grants.as_object().into_iter().flatten() {
        match granted {
            Value::Array(all) => {
                entries.extend(all.iter().map(|entry| (capability.clone(), grant(entry))));
            }
            Value::Bool(true) => entries.push((capability.clone(), String::new())),
            _ => {}
        }
    }
    entries.sort();
    entries
}

/// Capabilities that are granted and that nobody asked for.
fn unused(report: &Value) -> Vec<String> {
    if report.get("asked").is_none() {
        return Vec::new();
    }
    let asked: BTreeSet<&str> = list(&report["asked"])
        .iter()
        .filter_map(Value::as_str)
        .collect();
    let granted: BTreeSet<String> = entries(&report["granted"])
        .into_iter()
        .map(|(capability, _)| capability)
        .collect();
    granted
        .into_iter()
        .filter(|capability| !asked.contains(capability.as_str()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_refused_and_unused_is_told() {
        let resource = json!({
            "kind": "Tool",
            "metadata": {"name": "t", "namespace": "default"},
            "spec": {"grants": {"http": [{"host": "a.test"}], "clocks": true, "session": true}},
            "status": {
                "asked": ["http", "clocks", "env"],
                "effectiveGrants": {"clocks": true},
                "refused": [
                    {"capability": "http", "target": "https://a.test/", "ceiling": "low"},
                    {"capability": "env"},
                ],
            },
        });
        let table = grants(&report(&resource)).unwrap().render(false);
        let lines: Vec<Vec<&str>> = table.lines().map(|l| l.split("  ").collect()).collect();
        let words = |line: &Vec<&str>| line.iter().map(|w| w.trim()).collect::<Vec<_>>().join("|");
        let lines: Vec<String> = lines.iter().map(words).collect();
        assert!(lines[1].starts_with("clocks|"), "{table}");
        assert!(
            table.contains("https://a.test/  no     ceiling low"),
            "{table}"
        );
        assert!(table.contains("asked for, not granted"), "{table}");
        assert!(table.contains("granted, not asked for"), "{table}");
        assert_eq!(lines.len(), 5, "{table}");
        let unknown = json!({"kind": "Tool", "spec": {}, "status": {}});
        assert!(grants(&report(&unknown)).is_none());
    }
}

//! Findings as Markdown.

use std::fmt::Write as _;

use serde_json::Value;

use crate::ringfence::agent::types::Part;

/// Something to look for.
pub struct Topic {
    pub title: &'static str,
    pub pattern: &'static str,
}

/// What was found on one topic.
pub struct Finding {
    title: &'static str,
    lines: Vec<String>,
    truncated: bool,
}

impl Finding {
    /// Reads the structured result of `text-search_find`.
    pub fn read(topic: &Topic, json: &str) -> Result<Self, String> {
        let value: Value = serde_json::from_str(json)
            .map_err(|error| format!("text-search_find did not answer with JSON: {error}"))?;
        let hits = value["hits"].as_array().ok_or("text-search_find gave no list of hits")?;
        let lines = hits
            .iter()
            .map(|hit| {
                let text = |name: &str| hit[name].as_str().unwrap_or_default().trim().to_owned();
                format!("{}:{}: {}", text("path"), hit["line"], text("text"))
            })
            .collect();
        Ok(Self {
            title: topic.title,
            lines,
            truncated: value["truncated"] == Value::Bool(true),
        })
    }
}

/// The review without a model.
pub fn write(folder: &str, findings: &[Finding]) -> String {
    let mut text = format!("# Review of {folder}\n");
    for finding in findings {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "\n## {} ({})", finding.title, finding.lines.len());
        for line in &finding.lines {
            let _ = writeln!(text, "- {line}");
        }
        if finding.truncated {
            text.push_str("- … and more\n");
        }
    }
    text
}

/// All the text of some content.
pub fn text_of(parts: &[Part]) -> String {
    let texts = parts.iter().filter_map(|part| match part {
        Part::Text(text) => Some(text.as_str()),
        _ => None,
    });
    texts.collect::<Vec<_>>().join("\n")
}

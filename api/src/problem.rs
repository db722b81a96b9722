//! What is wrong with a manifest, said so that it can be put right without another look at the docs.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One thing that is wrong with a manifest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// The resource, as `Kind tenant/name`, as far as it could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// Path of the field, for example `spec.grants.http[0].host`; empty for the whole document.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub field: String,
    /// What is wrong and what to do.
    pub message: String,
    /// Line in the text that the document was read from, counted from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
}

impl Problem {
    /// A problem with a field.
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            message: message.into(),
            ..Self::default()
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        if let Some(resource) = &self.resource {
            write!(f, "{resource}: ")?;
        }
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for Problem {}

/// Collects problems below one field.
pub(crate) struct Report<'a> {
    path: String,
    problems: &'a mut Vec<Problem>,
}

impl<'a> Report<'a> {
    /// Collects into `problems`, at `path`.
    pub(crate) fn at(path: impl Into<String>, problems: &'a mut Vec<Problem>) -> Self {
        Self {
            path: path.into(),
            problems,
        }
    }

    /// A problem with the field itself.
    pub(crate) fn say(&mut self, message: impl Into<String>) {
        self.problems.push(Problem::new(self.path.clone(), message));
    }

    /// Collects for a field below.
    pub(crate) fn field(&mut self, name: &str) -> Report<'_> {
        Report {
            path: join(&self.path, name),
            problems: self.problems,
        }
    }

    /// Collects for an element of a list.
    pub(crate) fn index(&mut self, index: usize) -> Report<'_> {
        Report {
            path: format!("{}[{index}]", self.path),
            problems: self.problems,
        }
    }
}

/// The path of a field below another.
pub(crate) fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

/// `; did you mean "…"?` when one of the known names is close to what was written, else the list.
pub(crate) fn suggestion<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    let lower = written.to_ascii_lowercase();
    let close = known
        .iter()
        .map(|name| {
            (
                strsim::damerau_levenshtein(&lower, &name.to_ascii_lowercase()),
                *name,
            )
        })
        .min()
        .filter(|(distance, name)| *distance <= 1 + name.len() / 4);
    match close {
        Some((_, name)) => format!("did you mean {name:?}?"),
        None if known.is_empty() => "remove it".to_owned(),
        None => format!("use one of {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closest_name_is_suggested() {
        let known = ["instructions", "model", "outputSchema"];
        assert_eq!(
            suggestion("instruction", known),
            "did you mean \"instructions\"?"
        );
        assert_eq!(
            suggestion("output_schema", known),
            "did you mean \"outputSchema\"?"
        );
        assert_eq!(
            suggestion("prompt", known),
            "use one of instructions, model, outputSchema"
        );
    }

    #[test]
    fn a_problem_reads_as_one_line() {
        let problem = Problem {
            resource: Some("Tool default/fs".to_owned()),
            line: Some(3),
            ..Problem::new("spec.mcp.url", "use http or https")
        };
        assert_eq!(
            problem.to_string(),
            "line 3: Tool default/fs: spec.mcp.url: use http or https"
        );
    }
}

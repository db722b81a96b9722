//! What commands print: tables for people, JSON and YAML for programs. Colour only on a terminal, and
//! never with `NO_COLOR`.

mod grants;
mod resource;
mod table;
mod trace;

use std::io::{IsTerminal as _, Write as _};

use anyhow::Result;
use clap::ValueEnum;
use serde_json::Value;

pub use grants::{grants, report};
pub use resource::{condition_summary, describe};
pub use table::Table;
pub use trace::{duration, trace};

/// How results are printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Table,
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}

/// Colours that mean something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// As it is.
    Plain,
    /// Good.
    Good,
    /// To be looked at.
    Warn,
    /// Bad.
    Bad,
    /// Less important.
    Faint,
    /// A heading.
    Strong,
}

impl Style {
    /// `text` in this style, where `color` is wanted.
    pub fn paint(self, text: &str, color: bool) -> String {
        let code = match self {
            Style::Plain => return text.to_owned(),
            Style::Good => "32",
            Style::Warn => "33",
            Style::Bad => "31",
            Style::Faint => "2",
            Style::Strong => "1",
        };
        if color {
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }
}

/// Whether standard output takes colour.
pub fn color() -> bool {
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
        || std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    !unwanted && std::io::stdout().is_terminal()
}

/// Prints a line, or as much text as there is. A reader that went away ends the program quietly.
pub fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| {
        if text.ends_with('\n') {
            Ok(())
        } else {
            out.write_all(b"\n")
        }
    });
    quiet(written.and_then(|()| out.flush()))
}

/// Prints text without a line end, at once.
pub fn print_piece(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    quiet(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
}

fn quiet(result: std::io::Result<()>) -> Result<()> {
    match result {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        other => Ok(other?),
    }
}

/// Prints a document as JSON or YAML. A list becomes several YAML documents, so that it can be applied.
pub fn document(value: &Value, format: Format) -> Result<()> {
    match (format, value.get("items").and_then(Value::as_array)) {
        (Format::Yaml, Some(items)) => {
            let documents: Result<Vec<String>> = items.iter().map(yaml).collect();
            print(&documents?.join("---\n"))
        }
        (Format::Yaml, None) => print(&yaml(value)?),
        _ => print(&serde_json::to_string_pretty(value)?),
    }
}

fn yaml(value: &Value) -> Result<String> {
    Ok(serde_saphyr::to_string(value)?)
}

/// Text from outside, safe for a terminal: control characters other than line ends and tabs are shown,
/// not obeyed.
pub fn safe(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            let shown: Vec<char> = match c {
                '\n' | '\t' => vec![c],
                c if c.is_control() => c.escape_default().collect(),
                c => vec![c],
            };
            shown
        })
        .collect()
}

/// Text from outside for standard output: made safe for a terminal, left as it is in a pipe.
pub fn outside(text: &str) -> String {
    if std::io::stdout().is_terminal() {
        safe(text)
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminals_are_not_given_orders() {
        assert_eq!(safe("a\u{1b}[2Jb\n"), "a\\u{1b}[2Jb\n");
    }

    #[test]
    fn colour_is_only_added_where_it_is_wanted() {
        assert_eq!(Style::Bad.paint("x", false), "x");
        assert_eq!(Style::Bad.paint("x", true), "\u{1b}[31mx\u{1b}[0m");
    }

    #[test]
    fn what_is_printed_as_yaml_reads_back() {
        let value =
            serde_json::json!({"a": "no", "b": ["1", 2], "c": {"d": "x: y"}, "e": "l1\nl2\n"});
        let back: Value = serde_saphyr::from_str(&yaml(&value).unwrap()).unwrap();
        assert_eq!(back, value);
    }
}

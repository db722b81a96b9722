//! Reading YAML into JSON values that remember their lines.
//!
//! YAML is read under a budget: depth, nodes, aliases and what aliases expand to are bounded, so a
//! small document cannot become a large one.

use std::collections::HashMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use serde_saphyr::{Options, Spanned};

use crate::MANIFEST_BYTES;
use crate::problem::{Problem, join};

/// Nested lists and maps of one document. Reading one takes some ten kilobytes of stack for each, of the
/// two megabytes that a thread has.
const DEPTH: usize = 32;
/// Values of one document, what aliases repeat included.
const NODES: usize = 100_000;

/// One YAML document.
pub(crate) struct Document {
    /// Its content.
    pub(crate) value: Value,
    lines: HashMap<String, u64>,
}

impl Document {
    /// The line of a field, or of the nearest field around it that was written down.
    pub(crate) fn line(&self, field: &str) -> Option<u64> {
        let mut path = field;
        loop {
            if let Some(line) = self.lines.get(path) {
                return Some(*line);
            }
            match path.rfind(['.', '[']) {
                Some(end) => path = &path[..end],
                None => return self.lines.get("").copied(),
            }
        }
    }
}

/// Reads a stream of documents, separated by `---`; empty ones are skipped. Text that is no YAML ends
/// the stream: what follows cannot be told apart from it.
pub(crate) fn documents(text: &str) -> impl Iterator<Item = Result<Document, Problem>> {
    let mut pieces = split(text).into_iter();
    let mut broken = false;
    std::iter::from_fn(move || {
        loop {
            if broken {
                return None;
            }
            let (first_line, piece) = pieces.next()?;
            match read(piece, first_line) {
                Ok(None) => {}
                Ok(Some(document)) => return Some(Ok(document)),
                Err(problem) => {
                    broken = true;
                    return Some(Err(problem));
                }
            }
        }
    })
}

/// Cuts the text at lines that start with `---`, which YAML allows nowhere but between documents (a
/// literal block would have to be indented). Each piece comes with the number of lines before it.
fn split(text: &str) -> Vec<(u64, &str)> {
    let mut pieces = Vec::new();
    let (mut start, mut before, mut at, mut line) = (0, 0, 0, 0);
    for row in text.split_inclusive('\n') {
        let marker = row
            .strip_prefix("---")
            .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']));
        if marker && at > start {
            pieces.push((before, &text[start..at]));
            (start, before) = (at, line);
        }
        at += row.len();
        line += 1;
    }
    pieces.push((before, &text[start..]));
    pieces
}

fn read(piece: &str, lines_before: u64) -> Result<Option<Document>, Problem> {
    let at = |line: u64, message: String| Problem {
        line: Some(lines_before + line.max(1)),
        ..Problem::new("", message)
    };
    if piece.len() > MANIFEST_BYTES {
        return Err(at(
            1,
            format!("a document may have at most {MANIFEST_BYTES} bytes"),
        ));
    }
    let node: Option<Node> =
        serde_saphyr::from_str_with_options(piece, options()).map_err(|error| {
            let line = error.location().map_or(1, |location| location.line());
            // The parser's own text starts with the position, relative to the piece.
            let text = error.without_snippet().to_string();
            let text = text
                .split_once(" at line ")
                .map_or(text.as_str(), |(message, _)| message);
            at(line, format!("not valid YAML: {text}"))
        })?;
    let Some(node) = node else { return Ok(None) };
    let mut lines = HashMap::new();
    let value = flatten(node, String::new(), lines_before, &mut lines);
    Ok((!value.is_null()).then_some(Document { value, lines }))
}

fn options() -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: DEPTH,
            max_nodes: NODES,
            max_events: 4 * NODES,
            max_aliases: 1_000,
            max_anchors: 1_000,
            max_documents: 2,
            max_merge_keys: 1_000,
            max_recorded_anchor_events: NODES,
            max_recorded_anchor_bytes: 4 * MANIFEST_BYTES,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: NODES,
            max_replay_stack_depth: 16,
        },
        strict_booleans: true,
        with_snippet: false,
    }
}

/// A value with its line.
struct Node {
    line: u64,
    content: Content,
}

enum Content {
    Scalar(Value),
    List(Vec<Node>),
    Map(Vec<(String, u64, Node)>),
}

fn flatten(node: Node, path: String, before: u64, lines: &mut HashMap<String, u64>) -> Value {
    let value = match node.content {
        Content::Scalar(value) => value,
        Content::List(items) => items
            .into_iter()
            .enumerate()
            .map(|(index, item)| flatten(item, format!("{path}[{index}]"), before, lines))
            .collect(),
        Content::Map(entries) => {
            let mut map = Map::new();
            for (key, line, value) in entries {
                let below = join(&path, &key);
                let value = flatten(value, below.clone(), before, lines);
                lines.insert(below, before + line);
                map.insert(key, value);
            }
            Value::Object(map)
        }
    };
    lines.entry(path).or_insert(before + node.line);
    value
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Content>::deserialize(deserializer)?;
        Ok(Self {
            line: spanned.referenced.line(),
            content: spanned.value,
        })
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ContentVisitor)
    }
}

struct ContentVisitor;

impl<'de> Visitor<'de> for ContentVisitor {
    type Value = Content;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Content, E> {
        Ok(Content::Scalar(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Content, E> {
        Ok(Content::Scalar(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Content, E> {
        Ok(Content::Scalar(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Content, E> {
        Number::from_f64(value)
            .map(|number| Content::Scalar(number.into()))
            .ok_or_else(|| E::custom("NaN and infinities are not allowed"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Content, E> {
        Ok(Content::Scalar(value.into()))
    }

    fn visit_unit<E>(self) -> Result<Content, E> {
        Ok(Content::Scalar(Value::Null))
    }

    fn visit_none<E>(self) -> Result<Content, E> {
        Ok(Content::Scalar(Value::Null))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Content, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Content, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Content::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Content, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = access.next_key::<Spanned<String>>()? {
            let value: Node = access.next_value()?;
            if entries.len() >= NODES {
                return Err(A::Error::custom("too many entries"));
            }
            entries.push((key.value, key.referenced.line(), value));
        }
        Ok(Content::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Vec<Document> {
        documents(text).map(Result::unwrap).collect()
    }

    #[test]
    fn fields_know_their_lines() {
        let documents = all("# note\na: 1\nb:\n  - c: x\n  - d:\n      e: true\n---\n---\nf: g\n");
        assert_eq!(documents.len(), 2);
        assert_eq!(
            documents[0].value,
            serde_json::json!({"a": 1, "b": [{"c": "x"}, {"d": {"e": true}}]})
        );
        for (field, line) in [
            ("a", 2),
            ("b", 3),
            ("b[0].c", 4),
            ("b[1].d.e", 6),
            ("b[1].x", 5),
        ] {
            assert_eq!(documents[0].line(field), Some(line), "{field}");
        }
        assert_eq!(documents[1].line("f"), Some(9));
    }

    #[test]
    fn only_true_and_false_are_truth_values() {
        let read = all("a: [no, y, on, 1e3, 8, null, 'true', true]");
        assert_eq!(
            read[0].value,
            serde_json::json!({"a": ["no", "y", "on", 1000.0, 8, null, "true", true]})
        );
    }

    #[test]
    fn broken_text_is_refused_with_its_line() {
        let problem = documents("a: 1\n---\nb: [1, 2\nc: 3\n")
            .find_map(Result::err)
            .unwrap();
        assert!(problem.message.starts_with("not valid YAML: "), "{problem}");
        assert!(
            problem.line.is_some_and(|line| (3..=5).contains(&line)),
            "{problem}"
        );
        assert!(!problem.message.contains("line"), "{problem}");
        assert!(
            documents("a: 1\na: 2\n").next().unwrap().is_err(),
            "a key given twice"
        );
        assert!(documents("a: .nan\n").next().unwrap().is_err());
    }

    #[test]
    fn anchors_work_and_their_expansion_is_bounded() {
        let documents_ = all("a: &x {k: 1}\nb: *x\nc:\n  <<: *x\n  l: 2\n");
        assert_eq!(
            documents_[0].value,
            serde_json::json!({"a": {"k": 1}, "b": {"k": 1}, "c": {"k": 1, "l": 2}})
        );
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..10 {
            let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
            bomb += &format!("a{level}: &a{level} [{aliases}]\n");
        }
        assert!(documents(&bomb).next().unwrap().is_err());
        let deep = "[".repeat(5_000);
        assert!(documents(&deep).next().unwrap().is_err());
    }
}

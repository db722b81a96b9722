//! Why a value did not fit its type, and where.

use std::borrow::Cow;
use std::fmt;

use serde_json::Value;

use crate::error::CallError;

/// One step into a JSON value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    /// Into an object.
    Key(Box<str>),
    /// Into an array.
    Index(usize),
}

/// Where in a JSON value something is; shown as a JSON pointer (RFC 6901).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JsonPath {
    /// Innermost first: a path is only built while an error returns through the levels.
    reversed: Vec<Segment>,
}

impl fmt::Display for JsonPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.reversed.is_empty() {
            return f.write_str("the whole value");
        }
        for segment in self.reversed.iter().rev() {
            match segment {
                Segment::Key(key) => write!(f, "/{}", key.replace('~', "~0").replace('/', "~1"))?,
                Segment::Index(index) => write!(f, "/{index}")?,
            }
        }
        Ok(())
    }
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Another type or value was there.
    #[error("expected {expected}, found {found}")]
    Expected {
        /// In words.
        expected: Cow<'static, str>,
        /// In words, shortened.
        found: String,
    },
    /// A member that has to be there is not.
    #[error("missing; expected {expected}")]
    Missing {
        /// In words.
        expected: Cow<'static, str>,
    },
    /// An object has a member that its type does not have.
    #[error("unknown; expected {expected}")]
    Unknown {
        /// The names that there are.
        expected: String,
    },
    /// The arguments are too large as component values.
    #[error("too large: arguments take more than {maximum} bytes as component values")]
    TooLarge {
        /// [`super::MAX_VALUE_BYTES`].
        maximum: usize,
    },
    /// The component returned something else than its type says.
    #[error("the component returned {found} where its type has {expected}")]
    Returned {
        /// In words.
        expected: Cow<'static, str>,
        /// In words.
        found: &'static str,
    },
}

/// A value does not fit its type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {fault}")]
pub struct CodecError {
    /// Where.
    pub path: JsonPath,
    /// What.
    pub fault: Fault,
}

impl CodecError {
    pub(super) fn key(mut self, key: &str) -> Self {
        self.path.reversed.push(Segment::Key(key.into()));
        self
    }

    pub(super) fn index(mut self, index: usize) -> Self {
        self.path.reversed.push(Segment::Index(index));
        self
    }

    pub(super) fn expected(expected: impl Into<Cow<'static, str>>, found: &Value) -> Self {
        Fault::Expected {
            expected: expected.into(),
            found: describe(found),
        }
        .into()
    }
}

impl From<Fault> for CodecError {
    fn from(fault: Fault) -> Self {
        Self {
            path: JsonPath::default(),
            fault,
        }
    }
}

impl From<CodecError> for CallError {
    fn from(error: CodecError) -> Self {
        match error.fault {
            Fault::Returned { .. } => CallError::Failed(error.to_string()),
            _ => CallError::Invalid(error.to_string()),
        }
    }
}

/// Characters of a value that an error repeats.
const SHOWN_CHARS: usize = 32;

/// A JSON value in a few words.
fn describe(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) if text.chars().nth(SHOWN_CHARS).is_some() => {
            let start: String = text.chars().take(SHOWN_CHARS).collect();
            format!("the string {start:?}…")
        }
        Value::String(text) => format!("the string {text:?}"),
        Value::Array(items) => format!("an array of {}", items.len()),
        Value::Object(_) => "an object".to_owned(),
    }
}

/// Names that an error lists before it says how many more there are.
const SHOWN_NAMES: usize = 16;

/// "one of `a`, `b`".
pub(super) fn one_of<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    let count = names.len();
    if count == 0 {
        return "nothing".to_owned();
    }
    let shown: Vec<String> = names
        .take(SHOWN_NAMES)
        .map(|name| format!("`{name}`"))
        .collect();
    let more = count.saturating_sub(SHOWN_NAMES);
    let rest = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    let list = shown.join(", ");
    if count == 1 {
        list
    } else {
        format!("one of {list}{rest}")
    }
}

//! What a function returned.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::message::Part;

/// What a function of any tool returned, whether it succeeded or failed by its own account.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FunctionResult {
    /// For models and people. Where there is a structured value, this is its text.
    pub content: Vec<Part>,
    /// An object that fits the function's output schema; only where it has one and succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub structured: Option<Value>,
    /// True when the function failed; `content` says why.
    #[serde(default)]
    pub is_error: bool,
}

impl FunctionResult {
    /// Success with text.
    pub fn text(text: impl Into<String>) -> Self {
        Self {
            content: vec![Part::Text(text.into())],
            structured: None,
            is_error: false,
        }
    }

    /// Failure with text.
    pub fn error(text: impl Into<String>) -> Self {
        Self {
            is_error: true,
            ..Self::text(text)
        }
    }

    /// Bytes of content, for limits and records. The structured value says the same again, so that it
    /// is not counted.
    pub fn size(&self) -> usize {
        self.content.iter().map(Part::size).sum()
    }
}

//! Conversations: the host's own form of `ringfence:agent/types`.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Who a message is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Instructions of the application.
    System,
    /// The person or program that asks.
    User,
    /// The model or agent that answers.
    Assistant,
    /// The result of a call.
    Tool,
}

/// Binary content with its media type (RFC 6838).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Blob {
    /// Media type, for example `image/png`.
    pub mime_type: String,
    /// The bytes; base64 in JSON.
    #[serde(with = "base64_bytes")]
    pub data: Bytes,
}

/// Body of an embedded resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ResourceBody {
    /// Text.
    Text(String),
    /// Anything else; base64 in JSON.
    #[serde(with = "base64_bytes")]
    Bytes(Bytes),
}

/// A document inside a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EmbeddedResource {
    /// Where it comes from.
    pub uri: String,
    /// Media type, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mime_type: Option<String>,
    /// The document.
    pub body: ResourceBody,
}

/// One piece of content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// Text.
    Text(String),
    /// A picture.
    Image(Blob),
    /// Sound.
    Audio(Blob),
    /// A document.
    Resource(EmbeddedResource),
}

impl Part {
    /// Bytes of content, for limits and records.
    pub fn size(&self) -> usize {
        match self {
            Part::Text(text) => text.len(),
            Part::Image(blob) | Part::Audio(blob) => blob.mime_type.len() + blob.data.len(),
            Part::Resource(resource) => {
                let body = match &resource.body {
                    ResourceBody::Text(text) => text.len(),
                    ResourceBody::Bytes(bytes) => bytes.len(),
                };
                resource.uri.len() + resource.mime_type.as_ref().map_or(0, String::len) + body
            }
        }
    }
}

/// A call that a model wants made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ToolCall {
    /// Identifies the call within its conversation.
    pub id: String,
    /// `TOOL_FUNCTION`.
    pub name: String,
    /// JSON text of one object.
    pub arguments: String,
}

/// What came of a [`ToolCall`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ToolResult {
    /// The `id` of the call.
    pub id: String,
    /// What the function returned, or the text of its error.
    pub content: Vec<Part>,
    /// True when the function failed.
    #[serde(default)]
    pub is_error: bool,
}

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Message {
    /// Who it is from.
    pub role: Role,
    /// Its content.
    #[serde(default)]
    pub content: Vec<Part>,
    /// Calls that an assistant turn asks for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCall>,
    /// Results that a tool turn brings.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tool_results: Vec<ToolResult>,
}

impl Message {
    /// A message of one text.
    pub fn text(role: Role, text: impl Into<String>) -> Self {
        Self {
            role,
            content: vec![Part::Text(text.into())],
            tool_calls: Vec::new(),
            tool_results: Vec::new(),
        }
    }

    /// Bytes of content, for limits and records.
    pub fn size(&self) -> usize {
        let content: usize = self.content.iter().map(Part::size).sum();
        let calls: usize = self
            .tool_calls
            .iter()
            .map(|c| c.id.len() + c.name.len() + c.arguments.len())
            .sum();
        let results: usize = self
            .tool_results
            .iter()
            .map(|r| r.id.len() + r.content.iter().map(Part::size).sum::<usize>())
            .sum();
        content + calls + results
    }
}

/// All the text of some content, in order.
pub fn text_of(parts: &[Part]) -> String {
    parts
        .iter()
        .filter_map(|part| match part {
            Part::Text(text) => Some(text.as_str()),
            Part::Resource(EmbeddedResource {
                body: ResourceBody::Text(text),
                ..
            }) => Some(text),
            _ => None,
        })
        .collect::<Vec<_>>()
        .join("\n")
}

mod base64_bytes {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use bytes::Bytes;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(data: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(data))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Bytes, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD
            .decode(text)
            .map(Bytes::from)
            .map_err(serde::de::Error::custom)
    }
}

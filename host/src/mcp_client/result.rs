//! Functions and results of MCP servers in the host's own form.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rmcp::model::{CallToolResult, ContentBlock, ResourceContents, Tool};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::MCP_FUNCTION_BYTES;
use crate::error::CallError;
use crate::function::FunctionResult;
use crate::message::{Blob, EmbeddedResource, Part, ResourceBody};

/// A function that a server offers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RemoteFunction {
    /// Its name, as the server has it.
    pub name: String,
    /// What it does, as the server says.
    pub description: String,
    /// JSON Schema of its arguments.
    pub input_schema: Value,
    /// JSON Schema of its structured result, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_schema: Option<Value>,
}

impl RemoteFunction {
    /// Takes over a function; nothing where it is too large.
    pub(super) fn new(tool: Tool) -> Option<Self> {
        let function = Self {
            name: tool.name.into_owned(),
            description: tool.description.unwrap_or_default().into_owned(),
            input_schema: Value::Object((*tool.input_schema).clone()),
            output_schema: tool
                .output_schema
                .map(|schema| Value::Object((*schema).clone())),
        };
        let schemas = function.input_schema.to_string().len()
            + function
                .output_schema
                .as_ref()
                .map_or(0, |s| s.to_string().len());
        let size = function.name.len() + function.description.len() + schemas;
        (size <= MCP_FUNCTION_BYTES).then_some(function)
    }
}

/// Takes over a result. A structured value that is no object has no place in the host's own form: its
/// text says the same.
pub(super) fn function_result(result: CallToolResult) -> Result<FunctionResult, CallError> {
    let is_error = result.is_error.unwrap_or(false);
    let content = result
        .content
        .into_iter()
        .map(part)
        .collect::<Result<_, _>>()?;
    let structured = result
        .structured_content
        .filter(|value| value.is_object() && !is_error);
    Ok(FunctionResult {
        content,
        structured,
        is_error,
    })
}

fn part(block: ContentBlock) -> Result<Part, CallError> {
    let bytes = |text: &str| {
        let decoded = STANDARD.decode(text);
        decoded.map(bytes::Bytes::from).map_err(|_| {
            CallError::Failed("the MCP server sent content that is not base64".to_owned())
        })
    };
    Ok(match block {
        ContentBlock::Text(text) => Part::Text(text.text),
        ContentBlock::Image(image) => Part::Image(Blob {
            data: bytes(&image.data)?,
            mime_type: image.mime_type,
        }),
        ContentBlock::Audio(audio) => Part::Audio(Blob {
            data: bytes(&audio.data)?,
            mime_type: audio.mime_type,
        }),
        ContentBlock::Resource(resource) => match resource.resource {
            ResourceContents::TextResourceContents {
                uri,
                mime_type,
                text,
                ..
            } => Part::Resource(EmbeddedResource {
                uri,
                mime_type,
                body: ResourceBody::Text(text),
            }),
            ResourceContents::BlobResourceContents {
                uri,
                mime_type,
                blob,
                ..
            } => {
                let body = ResourceBody::Bytes(bytes(&blob)?);
                Part::Resource(EmbeddedResource {
                    uri,
                    mime_type,
                    body,
                })
            }
            _ => return Err(unknown()),
        },
        // A link is no content: what is behind it needs a grant of its own.
        ContentBlock::ResourceLink(link) => Part::Text(format!("{} ({})", link.name, link.uri)),
        _ => return Err(unknown()),
    })
}

fn unknown() -> CallError {
    CallError::Failed(
        "the MCP server sent content of a kind that this host does not know".to_owned(),
    )
}

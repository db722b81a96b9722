//! Results and errors of calls in MCP's words.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rmcp::model::{CallToolResult, ContentBlock, ErrorData, MetaObject, ResourceContents};
use serde_json::json;

use crate::error::CallError;
use crate::function::FunctionResult;
use crate::message::{EmbeddedResource, Part, ResourceBody};

/// Key of a failed result's `_meta` that holds the typed error: `code`, and `detail` with, for a
/// denial, `capability`, `target`, `reason` and `policy`.
pub(super) const ERROR_META: &str = "ringfence.dev/error";

/// A function's result.
pub(super) fn result(result: FunctionResult) -> CallToolResult {
    let content = result.content.into_iter().map(block).collect();
    if result.is_error {
        // An error need not follow the output schema, so it is not offered as if it did.
        return CallToolResult::error(content);
    }
    let mut answer = CallToolResult::success(content);
    answer.structured_content = result.structured;
    answer
}

/// A call that failed. It is a result, not a protocol error, because clients show only results to the
/// model, which can then do something about it.
pub(super) fn failure(error: &CallError) -> CallToolResult {
    let mut meta = MetaObject::new();
    let detail = serde_json::to_value(error).unwrap_or_else(|_| json!({ "code": error.code() }));
    meta.0.insert(ERROR_META.to_owned(), detail);
    CallToolResult::error(vec![ContentBlock::text(error.to_string())]).with_meta(Some(meta))
}

/// There is no such function: the request cannot be routed, which is a protocol error.
pub(super) fn unknown(name: &str) -> ErrorData {
    let data = json!({ "code": "not-found", "name": name });
    ErrorData::invalid_params(format!("Unknown tool: {name}"), Some(data))
}

fn block(part: Part) -> ContentBlock {
    match part {
        Part::Text(text) => ContentBlock::text(text),
        Part::Image(blob) => ContentBlock::image(STANDARD.encode(&blob.data), blob.mime_type),
        Part::Audio(blob) => ContentBlock::audio(STANDARD.encode(&blob.data), blob.mime_type),
        Part::Resource(resource) => ContentBlock::resource(contents(resource)),
    }
}

fn contents(resource: EmbeddedResource) -> ResourceContents {
    let EmbeddedResource {
        uri,
        mime_type,
        body,
    } = resource;
    match body {
        ResourceBody::Text(text) => ResourceContents::TextResourceContents {
            uri,
            mime_type,
            text,
            meta: None,
        },
        ResourceBody::Bytes(bytes) => ResourceContents::BlobResourceContents {
            uri,
            mime_type,
            blob: STANDARD.encode(&bytes),
            meta: None,
        },
    }
}

/// The typed error of a failed result, as [`failure`] wrote it.
#[cfg(test)]
pub(super) fn error_code(result: &CallToolResult) -> Option<&str> {
    result
        .meta
        .as_ref()?
        .0
        .get(ERROR_META)?
        .get("code")
        .and_then(serde_json::Value::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Blob;

    #[test]
    fn every_kind_of_part_has_its_block() {
        let blob = |mime: &str| Blob {
            mime_type: mime.to_owned(),
            data: "ab".into(),
        };
        let resource = |body| {
            Part::Resource(EmbeddedResource {
                uri: "file:///a".to_owned(),
                mime_type: Some("text/plain".to_owned()),
                body,
            })
        };
        let answer = result(FunctionResult {
            content: vec![
                Part::Text("hello".to_owned()),
                Part::Image(blob("image/png")),
                Part::Audio(blob("audio/wav")),
                resource(ResourceBody::Text("t".to_owned())),
                resource(ResourceBody::Bytes("ab".into())),
            ],
            structured: Some(json!({ "n": 1 })),
            is_error: false,
        });
        let wire = serde_json::to_value(&answer).unwrap();
        assert_eq!(
            wire["content"],
            json!([
                { "type": "text", "text": "hello" },
                { "type": "image", "data": "YWI=", "mimeType": "image/png" },
                { "type": "audio", "data": "YWI=", "mimeType": "audio/wav" },
                { "type": "resource", "resource":
                    { "uri": "file:///a", "mimeType": "text/plain", "text": "t" } },
                { "type": "resource", "resource":
                    { "uri": "file:///a", "mimeType": "text/plain", "blob": "YWI=" } },
            ])
        );
        assert_eq!(wire["structuredContent"], json!({ "n": 1 }));
        assert_eq!(wire["isError"], json!(false));
    }

    #[test]
    fn a_denial_says_what_was_denied_and_is_no_not_found() {
        let answer = failure(&CallError::denied(
            "folders",
            "/etc",
            "the folder is not granted",
        ));
        assert_eq!(answer.is_error, Some(true));
        assert_eq!(error_code(&answer), Some("denied"));
        let wire = serde_json::to_value(&answer).unwrap();
        let detail = &wire["_meta"][ERROR_META]["detail"];
        assert_eq!(detail["capability"], "folders");
        assert_eq!(detail["target"], "/etc");
        assert_eq!(detail["reason"], "the folder is not granted");
        let text = wire["content"][0]["text"].as_str().unwrap();
        assert!(text.contains("denied") && text.contains("/etc"), "{text}");
        assert_eq!(unknown("x").code.0, -32602);
    }
}

//! What the providers' codecs share.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::types::{Completion, CompletionEvent, FinishReason, Usage};
use crate::error::CallError;
use crate::message::{Blob, Message, Part, ResourceBody, Role, ToolCall};

/// Calls of one answer.
pub const MAX_TOOL_CALLS: usize = 128;
/// Bytes of a whole answer, streamed or not.
pub const MODEL_RESPONSE_BYTES: usize = 16 << 20;

/// An answer that is being put together from pieces. Text and arguments together are bounded by
/// [`MODEL_RESPONSE_BYTES`], since the reader bounds what arrives.
#[derive(Debug, Default)]
pub(super) struct Assembly {
    pub(super) text: String,
    pub(super) calls: Vec<PartialCall>,
    pub(super) finish_reason: Option<FinishReason>,
    pub(super) usage: Usage,
    pub(super) model: String,
}

#[derive(Debug, Default)]
pub(super) struct PartialCall {
    pub(super) index: u64,
    pub(super) id: String,
    pub(super) name: String,
    pub(super) arguments: String,
}

impl Assembly {
    /// The call with this index of the provider's.
    pub(super) fn call(&mut self, index: u64) -> Result<&mut PartialCall, CallError> {
        let at = match self.calls.iter().position(|call| call.index == index) {
            Some(at) => at,
            None if self.calls.len() >= MAX_TOOL_CALLS => {
                return Err(CallError::limit("model-tool-calls", MAX_TOOL_CALLS as u64));
            }
            None => {
                self.calls.push(PartialCall {
                    index,
                    ..PartialCall::default()
                });
                self.calls.len() - 1
            }
        };
        self.calls
            .get_mut(at)
            .ok_or_else(|| malformed("a tool call is missing"))
    }

    /// Whole calls, then the end.
    pub(super) fn finish(self, fallback_model: &str) -> Result<Vec<CompletionEvent>, CallError> {
        let mut events = Vec::with_capacity(self.calls.len() + 1);
        let mut calls = Vec::with_capacity(self.calls.len());
        for (n, call) in self.calls.into_iter().enumerate() {
            let call = call.whole(n)?;
            events.push(CompletionEvent::ToolCall(call.clone()));
            calls.push(call);
        }
        let mut finish_reason = self.finish_reason.unwrap_or(FinishReason::Other);
        // Some endpoints say `stop` although they ask for calls.
        if !calls.is_empty() && finish_reason == FinishReason::Stop {
            finish_reason = FinishReason::ToolCalls;
        }
        let mut message = Message::text(Role::Assistant, self.text.clone());
        if self.text.is_empty() {
            message.content.clear();
        }
        message.tool_calls = calls;
        events.push(CompletionEvent::Finished(Completion {
            message,
            finish_reason,
            usage: self.usage,
            model: if self.model.is_empty() {
                fallback_model.to_owned()
            } else {
                self.model
            },
        }));
        Ok(events)
    }
}

impl PartialCall {
    fn whole(self, position: usize) -> Result<ToolCall, CallError> {
        if self.name.is_empty() {
            return Err(malformed("a tool call has no name"));
        }
        let arguments = match self.arguments.trim() {
            "" => "{}".to_owned(),
            _ => self.arguments,
        };
        Ok(ToolCall {
            // Some local endpoints send none; the conversation needs one.
            id: if self.id.is_empty() {
                format!("call_{position}")
            } else {
                self.id
            },
            name: self.name,
            arguments,
        })
    }
}

pub(super) fn malformed(what: &str) -> CallError {
    CallError::Failed(format!(
        "the model's endpoint sent a malformed answer: {what}"
    ))
}

/// JSON text that a caller has to get right.
pub(super) fn parse_schema(what: &str, text: &str) -> Result<Value, CallError> {
    match serde_json::from_str::<Value>(text) {
        Ok(value) if value.is_object() => Ok(value),
        Ok(_) => Err(CallError::Invalid(format!("{what} is not a JSON object"))),
        Err(error) => Err(CallError::Invalid(format!("{what} is not JSON: {error}"))),
    }
}

pub(super) fn base64(blob: &Blob) -> String {
    STANDARD.encode(&blob.data)
}

pub(super) fn data_url(mime_type: &str, data: &[u8]) -> String {
    format!("data:{mime_type};base64,{}", STANDARD.encode(data))
}

/// A text document as the model reads it.
pub(super) fn document(uri: &str, text: &str) -> String {
    format!("Document {uri}:\n{text}")
}

/// Texts of several parts in one. Documents count as text, other parts do not.
pub(super) fn text_of(parts: &[Part]) -> String {
    let texts = parts.iter().filter_map(|part| match part {
        Part::Text(text) => Some(text.clone()),
        Part::Resource(resource) => match &resource.body {
            ResourceBody::Text(text) => Some(document(&resource.uri, text)),
            ResourceBody::Bytes(_) => None,
        },
        Part::Image(_) | Part::Audio(_) => None,
    });
    texts.collect::<Vec<_>>().join("\n")
}

/// A count that a provider reports.
pub(super) fn count(value: &Value, pointer: &str) -> Option<u64> {
    value.pointer(pointer).and_then(Value::as_u64)
}

/// The message of a provider's error body, shortened.
pub(super) fn error_message(body: &[u8]) -> Option<String> {
    let value: Value = serde_json::from_slice(body).ok()?;
    let text = ["/error/message", "/message", "/error", "/detail"]
        .iter()
        .find_map(|pointer| value.pointer(pointer).and_then(Value::as_str))?;
    Some(text.chars().take(512).collect())
}

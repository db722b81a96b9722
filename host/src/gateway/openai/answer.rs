//! Chat completion responses as they are sent, whole or in chunks.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use crate::message::{Part, ResourceBody, ToolCall};
use crate::model::{FinishReason, Usage};

/// What all pieces of one answer have in common.
#[derive(Debug, Clone)]
pub(super) struct Head {
    pub(super) id: String,
    created: u64,
    pub(super) model: String,
}

impl Head {
    /// `run` identifies the run that answers, `model` is what the caller asked for.
    pub(super) fn new(run: &impl std::fmt::Display, model: &str) -> Self {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Self {
            id: format!("chatcmpl-{run}"),
            created: now.as_secs(),
            model: model.to_owned(),
        }
    }

    fn object<T>(
        &self,
        object: &'static str,
        choices: Vec<T>,
        usage: Option<WireUsage>,
    ) -> Object<'_, T> {
        Object {
            id: &self.id,
            object,
            created: self.created,
            model: &self.model,
            choices,
            usage,
        }
    }

    /// A whole answer.
    pub(super) fn whole(
        &self,
        content: Option<String>,
        calls: Vec<ToolCall>,
        finish: &'static str,
        usage: Usage,
    ) -> impl Serialize {
        let message = WireMessage {
            role: "assistant",
            content,
            refusal: None,
            tool_calls: wire_calls(calls, false),
        };
        let choice = WholeChoice {
            index: 0,
            message,
            logprobs: None,
            finish_reason: finish,
        };
        self.object("chat.completion", vec![choice], Some(usage.into()))
    }

    /// A piece of an answer.
    pub(super) fn chunk(&self, delta: Delta, finish: Option<&'static str>) -> impl Serialize {
        let choice = ChunkChoice {
            index: 0,
            delta,
            logprobs: None,
            finish_reason: finish,
        };
        self.object("chat.completion.chunk", vec![choice], None)
    }

    /// The chunk that counts tokens.
    pub(super) fn usage(&self, usage: Usage) -> impl Serialize {
        self.object::<ChunkChoice>("chat.completion.chunk", Vec::new(), Some(usage.into()))
    }
}

#[derive(Serialize)]
struct Object<'a, T> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    choices: Vec<T>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<WireUsage>,
}

#[derive(Serialize)]
struct WholeChoice {
    index: u32,
    message: WireMessage,
    logprobs: Option<()>,
    finish_reason: &'static str,
}

#[derive(Serialize)]
struct WireMessage {
    role: &'static str,
    content: Option<String>,
    refusal: Option<()>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<WireCall>,
}

#[derive(Serialize)]
struct ChunkChoice {
    index: u32,
    delta: Delta,
    logprobs: Option<()>,
    finish_reason: Option<&'static str>,
}

/// What a chunk adds.
#[derive(Default, Serialize)]
pub(super) struct Delta {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<WireCall>,
}

impl Delta {
    /// The first one, which has to name the role.
    pub(super) fn first() -> Self {
        Self {
            role: Some("assistant"),
            content: Some(String::new()),
            ..Self::default()
        }
    }

    /// More text.
    pub(super) fn text(text: String) -> Self {
        Self {
            content: Some(text),
            ..Self::default()
        }
    }

    /// The call of that index, whole.
    pub(super) fn call(index: usize, call: ToolCall) -> Self {
        let mut calls = wire_calls(vec![call], true);
        for call in &mut calls {
            call.index = Some(index);
        }
        Self {
            tool_calls: calls,
            ..Self::default()
        }
    }
}

#[derive(Serialize)]
struct WireCall {
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<usize>,
    id: String,
    #[serde(rename = "type")]
    kind: &'static str,
    function: WireFunction,
}

#[derive(Serialize)]
struct WireFunction {
    name: String,
    arguments: String,
}

fn wire_calls(calls: Vec<ToolCall>, indexed: bool) -> Vec<WireCall> {
    calls
        .into_iter()
        .enumerate()
        .map(|(index, call)| WireCall {
            index: indexed.then_some(index),
            id: call.id,
            kind: "function",
            function: WireFunction {
                name: call.name,
                arguments: call.arguments,
            },
        })
        .collect()
}

#[derive(Serialize)]
struct WireUsage {
    prompt_tokens: u64,
    completion_tokens: u64,
    total_tokens: u64,
    prompt_tokens_details: PromptDetails,
    completion_tokens_details: CompletionDetails,
}

#[derive(Serialize)]
struct PromptDetails {
    cached_tokens: u64,
}

#[derive(Serialize)]
struct CompletionDetails {
    reasoning_tokens: u64,
}

impl From<Usage> for WireUsage {
    fn from(usage: Usage) -> Self {
        Self {
            prompt_tokens: usage.input_tokens,
            completion_tokens: usage.output_tokens,
            total_tokens: usage.input_tokens + usage.output_tokens,
            prompt_tokens_details: PromptDetails {
                cached_tokens: usage.cached_input_tokens,
            },
            completion_tokens_details: CompletionDetails {
                reasoning_tokens: usage.reasoning_tokens,
            },
        }
    }
}

/// OpenAI's word for why an answer ended.
pub(super) fn finish_word(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Stop | FinishReason::Other => "stop",
        FinishReason::Length => "length",
        FinishReason::ToolCalls => "tool_calls",
        FinishReason::ContentFilter => "content_filter",
    }
}

/// Content as the one string that an answer here has: text as it is, pictures as Markdown with a
/// `data:` URL, anything else as a note of what is left out.
pub(super) fn as_text(parts: &[Part]) -> String {
    let mut pieces = Vec::new();
    for part in parts {
        match part {
            Part::Text(text) => pieces.push(text.clone()),
            Part::Image(blob) => {
                let data = STANDARD.encode(&blob.data);
                pieces.push(format!("![image](data:{};base64,{data})", blob.mime_type));
            }
            Part::Audio(blob) => {
                pieces.push(format!(
                    "[audio, {}, {} bytes]",
                    blob.mime_type,
                    blob.data.len()
                ));
            }
            Part::Resource(resource) => match &resource.body {
                ResourceBody::Text(text) => pieces.push(text.clone()),
                ResourceBody::Bytes(bytes) => {
                    pieces.push(format!("[{}, {} bytes]", resource.uri, bytes.len()));
                }
            },
        }
    }
    pieces.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn call() -> ToolCall {
        ToolCall {
            id: "c".to_owned(),
            name: "f".to_owned(),
            arguments: "{}".to_owned(),
        }
    }

    #[test]
    fn chunks_carry_what_the_clients_need() {
        let head = Head::new(&"r", "m");
        let first = serde_json::to_value(head.chunk(Delta::first(), None)).unwrap();
        assert_eq!(
            first["choices"][0]["delta"],
            json!({ "role": "assistant", "content": "" })
        );
        assert_eq!(first["choices"][0]["finish_reason"], json!(null));
        let calls = serde_json::to_value(head.chunk(Delta::call(1, call()), None)).unwrap();
        assert_eq!(
            calls["choices"][0]["delta"]["tool_calls"],
            json!([{ "index": 1, "id": "c", "type": "function",
                     "function": { "name": "f", "arguments": "{}" } }])
        );
        let usage = serde_json::to_value(head.usage(Usage::default())).unwrap();
        assert_eq!(
            (&usage["choices"], &usage["usage"]["total_tokens"]),
            (&json!([]), &json!(0))
        );
    }

    #[test]
    fn a_whole_answer_has_no_indices_in_its_calls() {
        let head = Head::new(&"r", "m");
        let whole = head.whole(None, vec![call()], "tool_calls", Usage::default());
        let whole = serde_json::to_value(whole).unwrap();
        let message = &whole["choices"][0]["message"];
        assert_eq!(message["content"], json!(null));
        assert!(message["tool_calls"][0].get("index").is_none());
    }
}

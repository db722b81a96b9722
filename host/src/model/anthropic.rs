//! Anthropic's messages. Pure.

use serde_json::{Value, json};

use super::codec::{
    Assembly, base64, count, document, error_message, malformed, parse_schema, text_of,
};
use super::types::{Completion, CompletionEvent, CompletionRequest, FinishReason, ToolChoice};
use crate::error::CallError;
use crate::message::{Blob, Message, Part, ResourceBody, Role};

/// Version of the API that is spoken.
pub(super) const VERSION: &str = "2023-06-01";
/// Tokens to produce at most where the caller does not say: the API demands a number.
pub(super) const DEFAULT_MAX_TOKENS: u32 = 4096;

/// The body of a request. The API knows no seed: it is left out.
pub(super) fn request(
    request: &CompletionRequest,
    model: &str,
    stream: bool,
) -> Result<Value, CallError> {
    let system: Vec<String> = request
        .messages
        .iter()
        .filter(|message| message.role == Role::System)
        .map(|message| text_of(&message.content))
        .collect();
    let mut messages: Vec<(&str, Vec<Value>)> = Vec::new();
    for message in &request.messages {
        let (role, blocks) = match message.role {
            Role::System => continue,
            Role::User => ("user", blocks(&message.content)?),
            Role::Assistant => ("assistant", assistant(message)?),
            Role::Tool => ("user", results(message)?),
        };
        // Turns have to alternate.
        match messages.last_mut() {
            Some((last, earlier)) if *last == role => earlier.extend(blocks),
            _ => messages.push((role, blocks)),
        }
    }
    let messages: Vec<Value> = messages
        .into_iter()
        .filter(|(_, content)| !content.is_empty())
        .map(|(role, content)| json!({"role": role, "content": content}))
        .collect();
    let options = &request.options;
    let mut body = json!({
        "model": model,
        "max_tokens": options.max_tokens.unwrap_or(DEFAULT_MAX_TOKENS),
        "messages": messages,
    });
    if !system.is_empty() {
        body["system"] = json!(system.join("\n\n"));
    }
    if stream {
        body["stream"] = json!(true);
    }
    if !request.tools.is_empty() {
        let tools = request.tools.iter().map(|tool| {
            let what = format!("the schema of function {:?}", tool.name);
            Ok(json!({
                "name": tool.name,
                "description": tool.description,
                "input_schema": parse_schema(&what, &tool.parameters)?,
            }))
        });
        body["tools"] = tools.collect::<Result<Vec<_>, CallError>>()?.into();
        body["tool_choice"] = match &request.tool_choice {
            ToolChoice::Auto => json!({"type": "auto"}),
            ToolChoice::None => json!({"type": "none"}),
            ToolChoice::Required => json!({"type": "any"}),
            ToolChoice::Function(name) => json!({"type": "tool", "name": name}),
        };
    }
    if let Some(temperature) = options.temperature {
        body["temperature"] = json!(temperature);
    }
    if let Some(top_p) = options.top_p {
        body["top_p"] = json!(top_p);
    }
    if !options.stop.is_empty() {
        body["stop_sequences"] = json!(options.stop);
    }
    if let Some(schema) = &options.response_schema {
        let schema = parse_schema("the response schema", schema)?;
        body["output_config"] = json!({"format": {"type": "json_schema", "schema": schema}});
    }
    Ok(body)
}

fn assistant(message: &Message) -> Result<Vec<Value>, CallError> {
    let mut out = blocks(&message.content)?;
    for call in &message.tool_calls {
        let what = format!("the arguments of call {:?}", call.id);
        let input = parse_schema(&what, &call.arguments)?;
        out.push(json!({"type": "tool_use", "id": call.id, "name": call.name, "input": input}));
    }
    Ok(out)
}

fn results(message: &Message) -> Result<Vec<Value>, CallError> {
    let results = message.tool_results.iter().map(|result| {
        Ok(json!({
            "type": "tool_result",
            "tool_use_id": result.id,
            "content": blocks(&result.content)?,
            "is_error": result.is_error,
        }))
    });
    results.collect()
}

fn blocks(parts: &[Part]) -> Result<Vec<Value>, CallError> {
    // The API refuses empty text.
    let parts = parts
        .iter()
        .filter(|part| !matches!(part, Part::Text(text) if text.is_empty()));
    parts.map(block).collect()
}

fn block(part: &Part) -> Result<Value, CallError> {
    Ok(match part {
        Part::Text(text) => json!({"type": "text", "text": text}),
        Part::Image(blob) => json!({"type": "image", "source": {
            "type": "base64", "media_type": blob.mime_type, "data": base64(blob),
        }}),
        Part::Audio(_) => {
            return Err(CallError::Invalid("this model takes no audio".to_owned()));
        }
        Part::Resource(resource) => match &resource.body {
            ResourceBody::Text(text) => {
                json!({"type": "text", "text": document(&resource.uri, text)})
            }
            ResourceBody::Bytes(data) => {
                let mime_type = resource.mime_type.clone().unwrap_or_default();
                if mime_type != "application/pdf" {
                    return Err(CallError::Invalid(format!(
                        "this model takes binary documents as application/pdf, not {mime_type:?}"
                    )));
                }
                let blob = Blob {
                    mime_type,
                    data: data.clone(),
                };
                json!({"type": "document", "source": {
                    "type": "base64", "media_type": blob.mime_type, "data": base64(&blob),
                }})
            }
        },
    })
}

fn finish_reason(text: &str) -> FinishReason {
    match text {
        "end_turn" | "stop_sequence" => FinishReason::Stop,
        "max_tokens" | "model_context_window_exceeded" => FinishReason::Length,
        "tool_use" => FinishReason::ToolCalls,
        "refusal" => FinishReason::ContentFilter,
        _ => FinishReason::Other,
    }
}

/// Counts are reported in pieces, each the whole sum so far.
fn read_usage(assembly: &mut Assembly, usage: &Value) {
    if let Some(fresh) = count(usage, "/input_tokens") {
        let cached = count(usage, "/cache_read_input_tokens").unwrap_or(0);
        let written = count(usage, "/cache_creation_input_tokens").unwrap_or(0);
        assembly.usage.input_tokens = fresh + cached + written;
        assembly.usage.cached_input_tokens = cached;
    }
    if let Some(output) = count(usage, "/output_tokens") {
        assembly.usage.output_tokens = output;
    }
}

/// A whole response.
pub(super) fn response(body: &[u8], model: &str) -> Result<Completion, CallError> {
    let value: Value = serde_json::from_slice(body).map_err(|_| malformed("it is not JSON"))?;
    let content = value["content"]
        .as_array()
        .ok_or_else(|| malformed("it has no content"))?;
    let mut assembly = Assembly::default();
    for (index, block) in content.iter().enumerate() {
        match block["type"].as_str() {
            Some("text") => assembly
                .text
                .push_str(block["text"].as_str().unwrap_or_default()),
            Some("tool_use") => {
                let call = assembly.call(index as u64)?;
                block["id"]
                    .as_str()
                    .unwrap_or_default()
                    .clone_into(&mut call.id);
                block["name"]
                    .as_str()
                    .unwrap_or_default()
                    .clone_into(&mut call.name);
                call.arguments = block["input"].to_string();
            }
            _ => {}
        }
    }
    read_usage(&mut assembly, &value["usage"]);
    assembly.finish_reason = value["stop_reason"].as_str().map(finish_reason);
    assembly.model = value["model"].as_str().unwrap_or_default().to_owned();
    match assembly.finish(model)?.pop() {
        Some(CompletionEvent::Finished(completion)) => Ok(completion),
        _ => Err(malformed("it has no end")),
    }
}

/// Reads the events of a stream.
#[derive(Debug, Default)]
pub(super) struct Stream {
    assembly: Assembly,
}

impl Stream {
    /// One event; text where it brought some, and whether it was the last one.
    pub(super) fn event(&mut self, data: &str) -> Result<(Option<String>, bool), CallError> {
        let value: Value =
            serde_json::from_str(data).map_err(|_| malformed("an event is not JSON"))?;
        let assembly = &mut self.assembly;
        let index = count(&value, "/index").unwrap_or(0);
        match value["type"].as_str().unwrap_or_default() {
            "message_start" => {
                read_usage(assembly, &value["message"]["usage"]);
                assembly.model = value["message"]["model"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned();
            }
            "content_block_start" if value["content_block"]["type"] == "tool_use" => {
                let block = &value["content_block"];
                let call = assembly.call(index)?;
                block["id"]
                    .as_str()
                    .unwrap_or_default()
                    .clone_into(&mut call.id);
                block["name"]
                    .as_str()
                    .unwrap_or_default()
                    .clone_into(&mut call.name);
            }
            "content_block_delta" => match value["delta"]["type"].as_str() {
                Some("text_delta") => {
                    let text = value["delta"]["text"].as_str().unwrap_or_default();
                    assembly.text.push_str(text);
                    return Ok(((!text.is_empty()).then(|| text.to_owned()), false));
                }
                Some("input_json_delta") => {
                    let piece = value["delta"]["partial_json"].as_str().unwrap_or_default();
                    assembly.call(index)?.arguments.push_str(piece);
                }
                _ => {}
            },
            "message_delta" => {
                if let Some(reason) = value["delta"]["stop_reason"].as_str() {
                    assembly.finish_reason = Some(finish_reason(reason));
                }
                read_usage(assembly, &value["usage"]);
            }
            "message_stop" => return Ok((None, true)),
            "error" => {
                let text = error_message(data.as_bytes()).unwrap_or_default();
                return Err(CallError::Unavailable(format!(
                    "the model's endpoint broke off: {text}"
                )));
            }
            _ => {}
        }
        Ok((None, false))
    }

    /// What follows the last event. A stream without a reason to end was cut.
    pub(super) fn finish(self, model: &str) -> Result<Vec<CompletionEvent>, CallError> {
        if self.assembly.finish_reason.is_none() {
            return Err(CallError::Unavailable(
                "the model's answer broke off".to_owned(),
            ));
        }
        self.assembly.finish(model)
    }
}

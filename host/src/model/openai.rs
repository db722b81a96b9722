//! OpenAI's chat completions, as spoken by OpenAI itself and by many others. Pure.

use serde_json::{Value, json};

use super::codec::{
    Assembly, base64, count, data_url, document, error_message, malformed, parse_schema, text_of,
};
use super::types::{
    Completion, CompletionEvent, CompletionRequest, FinishReason, ToolChoice, Usage,
};
use crate::error::CallError;
use crate::message::{Message, Part, ResourceBody, Role};

/// The body of a request. `own` is OpenAI itself, which has a newer name for the token limit.
pub(super) fn request(
    request: &CompletionRequest,
    model: &str,
    stream: bool,
    own: bool,
) -> Result<Value, CallError> {
    let mut messages = Vec::new();
    for message in &request.messages {
        push_message(&mut messages, message)?;
    }
    let mut body = json!({ "model": model, "messages": messages });
    if stream {
        body["stream"] = json!(true);
        body["stream_options"] = json!({ "include_usage": true });
    }
    if !request.tools.is_empty() {
        let tools = request.tools.iter().map(|tool| {
            let what = format!("the schema of function {:?}", tool.name);
            Ok(json!({ "type": "function", "function": {
                "name": tool.name,
                "description": tool.description,
                "parameters": parse_schema(&what, &tool.parameters)?,
            }}))
        });
        body["tools"] = tools.collect::<Result<Vec<_>, CallError>>()?.into();
        body["tool_choice"] = match &request.tool_choice {
            ToolChoice::Auto => json!("auto"),
            ToolChoice::None => json!("none"),
            ToolChoice::Required => json!("required"),
            ToolChoice::Function(name) => json!({"type": "function", "function": {"name": name}}),
        };
    }
    let options = &request.options;
    if let Some(temperature) = options.temperature {
        body["temperature"] = json!(temperature);
    }
    if let Some(top_p) = options.top_p {
        body["top_p"] = json!(top_p);
    }
    if let Some(most) = options.max_tokens {
        let name = if own {
            "max_completion_tokens"
        } else {
            "max_tokens"
        };
        body[name] = json!(most);
    }
    if !options.stop.is_empty() {
        body["stop"] = json!(options.stop);
    }
    if let Some(seed) = options.seed {
        body["seed"] = json!(seed);
    }
    if let Some(schema) = &options.response_schema {
        body["response_format"] = json!({ "type": "json_schema", "json_schema": {
            "name": "answer",
            "schema": parse_schema("the response schema", schema)?,
        }});
    }
    Ok(body)
}

fn push_message(out: &mut Vec<Value>, message: &Message) -> Result<(), CallError> {
    match message.role {
        Role::System => out.push(json!({"role": "system", "content": text_of(&message.content)})),
        Role::User => out.push(json!({"role": "user", "content": content(&message.content)?})),
        Role::Assistant => {
            let text = text_of(&message.content);
            let mut turn = json!({"role": "assistant"});
            turn["content"] = if text.is_empty() {
                Value::Null
            } else {
                json!(text)
            };
            if !message.tool_calls.is_empty() {
                let calls = message.tool_calls.iter().map(|call| {
                    json!({"id": call.id, "type": "function",
                           "function": {"name": call.name, "arguments": call.arguments}})
                });
                turn["tool_calls"] = calls.collect::<Vec<_>>().into();
            }
            out.push(turn);
        }
        Role::Tool => {
            let mut pictures = Vec::new();
            for result in &message.tool_results {
                let mut text = text_of(&result.content);
                if result.is_error {
                    text = format!("Error: {text}");
                }
                out.push(json!({"role": "tool", "tool_call_id": result.id, "content": text}));
                for part in &result.content {
                    // Results hold text only here; what is not text follows as the user's.
                    if !text_of(std::slice::from_ref(part)).is_empty()
                        || matches!(part, Part::Text(_))
                    {
                        continue;
                    }
                    pictures.push(json!({"type": "text", "text": format!("From the result of {}:", result.id)}));
                    pictures.push(part_of(part)?);
                }
            }
            if !pictures.is_empty() {
                out.push(json!({"role": "user", "content": pictures}));
            }
        }
    }
    Ok(())
}

fn content(parts: &[Part]) -> Result<Value, CallError> {
    if let [Part::Text(text)] = parts {
        return Ok(json!(text));
    }
    Ok(parts
        .iter()
        .map(part_of)
        .collect::<Result<Vec<_>, _>>()?
        .into())
}

fn part_of(part: &Part) -> Result<Value, CallError> {
    Ok(match part {
        Part::Text(text) => json!({"type": "text", "text": text}),
        Part::Image(blob) => {
            json!({"type": "image_url", "image_url": {"url": data_url(&blob.mime_type, &blob.data)}})
        }
        Part::Audio(blob) => {
            let format = match blob.mime_type.as_str() {
                "audio/wav" | "audio/x-wav" | "audio/wave" => "wav",
                "audio/mpeg" | "audio/mp3" => "mp3",
                other => {
                    return Err(CallError::Invalid(format!(
                        "this model takes audio as audio/wav or audio/mpeg, not {other}"
                    )));
                }
            };
            json!({"type": "input_audio", "input_audio": {"data": base64(blob), "format": format}})
        }
        Part::Resource(resource) => match &resource.body {
            ResourceBody::Text(text) => {
                json!({"type": "text", "text": document(&resource.uri, text)})
            }
            ResourceBody::Bytes(bytes) => {
                let mime_type = resource
                    .mime_type
                    .as_deref()
                    .unwrap_or("application/octet-stream");
                let name = resource.uri.rsplit('/').next().unwrap_or_default();
                json!({"type": "file", "file": {
                    "filename": if name.is_empty() { "document" } else { name },
                    "file_data": data_url(mime_type, bytes),
                }})
            }
        },
    })
}

fn finish_reason(text: &str) -> FinishReason {
    match text {
        "stop" => FinishReason::Stop,
        "length" => FinishReason::Length,
        "tool_calls" | "function_call" => FinishReason::ToolCalls,
        "content_filter" => FinishReason::ContentFilter,
        _ => FinishReason::Other,
    }
}

fn usage(value: &Value) -> Option<Usage> {
    let usage = value.get("usage").filter(|usage| usage.is_object())?;
    Some(Usage {
        input_tokens: count(usage, "/prompt_tokens").unwrap_or(0),
        output_tokens: count(usage, "/completion_tokens").unwrap_or(0),
        cached_input_tokens: count(usage, "/prompt_tokens_details/cached_tokens").unwrap_or(0),
        reasoning_tokens: count(usage, "/completion_tokens_details/reasoning_tokens").unwrap_or(0),
    })
}

/// A whole response.
pub(super) fn response(body: &[u8], model: &str) -> Result<Completion, CallError> {
    let value: Value = serde_json::from_slice(body).map_err(|_| malformed("it is not JSON"))?;
    let choice = value
        .pointer("/choices/0")
        .ok_or_else(|| malformed("it has no choices"))?;
    let message = choice
        .get("message")
        .ok_or_else(|| malformed("its choice has no message"))?;
    let mut assembly = Assembly::default();
    read_choice(&mut assembly, choice, message)?;
    assembly.usage = usage(&value).unwrap_or_default();
    assembly.model = value["model"].as_str().unwrap_or_default().to_owned();
    match assembly.finish(model)?.pop() {
        Some(CompletionEvent::Finished(completion)) => Ok(completion),
        _ => Err(malformed("it has no end")),
    }
}

/// `message` of a response and `delta` of a chunk have the same fields.
fn read_choice(
    assembly: &mut Assembly,
    choice: &Value,
    delta: &Value,
) -> Result<Option<String>, CallError> {
    let text = ["content", "refusal"]
        .iter()
        .find_map(|key| delta[key].as_str().filter(|t| !t.is_empty()));
    if let Some(text) = text {
        assembly.text.push_str(text);
    }
    if delta["refusal"].as_str().is_some_and(|t| !t.is_empty()) {
        assembly.finish_reason = Some(FinishReason::ContentFilter);
    }
    for (position, call) in delta["tool_calls"]
        .as_array()
        .into_iter()
        .flatten()
        .enumerate()
    {
        let index = count(call, "/index").unwrap_or(position as u64);
        let partial = assembly.call(index)?;
        if let Some(id) = call["id"].as_str().filter(|id| !id.is_empty()) {
            id.clone_into(&mut partial.id);
        }
        if let Some(name) = call["function"]["name"].as_str().filter(|n| !n.is_empty()) {
            name.clone_into(&mut partial.name);
        }
        match &call["function"]["arguments"] {
            Value::String(piece) => partial.arguments.push_str(piece),
            // Some local endpoints send the object itself.
            Value::Object(object) => {
                partial.arguments = serde_json::to_string(object).unwrap_or_default();
            }
            _ => {}
        }
    }
    if let Some(reason) = choice["finish_reason"].as_str() {
        assembly.finish_reason.get_or_insert(finish_reason(reason));
    }
    Ok(text.map(str::to_owned))
}

/// Reads the events of a stream.
#[derive(Debug, Default)]
pub(super) struct Stream {
    assembly: Assembly,
}

impl Stream {
    /// One event; text where it brought some, and whether it was the last one.
    pub(super) fn event(&mut self, data: &str) -> Result<(Option<String>, bool), CallError> {
        if data == "[DONE]" {
            return Ok((None, true));
        }
        let value: Value =
            serde_json::from_str(data).map_err(|_| malformed("an event is not JSON"))?;
        if value.get("error").is_some_and(|error| !error.is_null()) {
            let text = error_message(data.as_bytes()).unwrap_or_default();
            return Err(CallError::Unavailable(format!(
                "the model's endpoint broke off: {text}"
            )));
        }
        if let Some(model) = value["model"].as_str() {
            model.clone_into(&mut self.assembly.model);
        }
        if let Some(usage) = usage(&value) {
            self.assembly.usage = usage;
        }
        match value.pointer("/choices/0") {
            Some(choice) => Ok((
                read_choice(&mut self.assembly, choice, &choice["delta"])?,
                false,
            )),
            None => Ok((None, false)),
        }
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

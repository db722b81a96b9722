//! From OpenAI's messages to ours.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::error::Failure;
use super::wire::{
    ChatRequest, OneOrMany, ResponseFormat, WireChoice, WireContent, WireMessage, WirePart,
    WireTool,
};
use crate::message::{
    Blob, EmbeddedResource, Message, Part, ResourceBody, Role, ToolCall, ToolResult,
};
use crate::model::{CompletionOptions, CompletionRequest, ToolChoice, ToolDefinition};

/// The conversation of a request.
pub(super) fn messages(wire: Vec<WireMessage>) -> Result<Vec<Message>, Failure> {
    wire.into_iter()
        .enumerate()
        .map(|(index, wire)| message(index, wire))
        .collect()
}

fn message(index: usize, wire: WireMessage) -> Result<Message, Failure> {
    let wrong = |what: String| Failure::invalid(&format!("messages[{index}]"), what);
    let role = match wire.role.as_str() {
        "system" | "developer" => Role::System,
        "user" => Role::User,
        "assistant" => Role::Assistant,
        "tool" => Role::Tool,
        other => {
            let roles = "use system, developer, user, assistant or tool";
            return Err(wrong(format!(
                "messages[{index}]: unknown role {other:?}: {roles}"
            )));
        }
    };
    let content = match wire.content {
        None => Vec::new(),
        Some(WireContent::Text(text)) if text.is_empty() => Vec::new(),
        Some(WireContent::Text(text)) => vec![Part::Text(text)],
        Some(WireContent::Parts(parts)) => parts
            .into_iter()
            .map(part)
            .collect::<Result<_, _>>()
            .map_err(|why| wrong(format!("messages[{index}]: {why}")))?,
    };
    if role == Role::Tool {
        let id = wire.tool_call_id.ok_or_else(|| {
            wrong(format!(
                "messages[{index}]: a tool message needs tool_call_id"
            ))
        })?;
        let result = ToolResult {
            id,
            content,
            is_error: false,
        };
        return Ok(Message {
            role,
            content: Vec::new(),
            tool_calls: Vec::new(),
            tool_results: vec![result],
        });
    }
    let tool_calls = wire
        .tool_calls
        .unwrap_or_default()
        .into_iter()
        .map(|call| ToolCall {
            id: call.id,
            name: call.function.name,
            arguments: call.function.arguments,
        })
        .collect();
    Ok(Message {
        role,
        content,
        tool_calls,
        tool_results: Vec::new(),
    })
}

fn part(wire: WirePart) -> Result<Part, String> {
    match wire {
        WirePart::Text { text } | WirePart::Refusal { refusal: text } => Ok(Part::Text(text)),
        WirePart::ImageUrl { image_url } => {
            let blob = data_url(&image_url.url).ok_or(
                "image_url: only data: URLs with base64 are taken, because the host fetches nothing \
                 on a caller's behalf",
            )?;
            Ok(Part::Image(blob))
        }
        WirePart::InputAudio { input_audio } => {
            let data = STANDARD
                .decode(&input_audio.data)
                .map_err(|_| "input_audio: the data is not base64".to_owned())?;
            let mime_type = match input_audio.format.as_str() {
                "wav" => "audio/wav",
                "mp3" => "audio/mpeg",
                other => {
                    return Err(format!(
                        "input_audio: unknown format {other:?}: use wav or mp3"
                    ));
                }
            };
            Ok(Part::Audio(Blob {
                mime_type: mime_type.to_owned(),
                data: data.into(),
            }))
        }
        WirePart::File { file } => {
            let blob = file
                .file_data
                .as_deref()
                .and_then(data_url)
                .ok_or("file: send the file itself, as a data: URL with base64 in file_data")?;
            let name = file.filename.unwrap_or_else(|| "file".to_owned());
            Ok(Part::Resource(EmbeddedResource {
                uri: format!("attachment:{name}"),
                mime_type: Some(blob.mime_type),
                body: ResourceBody::Bytes(blob.data),
            }))
        }
    }
}

/// Reads `data:MEDIA/TYPE[;…];base64,DATA`.
fn data_url(url: &str) -> Option<Blob> {
    let (head, data) = url.strip_prefix("data:")?.split_once(',')?;
    let mime_type = head.strip_suffix(";base64")?.split(';').next()?;
    let mime_type = if mime_type.is_empty() {
        "text/plain"
    } else {
        mime_type
    };
    let data = STANDARD.decode(data).ok()?;
    Some(Blob {
        mime_type: mime_type.to_owned(),
        data: data.into(),
    })
}

/// A request to a model as it is.
pub(super) fn completion(request: ChatRequest) -> Result<CompletionRequest, Failure> {
    request.check_for_model()?;
    let stop = match request.stop {
        None => Vec::new(),
        Some(OneOrMany::One(stop)) => vec![stop],
        Some(OneOrMany::Many(stop)) => stop,
    };
    let response_schema = match request.response_format {
        None | Some(ResponseFormat::Text) => None,
        Some(ResponseFormat::JsonObject) => Some(json!({ "type": "object" })),
        Some(ResponseFormat::JsonSchema { json_schema }) => Some(
            json_schema
                .schema
                .unwrap_or_else(|| json!({ "type": "object" })),
        ),
    };
    let seed = match request.seed.map(u64::try_from) {
        None => None,
        Some(Ok(seed)) => Some(seed),
        Some(Err(_)) => {
            return Err(Failure::invalid(
                "seed",
                "seed: use a number from 0 on".to_owned(),
            ));
        }
    };
    Ok(CompletionRequest {
        messages: messages(request.messages)?,
        tools: request
            .tools
            .unwrap_or_default()
            .into_iter()
            .map(definition)
            .collect::<Result<_, _>>()?,
        tool_choice: choice(request.tool_choice)?,
        options: CompletionOptions {
            temperature: request.temperature,
            top_p: request.top_p,
            max_tokens: request.max_completion_tokens.or(request.max_tokens),
            stop,
            seed,
            response_schema: response_schema.map(|schema: Value| schema.to_string()),
        },
    })
}

fn definition(tool: WireTool) -> Result<ToolDefinition, Failure> {
    match tool.function {
        Some(function) if tool.kind == "function" => Ok(ToolDefinition {
            name: function.name,
            description: function.description.unwrap_or_default(),
            parameters: function
                .parameters
                .unwrap_or_else(|| json!({ "type": "object", "properties": {} }))
                .to_string(),
        }),
        _ => Err(Failure::invalid(
            "tools",
            format!(
                "tools: the type {:?} is not supported: use function",
                tool.kind
            ),
        )),
    }
}

fn choice(choice: Option<WireChoice>) -> Result<ToolChoice, Failure> {
    match choice {
        None => Ok(ToolChoice::Auto),
        Some(WireChoice::Function { function }) => Ok(ToolChoice::Function(function.name)),
        Some(WireChoice::Word(word)) => match word.as_str() {
            "auto" => Ok(ToolChoice::Auto),
            "none" => Ok(ToolChoice::None),
            "required" => Ok(ToolChoice::Required),
            other => Err(Failure::invalid(
                "tool_choice",
                format!(
                    "tool_choice: {other:?} is unknown: use auto, none, required or a function"
                ),
            )),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: Value) -> Result<Vec<Message>, Failure> {
        messages(serde_json::from_value(json).unwrap())
    }

    #[test]
    fn a_conversation_with_calls_and_attachments_is_read() {
        let messages = read(json!([
            { "role": "developer", "content": "be brief" },
            { "role": "user", "content": [
                { "type": "text", "text": "see" },
                { "type": "image_url", "image_url": { "url": "data:image/png;base64,YWI=" } },
                { "type": "input_audio", "input_audio": { "data": "YWI=", "format": "mp3" } },
                { "type": "file", "file":
                    { "file_data": "data:application/pdf;base64,YWI=", "filename": "a.pdf" } },
            ] },
            { "role": "assistant", "content": null, "tool_calls": [
                { "id": "c1", "type": "function", "function": { "name": "f", "arguments": "{}" } } ] },
            { "role": "tool", "tool_call_id": "c1", "content": "42" },
        ]))
        .unwrap();
        assert_eq!(messages[0], Message::text(Role::System, "be brief"));
        assert_eq!(messages[1].content.len(), 4);
        assert!(matches!(&messages[1].content[2], Part::Audio(b) if b.mime_type == "audio/mpeg"));
        assert!(matches!(&messages[1].content[3],
            Part::Resource(r) if r.uri == "attachment:a.pdf"));
        assert_eq!(messages[2].tool_calls[0].name, "f");
        assert_eq!(
            messages[3].tool_results[0].content,
            [Part::Text("42".to_owned())]
        );
    }

    #[test]
    fn the_host_fetches_nothing_for_a_caller() {
        let error = read(json!([{ "role": "user", "content": [
            { "type": "image_url", "image_url": { "url": "http://169.254.169.254/x" } } ] }]))
        .unwrap_err();
        assert!(error.event().contains("data: URLs"), "{}", error.event());
        assert!(read(json!([{ "role": "robot", "content": "x" }])).is_err());
        assert!(read(json!([{ "role": "tool", "content": "x" }])).is_err());
    }
}

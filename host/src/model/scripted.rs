//! The scripted model: turns that are written in the `Model` resource, for demos and tests. It says
//! so: its answers name `scripted` as the model.
//!
//! The n-th assistant turn of a conversation is answered by the n-th entry; after the last entry the
//! last one is repeated without its calls, so that a loop of calls always ends. Text, and every string
//! within the arguments of a call, is a template:
//!
//! | written | becomes |
//! |---|---|
//! | `{{user.text}}` | text of the last user message |
//! | `{{last.text}}` | text of the last message, or of its tool results |
//! | `{{result.N.text}}` | text of the N-th tool result of the conversation, from 0 |
//! | `{{result.N.json.POINTER}}` | the value in that result's JSON text; `POINTER` is its path with dots: `items.0.name` |
//! | `{{results.count}}` | number of tool results so far |
//!
//! An argument that is one such template and nothing else becomes the JSON value itself where it is
//! `json`, and text otherwise. What does not exist yet is an `invalid` error that names it.

use ringfence_api::ScriptedTurn;
use serde_json::Value;

use super::codec::text_of;
use super::types::{Completion, CompletionEvent, CompletionRequest, FinishReason, Usage};
use crate::error::CallError;
use crate::message::{Message, Part, Role, ToolCall, ToolResult};

/// The model's name in answers.
pub(super) const MODEL: &str = "scripted";
/// Turns of a script.
const MAX_TURNS: usize = 1000;
/// Bytes of text of one answer, and of the arguments of one call.
const MAX_ANSWER_BYTES: usize = 4 << 20;

#[derive(Debug)]
pub(super) struct Script {
    turns: Vec<ScriptedTurn>,
}

impl Script {
    pub(super) fn new(turns: &[ScriptedTurn]) -> Result<Self, String> {
        if turns.is_empty() || turns.len() > MAX_TURNS {
            return Err(format!("it needs 1 to {MAX_TURNS} turns"));
        }
        for turn in turns {
            check(turn.text.as_deref().unwrap_or_default())?;
            for call in &turn.calls {
                if !(call.arguments.is_object() || call.arguments.is_null()) {
                    return Err(format!("the arguments of {} are no object", call.name));
                }
                check_value(&call.arguments)?;
            }
        }
        Ok(Self {
            turns: turns.to_vec(),
        })
    }

    /// The whole answer to a conversation.
    pub(super) fn answer(&self, request: &CompletionRequest) -> Result<Completion, CallError> {
        let seen = Seen::new(&request.messages);
        let overrun = seen.turns >= self.turns.len();
        let turn = self.turns.get(seen.turns).or(self.turns.last());
        let turn = turn.ok_or_else(|| CallError::Invalid("the script is empty".to_owned()))?;
        let text = seen.fill(turn.text.as_deref().unwrap_or_default())?;
        let mut message = Message::text(Role::Assistant, text.clone());
        if text.is_empty() {
            message.content.clear();
        }
        if !overrun {
            for (n, call) in turn.calls.iter().enumerate() {
                let arguments = match &call.arguments {
                    Value::Null => "{}".to_owned(),
                    value => seen.fill_value(value)?.to_string(),
                };
                bounded(&arguments)?;
                message.tool_calls.push(ToolCall {
                    id: format!("call_{}_{n}", seen.turns),
                    name: call.name.clone(),
                    arguments,
                });
            }
        }
        let finish_reason = if message.tool_calls.is_empty() {
            FinishReason::Stop
        } else {
            FinishReason::ToolCalls
        };
        Ok(Completion {
            finish_reason,
            usage: usage(&request.messages, &message),
            model: MODEL.to_owned(),
            message,
        })
    }

    /// The answer word by word.
    pub(super) fn events(
        &self,
        request: &CompletionRequest,
    ) -> Result<Vec<CompletionEvent>, CallError> {
        let completion = self.answer(request)?;
        let text = text_of(&completion.message.content);
        let mut events: Vec<_> = text
            .split_inclusive(' ')
            .map(|word| CompletionEvent::Text(word.to_owned()))
            .collect();
        let calls = completion.message.tool_calls.iter().cloned();
        events.extend(calls.map(CompletionEvent::ToolCall));
        events.push(CompletionEvent::Finished(completion));
        Ok(events)
    }
}

/// Counted, not estimated: one token for each begun four bytes of content.
fn usage(messages: &[Message], answer: &Message) -> Usage {
    let tokens = |message: &Message| {
        let results = message
            .tool_results
            .iter()
            .flat_map(|result| &result.content);
        let content: usize = message.content.iter().chain(results).map(Part::size).sum();
        let calls: usize = message
            .tool_calls
            .iter()
            .map(|c| c.name.len() + c.arguments.len())
            .sum();
        (content + calls).div_ceil(4) as u64
    };
    Usage {
        input_tokens: messages.iter().map(tokens).sum(),
        output_tokens: tokens(answer),
        ..Usage::default()
    }
}

/// What templates can refer to.
struct Seen<'a> {
    messages: &'a [Message],
    results: Vec<&'a ToolResult>,
    turns: usize,
}

impl<'a> Seen<'a> {
    fn new(messages: &'a [Message]) -> Self {
        Self {
            messages,
            results: messages.iter().flat_map(|m| &m.tool_results).collect(),
            turns: messages
                .iter()
                .filter(|m| m.role == Role::Assistant)
                .count(),
        }
    }

    fn value(&self, name: &str) -> Result<Value, CallError> {
        let missing = |what: String| CallError::Invalid(format!("the script refers to {what}"));
        let result = |n: &str| {
            let found = n.parse().ok().and_then(|n: usize| self.results.get(n));
            found.ok_or_else(|| missing(format!("tool result {n}, which is not there yet")))
        };
        match name.split('.').collect::<Vec<_>>().as_slice() {
            ["user", "text"] => {
                let last = self.messages.iter().rev().find(|m| m.role == Role::User);
                Ok(last.map(|m| text_of(&m.content)).unwrap_or_default().into())
            }
            ["last", "text"] => Ok(self
                .messages
                .last()
                .map(whole_text)
                .unwrap_or_default()
                .into()),
            ["results", "count"] => Ok(self.results.len().into()),
            ["result", n, "text"] => Ok(text_of(&result(n)?.content).into()),
            ["result", n, "json", path @ ..] => {
                let text = text_of(&result(n)?.content);
                let json: Value = serde_json::from_str(&text)
                    .map_err(|_| missing(format!("tool result {n} as JSON, which it is not")))?;
                let pointer: String = path.iter().map(|key| format!("/{key}")).collect();
                json.pointer(&pointer)
                    .cloned()
                    .ok_or_else(|| missing(format!("{name:?}, which that result does not hold")))
            }
            _ => Err(missing(format!("{name:?}, which is no template"))),
        }
    }

    fn fill(&self, template: &str) -> Result<String, CallError> {
        let mut out = String::new();
        for piece in pieces(template) {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Name(name) => match self.value(name)? {
                    Value::String(text) => out.push_str(&text),
                    other => out.push_str(&other.to_string()),
                },
            }
            bounded(&out)?;
        }
        Ok(out)
    }

    fn fill_value(&self, value: &Value) -> Result<Value, CallError> {
        Ok(match value {
            Value::String(text) => match pieces(text).as_slice() {
                [Piece::Name(name)] if name.contains(".json") => self.value(name)?,
                _ => self.fill(text)?.into(),
            },
            Value::Array(items) => items
                .iter()
                .map(|item| self.fill_value(item))
                .collect::<Result<_, _>>()?,
            Value::Object(fields) => {
                let filled = fields
                    .iter()
                    .map(|(k, v)| Ok((k.clone(), self.fill_value(v)?)));
                Value::Object(filled.collect::<Result<_, CallError>>()?)
            }
            other => other.clone(),
        })
    }
}

fn whole_text(message: &Message) -> String {
    let results = message
        .tool_results
        .iter()
        .map(|result| text_of(&result.content));
    let texts = std::iter::once(text_of(&message.content)).chain(results);
    texts
        .filter(|text| !text.is_empty())
        .collect::<Vec<_>>()
        .join("\n")
}

fn bounded(text: &str) -> Result<(), CallError> {
    if text.len() > MAX_ANSWER_BYTES {
        return Err(CallError::limit(
            "model-response-bytes",
            MAX_ANSWER_BYTES as u64,
        ));
    }
    Ok(())
}

enum Piece<'a> {
    Text(&'a str),
    Name(&'a str),
}

fn pieces(template: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        let Some((name, after)) = after.split_once("}}") else {
            break;
        };
        if !before.is_empty() {
            pieces.push(Piece::Text(before));
        }
        pieces.push(Piece::Name(name.trim()));
        rest = after;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest));
    }
    pieces
}

/// Refuses names that could never mean anything.
fn check(template: &str) -> Result<(), String> {
    for piece in pieces(template) {
        let Piece::Name(name) = piece else { continue };
        let known = match name.split('.').collect::<Vec<_>>().as_slice() {
            ["user" | "last", "text"] | ["results", "count"] => true,
            ["result", n, "text"] | ["result", n, "json", ..] => n.parse::<usize>().is_ok(),
            _ => false,
        };
        if !known {
            return Err(format!("{{{{{name}}}}} is no template"));
        }
    }
    Ok(())
}

fn check_value(value: &Value) -> Result<(), String> {
    match value {
        Value::String(text) => check(text),
        Value::Array(items) => items.iter().try_for_each(check_value),
        Value::Object(fields) => fields.values().try_for_each(check_value),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use ringfence_api::ScriptedCall;
    use serde_json::json;

    use super::*;

    fn script(turns: Value) -> Script {
        let turns: Vec<ScriptedTurn> = serde_json::from_value(turns).unwrap();
        Script::new(&turns).unwrap()
    }

    fn conversation() -> CompletionRequest {
        CompletionRequest {
            messages: vec![Message::text(Role::User, "Sum up notes")],
            ..CompletionRequest::default()
        }
    }

    fn result(request: &mut CompletionRequest, answer: &Completion, text: &str) {
        request.messages.push(answer.message.clone());
        let mut message = Message::text(Role::Tool, "");
        message.content.clear();
        message.tool_results.push(ToolResult {
            id: answer.message.tool_calls[0].id.clone(),
            content: vec![Part::Text(text.to_owned())],
            is_error: false,
        });
        request.messages.push(message);
    }

    #[test]
    fn a_script_works_through_files_with_tools() {
        let script = script(json!([
            {"calls": [{"name": "files_list", "arguments": {"about": "{{user.text}}"}}]},
            {"text": "Reading", "calls": [{"name": "files_read", "arguments":
                {"path": "{{result.0.json.files.0.path}}", "size": "{{result.0.json.files.0.size}}"}}]},
            {"text": "{{result.1.text}} after {{results.count}} calls"}
        ]));
        let mut request = conversation();
        let first = script.answer(&request).unwrap();
        assert_eq!(first.finish_reason, FinishReason::ToolCalls);
        assert_eq!(
            first.message.tool_calls[0].arguments,
            r#"{"about":"Sum up notes"}"#
        );
        result(
            &mut request,
            &first,
            r#"{"files":[{"path":"a.txt","size":7}]}"#,
        );
        let second = script.answer(&request).unwrap();
        assert_eq!(
            second.message.tool_calls[0].arguments,
            r#"{"path":"a.txt","size":7}"#
        );
        result(&mut request, &second, "all is well");
        let third = script.answer(&request).unwrap();
        assert_eq!(text_of(&third.message.content), "all is well after 2 calls");
        assert_eq!(
            (third.finish_reason, third.model.as_str()),
            (FinishReason::Stop, "scripted")
        );
        assert_eq!(third.usage, script.answer(&request).unwrap().usage);
        assert!(third.usage.input_tokens > first.usage.input_tokens);
        request.messages.push(third.message);
        assert!(
            script
                .answer(&request)
                .unwrap()
                .message
                .tool_calls
                .is_empty()
        );
    }

    #[test]
    fn it_streams_in_words_and_ends_with_the_whole() {
        let script = script(json!([{"text": "one two three"}]));
        let events = script.events(&conversation()).unwrap();
        assert_eq!(events.len(), 4);
        let words: String = events
            .iter()
            .filter_map(|e| match e {
                CompletionEvent::Text(text) => Some(text.as_str()),
                _ => None,
            })
            .collect();
        assert_eq!(words, "one two three");
        assert_eq!(
            events[3],
            CompletionEvent::Finished(script.answer(&conversation()).unwrap())
        );
    }

    #[test]
    fn what_is_not_there_is_an_error_that_names_it() {
        let script = script(json!([{"text": "{{result.3.text}}"}]));
        let error = script.answer(&conversation()).unwrap_err();
        assert!(error.to_string().contains("tool result 3"), "{error}");
    }

    #[test]
    fn templates_are_checked_before_use_and_text_is_not_a_template() {
        let bad = |text: &str| {
            Script::new(&[ScriptedTurn {
                text: Some(text.to_owned()),
                calls: Vec::new(),
            }])
        };
        assert!(bad("{{nobody.text}}").is_err());
        assert!(bad("{{result.x.text}}").is_err());
        assert!(bad("an open {{ brace").is_ok());
        assert!(Script::new(&[]).is_err());
        let call = ScriptedCall {
            name: "f".to_owned(),
            arguments: json!([1]),
        };
        assert!(
            Script::new(&[ScriptedTurn {
                text: None,
                calls: vec![call]
            }])
            .is_err()
        );
        // What a conversation brings is not expanded again.
        let script = script(json!([{"text": "{{user.text}}"}]));
        let mut request = conversation();
        request.messages = vec![Message::text(Role::User, "{{last.text}}")];
        assert_eq!(
            text_of(&script.answer(&request).unwrap().message.content),
            "{{last.text}}"
        );
    }
}

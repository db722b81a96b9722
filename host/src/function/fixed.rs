//! Functions whose shape the host gives, not a component: `run` of a command-line tool and `ask` of an
//! agent that is offered as a tool.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::result::FunctionResult;
use crate::error::CallError;
use crate::message::Part;

/// The function of a command-line tool (`wasi:cli/run`).
pub const COMMAND: &str = "run";
/// The function of an agent that is offered as a tool.
pub const ASK: &str = "ask";

/// JSON Schema of the arguments of [`COMMAND`].
pub fn command_schema() -> Map<String, Value> {
    object(json!({
        "type": "object",
        "properties": {
            "args": {
                "type": "array",
                "items": { "type": "string" },
                "description": "Arguments of the command, its own name not included."
            },
            "stdin": { "type": "string", "description": "What the command reads." }
        },
        "additionalProperties": false
    }))
}

/// JSON Schema of the arguments of [`ASK`].
pub fn ask_schema() -> Map<String, Value> {
    object(json!({
        "type": "object",
        "properties": {
            "message": { "type": "string", "description": "What the agent is asked." }
        },
        "required": ["message"],
        "additionalProperties": false
    }))
}

fn object(schema: Value) -> Map<String, Value> {
    match schema {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

/// Arguments of [`COMMAND`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct CommandLine {
    pub(crate) arguments: Vec<String>,
    pub(crate) stdin: Bytes,
}

impl CommandLine {
    pub(crate) fn parse(mut arguments: Map<String, Value>) -> Result<Self, CallError> {
        let args = match arguments.remove("args") {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(items)) => {
                items.into_iter().map(argument).collect::<Result<_, _>>()?
            }
            Some(_) => return Err(invalid("/args: expected an array of strings")),
        };
        let stdin = match arguments.remove("stdin") {
            None | Some(Value::Null) => Bytes::new(),
            Some(Value::String(text)) => text.into(),
            Some(_) => return Err(invalid("/stdin: expected a string")),
        };
        nothing_else(&arguments)?;
        Ok(Self {
            arguments: args,
            stdin,
        })
    }
}

fn argument(item: Value) -> Result<String, CallError> {
    match item {
        Value::String(text) if !text.contains('\0') => Ok(text),
        _ => Err(invalid("/args: expected strings without NUL characters")),
    }
}

/// What a finished command returns: its standard output, or, when it failed, what it wrote to its
/// standard error.
pub(crate) fn command_result(code: i32, stdout: &[u8], stderr: &[u8]) -> FunctionResult {
    let output = String::from_utf8_lossy(stdout).into_owned();
    if code == 0 {
        return FunctionResult::text(output);
    }
    let mut failure = FunctionResult::error(format!("exit code {code}"));
    for text in [output, String::from_utf8_lossy(stderr).into_owned()] {
        if !text.is_empty() {
            failure.content.push(Part::Text(text));
        }
    }
    failure
}

/// The message among the arguments of [`ASK`].
pub(crate) fn ask_message(mut arguments: Map<String, Value>) -> Result<String, CallError> {
    let Some(Value::String(message)) = arguments.remove("message") else {
        return Err(invalid("/message: expected a string"));
    };
    nothing_else(&arguments)?;
    Ok(message)
}

fn nothing_else(arguments: &Map<String, Value>) -> Result<(), CallError> {
    match arguments.keys().next() {
        Some(unknown) => Err(invalid(&format!("/{unknown}: there is no such argument"))),
        None => Ok(()),
    }
}

fn invalid(text: &str) -> CallError {
    CallError::Invalid(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_takes_arguments_and_input() {
        let given = object(json!({"args": ["-n", "x"], "stdin": "in"}));
        let line = CommandLine::parse(given).unwrap();
        assert_eq!(line.arguments, ["-n", "x"]);
        assert_eq!(line.stdin, "in");
        assert!(CommandLine::parse(Map::new()).unwrap().arguments.is_empty());
    }

    #[test]
    fn anything_else_is_refused() {
        for bad in [
            json!({"args": "x"}),
            json!({"args": [1]}),
            json!({"stdin": 1}),
            json!({"x": 1}),
        ] {
            assert!(matches!(
                CommandLine::parse(object(bad)),
                Err(CallError::Invalid(_))
            ));
        }
        assert!(ask_message(object(json!({"message": "hi", "to": "me"}))).is_err());
        assert_eq!(
            ask_message(object(json!({"message": "hi"}))),
            Ok("hi".to_owned())
        );
    }

    #[test]
    fn a_failed_command_shows_its_code_and_both_outputs() {
        let result = command_result(3, b"out", b"err");
        assert!(result.is_error);
        let texts = ["exit code 3", "out", "err"].map(|text| Part::Text(text.to_owned()));
        assert_eq!(result.content, texts);
    }
}

//! Makes the calls that a model asked for. Nothing here fails: what went wrong becomes a result that
//! the model reads.

use serde_json::Value;

use crate::bindings::ringfence::agent::tools::{CallRequest, CallResult};
use crate::bindings::ringfence::agent::types::{Error, Message, Part, Role, ToolCall, ToolResult};
use crate::catalog::{Catalog, Target};
use crate::clip::{RESULT_BYTES, clip};
use crate::failure::explain;
use crate::world::World;

/// Makes all calls: functions in parallel, `at_once` at a time, then agents one by one. Results come
/// in the order of the calls and take at most about `room` bytes together. Calls beyond `at_once` of
/// one turn are made all the same, in further batches.
pub fn call_all<W: World>(
    world: &mut W,
    catalog: &Catalog,
    calls: &[ToolCall],
    at_once: usize,
    room: usize,
) -> Vec<ToolResult> {
    let mut outcomes: Vec<Option<(Vec<Part>, bool)>> = vec![None; calls.len()];
    let mut requests = Vec::new();
    let mut questions = Vec::new();
    for (at, call) in calls.iter().enumerate() {
        match route(catalog, call) {
            Ok(Route::Function(request)) => requests.push((at, request)),
            Ok(Route::Agent(agent, question)) => questions.push((at, agent, question)),
            Err(why) => outcomes[at] = Some((vec![Part::Text(why)], true)),
        }
    }
    for batch in requests.chunks(at_once.max(1)) {
        let batch_requests: Vec<_> = batch.iter().map(|(_, request)| request.clone()).collect();
        let answers = world.call_all(&batch_requests);
        for ((at, _), answer) in batch.iter().zip(answers) {
            outcomes[*at] = Some(from_function(&calls[*at].name, answer));
        }
    }
    for (at, agent, question) in questions {
        let answer = world.send(&agent, &[question]);
        outcomes[at] = Some(match answer {
            Ok(parts) => (parts, false),
            Err(error) => (vec![Part::Text(explain(&calls[at].name, &error))], true),
        });
    }
    let each = RESULT_BYTES.min(room / calls.len().max(1));
    calls
        .iter()
        .zip(outcomes)
        .map(|(call, outcome)| {
            let (content, is_error) = outcome.unwrap_or_else(|| {
                let why = "the host gave no result for it".to_owned();
                (
                    vec![Part::Text(explain(&call.name, &Error::Failed(why)))],
                    true,
                )
            });
            ToolResult {
                id: call.id.clone(),
                content: clip(content, each),
                is_error,
            }
        })
        .collect()
}

enum Route {
    Function(CallRequest),
    Agent(String, Message),
}

fn route(catalog: &Catalog, call: &ToolCall) -> Result<Route, String> {
    let target = catalog.target(&call.name).ok_or_else(|| {
        let names: Vec<_> = catalog
            .definitions()
            .iter()
            .map(|d| d.name.as_str())
            .collect();
        format!(
            "There is no function {:?}. There are: {}.",
            call.name,
            names.join(", ")
        )
    })?;
    // Some models send nothing at all for a function without arguments.
    let text = match call.arguments.trim() {
        "" => "{}",
        text => text,
    };
    let arguments = match serde_json::from_str(text) {
        Ok(Value::Object(arguments)) => arguments,
        Ok(_) => {
            return Err(format!(
                "{}: the arguments have to be one JSON object.",
                call.name
            ));
        }
        Err(error) => {
            return Err(format!(
                "{}: the arguments are not JSON: {error}.",
                call.name
            ));
        }
    };
    match target {
        Target::Function(name) => Ok(Route::Function(CallRequest {
            name: name.clone(),
            arguments: text.to_owned(),
        })),
        Target::Agent(agent) => match arguments.get("message") {
            Some(Value::String(message)) if arguments.len() == 1 => Ok(Route::Agent(
                agent.clone(),
                text_message(Role::User, message),
            )),
            _ => Err(format!(
                "{} takes exactly one argument, the string \"message\".",
                call.name
            )),
        },
    }
}

fn from_function(name: &str, answer: Result<CallResult, Error>) -> (Vec<Part>, bool) {
    match answer {
        Ok(result) => {
            let mut content = result.content;
            if content.is_empty() {
                let text = result
                    .structured
                    .unwrap_or_else(|| "(no result)".to_owned());
                content.push(Part::Text(text));
            }
            (content, result.is_error)
        }
        Err(error) => (vec![Part::Text(explain(name, &error))], true),
    }
}

/// A message of one text.
pub fn text_message(role: Role, text: &str) -> Message {
    Message {
        role,
        content: vec![Part::Text(text.to_owned())],
        tool_calls: Vec::new(),
        tool_results: Vec::new(),
    }
}

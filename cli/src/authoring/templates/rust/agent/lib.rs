//! An agent: it hands the conversation to a model, makes the calls that the model asks for, and
//! answers when the model has no more to ask.

wit_bindgen::generate!({ path: "wit", generate_all });

use exports::ringfence::agent::handler::Guest;
use ringfence::agent::models::{self, Options, Request, ToolChoice, ToolDefinition};
use ringfence::agent::tools::{self, CallRequest};
use ringfence::agent::types::{Error, Message, Part, Role, ToolResult};

/// Most turns of the model before the agent gives up.
const TURNS: usize = 8;

const INSTRUCTIONS: &str = "Answer briefly. Use the tools for facts and calculations.";

struct Agent;

impl Guest for Agent {
    fn handle(messages: Vec<Message>) -> Result<Vec<Part>, Error> {
        // Only what was granted is listed; the first model is the default one.
        let model = models::list()?.into_iter().next();
        let model = model.ok_or_else(|| Error::Invalid("this agent has no model".to_owned()))?;
        let tools = tools::list()?.into_iter().map(|function| ToolDefinition {
            name: function.name,
            description: function.description,
            parameters: function.input_schema,
        });
        let instructions =
            Message { content: vec![Part::Text(INSTRUCTIONS.to_owned())], ..empty(Role::System) };
        let mut request = Request {
            model: model.name,
            messages: std::iter::once(instructions).chain(messages).collect(),
            tools: tools.collect(),
            tool_choice: ToolChoice::Auto,
            options: Options {
                temperature: None,
                top_p: None,
                max_tokens: None,
                stop: Vec::new(),
                seed: None,
                response_schema: None,
            },
        };

        for _ in 0..TURNS {
            let turn = models::complete(&request)?.message;
            if turn.tool_calls.is_empty() {
                return Ok(turn.content);
            }
            // The host makes the calls at the same time, each in the tool's own sandbox.
            let calls: Vec<_> = turn
                .tool_calls
                .iter()
                .map(|call| CallRequest { name: call.name.clone(), arguments: call.arguments.clone() })
                .collect();
            let results = turn.tool_calls.iter().zip(tools::call_all(&calls)).map(|(call, result)| {
                // A call that fails is not the end: the model reads why.
                let (content, is_error) = match result {
                    Ok(result) => (result.content, result.is_error),
                    Err(error) => (vec![Part::Text(format!("{error:?}"))], true),
                };
                ToolResult { id: call.id.clone(), content, is_error }
            });
            let answer = Message { tool_results: results.collect(), ..empty(Role::Tool) };
            request.messages.extend([turn, answer]);
        }
        Err(Error::Failed(format!("the model had no answer after {TURNS} turns")))
    }
}

fn empty(role: Role) -> Message {
    Message { role, content: Vec::new(), tool_calls: Vec::new(), tool_results: Vec::new() }
}

export!(Agent);

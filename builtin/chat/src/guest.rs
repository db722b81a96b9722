//! The component: the loop on the real imports.

use crate::bindings::exports::ringfence::agent::handler::Guest;
use crate::bindings::ringfence::agent::agents::{self, AgentInfo};
use crate::bindings::ringfence::agent::context::{self, CallContext};
use crate::bindings::ringfence::agent::models::{
    self, Completion, CompletionEvent, ModelInfo, Request,
};
use crate::bindings::ringfence::agent::tools::{self, CallRequest, CallResult, Function};
use crate::bindings::ringfence::agent::types::{Error, Message, Part};
use crate::bindings::ringfence::agent::{output, session};
use crate::turns;
use crate::world::World;

struct Host;

impl World for Host {
    fn context(&mut self) -> CallContext {
        context::current()
    }

    fn models(&mut self) -> Result<Vec<ModelInfo>, Error> {
        models::list()
    }

    fn ask(
        &mut self,
        request: &Request,
        piece: Option<&mut dyn FnMut(&mut Self, &str)>,
    ) -> Result<Completion, Error> {
        let Some(piece) = piece else {
            return models::complete(request);
        };
        let stream = models::stream(request)?;
        while let Some(event) = stream.next()? {
            match event {
                CompletionEvent::Text(text) => piece(self, &text),
                // It comes again in the finished message, where it is read.
                CompletionEvent::ToolCall(_) => {}
                CompletionEvent::Finished(completion) => return Ok(completion),
            }
        }
        Err(Error::Unavailable(
            "the model's answer broke off before its end".to_owned(),
        ))
    }

    fn functions(&mut self) -> Result<Vec<Function>, Error> {
        tools::list()
    }

    fn call_all(&mut self, requests: &[CallRequest]) -> Vec<Result<CallResult, Error>> {
        tools::call_all(requests)
    }

    fn agents(&mut self) -> Result<Vec<AgentInfo>, Error> {
        agents::list()
    }

    fn send(&mut self, agent: &str, messages: &[Message]) -> Result<Vec<Part>, Error> {
        agents::send(agent, messages)
    }

    fn history(&mut self, most: u32) -> Result<Vec<Message>, Error> {
        session::history(most)
    }

    fn append(&mut self, messages: &[Message]) -> Result<(), Error> {
        session::append(messages)
    }

    fn emit(&mut self, part: &Part) -> Result<(), Error> {
        output::emit(part)
    }
}

struct Chat;

impl Guest for Chat {
    fn handle(messages: Vec<Message>) -> Result<Vec<Part>, Error> {
        turns::answer(&mut Host, messages)
    }
}

crate::bindings::export!(Chat with_types_in crate::bindings);

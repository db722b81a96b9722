//! What the loop needs of the outside.

use crate::bindings::ringfence::agent::agents::AgentInfo;
use crate::bindings::ringfence::agent::context::CallContext;
use crate::bindings::ringfence::agent::models::{Completion, ModelInfo, Request};
use crate::bindings::ringfence::agent::tools::{CallRequest, CallResult, Function};
use crate::bindings::ringfence::agent::types::{Error, Message, Part};

/// The imports of `ringfence:agent`, as the loop uses them.
pub trait World {
    /// `context.current`.
    fn context(&mut self) -> CallContext;
    /// `models.list`.
    fn models(&mut self) -> Result<Vec<ModelInfo>, Error>;
    /// Asks a model. Where `piece` is given, the answer is read as a stream and each text goes there.
    fn ask(
        &mut self,
        request: &Request,
        piece: Option<&mut dyn FnMut(&mut Self, &str)>,
    ) -> Result<Completion, Error>;
    /// `tools.list`.
    fn functions(&mut self) -> Result<Vec<Function>, Error>;
    /// `tools.call-all`.
    fn call_all(&mut self, requests: &[CallRequest]) -> Vec<Result<CallResult, Error>>;
    /// `agents.list`.
    fn agents(&mut self) -> Result<Vec<AgentInfo>, Error>;
    /// `agents.send`.
    fn send(&mut self, agent: &str, messages: &[Message]) -> Result<Vec<Part>, Error>;
    /// `session.history`.
    fn history(&mut self, most: u32) -> Result<Vec<Message>, Error>;
    /// `session.append`.
    fn append(&mut self, messages: &[Message]) -> Result<(), Error>;
    /// `output.emit`.
    fn emit(&mut self, part: &Part) -> Result<(), Error>;
}

//! An agent that sends what it gets to the agent that its parameter `next` names, which may be
//! itself: crosses `call-depth`.

use ringfence_test_guest_bindings::exports::ringfence::agent::handler::Guest;
use ringfence_test_guest_bindings::ringfence::agent::types::{Error, Message, Part};
use ringfence_test_guest_bindings::ringfence::agent::{agents, context};

struct Agent;

impl Guest for Agent {
    fn handle(messages: Vec<Message>) -> Result<Vec<Part>, Error> {
        let parameters = context::current().parameters;
        let next = parameters.into_iter().find(|p| p.name == "next");
        let next = next.ok_or_else(|| Error::Invalid("parameter `next` is missing".to_owned()))?;
        agents::send(&next.value, &messages)
    }
}

ringfence_test_guest_bindings::export!(Agent with_types_in ringfence_test_guest_bindings);

//! Behaves well: an agent that answers with the last message's content.

use ringfence_test_guest_bindings::exports::ringfence::agent::handler::Guest;
use ringfence_test_guest_bindings::ringfence::agent::types::{Error, Message, Part};

struct Agent;

impl Guest for Agent {
    fn handle(messages: Vec<Message>) -> Result<Vec<Part>, Error> {
        Ok(messages
            .into_iter()
            .next_back()
            .map(|last| last.content)
            .unwrap_or_default())
    }
}

ringfence_test_guest_bindings::export!(Agent with_types_in ringfence_test_guest_bindings);

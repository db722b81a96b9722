//! An agent that fails with the text of the last message, or, where that is `trap`, traps.

use ringfence_test_guest_bindings::exports::ringfence::agent::handler::Guest;
use ringfence_test_guest_bindings::ringfence::agent::types::{Error, Message, Part};
use ringfence_test_guest_bindings::text_of;

struct Agent;

impl Guest for Agent {
    fn handle(messages: Vec<Message>) -> Result<Vec<Part>, Error> {
        let last = messages
            .last()
            .map(|m| text_of(&m.content))
            .unwrap_or_default();
        if last == "trap" {
            std::process::abort();
        }
        Err(Error::Failed(last))
    }
}

ringfence_test_guest_bindings::export!(Agent with_types_in ringfence_test_guest_bindings);

//! Behaves well: an agent that sends each word of the last message on before it answers with the
//! whole.

use ringfence_test_guest_bindings::exports::ringfence::agent::handler::Guest;
use ringfence_test_guest_bindings::ringfence::agent::output;
use ringfence_test_guest_bindings::ringfence::agent::types::{Error, Message, Part};
use ringfence_test_guest_bindings::text_of;

struct Agent;

impl Guest for Agent {
    fn handle(messages: Vec<Message>) -> Result<Vec<Part>, Error> {
        let last = messages
            .last()
            .map(|m| text_of(&m.content))
            .unwrap_or_default();
        for word in last.split_inclusive(' ') {
            output::emit(&Part::Text(word.to_owned()))?;
        }
        Ok(vec![Part::Text(last)])
    }
}

ringfence_test_guest_bindings::export!(Agent with_types_in ringfence_test_guest_bindings);

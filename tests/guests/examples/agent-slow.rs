//! Behaves well: an agent that says that it began, waits as many milliseconds as the last message says, and
//! answers.

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
        let ms = last
            .parse()
            .map_err(|_| Error::Invalid(format!("{last:?} is no number")))?;
        output::emit(&Part::Text("began".to_owned()))?;
        std::thread::sleep(std::time::Duration::from_millis(ms));
        Ok(vec![Part::Text(format!("waited {ms} ms"))])
    }
}

ringfence_test_guest_bindings::export!(Agent with_types_in ringfence_test_guest_bindings);

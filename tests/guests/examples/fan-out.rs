//! Asks for many calls at once: crosses `fan-out`.

use ringfence_test_guest_bindings::code;
use ringfence_test_guest_bindings::ringfence::agent::tools::{self, CallRequest};

wit_bindgen::generate!({
    inline: r#"
        package ringfence:test;
        world guest {
            /// Calls `function` with `arguments`, `count` times in one `call-all`; `ok` or the code of the error
            /// for each.
            export fan-out: func(function: string, arguments: string, count: u32) -> list<string>;
        }
    "#,
});

struct Component;

impl Guest for Component {
    fn fan_out(function: String, arguments: String, count: u32) -> Vec<String> {
        let request = CallRequest {
            name: function,
            arguments,
        };
        tools::call_all(&vec![request; count as usize])
            .iter()
            .map(|result| match result {
                Ok(_) => "ok".to_owned(),
                Err(error) => code(error),
            })
            .collect()
    }
}

export!(Component);

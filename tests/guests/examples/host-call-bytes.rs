//! Hands the host a huge argument in one call: crosses `host-call-bytes`.

use ringfence_test_guest_bindings::code;
use ringfence_test_guest_bindings::ringfence::agent::tools::{self, CallRequest};

wit_bindgen::generate!({
    inline: r#"
        package ringfence:test;
        world guest {
            /// Calls a function that is not granted, with arguments of so many bytes; the code of the error.
            export burden: func(bytes: u64) -> string;
        }
    "#,
});

struct Component;

impl Guest for Component {
    fn burden(bytes: u64) -> String {
        let request = CallRequest {
            name: "nothing_at-all".to_owned(),
            arguments: "x".repeat(bytes as usize),
        };
        tools::call(&request).map_or_else(|error| code(&error), |_| "ok".to_owned())
    }
}

export!(Component);

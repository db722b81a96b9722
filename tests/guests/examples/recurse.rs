//! Calls a function, which may be its own: crosses `call-depth`.

use ringfence_test_guest_bindings::ringfence::agent::tools::{self, CallRequest};
use ringfence_test_guest_bindings::{code, text_of};

wit_bindgen::generate!({
    inline: r#"
        package ringfence:test;
        world guest {
            /// Calls `function` with `{"function": function}`. Where that call fails, the answer is
            /// `DEPTH CODE`: how many calls deep it failed, counted from there, and the code of the error.
            export recurse: func(function: string) -> string;
        }
    "#,
});

struct Component;

impl Guest for Component {
    fn recurse(function: String) -> String {
        let request = CallRequest {
            arguments: format!("{{\"function\": {function:?}}}"),
            name: function,
        };
        match tools::call(&request) {
            Ok(result) => text_of(&result.content),
            Err(error) => code(&error),
        }
    }
}

export!(Component);

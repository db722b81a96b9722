//! Opens model streams and never reads them: crosses `open-streams`.

use ringfence_test_guest_bindings::ringfence::agent::models::{self, Options, Request, ToolChoice};
use ringfence_test_guest_bindings::{code, user_message};

wit_bindgen::generate!({
    inline: r#"
        package ringfence:test;
        world guest {
            /// Opens so many streams of this model; `ok` or the code of the error for each.
            export hold: func(model: string, count: u32) -> list<string>;
        }
    "#,
});

struct Component;

impl Guest for Component {
    fn hold(model: String, count: u32) -> Vec<String> {
        let request = Request {
            model,
            messages: vec![user_message("hello")],
            tools: Vec::new(),
            tool_choice: ToolChoice::Auto,
            options: Options {
                temperature: None,
                top_p: None,
                max_tokens: None,
                stop: Vec::new(),
                seed: None,
                response_schema: None,
            },
        };
        let opened: Vec<_> = (0..count).map(|_| models::stream(&request)).collect();
        opened
            .iter()
            .map(|stream| match stream {
                Ok(_) => "ok".to_owned(),
                Err(error) => code(error),
            })
            .collect()
    }
}

export!(Component);

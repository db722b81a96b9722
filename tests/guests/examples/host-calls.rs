//! Calls the host again and again: crosses `host-calls`.

use ringfence_test_guest_bindings::http_get;
use ringfence_test_guest_bindings::ringfence::agent::tools;

wit_bindgen::generate!({
    inline: r#"
        package ringfence:test;
        world guest {
            /// Lists its tools so many times.
            export chatter: func(count: u64);
            /// Requests a URL so many times.
            export knock: func(count: u64);
        }
    "#,
});

struct Component;

impl Guest for Component {
    fn chatter(count: u64) {
        for _ in 0..count {
            let _ = tools::list();
        }
    }

    fn knock(count: u64) {
        for _ in 0..count {
            let _ = http_get("localhost:1", "/", &[]);
        }
    }
}

export!(Component);

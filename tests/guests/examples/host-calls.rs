//! Calls the host again and again: crosses `host-calls`.

use ringfence_test_guest_bindings::ringfence::agent::tools;

wit_bindgen::generate!({
    inline: r#"
        package ringfence:test;
        world guest {
            /// Lists its tools so many times.
            export chatter: func(count: u64);
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
}

export!(Component);

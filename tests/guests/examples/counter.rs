//! Behaves well: shows that no two calls share a sandbox.

use std::sync::atomic::{AtomicU32, Ordering};

static COUNT: AtomicU32 = AtomicU32::new(0);

wit_bindgen::generate!({
    inline: r#"
        package ringfence:test;
        world guest {
            /// One more than at the last call of this sandbox; always 1 in a fresh one.
            export count: func() -> u32;
        }
    "#,
});

struct Component;

impl Guest for Component {
    fn count() -> u32 {
        COUNT.fetch_add(1, Ordering::Relaxed) + 1
    }
}

export!(Component);

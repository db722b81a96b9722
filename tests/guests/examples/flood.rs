//! Sends partial output as fast as it can: more than `output-events` wait for a slow reader.

use ringfence_test_guest_bindings::ringfence::agent::output::{self, ProgressReport};
use ringfence_test_guest_bindings::ringfence::agent::types::Part;

wit_bindgen::generate!({
    inline: r#"
        package ringfence:test;
        world guest {
            /// Sends `count` pieces of `size` bytes; how many were taken.
            export flood: func(count: u32, size: u32) -> u32;
            /// Reports progress so many times; how many reports were taken.
            export progress: func(count: u32) -> u32;
        }
    "#,
});

struct Component;

impl Guest for Component {
    fn flood(count: u32, size: u32) -> u32 {
        let part = Part::Text("x".repeat(size as usize));
        (0..count).filter(|_| output::emit(&part).is_ok()).count() as u32
    }

    fn progress(count: u32) -> u32 {
        let report = |n: u32| ProgressReport {
            done: f64::from(n),
            total: Some(f64::from(count)),
            message: None,
        };
        (0..count)
            .filter(|n| output::progress(&report(*n)).is_ok())
            .count() as u32
    }
}

export!(Component);

//! Keeps resources open: crosses `resource-handles`.

use wasip2::clocks::monotonic_clock;

wit_bindgen::generate!({
    inline: r#"
        package ringfence:test;
        world guest {
            /// Opens so many timers and keeps them; the number that is open.
            export hoard: func(count: u32) -> u32;
        }
    "#,
});

struct Component;

impl Guest for Component {
    fn hoard(count: u32) -> u32 {
        let timers: Vec<_> = (0..count)
            .map(|_| monotonic_clock::subscribe_duration(1))
            .collect();
        timers.len() as u32
    }
}

export!(Component);

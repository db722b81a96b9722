//! Waits, without using processor time. Long enough, it crosses `wall-ms`.

wit_bindgen::generate!({
    inline: r#"
        package ringfence:test;
        world guest {
            /// Waits so many milliseconds.
            export sleep-ms: func(ms: u64);
        }
    "#,
});

struct Component;

impl Guest for Component {
    fn sleep_ms(ms: u64) {
        std::thread::sleep(std::time::Duration::from_millis(ms));
    }
}

export!(Component);

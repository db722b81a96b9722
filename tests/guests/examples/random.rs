//! Asks for random data: crosses `random-bytes`.

wit_bindgen::generate!({
    inline: r#"
        package ringfence:test;
        world guest {
            /// Asks for so many bytes at once; how many came.
            export random-data: func(bytes: u64) -> u64;
            /// The same of the insecure generator.
            export insecure-data: func(bytes: u64) -> u64;
        }
    "#,
});

struct Component;

impl Guest for Component {
    fn random_data(bytes: u64) -> u64 {
        wasip2::random::random::get_random_bytes(bytes).len() as u64
    }

    fn insecure_data(bytes: u64) -> u64 {
        wasip2::random::insecure::get_insecure_random_bytes(bytes).len() as u64
    }
}

export!(Component);

//! Uses processor time for ever: crosses `cpu-ms`.

wit_bindgen::generate!({
    inline: r#"
        package ringfence:test;
        world guest {
            /// Never returns.
            export spin: func();
        }
    "#,
});

struct Component;

impl Guest for Component {
    fn spin() {
        let mut n = 0u64;
        loop {
            n = std::hint::black_box(n.wrapping_add(1));
        }
    }
}

export!(Component);

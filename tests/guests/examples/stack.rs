//! Overflows its stack.

wit_bindgen::generate!({
    inline: r#"
        package ringfence:test;
        world guest {
            /// Calls itself so many times.
            export dig: func(depth: u64) -> u64;
        }
    "#,
});

struct Component;

impl Guest for Component {
    fn dig(depth: u64) -> u64 {
        deeper(depth)
    }
}

#[inline(never)]
fn deeper(depth: u64) -> u64 {
    if std::hint::black_box(depth) == 0 {
        0
    } else {
        std::hint::black_box(deeper(depth - 1)) + 1
    }
}

export!(Component);

//! Builds an endless header block: crosses the limit of HTTP header bytes.

use wasip2::http::types::Fields;

wit_bindgen::generate!({
    inline: r#"
        package ringfence:test;
        world guest {
            /// Adds `count` headers of `size` bytes each to one block; how many were taken.
            export bomb: func(count: u32, size: u32) -> u32;
        }
    "#,
});

struct Component;

impl Guest for Component {
    fn bomb(count: u32, size: u32) -> u32 {
        let fields = Fields::new();
        let value = vec![b'x'; size as usize];
        (0..count)
            .take_while(|n| fields.append(&format!("x-{n}"), &value).is_ok())
            .count() as u32
    }
}

export!(Component);

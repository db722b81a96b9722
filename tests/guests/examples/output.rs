//! Returns a huge result: crosses `output-bytes`.

wit_bindgen::generate!({
    inline: r#"
        package ringfence:test;
        world guest {
            /// A text of so many bytes.
            export text: func(bytes: u64) -> string;
            /// As many bytes.
            export binary: func(bytes: u64) -> list<u8>;
            /// A list of so many empty texts: little in the guest, much in the host.
            export empties: func(count: u64) -> list<string>;
        }
    "#,
});

struct Component;

impl Guest for Component {
    fn text(bytes: u64) -> String {
        "x".repeat(bytes as usize)
    }

    fn binary(bytes: u64) -> Vec<u8> {
        vec![7; bytes as usize]
    }

    fn empties(count: u64) -> Vec<String> {
        vec![String::new(); count as usize]
    }
}

export!(Component);

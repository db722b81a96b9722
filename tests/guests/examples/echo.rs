//! Behaves well: gives back what it gets.

wit_bindgen::generate!({
    inline: r#"
        package ringfence:test;
        world guest {
            /// Gives the text back.
            export echo: func(text: string) -> string;
            /// Adds two numbers.
            export add: func(a: s64, b: s64) -> s64;
            /// Fails with this reason.
            export fail: func(why: string) -> result<string, string>;
        }
    "#,
});

struct Component;

impl Guest for Component {
    fn echo(text: String) -> String {
        text
    }

    fn add(a: i64, b: i64) -> i64 {
        a.wrapping_add(b)
    }

    fn fail(why: String) -> Result<String, String> {
        Err(why)
    }
}

export!(Component);

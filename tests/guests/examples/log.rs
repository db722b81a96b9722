//! Writes to its log: crosses `log-bytes`.

use std::io::Write as _;

wit_bindgen::generate!({
    inline: r#"
        package ringfence:test;
        world guest {
            /// Writes so many bytes to stdout and as many to stderr, in lines of 100; how many lines were taken.
            export shout: func(bytes: u64) -> u64;
        }
    "#,
});

struct Component;

impl Guest for Component {
    fn shout(bytes: u64) -> u64 {
        let line = format!("{}\n", "x".repeat(99));
        let mut taken = 0;
        for _ in 0..bytes.div_ceil(100) {
            taken += u64::from(std::io::stdout().write_all(line.as_bytes()).is_ok());
            taken += u64::from(std::io::stderr().write_all(line.as_bytes()).is_ok());
        }
        taken
    }
}

export!(Component);

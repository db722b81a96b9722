//! Behaves well: leaves a mark for each call that outlives it.

use std::fs::OpenOptions;
use std::io::ErrorKind;

wit_bindgen::generate!({
    inline: r#"
        package ringfence:test;
        world guest {
            /// Makes the file NAME.N in a folder, with the lowest N that is free, then waits so many
            /// milliseconds. No two calls make the same file.
            export mark: func(folder: string, name: string, ms: u64) -> result<_, string>;
        }
    "#,
});

struct Component;

impl Guest for Component {
    fn mark(folder: String, name: String, ms: u64) -> Result<(), String> {
        for number in 0.. {
            let path = format!("{folder}/{name}.{number}");
            match OpenOptions::new().write(true).create_new(true).open(path) {
                Ok(_) => break,
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error.to_string()),
            }
        }
        std::thread::sleep(std::time::Duration::from_millis(ms));
        Ok(())
    }
}

export!(Component);

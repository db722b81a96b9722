//! Behaves well: keeps values as files in the folder `/data`.

use std::fs;
use std::io::ErrorKind;

wit_bindgen::generate!({
    inline: r#"
        package ringfence:test;
        world guest {
            /// Sets a value.
            export put: func(key: string, value: string) -> result<_, string>;
            /// A value, where there is one.
            export get: func(key: string) -> result<option<string>, string>;
        }
    "#,
});

struct Component;

impl Guest for Component {
    fn put(key: String, value: String) -> Result<(), String> {
        fs::write(format!("/data/{key}"), value).map_err(|e| e.to_string())
    }

    fn get(key: String) -> Result<Option<String>, String> {
        match fs::read_to_string(format!("/data/{key}")) {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.to_string()),
        }
    }
}

export!(Component);

//! The commands, one module each.

pub mod apply;
pub mod artifact;
pub mod call;
pub mod completion;
pub mod get;
pub mod grants;
pub mod host;
pub mod key;
pub mod logs;
pub mod rollout;
pub mod run;
pub mod serve;
pub mod version;

use std::io::Read as _;

use anyhow::Result;

use crate::exit::{Code, fail};

/// Bytes that are read from standard input or one file.
const INPUT_BYTES: u64 = 64 << 20;

/// Reads a file, or standard input where the path is `-`.
fn read_input(path: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = match path {
        "-" => std::io::stdin()
            .take(INPUT_BYTES + 1)
            .read_to_end(&mut bytes),
        path => std::fs::File::open(path)
            .and_then(|file| file.take(INPUT_BYTES + 1).read_to_end(&mut bytes)),
    };
    read.map_err(|error| fail(Code::Invalid, format!("{path} cannot be read: {error}")))?;
    if bytes.len() as u64 > INPUT_BYTES {
        return Err(fail(
            Code::Limit,
            format!("{path} is larger than {INPUT_BYTES} bytes"),
        ));
    }
    Ok(bytes)
}

/// As [`read_input`], for text.
fn read_text(path: &str) -> Result<String> {
    String::from_utf8(read_input(path)?)
        .map_err(|_| fail(Code::Invalid, format!("{path} is not UTF-8 text")))
}

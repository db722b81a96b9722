//! Fills a folder: crosses `folder-write-bytes`.

use std::fs;
use std::io::Write as _;

wit_bindgen::generate!({
    inline: r#"
        package ringfence:test;
        world guest {
            /// Writes so many bytes to this path, 64 KiB at a time; how many were taken, and the error that
            /// stopped it.
            export fill: func(path: string, bytes: u64) -> tuple<u64, option<string>>;
            /// Makes a file of this size without writing to it.
            export stretch: func(path: string, bytes: u64) -> result<_, string>;
            /// Makes so many empty files in this folder.
            export litter: func(folder: string, count: u64) -> result<_, string>;
        }
    "#,
});

struct Component;

impl Guest for Component {
    fn fill(path: String, bytes: u64) -> (u64, Option<String>) {
        let mut file = match fs::File::create(path) {
            Ok(file) => file,
            Err(error) => return (0, Some(error.to_string())),
        };
        let chunk = vec![7; 64 << 10];
        let mut taken = 0;
        while taken < bytes {
            let piece = &chunk[..chunk.len().min((bytes - taken) as usize)];
            if let Err(error) = file.write_all(piece) {
                return (taken, Some(error.to_string()));
            }
            taken += piece.len() as u64;
        }
        (taken, None)
    }

    fn stretch(path: String, bytes: u64) -> Result<(), String> {
        let file = fs::File::create(path).map_err(|e| e.to_string())?;
        file.set_len(bytes).map_err(|e| e.to_string())
    }

    fn litter(folder: String, count: u64) -> Result<(), String> {
        (0..count).try_for_each(|n| match fs::File::create(format!("{folder}/{n}")) {
            Ok(_) => Ok(()),
            Err(error) => Err(error.to_string()),
        })
    }
}

export!(Component);

//! Behaves well: appends lines to a file that others append to as well.

use std::fs::OpenOptions;
use std::io::Write as _;

use wasip2::filesystem::preopens;
use wasip2::filesystem::types::{DescriptorFlags, OpenFlags, PathFlags};

wit_bindgen::generate!({
    inline: r#"
        package ringfence:test;
        world guest {
            /// Appends so many lines NAME-N, each with one write, by the standard library.
            export append-lines: func(path: string, name: string, count: u32) -> result<_, string>;
            /// The same with the functions of WASI themselves, below the first folder: each line to a stream of its
            /// own, which is dropped without waiting for the write.
            export append-and-drop: func(path: string, name: string, count: u32) -> result<_, string>;
        }
    "#,
});

struct Component;

fn line(name: &str, number: u32) -> String {
    format!("{name}-{number}\n")
}

impl Guest for Component {
    fn append_lines(path: String, name: String, count: u32) -> Result<(), String> {
        let opened = OpenOptions::new().append(true).create(true).open(path);
        let mut file = opened.map_err(|e| e.to_string())?;
        for number in 0..count {
            file.write_all(line(&name, number).as_bytes())
                .map_err(|e| e.to_string())?;
        }
        Ok(())
    }

    fn append_and_drop(path: String, name: String, count: u32) -> Result<(), String> {
        let folders = preopens::get_directories();
        let (folder, _) = folders.first().ok_or("no folder")?;
        let file = folder
            .open_at(
                PathFlags::empty(),
                &path,
                OpenFlags::CREATE,
                DescriptorFlags::WRITE,
            )
            .map_err(|e| e.name().to_owned())?;
        for number in 0..count {
            let stream = file.append_via_stream().map_err(|e| e.name().to_owned())?;
            stream.check_write().map_err(|e| e.to_string())?;
            stream
                .write(line(&name, number).as_bytes())
                .map_err(|e| e.to_string())?;
        }
        Ok(())
    }
}

export!(Component);

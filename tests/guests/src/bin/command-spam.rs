//! A command whose stdout never ends: crosses `output-bytes`.

use std::io::{Write as _, stdout};

fn main() -> std::io::Result<()> {
    let mut out = stdout();
    loop {
        out.write_all(&[b'x'; 4096])?;
    }
}

//! Behaves well: a command that writes each argument on a line of its own and then all of stdin.

use std::io::{Write as _, copy, stdin, stdout};

fn main() -> std::io::Result<()> {
    let mut out = stdout();
    for argument in std::env::args().skip(1) {
        writeln!(out, "{argument}")?;
    }
    copy(&mut stdin(), &mut out)?;
    out.flush()
}

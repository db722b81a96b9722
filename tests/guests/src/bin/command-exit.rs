//! A command that writes `to stdout` and `to stderr` and exits with the code that its argument says.

use std::process::ExitCode;

fn main() -> ExitCode {
    println!("to stdout");
    eprintln!("to stderr");
    let code = std::env::args().nth(1).and_then(|code| code.parse().ok());
    ExitCode::from(code.unwrap_or(1))
}

//! The `ringfence` command line: what authors, operators and clients type.

pub mod args;
pub mod authoring;

use std::process::ExitCode;

use clap::Parser as _;

use crate::args::{Cli, Command};

/// Reads the command line, does what it says and turns the result into an exit code.
pub fn run() -> ExitCode {
    let result = match Cli::parse().command {
        Command::New(args) => authoring::new::run(&args),
        Command::Build(args) => authoring::build::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", authoring::error::chain(&error));
            ExitCode::FAILURE
        }
    }
}

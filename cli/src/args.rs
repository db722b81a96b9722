//! The command line's grammar.

use clap::{Parser, Subcommand};

use crate::authoring::{build::BuildArgs, new::NewArgs};

/// Runs AI agents and tools as WebAssembly components, each call in a fresh sandbox.
#[derive(Debug, Parser)]
#[command(name = "ringfence", version, propagate_version = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the command can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Scaffold a tool, an agent or a command-line tool
    New(NewArgs),
    /// Build a project folder into a component
    Build(BuildArgs),
}

//! The command line's grammar.

use clap::{Parser, Subcommand};

use crate::authoring::{build::BuildArgs, new::NewArgs};
use crate::command::{
    apply::{ApplyArgs, DeleteArgs},
    artifact::{InspectArgs, PullArgs, PushArgs},
    call::CallArgs,
    completion::CompletionArgs,
    get::{DescribeArgs, GetArgs},
    grants::GrantsArgs,
    host::HostArgs,
    key::KeyArgs,
    logs::LogsArgs,
    rollout::RolloutArgs,
    run::RunArgs,
    serve::ServeArgs,
};
use crate::show::Format;
use crate::target::Target;

/// Runs AI agents and tools as WebAssembly components, each call in a fresh sandbox.
///
/// Exit codes: 0 it worked, 1 it failed, 2 wrong usage, 3 not found, 4 denied, 5 not reachable,
/// 6 not valid, 7 a limit or deadline was crossed.
#[derive(Debug, Parser)]
#[command(
    name = "ringfence",
    version,
    propagate_version = true,
    disable_version_flag = false
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Which host or cluster.
    #[command(flatten)]
    pub target: Target,
    /// How results are printed
    #[arg(
        short,
        long,
        global = true,
        value_enum,
        default_value_t,
        value_name = "FORMAT"
    )]
    pub output: Format,
}

/// What the command can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a host on this machine
    Serve(Box<ServeArgs>),
    /// Run a host as a node of a Kubernetes cluster
    Host(Box<HostArgs>),
    /// Create or change resources from YAML
    Apply(ApplyArgs),
    /// List resources, artifacts, runs or tenants, or show one
    Get(GetArgs),
    /// Show everything about one resource
    Describe(DescribeArgs),
    /// Show what an agent or tool may do, what not, and why
    Grants(GrantsArgs),
    /// Remove resources or artifacts
    Delete(DeleteArgs),
    /// Upload a component to the host, and to a registry with --to
    Push(PushArgs),
    /// Let the host pull a component from a registry
    Pull(PullArgs),
    /// Show what a component exports, imports and would need
    Inspect(InspectArgs),
    /// Run an agent
    Run(RunArgs),
    /// Call a function of a tool
    Call(CallArgs),
    /// Show what an agent, a tool or a run wrote to its log
    Logs(LogsArgs),
    /// Follow, undo, pause and promote new revisions (on a cluster)
    Rollout(RolloutArgs),
    /// Scaffold a tool, an agent or a command-line tool
    New(NewArgs),
    /// Build a project folder into a component
    Build(BuildArgs),
    /// Make and remove API keys
    Key(KeyArgs),
    /// Print the versions of this command and of the host
    Version,
    /// Print a completion script for a shell
    Completion(CompletionArgs),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_grammar_has_no_clashes() {
        Cli::command().debug_assert();
    }

    #[test]
    fn options_of_every_command_are_beside_those_of_one() {
        let cli =
            Cli::try_parse_from(["ringfence", "build", "notes", "-f", "x.wasm", "-o", "json"])
                .unwrap();
        let Command::Build(args) = cli.command else {
            unreachable!("it is a build")
        };
        assert_eq!(args.file.as_deref(), Some("x.wasm".as_ref()));
    }
}

//! The `ringfence` command line: what authors, operators and clients type.

pub mod args;
pub mod authoring;
pub mod client;
pub mod cluster;
pub mod command;
pub mod exit;
pub mod place;
mod plugin;
pub mod show;
pub mod target;
mod tls;

use std::process::ExitCode;

use crate::args::{Cli, Command};

/// First argument of the process in which the host compiles a component. Not for people.
pub const COMPILE_WORKER: &str = "compile-worker";

/// Reads the command line, does what it says and turns the result into an exit code.
pub fn run() -> ExitCode {
    let program = plugin::Program::of(std::env::args_os().next().unwrap_or_default());
    let mut arguments = std::env::args().skip(1);
    if program == plugin::Program::Completion {
        return plugin::complete(&arguments.collect::<Vec<_>>());
    }
    if arguments.next().as_deref() == Some(COMPILE_WORKER) {
        return ringfence_host::artifact::worker::main(arguments);
    }
    let cli = match program.parse() {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    match command(cli, program) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Each cause once: some errors say their cause themselves.
            let mut text = String::new();
            for cause in error.chain().map(ToString::to_string) {
                if !text.contains(&cause) {
                    text += if text.is_empty() { "" } else { ": " };
                    text += &cause;
                }
            }
            eprintln!("error: {}", show::safe(&text));
            exit::code_of(&error).into()
        }
    }
}

fn command(cli: Cli, program: plugin::Program) -> anyhow::Result<()> {
    let plugin = program == plugin::Program::Kubectl;
    match cli.command {
        Command::Build(args) => return authoring::build::run(&args, cli.output),
        Command::New(args) => return authoring::new::run(&args, cli.output),
        Command::Completion(args) => return command::completion::run(&args),
        Command::Key(args) => return command::key::run(args, cli.output),
        Command::Serve(args) => {
            return tokio::runtime::Builder::new_multi_thread()
                .enable_all()
                .build()?
                .block_on(command::serve::run(*args));
        }
        Command::Host(args) => {
            return tokio::runtime::Builder::new_multi_thread()
                .enable_all()
                .build()?
                .block_on(command::host::run(*args, cli.target.system_namespace));
        }
        _ => {}
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let place = place::Place::find(&cli.target, plugin).await?;
        match cli.command {
            Command::Apply(args) => command::apply::apply(&place, args, cli.output).await,
            Command::Get(args) => command::get::get(&place, args, cli.output).await,
            Command::Describe(args) => command::get::describe(&place, args, cli.output).await,
            Command::Grants(args) => command::grants::run(&place, args, cli.output).await,
            Command::Delete(args) => command::apply::delete(&place, args, cli.output).await,
            Command::Push(args) => command::artifact::push(&place, args, cli.output).await,
            Command::Pull(args) => command::artifact::pull(&place, args, cli.output).await,
            Command::Inspect(args) => command::artifact::inspect(&place, args, cli.output).await,
            Command::Run(args) => command::run::run(&place, args, cli.output).await,
            Command::Call(args) => command::call::run(&place, args, cli.output).await,
            Command::Logs(args) => command::logs::run(&place, args, cli.output).await,
            Command::Rollout(args) => command::rollout::run(&place, args, cli.output).await,
            Command::Version => command::version::run(&place, cli.output).await,
            // Done above, without a host.
            Command::Serve(_)
            | Command::Host(_)
            | Command::Build(_)
            | Command::New(_)
            | Command::Key(_)
            | Command::Completion(_) => Ok(()),
        }
    })
}

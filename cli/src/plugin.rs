//! `kubectl ringfence`: the same command under the name by which kubectl finds plugins, and the helper
//! that kubectl asks for completions of it.
//!
//! ```text
//! ln -s ringfence kubectl-ringfence              # kubectl ringfence …
//! ln -s ringfence kubectl_complete-ringfence     # kubectl ringfence <TAB>
//! ```

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use clap::{Command, CommandFactory as _, FromArgMatches as _};

use crate::args::Cli;

/// Tells kubectl's completion that it should not offer files. A number of cobra's protocol
/// (`ShellCompDirectiveNoFileComp`).
const NO_FILES: u8 = 4;
/// Tells it to do what the shell does by itself, which is to offer files.
const FILES: u8 = 0;

/// As what this program was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Program {
    /// Under a name of its own.
    Ringfence,
    /// As a plugin of kubectl.
    Kubectl,
    /// As what kubectl asks for completions.
    Completion,
}

impl Program {
    /// By the name that it was started by.
    pub(crate) fn of(name: OsString) -> Self {
        let stem = Path::new(&name).file_stem().unwrap_or_default();
        match stem.to_str() {
            Some("kubectl-ringfence") => Self::Kubectl,
            Some("kubectl_complete-ringfence") => Self::Completion,
            _ => Self::Ringfence,
        }
    }

    /// Reads the command line; help and errors name the program as it is typed.
    pub(crate) fn parse(self) -> Result<Cli, clap::Error> {
        let mut command = grammar(self);
        let matches = command.try_get_matches_from_mut(std::env::args_os())?;
        Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
    }
}

fn grammar(program: Program) -> Command {
    match program {
        Program::Ringfence => Cli::command(),
        Program::Kubectl | Program::Completion => Cli::command().bin_name("kubectl ringfence"),
    }
}

/// Answers kubectl: one candidate a line, then what the shell should do beside.
pub(crate) fn complete(words: &[String]) -> ExitCode {
    let (candidates, files) = candidates(&mut grammar(Program::Completion), words);
    let mut text: String = candidates.iter().map(|line| format!("{line}\n")).collect();
    text += &format!(":{}\n", if files { FILES } else { NO_FILES });
    match crate::show::print(&text) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// What may stand in the place of the last word, with a description after a tab; and whether a file may.
fn candidates(command: &mut Command, words: &[String]) -> (Vec<String>, bool) {
    command.build();
    let Some((last, before)) = words.split_last() else {
        return (Vec::new(), false);
    };
    let mut at: &Command = command;
    let mut positional = 0;
    let mut words = before.iter();
    let mut value_of = None;
    while let Some(word) = words.next() {
        if word.starts_with('-') {
            let takes = option(at, word).filter(|option| option.get_action().takes_values());
            // The value is in the same word, or is the next one, or is what is typed now.
            if let Some(option) = takes.filter(|_| !word.contains('='))
                && words.next().is_none()
            {
                value_of = Some(option);
            }
        } else if let Some(sub) = at.find_subcommand(word) {
            (at, positional) = (sub, 0);
        } else {
            positional += 1;
        }
    }
    if let Some(option) = value_of {
        return values(option, last);
    }
    if last.starts_with('-') {
        let long = at.get_arguments().filter(|arg| !arg.is_hide_set());
        let long = long.filter_map(|arg| {
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            Some(line(&format!("--{}", arg.get_long()?), &help))
        });
        return (
            long.filter(|line| line.starts_with(last.as_str()))
                .collect(),
            false,
        );
    }
    if at.has_subcommands() {
        let subcommands = at.get_subcommands().filter(|sub| !sub.is_hide_set());
        let names = subcommands.map(|sub| {
            let about = sub.get_about().map(ToString::to_string).unwrap_or_default();
            line(sub.get_name(), &about)
        });
        return (
            names
                .filter(|line| line.starts_with(last.as_str()))
                .collect(),
            false,
        );
    }
    match at.get_positionals().nth(positional) {
        Some(argument) => values(argument, last),
        None => (Vec::new(), false),
    }
}

fn option<'a>(command: &'a Command, word: &str) -> Option<&'a clap::Arg> {
    let name = word.trim_start_matches('-').split('=').next()?;
    command.get_arguments().find(|argument| {
        let long = argument.get_long_and_visible_aliases().unwrap_or_default();
        let short = argument.get_short_and_visible_aliases().unwrap_or_default();
        match word.starts_with("--") {
            true => long.contains(&name),
            false => name.chars().next().is_some_and(|c| short.contains(&c)),
        }
    })
}

/// The values that an argument may have, where they are few; files otherwise, where it takes one.
fn values(argument: &clap::Arg, begun: &str) -> (Vec<String>, bool) {
    let possible: Vec<String> = argument
        .get_possible_values()
        .iter()
        .filter(|value| !value.is_hide_set())
        .map(|value| {
            let help = value
                .get_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            line(value.get_name(), &help)
        })
        .collect();
    let known = argument.get_value_names().unwrap_or_default();
    let takes = |names: &[&str]| known.iter().any(|name| names.contains(&name.as_str()));
    let possible = match possible.is_empty() && takes(&["KIND"]) {
        true => crate::command::get::KINDS.map(ToOwned::to_owned).to_vec(),
        false => possible,
    };
    let files = takes(&["PATH", "FILE", "FOLDER", "FILE|DIGEST"]);
    let fitting = possible.into_iter().filter(|line| line.starts_with(begun));
    (fitting.collect(), files)
}

fn line(value: &str, help: &str) -> String {
    match help.lines().next().unwrap_or_default() {
        "" => value.to_owned(),
        help => format!("{value}\t{help}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered(words: &[&str]) -> (Vec<String>, bool) {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let (lines, files) = candidates(&mut grammar(Program::Completion), &words);
        let name = |line: &String| line.split('\t').next().unwrap_or_default().to_owned();
        (lines.iter().map(name).collect(), files)
    }

    #[test]
    fn the_name_says_what_the_program_is() {
        for (name, program) in [
            ("/usr/bin/kubectl-ringfence", Program::Kubectl),
            ("kubectl_complete-ringfence", Program::Completion),
            ("./ringfence", Program::Ringfence),
            ("", Program::Ringfence),
        ] {
            assert_eq!(Program::of(name.into()), program, "{name}");
        }
    }

    #[test]
    fn commands_options_kinds_and_values_are_offered() {
        assert_eq!(offered(&["des"]), (vec!["describe".to_owned()], false));
        let (kinds, files) = offered(&["get", ""]);
        assert!(kinds.contains(&"agents".to_owned()) && !files);
        assert_eq!(offered(&["get", "agents", ""]), (Vec::new(), false));
        let (formats, _) = offered(&["get", "-o", ""]);
        assert_eq!(formats, ["table", "json", "yaml"]);
        assert_eq!(offered(&["apply", "--dry"]).0, ["--dry-run"]);
        assert_eq!(offered(&["apply", "-f", ""]), (Vec::new(), true));
        assert_eq!(offered(&["-n", "team", "del"]).0, ["delete"]);
    }
}

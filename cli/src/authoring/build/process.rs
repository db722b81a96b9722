//! Runs the languages' own tools. What they say is passed through line by line; a tool that is not
//! installed becomes an error that says what to install.

use std::ffi::OsStr;
use std::io::{self, BufRead as _, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};

use super::progress::Progress;
use crate::authoring::error::{AuthoringError, Result};

/// One run of a tool.
#[derive(Debug)]
pub(super) struct Tool<'a> {
    command: Command,
    name: String,
    purpose: &'a str,
    remedy: &'a str,
}

impl<'a> Tool<'a> {
    /// A tool, what it is for, and what to do where it is missing.
    pub(super) fn new(program: impl AsRef<OsStr>, purpose: &'a str, remedy: &'a str) -> Self {
        let program = program.as_ref();
        let name = Path::new(program)
            .file_name()
            .unwrap_or(program)
            .to_string_lossy()
            .into_owned();
        Self {
            command: Command::new(program),
            name,
            purpose,
            remedy,
        }
    }

    /// Calls it something else in messages.
    pub(super) fn named(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// Adds an argument.
    pub(super) fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    /// Adds arguments.
    pub(super) fn args<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(mut self, args: I) -> Self {
        self.command.args(args);
        self
    }

    /// Sets an environment variable.
    pub(super) fn env(mut self, key: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(key, value);
        self
    }

    /// Takes an environment variable away.
    pub(super) fn without_env(mut self, key: &str) -> Self {
        self.command.env_remove(key);
        self
    }

    /// Runs in a folder.
    pub(super) fn current_dir(mut self, folder: &Path) -> Self {
        self.command.current_dir(folder);
        self
    }

    /// Runs to the end, passing on everything it writes.
    ///
    /// # Errors
    /// When the tool is missing or fails.
    pub(super) fn run(self, progress: &Progress) -> Result<()> {
        self.execute(progress, false).map(|_| ())
    }

    /// Runs to the end, passing on what it writes to stderr, and returns its stdout.
    ///
    /// # Errors
    /// When the tool is missing or fails.
    pub(super) fn stdout(self, progress: &Progress) -> Result<String> {
        self.execute(progress, true)
    }

    fn execute(mut self, progress: &Progress, capture: bool) -> Result<String> {
        let mut child = match self
            .command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
        {
            Ok(child) => child,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(AuthoringError::MissingTool {
                    tool: self.name,
                    purpose: self.purpose.to_owned(),
                    remedy: self.remedy.to_owned(),
                });
            }
            Err(error) => return Err(AuthoringError::io("start", Path::new(&self.name))(error)),
        };
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let output = std::thread::scope(|scope| {
            let errors = scope.spawn(move || pass_on(stderr, progress));
            let output = if capture {
                read_all(stdout)
            } else {
                pass_on(stdout, progress).map(|()| String::new())
            };
            errors
                .join()
                .map_err(|_| io::Error::other("the reader of stderr failed"))??;
            output
        })
        .map_err(AuthoringError::io(
            "read the output of",
            Path::new(&self.name),
        ))?;
        let status = child
            .wait()
            .map_err(AuthoringError::io("wait for", Path::new(&self.name)))?;
        if status.success() {
            Ok(output)
        } else {
            Err(AuthoringError::ToolFailed {
                tool: self.name,
                status: status.to_string(),
            })
        }
    }
}

fn pass_on(stream: Option<impl Read>, progress: &Progress) -> io::Result<()> {
    let Some(stream) = stream else { return Ok(()) };
    let mut reader = BufReader::new(stream);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line)? > 0 {
        progress.line(String::from_utf8_lossy(&line).trim_end());
        line.clear();
    }
    Ok(())
}

fn read_all(stream: Option<impl Read>) -> io::Result<String> {
    let mut bytes = Vec::new();
    if let Some(mut stream) = stream {
        stream.read_to_end(&mut bytes)?;
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_tool_says_what_to_do() {
        let error = Tool::new("no-such-compiler", "compile Elbonian", "Install it.")
            .run(&Progress::new())
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "`no-such-compiler` is missing; it is needed to compile Elbonian. Install it."
        );
    }

    #[test]
    fn a_failing_tool_is_named_with_its_status() {
        let error = Tool::new("sh", "test", "")
            .args(["-c", "exit 3"])
            .run(&Progress::new())
            .unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("`sh` failed with exit status: 3"),
            "{error}"
        );
    }

    #[test]
    fn stdout_is_returned_whole() {
        let text = Tool::new("sh", "test", "")
            .args(["-c", "echo one; echo two >&2; echo three"])
            .stdout(&Progress::new());
        assert_eq!(text.unwrap(), "one\nthree\n");
    }
}

//! The compile worker: a process that inspects and compiles one component, then ends.
//!
//! Compiling an unknown component can take any amount of time and memory, and a bug in the compiler
//! should meet a process that holds nothing. So the host starts itself again with a hidden first
//! argument, hands over the component as stdin and an empty file as stdout, and reads the answer, one
//! line of JSON, from stderr. See [`super::jail`] for what the process gives up first.

use std::io::{Read, Write, stderr, stdin, stdout};
use std::process::ExitCode;

use ringfence_api::Digest;
use serde::{Deserialize, Serialize};

use super::inspect::{Inspection, inspect};
use super::jail::{self, Held, Limits};

/// Marks the answer among whatever else lands on stderr.
pub(super) const ANSWER: &str = "ringfence-compile-worker:";
/// Exit code when the host is gone.
pub(super) const EXIT_ABANDONED: i32 = 3;

/// What the worker is told, as its last argument.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Task {
    pub limits: Limits,
}

/// What the worker found.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Answer {
    /// The compiled code is in the output file.
    Compiled(Box<Compiled>),
    /// The component cannot run here; the reason is for its author.
    Refused(String),
    /// The compiled code is larger than the output file may be.
    TooMuchCode,
    /// Compiling it needs more memory than there is.
    OutOfMemory,
    /// The worker itself cannot run here.
    Unfit(String),
}

/// A compiled component.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Compiled {
    /// Of the bytes that were read.
    pub digest: Digest,
    /// [`crate::engine::Engine::hash`] of the compiler.
    pub engine: String,
    /// CRC-32 of the compiled code.
    pub checksum: u32,
    /// Bytes of the compiled code.
    pub size: u64,
    pub held: Held,
    pub inspection: Inspection,
}

/// Runs the worker. The program that hosts the library calls this, and nothing else before it, when
/// its first argument is the one that it gave to [`super::Launcher`]; `arguments` are the ones after
/// that.
pub fn main(arguments: impl IntoIterator<Item = String>) -> ExitCode {
    let task = arguments.into_iter().last();
    let task = task.and_then(|text| serde_json::from_str::<Task>(&text).ok());
    let answer = match task {
        Some(task) => run(&task),
        None => Answer::Unfit("this command is for the host's own use".into()),
    };
    let failed = !matches!(answer, Answer::Compiled(_));
    let written = serde_json::to_string(&answer)
        .map_err(std::io::Error::from)
        .and_then(|json| writeln!(stderr(), "{ANSWER}{json}"));
    match written {
        Ok(()) if !failed => ExitCode::SUCCESS,
        Ok(()) => ExitCode::from(1),
        Err(_) => ExitCode::from(2),
    }
}

fn run(task: &Task) -> Answer {
    let held = match jail::enter(&task.limits) {
        Ok(held) => held,
        Err(error) => return Answer::Unfit(chain(&error)),
    };
    let engine = match crate::engine::compiler() {
        Ok(engine) => engine,
        Err(error) => return Answer::Unfit(chain(&error)),
    };
    let mut bytes = Vec::new();
    let limit = task.limits.input_bytes;
    match stdin()
        .lock()
        .take(limit.saturating_add(1))
        .read_to_end(&mut bytes)
    {
        Ok(_) if bytes.len() as u64 <= limit => {}
        Ok(_) => return Answer::Refused(format!("more than {limit} bytes")),
        Err(error) => return Answer::Unfit(format!("failed to read the component: {error}")),
    }
    let digest = Digest::of(&bytes);
    let inspection = match inspect(&bytes) {
        Ok(inspection) => inspection,
        Err(error) => return Answer::Refused(chain(&error)),
    };
    let code = match engine.precompile_component(&bytes) {
        Ok(code) => code,
        Err(error) if super::compile::out_of_memory(&format!("{error:#}")) => {
            return Answer::OutOfMemory;
        }
        // Validation found what the inspection did not: the author's to fix.
        Err(error) => return Answer::Refused(format!("{error:#}")),
    };
    if code.len() as u64 > task.limits.output_bytes {
        return Answer::TooMuchCode;
    }
    if let Err(error) = stdout()
        .lock()
        .write_all(&code)
        .and_then(|()| stdout().flush())
    {
        return Answer::Unfit(format!("failed to write the compiled code: {error}"));
    }
    Answer::Compiled(Box::new(Compiled {
        digest,
        engine: crate::engine::compatibility(&engine),
        checksum: crc32fast::hash(&code),
        size: code.len() as u64,
        held,
        inspection,
    }))
}

/// The error and its causes, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

//! Exit codes, and failures that carry one. Scripts may rely on the numbers.
//!
//! | code | meaning |
//! |---|---|
//! | 0 | it worked |
//! | 1 | it failed: the function or agent reported an error, a build failed, … |
//! | 2 | the command line is wrong |
//! | 3 | there is no such thing |
//! | 4 | denied: not granted, no key, or a key that may not do this |
//! | 5 | the host, or what it needs, cannot be reached |
//! | 6 | a manifest, component or argument is not valid |
//! | 7 | a limit, a budget or a deadline was crossed |

use std::fmt;
use std::process::ExitCode;

/// Why a command failed, as a script sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// It failed.
    Failed = 1,
    /// The command line is wrong.
    Usage = 2,
    /// There is no such thing.
    NotFound = 3,
    /// Denied.
    Denied = 4,
    /// It cannot be reached.
    Unavailable = 5,
    /// Not valid.
    Invalid = 6,
    /// A limit or a deadline was crossed.
    Limit = 7,
}

impl Code {
    /// The code for the code of a call error, or of a problem document.
    pub fn of(code: &str) -> Self {
        match code {
            "not-found" => Self::NotFound,
            "denied" | "unauthenticated" | "foreign-origin" | "unknown-host" => Self::Denied,
            "unavailable" | "throttled" => Self::Unavailable,
            "invalid" | "bad-body" | "bad-host" | "method-not-allowed" => Self::Invalid,
            "limit-exceeded" | "budget-exceeded" | "timeout" | "too-large" => Self::Limit,
            _ => Self::Failed,
        }
    }
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        ExitCode::from(code as u8)
    }
}

/// A failure with its exit code: the context that carries the code through `anyhow`.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub code: Code,
    /// What went wrong and what to do.
    pub message: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// A failure with an exit code.
pub fn fail(code: Code, message: impl Into<String>) -> anyhow::Error {
    Failure {
        code,
        message: message.into(),
    }
    .into()
}

/// The exit code of an error.
pub fn code_of(error: &anyhow::Error) -> Code {
    error
        .chain()
        .find_map(|cause| cause.downcast_ref::<Failure>())
        .map_or(Code::Failed, |f| f.code)
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn the_code_survives_context() {
        let error = Err::<(), _>(fail(Code::Denied, "no"))
            .context("while calling")
            .unwrap_err();
        assert_eq!(code_of(&error), Code::Denied);
        assert_eq!(code_of(&anyhow::anyhow!("other")), Code::Failed);
    }
}

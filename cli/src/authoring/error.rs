//! What can go wrong while scaffolding or building.

use std::error::Error as StdError;
use std::io;
use std::path::{Path, PathBuf};

/// A failure of `ringfence new` or `ringfence build`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthoringError {
    /// A program that the language needs is not installed.
    #[error("`{tool}` is missing; it is needed to {purpose}. {remedy}")]
    MissingTool {
        /// The program.
        tool: String,
        /// What it would have done.
        purpose: String,
        /// What to do, as a sentence.
        remedy: String,
    },
    /// A compiler or package manager ran and failed; what it said was passed through.
    #[error("`{tool}` failed with {status}; see its messages above")]
    ToolFailed {
        /// The program.
        tool: String,
        /// Its exit status.
        status: String,
    },
    /// A project file or folder that does not say what is needed.
    #[error("{}: {problem}", path.display())]
    Project {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong and what to do.
        problem: String,
    },
    /// A file could not be read or written.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// Verb.
        action: &'static str,
        /// What it was done to.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The WIT files or the compiled module do not fit together.
    #[error("cannot {action}")]
    Component {
        /// What was tried.
        action: String,
        /// Why it failed.
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },
}

/// Result of an authoring step.
pub type Result<T> = std::result::Result<T, AuthoringError>;

impl AuthoringError {
    /// A project file or folder is wrong.
    pub(crate) fn project(path: impl Into<PathBuf>, problem: impl Into<String>) -> Self {
        Self::Project {
            path: path.into(),
            problem: problem.into(),
        }
    }

    /// A step on WIT or Wasm bytes failed. Their libraries report through `anyhow`; its whole chain
    /// is kept.
    pub(crate) fn component<E>(action: impl Into<String>) -> impl FnOnce(E) -> Self
    where
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        let action = action.into();
        move |source| Self::Component {
            action,
            source: source.into(),
        }
    }

    /// A file operation failed.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }
}

//! How handling an artifact can fail.

use std::io;
use std::path::PathBuf;

use ringfence_api::Digest;

use super::compile::CompileError;
use super::oci::OciError;
use crate::error::CallError;

/// Every way in which the store, the compiler or a registry can fail. A refused artifact leaves
/// nothing behind.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArtifactError {
    /// Another process works in this data directory.
    #[error("{} is in use by another process; stop it or choose another data directory", .0.display())]
    Locked(PathBuf),
    /// More bytes than an artifact may have.
    #[error(
        "the artifact is larger than {maximum} bytes; build it smaller (strip, optimise) or raise the limit"
    )]
    TooLarge {
        /// The limit.
        maximum: u64,
    },
    /// Fewer bytes arrived than were announced, or none for too long.
    #[error("the upload ended early: {0}; send it again")]
    Incomplete(String),
    /// The bytes are not what the digest says.
    #[error("expected {expected}, got {actual}; the artifact was changed on the way")]
    DigestMismatch {
        /// What was asked for.
        expected: Digest,
        /// What came.
        actual: Digest,
    },
    /// Not a component that this host can run.
    #[error("refused: {0}")]
    Refused(String),
    /// It is one, but could not be compiled.
    #[error("failed to compile the component")]
    Compile(#[from] CompileError),
    /// No such artifact, or not for this tenant.
    #[error("artifact {0} is not here; push it first")]
    NotFound(Digest),
    /// A resource still runs it.
    #[error("artifact {0} is in use; delete the resources that name it first")]
    InUse(Digest),
    /// The store, or the tenant's part of it, is full.
    #[error("{whose} may store {maximum} bytes of artifacts; delete some first")]
    Quota {
        /// "this tenant" or "this host".
        whose: &'static str,
        /// The limit.
        maximum: u64,
    },
    /// Too many uploads or pulls at once.
    #[error("too many artifacts are being stored at the moment; try again")]
    Busy,
    /// A stored artifact no longer has the bytes that its digest names.
    #[error("the stored bytes of {0} are damaged; push it again")]
    Damaged(Digest),
    /// Compiled code that this engine will not load.
    #[error("failed to load the compiled component {digest}")]
    Load {
        /// Which.
        digest: Digest,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The registry.
    #[error("registry: {0}")]
    Oci(#[from] OciError),
    /// The disk.
    #[error("failed to {what}")]
    Io {
        /// "store an artifact", …
        what: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl ArtifactError {
    pub(super) fn io(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { what, source }
    }
}

impl From<&ArtifactError> for CallError {
    /// What a caller may know: paths and the reasons of the disk stay in the log.
    fn from(error: &ArtifactError) -> Self {
        use ArtifactError as E;
        match error {
            E::TooLarge { maximum } => CallError::limit("artifact-bytes", *maximum),
            E::Quota { maximum, .. } => CallError::limit("stored-artifact-bytes", *maximum),
            E::NotFound(_) => CallError::NotFound(error.to_string()),
            E::Busy | E::Compile(CompileError::Busy) => CallError::Unavailable(error.to_string()),
            E::Compile(cause) => CallError::Invalid(format!("{error}: {cause}")),
            E::Incomplete(_) | E::DigestMismatch { .. } | E::Refused(_) | E::InUse(_) => {
                CallError::Invalid(error.to_string())
            }
            E::Oci(cause) => cause.into(),
            E::Locked(_) | E::Damaged(_) | E::Load { .. } | E::Io { .. } => {
                CallError::Unavailable("the host cannot read its artifacts".into())
            }
        }
    }
}

//! How a registry can fail us.

use crate::error::CallError;

/// What went wrong between the host and a registry.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OciError {
    /// Not an image reference.
    #[error("{image:?} is not an image reference: {reason}; write registry/repository:tag")]
    Reference {
        /// What was given.
        image: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The host's operator did not allow this.
    #[error("{0}")]
    Forbidden(String),
    /// Nobody answers, or not in time.
    #[error("{registry} cannot be reached: {reason}")]
    Unreachable {
        /// The registry.
        registry: String,
        /// Why.
        reason: String,
    },
    /// It wants to know who asks, or does not like the answer.
    #[error("{registry} refuses access; check the name of the image and the credentials")]
    Unauthorized {
        /// The registry.
        registry: String,
    },
    /// No such image.
    #[error("{0} does not exist")]
    NotFound(String),
    /// Another answer than the specification has.
    #[error("{registry} answered {status}: {message}")]
    Status {
        /// The registry.
        registry: String,
        /// HTTP status.
        status: u16,
        /// The codes from its answer.
        message: String,
    },
    /// The image is no Wasm component in the format that we know.
    #[error("{image} is not a Wasm component: {reason}")]
    Format {
        /// The image.
        image: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Answers that contradict the specification or themselves.
    #[error("{registry} breaks the registry protocol: {reason}")]
    Protocol {
        /// The registry.
        registry: String,
        /// How.
        reason: String,
    },
    /// A credentials file that cannot be used.
    #[error("the registry credentials cannot be used: {0}")]
    Credentials(String),
}

impl From<&OciError> for CallError {
    fn from(error: &OciError) -> Self {
        let text = error.to_string();
        match error {
            OciError::Reference { .. } | OciError::Format { .. } => CallError::Invalid(text),
            OciError::Forbidden(reason) => CallError::denied("registry", "", reason.clone()),
            OciError::NotFound(_) => CallError::NotFound(text),
            OciError::Unreachable { .. } | OciError::Credentials(_) => CallError::Unavailable(text),
            OciError::Unauthorized { .. } | OciError::Status { .. } | OciError::Protocol { .. } => {
                CallError::Failed(text)
            }
        }
    }
}

//! What goes wrong between the operator and the API server.

use std::time::Duration;

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The API server refused, or was not reached.
    #[error("failed to {action}")]
    Api {
        /// What was tried, for example `create instance desk/agent-writer-0`.
        action: String,
        /// Why.
        source: Box<kube::Error>,
    },
    /// The API server did not answer in time.
    #[error("failed to {action}: no answer within {}s", after.as_secs())]
    Timeout {
        /// What was tried.
        action: String,
        /// How long.
        after: Duration,
    },
    /// Another operator leads now.
    #[error("lost the lease {0}: another operator leads")]
    Deposed(String),
}

impl Error {
    /// A failed request.
    pub fn api(action: impl Into<String>) -> impl FnOnce(kube::Error) -> Self {
        let action = action.into();
        move |source| Self::Api {
            action,
            source: Box::new(source),
        }
    }

    /// The HTTP status with which the API server refused.
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::Api { source, .. } => match &**source {
                kube::Error::Api(status) => Some(status.code),
                _ => None,
            },
            Self::Timeout { .. } | Self::Deposed(_) => None,
        }
    }
}

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
    /// Another operator has the Lease.
    #[error("lost the lease {lease}: {} leads now", another(.holder))]
    Deposed {
        /// The Lease.
        lease: String,
        /// Who has it; empty where that is not known.
        holder: String,
    },
    /// Nobody has taken the Lease, but it is about to run out.
    #[error(
        "gave up the lease {lease}: it could not be renewed for {}s; is the API server there, and not too busy?",
        after.as_secs()
    )]
    NotRenewed {
        /// The Lease.
        lease: String,
        /// For how long it was not renewed.
        after: Duration,
        /// What went wrong last, unless there was no answer at all.
        source: Option<Box<kube::Error>>,
    },
    /// Where custom metrics are to be served, nothing can be.
    #[error("custom metrics cannot be served: the listener cannot be used")]
    Listener(#[source] std::io::Error),
    /// The operator may not write: it leads no longer, or not yet.
    #[error("did not {action}: this operator does not lead")]
    NotLeading {
        /// What was not tried.
        action: String,
    },
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

    /// Whether the API server did not take what was to be written, and most likely will not the next time either:
    /// not because somebody else was faster, nor because it is too busy.
    pub fn is_refusal(&self) -> bool {
        let code = self.code();
        code.is_some_and(|code| !matches!(code, 404 | 409 | 429 | 503 | 504))
    }

    /// The HTTP status with which the API server refused.
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::Api { source, .. } => match &**source {
                kube::Error::Api(status) => Some(status.code),
                _ => None,
            },
            Self::Timeout { .. }
            | Self::Deposed { .. }
            | Self::NotRenewed { .. }
            | Self::Listener(_)
            | Self::NotLeading { .. } => None,
        }
    }
}

fn another(holder: &str) -> &str {
    match holder {
        "" => "another operator",
        holder => holder,
    }
}

//! What can go wrong on the way out, and what a caller is told.

use std::error::Error as StdError;
use std::sync::Arc;

use crate::error::CallError;
use crate::secret::SecretError;

use super::allow::Refusal;

/// Why a request brought no response, or a response no end. Holds no header and no secret.
#[derive(Debug, Clone, thiserror::Error)]
pub enum EgressError {
    /// No grant lets it through.
    #[error(transparent)]
    Refused(Arc<Refusal>),
    /// The name resolves to addresses that may not be dialled.
    #[error("{host} has no address that may be dialled: {address} is {class}")]
    Address {
        /// The host.
        host: String,
        /// One of its addresses.
        address: std::net::IpAddr,
        /// What that address is.
        class: String,
    },
    /// A header that the host should have added.
    #[error(transparent)]
    Secret(Arc<SecretError>),
    /// The name does not resolve.
    #[error("{host} cannot be resolved: {cause}")]
    Dns {
        /// The host.
        host: String,
        /// What the resolver says.
        cause: String,
    },
    /// Nobody answers there.
    #[error("no connection to {host}: {cause}")]
    Connect {
        /// The host.
        host: String,
        /// Why.
        cause: String,
        /// Whether the other side refused, rather than being silent.
        refused: bool,
    },
    /// The certificate, or anything else of TLS.
    #[error("no TLS connection to {host}: {cause}")]
    Tls {
        /// The host.
        host: String,
        /// Why.
        cause: String,
    },
    /// Time was up.
    #[error("timed out: {0}")]
    Timeout(TimedOut),
    /// A limit of the host.
    #[error("limit exceeded: {name} (at most {maximum})")]
    Limit {
        /// The limit's name; ends with its unit.
        name: &'static str,
        /// Its value.
        maximum: u64,
    },
    /// The host has as many requests in flight as it may have.
    #[error("the host has too many outgoing requests in flight; try again later")]
    Overloaded,
    /// The request body failed at its source.
    #[error("the request body failed: {0}")]
    RequestBody(String),
    /// The connection broke, or the answer is not HTTP.
    #[error("the exchange with {host} failed: {cause}")]
    Protocol {
        /// The host.
        host: String,
        /// Why.
        cause: String,
    },
    /// A chain of redirects that does not end, or one that cannot be followed.
    #[error("redirect not followed: {0}")]
    Redirect(String),
}

/// What took too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimedOut {
    /// Resolving the name.
    Dns,
    /// Connecting.
    Connect,
    /// Waiting for the head of the response.
    FirstByte,
    /// Waiting for more of the body.
    BetweenBytes,
    /// The whole exchange.
    Total,
}

impl std::fmt::Display for TimedOut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            TimedOut::Dns => "resolving the name",
            TimedOut::Connect => "connecting",
            TimedOut::FirstByte => "waiting for the response",
            TimedOut::BetweenBytes => "waiting for more of the response",
            TimedOut::Total => "the whole exchange",
        })
    }
}

impl From<Refusal> for EgressError {
    fn from(refusal: Refusal) -> Self {
        EgressError::Refused(Arc::new(refusal))
    }
}

impl From<SecretError> for EgressError {
    fn from(error: SecretError) -> Self {
        EgressError::Secret(Arc::new(error))
    }
}

impl EgressError {
    /// Whether nothing of the request can have reached the other side.
    pub fn is_unsent(&self) -> bool {
        matches!(
            self,
            EgressError::Refused(_)
                | EgressError::Address { .. }
                | EgressError::Secret(_)
                | EgressError::Dns { .. }
                | EgressError::Connect { .. }
                | EgressError::Tls { .. }
                | EgressError::Overloaded
                | EgressError::Timeout(TimedOut::Dns | TimedOut::Connect)
        )
    }

    /// Whether the host itself said no: trying again cannot help.
    pub fn is_refusal(&self) -> bool {
        matches!(
            self,
            EgressError::Refused(_) | EgressError::Address { .. } | EgressError::Secret(_)
        )
    }

    /// Stable name of what happened: that of the error which a caller gets.
    pub fn code(&self) -> &'static str {
        CallError::from(self.clone()).code()
    }

    /// Finds the cause that the dialler or a body put into a chain of other errors.
    pub(super) fn find(error: &(dyn StdError + 'static)) -> Option<EgressError> {
        let mut next = Some(error);
        while let Some(current) = next {
            if let Some(found) = current.downcast_ref::<EgressError>() {
                return Some(found.clone());
            }
            // `io::Error` shows what it wraps only through `get_ref`.
            if let Some(inner) = current
                .downcast_ref::<std::io::Error>()
                .and_then(std::io::Error::get_ref)
                && let Some(found) = EgressError::find(inner)
            {
                return Some(found);
            }
            next = current.source();
        }
        None
    }
}

/// The last cause of a chain: libraries put what happened there.
pub(super) fn root_cause(error: &(dyn StdError + 'static)) -> String {
    let mut current = error;
    while let Some(source) = current.source() {
        current = source;
    }
    current.to_string()
}

impl From<EgressError> for CallError {
    fn from(error: EgressError) -> Self {
        match &error {
            EgressError::Refused(refusal) => {
                let target = match &**refusal {
                    Refusal::NotGranted { target, .. } => target.clone(),
                    Refusal::Target(_) | Refusal::Method(_) => String::new(),
                };
                CallError::denied("http", target, refusal.to_string())
            }
            EgressError::Address { host, .. } => {
                CallError::denied("http", host.clone(), error.to_string())
            }
            EgressError::Timeout(_) => CallError::Timeout,
            EgressError::Limit { name, maximum } => CallError::limit(name, *maximum),
            EgressError::Dns { .. }
            | EgressError::Connect { .. }
            | EgressError::Tls { .. }
            | EgressError::Overloaded => CallError::Unavailable(error.to_string()),
            // Which option of the host would help is nothing that a guest can use.
            EgressError::Secret(_) => CallError::Unavailable(
                "the host cannot read a secret that this destination needs; its log says which"
                    .to_owned(),
            ),
            EgressError::RequestBody(_) | EgressError::Redirect(_) => {
                CallError::Failed(error.to_string())
            }
            EgressError::Protocol { .. } => CallError::Unavailable(error.to_string()),
        }
    }
}

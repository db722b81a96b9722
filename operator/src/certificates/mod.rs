//! Certificates of hosts: the operator is the authority that signs them.
//!
//! A host makes its key itself and asks by a `CertificateSigningRequest`, as kubelets do. The operator
//! signs what a host may ask for, for itself, and denies everything else; the keys to sign with are in a
//! Secret of its namespace, what others need to check the signatures in a ConfigMap.

mod authority;
mod request;
mod signer;
mod store;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;

pub use authority::{AUTHORITY_VALID, Authorities, Authority, AuthorityError, KNOWN, SUCCESSION};
pub use request::{Ask, Denial, Evidence, HostKey, examine};
pub(crate) use signer::run;
pub(crate) use store::{StoreError, read};

/// How long the certificate of a host is valid. It renews it at two thirds.
pub const VALID: Duration = Duration::from_secs(24 * 3_600);
/// How often the Secret and the ConfigMap are looked at, and an authority is made that is due.
pub const LOOK: Duration = Duration::from_secs(60);
/// Certificates are valid from so much earlier, for hosts whose clocks are late.
pub const BACKDATED: Duration = Duration::from_secs(600);

/// The time of day.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> OffsetDateTime + Send + Sync>);

impl Clock {
    /// Another clock than that of the system.
    pub fn new(now: impl Fn() -> OffsetDateTime + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// What time it is.
    pub fn now(&self) -> OffsetDateTime {
        (self.0)()
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new(OffsetDateTime::now_utc)
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Clock").field(&self.now()).finish()
    }
}

/// How certificates are signed.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The user that hosts are to Kubernetes; none for the service account `ringfence-host` of the
    /// operator's namespace.
    pub host_user: Option<String>,
    /// How long certificates are valid.
    pub valid: Duration,
    /// How often to look whether all is as it should be.
    pub look: Duration,
    /// The time.
    pub clock: Clock,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            host_user: None,
            valid: VALID,
            look: LOOK,
            clock: Clock::default(),
        }
    }
}

//! Who is calling: API keys, and nobody's key on loopback.

mod identity;
mod keys;
mod ring;
mod throttle;

pub use identity::{Identity, Role, TenantScope};
pub use keys::{KeyEntry, KeyError, KeysFile, NewKey, generate};
pub use ring::KeyRing;

pub(super) use throttle::Throttle;

use std::net::IpAddr;
use std::sync::Arc;

use http::HeaderMap;
use http::header::AUTHORIZATION;

use super::binding::Access;

/// Header that may carry a key instead of `Authorization`.
pub(super) const API_KEY_HEADER: &str = "x-api-key";

/// Which header carried the key that was accepted: it is the gateway's and goes no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Credential {
    /// None was needed.
    None,
    /// `Authorization`.
    Bearer,
    /// [`API_KEY_HEADER`].
    ApiKey,
}

/// Why somebody was turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unauthenticated {
    /// No key, or a wrong one.
    Key,
    /// Too many wrong ones from there; seconds until the next may be tried.
    Throttled(u64),
}

/// Decides who sent a request.
pub(super) struct Authenticator {
    access: Access,
    local: Arc<Identity>,
    throttle: Throttle,
}

impl Authenticator {
    pub(super) fn new(access: Access) -> Self {
        Self {
            access,
            local: Arc::new(Identity::local()),
            throttle: Throttle::default(),
        }
    }

    /// Who sent a request with these headers. Only requests without a valid key count against the
    /// address they come from, so nobody behind the same address is locked out.
    pub(super) fn identify(
        &self,
        headers: &HeaderMap,
        from: IpAddr,
    ) -> Result<(Arc<Identity>, Credential), Unauthenticated> {
        let Access::Keys(ring) = &self.access else {
            return Ok((self.local.clone(), Credential::None));
        };
        let found = match (bearer(headers), headers.get(API_KEY_HEADER)) {
            (Some(key), _) => ring.find(key.as_bytes()).map(|id| (id, Credential::Bearer)),
            (None, Some(key)) => ring.find(key.as_bytes()).map(|id| (id, Credential::ApiKey)),
            (None, None) => None,
        };
        found.ok_or_else(|| match self.throttle.failed(from) {
            Ok(()) => Unauthenticated::Key,
            Err(seconds) => Unauthenticated::Throttled(seconds),
        })
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, key) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
}

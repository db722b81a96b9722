//! Who is calling: API keys, tokens of a Kubernetes cluster, and neither on loopback.

mod cluster;
mod expiry;
mod identity;
mod keys;
mod permission;
mod ring;
mod throttle;

pub use cluster::{ClusterCallers, ClusterSettings, DEFAULT_AUDIENCE};
pub use expiry::Expiry;
pub use identity::{Identity, LISTED_BY_NAME, Role, TenantScope};
pub use keys::{KeyEntry, KeyError, KeysFile, NewKey, generate};
pub use ring::KeyRing;

pub(super) use cluster::Unreviewed;
pub(super) use identity::Permit;
pub(super) use permission::{AGENTS, ARTIFACTS, MODELS, Permission, RUNS, Refused, TOOLS, Visible};
pub(super) use throttle::Throttle;

use std::net::IpAddr;
use std::sync::Arc;

use http::HeaderMap;
use http::header::AUTHORIZATION;

use super::binding::Doors;

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
    /// No credential, or a wrong one.
    Credential {
        /// Whether a token of the cluster would do.
        tokens: bool,
    },
    /// Too many wrong ones from there; seconds until the next may be tried.
    Throttled(u64),
    /// It cannot be found out now.
    Unreviewed(Unreviewed),
}

/// Decides who sent a request.
pub(super) struct Authenticator {
    doors: Doors,
    local: Arc<Identity>,
    throttle: Throttle,
}

impl Authenticator {
    pub(super) fn new(doors: Doors) -> Self {
        Self {
            doors,
            local: Arc::new(Identity::local()),
            throttle: Throttle::default(),
        }
    }

    /// Who sent a request with these headers. Only requests without a valid credential count against the
    /// address they come from, so nobody behind the same address is locked out.
    pub(super) async fn identify(
        &self,
        headers: &HeaderMap,
        from: IpAddr,
    ) -> Result<(Arc<Identity>, Credential), Unauthenticated> {
        let (keys, callers) = match &self.doors {
            Doors::Local => return Ok((self.local.clone(), Credential::None)),
            Doors::Keys(keys) => (Some(keys), None),
            Doors::Cluster { callers, keys } => (keys.as_ref(), Some(callers)),
        };
        let by_key = |key: &[u8]| keys.and_then(|keys| keys.find(key));
        // The API server, when it passes a request on, keeps `Authorization` for itself: a token may
        // come in the other header too.
        let sent = match (bearer(headers), headers.get(API_KEY_HEADER)) {
            (Some(bearer), _) => Some((bearer.as_bytes(), Credential::Bearer)),
            (None, Some(key)) => Some((key.as_bytes(), Credential::ApiKey)),
            (None, None) => None,
        };
        let token = |sent: &[u8]| {
            let text = std::str::from_utf8(sent).ok()?;
            (!is_key(text)).then(|| text.to_owned())
        };
        let found = match (sent, callers) {
            (None, _) => None,
            (Some((sent, by)), Some(callers)) => match token(sent) {
                Some(token) => {
                    let suspect = self.throttle.is_spent(from);
                    callers
                        .identify(&token, suspect)
                        .await
                        .map_err(Unauthenticated::Unreviewed)?
                        .map(|id| (id, by))
                }
                None => by_key(sent).map(|id| (id, by)),
            },
            (Some((sent, by)), None) => by_key(sent).map(|id| (id, by)),
        };
        found.ok_or_else(|| match self.throttle.failed(from) {
            Ok(()) => Unauthenticated::Credential {
                tokens: callers.is_some(),
            },
            Err(seconds) => Unauthenticated::Throttled(seconds),
        })
    }
}

/// Whether it is meant as an API key. No token of a cluster looks like one.
fn is_key(credential: &str) -> bool {
    credential.starts_with(keys::KEY_PREFIX)
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, key) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
}

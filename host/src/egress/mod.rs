//! Egress: the one way out. Every request of a guest, to a model and to an MCP server goes through
//! [`Egress::send`]: name → allow-list → resolve → filter addresses → dial the vetted address.
//!
//! - What may be sent is an [`Allowed`], which only [`AllowList::check`] (a guest's grants) and
//!   [`Allowed::endpoint`] (a URL in a resource) make. It holds the normalised destination, and that
//!   is what is sent: nothing is parsed twice.
//! - Addresses are filtered in the connector itself, literal addresses included, and the filtered
//!   address is the one that is dialled. There is one pool of connections per address scope, so that a
//!   connection which one scope may use is never reused by the other.
//! - Redirects are answers like any other. [`Egress::send_following`] follows them for callers that
//!   want that, and asks the allow-list again at each hop.
//! - Headers that a destination's grant adds are read at the moment of sending and never leave here;
//!   a response that echoes them is scrubbed. Proxies of the environment are not used.
//!
//! This is hyper's pooled client rather than reqwest: its connector sees every dial, so that the check
//! and the connection cannot differ.

mod address;
mod allow;
mod body;
mod dial;
mod error;
mod headers;
mod redirect;
mod scrub;
mod target;
mod tls;

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Request, Response, Version, header};
use http_body_util::BodyExt;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use ringfence_api::{AddressScope, TenantName};
use tokio::sync::Semaphore;
use tokio::time::Instant;

pub use address::{AddressClass, classify};
pub use allow::{AllowList, Allowed, EndpointError, GrantError, Refusal};
pub use body::{Body, empty, full, read};
pub use dial::{CONNECT_TIMEOUT, Lookup, MAX_CONNECTIONS, SystemLookup};
pub use error::{EgressError, TimedOut};
pub use headers::{MAX_HEADERS, is_reserved};
pub use redirect::MAX_REDIRECTS;
pub use target::{MAX_URL_BYTES, Target, TargetError};
pub use tls::{TlsError, explain};

use crate::authorities::Authorities;
use crate::limits::HTTP_HEADER_BYTES;
use crate::secret::Secrets;
use crate::telemetry::Metrics;
use dial::{Bounded, Dialer};
use error::root_cause;
use scrub::{Scrubbed, Scrubber};

/// Time until the head of a response is there, connecting included.
pub const FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(60);
/// Time between two pieces of a response body.
pub const BETWEEN_BYTES_TIMEOUT: Duration = Duration::from_secs(60);
/// Time for a whole exchange.
pub const TOTAL_TIMEOUT: Duration = Duration::from_secs(600);
/// Exchanges of the host at a time.
pub const MAX_IN_FLIGHT: usize = 1024;
/// Unused connections that are kept for each destination.
const IDLE_PER_HOST: usize = 8;
/// Time that an unused connection is kept.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// What the host calls itself where the sender does not say.
const USER_AGENT: HeaderValue =
    HeaderValue::from_static(concat!("ringfence/", env!("CARGO_PKG_VERSION")));

/// Deadlines of one exchange. Connecting has its own, [`CONNECT_TIMEOUT`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Until the head of the response is there.
    pub first_byte: Duration,
    /// Between two pieces of the body.
    pub between_bytes: Duration,
    /// For everything.
    pub total: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            first_byte: FIRST_BYTE_TIMEOUT,
            between_bytes: BETWEEN_BYTES_TIMEOUT,
            total: TOTAL_TIMEOUT,
        }
    }
}

impl Timeouts {
    /// These, but none longer than `other`'s.
    #[must_use]
    pub fn at_most(self, other: Timeouts) -> Self {
        Self {
            first_byte: self.first_byte.min(other.first_byte),
            between_bytes: self.between_bytes.min(other.between_bytes),
            total: self.total.min(other.total),
        }
    }
}

/// Settings of the operator.
#[derive(Debug, Clone, Default)]
pub struct EgressSettings {
    /// Certificate authorities that are trusted beside the system's.
    pub authorities: Authorities,
    /// The counters that requests feed.
    pub metrics: Arc<Metrics>,
}

type Pool = Client<Bounded<HttpsConnector<Dialer>>, Body>;

/// Pools of one address scope.
struct Pools {
    /// Destinations that a resource names.
    kept: Pool,
    /// Destinations that a guest chooses under a wildcard: one connection per exchange, so that a
    /// guest cannot fill the host with idle ones.
    unkept: Pool,
}

struct Inner {
    public: Pools,
    private: Pools,
    metrics: Arc<Metrics>,
    in_flight: Arc<Semaphore>,
}

/// The way out. Cheap to clone; all clones share connections and limits.
#[derive(Clone)]
pub struct Egress {
    inner: Arc<Inner>,
    secrets: Secrets,
}

impl std::fmt::Debug for Egress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Egress").finish_non_exhaustive()
    }
}

impl Egress {
    /// Sets it up; reads the system's certificate authorities.
    ///
    /// # Errors
    /// TLS cannot be set up.
    pub fn new(settings: &EgressSettings, secrets: Secrets) -> Result<Self, TlsError> {
        Self::with_lookup(settings, secrets, Arc::new(SystemLookup::default()))
    }

    /// [`Egress::new`] with another way to resolve names.
    ///
    /// # Errors
    /// As for [`Egress::new`].
    pub fn with_lookup(
        settings: &EgressSettings,
        secrets: Secrets,
        lookup: Arc<dyn Lookup>,
    ) -> Result<Self, TlsError> {
        let tls = tls::config(&settings.authorities)?;
        let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let pools = |scope| {
            let dialer = Dialer {
                scope,
                lookup: lookup.clone(),
                connections: connections.clone(),
            };
            Pools {
                kept: pool(dialer.clone(), tls.clone(), IDLE_PER_HOST),
                unkept: pool(dialer, tls.clone(), 0),
            }
        };
        Ok(Self {
            inner: Arc::new(Inner {
                public: pools(AddressScope::Public),
                private: pools(AddressScope::Private),
                metrics: settings.metrics.clone(),
                in_flight: Arc::new(Semaphore::new(MAX_IN_FLIGHT)),
            }),
            secrets,
        })
    }

    /// The way out of a tenant: with its secrets.
    #[must_use]
    pub fn of(&self, tenant: &TenantName) -> Self {
        Self {
            inner: self.inner.clone(),
            secrets: self.secrets.of(tenant),
        }
    }

    /// The secrets that headers may come from.
    pub fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// Sends one request to the destination that was allowed; the request's own URI is not looked at.
    /// Redirects are returned, not followed. Dropping the future, or the response's body, ends the
    /// exchange.
    ///
    /// # Errors
    /// No address may be dialled, nobody answers, time is up, or a limit is crossed.
    pub async fn send(
        &self,
        allowed: &Allowed,
        request: Request<Body>,
        timeouts: Timeouts,
    ) -> Result<Response<Body>, EgressError> {
        let outcome = Outcome::pending(&self.inner.metrics);
        let response = self.exchange(allowed, request, timeouts).await;
        outcome.known(response.as_ref().err().map_or("ok", EgressError::code));
        response
    }

    async fn exchange(
        &self,
        allowed: &Allowed,
        request: Request<Body>,
        timeouts: Timeouts,
    ) -> Result<Response<Body>, EgressError> {
        let inner = &self.inner;
        let in_flight = inner
            .in_flight
            .clone()
            .try_acquire_owned()
            .map_err(|_| EgressError::Overloaded)?;
        let end = Instant::now() + timeouts.total;
        let host = allowed.target.host();
        let (mut parts, body) = request.into_parts();
        parts.uri = allowed.target.uri().clone();
        // The version of the sender's own connection means nothing on this one.
        parts.version = Version::HTTP_11;
        parts.extensions.clear();
        headers::strip(&mut parts.headers);
        headers::check_size(&parts.headers)?;
        parts
            .headers
            .entry(header::USER_AGENT)
            .or_insert(USER_AGENT);
        headers::inject(&mut parts.headers, &allowed.headers, &self.secrets)?;
        let scrubber = Scrubber::for_request(&mut parts.headers);
        let body = body::Sent::new(body, inner.metrics.clone()).boxed_unsync();

        let pools = match allowed.scope {
            AddressScope::Public => &inner.public,
            AddressScope::Private => &inner.private,
        };
        let pool = if allowed.pooled {
            &pools.kept
        } else {
            &pools.unkept
        };
        let first_byte = (Instant::now() + timeouts.first_byte).min(end);
        let sending = pool.request(Request::from_parts(parts, body));
        let mut response = match tokio::time::timeout_at(first_byte, sending).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => {
                return Err(
                    EgressError::find(&error).unwrap_or_else(|| EgressError::Protocol {
                        host,
                        cause: root_cause(&error),
                    }),
                );
            }
            Err(_) => return Err(EgressError::Timeout(TimedOut::FirstByte)),
        };
        if let Some(scrubber) = &scrubber {
            Scrubber::check(response.headers(), &host)?;
            scrubber.headers(response.headers_mut());
        }
        Ok(response.map(|incoming| {
            let metrics = inner.metrics.clone();
            let received = body::Timed::new(
                incoming,
                host,
                timeouts.between_bytes,
                end,
                metrics,
                in_flight,
            );
            match scrubber {
                Some(scrubber) => Scrubbed::new(received, scrubber).boxed_unsync(),
                None => received.boxed_unsync(),
            }
        }))
    }
}

/// Counts how a request ended, also when its sender stopped waiting.
struct Outcome<'a> {
    metrics: &'a Metrics,
    code: &'static str,
}

impl<'a> Outcome<'a> {
    fn pending(metrics: &'a Metrics) -> Self {
        Self {
            metrics,
            code: "canceled",
        }
    }

    fn known(mut self, code: &'static str) {
        self.code = code;
    }
}

impl Drop for Outcome<'_> {
    fn drop(&mut self) {
        self.metrics.egress(self.code);
    }
}

fn pool(dialer: Dialer, tls: rustls::ClientConfig, idle: usize) -> Pool {
    let https = HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_or_http()
        .enable_all_versions()
        .wrap_connector(dialer);
    let header_bytes = u32::try_from(HTTP_HEADER_BYTES).unwrap_or(u32::MAX);
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .timer(TokioTimer::new())
        .pool_max_idle_per_host(idle)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .http1_max_buf_size(HTTP_HEADER_BYTES)
        .http1_max_headers(MAX_HEADERS)
        .http2_max_header_list_size(header_bytes)
        .http2_keep_alive_interval(Duration::from_secs(30))
        .build(Bounded { inner: https })
}

#[cfg(test)]
mod tests;

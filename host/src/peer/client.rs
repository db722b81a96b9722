//! Connections to other hosts: one for each, over which all calls to it go at once (HTTP/2), made when it is
//! needed first and made again when it broke.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use http::{Method, Request, StatusCode};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use parking_lot::Mutex;
use ringfence_api::Name;
use tokio::net::TcpStream;

use super::health::{Health, Sign};
use super::protocol::reader::Reader;
use super::tls::PeerTls;
use crate::body::{self, Body};
use crate::directory::resolve::chain;
use crate::telemetry::Metrics;

/// How long it may take to reach a host.
pub(crate) const CONNECT: Duration = Duration::from_secs(2);
/// A silent connection is asked for a sign of life after so long, and given up after as long again.
pub(crate) const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// Bytes of one call, and of all calls of a connection, that may be on their way without being read.
pub(crate) const STREAM_WINDOW: u32 = 1 << 20;
/// See [`STREAM_WINDOW`].
pub(crate) const CONNECTION_WINDOW: u32 = 16 << 20;
/// Calls over one connection at once.
pub(crate) const STREAMS: u32 = 4_096;

/// Why a host did not take a request.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    /// Nothing has reached it.
    #[error("host {0} cannot be reached")]
    Unreachable(Name),
    /// It refuses requests of this host or of this version; nothing has begun.
    #[error("host {0} does not take calls of this host ({1})")]
    Declined(Name, StatusCode),
    /// The request was sent, and what came of it is unknown.
    #[error("host {0} went away")]
    Gone(Name),
}

type Sender = SendRequest<Body>;
/// True once a connection is not to be used for further calls.
type Stale = Arc<AtomicBool>;

/// What is kept for one host.
#[derive(Default)]
struct Link {
    connection: tokio::sync::Mutex<Connection>,
    in_flight: AtomicU32,
    health: Mutex<Health>,
}

#[derive(Default)]
struct Connection {
    open: Option<(SocketAddr, Sender, Stale)>,
    /// When it could not be made last.
    failed: Option<Instant>,
}

/// Held while a call to a host is in flight.
pub(crate) struct InFlight(Arc<Link>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Connections to all hosts that were called.
pub(crate) struct PeerClient {
    tls: PeerTls,
    links: Mutex<HashMap<Name, Arc<Link>>>,
    metrics: Arc<Metrics>,
}

impl PeerClient {
    pub(crate) fn new(tls: PeerTls, metrics: Arc<Metrics>) -> Self {
        Self {
            tls,
            links: Mutex::default(),
            metrics,
        }
    }

    /// Calls of this host that run there, and whether it failed lately.
    pub(crate) fn state(&self, host: &Name) -> (u32, bool) {
        match self.links.lock().get(host) {
            Some(link) => (
                link.in_flight.load(Ordering::Relaxed),
                link.health.lock().is_ejected(Instant::now()),
            ),
            None => (0, false),
        }
    }

    /// Takes note of what happened with a call.
    pub(crate) fn note(&self, host: &Name, sign: Sign) {
        let ejected = self.link(host).health.lock().note(sign, Instant::now());
        if ejected {
            self.metrics.peer.ejected();
            tracing::warn!(%host, ?sign, "a host fails and is left alone for a while");
        }
    }

    /// Forgets hosts that are gone.
    pub(crate) fn retain(&self, keep: impl Fn(&Name) -> bool) {
        self.links.lock().retain(|name, _| keep(name));
    }

    /// Sends a request and waits for the beginning of its answer.
    ///
    /// # Errors
    /// See [`AskError`].
    pub(crate) async fn ask(
        &self,
        host: &Name,
        address: SocketAddr,
        body: Body,
    ) -> Result<(Reader, InFlight), AskError> {
        let link = self.link(host);
        link.in_flight.fetch_add(1, Ordering::Relaxed);
        let in_flight = InFlight(link.clone());
        let mut request = Request::new(body);
        *request.method_mut() = Method::POST;
        *request.uri_mut() = http::Uri::from_static(PATH_URI);
        loop {
            let (mut sender, fresh) = self.connection(&link, host, address).await?;
            let response = match sender.try_send_request(request).await {
                Ok(response) => response,
                Err(mut error) => match error.take_message() {
                    // The connection had ended before; nothing was sent.
                    Some(unsent) if !fresh => {
                        request = unsent;
                        continue;
                    }
                    Some(_) => return Err(AskError::Unreachable(host.clone())),
                    None => {
                        tracing::debug!(%host, error = %error.error(), "a call broke");
                        return Err(AskError::Gone(host.clone()));
                    }
                },
            };
            if response.status() != StatusCode::OK {
                return Err(AskError::Declined(host.clone(), response.status()));
            }
            return Ok((Reader::new(response.into_body()), in_flight));
        }
    }

    fn link(&self, host: &Name) -> Arc<Link> {
        self.links.lock().entry(host.clone()).or_default().clone()
    }

    /// A connection to the host, and whether it was made just now.
    async fn connection(
        &self,
        link: &Link,
        host: &Name,
        address: SocketAddr,
    ) -> Result<(Sender, bool), AskError> {
        let began = Instant::now();
        // Others that want the same wait here, and find what came of it.
        let mut connection = link.connection.lock().await;
        if let Some((to, sender, stale)) = &connection.open
            && *to == address
            && !sender.is_closed()
            && !stale.load(Ordering::Relaxed)
        {
            return Ok((sender.clone(), false));
        }
        if connection.failed.is_some_and(|failed| failed >= began) {
            return Err(AskError::Unreachable(host.clone()));
        }
        connection.open = None;
        match tokio::time::timeout(CONNECT, self.connect(host, address)).await {
            Ok(Some((sender, stale))) => {
                connection.open = Some((address, sender.clone(), stale));
                Ok((sender, true))
            }
            Ok(None) | Err(_) => {
                connection.failed = Some(Instant::now());
                Err(AskError::Unreachable(host.clone()))
            }
        }
    }

    async fn connect(&self, host: &Name, address: SocketAddr) -> Option<(Sender, Stale)> {
        let why = |error: String| tracing::debug!(%host, %address, error, "unreachable");
        // No more than one line for each time that it is tried, and a host that fails is tried seldom.
        let unproven = |error: &dyn std::error::Error| {
            let error = chain(error);
            tracing::warn!(%host, %address, error, "the hosts do not believe each other");
        };
        let mut renewals = self.tls.renewals();
        let stream = TcpStream::connect(address)
            .await
            .inspect_err(|error| why(error.to_string()))
            .ok()?;
        // Small calls must not wait for the acknowledgement of earlier ones.
        drop(stream.set_nodelay(true));
        let stream = self
            .tls
            .connect(host, stream)
            .await
            .inspect_err(|error| unproven(error))
            .ok()?;
        let shown = stream.get_ref().1.peer_certificates();
        let shown = shown.map(<[_]>::to_vec).unwrap_or_default();
        let (mut sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .initial_max_send_streams(STREAMS as usize)
            .handshake(TokioIo::new(stream))
            .await
            .inspect_err(|error| why(error.to_string()))
            .ok()?;
        let (other, tls) = (host.clone(), self.tls.clone());
        let stale = Stale::default();
        let of_task = stale.clone();
        tokio::spawn(async move {
            let mut connection = std::pin::pin!(connection);
            let ended = tokio::select! {
                ended = connection.as_mut() => ended,
                () = async { tokio::select! {
                    () = tls.distrusts(&other, &shown) => {}
                    () = renewals.next() => {}
                } } => {
                    // Calls in flight go on; further ones take another connection, made with what counts now.
                    of_task.store(true, Ordering::Relaxed);
                    connection.await
                }
            };
            if let Err(error) = ended {
                tracing::debug!(host = %other, %error, "a connection to a host broke");
            }
        });
        // A certificate that is refused is only told after the handshake (RFC 8446, 4.4.2): before a call is
        // risked, the other side has to say that it lets this host in.
        let mut hello = Request::new(body::empty());
        *hello.uri_mut() = http::Uri::from_static(PATH_URI);
        let welcome = sender
            .send_request(hello)
            .await
            .inspect_err(|error| unproven(error))
            .ok()?;
        if welcome.status() != StatusCode::NO_CONTENT {
            why(format!("it answered {}", welcome.status()));
            return None;
        }
        Some((sender, stale))
    }
}

/// HTTP/2 wants a whole URI. Nobody looks at the authority: the certificate names the host.
const PATH_URI: &str = "https://host.ringfence.internal/ringfence/peer/1";

#[cfg(test)]
mod tests {
    use super::super::protocol::PATH;
    use super::*;

    #[test]
    fn the_uri_has_the_path_of_the_version() {
        assert_eq!(http::Uri::from_static(PATH_URI).path(), PATH);
    }
}

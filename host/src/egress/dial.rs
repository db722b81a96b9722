//! Resolves a name, keeps the addresses that may be dialled, and dials one of those: there is no
//! second lookup between the check and the connection that an attacker's name server could use.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use ringfence_api::AddressScope;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};
use tower::Service;

use super::address::classify;
use super::error::{EgressError, TimedOut};
use super::tls::explain;

/// Time for resolving, connecting and the TLS handshake together.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Time for one of several addresses.
const ADDRESS_TIMEOUT: Duration = Duration::from_secs(4);
/// Lookups at a time; each holds a thread, also when nobody waits for it any more.
const MAX_LOOKUPS: usize = 64;
/// Addresses of one name that are looked at.
const MAX_ADDRESSES: usize = 32;
/// Open outgoing connections of the host, idle ones included.
pub const MAX_CONNECTIONS: usize = 1024;

/// How names become addresses. Tests bring their own.
pub trait Lookup: Send + Sync + 'static {
    /// Addresses of a host.
    fn lookup(&self, host: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>>;
}

/// The operating system's resolver.
pub struct SystemLookup {
    running: Arc<Semaphore>,
}

impl Default for SystemLookup {
    fn default() -> Self {
        Self {
            running: Arc::new(Semaphore::new(MAX_LOOKUPS)),
        }
    }
}

impl Lookup for SystemLookup {
    fn lookup(&self, host: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        let running = self.running.clone();
        Box::pin(async move {
            let permit = running.acquire_owned().await.map_err(io::Error::other)?;
            tokio::task::spawn_blocking(move || {
                // Held until the thread is free again, not until the caller stops waiting.
                let _permit = permit;
                let found = (host.as_str(), 0).to_socket_addrs()?;
                Ok(found.take(MAX_ADDRESSES).map(|a| a.ip()).collect())
            })
            .await
            .map_err(io::Error::other)?
        })
    }
}

/// Connects to vetted addresses only.
#[derive(Clone)]
pub(super) struct Dialer {
    pub(super) scope: AddressScope,
    pub(super) lookup: Arc<dyn Lookup>,
    pub(super) connections: Arc<Semaphore>,
}

impl Dialer {
    async fn dial(self, uri: Uri) -> Result<Conn, EgressError> {
        let host = uri.host().unwrap_or_default();
        let host = host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        let port = uri.port_u16().unwrap_or_else(|| match uri.scheme_str() {
            Some("http") => 80,
            _ => 443,
        });
        let permit = self
            .connections
            .clone()
            .try_acquire_owned()
            .map_err(|_| EgressError::Overloaded)?;
        let found = match host.parse::<IpAddr>() {
            Ok(address) => vec![address],
            Err(_) => self
                .lookup
                .lookup(host.clone())
                .await
                .map_err(|error| EgressError::Dns {
                    host: host.clone(),
                    cause: error.to_string(),
                })?,
        };
        let vetted = vet(&host, found, self.scope)?;
        let stream = connect(&host, port, vetted).await?;
        // A failure costs latency, not correctness.
        let _ = stream.set_nodelay(true);
        Ok(Conn {
            io: TokioIo::new(stream),
            _permit: permit,
        })
    }
}

/// The addresses that may be dialled; an error where there are none.
fn vet(host: &str, found: Vec<IpAddr>, scope: AddressScope) -> Result<Vec<IpAddr>, EgressError> {
    let first = found.first().copied();
    let vetted: Vec<IpAddr> = found
        .into_iter()
        .take(MAX_ADDRESSES)
        .filter(|address| classify(*address).allowed_in(scope))
        .collect();
    match (vetted.is_empty(), first) {
        (false, _) => Ok(vetted),
        (true, Some(address)) => Err(EgressError::Address {
            host: host.to_owned(),
            address,
            class: classify(address).to_string(),
        }),
        (true, None) => Err(EgressError::Dns {
            host: host.to_owned(),
            cause: "the name has no address".to_owned(),
        }),
    }
}

async fn connect(host: &str, port: u16, addresses: Vec<IpAddr>) -> Result<TcpStream, EgressError> {
    let deadline = Instant::now() + CONNECT_TIMEOUT;
    let mut last = EgressError::Timeout(TimedOut::Connect);
    for address in addresses {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        let attempt = TcpStream::connect(SocketAddr::new(address, port));
        match timeout(left.min(ADDRESS_TIMEOUT), attempt).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => {
                last = EgressError::Connect {
                    host: host.to_owned(),
                    cause: error.to_string(),
                    refused: error.kind() == io::ErrorKind::ConnectionRefused,
                };
            }
            Err(_) => last = EgressError::Timeout(TimedOut::Connect),
        }
    }
    Err(last)
}

impl Service<Uri> for Dialer {
    type Response = Conn;
    type Error = EgressError;
    type Future = BoxFuture<'static, Result<Conn, EgressError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), EgressError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().dial(uri))
    }
}

/// An open connection; counts against [`MAX_CONNECTIONS`] until it is closed.
pub(super) struct Conn {
    io: TokioIo<TcpStream>,
    _permit: OwnedSemaphorePermit,
}

impl Connection for Conn {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for Conn {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl Write for Conn {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }
}

/// Bounds what `inner` does (dialling and the TLS handshake) in time, and names what failed.
#[derive(Clone)]
pub(super) struct Bounded<S> {
    pub(super) inner: S,
}

impl<S> Service<Uri> for Bounded<S>
where
    S: Service<Uri>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    S::Future: Future<Output = Result<S::Response, S::Error>> + Send + 'static,
    S::Response: 'static,
{
    type Response = S::Response;
    type Error = EgressError;
    type Future = BoxFuture<'static, Result<S::Response, EgressError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), EgressError>> {
        self.inner
            .poll_ready(cx)
            .map_err(|error| EgressError::Protocol {
                host: String::new(),
                cause: error.into().to_string(),
            })
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let host = uri.host().unwrap_or_default().to_owned();
        let work = self.inner.call(uri);
        Box::pin(async move {
            match timeout(CONNECT_TIMEOUT, work).await {
                Ok(Ok(connection)) => Ok(connection),
                Ok(Err(error)) => {
                    let error = error.into();
                    Err(
                        EgressError::find(&*error).unwrap_or_else(|| EgressError::Tls {
                            host,
                            cause: explain(&*error, "--ca-file"),
                        }),
                    )
                }
                Err(_) => Err(EgressError::Timeout(TimedOut::Connect)),
            }
        })
    }
}

//! One connection: HTTP/1.1, or HTTP/2 by prior knowledge (RFC 9113, 3.3), within the same bounds. What a
//! client of HTTP/1.1 needs a connection for, a client of HTTP/2 needs a stream for, so each stream takes a
//! place among the connections.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use http::header::{CONNECTION, HOST};
use http::{HeaderValue, Request};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::Watcher;
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::respond::Problem;
use super::server::handle;
use super::shared::Shared;

/// How a connection of HTTP/2 begins; no request of HTTP/1.1 does.
const PREFACE: [u8; 4] = *b"PRI ";
/// Pause between two looks at a connection that began with a part of [`PREFACE`].
const PREFACE_PAUSE: Duration = Duration::from_millis(5);
/// Streams that one connection may have open.
pub(super) const STREAMS: u32 = 128;
/// Bytes that a client may send on a stream before somebody reads them.
const STREAM_WINDOW: u32 = 256 << 10;
/// The same for all streams of a connection.
const CONNECTION_WINDOW: u32 = 1 << 20;
/// Bytes of an answer that wait for a stream's client.
const SEND_BUFFER: usize = 64 << 10;
/// Time between two looks whether a client of HTTP/2 is still there.
const PING_EVERY: Duration = Duration::from_secs(30);

/// A connection that was accepted.
pub(super) struct Connection {
    pub(super) shared: Arc<Shared>,
    pub(super) peer: SocketAddr,
    /// The places for connections and streams.
    pub(super) slots: Arc<Semaphore>,
    /// This connection's own.
    pub(super) slot: OwnedSemaphorePermit,
    /// Cancelled when connections without a request are to end.
    pub(super) closing: CancellationToken,
}

impl Connection {
    /// Serves it to its end.
    pub(super) async fn run(self, stream: TcpStream, watcher: Watcher) {
        let metrics = self.shared.host.metrics().clone();
        metrics.connection_opened();
        // Small answers must not wait for the acknowledgement of earlier ones.
        let _ = stream.set_nodelay(true);
        let first_byte = self.shared.settings.header_timeout;
        let version = tokio::select! {
            version = tokio::time::timeout(first_byte, speaks_http2(&stream)) => version,
            () = self.closing.cancelled() => Ok(Ok(None)),
        };
        let outcome = match version {
            Ok(Ok(Some(true))) => self.http2(stream, watcher).await,
            Ok(Ok(Some(false))) => self.http1(stream, watcher).await,
            // Silent, gone, or not wanted any more.
            Ok(Ok(None) | Err(_)) | Err(_) => Ok(()),
        };
        if let Err(error) = outcome {
            tracing::debug!(peer = %self.peer, %error, "a connection broke");
        }
        metrics.connection_closed();
        drop(self.slot);
    }

    async fn http1(&self, stream: TcpStream, watcher: Watcher) -> hyper::Result<()> {
        let settings = &self.shared.settings;
        let mut builder = hyper::server::conn::http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(settings.header_timeout)
            .max_header_size(settings.header_bytes)
            .max_buf_size(settings.header_bytes.max(8 << 10));
        let (shared, peer) = (self.shared.clone(), self.peer);
        let service = service_fn(move |request: Request<Incoming>| {
            let shared = shared.clone();
            async move { Ok::<_, Infallible>(handle(&shared, request.map(Body::new), peer).await) }
        });
        watcher
            .watch(builder.serve_connection(TokioIo::new(stream), service))
            .await
    }

    async fn http2(&self, stream: TcpStream, watcher: Watcher) -> hyper::Result<()> {
        let settings = &self.shared.settings;
        let idle = settings.header_timeout;
        let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .max_header_list_size(u32::try_from(settings.header_bytes).unwrap_or(u32::MAX))
            .max_concurrent_streams(STREAMS)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(SEND_BUFFER)
            .keep_alive_interval(PING_EVERY);
        let activity = Arc::new(Activity::new());
        let streams = activity.clone();
        let (shared, slots, peer) = (self.shared.clone(), self.slots.clone(), self.peer);
        let service = service_fn(move |request: Request<Incoming>| {
            let stream = streams.clone().begin();
            let slot = slots.clone().try_acquire_owned();
            let shared = shared.clone();
            async move {
                let Ok(slot) = slot else {
                    shared.host.metrics().connection_shed();
                    return Ok(Problem::overloaded("too many requests are open").into_response());
                };
                let request = with_host(request.map(Body::new));
                let mut response = handle(&shared, request, peer).await;
                // HTTP/2 has no such header.
                response.headers_mut().remove(CONNECTION);
                Ok::<Response, Infallible>(response.map(|body| {
                    Body::new(body.map_frame(move |frame| {
                        let _until_the_end = (&slot, &stream);
                        frame
                    }))
                }))
            }
        });
        let connection = watcher.watch(builder.serve_connection(TokioIo::new(stream), service));
        tokio::select! {
            ended = connection => ended,
            () = activity.rests(idle) => Ok(()),
        }
    }
}

/// Whether a client begins as HTTP/2 has it; none when it ends the connection first. Nothing is consumed.
async fn speaks_http2(stream: &TcpStream) -> std::io::Result<Option<bool>> {
    let mut first = [0; PREFACE.len()];
    loop {
        let seen = stream.peek(&mut first).await?;
        match first.get(..seen) {
            Some([]) | None => return Ok(None),
            Some(begun) if !PREFACE.starts_with(begun) => return Ok(Some(false)),
            Some(begun) if begun.len() == PREFACE.len() => return Ok(Some(true)),
            // There is something to see, so that waiting for the socket would not wait.
            Some(_) => tokio::time::sleep(PREFACE_PAUSE).await,
        }
    }
}

/// The request with a `Host`, which HTTP/2 has in its `:authority`: everything behind looks there.
fn with_host(mut request: Request<Body>) -> Request<Body> {
    let authority = request.uri().authority().map(|name| name.as_str());
    if let Some(Ok(host)) = authority.map(HeaderValue::from_str)
        && !request.headers().contains_key(HOST)
    {
        request.headers_mut().insert(HOST, host);
    }
    request
}

/// Which streams of a connection are open, and when the last one ended.
struct Activity(Mutex<(usize, Instant)>);

/// A stream that is open.
struct Open(Arc<Activity>);

impl Activity {
    fn new() -> Self {
        Self(Mutex::new((0, Instant::now())))
    }

    fn begin(self: Arc<Self>) -> Open {
        self.0.lock().0 += 1;
        Open(self)
    }

    /// Returns when no stream was open for this time.
    async fn rests(&self, time: Duration) {
        loop {
            let until = match *self.0.lock() {
                (0, last) => last + time,
                _ => Instant::now() + time,
            };
            if until <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(until).await;
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut activity = self.0.0.lock();
        activity.0 -= 1;
        activity.1 = Instant::now();
    }
}

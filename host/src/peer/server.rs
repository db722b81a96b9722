//! The side that is called: takes connections of hosts that exist, and does what they ask through the same
//! layers as everything else.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use ringfence_api::{Kind, Name};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::client::{CONNECTION_WINDOW, KEEP_ALIVE, STREAM_WINDOW, STREAMS};
use super::incoming;
use super::protocol::PATH;
use super::protocol::frame::FrameKind;
use super::protocol::reader::{Reader, whole};
use super::protocol::wire::{Answer, Ask, Refusal, WireTool};
use super::router::Router;
use super::tls::PeerTls;
use crate::body::{self, Body};
use crate::core::Core;
use crate::directory::Provider;
use crate::mediation::ROUTED_CALLS;

/// Connections of other hosts at once.
pub(crate) const CONNECTIONS: usize = 4_096;
/// How long a request may take to say what it wants.
pub(crate) const ASK: Duration = Duration::from_secs(10);
/// How long a host that nobody knows yet is waited for: it may just have joined.
const INTRODUCED: Duration = Duration::from_secs(1);
/// Wait after a failed `accept`, which mostly means that file descriptors ran out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What serves other hosts.
pub(crate) struct PeerServer {
    core: Arc<Core>,
    router: Arc<Router>,
    tls: PeerTls,
    /// Cancelled when no further calls are taken.
    draining: CancellationToken,
    /// Calls in flight.
    calls: TaskTracker,
    /// Numbers of calls that came from other hosts, and of those within them.
    numbers: Arc<AtomicU32>,
}

impl PeerServer {
    pub(crate) fn new(
        core: Arc<Core>,
        router: Arc<Router>,
        tls: PeerTls,
        draining: CancellationToken,
    ) -> Arc<Self> {
        Arc::new(Self {
            core,
            router,
            tls,
            draining,
            calls: TaskTracker::new(),
            numbers: Arc::new(AtomicU32::new(ROUTED_CALLS)),
        })
    }

    /// Serves for ever.
    pub(crate) async fn serve(self: Arc<Self>, listener: TcpListener) {
        let slots = Arc::new(Semaphore::new(CONNECTIONS));
        let mut connections = tokio::task::JoinSet::new();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                Some(_) = connections.join_next() => continue,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "no connection of a host could be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            // One too many is closed: the other side takes it for a host that cannot be reached.
            if let Ok(slot) = slots.clone().try_acquire_owned() {
                connections.spawn(self.clone().connection(stream, slot));
            }
        }
    }

    /// Waits until no call of another host is in flight, but not for ever. Nothing new begins meanwhile.
    pub(crate) async fn finished(&self, most: Duration) {
        self.calls.close();
        if tokio::time::timeout(most, self.calls.wait()).await.is_err() {
            tracing::warn!(calls = self.calls.len(), "calls of other hosts are cut off");
        }
    }

    async fn connection(self: Arc<Self>, stream: TcpStream, _slot: OwnedSemaphorePermit) {
        drop(stream.set_nodelay(true));
        let (stream, peer) = match self.tls.accept(stream).await {
            Ok(accepted) => accepted,
            Err(error) => {
                self.core.metrics.peer.turned_away();
                tracing::debug!(%error, "a connection was turned away");
                return;
            }
        };
        let chain = stream.get_ref().1.peer_certificates();
        let chain = chain.map(<[_]>::to_vec).unwrap_or_default();
        let tls = self.tls.clone();
        let name = peer.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let (server, peer) = (self.clone(), name.clone());
            async move { Ok::<_, Infallible>(server.handle(request, peer).await) }
        });
        let connection = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_concurrent_streams(STREAMS)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        let served = tokio::select! {
            served = connection.as_mut() => served,
            () = tls.distrusts(&peer, &chain) => {
                tracing::warn!(%peer, "its certificate counts no longer: it has to show another one");
                // Calls in flight go on; for others it has to come again.
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = served {
            tracing::debug!(%peer, %error, "a connection of a host broke");
        }
    }

    async fn handle(self: Arc<Self>, request: Request<Incoming>, peer: Name) -> Response<Body> {
        if request.uri().path() != PATH {
            return status(StatusCode::NOT_FOUND);
        }
        // Asked each time: a certificate may outlive its host.
        if !self.router.hosts.wait_for(&peer, INTRODUCED).await {
            self.core.metrics.peer.turned_away();
            tracing::warn!(%peer, "there is no such host: it was turned away");
            return status(StatusCode::FORBIDDEN);
        }
        if request.method() == Method::GET {
            // The other side finds out whether it is let in before it sends what must not be lost.
            return status(StatusCode::NO_CONTENT);
        }
        // Held from before the look at whether the host drains, so that draining waits for it.
        let in_flight = self.calls.token();
        let mut reader = Reader::new(request.into_body());
        let frame = match tokio::time::timeout(ASK, reader.next()).await {
            Ok(Ok(Some(frame))) if frame.kind == FrameKind::Ask => frame,
            _ => return status(StatusCode::BAD_REQUEST),
        };
        let ask = match serde_json::from_slice(&frame.content) {
            Ok(ask) => ask,
            Err(error) => {
                return answer(&Answer::Refused(Refusal::Unreadable(error.to_string())));
            }
        };
        let core = &self.core;
        match ask {
            Ask::Call(_) if self.draining.is_cancelled() => {
                core.metrics.peer.served("refused");
                answer(&Answer::Refused(Refusal::Draining))
            }
            Ask::Call(call) => {
                let numbers = self.numbers.clone();
                match incoming::start(core, numbers, peer, *call, reader, in_flight).await {
                    Ok(body) => Response::new(body),
                    Err(refusal) => answer(&Answer::Refused(refusal)),
                }
            }
            Ask::Describe { tenant, tool } => {
                let found = core.directory.instance(&tenant, Kind::Tool, &tool);
                answer(&Answer::Described(found.map(|instance| {
                    WireTool {
                        functions: instance
                            .functions()
                            .iter()
                            .cloned()
                            .map(Into::into)
                            .collect(),
                        changes: matches!(instance.provider, Provider::Mcp(_)),
                    }
                })))
            }
            Ask::History {
                session,
                most,
                fetch,
            } => {
                let key = session.into();
                let kept = self.router.history_here(&core.sessions, key, most, fetch);
                answer(&Answer::History(kept.await))
            }
            Ask::Append { session, messages } => {
                let key: crate::session::SessionKey = session.into();
                // What was said before comes first.
                let before = self
                    .router
                    .history_here(&core.sessions, key.clone(), 1, true);
                let kept = match before.await {
                    Ok(_) => core.sessions.append(key, messages).await,
                    Err(error) => Err(error),
                };
                answer(&Answer::Kept(kept))
            }
            Ask::Adopt { session, messages } => answer(&Answer::Kept(
                core.sessions.adopt(session.into(), messages).await,
            )),
        }
    }
}

fn status(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(body::empty());
    *response.status_mut() = status;
    response
}

fn answer(answer: &Answer) -> Response<Body> {
    Response::new(whole(incoming::write(answer)))
}

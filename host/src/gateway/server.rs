//! The listener: connections, their bounds, and an end that calls in flight survive.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use http::header::CONNECTION;
use http::{HeaderValue, Request};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use super::auth::Authenticator;
use super::binding::{Binding, Doors};
use super::connection::Connection;
use super::guard::{Guard, local_names};
use super::mcp::Mcp;
use super::respond::Problem;
use super::route::Route;
use super::settings::Settings;
use super::shared::Shared;
use super::{incoming, mcp, openai, ops, rest};
use crate::Host;

/// Wait after a failed `accept`, which mostly means that file descriptors ran out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Time that connections have to end once their calls were canceled.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// What a connection too many is told.
const SHED: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\n\
    content-length: 0\r\nconnection: close\r\n\r\n";

/// A gateway that is about to serve.
pub struct Gateway {
    shared: Arc<Shared>,
    binding: Binding,
}

impl Gateway {
    /// Puts a gateway in front of a host. `rest` serves every path that no other surface does; each of
    /// its requests was guarded and authenticated, and carries an `Arc<Identity>` as extension.
    ///
    /// The gateway answers `/readyz` with 503 until [`Gateway::loaded`] is set.
    pub fn new(host: Host, binding: Binding, settings: Settings, rest: axum::Router) -> Self {
        let names = match binding.doors {
            Doors::Local => Some(local_names(binding.address)),
            Doors::Keys(_) | Doors::Cluster { .. } => None,
        };
        let guard = Guard::new(names.clone(), settings.origins.clone());
        let stop = CancellationToken::new();
        let shared = Arc::new_cyclic(|shared| Shared {
            mcp: Mcp::new(shared.clone(), &settings, names),
            auth: Authenticator::new(binding.doors.clone()),
            ready: Arc::new(AtomicBool::new(false)),
            calls: TaskTracker::new(),
            requests: TaskTracker::new(),
            host,
            settings,
            guard,
            rest,
            stop,
        });
        Self { shared, binding }
    }

    /// The address that is listened on.
    pub fn address(&self) -> SocketAddr {
        self.binding.address
    }

    /// The flag behind `/readyz`: set it when the state is loaded.
    pub fn loaded(&self) -> Arc<AtomicBool> {
        self.shared.ready.clone()
    }

    /// Serves until the host drains ([`Host::draining`]) and calls in flight have ended or had their
    /// time. In between, whatever is new is answered 503, so that clients and load balancers go
    /// elsewhere instead of taking a refused connection for a crash.
    pub async fn serve(self) {
        let Self { shared, binding } = self;
        let draining = shared.host.draining().clone();
        let background = TaskTracker::new();
        if let Some(ring) = binding.doors.keys() {
            background.spawn(ring.clone().follow(shared.stop.clone()));
        }
        background.spawn(mcp::sweep(shared.clone()));
        let graceful = GracefulShutdown::new();
        let closing = CancellationToken::new();
        let connections = TaskTracker::new();
        let slots = Arc::new(Semaphore::new(shared.settings.connections));
        let deadline = {
            let (shared, draining) = (shared.clone(), draining.clone());
            async move {
                draining.cancelled().await;
                let deadline = tokio::time::Instant::now() + shared.settings.drain;
                shared.finished(deadline).await;
                deadline
            }
        };
        tokio::pin!(deadline);
        let deadline = loop {
            let accepted = tokio::select! {
                deadline = &mut deadline => break deadline,
                accepted = binding.listener.accept() => accepted,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "no connection could be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let Ok(slot) = slots.clone().try_acquire_owned() else {
                shared.host.metrics().connection_shed();
                // Whether it arrives does not matter: the connection ends either way.
                let _ = stream.try_write(SHED);
                continue;
            };
            let connection = Connection {
                shared: shared.clone(),
                peer,
                slots: slots.clone(),
                slot,
                closing: closing.clone(),
            };
            connections.spawn(connection.run(stream, graceful.watcher()));
        };
        drop(binding);
        connections.close();
        background.close();
        closing.cancel();
        end(&shared, graceful, &connections, deadline).await;
        shared.stop.cancel();
        if tokio::time::timeout(LAST_WORDS, async {
            connections.wait().await;
            background.wait().await;
        })
        .await
        .is_err()
        {
            tracing::warn!(connections = connections.len(), "connections were cut off");
        }
    }
}

impl Shared {
    /// Waits until nothing is in flight, or the time for it is over. Nothing new begins meanwhile.
    async fn finished(&self, deadline: tokio::time::Instant) {
        self.requests.close();
        self.calls.close();
        let idle = async {
            // A request that was let in before may still begin a call.
            self.requests.wait().await;
            self.calls.wait().await;
        };
        if tokio::time::timeout_at(deadline, idle).await.is_err() {
            tracing::warn!(calls = self.calls.len(), "calls in flight are canceled");
        }
    }
}

/// Ends the connections. Streams that only wait for news, such as those of MCP sessions, are ended;
/// answers that are on their way are sent, within the time for it.
async fn end(
    shared: &Shared,
    graceful: GracefulShutdown,
    connections: &TaskTracker,
    deadline: tokio::time::Instant,
) {
    shared.mcp.stop();
    let ended = async { tokio::join!(graceful.shutdown(), connections.wait()) };
    // What is left is cut off by the caller.
    let _ = tokio::time::timeout_at(deadline, ended).await;
}

/// Answers one request.
pub(super) async fn handle(
    shared: &Arc<Shared>,
    request: Request<Body>,
    peer: SocketAddr,
) -> Response {
    let began = Instant::now();
    if let Err(refusal) = shared.guard.check(request.uri(), request.headers()) {
        let response = Problem::from(refusal).into_response();
        shared
            .host
            .metrics()
            .request("refused", response.status().as_u16(), began.elapsed());
        return response;
    }
    // The path outlives the request, which is handed on.
    let uri = request.uri().clone();
    let route = Route::of(uri.path());
    let from = peer.ip();
    // Held from before the look at whether the host drains, so that draining waits for whatever was let
    // in.
    let in_flight = (!route.is_ops()).then(|| shared.requests.token());
    if in_flight.is_some() && shared.host.draining().is_cancelled() {
        let response = draining(&route);
        shared
            .host
            .metrics()
            .request(route.surface(), response.status().as_u16(), began.elapsed());
        return response;
    }
    let response = match route {
        Route::Health => ops::health(request.method()),
        Route::Ready => ops::ready(shared, request.method()),
        Route::Metrics => ops::metrics(shared, request.method(), request.headers(), from).await,
        Route::Mcp { tenant, tool } => mcp::serve(shared, tenant, tool, request, from).await,
        Route::Http { tenant, tool, rest } => {
            incoming::serve(shared, tenant, tool, rest, request, from).await
        }
        // Boxed, so that the others do not carry room for them.
        Route::OpenAi { tenant, rest } => {
            Box::pin(openai::serve(shared, tenant, rest, request, from)).await
        }
        Route::Other => Box::pin(other(shared, request, from)).await,
    };
    shared
        .host
        .metrics()
        .request(route.surface(), response.status().as_u16(), began.elapsed());
    response
}

/// What a request is told that comes too late, in the form of its surface. The connection ends with it.
fn draining(route: &Route<'_>) -> Response {
    const MESSAGE: &str = "the host stops and takes no more work: try again in a moment";
    let mut response = match route {
        Route::OpenAi { .. } => openai::refuse(Problem::overloaded(MESSAGE)),
        Route::Other => rest::unavailable(MESSAGE),
        _ => Problem::overloaded(MESSAGE).into_response(),
    };
    let close = HeaderValue::from_static("close");
    response.headers_mut().insert(CONNECTION, close);
    response
}

/// Hands a request to the REST API.
async fn other(shared: &Shared, mut request: Request<Body>, from: std::net::IpAddr) -> Response {
    match shared.identify(request.headers(), from).await {
        Err(problem) => problem.into_response(),
        Ok((identity, _)) => {
            request.extensions_mut().insert(identity);
            match shared.rest.clone().oneshot(request).await {
                Ok(response) => response,
                Err(never) => match never {},
            }
        }
    }
}

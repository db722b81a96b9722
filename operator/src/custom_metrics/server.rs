//! Serves what is asked for, within limits.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use k8s_openapi::api::authorization::v1::SubjectAccessReview;
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::{Api, Client};
use ringfence_api::chain;
use serde::Serialize;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::answer::{self, Refusal};
use super::door::Door;
use super::front_proxy::{Caller, FrontProxy};
use super::loads::Loads;
use super::request::{self, Ask, Values};
use super::values::{Pods, values};
use crate::metrics::Metrics;

/// Connections at once. An API server keeps one or two.
pub const CONNECTIONS: usize = 128;
/// Requests of one connection at once.
pub const STREAMS: u32 = 64;
/// Requests at once, over all connections; further ones are answered 429.
pub const REQUESTS: usize = 64;
/// Most bytes of a request's head.
pub const HEAD_BYTES: usize = 65_536;
/// How long a connection may be without a head, and how long it may stay silent.
pub const IDLE: Duration = Duration::from_secs(60);
/// How long the API server may take to say whether the caller may.
pub const REVIEW: Duration = Duration::from_secs(5);
/// Wait after a failed `accept`, which mostly means that file descriptors ran out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What serves the metrics.
pub(super) struct Server {
    pub(super) client: Client,
    pub(super) namespace: String,
    pub(super) pods: Pods,
    pub(super) loads: Loads,
    pub(super) metrics: Metrics,
    pub(super) requests: Arc<Semaphore>,
}

impl Server {
    /// Serves for ever, from when there is a door.
    pub(super) async fn serve(
        self: Arc<Self>,
        listener: TcpListener,
        door: watch::Receiver<Option<Arc<Door>>>,
    ) {
        let slots = Arc::new(Semaphore::new(CONNECTIONS));
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                Some(_) = connections.join_next() => continue,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "no connection for custom metrics could be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            // One too many is closed: who came tries again.
            if let Ok(slot) = slots.clone().try_acquire_owned() {
                connections.spawn(self.clone().connection(stream, slot, door.clone()));
            }
        }
    }

    async fn connection(
        self: Arc<Self>,
        stream: TcpStream,
        _slot: OwnedSemaphorePermit,
        mut doors: watch::Receiver<Option<Arc<Door>>>,
    ) {
        let door = doors.borrow_and_update().clone();
        let Some(door) = door else { return };
        drop(stream.set_nodelay(true));
        let stream = match door.accept(stream).await {
            Ok(stream) => stream,
            Err(error) => {
                self.metrics.custom_metrics_turned_away();
                tracing::debug!(error = %chain(&error), "a connection for custom metrics was turned away");
                return;
            }
        };
        let (server, asked) = (self.clone(), Arc::new(AtomicBool::new(false)));
        let has_asked = asked.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            asked.store(true, Ordering::Relaxed);
            let (server, door) = (server.clone(), door.clone());
            async move { Ok::<_, Infallible>(server.answer(&request, &door.proxy).await) }
        });
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(IDLE)
            .max_buf_size(HEAD_BYTES);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_header_list_size(u32::try_from(HEAD_BYTES).unwrap_or(u32::MAX))
            .max_concurrent_streams(STREAMS)
            .keep_alive_interval(IDLE / 2)
            .keep_alive_timeout(IDLE / 2);
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        let silent = async {
            tokio::time::sleep(IDLE).await;
            if has_asked.load(Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
        };
        let served = tokio::select! {
            served = connection.as_mut() => served,
            () = silent => return,
            // Whoever is inside has to come in again by what counts now.
            _ = doors.changed() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = served {
            tracing::debug!(%error, "a connection for custom metrics broke");
        }
    }

    async fn answer<B>(&self, request: &Request<B>, proxy: &FrontProxy) -> Response<Full<Bytes>> {
        let response = match self.result(request, proxy).await {
            Ok(body) => json_response(200, body),
            Err(refusal) => {
                let body = refusal.status().to_string();
                let mut response = json_response(refusal.code().as_u16(), body.into());
                if refusal.is_passing() {
                    let second = HeaderValue::from_static("1");
                    response.headers_mut().insert(RETRY_AFTER, second);
                }
                response
            }
        };
        self.metrics
            .custom_metrics_answered(response.status().as_u16());
        response
    }

    async fn result<B>(&self, request: &Request<B>, proxy: &FrontProxy) -> Result<Bytes, Refusal> {
        let _permit = self.requests.try_acquire().map_err(|_| Refusal::busy())?;
        let caller = proxy.caller(request.headers());
        let caller = caller.ok_or_else(Refusal::unauthorized)?;
        match request::read(request.method(), request.uri())? {
            Ask::Groups => body(&answer::groups()),
            Ask::Group => body(&answer::group()),
            Ask::Resources => body(&answer::resources()),
            Ask::Values(asked) => {
                self.allowed(&caller, &asked).await?;
                let now = (Instant::now(), Timestamp::now());
                let values = values(&asked, &self.namespace, &self.pods, &self.loads, now)?;
                body(&values)
            }
        }
    }

    /// Asks the API server whether the caller may. It has looked itself before it sent the request on; but another
    /// proxy that is believed may not have.
    async fn allowed(&self, caller: &Caller, asked: &Values) -> Result<(), Refusal> {
        let review = SubjectAccessReview {
            spec: caller.review(asked),
            ..SubjectAccessReview::default()
        };
        let reviews: Api<SubjectAccessReview> = Api::all(self.client.clone());
        let params = PostParams::default();
        let asking = reviews.create(&params, &review);
        match tokio::time::timeout(REVIEW, asking).await {
            Ok(Ok(answer)) if answer.status.as_ref().is_some_and(|status| status.allowed) => Ok(()),
            Ok(Ok(_)) => Err(Refusal::forbidden(&caller.user)),
            Ok(Err(error)) => {
                tracing::warn!(%error, "nobody says who may read custom metrics");
                Err(Refusal::unavailable(
                    "the API server does not say whether the caller may",
                ))
            }
            Err(_) => Err(Refusal::unavailable(
                "the API server does not answer whether the caller may",
            )),
        }
    }
}

fn body(value: &impl Serialize) -> Result<Bytes, Refusal> {
    let bytes = serde_json::to_vec(value).map(Bytes::from);
    bytes.map_err(|_| Refusal::unavailable("the answer could not be written"))
}

fn json_response(status: u16, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = http::StatusCode::from_u16(status).unwrap_or_default();
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;

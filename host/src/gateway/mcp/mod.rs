//! The Model Context Protocol over Streamable HTTP: `/{tenant}/mcp` with every tool of a tenant, whose
//! functions are named `TOOL_FUNCTION`, and `/{tenant}/tools/{tool}/mcp` with the plain names of one.
//!
//! Both eras are served: sessions up to 2025-11-25, none since 2026-07-28. The protocol itself is
//! rmcp's. In front of it, [`fast`] answers the ordinary `tools/call` with one JSON response, because
//! a task, two channels and three passes over the body per request would cost more than the sandboxed
//! call; whatever is unusual about a request is left to rmcp.

mod content;
mod endpoint;
mod fast;
mod handler;
mod listing;
mod sessions;

use std::net::IpAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use http::{Method, Request};
use http_body_util::Full;
use ringfence_api::Name;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use self::endpoint::{ENDPOINT, Endpoint};
use self::handler::Handler;
use self::listing::Listings;
use self::sessions::Sessions;
use super::respond::Problem;
use super::settings::Settings;
use super::shared::Shared;

/// Time between two comments on a stream that has no news, so that proxies keep it open.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Longest time between two looks for sessions that nobody uses.
const SWEEP_EVERY: Duration = Duration::from_secs(30);
/// Shortest time between two.
const SWEEP_LEAST: Duration = Duration::from_millis(50);

/// The MCP side of a gateway.
pub(super) struct Mcp {
    service: StreamableHttpService<Handler, Sessions>,
    sessions: Arc<Sessions>,
    listings: Listings,
    /// Streams that may wait for changes of a list.
    subscriptions: Arc<Semaphore>,
    stop: CancellationToken,
}

impl Mcp {
    /// `hosts` are the names that the gateway is reached under; any where there are none.
    pub(super) fn new(
        shared: Weak<Shared>,
        settings: &Settings,
        hosts: Option<Vec<String>>,
    ) -> Self {
        let stop = CancellationToken::new();
        // None of them means any to rmcp.
        let hosts = hosts.unwrap_or_default();
        let mut config = StreamableHttpServerConfig::default().with_allowed_hosts(hosts);
        config.sse_keep_alive = Some(KEEP_ALIVE);
        // No stream can be resumed, so none asks to be.
        config.sse_retry = None;
        config.legacy_session_mode = true;
        config.json_response = true;
        config.cancellation_token = stop.clone();
        config.max_request_body_bytes = settings.body_bytes;
        let sessions = Arc::new(Sessions::new(shared, settings));
        // The endpoint that a request is for is known to the task that serves it.
        let handler = || {
            ENDPOINT
                .try_with(|endpoint| Handler::new(endpoint.clone()))
                .map_err(|_| std::io::Error::other("no endpoint"))
        };
        Self {
            service: StreamableHttpService::new(handler, sessions.clone(), config),
            sessions,
            listings: Listings::default(),
            subscriptions: Arc::new(Semaphore::new(settings.subscriptions)),
            stop,
        }
    }

    /// Ends every session and stream.
    pub(super) fn stop(&self) {
        self.stop.cancel();
    }
}

/// Closes sessions that nobody uses, until the gateway stops.
pub(super) async fn sweep(shared: Arc<Shared>) {
    let every = shared.settings.session_idle.clamp(SWEEP_LEAST, SWEEP_EVERY);
    let mut ticks = tokio::time::interval(every);
    loop {
        tokio::select! {
            () = shared.stop.cancelled() => return,
            _ = ticks.tick() => shared.mcp.sessions.close_idle().await,
        }
    }
}

/// Answers one request to an endpoint.
pub(super) async fn serve(
    shared: &Arc<Shared>,
    tenant: &str,
    tool: Option<&str>,
    request: Request<Body>,
    from: IpAddr,
) -> Response {
    let visitor = match shared.visit(tenant, request.headers(), from).await {
        Ok(visitor) => visitor,
        Err(problem) => return problem.into_response(),
    };
    let tool = match tool.map(str::parse::<Name>).transpose() {
        Ok(tool) => tool,
        Err(_) => return no_tool(tool),
    };
    let endpoint = Arc::new(Endpoint::new(
        Arc::downgrade(shared),
        visitor.tenant,
        tool,
        visitor.identity,
    ));
    if request.method() != Method::POST {
        return match enter(shared, &endpoint).await {
            Ok(()) => Box::pin(hand_over(shared, endpoint, request)).await,
            Err(problem) => problem.into_response(),
        };
    }
    let (parts, body) = request.into_parts();
    let body = match shared.read(body).await {
        Ok(body) => body,
        Err(response) => return response,
    };
    // An ordinary call asks for the permission that it needs, and for no other.
    if let fast::Answer::Done(response) = fast::call(shared, &endpoint, &parts.headers, &body).await
    {
        return response;
    }
    if let Err(problem) = enter(shared, &endpoint).await {
        return problem.into_response();
    }
    match fast::notice(shared, &endpoint, &parts.headers, &body) {
        fast::Answer::Done(response) => response,
        fast::Answer::Unusual => {
            let request = Request::from_parts(parts, Body::new(Full::new(body)));
            Box::pin(hand_over(shared, endpoint, request)).await
        }
    }
}

/// Lets somebody in who may use anything of what the endpoint offers, or list it.
async fn enter(shared: &Shared, endpoint: &Endpoint) -> Result<(), Problem> {
    endpoint
        .look(shared)
        .await
        .map_err(|why| Problem::refused(&endpoint.tenant, why))?;
    match &endpoint.tool {
        Some(tool) if !endpoint.has(shared, tool) => {
            Err(Problem::not_found(format!("no tool {:?}", tool.as_str())))
        }
        _ => Ok(()),
    }
}

/// Lets rmcp answer.
async fn hand_over(shared: &Shared, endpoint: Arc<Endpoint>, request: Request<Body>) -> Response {
    let answer = ENDPOINT
        .scope(endpoint, shared.mcp.service.handle(request))
        .await;
    answer.map(Body::new)
}

fn no_tool(name: Option<&str>) -> Response {
    Problem::not_found(format!("no tool {:?}", name.unwrap_or_default())).into_response()
}

//! Health, readiness and metrics.

use std::net::IpAddr;

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use super::respond::Problem;
use super::shared::Shared;
use crate::telemetry::metrics::CONTENT_TYPE as OPENMETRICS;

/// The process runs. It needs no key: it tells nothing.
pub(super) fn health(method: &Method) -> Response {
    text(method, StatusCode::OK, "ok\n")
}

/// Calls are taken: everything is loaded, and the host is not draining. It needs no key.
pub(super) fn ready(shared: &Shared, method: &Method) -> Response {
    if shared.is_ready() {
        text(method, StatusCode::OK, "ready\n")
    } else if shared.host.draining().is_cancelled() {
        text(method, StatusCode::SERVICE_UNAVAILABLE, "draining\n")
    } else {
        text(method, StatusCode::SERVICE_UNAVAILABLE, "loading\n")
    }
}

/// The metrics. They name tenants and targets, so where callers are authenticated, this needs the key of an
/// admin of every tenant, or, of a user of the cluster, the right to `get` the path `/metrics`.
pub(super) async fn metrics(
    shared: &Shared,
    method: &Method,
    headers: &HeaderMap,
    from: IpAddr,
) -> Response {
    let identity = match shared.identify(headers, from).await {
        Err(problem) => return problem.into_response(),
        Ok((identity, _)) => identity,
    };
    match identity.may_read_metrics().await {
        Err(why) => return Problem::from(why).into_response(),
        Ok(false) => {
            let message = "metrics need the key of an admin of all tenants, or a ClusterRole that allows to get the path /metrics";
            return Problem::new(StatusCode::FORBIDDEN, "forbidden", message).into_response();
        }
        Ok(true) => {}
    }
    if method != Method::GET && method != Method::HEAD {
        return Problem::method("GET");
    }
    shared.host.read_pool();
    match shared.host.metrics().encode() {
        Ok(text) => {
            let mut response = Response::new(Body::from(text));
            response
                .headers_mut()
                .insert(CONTENT_TYPE, HeaderValue::from_static(OPENMETRICS));
            response
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn text(method: &Method, status: StatusCode, text: &'static str) -> Response {
    if method != Method::GET && method != Method::HEAD {
        return Problem::method("GET");
    }
    (status, text).into_response()
}

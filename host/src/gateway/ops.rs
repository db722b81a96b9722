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

/// The metrics. They name tenants and targets, so where keys are needed, this needs one of an admin
/// who may enter every tenant.
pub(super) fn metrics(
    shared: &Shared,
    method: &Method,
    headers: &HeaderMap,
    from: IpAddr,
) -> Response {
    match shared.identify(headers, from) {
        Err(problem) => return problem.into_response(),
        Ok((identity, _)) if !(identity.is_admin() && identity.is_everywhere()) => {
            let message = "metrics need the key of an admin of all tenants";
            return Problem::new(StatusCode::FORBIDDEN, "forbidden", message).into_response();
        }
        Ok(_) => {}
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

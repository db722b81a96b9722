//! The control API, `/api/v1`: resources, artifacts, calls, runs.
//!
//! Everything that belongs to a tenant is below `/api/v1/tenants/{tenant}`. One table ([`operations`])
//! makes both the router and the OpenAPI document, so that neither can know a route that the other
//! does not. Failures are `application/problem+json` with the code of the typed call error.

mod access;
mod artifacts;
mod blobs;
mod calls;
mod ceilings;
mod extract;
mod openapi;
mod problem;
mod resources;
mod runs;
mod schemas;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::Router;
use axum::response::{IntoResponse as _, Response};
use axum::routing::MethodRouter;
use http::Method;

pub use problem::PROBLEM_JSON;

use crate::directory::apply::Control;
use crate::error::CallError;
use crate::host::Host;

/// What the control API works on.
#[derive(Clone)]
pub struct RestState {
    /// The host, for calls and artifacts.
    pub host: Host,
    /// Its resources. None on a host of a cluster, where the API server has them.
    pub control: Option<Arc<Control>>,
}

impl RestState {
    /// The resources of this host.
    ///
    /// # Errors
    /// It is a host of a cluster.
    fn control(&self) -> Result<&Arc<Control>, problem::Failure> {
        self.control
            .as_ref()
            .ok_or_else(problem::Failure::of_cluster)
    }
}

/// The control API. Whoever mounts it authenticates first, and puts an
/// [`Arc<Identity>`](crate::gateway::Identity) into the extensions of each request.
pub fn router(state: RestState) -> Router {
    let mut router = Router::new();
    for operation in operations() {
        let needs = axum::Extension(access::needs(operation.id));
        router = router.route(operation.path, operation.handler.layer(needs));
    }
    router
        .route(
            "/api/v1/{*rest}",
            axum::routing::any(|| async { problem::Failure::no_route().into_response() }),
        )
        .method_not_allowed_fallback(|| async { problem::Failure::no_method().into_response() })
        .with_state(state)
}

/// What a request is told that the gateway does not let in, in the form of this API.
pub(super) fn unavailable(message: &str) -> Response {
    problem::Failure::from(CallError::Unavailable(message.to_owned())).into_response()
}

/// The OpenAPI document of the control API.
pub fn openapi() -> &'static serde_json::Value {
    openapi::document()
}

/// What a request or response carries.
struct Content {
    /// Media type.
    media: &'static str,
    /// JSON Schema.
    schema: serde_json::Value,
}

/// One route: what it does, what it takes, what it answers.
struct Operation {
    method: Method,
    path: &'static str,
    /// Name of the operation, for generated clients.
    id: &'static str,
    summary: &'static str,
    /// Whether the role admin is needed.
    admin: bool,
    /// Query parameters: name, meaning, schema.
    query: Vec<(&'static str, &'static str, serde_json::Value)>,
    request: Vec<Content>,
    status: u16,
    response: Vec<Content>,
    handler: MethodRouter<RestState>,
}

/// Every route.
fn operations() -> Vec<Operation> {
    let mut all = openapi::operations();
    all.extend(resources::operations());
    all.extend(ceilings::operations());
    all.extend(artifacts::operations());
    all.extend(blobs::operations());
    all.extend(calls::operations());
    all.extend(runs::operations());
    all
}

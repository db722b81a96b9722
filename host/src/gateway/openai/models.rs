//! `/v1/models`: agents under their names, models as `model/NAME`.

use axum::response::Response;
use http::StatusCode;
use ringfence_api::TenantName;
use serde::Serialize;

use super::Target;
use super::error::Failure;
use crate::gateway::respond::json;
use crate::gateway::shared::Shared;

#[derive(Serialize)]
struct List<'a> {
    object: &'static str,
    data: Vec<Model<'a>>,
}

#[derive(Serialize)]
struct Model<'a> {
    id: String,
    object: &'static str,
    /// The clients want a number of seconds; there is none that would mean anything.
    created: u64,
    owned_by: &'a str,
}

fn model(id: String, tenant: &TenantName) -> Model<'_> {
    Model {
        id,
        object: "model",
        created: 0,
        owned_by: tenant.as_str(),
    }
}

/// All of a tenant.
pub(super) fn list(shared: &Shared, tenant: &TenantName) -> Response {
    let view = shared.host.directory().view(tenant);
    let agents = view.agents.keys().map(|name| name.to_string());
    let models = view.models.keys().map(|name| format!("model/{name}"));
    let data = agents.chain(models).map(|id| model(id, tenant)).collect();
    json(
        StatusCode::OK,
        &List {
            object: "list",
            data,
        },
    )
}

/// One of a tenant. The `/` of an id may come percent-encoded, as the clients send it.
pub(super) fn one(shared: &Shared, tenant: &TenantName, id: &str) -> Response {
    let id = id.replace("%2F", "/").replace("%2f", "/");
    let view = shared.host.directory().view(tenant);
    let known = match Target::of(&id) {
        Some(Target::Agent(name)) => view.agents.contains_key(&name),
        Some(Target::Model(name)) => view.models.contains_key(&name),
        None => false,
    };
    if known {
        json(StatusCode::OK, &model(id, tenant))
    } else {
        Failure::no_model(&id).into_response()
    }
}

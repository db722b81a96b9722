//! `/v1/models`: agents under their names, models as `model/NAME`.

use axum::response::Response;
use http::StatusCode;
use ringfence_api::TenantName;
use serde::Serialize;

use super::Target;
use super::error::Failure;
use crate::gateway::auth::{AGENTS, MODELS, Permission};
use crate::gateway::respond::{Problem, json};
use crate::gateway::shared::{Shared, Visitor};

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

/// All of a tenant that somebody may use.
pub(super) async fn list(shared: &Shared, visitor: &Visitor) -> Response {
    match ids(shared, visitor).await {
        Ok(ids) => {
            let data = ids.into_iter().map(|id| model(id, &visitor.tenant));
            let list = List {
                object: "list",
                data: data.collect(),
            };
            json(StatusCode::OK, &list)
        }
        Err(problem) => super::refuse(problem),
    }
}

async fn ids(shared: &Shared, visitor: &Visitor) -> Result<Vec<String>, Problem> {
    shared.host.look(&visitor.tenant).await;
    let view = shared.host.directory().view(&visitor.tenant);
    let all_agents = view.all_agents();
    let agents = || all_agents.keys().cloned().collect();
    let models = || view.models.keys().cloned().collect();
    let agents = visitor.sees("run", AGENTS, agents).await?;
    let models = visitor.sees("call", MODELS, models).await?;
    if agents.is_none() && models.is_none() {
        // Nothing to use: only who may list what there is may know that there is such a tenant.
        let of_agents = visitor.permit(Permission::all("list", AGENTS)).await;
        if of_agents.is_err() {
            visitor.permit(Permission::all("list", MODELS)).await?;
        }
    }
    let agents = all_agents.keys().filter(|name| agents.has(name));
    let models = view.models.keys().filter(|name| models.has(name));
    Ok(agents
        .map(ToString::to_string)
        .chain(models.map(|name| format!("model/{name}")))
        .collect())
}

/// One of a tenant. The `/` of an id may come percent-encoded, as the clients send it.
pub(super) async fn one(shared: &Shared, visitor: &Visitor, id: &str) -> Response {
    let id = id.replace("%2F", "/").replace("%2f", "/");
    let Some(target) = Target::of(&id) else {
        return Failure::no_model(&id).into_response();
    };
    if let Err(problem) = visitor.permit(target.permission()).await {
        return super::refuse(problem);
    }
    let view = shared.host.directory().view(&visitor.tenant);
    let known = match target {
        Target::Agent(name) => shared.host.has_agent(&visitor.tenant, &name).await,
        Target::Model(name) => view.models.contains_key(&name),
    };
    if known {
        json(StatusCode::OK, &model(id, &visitor.tenant))
    } else {
        Failure::no_model(&id).into_response()
    }
}

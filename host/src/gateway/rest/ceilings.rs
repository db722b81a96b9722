//! Ceilings, which belong to no tenant: for whoever administers the host. And what they leave to an agent
//! or tool.

use axum::extract::{FromRequestParts, State};
use axum::routing::{delete, get, post};
use http::request::Parts;
use http::{HeaderMap, Method};
use ringfence_api::{Kind, Name, TenantName};
use serde_json::{Value, json};

use super::access::{Admin, identity};
use super::extract::{Named, Params};
use super::problem::Failure;
use super::resources::{ApplyParams, document, manifests, read_body, removed, result};
use super::schemas::json_content;
use super::{Operation, RestState};
use crate::directory::resolve::system_tenant;
use crate::directory::store::Key;
use crate::error::CallError;

/// Somebody with the role admin in every tenant: whoever administers the host.
pub(super) struct HostAdmin;

impl FromRequestParts<RestState> for HostAdmin {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &RestState) -> Result<Self, Failure> {
        let identity = identity(parts)?;
        if !identity.is_caller_key() && identity.is_everywhere() {
            return Ok(Self);
        }
        let reason =
            "a ceiling bounds tenants: this needs a key with the role admin for all of them";
        Err(CallError::denied("control", parts.uri.path(), reason).into())
    }
}

pub(super) fn operations() -> Vec<Operation> {
    let base = |method, path, id, summary, response, handler| Operation {
        method,
        path,
        id,
        summary,
        admin: true,
        query: Vec::new(),
        request: Vec::new(),
        status: 200,
        response: json_content(response),
        handler,
    };
    let grants = "What it asks for, is granted and may do, and what not and why.";
    vec![
        Operation {
            query: vec![super::resources::dry_run()],
            request: manifests(),
            ..base(
                Method::POST,
                "/api/v1/ceilings",
                "applyCeilings",
                "Creates or changes ceilings, all of them or none. What they bound is bounded when this \
                 is answered.",
                "ApplyResult",
                post(apply),
            )
        },
        base(
            Method::GET,
            "/api/v1/ceilings",
            "listCeilings",
            "Lists the ceilings with their status, by name.",
            "CeilingList",
            get(list),
        ),
        base(
            Method::GET,
            "/api/v1/ceilings/{name}",
            "getCeiling",
            "One ceiling with its status.",
            "Ceiling",
            get(one),
        ),
        base(
            Method::DELETE,
            "/api/v1/ceilings/{name}",
            "deleteCeiling",
            "Removes a ceiling.",
            "ApplyResult",
            delete(remove),
        ),
        base(
            Method::GET,
            "/api/v1/tenants/{tenant}/agents/{name}/grants",
            "getAgentGrants",
            grants,
            "GrantsReport",
            get(grants_of::<true>),
        ),
        base(
            Method::GET,
            "/api/v1/tenants/{tenant}/tools/{name}/grants",
            "getToolGrants",
            grants,
            "GrantsReport",
            get(grants_of::<false>),
        ),
    ]
}

fn key(path: &Named) -> Result<Key, Failure> {
    Ok(Key {
        tenant: system_tenant(),
        kind: Kind::Ceiling,
        name: path.get::<Name>("name")?,
    })
}

async fn apply(
    State(state): State<RestState>,
    _: HostAdmin,
    Params(params): Params<ApplyParams>,
    headers: HeaderMap,
    request: axum::body::Body,
) -> Result<axum::Json<Value>, Failure> {
    let manifests = read_body(request, &headers, system_tenant()).await?;
    let changed = state.control()?.apply(manifests, params.dry_run).await?;
    Ok(axum::Json(result(&changed, params.dry_run)))
}

async fn list(State(state): State<RestState>, _: HostAdmin) -> Result<axum::Json<Value>, Failure> {
    let system: TenantName = system_tenant();
    let views = state.control()?.list(&system, Some(Kind::Ceiling)).await?;
    let items: Vec<Value> = views.iter().map(document).collect();
    Ok(axum::Json(json!({ "items": items })))
}

async fn one(
    State(state): State<RestState>,
    _: HostAdmin,
    path: Named,
) -> Result<axum::Json<Value>, Failure> {
    let view = state.control()?.get(&key(&path)?).await?;
    Ok(axum::Json(document(&view)))
}

async fn remove(
    State(state): State<RestState>,
    _: HostAdmin,
    path: Named,
) -> Result<axum::Json<Value>, Failure> {
    let key = key(&path)?;
    state.control()?.delete(&key).await?;
    Ok(axum::Json(removed(key)))
}

async fn grants_of<const AGENT: bool>(
    State(state): State<RestState>,
    admin: Admin,
    path: Named,
) -> Result<axum::Json<Value>, Failure> {
    let kind = if AGENT { Kind::Agent } else { Kind::Tool };
    let key = Key {
        tenant: admin.tenant,
        kind,
        name: path.get::<Name>("name")?,
    };
    let view = state.control()?.get(&key).await?;
    let shown = document(&view);
    let status = &shown["status"];
    let mut report = json!({
        "kind": kind,
        "namespace": key.tenant,
        "name": key.name,
        "granted": shown["spec"].get("grants").cloned().unwrap_or_else(|| json!({})),
        "refused": view.status.refused,
    });
    for field in ["asked", "effectiveGrants"] {
        if let Some(value) = status.get(field) {
            report[field] = value.clone();
        }
    }
    Ok(axum::Json(report))
}

//! Who asks, as authentication found out: the gateway puts an `Arc<Identity>` into every request
//! before it reaches this API. A request without one is refused.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{FromRequestParts, Path};
use http::request::Parts;
use ringfence_api::{Name, TenantName};

use super::RestState;
use super::problem::Failure;
use crate::error::CallError;
use crate::gateway::Identity;
use crate::gateway::auth::{AGENTS, ARTIFACTS, MODELS, Permission, RUNS, Refused, TOOLS};

/// What a route takes of a user of a cluster; an API key is known by its role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Needs {
    /// Nothing: it answers with what is the caller's own.
    Own,
    /// A verb on all resources of a kind.
    All(&'static str, &'static str),
    /// A verb on the resource that the path names.
    Named(&'static str, &'static str),
}

/// What the route of an operation takes. None for one that nobody has thought of: nobody gets in.
pub(super) fn needs(operation: &str) -> Option<Needs> {
    Some(match operation {
        "listRuns" | "getRun" | "getRunLogs" => Needs::Own,
        "getBlob" => Needs::All("get", RUNS),
        "getLogs" => Needs::All("list", RUNS),
        "callFunction" | "listFunctions" => Needs::Named("call", TOOLS),
        "runAgent" => Needs::Named("run", AGENTS),
        "apply" => Needs::All("create", AGENTS),
        "listAgents" => Needs::All("list", AGENTS),
        "getAgent" | "getAgentGrants" => Needs::Named("get", AGENTS),
        "deleteAgent" => Needs::Named("delete", AGENTS),
        "listTools" => Needs::All("list", TOOLS),
        "getTool" | "getToolGrants" => Needs::Named("get", TOOLS),
        "deleteTool" => Needs::Named("delete", TOOLS),
        "listModels" => Needs::All("list", MODELS),
        "getModel" => Needs::Named("get", MODELS),
        "deleteModel" => Needs::Named("delete", MODELS),
        "listArtifacts" => Needs::All("list", ARTIFACTS),
        "getArtifact" => Needs::All("get", ARTIFACTS),
        "uploadArtifact" | "pullArtifact" | "pushArtifact" => Needs::All("create", ARTIFACTS),
        "deleteArtifact" => Needs::All("delete", ARTIFACTS),
        _ => return None,
    })
}

/// Somebody who may do what the route does in the tenant that the path names.
pub(super) struct Caller {
    pub(super) identity: Arc<Identity>,
    pub(super) tenant: TenantName,
}

/// As [`Caller`], and a key with the role admin where it is a key.
pub(super) struct Admin {
    pub(super) tenant: TenantName,
}

impl FromRequestParts<RestState> for Caller {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &RestState) -> Result<Self, Failure> {
        let identity = identity(parts)?;
        let path = Path::<HashMap<String, String>>::from_request_parts(parts, state)
            .await
            .map_err(|error| CallError::Invalid(error.to_string()))?;
        let text = path.get("tenant").map(String::as_str).unwrap_or_default();
        // Whether it exists is not said to whom it does not concern.
        let hidden = || CallError::NotFound(format!("no tenant {text:?}"));
        let tenant = match text.parse::<TenantName>() {
            Ok(tenant) if identity.may_knock(&tenant) && !tenant.is_system() => tenant,
            _ => return Err(hidden().into()),
        };
        let needs = parts.extensions.get::<Option<Needs>>().copied();
        let permission = match needs.flatten() {
            Some(Needs::Own) => return Ok(Self { identity, tenant }),
            Some(Needs::All(verb, resource)) => Permission::all(verb, resource),
            Some(Needs::Named(verb, resource)) => {
                let text = path.get("name").map(String::as_str).unwrap_or_default();
                let name = text.parse::<Name>().map_err(|error| {
                    CallError::Invalid(format!("{text:?} is not a name: {error}"))
                })?;
                Permission::one(verb, resource, &name)
            }
            None => return Err(hidden().into()),
        };
        match identity.check(&tenant, permission).await {
            Ok(()) => Ok(Self { identity, tenant }),
            Err(Refused::Hidden) => Err(hidden().into()),
            Err(Refused::Denied(reason)) => {
                Err(CallError::denied("control", parts.uri.path(), reason).into())
            }
            Err(Refused::Unreviewed(why)) => Err(CallError::Unavailable(why.to_string()).into()),
        }
    }
}

impl FromRequestParts<RestState> for Admin {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &RestState) -> Result<Self, Failure> {
        let Caller { identity, tenant } = Caller::from_request_parts(parts, state).await?;
        if identity.is_caller_key() {
            let reason = "this needs a key with the role admin";
            return Err(CallError::denied("control", parts.uri.path(), reason).into());
        }
        Ok(Self { tenant })
    }
}

/// The identity that authentication put into the request.
pub(super) fn identity(parts: &Parts) -> Result<Arc<Identity>, Failure> {
    parts
        .extensions
        .get::<Arc<Identity>>()
        .cloned()
        .ok_or_else(Failure::unauthenticated)
}

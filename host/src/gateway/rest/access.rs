//! Who asks, as authentication found out: the gateway puts an `Arc<Identity>` into every request
//! before it reaches this API. A request without one is refused.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{FromRequestParts, Path};
use http::request::Parts;
use ringfence_api::TenantName;

use super::RestState;
use super::problem::Failure;
use crate::error::CallError;
use crate::gateway::Identity;

/// Somebody who may use the tenant that the path names.
pub(super) struct Caller {
    pub(super) identity: Arc<Identity>,
    pub(super) tenant: TenantName,
}

/// As [`Caller`], with the role admin.
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
        match text.parse::<TenantName>() {
            Ok(tenant) if identity.may_enter(&tenant) && !tenant.is_system() => {
                Ok(Self { identity, tenant })
            }
            // Whether it exists is not said to whom it does not concern.
            _ => Err(CallError::NotFound(format!("no tenant {text:?}")).into()),
        }
    }
}

impl FromRequestParts<RestState> for Admin {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &RestState) -> Result<Self, Failure> {
        let Caller { identity, tenant } = Caller::from_request_parts(parts, state).await?;
        if !identity.is_admin() {
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

//! Artifacts: upload, list, inspect, delete, and the way from and to a registry.

use axum::body::Body;
use axum::extract::State;
use axum::routing::{delete, get, post};
use futures::TryStreamExt as _;
use http::{HeaderMap, Method, StatusCode, header};
use ringfence_api::Digest;
use serde::Deserialize;
use serde_json::{Value, json};

use super::access::Admin;
use super::extract::{Json, Named};
use super::problem::Failure;
use super::schemas::{json_content, reference};
use super::{Content, Operation, RestState};
use crate::artifact::inspect::Inspection;
use crate::artifact::oci::Login;
use crate::artifact::{ArtifactError, ArtifactMeta, Stored, Upload};

pub(super) fn operations() -> Vec<Operation> {
    let base = |method, path, id, summary, handler| Operation {
        method,
        path,
        id,
        summary,
        admin: true,
        query: Vec::new(),
        request: Vec::new(),
        status: 200,
        response: json_content("Artifact"),
        handler,
    };
    vec![
        Operation {
            request: vec![Content {
                media: "application/wasm",
                schema: json!({"type": "string", "format": "binary"}),
            }],
            status: 201,
            ..base(
                Method::POST,
                "/api/v1/tenants/{tenant}/artifacts",
                "uploadArtifact",
                "Stores a component, after it was inspected and compiled. Answers what it exports, \
                 imports and would need. A component that is there already is answered with 200.",
                post(upload),
            )
        },
        Operation {
            response: json_content("ArtifactList"),
            ..base(
                Method::GET,
                "/api/v1/tenants/{tenant}/artifacts",
                "listArtifacts",
                "Lists the tenant's artifacts, the newest first.",
                get(list),
            )
        },
        base(
            Method::GET,
            "/api/v1/tenants/{tenant}/artifacts/{digest}",
            "getArtifact",
            "One artifact: what it exports, imports and would need.",
            get(one),
        ),
        Operation {
            response: json_content("Deleted"),
            ..base(
                Method::DELETE,
                "/api/v1/tenants/{tenant}/artifacts/{digest}",
                "deleteArtifact",
                "Takes an artifact from the tenant, unless one of its resources runs it.",
                delete(remove),
            )
        },
        Operation {
            request: json_content("RegistryRequest"),
            ..base(
                Method::POST,
                "/api/v1/tenants/{tenant}/artifacts/pull",
                "pullArtifact",
                "Pulls an image from a registry, and pins its name to what it means now.",
                post(pull),
            )
        },
        Operation {
            request: vec![Content {
                media: "application/json",
                schema: reference("RegistryRequest"),
            }],
            response: json_content("Pushed"),
            ..base(
                Method::POST,
                "/api/v1/tenants/{tenant}/artifacts/{digest}/push",
                "pushArtifact",
                "Pushes an artifact to a registry.",
                post(push),
            )
        },
    ]
}

async fn upload(
    State(state): State<RestState>,
    admin: Admin,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, axum::Json<Value>), Failure> {
    let stream = body.into_data_stream().map_err(std::io::Error::other);
    let mut upload = Upload::new(tokio_util::io::StreamReader::new(stream));
    let length = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok());
    if let Some(length) = length.and_then(|value| value.parse().ok()) {
        upload = upload.with_length(length);
    }
    let stored = state.host.artifacts().put(&admin.tenant, upload).await?;
    healed(&state, &admin).await;
    let status = if stored.new {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    Ok((status, axum::Json(document_for(&stored, &admin))))
}

/// A resource may have waited for this artifact.
async fn healed(state: &RestState, admin: &Admin) {
    let Some(control) = &state.control else {
        // The instances of a cluster try again by themselves.
        return;
    };
    if let Err(error) = control.retry(Some(&admin.tenant)).await {
        tracing::error!(
            error = &error as &dyn std::error::Error,
            "retrying resources"
        );
    }
}

async fn list(State(state): State<RestState>, admin: Admin) -> axum::Json<Value> {
    let all = state.host.artifacts().list(&admin.tenant);
    let items: Vec<Value> = all.iter().map(|found| meta(found, &admin.tenant)).collect();
    axum::Json(json!({ "items": items }))
}

async fn one(
    State(state): State<RestState>,
    admin: Admin,
    path: Named,
) -> Result<axum::Json<Value>, Failure> {
    let digest: Digest = path.get("digest")?;
    let artifacts = state.host.artifacts();
    let found = artifacts
        .get(&admin.tenant, &digest)
        .ok_or(ArtifactError::NotFound(digest))?;
    let inspection = artifacts.inspect(&digest).await?;
    Ok(axum::Json(described(&found, &inspection, &admin.tenant)))
}

async fn remove(
    State(state): State<RestState>,
    admin: Admin,
    path: Named,
) -> Result<axum::Json<Value>, Failure> {
    let digest: Digest = path.get("digest")?;
    state
        .control()?
        .delete_artifact(&admin.tenant, &digest)
        .await?;
    Ok(axum::Json(json!({ "digest": digest })))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RegistryRequest {
    image: String,
    #[serde(default)]
    username: Option<String>,
    #[serde(default)]
    password: Option<String>,
}

impl RegistryRequest {
    /// The caller's own credential for the registry. It is used for this request and kept nowhere.
    fn login(&self) -> Option<Login> {
        let password = self.password.clone()?;
        Some(Login::new(
            self.username.clone().unwrap_or_default(),
            password,
        ))
    }
}

async fn pull(
    State(state): State<RestState>,
    admin: Admin,
    Json(request): Json<RegistryRequest>,
) -> Result<axum::Json<Value>, Failure> {
    let artifacts = state.host.artifacts();
    let stored = artifacts
        .pull(&admin.tenant, &request.image, request.login())
        .await?;
    healed(&state, &admin).await;
    Ok(axum::Json(document_for(&stored, &admin)))
}

async fn push(
    State(state): State<RestState>,
    admin: Admin,
    path: Named,
    Json(request): Json<RegistryRequest>,
) -> Result<axum::Json<Value>, Failure> {
    let digest: Digest = path.get("digest")?;
    let artifacts = state.host.artifacts();
    let manifest = artifacts
        .push(&admin.tenant, &digest, &request.image, request.login())
        .await?;
    Ok(axum::Json(
        json!({ "image": request.image, "manifest": manifest }),
    ))
}

fn document_for(stored: &Stored, admin: &Admin) -> Value {
    described(&stored.meta, &stored.inspection, &admin.tenant)
}

/// What a tenant is told of an artifact; that others have it too is not its business.
fn meta(meta: &ArtifactMeta, tenant: &ringfence_api::TenantName) -> Value {
    let images: Vec<&str> = meta
        .images
        .iter()
        .filter(|pin| pin.tenant == *tenant)
        .map(|pin| pin.image.as_str())
        .collect();
    json!({
        "digest": meta.digest,
        "size": meta.size,
        "createdMs": meta.created_ms,
        "images": images,
    })
}

fn described(
    found: &ArtifactMeta,
    inspection: &Inspection,
    tenant: &ringfence_api::TenantName,
) -> Value {
    let mut document = meta(found, tenant);
    document["inspection"] = json!(inspection);
    document["needs"] = json!(inspection.needs());
    document
}

//! Agents, tools and models.

use axum::extract::State;
use axum::routing::{MethodRouter, delete, get, post};
use http::{HeaderMap, Method, header};
use ringfence_api::{Kind, Manifest, Name, Problem, TenantName};
use serde::Deserialize;
use serde_json::{Value, json};

use super::access::Admin;
use super::extract::{MANIFESTS_BYTES, Named, Params, body};
use super::problem::Failure;
use super::schemas::{self, json_content};
use super::{Content, Operation, RestState};
use crate::directory::apply::{Changed, View};
use crate::directory::store::Key;

/// What takes manifests.
pub(super) fn manifests() -> Vec<Content> {
    ["application/yaml", "application/json"]
        .map(|media| Content {
            media,
            schema: schemas::reference("Manifest"),
        })
        .into()
}

/// The query parameter of what applies manifests.
pub(super) fn dry_run() -> (&'static str, &'static str, Value) {
    (
        "dryRun",
        "Check everything and change nothing.",
        json!({"type": "boolean", "default": false}),
    )
}

pub(super) fn operations() -> Vec<Operation> {
    let mut all = vec![Operation {
        method: Method::POST,
        path: "/api/v1/tenants/{tenant}/apply",
        id: "apply",
        summary: "Creates or changes resources, all of them or none. Takes YAML (several documents) \
                  or JSON (one manifest, or a list).",
        admin: true,
        query: vec![dry_run()],
        request: manifests(),
        status: 200,
        response: json_content("ApplyResult"),
        handler: post(apply),
    }];
    // One route per kind, so that clients see typed paths.
    all.extend(kind(
        Kind::Agent,
        [
            "/api/v1/tenants/{tenant}/agents",
            "/api/v1/tenants/{tenant}/agents/{name}",
        ],
        ["listAgents", "getAgent", "deleteAgent"],
        [get(list::<0>), get(one::<0>), delete(remove::<0>)],
    ));
    all.extend(kind(
        Kind::Tool,
        [
            "/api/v1/tenants/{tenant}/tools",
            "/api/v1/tenants/{tenant}/tools/{name}",
        ],
        ["listTools", "getTool", "deleteTool"],
        [get(list::<1>), get(one::<1>), delete(remove::<1>)],
    ));
    all.extend(kind(
        Kind::Model,
        [
            "/api/v1/tenants/{tenant}/models",
            "/api/v1/tenants/{tenant}/models/{name}",
        ],
        ["listModels", "getModel", "deleteModel"],
        [get(list::<2>), get(one::<2>), delete(remove::<2>)],
    ));
    all
}

const KINDS: [Kind; 3] = [Kind::Agent, Kind::Tool, Kind::Model];

fn kind(
    kind: Kind,
    [list_path, path]: [&'static str; 2],
    [list_id, get_id, delete_id]: [&'static str; 3],
    [list, get, delete]: [MethodRouter<RestState>; 3],
) -> [Operation; 3] {
    let (one, many) = match kind {
        Kind::Agent => ("Agent", "AgentList"),
        Kind::Tool => ("Tool", "ToolList"),
        Kind::Model => ("Model", "ModelList"),
        Kind::Ceiling => ("Ceiling", "CeilingList"),
    };
    let operation = |method, path, id, summary, status, response, handler| Operation {
        method,
        path,
        id,
        summary,
        admin: true,
        query: Vec::new(),
        request: Vec::new(),
        status,
        response,
        handler,
    };
    [
        operation(
            Method::GET,
            list_path,
            list_id,
            "Lists the resources of this kind with their status, by name.",
            200,
            json_content(many),
            list,
        ),
        operation(
            Method::GET,
            path,
            get_id,
            "One resource with its status.",
            200,
            json_content(one),
            get,
        ),
        operation(
            Method::DELETE,
            path,
            delete_id,
            "Removes a resource. Calls that run are finished.",
            200,
            json_content("ApplyResult"),
            delete,
        ),
    ]
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ApplyParams {
    #[serde(default)]
    pub(super) dry_run: bool,
}

async fn apply(
    State(state): State<RestState>,
    admin: Admin,
    Params(params): Params<ApplyParams>,
    headers: HeaderMap,
    request: axum::body::Body,
) -> Result<axum::Json<Value>, Failure> {
    let manifests = read_body(request, &headers, admin.tenant).await?;
    let changed = state.control()?.apply(manifests, params.dry_run).await?;
    Ok(axum::Json(result(&changed, params.dry_run)))
}

/// Reads the manifests of a request, all of which have to be of this tenant.
pub(super) async fn read_body(
    request: axum::body::Body,
    headers: &HeaderMap,
    tenant: TenantName,
) -> Result<Vec<Manifest>, Failure> {
    let bytes = body(request, MANIFESTS_BYTES).await?;
    let json = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|media| media.starts_with("application/json"));
    // Thousands of manifests take a while: not on the threads that serve requests.
    let read = tokio::task::spawn_blocking(move || read(&bytes, json, &tenant)).await;
    let manifests = read
        .unwrap_or_else(|_| Err(vec![Problem::new("", "the manifests cannot be read")]))
        .map_err(|problems| Failure::manifests(&problems))?;
    if manifests.is_empty() {
        let problem = Problem::new(
            "",
            "there is no manifest in the body: send some as YAML or JSON",
        );
        return Err(Failure::manifests(&[problem]));
    }
    Ok(manifests)
}

/// Reads manifests, all of which have to be of this tenant.
fn read(bytes: &[u8], json: bool, tenant: &TenantName) -> Result<Vec<Manifest>, Vec<Problem>> {
    let manifests = if json {
        let document: Value = serde_json::from_slice(bytes)
            .map_err(|error| vec![Problem::new("", format!("not valid JSON: {error}"))])?;
        let documents = match document {
            Value::Array(documents) => documents,
            one => vec![one],
        };
        let mut manifests = Vec::with_capacity(documents.len());
        let mut problems = Vec::new();
        let mut seen = std::collections::BTreeSet::new();
        for document in documents {
            match Manifest::from_json(document, tenant) {
                Ok(manifest) if !seen.insert(manifest.key()) => problems.push(Problem {
                    resource: Some(manifest.to_string()),
                    ..Problem::new("", "is there twice: keep one")
                }),
                Ok(manifest) => manifests.push(manifest),
                Err(found) => problems.extend(found),
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        manifests
    } else {
        let text = std::str::from_utf8(bytes)
            .map_err(|error| vec![Problem::new("", format!("not UTF-8: {error}"))])?;
        Manifest::from_yaml(text, tenant)?
    };
    if manifests.len() > ringfence_api::MANIFESTS {
        let message = format!("at most {} manifests at once", ringfence_api::MANIFESTS);
        return Err(vec![Problem::new("", message)]);
    }
    let elsewhere: Vec<Problem> = manifests
        .iter()
        .filter(|manifest| manifest.metadata.namespace != *tenant)
        .map(|manifest| Problem {
            resource: Some(manifest.to_string()),
            ..match manifest.kind().is_of_tenants() {
                true => Problem::new(
                    "metadata.namespace",
                    format!("is not {tenant}, the tenant of this request: apply it there"),
                ),
                false => Problem::new("kind", "belongs to no tenant: send it to /api/v1/ceilings"),
            }
        })
        .collect();
    if elsewhere.is_empty() {
        Ok(manifests)
    } else {
        Err(elsewhere)
    }
}

async fn list<const K: usize>(
    State(state): State<RestState>,
    admin: Admin,
) -> Result<axum::Json<Value>, Failure> {
    let views = state.control()?.list(&admin.tenant, Some(KINDS[K])).await?;
    let items: Vec<Value> = views.iter().map(document).collect();
    Ok(axum::Json(json!({ "items": items })))
}

async fn one<const K: usize>(
    State(state): State<RestState>,
    admin: Admin,
    path: Named,
) -> Result<axum::Json<Value>, Failure> {
    let view = state
        .control()?
        .get(&key::<K>(admin.tenant, &path)?)
        .await?;
    Ok(axum::Json(document(&view)))
}

async fn remove<const K: usize>(
    State(state): State<RestState>,
    admin: Admin,
    path: Named,
) -> Result<axum::Json<Value>, Failure> {
    let key = key::<K>(admin.tenant, &path)?;
    state.control()?.delete(&key).await?;
    Ok(axum::Json(removed(key)))
}

/// What is answered when a resource was removed.
pub(super) fn removed(key: Key) -> Value {
    let change = crate::directory::apply::Change::Deleted;
    result(
        &[Changed {
            key,
            change,
            generation: 0,
        }],
        false,
    )
}

fn key<const K: usize>(tenant: TenantName, path: &Named) -> Result<Key, Failure> {
    Ok(Key {
        tenant,
        kind: KINDS[K],
        name: path.get::<Name>("name")?,
    })
}

/// A resource as the API shows it: its manifest, with what the host adds.
pub(super) fn document(view: &View) -> Value {
    let mut document = view.stored.manifest.to_json();
    document["metadata"]["generation"] = view.stored.generation.into();
    document["metadata"]["creationTimestamp"] = timestamp(view.stored.created_ms).into();
    document["status"] = json!(view.status);
    document
}

fn timestamp(ms: u64) -> String {
    time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000)
        .ok()
        .and_then(|at| {
            at.format(&time::format_description::well_known::Rfc3339)
                .ok()
        })
        .unwrap_or_default()
}

pub(super) fn result(changed: &[Changed], dry_run: bool) -> Value {
    let items: Vec<Value> = changed
        .iter()
        .map(|changed| {
            let mut item = json!({
                "kind": changed.key.kind,
                "name": changed.key.name,
                "change": changed.change,
                "generation": changed.generation,
            });
            if changed.key.kind.is_of_tenants() {
                item["namespace"] = json!(changed.key.tenant);
            }
            item
        })
        .collect();
    json!({ "items": items, "dryRun": dry_run })
}

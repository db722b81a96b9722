//! The OpenAPI 3.1 document, made of the same table as the router, and the routes about the API itself.

use std::sync::LazyLock;

use axum::extract::State;
use axum::routing::get;
use http::Method;
use http::request::Parts;
use serde_json::{Map, Value, json};

use super::access::identity;
use super::problem::{Failure, PROBLEM_JSON};
use super::schemas::{components, json_content, reference};
use super::{Content, Operation, RestState};
use crate::error::CallError;

static DOCUMENT: LazyLock<Value> = LazyLock::new(build);

/// The document.
pub(super) fn document() -> &'static Value {
    &DOCUMENT
}

pub(super) fn operations() -> Vec<Operation> {
    let base = |path, id, summary, response, handler| Operation {
        method: Method::GET,
        path,
        id,
        summary,
        admin: false,
        query: Vec::new(),
        request: Vec::new(),
        status: 200,
        response,
        handler,
    };
    vec![
        base(
            "/api/v1/openapi.json",
            "getOpenApi",
            "This document.",
            vec![Content {
                media: "application/json",
                schema: json!({"type": "object"}),
            }],
            get(|| async { axum::Json(document()) }),
        ),
        base(
            "/api/v1/version",
            "getVersion",
            "The version of the host.",
            json_content("Version"),
            get(|| async {
                axum::Json(json!({
                    "version": env!("CARGO_PKG_VERSION"),
                    "apiVersion": ringfence_api::API_VERSION,
                }))
            }),
        ),
        base(
            "/api/v1/tenants",
            "listTenants",
            "The tenants that have anything, as far as the key may enter them.",
            json_content("TenantList"),
            get(tenants),
        ),
    ]
}

async fn tenants(
    State(state): State<RestState>,
    parts: Parts,
) -> Result<axum::Json<Value>, Failure> {
    let identity = identity(&parts)?;
    let names = identity
        .knows(state.host.directory().tenants())
        .await
        .map_err(|why| CallError::Unavailable(why.to_string()))?;
    Ok(axum::Json(json!({ "items": names })))
}

fn build() -> Value {
    let mut paths = Map::new();
    for operation in super::operations() {
        let path = paths
            .entry(operation.path.to_owned())
            .or_insert_with(|| json!({}));
        path[operation.method.as_str().to_ascii_lowercase()] = describe(&operation);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Ringfence control API",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Resources, artifacts, calls and runs of one host. A failure is an RFC 9457 \
                document whose `code` is the code of the typed call error.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "security": [{"key": []}, {}],
        "paths": paths,
        "components": {
            "schemas": components(),
            "securitySchemes": {
                "key": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An API key. Without configured keys, the host serves loopback only \
                        and needs none.",
                },
            },
        },
    })
}

fn describe(operation: &Operation) -> Value {
    let mut parameters: Vec<Value> = path_parameters(operation.path)
        .map(|name| {
            json!({
                "name": name,
                "in": "path",
                "required": true,
                "description": meaning(name),
                "schema": parameter_schema(name),
            })
        })
        .collect();
    parameters.extend(operation.query.iter().map(|(name, meaning, schema)| {
        json!({
            "name": name,
            "in": "query",
            "required": *name == "source",
            "description": meaning,
            "schema": schema,
        })
    }));
    let failure = json!({
        "description": "It failed.",
        "content": {PROBLEM_JSON: {"schema": reference("Failure")}},
    });
    let mut responses = Map::new();
    let answer = |description: &str| json!({ "description": description, "content": media(&operation.response) });
    responses.insert(operation.status.to_string(), answer("It worked."));
    if operation.status == 201 {
        responses.insert("200".to_owned(), answer("It was there already."));
    }
    responses.insert("default".to_owned(), failure);
    let mut described = json!({
        "operationId": operation.id,
        "summary": operation.summary,
        "x-role": if operation.admin { "admin" } else { "caller" },
        "parameters": parameters,
        "responses": responses,
    });
    if !operation.request.is_empty() {
        described["requestBody"] =
            json!({ "required": true, "content": media(&operation.request) });
    }
    described
}

fn media(contents: &[Content]) -> Value {
    let map: Map<String, Value> = contents
        .iter()
        .map(|content| {
            (
                content.media.to_owned(),
                json!({ "schema": content.schema }),
            )
        })
        .collect();
    Value::Object(map)
}

fn path_parameters(path: &str) -> impl Iterator<Item = &str> {
    path.split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
}

fn meaning(parameter: &str) -> &'static str {
    match parameter {
        "tenant" => "The tenant: a namespace.",
        "name" => "Name of the resource.",
        "function" => "Name of the function within its tool.",
        "digest" => "Digest of the artifact or blob.",
        _ => "Identifier of the run.",
    }
}

fn parameter_schema(parameter: &str) -> Value {
    let label = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";
    match parameter {
        "tenant" | "name" => json!({"type": "string", "pattern": label, "maxLength": 63}),
        "function" => json!({"type": "string", "pattern": "^[a-zA-Z0-9_.-]{1,64}$"}),
        "digest" => json!({"type": "string", "pattern": "^sha256:[0-9a-f]{64}$"}),
        _ => json!({"type": "string", "format": "uuid"}),
    }
}

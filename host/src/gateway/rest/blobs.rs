//! Blobs: what runs gave, where it is too large for their objects.

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use http::{HeaderValue, Method, header};
use ringfence_api::Digest;
use serde_json::json;
use tokio_util::io::ReaderStream;

use super::access::Caller;
use super::extract::Named;
use super::problem::Failure;
use super::{Content, Operation, RestState};
use crate::error::CallError;

const PATH: &str = "/api/v1/tenants/{tenant}/blobs/{digest}";
/// Bytes that are read at a time.
const CHUNK: usize = 64 << 10;

pub(super) fn operations() -> Vec<Operation> {
    vec![Operation {
        method: Method::GET,
        path: PATH,
        id: "getBlob",
        summary: "What a run gave, where it is too large for its object. Who may get \
                  runs may read it.",
        admin: false,
        query: Vec::new(),
        request: Vec::new(),
        status: 200,
        response: vec![Content {
            media: "application/json",
            schema: json!({"type": "object"}),
        }],
        handler: get(read),
    }]
}

async fn read(
    State(state): State<RestState>,
    caller: Caller,
    path: Named,
) -> Result<Response, Failure> {
    let digest: Digest = path.get("digest")?;
    let found = state.host.blobs().get(&caller.tenant, digest).await;
    let (file, size) = found.map_err(CallError::from)?;
    let stream = ReaderStream::with_capacity(tokio::fs::File::from_std(file), CHUNK);
    let mut response = Response::new(Body::from_stream(stream));
    let headers = response.headers_mut();
    let json = HeaderValue::from_static("application/json");
    headers.insert(header::CONTENT_TYPE, json);
    headers.insert(header::CONTENT_LENGTH, size.into());
    Ok(response)
}

//! Failures as `application/problem+json` (RFC 9457).

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use ringfence_api::Problem;
use serde_json::{Map, Value, json};

use crate::artifact::ArtifactError;
use crate::directory::apply::{ArtifactDeleteError, ControlError};
use crate::error::CallError;
use crate::gateway::status_of;
use crate::mediation::RunId;

/// Media type of a failure.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// A failed request.
#[derive(Debug)]
pub(super) struct Failure {
    status: StatusCode,
    retry: bool,
    body: Map<String, Value>,
}

impl Failure {
    fn new(status: StatusCode, code: &str, detail: impl Into<String>) -> Self {
        let body = json!({
            "type": "about:blank",
            "title": status.canonical_reason().unwrap_or_default(),
            "status": status.as_u16(),
            "code": code,
            "detail": detail.into(),
        });
        let body = body.as_object().cloned().unwrap_or_default();
        Self {
            status,
            retry: false,
            body,
        }
    }

    pub(super) fn unauthenticated() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "unauthenticated",
            "send an API key as a bearer token",
        )
    }

    /// Of an address that leads nowhere.
    pub(super) fn no_route() -> Self {
        let detail = "there is nothing at this address: see /api/v1/openapi.json";
        Self::new(StatusCode::NOT_FOUND, "not-found", detail)
    }

    /// Of an address that takes other methods.
    pub(super) fn no_method() -> Self {
        let detail = "this address takes other methods: see /api/v1/openapi.json";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "invalid", detail)
    }

    /// Of resources that this host does not keep.
    pub(super) fn of_cluster() -> Self {
        let detail = "this host belongs to a cluster, whose API server keeps the resources: use \
                      kubectl, or ringfence with --context";
        Self::new(StatusCode::CONFLICT, "invalid", detail)
    }

    /// Of manifests that are wrong.
    pub(super) fn manifests(problems: &[Problem]) -> Self {
        let first = problems
            .first()
            .map_or_else(String::new, ToString::to_string);
        let detail = match problems.len() {
            0 | 1 => first,
            more => format!("{first} (and {} more)", more - 1),
        };
        let mut failure = Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", detail);
        failure.body.insert("problems".to_owned(), json!(problems));
        failure
    }

    /// In a run.
    pub(super) fn in_run(mut self, run: RunId) -> Self {
        self.body.insert("run".to_owned(), run.to_string().into());
        self
    }

    /// The document.
    pub(super) fn document(self) -> Value {
        Value::Object(self.body)
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        let (status, retry) = status_of(&error);
        let status = match &error {
            CallError::LimitExceeded { name, .. } if name == "artifact-bytes" => {
                StatusCode::PAYLOAD_TOO_LARGE
            }
            CallError::LimitExceeded { name, .. } if name == "stored-artifact-bytes" => {
                StatusCode::INSUFFICIENT_STORAGE
            }
            _ => status,
        };
        let mut failure = Self::new(status, error.code(), error.to_string());
        failure.retry = retry;
        match error {
            CallError::Denied(denial) => {
                failure.body.insert("denial".to_owned(), json!(denial));
            }
            CallError::LimitExceeded { name, maximum } => {
                let limit = json!({"name": name, "maximum": maximum});
                failure.body.insert("limit".to_owned(), limit);
            }
            _ => {}
        }
        failure
    }
}

impl From<ControlError> for Failure {
    fn from(error: ControlError) -> Self {
        match &error {
            ControlError::Invalid(problems) => Self::manifests(problems),
            ControlError::FromFolder { .. } => {
                Self::new(StatusCode::CONFLICT, "invalid", error.to_string())
            }
            _ => {
                if let ControlError::Store(_) | ControlError::BuiltIn(_) = &error {
                    tracing::error!(error = &error as &dyn std::error::Error, "control");
                }
                CallError::from(&error).into()
            }
        }
    }
}

impl From<ArtifactError> for Failure {
    fn from(error: ArtifactError) -> Self {
        tracing::debug!(error = &error as &dyn std::error::Error, "artifacts");
        match &error {
            ArtifactError::InUse(_) => {
                Self::new(StatusCode::CONFLICT, "invalid", error.to_string())
            }
            ArtifactError::Refused(_) => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "invalid",
                error.to_string(),
            ),
            _ => CallError::from(&error).into(),
        }
    }
}

impl From<ArtifactDeleteError> for Failure {
    fn from(error: ArtifactDeleteError) -> Self {
        match error {
            ArtifactDeleteError::Artifact(error) => error.into(),
            ArtifactDeleteError::Store(error) => ControlError::from(error).into(),
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let (status, retry) = (self.status, self.retry);
        let mut response = (status, self.document().to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        if retry {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

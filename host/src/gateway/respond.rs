//! What failures look like over HTTP, outside of the protocols that have their own form.

use std::borrow::Cow;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use ringfence_api::TenantName;
use serde::Serialize;

use super::auth::{Refused, Unauthenticated, Unreviewed};
use super::guard::Refusal;
use crate::error::{CallError, Denial};
use crate::limits;

/// The status that fits an error, and whether sending the same request again may help. A call that
/// ran and failed is not worth an automatic second try: it may have had effects.
pub fn status_of(error: &CallError) -> (StatusCode, bool) {
    match error {
        CallError::Denied(_) => (StatusCode::FORBIDDEN, false),
        CallError::BudgetExceeded(_) => (StatusCode::TOO_MANY_REQUESTS, false),
        CallError::LimitExceeded { name, .. } => limit_status(name),
        CallError::Timeout => (StatusCode::GATEWAY_TIMEOUT, false),
        CallError::Canceled => (StatusCode::SERVICE_UNAVAILABLE, false),
        CallError::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, true),
        CallError::NotFound(_) => (StatusCode::NOT_FOUND, false),
        CallError::Invalid(_) => (StatusCode::BAD_REQUEST, false),
        CallError::Failed(_) => (StatusCode::BAD_GATEWAY, false),
        CallError::UnknownOutcome(_) => (StatusCode::INTERNAL_SERVER_ERROR, false),
    }
}

fn limit_status(name: &str) -> (StatusCode, bool) {
    match name {
        limits::name::CONCURRENCY
        | limits::name::TENANT_CONCURRENCY
        | limits::name::ROUTED_CONCURRENCY => (StatusCode::TOO_MANY_REQUESTS, true),
        limits::name::INPUT_BYTES | limits::name::PEER_MESSAGE_BYTES => {
            (StatusCode::PAYLOAD_TOO_LARGE, false)
        }
        limits::name::WALL_MS | limits::name::CPU_MS => (StatusCode::GATEWAY_TIMEOUT, false),
        _ => (StatusCode::BAD_GATEWAY, false),
    }
}

/// A failure as JSON: `{"error": {"code", "message", "denial"?}}`.
#[derive(Debug)]
pub struct Problem {
    /// Status of the response.
    pub status: StatusCode,
    /// Stable name of what went wrong.
    pub code: Cow<'static, str>,
    /// What went wrong and what to do.
    pub message: String,
    /// What was not granted, where that is what went wrong.
    pub denial: Option<Denial>,
    /// Seconds after which trying again may help.
    pub retry_after: Option<u64>,
}

impl Problem {
    /// A failure with nothing further to it.
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code: code.into(),
            message: message.into(),
            denial: None,
            retry_after: None,
        }
    }

    /// 404.
    pub fn not_found(what: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", what)
    }

    /// There is no such tenant, or none that somebody may know of.
    pub(super) fn no_tenant(tenant: &str) -> Self {
        Self::not_found(format!("no tenant {tenant:?}"))
    }

    /// Somebody may not do what they ask for in a tenant.
    pub(super) fn refused(tenant: &TenantName, why: Refused) -> Self {
        match why {
            Refused::Hidden => Self::no_tenant(tenant.as_str()),
            Refused::Denied(reason) => Self::new(StatusCode::FORBIDDEN, "forbidden", reason),
            Refused::Unreviewed(why) => why.into(),
        }
    }

    /// 405.
    pub(super) fn method(allowed: &'static str) -> Response {
        let message = format!("use {allowed} here");
        let mut response = Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method-not-allowed",
            message,
        )
        .into_response();
        response
            .headers_mut()
            .insert(http::header::ALLOW, HeaderValue::from_static(allowed));
        response
    }

    /// 503, worth another try.
    pub(super) fn overloaded(message: &'static str) -> Self {
        Self {
            retry_after: Some(1),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message)
        }
    }
}

impl From<CallError> for Problem {
    fn from(error: CallError) -> Self {
        let (status, retry) = status_of(&error);
        Self {
            status,
            code: error.code().into(),
            message: error.to_string(),
            retry_after: retry.then_some(1),
            denial: match error {
                CallError::Denied(denial) => Some(denial),
                _ => None,
            },
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::BadHost => Self::new(
                StatusCode::BAD_REQUEST,
                "bad-host",
                "send exactly one valid Host header",
            ),
            Refusal::UnknownHost => Self::new(
                StatusCode::FORBIDDEN,
                "unknown-host",
                "without authentication this gateway is reached as localhost only: give it API keys",
            ),
            Refusal::ForeignOrigin => Self::new(
                StatusCode::FORBIDDEN,
                "foreign-origin",
                "web pages of that origin may not call: add it to the gateway's allowed origins",
            ),
        }
    }
}

impl From<Unauthenticated> for Problem {
    fn from(why: Unauthenticated) -> Self {
        match why {
            Unauthenticated::Credential { tokens } => Self::new(
                StatusCode::UNAUTHORIZED,
                "unauthenticated",
                if tokens {
                    "send a token of the cluster, made for an audience of this host, as 'Authorization: Bearer …', or an API key"
                } else {
                    "send a valid API key, which has not expired, as 'Authorization: Bearer rf_…' or 'x-api-key: rf_…'"
                },
            ),
            Unauthenticated::Throttled(seconds) => Self {
                retry_after: Some(seconds),
                ..Self::new(
                    StatusCode::TOO_MANY_REQUESTS,
                    "throttled",
                    "too many requests without a valid credential",
                )
            },
            Unauthenticated::Unreviewed(why) => why.into(),
        }
    }
}

impl From<Unreviewed> for Problem {
    fn from(why: Unreviewed) -> Self {
        Self {
            retry_after: Some(1),
            ..Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "unavailable",
                why.to_string(),
            )
        }
    }
}

#[derive(Serialize)]
struct Wire<'a> {
    error: WireError<'a>,
}

#[derive(Serialize)]
struct WireError<'a> {
    code: &'a str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    denial: Option<&'a Denial>,
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let wire = Wire {
            error: WireError {
                code: &self.code,
                message: &self.message,
                denial: self.denial.as_ref(),
            },
        };
        let mut response = json(self.status, &wire);
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(
                WWW_AUTHENTICATE,
                HeaderValue::from_static("Bearer realm=\"ringfence\""),
            );
        }
        response
    }
}

/// A JSON response.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(text) => json_bytes(status, text),
        // Only a map with keys that are no strings can fail, and there is none.
        Err(error) => {
            tracing::error!(%error, "a response cannot be written as JSON");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// A JSON response that is written already.
pub(super) fn json_bytes(status: StatusCode, text: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

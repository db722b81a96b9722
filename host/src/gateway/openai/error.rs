//! Failures in OpenAI's form: `{"error": {"message", "type", "param", "code"}}`.
//!
//! OpenAI's clients send a request again on 408, 409, 429 and 5xx unless told otherwise, so every
//! failure says in `x-should-retry` whether that may help.

use axum::response::Response;
use http::header::RETRY_AFTER;
use http::{HeaderValue, StatusCode};
use serde::Serialize;

use crate::error::{CallError, Denial};
use crate::gateway::respond::{Problem, json, status_of};

/// A failed request.
#[derive(Debug)]
pub(super) struct Failure {
    status: StatusCode,
    retry: bool,
    retry_after: Option<u64>,
    authenticate: Option<HeaderValue>,
    pub(super) error: Error,
}

/// The error as it is sent, in a response or in a stream.
#[derive(Debug, Serialize)]
pub(super) struct Error {
    message: String,
    #[serde(rename = "type")]
    kind: &'static str,
    param: Option<String>,
    code: String,
    /// What was not granted; not OpenAI's, whose clients ignore it.
    #[serde(skip_serializing_if = "Option::is_none")]
    denial: Option<Denial>,
}

#[derive(Serialize)]
struct Wire<'a> {
    error: &'a Error,
}

impl Failure {
    fn new(status: StatusCode, retry: bool, code: &str, message: String) -> Self {
        let error = Error {
            message,
            kind: kind_of(status),
            param: None,
            code: code.to_owned(),
            denial: None,
        };
        Self {
            status,
            retry,
            retry_after: retry.then_some(1),
            authenticate: None,
            error,
        }
    }

    /// The request is wrong at `param`.
    pub(super) fn invalid(param: &str, message: String) -> Self {
        let mut failure = Self::new(StatusCode::BAD_REQUEST, false, "invalid", message);
        failure.error.param = Some(param.to_owned());
        failure
    }

    /// There is nothing of that name.
    pub(super) fn not_found(message: String) -> Self {
        Self::new(StatusCode::NOT_FOUND, false, "not-found", message)
    }

    /// There is no agent or model of that name.
    pub(super) fn no_model(name: &str) -> Self {
        let message =
            format!("the model {name:?} does not exist: GET /v1/models lists the ones that do");
        let mut failure = Self::new(StatusCode::NOT_FOUND, false, "model_not_found", message);
        failure.error.param = Some("model".to_owned());
        failure
    }

    pub(super) fn into_response(self) -> Response {
        let mut response = json(self.status, &Wire { error: &self.error });
        let headers = response.headers_mut();
        let retry = HeaderValue::from_static(if self.retry { "true" } else { "false" });
        headers.insert("x-should-retry", retry);
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(scheme) = self.authenticate {
            headers.insert(http::header::WWW_AUTHENTICATE, scheme);
        }
        response
    }

    /// The failure as the last event of a stream.
    pub(super) fn event(&self) -> String {
        serde_json::to_string(&Wire { error: &self.error })
            .unwrap_or_else(|_| r#"{"error":{"message":"failed"}}"#.to_owned())
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        let (status, retry) = status_of(&error);
        let mut failure = Self::new(status, retry, error.code(), error.to_string());
        if let CallError::Denied(denial) = error {
            failure.error.denial = Some(denial);
        }
        failure
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        let retry = problem.retry_after.is_some();
        let mut failure = Self::new(problem.status, retry, &problem.code, problem.message);
        failure.retry_after = problem.retry_after;
        failure.error.denial = problem.denial;
        if problem.status == StatusCode::UNAUTHORIZED {
            failure.authenticate = Some(HeaderValue::from_static("Bearer realm=\"ringfence\""));
        }
        failure
    }
}

fn kind_of(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED => "authentication_error",
        StatusCode::FORBIDDEN => "permission_error",
        StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
        status if status.is_client_error() => "invalid_request_error",
        _ => "server_error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_denial_is_not_to_be_tried_again() {
        let response =
            Failure::from(CallError::denied("models", "gpt", "not granted")).into_response();
        assert_eq!(response.status(), StatusCode::FORBIDDEN);
        assert_eq!(response.headers()["x-should-retry"], "false");
        let response = Failure::from(CallError::BudgetExceeded("day".into())).into_response();
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(response.headers()["x-should-retry"], "false");
        let response = Failure::from(CallError::Unavailable("busy".into())).into_response();
        assert_eq!(response.headers()["x-should-retry"], "true");
        assert_eq!(response.headers()["retry-after"], "1");
    }
}

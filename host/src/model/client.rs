//! One model: sends requests through [`Egress`], tries again where that may help, and turns what
//! comes back into answers and typed errors.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use ringfence_api::{
    ANTHROPIC_BASE_URL, HeaderSpec, ModelSpec, OPENAI_BASE_URL, Provider, SecretRef,
};
use serde_json::Value;
use url::Url;

use super::codec::{MODEL_RESPONSE_BYTES, error_message};
use super::retry::{MAX_ATTEMPTS, MAX_RETRY_AFTER, Retry, asked_wait, is_retryable};
use super::scripted::Script;
use super::stream::{Codec, CompletionStream};
use super::types::{Completion, CompletionRequest};
use super::{anthropic, openai};
use crate::egress::{self, Allowed, Body, Egress, EndpointError, Timeouts};
use crate::error::CallError;
use crate::secret::{Secret, SecretError};

/// Time of one attempt where the resource does not say.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(120);
/// Time of one attempt that a resource may ask for.
pub const MAX_TIMEOUT: Duration = Duration::from_secs(3600);
/// Bytes of an error body that are looked at.
const ERROR_BYTES: usize = 64 << 10;

const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// Why a model's resource cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// Its URL or headers.
    #[error("the model's endpoint cannot be used")]
    Endpoint(#[from] EndpointError),
    /// A secret that the operator does not allow.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// Its URL.
    #[error("the model's base URL {0} cannot have a path added to it")]
    Url(Url),
    /// Its retries.
    #[error("retry.attempts is not between 1 and {MAX_ATTEMPTS}")]
    Attempts,
    /// Its timeout.
    #[error("timeoutMs is not between 1 and {}", MAX_TIMEOUT.as_millis())]
    Timeout,
    /// A scripted model without turns, or with a template that cannot be read.
    #[error("the script cannot be used: {0}")]
    Script(String),
}

/// A model that can be asked. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ModelClient {
    inner: Arc<Kind>,
}

#[derive(Debug)]
enum Kind {
    Endpoint(Box<Endpoint>),
    Scripted(Script),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dialect {
    OpenAi { own: bool },
    Anthropic,
}

#[derive(Debug)]
struct Endpoint {
    dialect: Dialect,
    egress: Egress,
    allowed: Allowed,
    model: String,
    api_key: Option<SecretRef>,
    timeouts: Timeouts,
    retry: Retry,
}

/// Secrets that must not be in an error's text, whoever put them there.
#[derive(Debug, Clone, Default)]
pub(super) struct Redact(Vec<Secret>);

impl Redact {
    fn text(&self, text: String) -> String {
        self.0
            .iter()
            .fold(text, |text, secret| secret.redact(&text))
    }

    pub(super) fn error(&self, error: CallError) -> CallError {
        match error {
            CallError::Invalid(text) => CallError::Invalid(self.text(text)),
            CallError::Failed(text) => CallError::Failed(self.text(text)),
            CallError::Unavailable(text) => CallError::Unavailable(self.text(text)),
            other => other,
        }
    }
}

impl ModelClient {
    /// Makes a client for a `Model`. Nothing is sent; secrets are checked against what the operator
    /// allows, and read at each request.
    ///
    /// # Errors
    /// What is wrong with the resource.
    pub fn from_spec(spec: &ModelSpec, egress: &Egress) -> Result<Self, ModelError> {
        let attempt = spec
            .timeout_ms
            .map_or(DEFAULT_TIMEOUT, Duration::from_millis);
        if attempt.is_zero() || attempt > MAX_TIMEOUT {
            return Err(ModelError::Timeout);
        }
        let retry = Retry::new(spec.retry.as_ref()).ok_or(ModelError::Attempts)?;
        let endpoint = |dialect,
                        url: Url,
                        model: &str,
                        key: &Option<SecretRef>,
                        headers: &[HeaderSpec],
                        scope| {
            let secrets = headers
                .iter()
                .filter_map(|header| header.value_from.as_ref());
            for reference in secrets.chain(key) {
                egress.secrets().check(reference)?;
            }
            Ok::<_, ModelError>(Kind::Endpoint(Box::new(Endpoint {
                dialect,
                egress: egress.clone(),
                allowed: Allowed::endpoint(&url, scope, headers)?,
                model: model.to_owned(),
                api_key: key.clone(),
                timeouts: Timeouts {
                    first_byte: attempt,
                    between_bytes: attempt,
                    total: attempt,
                },
                retry,
            })))
        };
        let kind = match &spec.provider {
            Provider::OpenAi {
                base_url,
                model,
                api_key,
                headers,
                addresses,
            } => {
                let url = join(base_url.as_ref(), OPENAI_BASE_URL, &["chat", "completions"])?;
                let own = url.host_str() == Some("api.openai.com");
                endpoint(
                    Dialect::OpenAi { own },
                    url,
                    model,
                    api_key,
                    headers,
                    *addresses,
                )?
            }
            Provider::Anthropic {
                base_url,
                model,
                api_key,
                headers,
                addresses,
            } => {
                let url = join(base_url.as_ref(), ANTHROPIC_BASE_URL, &["messages"])?;
                endpoint(Dialect::Anthropic, url, model, api_key, headers, *addresses)?
            }
            Provider::Scripted { turns } => {
                Kind::Scripted(Script::new(turns).map_err(ModelError::Script)?)
            }
        };
        Ok(Self {
            inner: Arc::new(kind),
        })
    }

    /// `openai`, `anthropic` or `scripted`, for records and metrics.
    pub fn provider(&self) -> &'static str {
        match &*self.inner {
            Kind::Endpoint(endpoint) => match endpoint.dialect {
                Dialect::OpenAi { .. } => "openai",
                Dialect::Anthropic => "anthropic",
            },
            Kind::Scripted(_) => "scripted",
        }
    }

    /// The model, as the endpoint names it.
    pub fn model(&self) -> &str {
        match &*self.inner {
            Kind::Endpoint(endpoint) => &endpoint.model,
            Kind::Scripted(_) => super::scripted::MODEL,
        }
    }

    /// Asks and waits for the whole answer. Dropping the future ends the request.
    ///
    /// # Errors
    /// `invalid` for what the endpoint refuses, `unavailable` where trying again later may help,
    /// `timeout`, `limit-exceeded`, `denied` for an endpoint at an address that is not granted.
    pub async fn complete(&self, request: &CompletionRequest) -> Result<Completion, CallError> {
        let endpoint = match &*self.inner {
            Kind::Endpoint(endpoint) => endpoint,
            Kind::Scripted(script) => return script.answer(request),
        };
        let (response, redact) = endpoint.ask(request, false).await?;
        let body = egress::read(
            response.into_body(),
            "model-response-bytes",
            MODEL_RESPONSE_BYTES,
        )
        .await
        .map_err(CallError::from)?;
        let completion = match endpoint.dialect {
            Dialect::OpenAi { .. } => openai::response(&body, &endpoint.model),
            Dialect::Anthropic => anthropic::response(&body, &endpoint.model),
        };
        completion.map_err(|error| redact.error(error))
    }

    /// Asks and gives the answer as it is written. Attempts are repeated only before this returns.
    ///
    /// # Errors
    /// As for [`ModelClient::complete`].
    pub async fn stream(&self, request: &CompletionRequest) -> Result<CompletionStream, CallError> {
        let endpoint = match &*self.inner {
            Kind::Endpoint(endpoint) => endpoint,
            Kind::Scripted(script) => return Ok(CompletionStream::known(script.events(request)?)),
        };
        let (response, redact) = endpoint.ask(request, true).await?;
        let codec = match endpoint.dialect {
            Dialect::OpenAi { .. } => Codec::OpenAi(openai::Stream::default()),
            Dialect::Anthropic => Codec::Anthropic(anthropic::Stream::default()),
        };
        let model = endpoint.model.clone();
        Ok(CompletionStream::wire(
            response.into_body(),
            codec,
            model,
            redact,
        ))
    }
}

impl Endpoint {
    /// A successful response, after as many attempts as it takes and the resource allows.
    async fn ask(
        &self,
        request: &CompletionRequest,
        stream: bool,
    ) -> Result<(Response<Body>, Redact), CallError> {
        let body = match self.dialect {
            Dialect::OpenAi { own } => openai::request(request, &self.model, stream, own)?,
            Dialect::Anthropic => anthropic::request(request, &self.model, stream)?,
        };
        let body = Bytes::from(Value::to_string(&body));
        let mut attempt = 1;
        loop {
            // Read for each attempt: a rotated credential counts at once.
            let (headers, redact) = self.headers(stream)?;
            let failure = match self.attempt(headers, body.clone()).await {
                Ok(response) => return Ok((response, redact)),
                Err(failure) => failure,
            };
            let error = redact.error(failure.error);
            let last = attempt >= self.retry.attempts;
            if !failure.retryable || last {
                return Err(error);
            }
            let wait = match failure.asked_wait {
                Some(asked) if asked > MAX_RETRY_AFTER => {
                    return Err(CallError::Unavailable(format!(
                        "the model's endpoint asks to wait {} s",
                        asked.as_secs()
                    )));
                }
                Some(asked) => asked,
                None => self.retry.backoff(attempt, rand::random()),
            };
            tracing::debug!(
                attempt,
                ?wait,
                error = error.code(),
                "a model is asked again"
            );
            tokio::time::sleep(wait).await;
            attempt += 1;
        }
    }

    fn headers(&self, stream: bool) -> Result<(HeaderMap, Redact), CallError> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let accept = if stream {
            "text/event-stream"
        } else {
            "application/json"
        };
        headers.insert(ACCEPT, HeaderValue::from_static(accept));
        if self.dialect == Dialect::Anthropic {
            let version = HeaderValue::from_static(anthropic::VERSION);
            headers.insert(HeaderName::from_static("anthropic-version"), version);
        }
        let secrets = self.egress.secrets();
        let read = |reference: &SecretRef| {
            secrets.resolve(reference).map_err(|error| {
                tracing::error!(%error, "a model's secret cannot be read");
                CallError::from(egress::EgressError::from(error))
            })
        };
        let mut used = Vec::new();
        for spec in self.allowed.headers() {
            // Sent by the way out; here only so that it can be kept out of errors.
            if let Some(reference) = &spec.value_from {
                used.push(read(reference)?);
            }
        }
        if let Some(reference) = &self.api_key {
            let key = read(reference)?;
            let (name, value) = match self.dialect {
                Dialect::OpenAi { .. } => {
                    let bearer = zeroize::Zeroizing::new(format!("Bearer {}", key.expose()));
                    (AUTHORIZATION, HeaderValue::from_str(&bearer))
                }
                Dialect::Anthropic => (X_API_KEY, HeaderValue::from_str(key.expose())),
            };
            let mut value = value.map_err(|_| {
                CallError::Unavailable("the model's credential is no header value".to_owned())
            })?;
            value.set_sensitive(true);
            headers.insert(name, value);
            used.push(key);
        }
        Ok((headers, Redact(used)))
    }

    async fn attempt(&self, headers: HeaderMap, body: Bytes) -> Result<Response<Body>, Failure> {
        let mut request = Request::new(egress::full(body));
        *request.method_mut() = Method::POST;
        *request.headers_mut() = headers;
        let response = self
            .egress
            .send(&self.allowed, request, self.timeouts)
            .await;
        let response = response.map_err(|error| Failure {
            // A connection that broke before any answer counts as one that failed.
            retryable: !error.is_refusal()
                && (error.is_unsent() || matches!(error, egress::EgressError::Protocol { .. })),
            asked_wait: None,
            error: error.into(),
        })?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let retryable = is_retryable(status, response.headers());
        let asked_wait = asked_wait(response.headers(), time::OffsetDateTime::now_utc());
        let body = egress::read(response.into_body(), "model-error-bytes", ERROR_BYTES).await;
        let message = body.ok().and_then(|body| error_message(&body));
        Err(Failure {
            retryable,
            asked_wait,
            error: refusal(status, retryable, message),
        })
    }
}

struct Failure {
    retryable: bool,
    asked_wait: Option<Duration>,
    error: CallError,
}

fn refusal(status: StatusCode, retryable: bool, message: Option<String>) -> CallError {
    let code = status.as_u16();
    let message = message.map(|text| format!(": {text}")).unwrap_or_default();
    match status {
        // Providers quote the credential in these.
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => CallError::Failed(format!(
            "the model's endpoint refused the credential ({code}); check the Model's apiKey"
        )),
        _ if retryable || status.is_server_error() || matches!(code, 408 | 409 | 429) => {
            CallError::Unavailable(format!("the model's endpoint answered {code}{message}"))
        }
        _ if status.is_client_error() => {
            CallError::Invalid(format!("the model's endpoint answered {code}{message}"))
        }
        _ => CallError::Failed(format!(
            "the model's endpoint answered {code}; check its base URL"
        )),
    }
}

fn join(base: Option<&Url>, default: &str, path: &[&str]) -> Result<Url, ModelError> {
    let base = match base {
        Some(url) => url.clone(),
        None => Url::parse(default).map_err(egress_url)?,
    };
    let mut url = base.clone();
    match url.path_segments_mut() {
        Ok(mut segments) => {
            segments.pop_if_empty().extend(path);
        }
        Err(()) => return Err(ModelError::Url(base)),
    }
    Ok(url)
}

fn egress_url(error: url::ParseError) -> ModelError {
    let target = egress::TargetError::Unreadable(error.to_string());
    ModelError::Endpoint(EndpointError::Target(target))
}

//! Export of spans over OTLP/HTTP, set by OpenTelemetry's own environment variables
//! (`OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_EXPORTER_OTLP_TIMEOUT`,
//! `OTEL_EXPORTER_OTLP_CERTIFICATE`, `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_SDK_DISABLED`, `OTEL_TRACES_EXPORTER`, and
//! their `_TRACES_` forms). Nothing is exported unless an endpoint is set.
//!
//! Headers often hold a credential; they are read by the exporter and never logged.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_http::{HttpClient, HttpError, ResponseBodyTooLarge};
use opentelemetry_otlp::{SpanExporter, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio::runtime::Handle;
use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::registry::LookupSpan;

use super::names;
use crate::authorities::{Authorities, AuthoritiesError};
use crate::egress::explain;

/// Files with certificate authorities of the collector, trusted beside the system's.
const CERTIFICATE: [&str; 2] = [
    "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_CERTIFICATE",
];

/// A certificate of our own is none of the things that a host has: whoever names one has to know.
const CLIENT_CERTIFICATE: [&str; 4] = [
    "OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY",
    "OTEL_EXPORTER_OTLP_CLIENT_KEY",
];

/// Why spans cannot be exported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OtlpError {
    /// A setting that this host does not follow.
    #[error("{variable} is {value:?}, but only {supported} is supported: change or unset it")]
    Unsupported {
        /// The environment variable.
        variable: &'static str,
        /// Its value.
        value: String,
        /// What would do.
        supported: &'static str,
    },
    /// The HTTP client could not be made.
    #[error("failed to make the HTTP client for OTLP")]
    Client(#[source] reqwest::Error),
    /// The collector's certificate authority.
    #[error(transparent)]
    Authorities(#[from] AuthoritiesError),
    /// The exporter refused its settings.
    #[error("failed to set up OTLP: check the OTEL_EXPORTER_OTLP_ variables")]
    Exporter(#[source] opentelemetry_otlp::ExporterBuildError),
}

/// A running export.
#[derive(Debug)]
pub struct Otlp {
    provider: SdkTracerProvider,
}

impl Otlp {
    /// The export that the environment asks for; none when it asks for none. It must be called within
    /// a Tokio runtime, after a TLS provider was installed.
    ///
    /// # Errors
    /// Settings that cannot be followed.
    pub fn from_env(authorities: &Authorities) -> Result<Option<Self>, OtlpError> {
        let get = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        Self::from_settings(get, authorities)
    }

    fn from_settings(
        get: impl Fn(&str) -> Option<String>,
        authorities: &Authorities,
    ) -> Result<Option<Self>, OtlpError> {
        if !wanted(&get)? {
            return Ok(None);
        }
        let mut authorities = authorities.clone();
        if let Some(file) = first(&get, CERTIFICATE) {
            authorities = authorities.and(Authorities::read(file.as_ref())?);
        }
        let client = reqwest::Client::builder()
            .timeout(Duration::from_secs(30))
            .redirect(reqwest::redirect::Policy::none());
        let client = authorities
            .trusted_by(client)
            .and_then(reqwest::ClientBuilder::build)
            .map_err(OtlpError::Client)?;
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(OnRuntime {
                handle: Handle::current(),
                client,
                failing: Arc::default(),
            })
            .build()
            .map_err(OtlpError::Exporter)?;
        let resource = Resource::builder();
        let resource = match get("OTEL_SERVICE_NAME") {
            Some(_) => resource,
            None => resource.with_service_name("ringfence"),
        };
        let resource = resource
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(resource)
            .build();
        Ok(Some(Self { provider }))
    }

    /// The layer that turns `tracing` spans into exported ones.
    pub fn layer<S>(&self) -> impl Layer<S> + Send + Sync + use<S>
    where
        S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
    {
        let scope = InstrumentationScope::builder("ringfence")
            .with_version(env!("CARGO_PKG_VERSION"))
            .with_schema_url(names::SCHEMA_URL)
            .build();
        let spans = tracing_subscriber::filter::filter_fn(|metadata| {
            metadata.is_span() && metadata.target().starts_with("ringfence")
        });
        tracing_opentelemetry::layer()
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_tracked_inactivity(false)
            .with_tracer(self.provider.tracer_with_scope(scope))
            .with_filter(spans)
    }

    /// Sends what is left, waiting at most `patience`. Blocks: call it on a blocking thread.
    pub fn shutdown(&self, patience: Duration) {
        if let Err(error) = self.provider.shutdown_with_timeout(patience) {
            tracing::warn!(%error, "the last spans were not exported");
        }
    }
}

/// The value of the first of these variables that has one.
fn first(get: &impl Fn(&str) -> Option<String>, names: [&str; 2]) -> Option<String> {
    names.into_iter().find_map(get)
}

/// Whether the environment asks for an export.
fn wanted(get: &impl Fn(&str) -> Option<String>) -> Result<bool, OtlpError> {
    let endpoint = first(
        get,
        [
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
            "OTEL_EXPORTER_OTLP_ENDPOINT",
        ],
    )
    .is_some();
    let disabled = get("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"));
    if !endpoint || disabled {
        return Ok(false);
    }
    match get("OTEL_TRACES_EXPORTER").as_deref() {
        None | Some("otlp") => {}
        Some("none") => return Ok(false),
        Some(other) => {
            return Err(OtlpError::Unsupported {
                variable: "OTEL_TRACES_EXPORTER",
                value: other.to_owned(),
                supported: "otlp",
            });
        }
    }
    for variable in [
        "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
        "OTEL_EXPORTER_OTLP_PROTOCOL",
    ] {
        match get(variable) {
            Some(value) if value != "http/protobuf" => {
                return Err(OtlpError::Unsupported {
                    variable,
                    value,
                    supported: "http/protobuf",
                });
            }
            _ => {}
        }
    }
    for variable in CLIENT_CERTIFICATE {
        if let Some(value) = get(variable) {
            return Err(OtlpError::Unsupported {
                variable,
                value,
                supported: "a collector that asks for no client certificate",
            });
        }
    }
    Ok(true)
}

/// Sends on the host's runtime: the exporter's own thread has none.
struct OnRuntime {
    handle: Handle,
    client: reqwest::Client,
    /// The last export failed, which was said: once, not with every batch.
    failing: Arc<AtomicBool>,
}

impl OnRuntime {
    /// Says that spans are lost, and when they no longer are.
    fn tell(failing: &AtomicBool, outcome: Result<StatusCode, String>) {
        let problem = match outcome {
            Ok(status) if status.is_success() => None,
            Ok(status) => Some(format!("the collector answers {status}")),
            Err(problem) => Some(problem),
        };
        let failed = failing.swap(problem.is_some(), Ordering::Relaxed);
        match problem {
            Some(problem) if !failed => {
                tracing::warn!(
                    problem,
                    "spans are not exported; see OTEL_EXPORTER_OTLP_ENDPOINT"
                );
            }
            None if failed => tracing::info!("spans are exported again"),
            _ => {}
        }
    }
}

impl fmt::Debug for OnRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnRuntime")
    }
}

/// Bytes of a collector's answer that are read.
const ANSWER_BYTES: usize = 256 << 10;

impl HttpClient for OnRuntime {
    fn send_bytes<'life, 'async_trait>(
        &'life self,
        request: http::Request<Bytes>,
    ) -> std::pin::Pin<
        Box<dyn Future<Output = Result<http::Response<Bytes>, HttpError>> + Send + 'async_trait>,
    >
    where
        'life: 'async_trait,
        Self: 'async_trait,
    {
        let client = self.client.clone();
        let failing = self.failing.clone();
        let task = self.handle.spawn(async move {
            let request = request.try_into()?;
            let answered = client.execute(request).await;
            let outcome = answered.as_ref().map(reqwest::Response::status);
            Self::tell(
                &failing,
                outcome
                    .map_err(|error| explain(error, "--ca-file or OTEL_EXPORTER_OTLP_CERTIFICATE")),
            );
            let mut response = answered?;
            let mut answer = http::Response::builder().status(response.status());
            if let Some(headers) = answer.headers_mut() {
                *headers = std::mem::take(response.headers_mut());
            }
            let mut body = BytesMut::new();
            while let Some(chunk) = response.chunk().await? {
                if body.len() + chunk.len() > ANSWER_BYTES {
                    return Err(HttpError::from(ResponseBodyTooLarge::new()));
                }
                body.extend_from_slice(&chunk);
            }
            Ok(answer.body(body.freeze())?)
        });
        Box::pin(async move { task.await? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings<'a>(pairs: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<String> + 'a {
        move |name| {
            pairs
                .iter()
                .find(|(n, _)| *n == name)
                .map(|(_, v)| (*v).to_owned())
        }
    }

    #[test]
    fn nothing_is_exported_unless_an_endpoint_is_set() {
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318");
        assert!(!wanted(&settings(&[])).unwrap());
        assert!(wanted(&settings(&[endpoint])).unwrap());
        assert!(!wanted(&settings(&[endpoint, ("OTEL_SDK_DISABLED", "TRUE")])).unwrap());
        assert!(!wanted(&settings(&[endpoint, ("OTEL_TRACES_EXPORTER", "none")])).unwrap());
    }

    #[test]
    fn settings_that_are_not_followed_are_refused() {
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4317");
        for other in [
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "key.pem"),
            ("OTEL_TRACES_EXPORTER", "zipkin"),
        ] {
            let error = wanted(&settings(&[endpoint, other]))
                .unwrap_err()
                .to_string();
            assert!(
                error.contains(other.0) && error.contains(other.1),
                "{error}"
            );
        }
    }
}

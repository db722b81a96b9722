//! What is answered: objects of `custom.metrics.k8s.io/v1beta2`, of discovery, and refusals.
//!
//! The source of the former is `k8s.io/metrics/pkg/apis/custom_metrics/v1beta2/types.go` of Kubernetes 1.35.

use std::time::Duration;

use http::StatusCode;
use k8s_openapi::jiff::Timestamp;
use ringfence_api::{POOL_USED_SECONDS, PoolUsed};
use serde::Serialize;
use serde_json::{Value, json};

use super::{GROUP, METRIC, VERSION};

/// The values of a metric.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MetricValueList {
    api_version: String,
    kind: &'static str,
    metadata: Empty,
    items: Vec<MetricValue>,
}

#[derive(Debug, Serialize)]
struct Empty {}

/// The value of a metric for one object.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MetricValue {
    described_object: DescribedObject,
    metric: Metric,
    /// When it was true (RFC 3339).
    timestamp: String,
    /// The seconds up to then over which it is an average.
    window_seconds: u16,
    /// A quantity.
    value: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct DescribedObject {
    kind: &'static str,
    namespace: String,
    name: String,
    api_version: &'static str,
}

#[derive(Debug, Serialize)]
struct Metric {
    name: &'static str,
    /// It has no labels.
    selector: Option<()>,
}

impl MetricValueList {
    pub(super) fn new(items: Vec<MetricValue>) -> Self {
        Self {
            api_version: format!("{GROUP}/{VERSION}"),
            kind: "MetricValueList",
            metadata: Empty {},
            items,
        }
    }
}

impl MetricValue {
    /// How busy a Pod was, that long before `now`.
    pub(super) fn of_pod(
        namespace: &str,
        name: &str,
        used: PoolUsed,
        age: Duration,
        now: Timestamp,
    ) -> Self {
        let at = now.checked_sub(age).unwrap_or(now);
        Self {
            described_object: DescribedObject {
                kind: "Pod",
                namespace: namespace.to_owned(),
                name: name.to_owned(),
                api_version: "v1",
            },
            metric: Metric {
                name: METRIC,
                selector: None,
            },
            timestamp: at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            window_seconds: POOL_USED_SECONDS,
            value: used.to_string(),
        }
    }
}

/// The groups: there is one.
pub(super) fn groups() -> Value {
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": [described_group()]})
}

/// The group.
pub(super) fn group() -> Value {
    let mut group = described_group();
    group["kind"] = "APIGroup".into();
    group["apiVersion"] = "v1".into();
    group
}

fn described_group() -> Value {
    let version = json!({"groupVersion": format!("{GROUP}/{VERSION}"), "version": VERSION});
    json!({"name": GROUP, "versions": [version], "preferredVersion": version})
}

/// The resources: the one metric, of Pods.
pub(super) fn resources() -> Value {
    json!({
        "kind": "APIResourceList", "apiVersion": "v1",
        "groupVersion": format!("{GROUP}/{VERSION}"),
        "resources": [{
            "name": format!("pods/{METRIC}"), "singularName": "", "namespaced": true,
            "kind": "MetricValueList", "verbs": ["get"],
        }],
    })
}

/// Why there is no answer: a `Status` of Kubernetes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    code: StatusCode,
    reason: &'static str,
    message: String,
}

impl Refusal {
    fn new(code: StatusCode, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            reason,
            message: message.into(),
        }
    }

    /// It cannot be meant so.
    pub(super) fn bad_request(message: String) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", message)
    }

    /// Nobody is said to ask.
    pub(super) fn unauthorized() -> Self {
        let message = "the request does not say on whose behalf it is made";
        Self::new(StatusCode::UNAUTHORIZED, "Unauthorized", message)
    }

    /// Who asks may not.
    pub(super) fn forbidden(user: &str) -> Self {
        let message =
            format!("{user} may not get pods/{METRIC} of {GROUP} there: a Role has to say so");
        Self::new(StatusCode::FORBIDDEN, "Forbidden", message)
    }

    /// There is no such thing.
    pub(super) fn not_found(message: String) -> Self {
        Self::new(StatusCode::NOT_FOUND, "NotFound", message)
    }

    /// Everything here is read only.
    pub(super) fn method() -> Self {
        let message = "metrics can only be read, with GET";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message)
    }

    /// There are too many requests.
    pub(super) fn busy() -> Self {
        let message = "too many requests at once: try again later";
        Self::new(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests", message)
    }

    /// It cannot be said now.
    pub(super) fn unavailable(message: &'static str) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "ServiceUnavailable",
            message,
        )
    }

    /// The HTTP status.
    pub(super) fn code(&self) -> StatusCode {
        self.code
    }

    /// Whether another try may help.
    pub(super) fn is_passing(&self) -> bool {
        matches!(
            self.code,
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
        )
    }

    /// The object.
    pub(super) fn status(&self) -> Value {
        json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "reason": self.reason, "code": self.code.as_u16(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_as_the_autoscaler_reads_it() {
        let now = "2026-01-02T03:04:05.6Z".parse().unwrap();
        let used = PoolUsed::from_thousandths(2_350);
        let value = MetricValue::of_pod("system", "h-1", used, Duration::from_secs(3), now);
        let list = serde_json::to_value(MetricValueList::new(vec![value])).unwrap();
        let expected = json!({
            "apiVersion": "custom.metrics.k8s.io/v1beta2", "kind": "MetricValueList", "metadata": {},
            "items": [{
                "describedObject": {"kind": "Pod", "namespace": "system", "name": "h-1", "apiVersion": "v1"},
                "metric": {"name": "ringfence_pool_used", "selector": null},
                "timestamp": "2026-01-02T03:04:02Z", "windowSeconds": 10, "value": "2350m",
            }],
        });
        assert_eq!(list, expected);
    }

    #[test]
    fn a_refusal_says_what_api_servers_say() {
        let refusal = Refusal::busy();
        assert!(refusal.is_passing());
        let status = refusal.status();
        assert_eq!(
            (&status["kind"], &status["code"]),
            (&json!("Status"), &json!(429))
        );
        assert!(!Refusal::forbidden("jane").is_passing());
    }
}

//! What the API server says, as a failure with an exit code that says what to do.

use kube::core::Status;

use crate::exit::{Code, fail};

/// Reason of a cause: another field manager has the field.
const CONFLICT: &str = "FieldManagerConflict";

/// An error and what caused it, each once.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = String::new();
    for cause in std::iter::successors(Some(error), |error| error.source()) {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            text += if text.is_empty() { "" } else { ": " };
            text += &cause;
        }
    }
    text
}

/// A failure about `what` in a cluster.
pub(super) fn failed(cluster: &str, what: &str, error: &kube::Error) -> anyhow::Error {
    match error {
        kube::Error::Api(status) => refused(cluster, what, status),
        other => fail(
            Code::Unavailable,
            format!("cannot reach {cluster}: {}", chain(other)),
        ),
    }
}

fn refused(cluster: &str, what: &str, status: &Status) -> anyhow::Error {
    let message = status.message.trim();
    let code = match status.code {
        401 | 403 => Code::Denied,
        404 => Code::NotFound,
        400 | 422 => Code::Invalid,
        429 | 503 | 504 => Code::Unavailable,
        _ => Code::Failed,
    };
    match status.code {
        401 => fail(
            code,
            format!("{cluster} does not take the credential of the kubeconfig: log in again"),
        ),
        404 if status.details.as_ref().is_none_or(|d| d.name.is_empty()) => fail(
            code,
            format!(
                "{cluster} does not know the kinds of ringfence: install them (ringfence-operator \
                 crds | kubectl apply --server-side -f -)"
            ),
        ),
        404 => fail(code, format!("there is no {what} in {cluster}")),
        409 => fail(code, conflict(what, status)),
        _ => fail(code, format!("{what}: {message}")),
    }
}

/// Which fields belong to whom, and the two ways out.
fn conflict(what: &str, status: &Status) -> String {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    let fields: Vec<String> = causes
        .filter(|cause| cause.reason == CONFLICT)
        .map(|cause| {
            let manager = cause.message.split('"').nth(1).unwrap_or("somebody else");
            format!(
                "{} belongs to {manager}",
                cause.field.trim_start_matches('.')
            )
        })
        .collect();
    if fields.is_empty() {
        return format!("{what}: {}", status.message.trim());
    }
    format!(
        "{what}: {}: change it there, leave it out here, or take it over with --force-conflicts",
        fields.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::code_of;

    fn status(value: serde_json::Value) -> kube::Error {
        kube::Error::Api(Box::new(serde_json::from_value(value).unwrap()))
    }

    #[test]
    fn a_conflict_names_the_field_and_who_has_it() {
        let error = failed(
            "context c",
            "agent/desk",
            &status(serde_json::json!({
                "code": 409, "message": "Apply failed with 1 conflict",
                "details": {"name": "desk", "causes": [{
                    "reason": CONFLICT, "field": ".spec.instructions",
                    "message": "conflict with \"kubectl\" using ringfence.dev/v1alpha1"
                }]}
            })),
        );
        assert_eq!(
            error.to_string(),
            "agent/desk: spec.instructions belongs to kubectl: change it there, leave it out here, or \
             take it over with --force-conflicts"
        );
    }

    #[test]
    fn codes_follow_the_status() {
        for (code, expected) in [
            (401, Code::Denied),
            (403, Code::Denied),
            (404, Code::NotFound),
            (409, Code::Failed),
            (422, Code::Invalid),
            (503, Code::Unavailable),
        ] {
            let error = status(serde_json::json!({"code": code, "message": "m"}));
            assert_eq!(code_of(&failed("c", "agent/a", &error)), expected, "{code}");
        }
    }
}

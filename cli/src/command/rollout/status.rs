//! How far a rollout is, in the words of `kubectl rollout status`. Pure.

use serde_json::Value;

/// How far it is.
#[derive(Debug, PartialEq)]
pub(super) enum State {
    /// It is over.
    Complete(String),
    /// It goes on.
    Waiting(String),
    /// It will not go on by itself.
    Failed(String),
}

/// What the object of `what` says.
pub(super) fn of(what: &str, object: &Value) -> State {
    let status = &object["status"];
    if status["observedGeneration"].as_i64() < object["metadata"]["generation"].as_i64() {
        return State::Waiting(format!(
            "{what}: waiting for the operator to see the change"
        ));
    }
    let conditions = status["conditions"].as_array();
    let said = conditions.and_then(|all| all.iter().find(|c| c["type"] == "Progressing"));
    let text = |field: &str| {
        said.and_then(|said| said[field].as_str())
            .unwrap_or_default()
    };
    if text("status") == "False" {
        return State::Failed(format!("{what}: {}", text("message")));
    }
    let number = |field: &str| status[field].as_u64().unwrap_or(0);
    let wanted = object["spec"]["replicas"].as_u64().unwrap_or(1);
    let (updated, available) = (number("updatedReplicas"), number("availableReplicas"));
    let current = status["currentRevision"].as_str();
    let why = match text("reason") {
        "RolloutPaused" | "CanaryStep" => format!("; {}", text("message")),
        _ => String::new(),
    };
    let waiting = |how: String| State::Waiting(format!("{what}: waiting: {how}{why}"));
    if updated < wanted {
        return waiting(format!(
            "{updated} of {wanted} instances are of the new revision"
        ));
    }
    let old = number("replicas").saturating_sub(updated);
    if old > 0 {
        return waiting(format!("{old} instances of earlier revisions are left"));
    }
    if available < updated {
        return waiting(format!("{available} of {updated} instances are available"));
    }
    if current.is_none() || current != status["updateRevision"].as_str() {
        return waiting("it is nearly complete".to_owned());
    }
    State::Complete(format!("{what} successfully rolled out"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_rollout_is_told_from_its_status() {
        let mut object = json!({
            "metadata": {"generation": 2},
            "spec": {"replicas": 3},
            "status": {
                "observedGeneration": 1, "replicas": 3, "updatedReplicas": 3, "availableReplicas": 3,
                "currentRevision": "a", "updateRevision": "a",
                "conditions": [{"type": "Progressing", "status": "True", "reason": "NewRevisionAvailable"}]
            }
        });
        let waits = |object: &Value, text: &str| match of("tool/t", object) {
            State::Waiting(said) => assert!(said.contains(text), "{said}"),
            other => panic!("{other:?}"),
        };
        waits(&object, "to see the change");
        object["status"]["observedGeneration"] = 2.into();
        assert_eq!(
            of("tool/t", &object),
            State::Complete("tool/t successfully rolled out".into())
        );
        object["status"]["updateRevision"] = "b".into();
        waits(&object, "nearly complete");
        object["status"]["availableReplicas"] = 2.into();
        waits(&object, "2 of 3 instances are available");
        object["status"]["replicas"] = 4.into();
        waits(&object, "1 instances of earlier");
        object["status"]["updatedReplicas"] = 1.into();
        let progressing = &mut object["status"]["conditions"][0];
        progressing["reason"] = "CanaryStep".into();
        progressing["message"] = "step 1 of 2".into();
        waits(
            &object,
            "1 of 3 instances are of the new revision; step 1 of 2",
        );
        let progressing = &mut object["status"]["conditions"][0];
        progressing["status"] = "False".into();
        progressing["message"] = "it is broken".into();
        assert_eq!(
            of("tool/t", &object),
            State::Failed("tool/t: it is broken".into())
        );
    }
}

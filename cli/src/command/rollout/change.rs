//! What the verbs write into an agent or tool. Pure: each changes the object, or says why it cannot be.

use k8s_openapi::jiff::Timestamp;
use ringfence_api::{CHANGE_CAUSE_ANNOTATION, PROMOTED_ANNOTATION};
use serde_json::{Map, Value, json};

use super::history::Entry;

/// Fields of the spec that are no part of a revision.
const KEPT: [&str; 2] = ["replicas", "rollout"];

fn is_paused(object: &Value) -> bool {
    object["spec"]["rollout"]["paused"] == true
}

/// A map inside the object, made where it is not there.
fn map<'o>(
    object: &'o mut Value,
    outer: &str,
    inner: &str,
) -> Result<&'o mut Map<String, Value>, String> {
    let value = &mut object[outer][inner];
    if value.is_null() {
        *value = json!({});
    }
    value
        .as_object_mut()
        .ok_or_else(|| format!("has a {outer}.{inner} that is no map"))
}

pub(super) fn pause(object: &mut Value) -> Result<(), String> {
    if is_paused(object) {
        return Err("is paused already".to_owned());
    }
    map(object, "spec", "rollout")?.insert("paused".to_owned(), true.into());
    Ok(())
}

pub(super) fn resume(object: &mut Value) -> Result<(), String> {
    if !is_paused(object) {
        return Err("is not paused".to_owned());
    }
    map(object, "spec", "rollout")?.remove("paused");
    Ok(())
}

pub(super) fn restart(object: &mut Value) -> Result<(), String> {
    if is_paused(object) {
        return Err("is paused: resume it first".to_owned());
    }
    let now = Timestamp::now().to_string();
    map(object, "spec", "rollout")?.insert("restartedAt".to_owned(), now.into());
    Ok(())
}

pub(super) fn promote(object: &mut Value, full: bool) -> Result<(), String> {
    let steps = object["spec"]["rollout"]["canary"]["steps"].as_array();
    let steps = steps.map_or(0, |steps| steps.len() as u64);
    let status = &object["status"];
    let rollout = &status["rollout"];
    let step = rollout["step"].as_u64().filter(|step| *step < steps);
    let (Some(step), Some(revision)) = (step, status["updateRevision"].as_str()) else {
        return Err("is in no step of a canary".to_owned());
    };
    if let Some(why) = rollout["failed"].as_str() {
        return Err(format!("has a canary that failed: {why}"));
    }
    if is_paused(object) {
        return Err("is paused: resume it first".to_owned());
    }
    let promoted = match full {
        true => format!("{revision}/all"),
        false => format!("{revision}/{}", step + 1),
    };
    map(object, "metadata", "annotations")?.insert(PROMOTED_ANNOTATION.to_owned(), promoted.into());
    Ok(())
}

/// Writes back what the spec was, but for how many instances there are and how they are replaced.
pub(super) fn undo(object: &mut Value, entry: &Entry) -> Result<(), String> {
    if is_paused(object) {
        return Err("is paused: resume it first".to_owned());
    }
    let Some(mut spec) = entry.data["spec"].as_object().cloned() else {
        return Err(format!(
            "has a revision {} that cannot be read",
            entry.number
        ));
    };
    for field in KEPT {
        if let Some(value) = object["spec"].get(field) {
            spec.insert(field.to_owned(), value.clone());
        }
    }
    object["spec"] = Value::Object(spec);
    let rollout = map(object, "spec", "rollout")?;
    match entry.data.get("restartedAt") {
        Some(mark) => drop(rollout.insert("restartedAt".to_owned(), mark.clone())),
        None => drop(rollout.remove("restartedAt")),
    }
    let annotations = map(object, "metadata", "annotations")?;
    match &entry.cause {
        Some(cause) => {
            annotations.insert(CHANGE_CAUSE_ANNOTATION.to_owned(), cause.as_str().into());
        }
        None => drop(annotations.remove(CHANGE_CAUSE_ANNOTATION)),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tool() -> Value {
        json!({
            "metadata": {"annotations": {CHANGE_CAUSE_ANNOTATION: "new"}},
            "spec": {
                "component": {"image": "r/new:2"}, "grants": {"clocks": true}, "replicas": 4,
                "rollout": {"maxSurge": 2, "restartedAt": "then", "canary": {"steps": [{"weight": 5}]}}
            },
            "status": {"updateRevision": "b", "rollout": {"step": 0}}
        })
    }

    #[test]
    fn undo_writes_the_old_spec_back_and_keeps_how_many() {
        let entry = Entry {
            number: 1,
            revision: "a".into(),
            cause: None,
            data: json!({"spec": {"component": {"image": "r/old:1"}, "description": "old"}}),
        };
        let mut object = tool();
        undo(&mut object, &entry).unwrap();
        assert_eq!(
            object["spec"],
            json!({
                "component": {"image": "r/old:1"}, "description": "old", "replicas": 4,
                "rollout": {"maxSurge": 2, "canary": {"steps": [{"weight": 5}]}}
            })
        );
        assert_eq!(object["metadata"]["annotations"], json!({}));
        pause(&mut object).unwrap();
        assert!(undo(&mut object, &entry).unwrap_err().contains("resume"));
    }

    #[test]
    fn a_pause_ends_once() {
        let mut object = json!({"spec": {}});
        assert!(resume(&mut object).is_err());
        pause(&mut object).unwrap();
        assert!(pause(&mut object).is_err() && restart(&mut object).is_err());
        resume(&mut object).unwrap();
        restart(&mut object).unwrap();
        assert!(object["spec"]["rollout"]["restartedAt"].is_string());
    }

    #[test]
    fn a_promotion_names_the_step_that_is_over() {
        let promoted = |object: &mut Value, full| {
            promote(object, full)?;
            Ok::<_, String>(object["metadata"]["annotations"][PROMOTED_ANNOTATION].clone())
        };
        assert_eq!(promoted(&mut tool(), false).unwrap(), "b/1");
        assert_eq!(promoted(&mut tool(), true).unwrap(), "b/all");
        let mut over = tool();
        over["status"]["rollout"]["step"] = 1.into();
        assert!(promoted(&mut over, false).is_err());
        let mut failed = tool();
        failed["status"]["rollout"]["failed"] = "it is broken".into();
        assert!(
            promoted(&mut failed, true)
                .unwrap_err()
                .contains("it is broken")
        );
    }
}

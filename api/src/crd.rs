//! CustomResourceDefinitions of every kind, as they are installed in a cluster.
//!
//! The schemas come from the types. What Kubernetes says differently from JSON Schema is put right
//! here ([structural schemas](https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#specifying-a-structural-schema)).

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube_core::CustomResourceExt;
use serde_json::{Map, Value, json};

use crate::host_pool::POOL_NAME;
use crate::{Agent, Ceiling, Host, HostPool, Instance, Model, Run, Tool};

/// The definitions, in the order in which they are installed.
pub fn definitions() -> Vec<Value> {
    [
        Agent::crd(),
        Tool::crd(),
        Model::crd(),
        Ceiling::crd(),
        HostPool::crd(),
        Host::crd(),
        Instance::crd(),
        Run::crd(),
    ]
    .into_iter()
    .map(definition)
    .collect()
}

fn definition(crd: CustomResourceDefinition) -> Value {
    // A definition holds nothing that JSON cannot.
    let kind = crd.spec.names.kind.clone();
    let mut crd = serde_json::to_value(crd).unwrap_or_default();
    if let Some(versions) = crd["spec"]["versions"].as_array_mut() {
        for version in versions {
            let schema = &mut version["schema"]["openAPIV3Schema"];
            structural(schema);
            if kind == "HostPool" {
                schema["x-kubernetes-validations"] = pool_rules();
            }
        }
    }
    crd
}

/// Rules about the name, which only the root of a schema may look at.
fn pool_rules() -> Value {
    json!([{
        "rule": format!("!has(self.spec.hosts) || self.metadata.name.size() <= {POOL_NAME}"),
        "message": format!(
            "spec.hosts: a pool whose hosts the operator runs has a name of at most {POOL_NAME} characters: make \
             one with a shorter name"
        ),
    }])
}

/// Rewrites a schema, and those inside it, to what Kubernetes takes.
fn structural(schema: &mut Value) {
    if *schema == Value::Bool(true) {
        *schema = json!({"x-kubernetes-preserve-unknown-fields": true});
    }
    let Value::Object(map) = schema else { return };
    // Unknown fields are dropped, or refused where the client asks for strict validation (kubectl
    // does): a structural schema cannot say so itself.
    if map.get("additionalProperties") == Some(&Value::Bool(false)) {
        map.remove("additionalProperties");
    }
    integer(map);
    let untyped = !map.contains_key("type") && !map.contains_key("x-kubernetes-int-or-string");
    if untyped
        && map
            .keys()
            .all(|key| key == "description" || key == "default")
    {
        map.insert("x-kubernetes-preserve-unknown-fields".into(), true.into());
    }
    for keyword in ["properties", "patternProperties"] {
        let Some(Value::Object(properties)) = map.get_mut(keyword) else {
            continue;
        };
        properties.values_mut().for_each(structural);
    }
    for keyword in ["items", "additionalProperties"] {
        if let Some(inner) = map.get_mut(keyword) {
            structural(inner);
        }
    }
}

/// Kubernetes knows signed integers only.
fn integer(map: &mut Map<String, Value>) {
    let (format, most) = match map.get("format").and_then(Value::as_str) {
        Some("uint16") => ("int32", Some(u64::from(u16::MAX))),
        Some("uint32") => ("int64", Some(u64::from(u32::MAX))),
        Some("uint64") => ("int64", None),
        _ => return,
    };
    map.insert("format".into(), format.into());
    map.entry("minimum").or_insert_with(|| 0.into());
    if let Some(most) = most {
        map.entry("maximum").or_insert_with(|| most.into());
    }
}

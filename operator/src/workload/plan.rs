//! What has to be made, pinned and deleted, so that an agent or tool is as it should be.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use k8s_openapi::jiff::Timestamp;
use kube::api::ObjectMeta;
use ringfence_api::{
    API_VERSION, Instance, InstanceSpec, KIND_LABEL, NAME_LABEL, Pinned, WorkloadStatus, condition,
};

use super::revision::{Known, REVISION_LABEL, Resolved, known, still_allowed};
use super::{Code, Object, View, status};
use crate::condition::holds;

/// What has to be done. Deletions of instances that lost their right to exist come first.
#[derive(Debug, Default, PartialEq)]
pub struct Plan {
    /// Instances to make.
    pub create: Vec<Instance>,
    /// Instances to pin, by name.
    pub pin: Vec<(String, Pinned)>,
    /// Instances to delete, by name.
    pub delete: Vec<String>,
    /// The status that should be there.
    pub status: WorkloadStatus,
}

/// Plans what an agent or tool needs. It changes nothing where nothing is to be changed: the plan of
/// what a plan leads to is empty.
pub fn plan(view: &View<'_>, now: Timestamp) -> Plan {
    if let Some(message) = view.object.invalid() {
        // What ran before is not what is meant now, and what is meant cannot run.
        return Plan {
            delete: view.instances.iter().filter_map(living).collect(),
            status: status::refused(view, "Invalid", &message, now),
            ..Plan::default()
        };
    }
    let resolved = match Resolved::new(view) {
        Ok(resolved) => resolved,
        Err(conflict) => {
            return Plan {
                delete: view.instances.iter().filter_map(living).collect(),
                status: status::refused(view, "PlacementRefused", &conflict.to_string(), now),
                ..Plan::default()
            };
        }
    };
    let known = known(view, &resolved);
    if let Some(message) = denied(view, known.as_ref()) {
        return Plan {
            delete: view.instances.iter().filter_map(living).collect(),
            status: status::refused(view, "RefusedByCeiling", &message, now),
            ..Plan::default()
        };
    }
    let pinned = known.as_ref().map(|known| known.pinned(view));
    let mut plan = Plan {
        status: status::of(view, &resolved, known.as_ref(), now),
        ..Plan::default()
    };
    let names: Vec<String> = (0..view.object.replicas())
        .map(|ordinal| instance_name(view.object, &resolved.hash, ordinal))
        .collect();
    for name in &names {
        let existing = view
            .instances
            .iter()
            .find(|i| i.metadata.name.as_ref() == Some(name));
        match (existing, &pinned) {
            (None, _) => plan
                .create
                .push(instance(view.object, &resolved, name, pinned.clone())),
            (Some(existing), Some(pinned)) if existing.spec.pinned.is_none() => {
                plan.pin.push((name.clone(), pinned.clone()));
            }
            (Some(_), _) => {}
        }
    }
    plan.delete = superfluous(view, &resolved, known.as_ref(), &names);
    plan
}

/// Why a tool that only passes calls on may not: what it calls is all it is.
fn denied(view: &View<'_>, known: Option<&Known>) -> Option<String> {
    if !matches!(view.object.code(), Code::Elsewhere) {
        return None;
    }
    let refused = known?.effective(view).refused;
    let told: Vec<String> = refused.iter().map(ToString::to_string).collect();
    (!told.is_empty()).then(|| format!("not allowed: {}", told.join(", ")))
}

/// Instances that should not be there (any more).
fn superfluous(
    view: &View<'_>,
    resolved: &Resolved,
    known: Option<&Known>,
    names: &[String],
) -> Vec<String> {
    let is_wanted = |instance: &Arc<Instance>| {
        let name = instance.metadata.name.as_ref();
        name.is_some_and(|name| names.contains(name))
    };
    // Earlier revisions serve until this one does, unless they may do what is no longer allowed.
    let ready = view
        .instances
        .iter()
        .filter(|i| is_wanted(i) && is_ready(i));
    let replaced = known.is_some() && ready.count() == names.len();
    view.instances
        .iter()
        .filter(|instance| !is_wanted(instance))
        .filter(|instance| {
            replaced || resolved.has(instance) || !still_allowed(view, resolved, instance)
        })
        .filter_map(living)
        .collect()
}

/// The name of an instance that is not being deleted already.
fn living(instance: &Arc<Instance>) -> Option<String> {
    match instance.metadata.deletion_timestamp {
        None => instance.metadata.name.clone(),
        Some(_) => None,
    }
}

/// Whether an instance can be called where it is bound.
pub(crate) fn is_ready(instance: &Instance) -> bool {
    instance.metadata.deletion_timestamp.is_none()
        && instance.spec.host_name.is_some()
        && instance.spec.pinned.is_some()
        && instance.status.as_ref().is_some_and(|status| {
            status.host_name == instance.spec.host_name
                && holds(&status.conditions, condition::READY)
        })
}

fn instance_name(object: &Object, hash: &str, ordinal: u32) -> String {
    let name = object.metadata().name.as_deref().unwrap_or_default();
    format!("{}-{name}-{hash}-{ordinal}", object.kind().as_str())
}

fn instance(object: &Object, resolved: &Resolved, name: &str, pinned: Option<Pinned>) -> Instance {
    let revision = &resolved.revision;
    let spec = InstanceSpec {
        host_name: None,
        workload: revision.workload.clone(),
        generation: object.generation(),
        placement: revision.placement.clone(),
        requests: revision.requests,
        max_limits: revision.max_limits.clone(),
        pinned,
    };
    let of = object.metadata().name.clone().unwrap_or_default();
    let labels = [
        (KIND_LABEL, object.kind().as_str().to_owned()),
        (NAME_LABEL, of.clone()),
        (REVISION_LABEL, resolved.hash.clone()),
    ];
    let owner = OwnerReference {
        api_version: API_VERSION.to_owned(),
        kind: object.kind().kind().to_owned(),
        name: of,
        uid: object.metadata().uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    };
    Instance {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: object.metadata().namespace.clone(),
            labels: Some(labels.map(|(key, value)| (key.to_owned(), value)).into()),
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        spec,
        status: None,
    }
}

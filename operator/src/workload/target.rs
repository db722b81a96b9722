//! A revision as it would run now, under today's ceilings; or why it may not.

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::ResourceExt as _;
use kube::api::ObjectMeta;
use ringfence_api::{
    Instance, InstanceSpec, KIND_LABEL, NAME_LABEL, Pinned, REVISION_LABEL, condition,
};

use super::revision::{Known, Resolved, known};
use super::{Code, Object, View, owner};
use crate::condition::{find, holds};

/// Why nothing of a revision may run.
pub(super) struct Refused {
    pub(super) reason: &'static str,
    pub(super) message: String,
}

/// A revision that may run.
pub(super) struct Target<'a> {
    pub(super) view: View<'a>,
    pub(super) resolved: Resolved,
    pub(super) known: Option<Known>,
    pub(super) revision: String,
}

impl<'a> Target<'a> {
    /// What the spec of `view.object` says.
    pub(super) fn new(view: View<'a>) -> Result<Self, Refused> {
        let refused = |reason, message| Refused { reason, message };
        if let Some(message) = view.object.invalid() {
            return Err(refused("Invalid", message));
        }
        let resolved = Resolved::new(&view)
            .map_err(|conflict| refused("PlacementRefused", conflict.to_string()))?;
        let known = known(&view, &resolved);
        if let Some(message) = denied(&view, known.as_ref()) {
            return Err(refused("RefusedByCeiling", message));
        }
        Ok(Self {
            revision: view.object.revision(),
            view,
            resolved,
            known,
        })
    }

    /// Whether an instance is of this revision, and under today's ceilings.
    pub(super) fn has(&self, instance: &Instance) -> bool {
        self.ordinal(instance).is_some()
    }

    /// Which of its instances it is.
    pub(super) fn ordinal(&self, instance: &Instance) -> Option<u32> {
        self.resolved.ordinal(self.view.object, instance)
    }

    /// What its instances are pinned to, once it is known.
    pub(super) fn pinned(&self) -> Option<Pinned> {
        self.known.as_ref().map(|known| known.pinned(&self.view))
    }

    /// New instances, with the lowest numbers that are free.
    pub(super) fn make(&self, count: u32, weight: Option<u32>) -> Vec<Instance> {
        let mut taken: Vec<u32> = self
            .view
            .instances
            .iter()
            .filter_map(|instance| self.ordinal(instance))
            .collect();
        taken.sort_unstable();
        (0..)
            .filter(|ordinal| taken.binary_search(ordinal).is_err())
            .take(count as usize)
            .map(|ordinal| self.instance(ordinal, weight))
            .collect()
    }

    /// The generation that its instances are made from. Those that are made later, as by scaling, are no newer
    /// than the others: hosts tell revisions apart by it.
    fn generation(&self) -> i64 {
        let all = self.view.instances.iter();
        let known = all.filter(|i| self.has(i)).map(|i| i.spec.generation);
        known.min().unwrap_or_else(|| self.view.object.generation())
    }

    fn instance(&self, ordinal: u32, weight: Option<u32>) -> Instance {
        let (object, revision) = (self.view.object, &self.resolved.revision);
        let spec = InstanceSpec {
            host_name: None,
            workload: revision.workload.clone(),
            generation: self.generation(),
            placement: revision.placement.clone(),
            requests: revision.requests,
            max_limits: revision.max_limits.clone(),
            pinned: self.pinned(),
            weight,
        };
        let labels = [
            (KIND_LABEL, object.kind().as_str().to_owned()),
            (
                NAME_LABEL,
                object.metadata().name.clone().unwrap_or_default(),
            ),
            (REVISION_LABEL, self.revision.clone()),
        ];
        Instance {
            metadata: ObjectMeta {
                name: Some(self.resolved.instance_name(object, ordinal)),
                namespace: object.metadata().namespace.clone(),
                labels: Some(labels.map(|(key, value)| (key.to_owned(), value)).into()),
                owner_references: Some(vec![owner(object)]),
                ..ObjectMeta::default()
            },
            spec,
            status: None,
        }
    }
}

/// Why a tool that only passes calls on may not: what it calls is all it is.
fn denied(view: &View<'_>, known: Option<&Known>) -> Option<String> {
    if !matches!(view.object.code(), Code::Elsewhere) {
        return None;
    }
    ringfence_api::not_allowed(&known?.effective(view).refused)
}

impl Resolved {
    fn instance_name(&self, object: &Object, ordinal: u32) -> String {
        let name = object.metadata().name.as_deref().unwrap_or_default();
        format!("{}-{name}-{}-{ordinal}", object.kind().as_str(), self.hash)
    }

    /// Which instance of this revision it is, by its name.
    pub(super) fn ordinal(&self, object: &Object, instance: &Instance) -> Option<u32> {
        let name = instance.metadata.name.as_deref()?;
        let ordinal = name.rsplit_once('-')?.1.parse().ok()?;
        (self.instance_name(object, ordinal) == name).then_some(ordinal)
    }
}

/// Whether it is not being deleted already.
pub(super) fn is_living(instance: &Instance) -> bool {
    instance.metadata.deletion_timestamp.is_none()
}

/// Whether it can be called where it is bound.
pub(crate) fn is_ready(instance: &Instance) -> bool {
    is_living(instance)
        && instance.spec.host_name.is_some()
        && instance.spec.pinned.is_some()
        && instance.status.as_ref().is_some_and(|status| {
            status.host_name == instance.spec.host_name
                && holds(&status.conditions, condition::READY)
        })
}

/// When it counts as available: once it has been ready for that many seconds. None for one that is not
/// ready.
pub(super) fn available_at(instance: &Instance, seconds: u32) -> Option<Timestamp> {
    if !is_ready(instance) {
        return None;
    }
    let ready = find(&instance.status.as_ref()?.conditions, condition::READY)?;
    let wait = SignedDuration::from_secs(i64::from(seconds));
    ready.last_transition_time.0.checked_add(wait).ok()
}

/// Its name.
pub(super) fn name(instance: &Instance) -> String {
    instance.name_any()
}

//! What is counted to which host.

use ringfence_api::{Instance, Name};

use super::Index;
use crate::key::{InstanceKey, WorkloadId};
use crate::scheduler::{Decision, InstanceState};

impl Index {
    /// What the scheduler has to know of an instance.
    pub fn to_place(&self, key: &InstanceKey) -> Option<InstanceState> {
        let instance = self.instances.get(key)?;
        Some(state(WorkloadId::of(instance)?, instance))
    }

    /// A host for an instance that is to be made, counted to it at once; [`Self::put_back`] when it was not made.
    /// None where there is no room, or somebody waits for it already: who comes first is the binder's to say.
    pub fn reserve(&mut self, key: &InstanceKey, instance: &Instance) -> Option<Name> {
        if !self.unplaced.is_empty() || self.has_displaced() {
            return None;
        }
        let state = state(WorkloadId::of(instance)?, instance);
        let Decision::Bind(host) = self.cluster.place(key, &state) else {
            return None;
        };
        self.cluster.bind(key.clone(), &host, state);
        Some(host)
    }

    /// Counts an instance to where it is known to be, after a write failed that would have changed that.
    pub fn put_back(&mut self, key: &InstanceKey) {
        self.cluster.unbind(key);
        let Some(known) = self.instances.get(key).cloned() else {
            return;
        };
        match (&known.spec.host_name, self.to_place(key)) {
            (Some(host), Some(state)) => self.cluster.bind(key.clone(), host, state),
            _ => drop(self.unplaced.insert(key.clone())),
        }
    }
}

pub(super) fn state(workload: WorkloadId, instance: &Instance) -> InstanceState {
    let created = instance.metadata.creation_timestamp.as_ref();
    InstanceState {
        workload,
        placement: instance.spec.placement.clone(),
        requests: instance.spec.requests,
        digest: instance
            .spec
            .pinned
            .as_ref()
            .and_then(|pinned| pinned.digest),
        created_ms: created.map_or(0, |time| time.0.as_millisecond()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ringfence_api::Host;
    use serde_json::json;

    use super::*;
    use crate::index::Change;
    use crate::liveness::Life;

    fn host(name: &str, instances: u32) -> Change {
        let host: Host = serde_json::from_value(json!({
            "apiVersion": ringfence_api::API_VERSION, "kind": "Host",
            "metadata": {"name": name, "resourceVersion": "1"}, "spec": {"pool": "default"},
            "status": {
                "allocatable": {"memoryBytes": 1000, "cpuMillis": 1000, "instances": instances},
                "conditions": [{
                    "type": "Ready", "status": "True", "reason": "Ready", "message": "",
                    "lastTransitionTime": "2026-01-01T00:00:00Z",
                }],
            },
        }))
        .unwrap();
        Change::Host(Arc::new(host))
    }

    fn instance(name: &str, host: Option<&str>) -> Instance {
        let mut instance: Instance = serde_json::from_value(json!({
            "apiVersion": ringfence_api::API_VERSION, "kind": "Instance",
            "metadata": {
                "name": name, "namespace": "default", "resourceVersion": "1",
                "labels": {"ringfence.dev/kind": "agent", "ringfence.dev/name": "a"},
            },
            "spec": {
                "workload": {"agent": {"instructions": "x", "model": {"name": "m"}}}, "generation": 1,
                "placement": {"pool": "default", "trustClass": "default", "isolation": "shared", "priority": 0},
                "requests": {"memoryBytes": 1, "cpuMillis": 1, "instances": 1},
            },
        }))
        .unwrap();
        instance.spec.host_name = host.map(|host| host.parse().unwrap());
        instance
    }

    fn reserve(index: &mut Index, name: &str) -> Option<String> {
        let instance = instance(name, None);
        let key = InstanceKey::of(&instance).unwrap();
        index.reserve(&key, &instance).map(|host| host.to_string())
    }

    #[test]
    fn what_is_to_be_made_has_its_room_at_once() {
        let mut index = Index::default();
        assert_eq!(reserve(&mut index, "a-0"), None, "there is no host");
        index.apply(host("h", 1));
        assert_eq!(reserve(&mut index, "a-0").as_deref(), Some("h"));
        assert_eq!(reserve(&mut index, "a-1"), None, "the room is taken");
        // It was not made after all.
        index.put_back(&InstanceKey::of(&instance("a-0", None)).unwrap());
        assert_eq!(reserve(&mut index, "a-1").as_deref(), Some("h"));
    }

    #[test]
    fn nobody_comes_before_those_who_wait() {
        let mut index = Index::default();
        index.apply(host("h", 10));
        index.apply(Change::Instance(Arc::new(instance("waits", None))));
        assert_eq!(reserve(&mut index, "a-0"), None);
        let placed = instance("waits", Some("h"));
        let key = InstanceKey::of(&placed).unwrap();
        index.apply(Change::InstanceGone(key));
        index.apply(Change::Instance(Arc::new(placed)));
        index.apply(host("i", 10));
        assert!(reserve(&mut index, "a-0").is_some());
        // Where it is now is lost: it waits for another place.
        index.apply(Change::Life("h".parse().unwrap(), Life::Silent));
        assert_eq!(reserve(&mut index, "a-1"), None);
    }

    #[test]
    fn what_is_put_back_is_where_it_is_known_to_be() {
        let mut index = Index::default();
        index.apply(host("h", 10));
        index.apply(host("i", 10));
        let placed = instance("a-0", Some("i"));
        let key = InstanceKey::of(&placed).unwrap();
        index.apply(Change::Instance(Arc::new(placed.clone())));
        let wrong: Name = "h".parse().unwrap();
        let state = index.to_place(&key).unwrap();
        index.cluster.bind(key.clone(), &wrong, state);
        index.put_back(&key);
        assert_eq!(index.cluster.host_of(&key).map(Name::as_str), Some("i"));
    }
}

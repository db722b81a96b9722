//! Preemption: which instances of lower priority have to go, so that one of higher has room.

use ringfence_api::{Name, Resources};

use super::filter::{admits, room};
use super::{Cluster, HostState, InstanceState};
use crate::key::InstanceKey;

/// The host where making room costs least, and what has to go there. As in Kubernetes: the lowest
/// highest priority of what goes, then the fewest.
pub(super) fn choose(
    cluster: &Cluster,
    instance: &InstanceState,
) -> Option<(Name, Vec<InstanceKey>)> {
    cluster
        .hosts
        .iter()
        .filter_map(|(name, host)| {
            let victims = victims(cluster, host, instance)?;
            let highest = victims.iter().map(|(priority, _)| *priority).max()?;
            let mut keys: Vec<InstanceKey> = victims.into_iter().map(|(_, key)| key).collect();
            keys.sort();
            Some(((highest, keys.len(), name), keys))
        })
        .min_by(|(a, _), (b, _)| a.cmp(b))
        .map(|((_, _, name), keys)| (name.clone(), keys))
}

/// The fewest instances of lower priority whose going makes room on a host; none where it would not.
fn victims(
    cluster: &Cluster,
    host: &HostState,
    instance: &InstanceState,
) -> Option<Vec<(i32, InstanceKey)>> {
    admits(host, instance).ok()?;
    let missing = room(host.used, host.availability.allocatable, instance.requests).err()?;
    if !missing.is_room() {
        return None;
    }
    let mut lower: Vec<(&InstanceState, &InstanceKey)> = host
        .instances()
        .filter_map(|key| Some((&cluster.bound.get(key)?.1, key)))
        .filter(|(other, _)| other.placement.priority < instance.placement.priority)
        .collect();
    // What goes first: the lowest priority, then the youngest.
    lower.sort_by_key(|(other, key)| {
        (
            other.placement.priority,
            std::cmp::Reverse(other.created_ms),
            *key,
        )
    });
    let enough =
        |used: Resources| room(used, host.availability.allocatable, instance.requests).is_ok();
    let mut used = host.used;
    let mut going = Vec::new();
    for candidate in lower {
        if enough(used) {
            break;
        }
        used = without(used, candidate.0.requests);
        going.push(candidate);
    }
    if !enough(used) {
        return None;
    }
    // Room that a later one made may spare an earlier one: the most important are spared first.
    let mut kept = Vec::new();
    for candidate in going.into_iter().rev() {
        let with = with(used, candidate.0.requests);
        if enough(with) {
            used = with;
        } else {
            kept.push((candidate.0.placement.priority, candidate.1.clone()));
        }
    }
    Some(kept)
}

fn without(used: Resources, gone: Resources) -> Resources {
    Resources {
        memory_bytes: used.memory_bytes - gone.memory_bytes,
        cpu_millis: used.cpu_millis - gone.cpu_millis,
        instances: used.instances - 1,
    }
}

fn with(used: Resources, back: Resources) -> Resources {
    Resources {
        memory_bytes: used.memory_bytes + back.memory_bytes,
        cpu_millis: used.cpu_millis + back.cpu_millis,
        instances: used.instances + 1,
    }
}

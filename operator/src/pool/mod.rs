//! Pools whose hosts the operator runs: what there has to be of Kubernetes' own objects. Pure.
//!
//! ```text
//! HostPool ─┐
//! Settings ─┼─ plan ─→ objects to apply and to delete; how far they are
//! Live ─────┘
//! ```

mod desired;
mod pod;
mod same;
mod state;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use kube::core::{ApiResource, DynamicObject};
use ringfence_api::{HostPool, POOL_LABEL};
use serde_json::Value;

pub use state::deployed;

/// The port at which a host serves clients and Prometheus.
pub const HTTP_PORT: u16 = 7070;
/// The port at which a host serves other hosts.
pub const PEER_PORT: u16 = 7071;
/// How long a host serves on before it is asked to leave: nodes learn only after a moment that a Service does
/// not lead to it any more.
pub const LAME_SECONDS: u32 = 5;
/// How long a host has to leave after that: its instances move elsewhere (30 s), calls in flight end (30 s), and
/// it says goodbye.
pub const GRACE_SECONDS: u32 = LAME_SECONDS + 70;
/// What an object was applied from, so that what an earlier operator applied otherwise is seen.
const HASH_ANNOTATION: &str = "ringfence.dev/applied";

/// What the operator has to know to run hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostSettings {
    /// The image where a pool names none.
    pub image: String,
    /// `Always`, `IfNotPresent` or `Never`.
    pub pull_policy: String,
}

/// Kinds of objects that a pool has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// Runs the hosts.
    Deployment,
    /// Leads to them.
    Service,
    /// Lets one of them be evicted at a time.
    DisruptionBudget,
    /// Says who may talk to them, and to whom they may.
    NetworkPolicy,
    /// Says how many there are.
    Autoscaler,
}

impl Part {
    /// All, in the order in which they are applied: nothing runs that is not guarded.
    pub const ALL: [Self; 5] = [
        Self::NetworkPolicy,
        Self::DisruptionBudget,
        Self::Service,
        Self::Deployment,
        Self::Autoscaler,
    ];

    /// How the API server knows it.
    pub fn resource(self) -> ApiResource {
        use k8s_openapi::api::{apps, autoscaling, core, networking, policy};
        match self {
            Self::Deployment => ApiResource::erase::<apps::v1::Deployment>(&()),
            Self::Service => ApiResource::erase::<core::v1::Service>(&()),
            Self::DisruptionBudget => ApiResource::erase::<policy::v1::PodDisruptionBudget>(&()),
            Self::NetworkPolicy => ApiResource::erase::<networking::v1::NetworkPolicy>(&()),
            Self::Autoscaler => ApiResource::erase::<autoscaling::v2::HorizontalPodAutoscaler>(&()),
        }
    }
}

/// What there is of a pool: each part by its name.
pub type Live = BTreeMap<(Part, String), DynamicObject>;

/// What has to be done.
#[derive(Debug, Default, PartialEq)]
pub struct Plan {
    /// Objects to apply.
    pub apply: Vec<(Part, Value)>,
    /// Objects to delete, with their unique ids.
    pub delete: Vec<(Part, String, Option<String>)>,
}

/// What has to be done for a pool to be as it should. Nothing where it is so already.
pub fn plan(pool: &HostPool, namespace: &str, settings: &HostSettings, live: &Live) -> Plan {
    let mut desired = desired::objects(pool, namespace, settings);
    for (part, object) in &mut desired {
        if *part == Part::Deployment {
            let name = object["metadata"]["name"].as_str().unwrap_or_default();
            let there = live.get(&(*part, name.to_owned()));
            desired::keep_replicas(pool, object, there);
        }
    }
    let stale = live.iter().filter(|((part, name), object)| {
        let wanted = |(p, o): &(Part, Value)| p == part && o["metadata"]["name"] == **name;
        object.metadata.deletion_timestamp.is_none() && !desired.iter().any(wanted)
    });
    let delete = stale
        .map(|((part, name), object)| (*part, name.clone(), object.metadata.uid.clone()))
        .collect();
    let differs = |(part, object): &(Part, Value)| {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        match live.get(&(*part, name.to_owned())) {
            // It is made anew once it is gone.
            Some(there) if there.metadata.deletion_timestamp.is_some() => false,
            Some(there) => !same::same(object, there),
            None => true,
        }
    };
    Plan {
        apply: desired.into_iter().filter(differs).collect(),
        delete,
    }
}

/// The name of all objects of a pool.
pub fn object_name(pool: &str) -> String {
    format!("ringfence-{pool}")
}

/// The pool that an object belongs to.
pub fn pool_of(object: &DynamicObject) -> Option<&str> {
    let labels = object.metadata.labels.as_ref()?;
    labels.get(POOL_LABEL).map(String::as_str)
}

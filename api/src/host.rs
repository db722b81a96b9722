//! The `Host` kind: a process that runs instances, as a node runs Pods.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube_derive::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Capability, Digest, Name};

/// Label of the Leases of hosts, by which the operator finds them.
pub const HOST_LEASE_LABEL: &str = "ringfence.dev/host";

/// A process that runs instances. It makes this object itself, in the namespace of the operator, and
/// renews a Lease of the same name; its Pod owns both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, CustomResource)]
#[kube(
    group = "ringfence.dev",
    version = "v1alpha1",
    kind = "Host",
    namespaced,
    status = "HostStatus",
    derive = "PartialEq",
    category = "ringfence",
    selectable = ".spec.pool",
    doc = "A process that runs instances.",
    crates(kube_core = "::kube_core"),
    printcolumn(name = "Pool", type_ = "string", json_path = ".spec.pool"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(
        name = "Unschedulable",
        type_ = "boolean",
        json_path = ".spec.unschedulable"
    ),
    printcolumn(
        name = "Zone",
        type_ = "string",
        json_path = ".spec.zone",
        priority = 1
    ),
    printcolumn(
        name = "Address",
        type_ = "string",
        json_path = ".status.address",
        priority = 1
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HostSpec {
    /// The pool that it belongs to.
    pub pool: Name,
    /// The zone that it runs in, from the label `topology.kubernetes.io/zone` of its node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub zone: Option<String>,
    /// Cordoned: it keeps its instances and gets no further ones.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unschedulable: bool,
    /// Draining: its instances move elsewhere.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub draining: bool,
}

/// What a host, or the operator on its behalf, says about it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HostStatus {
    /// `Ready` and `MemoryPressure`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// Where clients reach it, `IP:PORT`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The journal in which it notes the runs that it begins. Another one, another host: what was bound to
    /// the one before is not executed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub journal: Option<String>,
    /// Where other hosts send calls to, `IP:PORT`; none where it takes none of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer_address: Option<String>,
    /// What instances may use of it.
    #[serde(default)]
    pub allocatable: Resources,
    /// Digests of components that it has prepared, the newest first; not more than 1,000.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1_000))]
    pub artifacts: Vec<Digest>,
    /// The version of Ringfence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// What a host has, or what an instance takes of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Resources {
    /// Bytes of memory.
    #[serde(default)]
    pub memory_bytes: u64,
    /// Thousandths of a processor.
    #[serde(default)]
    pub cpu_millis: u64,
    /// Instances.
    #[serde(default)]
    pub instances: u32,
}

/// What a host found out about a component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ArtifactStatus {
    /// Its digest.
    pub digest: Digest,
    /// Capabilities that it asks for.
    #[serde(default)]
    pub asked: BTreeSet<Capability>,
}

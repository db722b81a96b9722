//! The `HostPool` kind: a set of hosts.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube_derive::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{HostsSpec, Isolation, Name};

/// Characters of the name of a pool whose hosts the operator runs: Kubernetes cuts the names of Pods that it makes for
/// a Deployment, and by these it is known of which pool a host is.
pub(crate) const POOL_NAME: usize = 36;

/// A set of hosts, and whose instances they take.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema, CustomResource)]
#[kube(
    group = "ringfence.dev",
    version = "v1alpha1",
    kind = "HostPool",
    status = "HostPoolStatus",
    derive = "PartialEq",
    shortname = "hp",
    category = "ringfence",
    doc = "A set of hosts, and whose instances they take.",
    crates(kube_core = "::kube_core"),
    printcolumn(name = "Hosts", type_ = "integer", json_path = ".status.hosts"),
    printcolumn(name = "Ready", type_ = "integer", json_path = ".status.readyHosts"),
    printcolumn(
        name = "Deployed",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Deployed\")].reason"
    ),
    printcolumn(name = "Isolation", type_ = "string", json_path = ".spec.isolation"),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HostPoolSpec {
    /// Trust classes of tenants whose instances it takes; `default` only where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub trust_classes: Option<Vec<Name>>,
    /// Dedicated: each host of the pool runs instances of one tenant only, whatever the tenant's
    /// ceilings ask for.
    #[serde(default)]
    pub isolation: Isolation,
    /// How the operator runs the hosts of the pool, as Pods in its own namespace. Where absent it runs none:
    /// somebody else starts `ringfence host --pool NAME`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hosts: Option<HostsSpec>,
}

/// What the operator says about a pool.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HostPoolStatus {
    /// Generation that the rest is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready`: at least one host is. `Deployed`: the Pods are as `spec.hosts` has them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// Hosts that there are.
    #[serde(default)]
    pub hosts: u32,
    /// Hosts that take instances.
    #[serde(default)]
    pub ready_hosts: u32,
}

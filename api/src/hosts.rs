//! How the operator runs the hosts of a pool.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Toleration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The label of everything that belongs to a pool, with the pool's name.
pub const POOL_LABEL: &str = "ringfence.dev/pool";

/// The Pods of a pool, and what leads to them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [
    {"rule": "!(has(self.replicas) && has(self.autoscaling))", "message": "replicas and autoscaling contradict each other: remove one"},
    {"rule": "!has(self.env) || !self.env.exists(name, name.startsWith('POD_') || name in ['RINGFENCE_NAMESPACE', 'RINGFENCE_POOL', 'RINGFENCE_ZONE', 'RINGFENCE_DATA_DIR'])", "message": "env: the operator sets POD_* and the pool, zone, namespace and data folder of a host itself: remove them"},
]))]
pub struct HostsSpec {
    /// How many hosts there are; 2 where neither this nor `autoscaling` is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 1_000))]
    pub replicas: Option<u32>,
    /// How many hosts there are follows from how many sandboxes run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoscaling: Option<AutoscalingSpec>,
    /// The image of `ringfence`; that of the operator's `--host-image` where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,
    /// What each host gets of its node.
    #[serde(default, skip_serializing_if = "HostResources::is_default")]
    pub resources: HostResources,
    /// Sandboxes that may exist at the same time in each host; 256 where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 4_096))]
    pub sandboxes: Option<u32>,
    /// Labels of the nodes that hosts run on.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub node_selector: BTreeMap<String, String>,
    /// Taints of nodes that do not keep hosts away.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub tolerations: Vec<Toleration>,
    /// Whether hosts may share zones and nodes where others have none.
    #[serde(default)]
    pub spread: Spread,
    /// Name of a Secret in the operator's namespace whose entry `keys.yaml` has API keys, as `ringfence key new
    /// --file` writes them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub api_keys_secret: Option<String>,
    /// Registries that are reached over plain HTTP and may have private addresses, `HOST:PORT`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        inner(length(min = 1, max = 255), pattern("^[A-Za-z0-9][A-Za-z0-9.:-]*$"))
    )]
    pub insecure_registries: Vec<String>,
    /// Registries that are reached over TLS and may have private addresses, `HOST:PORT`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        inner(length(min = 1, max = 255), pattern("^[A-Za-z0-9][A-Za-z0-9.:-]*$"))
    )]
    pub private_registries: Vec<String>,
    /// Name of a ConfigMap in the operator's namespace whose entry `ca.crt` has certificates of authorities that
    /// hosts trust beside the usual ones: those of registries, models and MCP servers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub authorities_config_map: Option<String>,
    /// Environment of the host, for example `RINGFENCE_LOG` or `OTEL_EXPORTER_OTLP_ENDPOINT`. No guest sees it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub env: BTreeMap<String, String>,
    /// Annotations of the Pods, for example what a service mesh or a scraper asks for.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub pod_annotations: BTreeMap<String, String>,
}

/// Hosts come and go with the sandboxes that run in them. What serves the hosts' metrics to Kubernetes
/// (`custom.metrics.k8s.io`) has to be there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [
    {"rule": "self.minReplicas <= self.maxReplicas", "message": "minReplicas is more than maxReplicas"},
]))]
pub struct AutoscalingSpec {
    /// Never fewer hosts.
    #[schemars(range(min = 1, max = 1_000))]
    pub min_replicas: u32,
    /// Never more hosts.
    #[schemars(range(min = 1, max = 1_000))]
    pub max_replicas: u32,
    /// Of a hundred sandboxes that fit, how many should run; with more there are further hosts.
    #[serde(default = "sandboxes_percent")]
    #[schemars(range(min = 1, max = 95))]
    pub sandboxes_percent: u32,
}

fn sandboxes_percent() -> u32 {
    70
}

/// What a host gets of its node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct HostResources {
    /// Bytes of memory, which are both asked for and the limit; 2 GiB where absent. Three quarters of it
    /// are for instances.
    #[schemars(range(min = 268_435_456_u64, max = 1_099_511_627_776_u64))]
    pub memory_bytes: u64,
    /// Thousandths of a processor that are asked for; 1,000 where absent. A host takes more where its node
    /// has some left.
    #[schemars(range(min = 10, max = 1_000_000))]
    pub cpu_millis: u64,
    /// Bytes of disk for components, compiled code and records; 8 GiB where absent. A host that takes more
    /// is evicted.
    #[schemars(range(min = 268_435_456_u64, max = 17_592_186_044_416_u64))]
    pub disk_bytes: u64,
}

impl Default for HostResources {
    fn default() -> Self {
        Self {
            memory_bytes: 2 << 30,
            cpu_millis: 1_000,
            disk_bytes: 8 << 30,
        }
    }
}

impl HostResources {
    /// True when nothing else is asked for.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// How hosts are spread over zones and nodes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Spread {
    /// Evenly where possible.
    #[default]
    Preferred,
    /// Evenly, or not at all: a host that would make it uneven waits.
    Required,
}

//! The objects of a pool.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use kube::core::DynamicObject;
use ringfence_api::{API_VERSION, AutoscalingSpec, HostPool, HostsSpec, POOL_LABEL};
use serde_json::{Value, json};

use super::{HASH_ANNOTATION, HTTP_PORT, HostSettings, PEER_PORT, Part, object_name, pod};

/// Hosts of a pool that says nothing of how many.
const REPLICAS: u32 = 2;
/// Sandboxes of a host that says nothing of how many, as `ringfence host` has it.
const SANDBOXES: u32 = 256;
/// How long a new host has to become ready. The first start compiles what is built in.
const PROGRESS_SECONDS: u32 = 300;

/// Everything that there has to be. Nothing for a pool whose hosts somebody else runs.
pub(super) fn objects(
    pool: &HostPool,
    namespace: &str,
    settings: &HostSettings,
) -> Vec<(Part, Value)> {
    let Some(hosts) = &pool.spec.hosts else {
        return Vec::new();
    };
    let maker = Maker {
        pool,
        hosts,
        namespace,
    };
    let parts = Part::ALL.into_iter().filter_map(|part| {
        let spec = match part {
            Part::NetworkPolicy => network_policy(&maker.selector()),
            Part::DisruptionBudget => {
                json!({"maxUnavailable": 1, "selector": {"matchLabels": maker.selector()}})
            }
            Part::Service => json!({
                "type": "ClusterIP",
                "selector": maker.selector(),
                "ports": [{"name": "http", "port": HTTP_PORT, "protocol": "TCP", "targetPort": "http"}],
            }),
            Part::Deployment => maker.deployment(settings),
            Part::Autoscaler => maker.autoscaler(hosts.autoscaling.as_ref()?),
        };
        Some((part, maker.object(part, spec)))
    });
    parts.collect()
}

/// Leaves the number of hosts to the autoscaler, where there is one: the Deployment is applied with as many as it has,
/// or the fewest that there may be. A field that is not applied any more is not left alone, it is taken away; a pool
/// that becomes autoscaled would first shrink to one host.
pub(super) fn keep_replicas(pool: &HostPool, deployment: &mut Value, live: Option<&DynamicObject>) {
    let scaling = pool
        .spec
        .hosts
        .as_ref()
        .and_then(|hosts| hosts.autoscaling.as_ref());
    let Some(scaling) = scaling else { return };
    let there = live.and_then(|live| live.data["spec"]["replicas"].as_u64());
    let replicas = there.unwrap_or_default();
    // Contradictory bounds are refused at admission.
    let replicas = replicas
        .min(scaling.max_replicas.into())
        .max(scaling.min_replicas.into());
    deployment["spec"]["replicas"] = replicas.into();
}

struct Maker<'a> {
    pool: &'a HostPool,
    hosts: &'a HostsSpec,
    namespace: &'a str,
}

impl Maker<'_> {
    fn pool_name(&self) -> &str {
        self.pool.metadata.name.as_deref().unwrap_or_default()
    }

    fn selector(&self) -> Value {
        json!({
            "app.kubernetes.io/name": "ringfence",
            "app.kubernetes.io/component": "host",
            POOL_LABEL: self.pool_name(),
        })
    }

    fn labels(&self) -> Value {
        let mut labels = self.selector();
        labels["app.kubernetes.io/part-of"] = "ringfence".into();
        labels["app.kubernetes.io/managed-by"] = "ringfence-operator".into();
        labels
    }

    fn object(&self, part: Part, spec: Value) -> Value {
        let resource = part.resource();
        let mut object = json!({
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "metadata": {
                "name": object_name(self.pool_name()),
                "namespace": self.namespace,
                "labels": self.labels(),
                "ownerReferences": [{
                    "apiVersion": API_VERSION,
                    "kind": "HostPool",
                    "name": self.pool_name(),
                    "uid": self.pool.metadata.uid.as_deref().unwrap_or_default(),
                    "controller": true,
                    "blockOwnerDeletion": true,
                }],
            },
            "spec": spec,
        });
        // Another version of Rust may hash otherwise; then everything is applied once more, to no effect.
        let mut hasher = DefaultHasher::new();
        object.to_string().hash(&mut hasher);
        let hash = format!("{:016x}", hasher.finish());
        object["metadata"]["annotations"] = json!({HASH_ANNOTATION: hash});
        object
    }

    fn deployment(&self, settings: &HostSettings) -> Value {
        let mut annotations = json!(self.hosts.pod_annotations);
        annotations["kubectl.kubernetes.io/default-container"] = "host".into();
        let mut spec = json!({
            "selector": {"matchLabels": self.selector()},
            "progressDeadlineSeconds": PROGRESS_SECONDS,
            // A host leaves when another is ready to take over.
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "template": {
                "metadata": {"labels": self.labels(), "annotations": annotations},
                "spec": pod::spec(self.pool_name(), self.hosts, self.namespace, settings, &self.selector()),
            },
        });
        if self.hosts.autoscaling.is_none() {
            spec["replicas"] = self.hosts.replicas.unwrap_or(REPLICAS).into();
        }
        spec
    }

    fn autoscaler(&self, scaling: &AutoscalingSpec) -> Value {
        let sandboxes = self.hosts.sandboxes.unwrap_or(SANDBOXES);
        let target = (sandboxes * scaling.sandboxes_percent).div_ceil(100);
        json!({
            "scaleTargetRef": {
                "apiVersion": "apps/v1", "kind": "Deployment", "name": object_name(self.pool_name()),
            },
            "minReplicas": scaling.min_replicas,
            "maxReplicas": scaling.max_replicas,
            "metrics": [{
                "type": "Pods",
                "pods": {
                    "metric": {"name": "ringfence_pool_used"},
                    "target": {"type": "AverageValue", "averageValue": pod::quantity(target.into())},
                },
            }],
        })
    }
}

/// Clients may come from anywhere, hosts from this namespace. Hosts call models, tools and registries, wherever
/// these are; but nothing of theirs is at a link-local address, where clouds hand out credentials.
fn network_policy(selector: &Value) -> Value {
    let hosts = json!({
        "app.kubernetes.io/name": "ringfence",
        "app.kubernetes.io/component": "host",
    });
    json!({
        "podSelector": {"matchLabels": selector},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [
            {"ports": [{"port": HTTP_PORT, "protocol": "TCP"}]},
            {
                "from": [{"podSelector": {"matchLabels": hosts}}],
                "ports": [{"port": PEER_PORT, "protocol": "TCP"}],
            },
        ],
        "egress": [{"to": [
            {"namespaceSelector": {}},
            {"ipBlock": {"cidr": "0.0.0.0/0", "except": ["169.254.0.0/16"]}},
            {"ipBlock": {"cidr": "::/0", "except": ["fe80::/10"]}},
        ]}],
    })
}

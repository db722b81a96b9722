//! The Pod of a host, under the restricted Pod security standard.

use ringfence_api::{HostsSpec, Spread};
use serde_json::{Value, json};

use super::{GRACE_SECONDS, HTTP_PORT, HostSettings, LAME_SECONDS, PEER_PORT};
use crate::host_account::HOST_ACCOUNT;

/// Where a host keeps what it keeps.
const DATA: &str = "/data";
/// Of four bytes of memory, how many are for instances. The others are the host's own: connections, records,
/// compiling.
const QUARTERS_FOR_INSTANCES: u64 = 3;
/// Where API keys are mounted.
const KEYS: &str = "/etc/ringfence/keys";
/// Where certificates of authorities are mounted.
const AUTHORITIES: &str = "/etc/ringfence/authorities";
const ZONE_LABEL: &str = "topology.kubernetes.io/zone";
const NODE_LABEL: &str = "kubernetes.io/hostname";

pub(super) fn spec(
    pool: &str,
    hosts: &HostsSpec,
    namespace: &str,
    settings: &HostSettings,
    selector: &Value,
) -> Value {
    let unsatisfiable = match hosts.spread {
        Spread::Preferred => "ScheduleAnyway",
        Spread::Required => "DoNotSchedule",
    };
    let spread = [ZONE_LABEL, NODE_LABEL].map(|key| {
        json!({
            "maxSkew": 1,
            "topologyKey": key,
            "whenUnsatisfiable": unsatisfiable,
            "labelSelector": {"matchLabels": selector},
            // The hosts of one version among themselves, so that a rollout does not count those that leave.
            "matchLabelKeys": ["pod-template-hash"],
        })
    });
    let resources = &hosts.resources;
    let mut mounts = vec![json!({"name": "data", "mountPath": DATA})];
    let size = quantity(resources.disk_bytes);
    let mut volumes = vec![json!({"name": "data", "emptyDir": {"sizeLimit": size}})];
    if let Some(secret) = &hosts.api_keys_secret {
        mounts.push(json!({"name": "keys", "mountPath": KEYS, "readOnly": true}));
        // Which of its entries, so that nothing else of it is there to be read.
        let items = json!([{"key": "keys.yaml", "path": "keys.yaml"}]);
        volumes.push(json!({"name": "keys", "secret": {"secretName": secret, "items": items}}));
    }
    if let Some(map) = &hosts.authorities_config_map {
        mounts.push(json!({"name": "authorities", "mountPath": AUTHORITIES, "readOnly": true}));
        let items = json!([{"key": "ca.crt", "path": "ca.crt"}]);
        volumes.push(json!({"name": "authorities", "configMap": {"name": map, "items": items}}));
    }
    json!({
        "serviceAccountName": HOST_ACCOUNT,
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "securityContext": {
            "runAsNonRoot": true,
            "runAsUser": 65532,
            "runAsGroup": 65532,
            "fsGroup": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        // Not one environment variable for each Service that happens to be there.
        "enableServiceLinks": false,
        "nodeSelector": hosts.node_selector,
        "tolerations": hosts.tolerations,
        "topologySpreadConstraints": spread,
        "containers": [{
            "name": "host",
            "image": hosts.image.as_deref().unwrap_or(&settings.image),
            "imagePullPolicy": settings.pull_policy,
            "command": ["/usr/bin/ringfence"],
            "args": arguments(pool, hosts, namespace),
            "env": environment(hosts),
            "ports": [
                {"name": "http", "containerPort": HTTP_PORT, "protocol": "TCP"},
                {"name": "peers", "containerPort": PEER_PORT, "protocol": "TCP"},
            ],
            // Done by the kubelet: there is no shell in the image.
            "lifecycle": {"preStop": {"sleep": {"seconds": LAME_SECONDS}}},
            // The first start compiles what is built in.
            "startupProbe": probe("/healthz", 1, 240),
            "livenessProbe": probe("/healthz", 10, 3),
            "readinessProbe": probe("/readyz", 2, 2),
            "resources": {
                "requests": {
                    "memory": quantity(resources.memory_bytes),
                    "cpu": cpu(resources.cpu_millis),
                    "ephemeral-storage": quantity(resources.disk_bytes),
                },
                "limits": {"memory": quantity(resources.memory_bytes)},
            },
            "securityContext": {
                "allowPrivilegeEscalation": false,
                "readOnlyRootFilesystem": true,
                "capabilities": {"drop": ["ALL"]},
            },
            "volumeMounts": mounts,
        }],
        "volumes": volumes,
    })
}

fn arguments(pool: &str, hosts: &HostsSpec, namespace: &str) -> Vec<String> {
    let resources = &hosts.resources;
    let mut arguments = vec![
        "host".to_owned(),
        "--name=$(POD_NAME)".to_owned(),
        "--pod-uid=$(POD_UID)".to_owned(),
        "--zone=$(POD_ZONE)".to_owned(),
        format!("--pool={pool}"),
        format!("--system-namespace={namespace}"),
        format!("--listen=0.0.0.0:{HTTP_PORT}"),
        format!("--peer-listen=0.0.0.0:{PEER_PORT}"),
        format!("--data-dir={DATA}"),
        format!(
            "--memory-bytes={}",
            resources.memory_bytes / 4 * QUARTERS_FOR_INSTANCES
        ),
        format!("--cpu-millis={}", resources.cpu_millis),
        "--log=json".to_owned(),
        "--authenticate=kubernetes".to_owned(),
    ];
    arguments.extend(hosts.sandboxes.map(|count| format!("--sandboxes={count}")));
    let keys = hosts.api_keys_secret.iter();
    arguments.extend(keys.map(|_| format!("--api-keys={KEYS}/keys.yaml")));
    let insecure = hosts.insecure_registries.iter();
    arguments.extend(insecure.map(|registry| format!("--insecure-registry={registry}")));
    let private = hosts.private_registries.iter();
    arguments.extend(private.map(|registry| format!("--private-registry={registry}")));
    let authorities = hosts.authorities_config_map.iter();
    arguments.extend(authorities.map(|_| format!("--ca-file={AUTHORITIES}/ca.crt")));
    arguments
}

fn environment(hosts: &HostsSpec) -> Vec<Value> {
    let from = |name: &str, path: &str| {
        json!({
            "name": name,
            "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}},
        })
    };
    let mut all = vec![
        from("POD_NAME", "metadata.name"),
        from("POD_UID", "metadata.uid"),
        from("POD_IP", "status.podIP"),
        // The API server copies the label from the node when it binds the Pod, from 1.35 on.
        from("POD_ZONE", &format!("metadata.labels['{ZONE_LABEL}']")),
    ];
    let given = hosts.env.iter();
    all.extend(given.map(|(name, value)| json!({"name": name, "value": value})));
    all
}

fn probe(path: &str, period: u32, failures: u32) -> Value {
    json!({
        "httpGet": {"path": path, "port": "http", "scheme": "HTTP"},
        "periodSeconds": period,
        "failureThreshold": failures,
        "timeoutSeconds": 2,
    })
}

fn cpu(millis: u64) -> String {
    match millis % 1_000 {
        0 => quantity(millis / 1_000),
        _ => format!("{millis}m"),
    }
}

/// A quantity as the API server writes it, so that what is read equals what was applied.
pub(super) fn quantity(mut number: u64) -> String {
    let mut suffixes = ["", "k", "M", "G", "T", "P", "E"].into_iter();
    let mut suffix = suffixes.next().unwrap_or_default();
    while number != 0 && number.is_multiple_of(1_000) {
        let Some(next) = suffixes.next() else { break };
        (number, suffix) = (number / 1_000, next);
    }
    format!("{number}{suffix}")
}

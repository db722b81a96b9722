//! Components from a registry of one's own: at a private address, behind an authority that nobody else knows, and with
//! a login.

use std::process::Command;

use ringfence_test_cluster::{Access, Registry, chart};
use ringfence_test_guests as guests;
use serde_json::json;

use crate::fixture::{Installed, SYSTEM, programs};
use crate::load::Client;

const AUTHORITIES: &str = "authorities";

const CALLERS: &str = "
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: run-parrot}
rules:
  - {apiGroups: [ringfence.dev], resources: [agents], resourceNames: [parrot], verbs: [run]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: run-parrot}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: run-parrot}
subjects: [{kind: ServiceAccount, name: default, namespace: default}]
";

/// Changes how the hosts of the default pool are run.
async fn hosts(installed: &Installed, change: serde_json::Value) {
    let patch = json!({"spec": {"hosts": change}}).to_string();
    let patch = ["patch", "hostpool/default", "--type=merge", "-p", &patch];
    installed.kubectl(&patch).await;
}

/// Waits until the agent says something.
async fn says(installed: &Installed, part: &str) {
    let message = "jsonpath={.status.conditions[?(@.type=='Ready')].message}";
    let get = ["get", "agent/parrot", "-o", message];
    installed
        .eventually(part, async || installed.kubectl(&get).await.contains(part))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root, containerd and two minutes: make test-cluster"]
async fn hosts_use_the_registries_and_authorities_that_their_pool_names() {
    let installed = Installed::start().await;
    let cluster = installed.cluster();
    let access = Access {
        tls: true,
        login: true,
        address: Some(cluster.address()),
    };
    let registry = Registry::start(access).await.unwrap();
    let (image, authority) = (registry.image("team/parrot:1"), registry.authority());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("parrot.wasm");
    std::fs::write(&file, guests::AGENT_ECHO).unwrap();
    let pushed = Command::new(programs().join("ringfence"))
        .args(["--cluster", "push", "--to", &image, "--ca-file"])
        .args([authority.unwrap(), &file])
        .args(["--registry-user", Registry::USER])
        .env("RINGFENCE_REGISTRY_PASSWORD", Registry::PASSWORD)
        .env("KUBECONFIG", cluster.kubeconfig())
        .output()
        .unwrap();
    assert!(pushed.status.success(), "{pushed:?}");

    installed.kubectl(&["create", "namespace", SYSTEM]).await;
    let from = format!("--from-file=ca.crt={}", authority.unwrap().display());
    let create = ["create", "configmap", AUTHORITIES, "-n", SYSTEM, &from];
    installed.kubectl(&create).await;
    let server = format!("--docker-server={}", registry.name());
    let user = format!("--docker-username={}", Registry::USER);
    let password = format!("--docker-password={}", Registry::PASSWORD);
    let create = ["create", "secret", "docker-registry", "pull"];
    installed
        .kubectl(&[&create[..], &[&server, &user, &password]].concat())
        .await;
    installed.helm(&["install"], &chart(), "now").await;
    let agent = json!({
        "apiVersion": "ringfence.dev/v1alpha1", "kind": "Agent", "metadata": {"name": "parrot"},
        "spec": {"component": {"image": image, "imagePullSecrets": [{"name": "pull"}]}},
    });
    cluster.apply(&agent.to_string()).await.unwrap();

    // Each setting by itself: an address that is private is not dialled, a stranger's certificate not believed.
    says(&installed, "--private-registry").await;
    hosts(&installed, json!({"privateRegistries": [registry.name()]})).await;
    says(&installed, "is not trusted here").await;
    hosts(&installed, json!({"authoritiesConfigMap": AUTHORITIES})).await;
    installed
        .wait("--for=condition=Ready", "agent/parrot", "default")
        .await;

    cluster.apply(CALLERS).await.unwrap();
    let token = installed.token("default", "default").await;
    let client = Client::new(&installed.url().await, "default", &token);
    installed
        .eventually("the agent answers", async || {
            client.ask("parrot", "hello").await.as_deref() == Ok("hello")
        })
        .await;
}

//! Secrets of tenants: who can read which, tried with the accounts of operator and hosts.

use std::path::Path;

use serde_json::Value;

use crate::endpoint::Endpoint;
use crate::fixture::{Cluster, SYSTEM, eventually};

const TENANT: &str = "team-a";
const FIRST: &str = "first-of-the-keys";
const SECOND: &str = "second-of-the-keys";

fn secret(name: &str, key: &str, value: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}}}\nstringData: {{{key}: {value}}}\n"
    )
}

fn model(url: &str) -> String {
    format!(
        "apiVersion: ringfence.dev/v1alpha1
kind: Model
metadata: {{name: paid}}
spec:
  provider:
    openAi:
      model: m
      baseUrl: {url}
      addresses: private
      apiKey: {{secret: {{name: provider, key: token}}}}
"
    )
}

/// Nobody answers at its address: its Secret decides whether it is ready.
const TOOL: &str = "
apiVersion: ringfence.dev/v1alpha1
kind: Tool
metadata: {name: outside}
spec:
  description: Is outside.
  mcp:
    url: http://127.0.0.1:9/mcp
    addresses: private
    headers: [{name: authorization, valueFrom: {secret: {name: outside, key: header}}}]
";

/// What an account gets when it asks for something.
async fn tries(cluster: &Cluster, who: &Path, arguments: &[&str]) -> Result<String, String> {
    with_input(cluster, who, arguments, "").await
}

async fn with_input(
    cluster: &Cluster,
    who: &Path,
    arguments: &[&str],
    input: &str,
) -> Result<String, String> {
    let plane = &cluster.control_plane;
    let done = plane.kubectl_as(who, arguments, input).await;
    done.map_err(|error| error.to_string())
}

async fn reads(cluster: &Cluster, who: &Path, namespace: &str, name: &str) -> bool {
    let get = ["get", "secret", name, "-n", namespace, "-o", "yaml"];
    match tries(cluster, who, &get).await {
        Ok(_) => true,
        Err(why) if why.contains("orbidden") => false,
        // Whoever is told that there is none could have read it.
        Err(why) if why.contains("not found") => true,
        Err(why) => panic!("{why}"),
    }
}

async fn reason(cluster: &Cluster, what: &str) -> String {
    let json = cluster
        .kubectl(&["get", what, "-n", TENANT, "-o", "json"])
        .await;
    let object: Value = serde_json::from_str(&json).unwrap();
    let conditions = object["status"]["conditions"].as_array();
    let mut all = conditions.into_iter().flatten();
    let ready = all.find(|condition| condition["type"] == "Ready");
    ready
        .and_then(|ready| {
            Some(format!(
                "{} {}",
                ready["reason"].as_str()?,
                ready["message"]
            ))
        })
        .unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_read_the_secrets_that_are_referred_to_and_nobody_reads_others() {
    let cluster = Cluster::start().await;
    let endpoint = Endpoint::start().await;
    let plane = &cluster.control_plane;
    cluster
        .namespace(TENANT, &secret("provider", "token", FIRST))
        .await;
    cluster
        .apply(TENANT, &secret("unrelated", "token", "x"))
        .await;
    cluster
        .namespace("team-b", &secret("provider", "token", "x"))
        .await;
    let account = async |name: &str| {
        let kubeconfig = plane.kubeconfig_for_service_account(SYSTEM, name);
        kubeconfig.await.unwrap()
    };
    let of_operator = account("ringfence-operator").await;
    let of_host = account("ringfence-host").await;
    let host = cluster.host("host", &[]).await;
    assert!(!reads(&cluster, &of_host, TENANT, "provider").await);

    // The host gets what an accepted model refers to, and sends it.
    cluster.apply(TENANT, &model(&endpoint.url)).await;
    cluster.ready(TENANT, "model/paid").await;
    let asked = async || (host.ask("", TENANT, "model/paid").await.0 == 200).then_some(());
    eventually("the model answers", asked).await;
    assert_eq!(endpoint.last(), format!("Bearer {FIRST}"));

    // What is changed counts without a restart.
    cluster
        .apply(TENANT, &secret("provider", "token", SECOND))
        .await;
    let rotated = async || {
        assert_eq!(host.ask("", TENANT, "model/paid").await.0, 200);
        (endpoint.last() == format!("Bearer {SECOND}")).then_some(())
    };
    eventually("the new key is sent", rotated).await;

    // A tool waits for its Secret, and says so; and says so when it loses it.
    cluster.apply(TENANT, TOOL).await;
    let says = async |what: &str| {
        let said = async || {
            reason(&cluster, "tool/outside")
                .await
                .contains(what)
                .then_some(())
        };
        eventually(what, said).await;
    };
    says("create the Secret").await;
    let path = r#"jsonpath={.items[*].status.conditions[?(@.type=="Ready")].reason}"#;
    let reasons = ["get", "instances", "-n", TENANT, "-o", path];
    assert_eq!(cluster.kubectl(&reasons).await, "SecretMissing");
    cluster
        .apply(TENANT, &secret("outside", "other", "x"))
        .await;
    says("the Secret has no such key").await;
    cluster
        .apply(TENANT, &secret("outside", "header", "x"))
        .await;
    cluster.ready(TENANT, "tool/outside").await;
    cluster
        .kubectl(&["delete", "secret/outside", "-n", TENANT])
        .await;
    says("create the Secret").await;
    cluster
        .apply(TENANT, &secret("outside", "header", "x"))
        .await;
    cluster.ready(TENANT, "tool/outside").await;

    // Who can read what.
    assert!(reads(&cluster, &of_host, TENANT, "provider").await);
    assert!(reads(&cluster, &of_host, TENANT, "outside").await);
    for (namespace, name) in [
        (TENANT, "unrelated"),
        ("team-b", "provider"),
        (SYSTEM, "any"),
    ] {
        assert!(
            !reads(&cluster, &of_host, namespace, name).await,
            "{namespace}/{name}"
        );
    }
    for (namespace, name) in [(TENANT, "provider"), (TENANT, "unrelated"), (SYSTEM, "any")] {
        assert!(
            !reads(&cluster, &of_operator, namespace, name).await,
            "{namespace}/{name}"
        );
    }
    for who in [&of_host, &of_operator] {
        for list in [
            &["get", "secrets", "-n", TENANT][..],
            &["get", "secrets", "-A"],
        ] {
            let why = tries(&cluster, who, list).await.unwrap_err();
            assert!(why.contains("orbidden"), "{why}");
        }
    }
    the_operator_grants_nothing_else(&cluster, &of_operator).await;

    // No object of ours holds a key.
    let all = cluster
        .kubectl(&["get", "ringfence,roles,events", "-A", "-o", "yaml"])
        .await;
    assert!(!all.contains(FIRST) && !all.contains(SECOND));

    // What nothing refers to any more, nobody reads any more.
    cluster
        .kubectl(&["delete", "model/paid", "-n", TENANT])
        .await;
    let gone = async || (!reads(&cluster, &of_host, TENANT, "provider").await).then_some(());
    eventually("the model's Secret is closed again", gone).await;
    assert!(reads(&cluster, &of_host, TENANT, "outside").await);
    cluster
        .kubectl(&["delete", "tool/outside", "-n", TENANT])
        .await;
    let get = ["get", "roles,rolebindings", "-n", TENANT, "-o", "name"];
    let gone = async || cluster.kubectl(&get).await.trim().is_empty().then_some(());
    eventually("neither Role nor RoleBinding is left", gone).await;
}

/// Tries, with the operator's own account, to get at more than it may.
async fn the_operator_grants_nothing_else(cluster: &Cluster, who: &Path) {
    let role = |name: &str, labels: &str, rule: &str| {
        format!(
            "apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {{name: {name}, labels: {{{labels}}}}}
rules: [{rule}]
"
        )
    };
    let binding = |name: &str, kind: &str, of: &str, account: &str, namespace: &str| {
        format!(
            "apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: {name}, labels: {{ringfence.dev/secrets: 'true'}}}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: {kind}, name: {of}}}
subjects: [{{kind: ServiceAccount, name: {account}, namespace: {namespace}}}]
"
        )
    };
    let own = "ringfence-secrets";
    let label = "ringfence.dev/secrets: 'true'";
    let allowed =
        "{apiGroups: [''], resources: [secrets], resourceNames: [a], verbs: [get, watch]}";
    let mut attempts = vec![
        role("other", label, allowed),
        role(own, "other: 'true'", allowed),
        role(own, label, &format!("{allowed}, {{apiGroups: [''], resources: [pods], verbs: [get]}}")),
        binding(own, "ClusterRole", "cluster-admin", "ringfence-host", SYSTEM),
        binding(own, "Role", "other", "ringfence-host", SYSTEM),
        binding("other", "Role", own, "ringfence-host", SYSTEM),
        binding(own, "Role", own, "ringfence-operator", SYSTEM),
        binding(own, "Role", own, "ringfence-host", "team-b"),
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: ringfence-secrets}\nrules: []\n".to_owned(),
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: {name: ringfence-secrets}\n\
         roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view}\nsubjects: []\n".to_owned(),
    ];
    for rule in [
        "{apiGroups: [''], resources: [secrets], resourceNames: [a], verbs: [get, list]}",
        "{apiGroups: [''], resources: [secrets], resourceNames: [a], verbs: ['*']}",
        "{apiGroups: [''], resources: [secrets], verbs: [get]}",
        "{apiGroups: [''], resources: [secrets], resourceNames: [], verbs: [get]}",
        "{apiGroups: [''], resources: [secrets, configmaps], resourceNames: [a], verbs: [get]}",
        "{apiGroups: ['', apps], resources: [secrets], resourceNames: [a], verbs: [get]}",
        "{apiGroups: ['*'], resources: [secrets], resourceNames: [a], verbs: [get]}",
        "{apiGroups: [''], resources: ['*'], resourceNames: [a], verbs: [get]}",
    ] {
        attempts.push(role(own, label, rule));
    }
    // In a namespace of its own, where the operator itself has made nothing.
    cluster
        .namespace("victim", &role("other", label, allowed))
        .await;
    let apply = [
        "apply",
        "--server-side",
        "--force-conflicts",
        "-n",
        "victim",
        "-f",
        "-",
    ];
    for attempt in attempts {
        let Err(why) = with_input(cluster, who, &apply, &attempt).await else {
            panic!("the API server took this:\n{attempt}");
        };
        assert!(
            why.contains("orbidden") || why.contains("denied"),
            "{attempt}\n{why}"
        );
    }
    // The one thing that it may is what it does.
    let good = role(own, label, allowed);
    with_input(cluster, who, &apply, &good).await.unwrap();
    let good = binding(own, "Role", own, "ringfence-host", SYSTEM);
    with_input(cluster, who, &apply, &good).await.unwrap();
    // Nobody refers to that Secret: the operator that runs takes it back.
    let left = ["get", "roles,rolebindings", "-n", "victim", "-o", "name"];
    let taken = async || (!cluster.kubectl(&left).await.contains(own)).then_some(());
    eventually("what nothing refers to is taken back", taken).await;
}

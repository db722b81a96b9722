//! Images behind a login, on hosts that several tenants share.

use std::path::Path;
use std::process::Command;

use ringfence_test_cluster::{Access, Registry};
use ringfence_test_guests as guests;
use serde_json::{Value, json};

use crate::fixture::{BINARY, Cluster, Host, SYSTEM, eventually};

const OURS: &str = "team-a";
const THEIRS: &str = "team-b";
/// The Secret's name, in both.
const SECRET: &str = "pull";

/// A registry with a login, and in it an agent that answers what it was asked.
async fn private(cluster: &Cluster) -> (Registry, String) {
    let access = Access {
        login: true,
        ..Access::default()
    };
    let registry = Registry::start(access).await.unwrap();
    let image = registry.image("team/parrot:1");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("parrot.wasm");
    std::fs::write(&file, guests::AGENT_ECHO).unwrap();
    let pushed = Command::new(BINARY)
        .args(["--cluster", "push", "--to", &image])
        .args(["--registry-user", Registry::USER])
        .env("RINGFENCE_REGISTRY_PASSWORD", Registry::PASSWORD)
        .env("KUBECONFIG", cluster.control_plane.kubeconfig())
        .arg(file)
        .output()
        .unwrap();
    assert!(pushed.status.success(), "{pushed:?}");
    (registry, image)
}

async fn host(cluster: &Cluster, name: &str, registry: &Registry) -> Host {
    let options = ["--insecure-registry", registry.name()];
    cluster.talkative_host(name, &options).await
}

fn agent(name: &str, image: &str, secrets: &[&str], replicas: u32) -> String {
    let secrets: Vec<Value> = secrets.iter().map(|name| json!({"name": name})).collect();
    let mut component = json!({"image": image});
    if !secrets.is_empty() {
        component["imagePullSecrets"] = secrets.into();
    }
    json!({
        "apiVersion": "ringfence.dev/v1alpha1", "kind": "Agent", "metadata": {"name": name},
        "spec": {"component": component, "replicas": replicas},
    })
    .to_string()
}

/// A Secret as `kubectl create secret docker-registry` makes it.
fn secret(name: &str, registry: &str, password: &str) -> String {
    let entry = json!({"username": Registry::USER, "password": password});
    let config = json!({"auths": {registry: entry}}).to_string();
    typed(name, "kubernetes.io/dockerconfigjson", &config)
}

fn typed(name: &str, type_: &str, config: &str) -> String {
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "type": type_,
        "stringData": {".dockerconfigjson": config},
    })
    .to_string()
}

/// Waits until an agent and its instance say why they are not ready.
async fn says(cluster: &Cluster, tenant: &str, agent: &str, reason: &str, parts: &[&str]) {
    let get = ["get", "agents,instances", "-n", tenant, "-o", "json"];
    let said = async || {
        let all: Value = serde_json::from_str(&cluster.kubectl(&get).await).unwrap();
        let said = all["items"].as_array().unwrap().iter().filter(|object| {
            let name = object["metadata"]["name"].as_str().unwrap();
            let label = &object["metadata"]["labels"]["ringfence.dev/name"];
            let of_it = name == agent || label == agent;
            let conditions = object["status"]["conditions"].as_array();
            let mut all = conditions.into_iter().flatten();
            let ready = all.find(|condition| condition["type"] == "Ready");
            let message = ready.and_then(|ready| ready["message"].as_str());
            let message = message.unwrap_or_default();
            of_it
                && ready.is_some_and(|ready| ready["status"] == "False")
                && ready.is_some_and(|ready| ready["reason"] == reason)
                && parts.iter().all(|part| message.contains(part))
        });
        (said.count() == 2).then_some(())
    };
    eventually(&format!("{tenant}/{agent}: {reason} {parts:?}"), said).await;
}

async fn answers(host: &Host, tenant: &str, agent: &str) {
    let answered = async || {
        let (status, text) = host.ask("", tenant, agent).await;
        (status == 200 && text.contains("hello")).then_some(())
    };
    eventually(&format!("{tenant}/{agent} answers"), answered).await;
}

async fn refuses(host: &Host, tenant: &str, agent: &str) {
    let (status, text) = host.ask("", tenant, agent).await;
    assert!(status != 200, "{tenant}/{agent}: {text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_private_image_takes_the_right_secret_and_says_what_is_wrong_until_then() {
    let cluster = Cluster::start().await;
    let (registry, image) = private(&cluster).await;
    let first = host(&cluster, "first", &registry).await;
    cluster
        .namespace(OURS, &agent("parrot", &image, &[SECRET], 1))
        .await;
    let field = "spec.component.imagePullSecrets[0]";
    let says = async |reason: &str, parts: &[&str]| {
        says(&cluster, OURS, "parrot", reason, parts).await;
        refuses(&first, OURS, "parrot").await;
    };
    let named = format!("secret:{OURS}/{SECRET}/.dockerconfigjson");
    let missing = [field, &named, "create the Secret"];
    says("SecretMissing", &missing).await;

    let config = json!({"auths": {registry.name(): {"auth": Registry::AUTH}}}).to_string();
    cluster.apply(OURS, &typed(SECRET, "Opaque", &config)).await;
    says(
        "SecretNotUsable",
        &[field, "kubernetes.io/dockerconfigjson"],
    )
    .await;
    cluster
        .kubectl(&["delete", "secret", SECRET, "-n", OURS])
        .await;

    let unlike = [registry.name(), "none of the Secrets has one"];
    cluster
        .apply(
            OURS,
            &secret(SECRET, "other.example.com", Registry::PASSWORD),
        )
        .await;
    says("ArtifactUnauthorized", &unlike).await;
    let host_alone = registry.name().split(':').next().unwrap();
    let elsewhere = format!("{}/other", registry.name());
    for place in [host_alone, &elsewhere] {
        cluster
            .apply(OURS, &secret(SECRET, place, Registry::PASSWORD))
            .await;
        says("ArtifactUnauthorized", &unlike).await;
    }

    cluster
        .apply(OURS, &secret(SECRET, registry.name(), "guessed"))
        .await;
    let wrong = [&image, SECRET, "correct user and password"];
    says("ArtifactUnauthorized", &wrong).await;
    cluster
        .apply(OURS, &secret(SECRET, registry.name(), Registry::PASSWORD))
        .await;
    cluster.ready(OURS, "agent/parrot").await;
    answers(&first, OURS, "parrot").await;

    // Another host gets the pinned component with the same Secret.
    let second = host(&cluster, "second", &registry).await;
    cluster
        .apply(OURS, &agent("parrot", &image, &[SECRET], 2))
        .await;
    let two = "--for=jsonpath={.status.readyReplicas}=2";
    let wait = ["wait", two, "agent/parrot", "-n", OURS, "--timeout=60s"];
    cluster.kubectl(&wait).await;
    answers(&second, OURS, "parrot").await;

    // What runs does not need it any more.
    cluster
        .kubectl(&["delete", "secret", SECRET, "-n", OURS])
        .await;
    let late = agent("late", &image, &[SECRET], 1);
    cluster.apply(OURS, &late).await;
    self::says(&cluster, OURS, "late", "SecretMissing", &missing).await;
    for host in [&first, &second] {
        answers(host, OURS, "parrot").await;
    }
    cluster.ready(OURS, "agent/parrot").await;
    shown_nowhere(&cluster, &[&first, &second]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_on_a_host_is_for_those_who_may_read_it() {
    let cluster = Cluster::start().await;
    let plane = &cluster.control_plane;
    let (registry, image) = private(&cluster).await;
    let host = host(&cluster, "host", &registry).await;
    let login = secret(SECRET, registry.name(), Registry::PASSWORD);
    cluster.namespace(OURS, &login).await;
    cluster
        .apply(OURS, &secret("unrelated", registry.name(), "x"))
        .await;
    cluster
        .apply(OURS, &agent("parrot", &image, &[SECRET], 1))
        .await;
    cluster.ready(OURS, "agent/parrot").await;
    answers(&host, OURS, "parrot").await;
    let digest = "jsonpath={.status.digest}";
    let get = ["get", "agent/parrot", "-n", OURS, "-o", digest];
    let digest = cluster.kubectl(&get).await;

    // It is on the host, and neither by its name nor by its digest somebody else's; also not with what the other
    // tenant calls its Secret.
    cluster.kubectl(&["create", "namespace", THEIRS]).await;
    let without = ["without a login", "imagePullSecrets"];
    cluster
        .apply(THEIRS, &agent("parrot", &image, &[], 1))
        .await;
    says(&cluster, THEIRS, "parrot", "ArtifactUnauthorized", &without).await;
    cluster
        .apply(THEIRS, &agent("named", &image, &[SECRET], 1))
        .await;
    says(&cluster, THEIRS, "named", "SecretMissing", &["team-b/pull"]).await;
    let by_digest = json!({
        "apiVersion": "ringfence.dev/v1alpha1", "kind": "Agent", "metadata": {"name": "digest"},
        "spec": {"component": {"digest": digest}},
    });
    cluster.apply(THEIRS, &by_digest.to_string()).await;
    says(&cluster, THEIRS, "digest", "ArtifactMissing", &[&digest]).await;
    // Within the tenant, too, each agent shows what it may: another host would refuse it.
    cluster.apply(OURS, &agent("bare", &image, &[], 1)).await;
    says(&cluster, OURS, "bare", "ArtifactUnauthorized", &without).await;
    for (tenant, agent) in [
        (THEIRS, "parrot"),
        (THEIRS, "named"),
        (THEIRS, "digest"),
        (OURS, "bare"),
    ] {
        refuses(&host, tenant, agent).await;
    }

    // With a login of its own it gets it.
    cluster.apply(THEIRS, &login).await;
    cluster.ready(THEIRS, "agent/named").await;
    answers(&host, THEIRS, "named").await;
    refuses(&host, THEIRS, "parrot").await;

    // Hosts may read the Secrets that agents name, and nobody else may.
    let account = async |name: &str| {
        let kubeconfig = plane.kubeconfig_for_service_account(SYSTEM, name);
        kubeconfig.await.unwrap()
    };
    let reads = async |who: &Path, name: &str| {
        let get = ["get", "secret", name, "-n", OURS];
        plane.kubectl_as(who, &get, "").await.is_ok()
    };
    let (of_host, of_operator) = (
        account("ringfence-host").await,
        account("ringfence-operator").await,
    );
    assert!(reads(&of_host, SECRET).await);
    assert!(!reads(&of_host, "unrelated").await);
    assert!(!reads(&of_operator, SECRET).await);
    cluster
        .kubectl(&["delete", "agents", "--all", "-n", OURS])
        .await;
    let closed = async || (!reads(&of_host, SECRET).await).then_some(());
    eventually("nothing refers to the Secret any more", closed).await;
    shown_nowhere(&cluster, &[&host]).await;
}

/// Looks for the password in everything that anybody could see but the Secret itself.
async fn shown_nowhere(cluster: &Cluster, hosts: &[&Host]) {
    let kinds = "ringfence,roles,rolebindings,events,controllerrevisions,configmaps,leases";
    let objects = cluster.kubectl(&["get", kinds, "-A", "-o", "yaml"]).await;
    assert!(objects.contains(SECRET), "the name of the Secret is there");
    let mut all = vec![("objects".to_owned(), objects.into_bytes())];
    for host in hosts {
        let (_, metrics) = host.get("", "/metrics").await;
        all.push(("metrics".to_owned(), metrics.into_bytes()));
        let log = host.log();
        assert!(log.contains("ringfence_host"), "it is the host's log");
        all.push(("log".to_owned(), log.into_bytes()));
        files(host.data(), &mut all);
    }
    for (place, bytes) in all {
        for credential in [Registry::PASSWORD, Registry::AUTH] {
            let found = bytes
                .windows(credential.len())
                .any(|part| part == credential.as_bytes());
            assert!(!found, "{place} holds the password");
        }
    }
}

fn files(folder: &Path, all: &mut Vec<(String, Vec<u8>)>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, all);
        } else if let Ok(bytes) = std::fs::read(&path) {
            all.push((path.display().to_string(), bytes));
        }
    }
}

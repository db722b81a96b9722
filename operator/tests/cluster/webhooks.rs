//! Admission webhooks of others: one that is away, one that refuses, one that changes what is written.

use std::time::Duration;

use ringfence_operator::certificates;
use ringfence_operator::queue::FIRST_RETRY;
use ringfence_operator::run::Settings;
use ringfence_test_cluster::{ControlPlane, Opinion, Webhook};
use serde_json::{Value, json};

use crate::fixture::{
    PATIENCE, Running, SYSTEM, condition, eventually, get, host_settings, own_cluster,
};
use crate::hosts::PlayedHost;
use crate::kills::{self, settled};
use crate::scenario;

/// As whom the operator works here, so that only its requests are asked about.
const OPERATOR: &str = "operator";
const OF_OPERATOR: &str = "request.userInfo.username == 'operator'";
/// What the documentation says is to be left out.
const LEFT_OUT: &str =
    r#"!(request.resource.resource == "leases" && request.namespace == "ringfence-system")"#;
const DOCUMENTATION: &str = include_str!("../../../docs/operations.md");
/// How long a webhook is away.
const OUTAGE: Duration = Duration::from_secs(20);

/// A run that finds nobody to do it.
const RUN: &str = "
apiVersion: ringfence.dev/v1alpha1
kind: Run
metadata: {name: waits}
spec: {agent: {name: writer, input: hello}}
";

fn operator(cluster: &ControlPlane) -> Running {
    let kubeconfig = cluster.kubeconfig_for(OPERATOR, Some("system:masters"));
    let settings = Settings {
        namespace: SYSTEM.to_owned(),
        identity: "operator".to_owned(),
        hosts: Some(host_settings()),
        certificates: certificates::Settings::default(),
        custom_metrics: None,
    };
    Running::start_as(kubeconfig.unwrap(), settings)
}

fn rule(groups: &[&str], operations: &[&str]) -> Value {
    json!({
        "apiGroups": groups, "apiVersions": ["*"], "operations": operations, "resources": ["*/*"],
        "scope": "*",
    })
}

fn agent(name: &str) -> String {
    format!(
        "apiVersion: ringfence.dev/v1alpha1
kind: Agent
metadata: {{name: {name}, namespace: default}}
spec: {{instructions: Answer briefly., model: {{name: small}}}}
---
"
    )
}

/// Writes of a kind that failed so far.
fn failed(operator: &Running, verb: &str) -> u64 {
    let name = format!("ringfence_operator_writes_total{{verb=\"{verb}\",ok=\"0\"}} ");
    let metrics = operator.metrics.render();
    let mut lines = metrics.lines();
    let count = lines.find_map(|line| line.strip_prefix(&name));
    count.map_or(0, |count| count.parse().unwrap())
}

/// What there is, without where it is.
fn placeless(mut state: Value) -> Value {
    for object in state.as_array_mut().unwrap() {
        for part in ["spec", "status"] {
            if let Some(part) = object[part].as_object_mut() {
                part.remove("hostName");
            }
        }
    }
    state
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_that_is_away_is_not_stormed() {
    let cluster = own_cluster().await;
    let hosts = ["h-first", "h-second", "h-third"];
    let mut played = Vec::new();
    for name in hosts {
        played.push(PlayedHost::start(cluster, name, "default", 1_000).await);
    }
    let operator = operator(cluster);
    operator.leads().await;
    kills::apply(cluster, "clean").await;
    let clean = placeless(settled(cluster, "clean").await);

    // The Leases are left out, as the documentation says: the operator leads on, and finds work that it cannot do.
    let mut webhook = Webhook::away().unwrap();
    assert!(DOCUMENTATION.contains(LEFT_OUT));
    let condition = format!("{OF_OPERATOR} && {LEFT_OUT}");
    let rules = [("all", rule(&["*"], &["*"]))];
    webhook
        .install(cluster, "Validating", "fence", &rules, &condition)
        .await
        .unwrap();
    kills::apply(cluster, "held").await;
    let all = get(cluster, "instances", "clean").await.unwrap();
    let all = all["items"].as_array().unwrap();
    let lost = all[0]["spec"]["hostName"].clone();
    let moving = all.iter().filter(|i| i["spec"]["hostName"] == lost);
    let moving = moving.count() as u64;
    let lost = played.iter().find(|host| lost == *host.name).unwrap();
    lost.freeze();
    scenario::apply(cluster, "clean", RUN).await;
    let verbs = ["Create", "Patch", "Status"];
    let before = verbs.map(|verb| failed(&operator, verb));
    tokio::time::sleep(OUTAGE).await;
    let mut counts = verbs.map(|verb| failed(&operator, verb));
    counts
        .iter_mut()
        .zip(before)
        .for_each(|(now, before)| *now -= before);
    println!("failed within {OUTAGE:?}: {verbs:?} {counts:?}");
    let [creates, patches, statuses] = counts;
    // Each is to be tried, and none more often than waits that double from 200 ms allow.
    let most = 1 + (OUTAGE.as_millis() / FIRST_RETRY.as_millis()).ilog2();
    let most = u64::from(most);
    let things = |count: u64, of: u64| (of..=of * most).contains(&count);
    assert!(things(creates, 2), "an agent and a tool: {creates}");
    assert!(
        things(patches, moving),
        "{moving} instances to move: {patches}"
    );
    // The model, the agent and the tool of `held`; the agent and the tool that move; the host, the pool and the run.
    assert!(things(statuses, 8), "{statuses}");
    assert!(operator.is_leading());

    webhook.answer(|_| Opinion::Allow).unwrap();
    lost.thaw();
    for namespace in ["held", "clean"] {
        let now = placeless(settled(cluster, namespace).await);
        assert_eq!(now, clean, "{namespace}");
    }
    operator.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_webhook_refuses_is_said_with_its_words() {
    let cluster = own_cluster().await;
    let _host = PlayedHost::start(cluster, "h", "default", 1_000).await;
    let operator = operator(cluster);
    operator.leads().await;
    let mut webhook = Webhook::away().unwrap();
    let rules = [("instances", rule(&["ringfence.dev"], &["CREATE"]))];
    webhook.answer(refuse_a).unwrap();
    webhook
        .install(cluster, "Validating", "policy", &rules, OF_OPERATOR)
        .await
        .unwrap();
    cluster.apply(&(agent("a") + &agent("b"))).await.unwrap();
    let said = eventually("the agent tells of it", async || {
        let agent = get(cluster, "agent/a", "default").await?;
        (condition(&agent, "Ready")["reason"] == "WriteRefused").then_some(agent)
    })
    .await;
    let ready = condition(&said, "Ready");
    let message = ready["message"].as_str().unwrap();
    println!("{message}");
    assert!(
        message.starts_with("0 of 1 instances are ready: failed to create instance default/"),
        "{message}"
    );
    assert!(
        message.ends_with(
            "admission webhook \"instances.policy.example.com\" denied the request: \
             agents need an owner: ask the platform team"
        ),
        "{message}"
    );
    assert_eq!(condition(&said, "Progressing")["status"], "False");
    assert_eq!(said["status"]["replicas"], 0);
    let wait = ["wait", "--for=condition=Ready", "agent/b", "--timeout=60s"];
    cluster.kubectl(&wait).await.unwrap();

    // It is tried again, but not told again.
    let tries = failed(&operator, "Create");
    eventually("it is tried again", async || {
        (failed(&operator, "Create") >= tries + 2).then_some(())
    })
    .await;
    let now = get(cluster, "agent/a", "default").await.unwrap();
    assert_eq!(
        now["metadata"]["resourceVersion"],
        said["metadata"]["resourceVersion"]
    );

    webhook.answer(|_| Opinion::Allow).unwrap();
    let timeout = format!("--timeout={}s", PATIENCE.as_secs() * 2);
    let wait = ["wait", "--for=condition=Ready", "agent/a", &timeout];
    cluster.kubectl(&wait).await.unwrap();
    let now = get(cluster, "agent/a", "default").await.unwrap();
    assert_eq!(
        condition(&now, "Progressing")["reason"],
        "NewRevisionAvailable"
    );
    operator.stop();
}

fn refuse_a(request: &Value) -> Opinion {
    match request["object"]["metadata"]["labels"]["ringfence.dev/name"] == "a" {
        true => Opinion::Deny("agents need an owner: ask the platform team".to_owned()),
        false => Opinion::Allow,
    }
}

/// Marks every object, as those do that note who is responsible; and takes images from another registry.
fn mark(request: &Value) -> Opinion {
    let object = &request["object"];
    let mut patch = Vec::new();
    for field in ["labels", "annotations"] {
        if object["metadata"][field].is_null() {
            patch.push(json!({"op": "add", "path": format!("/metadata/{field}"), "value": {}}));
        }
        let path = format!("/metadata/{field}/example.com~1owner");
        patch.push(json!({"op": "add", "path": path, "value": "platform"}));
    }
    let image = "/spec/template/spec/containers/0/image";
    if object.pointer(image).is_some() {
        patch.push(json!({"op": "replace", "path": image, "value": "mirror.local/ringfence:1"}));
    }
    Opinion::Change(patch.into())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_webhook_adds_is_left_alone() {
    const MODEL: &str = "
apiVersion: ringfence.dev/v1alpha1
kind: Model
metadata: {name: small, namespace: default}
spec: {provider: {openAi: {model: small, apiKey: {secret: {name: first, key: token}}}}}
---
apiVersion: ringfence.dev/v1alpha1
kind: HostPool
metadata: {name: red}
spec: {hosts: {replicas: 2}}
---
";
    let cluster = own_cluster().await;
    let operator = operator(cluster);
    operator.leads().await;
    let mut webhook = Webhook::away().unwrap();
    webhook.answer(mark).unwrap();
    let rules = [("all", rule(&["*"], &["CREATE", "UPDATE"]))];
    webhook
        .install(cluster, "Mutating", "owners", &rules, OF_OPERATOR)
        .await
        .unwrap();
    let _host = PlayedHost::start(cluster, "h", "default", 1_000).await;
    cluster
        .apply(&(MODEL.to_owned() + &agent("a")))
        .await
        .unwrap();
    let wait = ["wait", "--for=condition=Ready", "agent/a", "--timeout=60s"];
    cluster.kubectl(&wait).await.unwrap();
    let marked = "roles,rolebindings,instances,deployments,services,networkpolicies";
    eventually("everything is there and marked", async || {
        let (all, own) = (
            get(cluster, marked, SYSTEM).await?,
            get(cluster, marked, "default").await?,
        );
        let objects = [&all, &own].map(|list| list["items"].as_array().cloned());
        let objects: Vec<Value> = objects.into_iter().flatten().flatten().collect();
        let own = |o: &&Value| {
            let text = o["metadata"].to_string();
            text.contains("ringfence-secrets") || text.contains("ringfence.dev/")
        };
        let mut own = objects.iter().filter(own);
        let is_marked = |o: &Value| o["metadata"]["labels"]["example.com/owner"] == "platform";
        let kinds: std::collections::BTreeSet<_> =
            own.clone().map(|o| o["kind"].to_string()).collect();
        (kinds.len() == 6 && own.all(is_marked)).then_some(())
    })
    .await;
    let before = operator.writes();
    // What an operator does over and over it does within that time.
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(operator.writes(), before, "{}", operator.metrics.render());
    operator.stop();
    let again = self::operator(cluster);
    again.leads().await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    // It asks for the image that it was told to use, once.
    assert!(again.writes() <= 1, "{}", again.metrics.render());
    again.stop();
}

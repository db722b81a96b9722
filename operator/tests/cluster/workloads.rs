//! From an agent or tool that is applied to one that is ready.

use serde_json::Value;

use crate::fixture::{cluster, condition, eventually, get};
use crate::hosts::PlayedHost;

fn chat(name: &str, pool: &str) -> String {
    format!(
        "apiVersion: ringfence.dev/v1alpha1
kind: Agent
metadata: {{name: {name}}}
spec:
  instructions: Answer briefly.
  model: {{name: small}}
  placement: {{pool: {pool}}}
"
    )
}

fn tool(name: &str, pool: &str, replicas: u32) -> String {
    format!(
        "apiVersion: ringfence.dev/v1alpha1
kind: Tool
metadata: {{name: {name}}}
spec:
  component: {{image: 'registry.example.com/search:1'}}
  grants:
    clocks: true
    http: [{{host: example.com}}, {{host: example.org}}]
    session: true
  replicas: {replicas}
  placement: {{pool: {pool}}}
"
    )
}

async fn apply(yaml: &str, namespace: &str) {
    let cluster = cluster().await;
    let arguments = ["apply", "-n", namespace, "-f", "-"];
    cluster
        .kubectl_as(cluster.kubeconfig(), &arguments, yaml)
        .await
        .unwrap();
}

async fn ready(what: &str, namespace: &str) -> Value {
    let cluster = cluster().await;
    eventually(&format!("{what} is ready"), async || {
        let object = get(cluster, what, namespace).await?;
        let current = object["status"]["observedGeneration"] == object["metadata"]["generation"];
        (current && condition(&object, "Ready")["status"] == "True").then_some(object)
    })
    .await
}

#[tokio::test]
async fn an_agent_becomes_ready_and_people_see_it() {
    let cluster = cluster().await;
    let namespace = cluster.temp_namespace().await.unwrap();
    let _host = PlayedHost::start(cluster, "h-chat", "chat", 100).await;
    apply(&chat("writer", "chat"), &namespace).await;
    let wait = [
        "wait",
        "--for=condition=Ready",
        "agent/writer",
        "-n",
        &namespace,
        "--timeout=60s",
    ];
    cluster.kubectl(&wait).await.unwrap();
    let agent = ready("agent/writer", &namespace).await;
    assert_eq!(
        agent["status"]["effectiveGrants"]["models"][0]["name"],
        "small"
    );
    assert_eq!(agent["status"]["readyReplicas"], 1);

    let table = cluster
        .kubectl(&["get", "agents", "-n", &namespace])
        .await
        .unwrap();
    let header: Vec<&str> = table.lines().next().unwrap().split_whitespace().collect();
    let columns = [
        "NAME",
        "READY",
        "REASON",
        "REPLICAS",
        "UPDATED",
        "AVAILABLE",
        "AGE",
    ];
    assert_eq!(header, columns);
    let everything = cluster
        .kubectl(&["get", "ringfence", "-n", &namespace, "-o", "name"])
        .await;
    let everything = everything.unwrap();
    assert!(
        everything.contains("instance.ringfence.dev/agent-writer-"),
        "{everything}"
    );
    let model = "apiVersion: ringfence.dev/v1alpha1
kind: Model
metadata: {name: small}
spec: {provider: {openAi: {model: m, baseUrl: 'http://127.0.0.1:1/v1'}}}
";
    apply(model, &namespace).await;
    let refused = eventually("the model is refused", async || {
        let model = get(cluster, "model/small", &namespace).await?;
        (condition(&model, "Ready")["reason"] == "Invalid").then_some(model)
    })
    .await;
    let message = condition(&refused, "Ready")["message"].as_str().unwrap();
    assert!(message.contains("addresses: private"), "{message}");
    let private = model.replace("openAi: {", "openAi: {addresses: private, ");
    apply(&private, &namespace).await;
    ready("model/small", &namespace).await;

    let explained = cluster
        .kubectl(&["explain", "agent.spec.grants.http.host"])
        .await
        .unwrap();
    assert!(explained.contains("Host name, exactly"), "{explained}");
}

#[tokio::test]
async fn a_component_is_resolved_by_its_host_then_pinned() {
    let cluster = cluster().await;
    let namespace = cluster.temp_namespace().await.unwrap();
    let _hosts = [
        PlayedHost::start(cluster, "h-tool-a", "tool", 100).await,
        PlayedHost::start(cluster, "h-tool-b", "tool", 100).await,
    ];
    apply(&tool("search", "tool", 2), &namespace).await;
    let tool = ready("tool/search", &namespace).await;
    assert_eq!(
        tool["status"]["asked"],
        serde_json::json!(["http", "clocks"])
    );
    assert_eq!(
        tool["status"]["effectiveGrants"]["session"],
        Value::Null,
        "not asked for"
    );
    let instances = get(cluster, "instances", &namespace).await.unwrap();
    let items = instances["items"].as_array().unwrap();
    assert_eq!(items.len(), 2);
    assert_ne!(
        items[0]["spec"]["hostName"], items[1]["spec"]["hostName"],
        "spread"
    );
    for item in items {
        assert_eq!(item["spec"]["pinned"]["digest"], tool["status"]["digest"]);
        assert_eq!(item["metadata"]["ownerReferences"][0]["name"], "search");
    }

    // `kubectl scale`, and then away with it: the garbage collector takes the instances.
    let scale = ["scale", "tool/search", "--replicas=1", "-n", &namespace];
    cluster.kubectl(&scale).await.unwrap();
    eventually("one instance is left", async || {
        let instances = get(cluster, "instances", &namespace).await?;
        (instances["items"].as_array()?.len() == 1).then_some(())
    })
    .await;
    let delete = ["delete", "tool/search", "-n", &namespace];
    cluster.kubectl(&delete).await.unwrap();
    eventually("no instance is left", async || {
        let instances = get(cluster, "instances", &namespace).await?;
        instances["items"].as_array()?.is_empty().then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_ceiling_bounds_what_is_given_and_is_named() {
    let cluster = cluster().await;
    let namespace = cluster.temp_namespace().await.unwrap();
    let _host = PlayedHost::start(cluster, "h-ceiling", "ceiling", 100).await;
    apply(&tool("search", "ceiling", 1), &namespace).await;
    let before = ready("tool/search", &namespace).await;
    assert_eq!(
        before["status"]["effectiveGrants"]["http"]
            .as_array()
            .unwrap()
            .len(),
        2
    );

    let ceiling = format!(
        "apiVersion: ringfence.dev/v1alpha1
kind: Ceiling
metadata: {{name: only-org-{namespace}}}
spec:
  tenants: {{matchLabels: {{kubernetes.io/metadata.name: {namespace}}}}}
  allow: {{http: [{{host: '*.org'}}, {{host: example.org}}]}}
"
    );
    apply(&ceiling, &namespace).await;
    let narrowed = eventually("the grants are narrowed", async || {
        let tool = get(cluster, "tool/search", &namespace).await?;
        let http = tool["status"]["effectiveGrants"]["http"].as_array()?;
        (http.len() == 1 && condition(&tool, "Ready")["status"] == "True").then_some(tool)
    })
    .await;
    let told = condition(&narrowed, "AsksGranted");
    assert_eq!(told["reason"], "RefusedByCeiling");
    let message = told["message"].as_str().unwrap();
    assert!(
        message.contains(&format!("clocks (ceiling only-org-{namespace})")),
        "{message}"
    );
    let ceiling = get(cluster, &format!("ceiling/only-org-{namespace}"), "default").await;
    assert_eq!(ceiling.unwrap()["status"]["tenants"], 1);
    let instances = get(cluster, "instances", &namespace).await.unwrap();
    let items = instances["items"].as_array().unwrap();
    assert_eq!(items.len(), 1, "the one that might do more is gone");
    assert_eq!(items[0]["spec"]["pinned"]["grants"]["clocks"], Value::Null);
}

#[tokio::test]
async fn what_fits_nowhere_says_why_until_it_fits() {
    let cluster = cluster().await;
    let namespace = cluster.temp_namespace().await.unwrap();
    apply(&chat("lonely", "nowhere"), &namespace).await;
    let stuck = eventually("it is told why", async || {
        let agent = get(cluster, "agent/lonely", &namespace).await?;
        (condition(&agent, "Ready")["reason"] == "Unschedulable").then_some(agent)
    })
    .await;
    let message = condition(&stuck, "Ready")["message"].as_str().unwrap();
    assert!(message.contains("hosts"), "{message}");
    let events = cluster
        .kubectl(&["get", "events", "-n", &namespace])
        .await
        .unwrap();
    assert!(events.contains("Unschedulable"), "{events}");
    let _host = PlayedHost::start(cluster, "h-nowhere", "nowhere", 100).await;
    ready("agent/lonely", &namespace).await;
}

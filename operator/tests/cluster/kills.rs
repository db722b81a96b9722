//! An operator that is killed after any of its writes leaves nothing behind that the next one does not put right.

use std::time::Duration;

use ringfence_test_cluster::ControlPlane;
use serde_json::{Value, json};

use crate::fixture::{Running, SYSTEM, condition, eventually, get, own_cluster};
use crate::hosts::PlayedHost;
use crate::interrupt::Cut;
use crate::scenario::Scenario;

const SCENARIO: Scenario = Scenario {
    provider: "scripted: {turns: [{text: hello}]}",
    agent: "instructions: Answer briefly., grants: {tools: [{name: search}]}",
    tool: "clocks: true, session: true, http: [{host: example.com}]",
};
/// Writes that a clean run makes at least; with fewer the test would not test much.
const WRITES: usize = 8;

pub(crate) async fn apply(cluster: &ControlPlane, namespace: &str) {
    cluster
        .kubectl(&["create", "namespace", namespace])
        .await
        .unwrap();
    SCENARIO.apply(cluster, namespace).await;
}

/// What there is, without what differs from run to run: times, versions, identifiers.
async fn state(cluster: &ControlPlane, namespace: &str) -> Option<Value> {
    let all = get(cluster, "models,agents,tools,instances", namespace).await?;
    let mut kept: Vec<Value> = all["items"].as_array()?.iter().map(essence).collect();
    kept.sort_by_key(|object| format!("{}/{}", object["kind"], object["name"]));
    Some(Value::from(kept))
}

fn essence(object: &Value) -> Value {
    let conditions = object["status"]["conditions"].as_array();
    let mut conditions: Vec<Value> = conditions
        .into_iter()
        .flatten()
        .map(|c| json!([c["type"], c["status"], c["reason"]]))
        .collect();
    conditions.sort_by_key(Value::to_string);
    let mut status = object["status"].clone();
    status["conditions"] = conditions.into();
    json!({
        "kind": object["kind"], "name": object["metadata"]["name"],
        "labels": object["metadata"]["labels"], "generation": object["metadata"]["generation"],
        "spec": object["spec"], "status": status,
    })
}

/// Whether everything is ready; and stays as it is, for there is nothing left to be written.
pub(crate) async fn settled(cluster: &ControlPlane, namespace: &str) -> Value {
    eventually(&format!("{namespace} is as it should be"), async || {
        let all = get(cluster, "models,agents,tools,instances", namespace).await?;
        let items = all["items"].as_array()?;
        let ready = |object: &Value| condition(object, "Ready")["status"] == "True";
        if items.len() < 5 || !items.iter().all(ready) {
            return None;
        }
        let first = state(cluster, namespace).await?;
        tokio::time::sleep(Duration::from_millis(200)).await;
        (state(cluster, namespace).await? == first).then_some(first)
    })
    .await
}

#[tokio::test]
async fn killed_after_any_write_another_brings_the_same() {
    let cluster = own_cluster().await;
    let _host = PlayedHost::start(cluster, "h", "default", 1_000).await;
    let operator = Running::start(cluster, "clean");
    apply(cluster, "clean").await;
    let clean = settled(cluster, "clean").await;
    operator.stop();

    let mut kills = 0;
    for count in 1_usize.. {
        let namespace = format!("killed-{count}");
        let cut = Cut::after(count);
        let victim = Running::start_behind(cluster, &format!("victim-{count}"), cut.clone());
        apply(cluster, &namespace).await;
        let died = tokio::select! {
            () = cut.dead() => true,
            _ = settled(cluster, &namespace) => false,
        };
        victim.kill();
        // Its Lease would run out by itself; this only saves the time.
        let lease = ["delete", "lease", "ringfence-operator", "-n", SYSTEM];
        cluster.kubectl(&lease).await.unwrap();
        if !died {
            break;
        }
        kills += 1;
        let successor = Running::start(cluster, &format!("successor-{count}"));
        let after = settled(cluster, &namespace).await;
        assert_eq!(after, clean, "killed after write {count}");
        successor.stop();
    }
    println!("killed after each of {kills} writes");
    assert!(kills >= WRITES, "{kills}");
}

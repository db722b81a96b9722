//! What breaks, and that afterwards everything is as if it had not.

use std::time::Instant;

use serde_json::Value;

use crate::fixture::{Running, condition, eventually, get, own_cluster};
use crate::hosts::{LEASE, PlayedHost};

const AGENT: &str = "apiVersion: ringfence.dev/v1alpha1
kind: Agent
metadata: {name: NAME, namespace: default}
spec: {instructions: Answer briefly., model: {name: small}}
---
";

fn agents(count: usize) -> String {
    (0..count)
        .map(|index| AGENT.replace("NAME", &format!("a{index}")))
        .collect()
}

async fn ready_count(cluster: &ringfence_test_cluster::ControlPlane) -> usize {
    let Some(agents) = get(cluster, "agents", "default").await else {
        return 0;
    };
    let items = agents["items"].as_array().cloned().unwrap_or_default();
    items
        .iter()
        .filter(|agent| condition(agent, "Ready")["status"] == "True")
        .count()
}

async fn all_ready(cluster: &ringfence_test_cluster::ControlPlane, count: usize) {
    eventually(&format!("{count} agents are ready"), async || {
        (ready_count(cluster).await == count).then_some(())
    })
    .await;
}

#[tokio::test]
async fn operators_and_hosts_come_and_go() {
    const COUNT: usize = 40;
    let cluster = own_cluster().await;
    let first = Running::start(cluster, "first");
    let lost = PlayedHost::start(cluster, "h-lost", "default", 100).await;
    cluster.apply(&agents(COUNT)).await.unwrap();
    all_ready(cluster, COUNT).await;
    let _second_host = PlayedHost::start(cluster, "h-stays", "default", 100).await;
    let _third_host = PlayedHost::start(cluster, "h-third", "default", 100).await;

    // Another operator does nothing while the first one leads, and takes over at once when it goes.
    let second = Running::start(cluster, "second");
    tokio::time::sleep(LEASE).await;
    assert_eq!(second.writes(), 0);
    first.stop();
    second.leads().await;
    cluster.apply(&agents(COUNT + 1)).await.unwrap();
    all_ready(cluster, COUNT + 1).await;

    // A host that hangs: what ran there runs elsewhere.
    let before = Instant::now();
    lost.freeze();
    // What an agent says is as it was for the time that a move usually takes.
    eventually("everything is ready on other hosts", async || {
        let instances = get(cluster, "instances", "default").await?;
        let there = |i: &Value| {
            let host = &i["spec"]["hostName"];
            *host != lost.name
                && i["status"]["hostName"] == *host
                && condition(i, "Ready")["status"] == "True"
        };
        instances["items"]
            .as_array()?
            .iter()
            .all(there)
            .then_some(())
    })
    .await;
    all_ready(cluster, COUNT + 1).await;
    println!(
        "rebound {COUNT} instances {:?} after the host froze",
        before.elapsed()
    );
    let said = get(cluster, "host/h-lost", crate::fixture::SYSTEM)
        .await
        .unwrap();
    assert_eq!(condition(&said, "Ready")["reason"], "LeaseExpired");

    // A restart finds everything as it should be, and writes nothing but its own Lease.
    second.stop();
    let third = Running::start(cluster, "third");
    third.leads().await;
    tokio::time::sleep(LEASE).await;
    assert_eq!(third.writes(), 0, "{}", third.metrics.render());

    // The API server goes and comes back.
    cluster.restart_api_server().await.unwrap();
    // Where that takes longer than a leader may go without its Lease, it has stepped down; its process would
    // start again.
    let fourth = Running::start(cluster, "fourth");
    cluster.apply(&agents(COUNT + 2)).await.unwrap();
    all_ready(cluster, COUNT + 2).await;
    third.kill();
    fourth.stop();
}

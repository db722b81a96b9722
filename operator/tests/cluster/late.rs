//! What a leader sent, and what arrives when another one leads already, undoes nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use http::Method;
use ringfence_test_cluster::ControlPlane;
use serde_json::Value;

use crate::fixture::{Running, SYSTEM, condition, eventually, get, own_cluster};
use crate::hosts::PlayedHost;
use crate::interrupt::Cut;
use crate::scenario::Scenario;

/// What there is when the first leader works, with a Secret, so that there are Roles to write, too.
const BEFORE: Scenario = Scenario {
    provider: "openAi: {model: small, apiKey: {secret: {name: first, key: token}}}",
    agent: "instructions: Answer briefly., grants: {tools: [{name: search}]}",
    tool: "clocks: true, http: [{host: example.com}]",
};
/// The same, less of it, as somebody wants it once the first leader is out of reach.
const AFTER: Scenario = Scenario {
    provider: "openAi: {model: small, apiKey: {secret: {name: second, key: token}}}",
    agent: "instructions: Answer at length.",
    tool: "clocks: true",
};
const KINDS: &str = "models,agents,tools,instances,controllerrevisions,roles,rolebindings";
/// Writes that a run makes at least; with fewer the test would not test much.
const WRITES: usize = 8;

/// Everything that there is, by its unique id.
async fn all(cluster: &ControlPlane, namespace: &str) -> Option<BTreeMap<String, Value>> {
    let all = get(cluster, KINDS, namespace).await?;
    let items = all["items"].as_array()?.iter();
    Some(
        items
            .map(|object| (object["metadata"]["uid"].to_string(), object.clone()))
            .collect(),
    )
}

/// Waits until the newest of everything is ready and nothing changes any more.
async fn settled(cluster: &ControlPlane, namespace: &str) -> BTreeMap<String, Value> {
    eventually(&format!("{namespace} is as it should be"), async || {
        let first = all(cluster, namespace).await?;
        let done = |object: &Value| match object["kind"].as_str() {
            Some("Model" | "Agent" | "Tool") => {
                let ready = condition(object, "Ready");
                ready["status"] == "True"
                    && object["status"]["observedGeneration"] == object["metadata"]["generation"]
            }
            Some("Instance") => condition(object, "Ready")["status"] == "True",
            _ => true,
        };
        let instances = first.values().filter(|object| object["kind"] == "Instance");
        if instances.count() != 2 || first.len() < 9 || !first.values().all(done) {
            return None;
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
        (all(cluster, namespace).await? == first).then_some(first)
    })
    .await
}

#[tokio::test]
async fn what_arrives_late_undoes_nothing() {
    let cluster = own_cluster().await;
    let _host = PlayedHost::start(cluster, "h", "default", 1_000).await;
    let mut late = 0;
    for count in 1_usize.. {
        let namespace = format!("late-{count}");
        let create = ["create", "namespace", &namespace];
        cluster.kubectl(&create).await.unwrap();
        let cut = Cut::slow_after(count);
        let first = Running::start_behind(cluster, &format!("first-{count}"), cut.clone());
        first.leads().await;
        BEFORE.apply(cluster, &namespace).await;
        let held = tokio::select! {
            () = cut.held() => true,
            _ = settled(cluster, &namespace) => false,
        };
        if !held {
            first.stop();
            break;
        }
        // It hears of what is wanted now, too, but what it makes of that stays on its way.
        AFTER.apply(cluster, &namespace).await;
        let told = first.gives_up().await;
        assert!(told.contains("could not be renewed"), "{told}");
        // Its Lease would run out by itself; this only saves the time.
        let lease = ["delete", "lease", "ringfence-operator", "-n", SYSTEM];
        cluster.kubectl(&lease).await.unwrap();
        let second = Running::start(cluster, &format!("second-{count}"));
        let before = settled(cluster, &namespace).await;

        cut.open();
        let arrived = cut.delivered().await;
        let of_tenant = format!("/namespaces/{namespace}/");
        let changes = |(method, path, _): &&(Method, String, u16)| {
            path.contains(&of_tenant) && !path.contains("/events") && method != Method::POST
        };
        late += arrived.iter().filter(changes).count();
        let after = settled(cluster, &namespace).await;
        // What was made late is seen and removed; but what is written down of a revision that was complete once
        // may stay.
        let more = after.iter().filter(|(uid, _)| !before.contains_key(*uid));
        for (_, object) in more {
            let kind = &object["kind"];
            assert_eq!(
                kind, "ControllerRevision",
                "after write {count}: {arrived:?}"
            );
        }
        // What was there nobody has touched, not even to put it right.
        let made = arrived.iter().any(|(method, path, status)| {
            method == Method::POST && path.ends_with("/instances") && *status == 201
        });
        for (uid, was) in &before {
            let is = after.get(uid);
            let same = is == Some(was) || (made && is.is_some());
            assert!(same, "after write {count}: {was}\n{is:?}\n{arrived:?}");
        }
        second.stop();
        first.stop();
    }
    println!("{late} late changes");
    assert!(late >= WRITES, "{late}");
}

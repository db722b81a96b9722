//! Runs that were asked for as objects fall to a canary by its weight, whichever host they are bound to.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use crate::fixture::{Cluster, Host, PATIENCE};

const RUNS: usize = 200;
/// Five standard deviations of 20 percent of so many are 28. By the hosts alone it would be half of them.
const SHARE: std::ops::RangeInclusive<usize> = 12..=68;

fn revision(version: u32) -> String {
    format!(
        "
apiVersion: ringfence.dev/v1alpha1
kind: Model
metadata: {{name: v{version}}}
spec: {{provider: {{scripted: {{turns: [{{text: 'this is {version}'}}]}}}}}}
---
apiVersion: ringfence.dev/v1alpha1
kind: Agent
metadata: {{name: desk}}
spec:
  instructions: Say your version.
  model: {{name: v{version}}}
  rollout: {{canary: {{steps: [{{weight: 20}}]}}}}
"
    )
}

/// What each finished run answered, with the host that it was bound to.
async fn finished(cluster: &Cluster) -> Vec<(String, String)> {
    let runs: Value = serde_json::from_str(&cluster.get("runs").await).unwrap();
    let runs = runs["items"].as_array().unwrap().iter();
    let ended = runs.filter(|run| !run["status"]["finishedAt"].is_null());
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    ended
        .map(|run| {
            assert_eq!(run["status"]["phase"], "Succeeded", "{run}");
            let said = text(&run["status"]["output"]["text"]);
            (text(&run["status"]["hostName"]), said)
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn run_objects_fall_to_a_canary_by_its_weight() {
    let cluster = Cluster::start().await;
    let first = Host::start(&cluster, "first", None);
    let second = Host::start(&cluster, "second", Some(&first));
    cluster.apply(&revision(1)).await;
    cluster.ready("agent/desk").await;
    for host in [&first, &second] {
        cluster.has_peers(host).await;
    }
    cluster.apply(&revision(2)).await;
    // Each host has heard of the weight once some of its calls go to the canary, and most do not.
    let heard = async {
        for host in [&first, &second] {
            let mut said = BTreeMap::<String, u32>::new();
            while said.len() < 2 {
                *said
                    .entry(host.ask("desk", "?").await.unwrap())
                    .or_default() += 1;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    };
    tokio::time::timeout(PATIENCE, heard).await.unwrap();
    let placed = cluster.host_of("desk").await;
    let mut placed: Vec<&str> = placed.split(' ').collect();
    placed.sort_unstable();
    assert_eq!(placed, ["first", "second"], "one revision on each host");

    let runs = (0..RUNS).map(|n| {
        format!(
            "apiVersion: ringfence.dev/v1alpha1
kind: Run
metadata: {{name: run-{n}}}
spec: {{agent: {{name: desk, input: hello}}}}
"
        )
    });
    let runs: Vec<String> = runs.collect();
    cluster.apply(&runs.join("---\n")).await;
    let over = async {
        loop {
            let finished = finished(&cluster).await;
            if finished.len() == RUNS {
                return finished;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let finished = tokio::time::timeout(PATIENCE, over).await.unwrap();
    let mut bound = BTreeMap::<&str, usize>::new();
    for (host, _) in &finished {
        *bound.entry(host).or_default() += 1;
    }
    let canary = finished.iter().filter(|(_, said)| said == "this is 2");
    let canary = canary.count();
    println!("{canary} of {RUNS} runs went to the canary; bound to {bound:?}");
    assert!(SHARE.contains(&canary), "{canary} of {RUNS}");
    // The host that has only the canary was bound enough of them to tell.
    assert!(bound.values().all(|runs| *runs > RUNS / 4), "{bound:?}");
    assert_eq!(bound.len(), 2);
}

//! From one revision of an agent or tool to the next.

use serde_json::Value;

use crate::fixture::{cluster, condition, eventually, get};
use crate::hosts::PlayedHost;

fn tool(pool: &str, version: &str, replicas: u32, rollout: &str) -> String {
    format!(
        "apiVersion: ringfence.dev/v1alpha1
kind: Tool
metadata: {{name: search, annotations: {{kubernetes.io/change-cause: 'to {version}'}}}}
spec:
  component: {{image: 'registry.example.com/search:{version}'}}
  replicas: {replicas}
  placement: {{pool: {pool}}}
  rollout: {{progressDeadlineSeconds: 3, {rollout}}}
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

/// Waits until `Progressing` says this of the newest generation.
async fn says(reason: &str, namespace: &str) -> Value {
    let cluster = cluster().await;
    eventually(&format!("the tool says {reason}"), async || {
        let tool = get(cluster, "tool/search", namespace).await?;
        let current = tool["status"]["observedGeneration"] == tool["metadata"]["generation"];
        (current && condition(&tool, "Progressing")["reason"] == reason).then_some(tool)
    })
    .await
}

/// The version and the weight of each instance.
async fn instances(namespace: &str) -> Vec<(String, Value)> {
    let instances = get(cluster().await, "instances", namespace).await.unwrap();
    let items = instances["items"].as_array().unwrap().iter();
    let mut all: Vec<_> = items
        .map(|item| {
            let image = &item["spec"]["workload"]["tool"]["component"]["image"];
            let version = image.as_str().unwrap().rsplit(':').next().unwrap();
            (version.to_owned(), item["spec"]["weight"].clone())
        })
        .collect();
    all.sort_by_key(|(version, weight)| (version.clone(), weight.to_string()));
    all
}

async fn history(namespace: &str) -> Vec<(i64, String)> {
    let entries = get(cluster().await, "controllerrevisions", namespace)
        .await
        .unwrap();
    let items = entries["items"].as_array().unwrap().iter();
    let mut all: Vec<_> = items
        .map(|item| {
            let cause = &item["metadata"]["annotations"]["kubernetes.io/change-cause"];
            let number = item["revision"].as_i64().unwrap();
            assert_eq!(item["metadata"]["ownerReferences"][0]["name"], "search");
            (number, cause.as_str().unwrap().to_owned())
        })
        .collect();
    all.sort();
    all
}

#[tokio::test]
async fn a_broken_revision_is_rolled_back_and_a_sound_one_takes_over() {
    let cluster = cluster().await;
    let namespace = cluster.temp_namespace().await.unwrap();
    let _host = PlayedHost::start(cluster, "h-roll", "roll", 100).await;
    apply(&tool("roll", "1", 3, ""), &namespace).await;
    let first = says("NewRevisionAvailable", &namespace).await;
    assert_eq!(first["status"]["availableReplicas"], 3);
    assert_eq!(first["status"]["updatedReplicas"], 3);
    let good = first["status"]["currentRevision"].clone();
    assert_eq!(first["status"]["updateRevision"], good);

    apply(&tool("roll", "broken", 3, ""), &namespace).await;
    let failed = says("RolledBack", &namespace).await;
    let message = condition(&failed, "Progressing")["message"]
        .as_str()
        .unwrap();
    assert!(
        message.contains("search:broken is not there") && message.contains(good.as_str().unwrap()),
        "{message}"
    );
    assert_eq!(condition(&failed, "Available")["status"], "True");
    assert_eq!(condition(&failed, "Ready")["reason"], "RolledBack");
    assert_eq!(failed["status"]["currentRevision"], good);
    let serving = vec![("1".to_owned(), Value::Null); 3];
    assert_eq!(instances(&namespace).await, serving);
    let events = ["get", "events", "-n", &namespace];
    let events = cluster.kubectl(&events).await.unwrap();
    assert!(events.contains("RolledBack"), "{events}");

    apply(
        &tool("roll", "2", 3, "maxSurge: 0, maxUnavailable: 1"),
        &namespace,
    )
    .await;
    let done = says("NewRevisionAvailable", &namespace).await;
    assert_eq!(condition(&done, "Ready")["status"], "True");
    assert_ne!(done["status"]["currentRevision"], good);
    let serving = vec![("2".to_owned(), Value::Null); 3];
    eventually("only the new revision is left", async || {
        (instances(&namespace).await == serving).then_some(())
    })
    .await;
    let causes = ["to 1", "to broken", "to 2"].map(str::to_owned);
    let expected: Vec<_> = (1..).zip(causes).collect();
    eventually("the history is complete", async || {
        (history(&namespace).await == expected).then_some(())
    })
    .await;

    // Back to the first: its entry is the newest again. With the tool goes its history.
    apply(&tool("roll", "1", 3, "revisionHistoryLimit: 1"), &namespace).await;
    eventually("the history is bounded", async || {
        let left = history(&namespace).await;
        let expected = [(3, "to 2".to_owned()), (4, "to 1".to_owned())];
        (left == expected).then_some(())
    })
    .await;
    let delete = ["delete", "tool/search", "-n", &namespace];
    cluster.kubectl(&delete).await.unwrap();
    eventually("the history is gone", async || {
        history(&namespace).await.is_empty().then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_canary_has_a_weight_and_waits_for_its_promotion() {
    let cluster = cluster().await;
    let namespace = cluster.temp_namespace().await.unwrap();
    let _host = PlayedHost::start(cluster, "h-canary", "canary", 100).await;
    let steps = "canary: {steps: [{weight: 10, pauseSeconds: 1}, {weight: 50}]}";
    apply(&tool("canary", "1", 4, steps), &namespace).await;
    says("NewRevisionAvailable", &namespace).await;
    apply(&tool("canary", "2", 4, steps), &namespace).await;
    let half = |old: usize, new: usize| {
        let old = vec![("1".to_owned(), Value::Null); old];
        let new = vec![("2".to_owned(), Value::from(50)); new];
        [old, new].concat()
    };
    eventually("half of the runs go to the new revision", async || {
        (instances(&namespace).await == half(2, 2)).then_some(())
    })
    .await;
    let tool = says("CanaryStep", &namespace).await;
    let message = condition(&tool, "Progressing")["message"].as_str().unwrap();
    assert!(message.contains("step 2 of 2"), "{message}");
    let revision = tool["status"]["updateRevision"].as_str().unwrap();
    let promoted = format!("ringfence.dev/promoted={revision}/2");
    let promote = ["annotate", "tool/search", &promoted, "-n", &namespace];
    cluster.kubectl(&promote).await.unwrap();
    says("NewRevisionAvailable", &namespace).await;
    let serving = vec![("2".to_owned(), Value::Null); 4];
    eventually("all runs go to it, by no weight", async || {
        (instances(&namespace).await == serving).then_some(())
    })
    .await;
}

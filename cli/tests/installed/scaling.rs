//! A pool that grows and shrinks with the calls: by the autoscaler of Kubernetes, and what the operator tells it.

use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::post;
use ringfence_test_cluster::{Settings, chart};
use serde_json::json;
use tokio::net::TcpListener;

use crate::fixture::{Installed, SYSTEM};
use crate::load::{Client, Load};

/// How long the model thinks, and a sandbox with it.
const THINKS: Duration = Duration::from_millis(400);

/// Kubernetes looks every 15 s, and shrinks after five minutes, unless it is told otherwise.
const HURRIED: [&str; 2] = [
    "--horizontal-pod-autoscaler-sync-period=1s",
    "--horizontal-pod-autoscaler-downscale-stabilization=2s",
];

/// One or two hosts, with two sandboxes in use on average.
const POOL: [&str; 4] = [
    "--set=autoscaling.serveMetrics=true",
    "--set=defaultPool.spec.hosts.replicas=null",
    "--set=defaultPool.spec.hosts.autoscaling.minReplicas=1,defaultPool.spec.hosts.autoscaling.maxReplicas=2",
    "--set=defaultPool.spec.hosts.autoscaling.sandboxesPercent=25,defaultPool.spec.hosts.sandboxes=8",
];

fn thinker(model: &str) -> String {
    format!(
        "
apiVersion: ringfence.dev/v1alpha1
kind: Model
metadata: {{name: slow}}
spec: {{provider: {{openAi: {{model: slow, baseUrl: '{model}/v1', addresses: private}}}}}}
---
apiVersion: ringfence.dev/v1alpha1
kind: Agent
metadata: {{name: thinker}}
spec: {{instructions: Think., model: {{name: slow}}}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {{name: run-thinker}}
rules:
  - {{apiGroups: [ringfence.dev], resources: [agents], resourceNames: [thinker], verbs: [run]}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: run-thinker}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: run-thinker}}
subjects: [{{kind: ServiceAccount, name: default, namespace: default}}]
"
    )
}

/// A model that takes its time, at an address that Pods reach.
async fn model(installed: &Installed) -> String {
    let address = (installed.cluster().address(), 0);
    let listener = TcpListener::bind(address).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answer = post(async || {
        tokio::time::sleep(THINKS).await;
        let chunk = json!({
            "id": "1", "object": "chat.completion.chunk", "created": 1, "model": "slow",
            "choices": [{
                "index": 0, "finish_reason": "stop",
                "delta": {"role": "assistant", "content": "it took a while"},
            }],
        });
        let stream = [("content-type", "text/event-stream")];
        (stream, format!("data: {chunk}\n\ndata: [DONE]\n\n"))
    });
    let router = Router::new().route("/v1/chat/completions", answer);
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

async fn hosts(installed: &Installed) -> Vec<String> {
    let get = ["get", "hosts", "-n", SYSTEM, "-o", "name"];
    let names = installed.kubectl(&get).await;
    let names = names.lines().filter_map(|line| line.split_once('/'));
    names.map(|(_, name)| name.to_owned()).collect()
}

async fn until_hosts(installed: &Installed, what: &str, count: usize) {
    installed
        .eventually(what, async || hosts(installed).await.len() == count)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root, containerd and two minutes: make test-cluster"]
async fn a_pool_grows_under_load_and_shrinks_without_losing_a_call() {
    let installed = Installed::start_with(Settings {
        controller_manager_arguments: HURRIED.map(str::to_owned).to_vec(),
        ..Settings::default()
    })
    .await;
    installed.kubectl(&["create", "namespace", SYSTEM]).await;
    let install = [&["install"][..], &POOL].concat();
    installed.helm(&install, &chart(), "now").await;
    let api = "apiservice/v1beta2.custom.metrics.k8s.io";
    installed
        .wait("--for=condition=Available", api, SYSTEM)
        .await;
    installed
        .wait("--for=condition=Deployed", "hostpool/default", SYSTEM)
        .await;
    let thinker = thinker(&model(&installed).await);
    installed.cluster().apply(&thinker).await.unwrap();
    installed
        .wait("--for=condition=Ready", "agent/thinker", "default")
        .await;
    let [first] = &hosts(&installed).await[..] else {
        panic!("it begins with the fewest hosts that there may be");
    };
    let token = installed.token("default", "default").await;
    let client = Client::new(&installed.url().await, "default", &token);
    installed
        .eventually("the agent answers", async || {
            client.ask("thinker", "hello").await.as_deref() == Ok("it took a while")
        })
        .await;

    // Four sandboxes are in use where two should be.
    let start = Instant::now();
    let steady = Load::start(&client, "thinker", 1);
    let burst = Load::start(&client, "thinker", 3);
    until_hosts(&installed, "the pool grows", 2).await;
    installed
        .wait("--for=condition=Deployed", "hostpool/default", SYSTEM)
        .await;
    println!("it had grown after {:?}", start.elapsed());
    let (answered, lost) = burst.end().await;
    assert!(lost.is_empty(), "of {answered} calls: {lost:#?}");

    // The host that does the work is the one that has to go, so that calls move while it does.
    let cost = "controller.kubernetes.io/pod-deletion-cost=-1";
    installed
        .kubectl(&["annotate", "pod", first, "-n", SYSTEM, cost])
        .await;
    let start = Instant::now();
    until_hosts(&installed, "the pool shrinks", 1).await;
    println!("it had shrunk after {:?}", start.elapsed());
    assert_ne!(hosts(&installed).await, std::slice::from_ref(first));
    let (answered, lost) = steady.end().await;
    println!("{answered} calls were answered meanwhile");
    assert!(answered > 20, "{answered}");
    assert!(lost.is_empty(), "of {answered} calls: {lost:#?}");
}

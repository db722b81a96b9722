//! Calls between hosts: real hosts on a real control plane, with certificates that the operator signed.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test says what it expects by failing"
)]

#[path = "routing/canary.rs"]
mod canary;
#[path = "routing/fixture.rs"]
mod fixture;
#[path = "shared/started.rs"]
mod started;
#[path = "routing/traces.rs"]
mod traces;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;

use self::fixture::{Cluster, Host, PATIENCE};

/// Agents without code: one asks another one through a tool, one tells its turns apart by the conversation,
/// one waits for a model that never answers.
fn agents(model: &str) -> String {
    format!(
        "
apiVersion: ringfence.dev/v1alpha1
kind: Model
metadata: {{name: scribe-model}}
spec: {{provider: {{scripted: {{turns: [{{text: 'noted: {{{{user.text}}}}'}}]}}}}}}
---
apiVersion: ringfence.dev/v1alpha1
kind: Model
metadata: {{name: writer-model}}
spec:
  provider:
    scripted:
      turns:
        - calls: [{{name: scribe_ask, arguments: {{message: 'buy milk'}}}}]
        - text: 'the scribe says: {{{{last.text}}}}'
---
apiVersion: ringfence.dev/v1alpha1
kind: Model
metadata: {{name: counting-model}}
spec: {{provider: {{scripted: {{turns: [{{text: first}}, {{text: second}}, {{text: third}}, {{text: fourth}}]}}}}}}
---
apiVersion: ringfence.dev/v1alpha1
kind: Model
metadata: {{name: silent-model}}
spec: {{provider: {{openAi: {{model: silent, baseUrl: '{model}', addresses: private}}}}}}
---
apiVersion: ringfence.dev/v1alpha1
kind: Agent
metadata: {{name: scribe}}
spec: {{instructions: Take notes., model: {{name: scribe-model}}}}
---
apiVersion: ringfence.dev/v1alpha1
kind: Tool
metadata: {{name: scribe}}
spec: {{agent: scribe, description: Takes a note.}}
---
apiVersion: ringfence.dev/v1alpha1
kind: Agent
metadata: {{name: writer}}
spec:
  instructions: Let the scribe take notes.
  model: {{name: writer-model}}
  grants: {{tools: [{{name: scribe}}], output: true}}
---
apiVersion: ringfence.dev/v1alpha1
kind: Agent
metadata: {{name: counting}}
spec: {{instructions: Count., model: {{name: counting-model}}, grants: {{session: true}}}}
---
apiVersion: ringfence.dev/v1alpha1
kind: Agent
metadata: {{name: silent}}
spec: {{instructions: Wait., model: {{name: silent-model}}}}
"
    )
}

const WRITTEN: &str = "the scribe says: noted: buy milk";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_reach_their_targets_through_every_host_whatever_becomes_of_the_others() {
    let cluster = Cluster::start().await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let model = format!("http://{}/v1", silent.local_addr().unwrap());
    let first = Host::start(&cluster, "first", None);
    let second = Host::start(&cluster, "second", Some(&first));
    cluster.apply(&agents(&model)).await;
    for what in [
        "agent/scribe",
        "tool/scribe",
        "agent/writer",
        "agent/counting",
        "agent/silent",
    ] {
        cluster.ready(what).await;
    }
    for host in [&first, &second] {
        cluster.has_peers(host).await;
    }

    through_every_host(&cluster, &first, &second).await;

    let third = Host::start(&cluster, "third", Some(&second));
    cluster.has_peers(&third).await;
    let rest = a_host_is_replaced_without_a_lost_call(&cluster, first, [second, third]).await;
    a_killed_host_leaves_an_unknown_outcome(&cluster, rest, silent).await;
}

async fn through_every_host(cluster: &Cluster, first: &Host, second: &Host) {
    for host in [first, second] {
        assert_eq!(host.ask("writer", "hello").await.unwrap(), WRITTEN);
        assert_eq!(host.ask("scribe", "hello").await.unwrap(), "noted: hello");
        assert_eq!(host.ask("nobody", "hello").await.unwrap_err().0, 404);
        let models = host.get("/default/v1/models").await;
        for agent in ["writer", "scribe", "counting", "silent"] {
            assert!(models.contains(&format!("\"id\":\"{agent}\"")), "{models}");
        }
        let tools = host.list_tools().await;
        assert!(tools.contains("scribe_ask"), "{tools}");
        assert_eq!(host.stream("writer", "hello").await, WRITTEN);
    }
    // The host that runs it has it on record where the call came from and on whose behalf it was.
    let (there, here) = match cluster.host_of("writer").await.as_str() {
        "first" => (first, second),
        _ => (second, first),
    };
    let told = format!("\"routedFrom\":{{\"host\":\"{}\"", here.name);
    there
        .has_on_record(&[&told, "\"caller\":\"user/local\"", "\"target\":\"writer\""])
        .await;
    here.has_on_record(&[&format!("\"servedBy\":\"{}\"", there.name)])
        .await;
    let metrics = here.get("/metrics").await;
    assert!(
        metrics.contains("ringfence_peer_calls_total{outcome=\"answered\"}"),
        "{metrics}"
    );
    // A conversation goes on wherever it arrives.
    for (host, turn) in [(first, "first"), (second, "second"), (first, "third")] {
        assert_eq!(host.ask_in("counting", "next", "talk").await.unwrap(), turn);
    }
}

/// Calls through all hosts that say that they are ready, while one of them leaves. Not one may fail.
async fn a_host_is_replaced_without_a_lost_call(
    cluster: &Cluster,
    leaving: Host,
    staying: [Host; 2],
) -> [Host; 2] {
    let stop = Arc::new(AtomicBool::new(false));
    let done = Arc::new(AtomicUsize::new(0));
    let mut load = tokio::task::JoinSet::new();
    let hosts = [&leaving, &staying[0], &staying[1]].map(|host| host.url.clone());
    for url in hosts {
        for agent in ["writer", "scribe"] {
            let (stop, done, url) = (stop.clone(), done.clone(), url.clone());
            load.spawn(async move {
                let client = reqwest::Client::new();
                // As a load balancer does: what is not ready gets no more calls.
                while !stop.load(Ordering::Relaxed) && fixture::is_ready(&client, &url).await {
                    let answer = fixture::ask(&client, &url, agent, "hi", None).await;
                    answer.unwrap_or_else(|error| panic!("{agent} through {url}: {error:?}"));
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    }
    while done.load(Ordering::Relaxed) < 50 {
        assert!(
            load.try_join_next().is_none(),
            "it runs until it is told to stop"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let name = leaving.name.clone();
    leaving.end().await;
    for agent in ["writer", "scribe", "counting", "silent"] {
        assert_ne!(cluster.host_of(agent).await, name);
    }
    let before = done.load(Ordering::Relaxed);
    while done.load(Ordering::Relaxed) < before + 50 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    stop.store(true, Ordering::Relaxed);
    while let Some(ended) = load.join_next().await {
        ended.unwrap();
    }
    // What it kept was handed over.
    let turn = staying[0].ask_in("counting", "next", "talk").await;
    assert_eq!(turn.unwrap(), "fourth");
    staying
}

async fn a_killed_host_leaves_an_unknown_outcome(
    cluster: &Cluster,
    hosts: [Host; 2],
    silent: TcpListener,
) {
    cluster.ready("agent/silent").await;
    let runs = cluster.host_of("silent").await;
    let [one, other] = hosts;
    let (killed, left) = if one.name == runs {
        (one, other)
    } else {
        (other, one)
    };
    let call = left.ask("silent", "hello");
    let kill = async {
        let (mut model, _) = silent.accept().await.unwrap();
        // The question has arrived: the call has begun.
        model.read_u8().await.unwrap();
        drop(killed);
        model
    };
    let both = async { tokio::join!(call, kill) };
    let (answer, _model) = tokio::time::timeout(PATIENCE, both).await.unwrap();
    let (status, body) = answer.unwrap_err();
    assert_eq!(status, 500, "{body}");
    assert!(body.contains("unknown-outcome"), "{body}");
    // Then calls go elsewhere, as soon as there is an elsewhere.
    let again = async {
        while left.ask("writer", "hello").await.ok().as_deref() != Some(WRITTEN) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, again).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_change_without_a_failed_call_and_count_no_longer_than_they_say() {
    const VALID: Duration = Duration::from_secs(9);
    let mut cluster = Cluster::start_with(VALID).await;
    let first = Host::start(&cluster, "first", None);
    let second = Host::start(&cluster, "second", Some(&first));
    cluster.apply(&agents("http://127.0.0.1:1/v1")).await;
    for what in ["agent/scribe", "tool/scribe", "agent/writer"] {
        cluster.ready(what).await;
    }
    for host in [&first, &second] {
        cluster.has_peers(host).await;
    }
    let (here, there) = match cluster.host_of("scribe").await.as_str() {
        "first" => (&second, &first),
        _ => (&first, &second),
    };
    // Over several of them.
    let mut seen = std::collections::BTreeSet::new();
    while seen.len() < 4 {
        assert_eq!(here.ask("scribe", "hello").await.unwrap(), "noted: hello");
        seen.insert(there.certificate_expires().await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Nobody signs: soon the other one has nothing left that proves who it is.
    cluster.stop_operator();
    tokio::time::sleep(VALID + Duration::from_secs(2)).await;
    let (status, body) = here.ask("scribe", "hello").await.unwrap_err();
    assert!(
        status >= 500 && body.contains("unavailable"),
        "{status} {body}"
    );
    let log = here.log();
    let told = log.lines().any(|line| {
        line.contains("the hosts do not believe each other") && line.contains("expired")
    });
    assert!(told, "{log}");
    // Its own clients it serves all the same.
    assert_eq!(there.ask("scribe", "hello").await.unwrap(), "noted: hello");
    cluster.start_operator().await;
    let again = async {
        while here.ask("scribe", "hello").await.is_err() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, again).await.unwrap();
}

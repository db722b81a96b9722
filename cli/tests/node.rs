//! Hosts that are nodes: the real binary joins a real control plane, where the operator places agents on
//! it, and answers for them.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test says what it expects by failing"
)]

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use ringfence_operator::certificates;
use ringfence_operator::metrics::Metrics;
use ringfence_operator::run::{Settings, run};
use ringfence_test_cluster::ControlPlane;
use serde_json::{Value, json};
use started::started;
use tokio::task::JoinHandle;

#[path = "node/faults.rs"]
mod faults;
#[path = "shared/started.rs"]
mod started;
#[path = "node/webhooks.rs"]
mod webhooks;

const BINARY: &str = env!("CARGO_BIN_EXE_ringfence");
const SYSTEM: &str = "ringfence-system";
/// Longest that anything may take: a host compiles the built-in chat agent when it starts first.
const PATIENCE: Duration = Duration::from_secs(120);

/// How long the hosts' certificates are valid.
const CERTIFICATE: Duration = Duration::from_secs(12);

/// The same resources that `ringfence serve` takes: an agent that asks another one through a tool.
const DESK: &str = "
apiVersion: ringfence.dev/v1alpha1
kind: Model
metadata: {name: scribe-model}
spec: {provider: {scripted: {turns: [{text: 'noted: {{user.text}}'}]}}}
---
apiVersion: ringfence.dev/v1alpha1
kind: Model
metadata: {name: writer-model}
spec:
  provider:
    scripted:
      turns:
        - calls: [{name: scribe_ask, arguments: {message: 'buy milk'}}]
        - text: 'the scribe says: {{last.text}}'
---
apiVersion: ringfence.dev/v1alpha1
kind: Agent
metadata: {name: scribe}
spec: {instructions: Take notes., model: {name: scribe-model}}
---
apiVersion: ringfence.dev/v1alpha1
kind: Tool
metadata: {name: scribe}
spec: {agent: scribe, description: Takes a note.}
---
apiVersion: ringfence.dev/v1alpha1
kind: Agent
metadata: {name: writer}
spec:
  instructions: Let the scribe take notes.
  model: {name: writer-model}
  grants: {tools: [{name: scribe}]}
";

/// An operator at work.
type Operating = JoinHandle<Result<(), ringfence_operator::error::Error>>;

/// A host process.
struct Host {
    process: Child,
    url: String,
    log: PathBuf,
    _data: Option<tempfile::TempDir>,
}

impl Host {
    fn start(cluster: &ControlPlane, name: &str) -> Self {
        let data = tempfile::tempdir().unwrap();
        let mut host = Self::start_in(cluster, name, data.path());
        host._data = Some(data);
        host
    }

    /// One that keeps its state in a folder that outlives it.
    fn start_in(cluster: &ControlPlane, name: &str, data: &Path) -> Self {
        let log = File::create(data.join("log")).unwrap();
        let mut command = Command::new(BINARY);
        command
            .args(["host", "--name", name, "--listen", "127.0.0.1:0"])
            .args(["--sandboxes", "16"])
            .arg("--data-dir")
            .arg(data)
            .env("KUBECONFIG", cluster.kubeconfig())
            .stderr(log);
        let (process, url) = started(&mut command);
        Self {
            process,
            url,
            log: data.join("log"),
            _data: None,
        }
    }

    /// Asks it to end, and waits until it has.
    async fn end(&mut self) {
        let pid = self.process.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-TERM", &pid])
                .status()
                .unwrap()
                .success()
        );
        let ended = async {
            loop {
                if let Some(status) = self.process.try_wait().unwrap() {
                    return status;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let status = tokio::time::timeout(PATIENCE, ended).await.unwrap();
        assert!(status.success(), "{status}");
    }

    /// What it has logged so far.
    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// The value of a metric that has no labels.
    async fn metric(&self, name: &str) -> u64 {
        let answer = reqwest::get(format!("{}/metrics", self.url)).await.unwrap();
        let text = answer.text().await.unwrap();
        let mut lines = text.lines().map(|line| line.split_once(' '));
        let value = lines.find_map(|line| line.filter(|(known, _)| *known == name));
        value.unwrap().1.parse().unwrap()
    }

    /// What an agent answers to an OpenAI client, or the status with which it was refused.
    async fn ask(&self, agent: &str, text: &str) -> Result<String, u16> {
        let body = json!({"model": agent, "messages": [{"role": "user", "content": text}]});
        let answer = reqwest::Client::new()
            .post(format!("{}/default/v1/chat/completions", self.url))
            .json(&body)
            .send()
            .await
            .unwrap();
        if !answer.status().is_success() {
            return Err(answer.status().as_u16());
        }
        let answer: Value = answer.json().await.unwrap();
        Ok(answer["choices"][0]["message"]["content"]
            .as_str()
            .unwrap()
            .to_owned())
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

async fn ready(cluster: &ControlPlane, what: &str) {
    let timeout = format!("--timeout={}s", PATIENCE.as_secs());
    let wait = ["wait", "--for=condition=Ready", what, &timeout];
    if let Err(error) = cluster.kubectl(&wait).await {
        let all = cluster
            .kubectl(&["get", "ringfence", "-A", "-o", "yaml"])
            .await;
        panic!("{error}\n{}", all.unwrap_or_default());
    }
}

/// Waits for a certificate that runs out later than `before`, in seconds since 1970; tells when.
async fn certificate(host: &Host, before: u64) -> u64 {
    let later = async {
        loop {
            let until = host
                .metric("ringfence_peer_certificate_expiry_timestamp_seconds")
                .await;
            if until > before {
                return until;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, later).await.unwrap()
}

async fn host_of(cluster: &ControlPlane, agent: &str) -> String {
    let label = format!("ringfence.dev/kind=agent,ringfence.dev/name={agent}");
    let path = "jsonpath={.items[*].spec.hostName}";
    cluster
        .kubectl(&["get", "instances", "-l", &label, "-o", path])
        .await
        .unwrap()
}

/// A control plane of its own with an operator.
async fn operated() -> (ControlPlane, Operating) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let cluster = ControlPlane::start().await.unwrap();
    cluster
        .apply(&ringfence_operator::crds::yaml().unwrap())
        .await
        .unwrap();
    let established = [
        "wait",
        "--for=condition=Established",
        "crd",
        "--all",
        "--timeout=30s",
    ];
    cluster.kubectl(&established).await.unwrap();
    cluster
        .kubectl(&["create", "namespace", SYSTEM])
        .await
        .unwrap();
    let operator = operate(&cluster).await;
    (cluster, operator)
}

/// An operator; it ends where it loses its Lease.
async fn operate(cluster: &ControlPlane) -> Operating {
    let client = cluster.client().await.unwrap();
    let settings = Settings {
        namespace: SYSTEM.to_owned(),
        identity: "operator".to_owned(),
        hosts: None,
        custom_metrics: None,
        certificates: certificates::Settings {
            // What this kubeconfig says who the hosts are.
            host_user: Some("admin".to_owned()),
            valid: CERTIFICATE,
            ..certificates::Settings::default()
        },
    };
    tokio::spawn(run(
        client,
        settings,
        Metrics::default(),
        std::future::pending(),
    ))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agents_are_served_where_they_are_placed_and_move_when_a_host_leaves() {
    let (cluster, operator) = operated().await;
    let mut first = Host::start(&cluster, "first");
    cluster.apply(DESK).await.unwrap();
    for what in ["agent/scribe", "agent/writer", "tool/scribe"] {
        ready(&cluster, what).await;
    }
    let answer = first.ask("writer", "hello").await.unwrap();
    assert_eq!(answer, "the scribe says: noted: buy milk");
    assert_eq!(first.ask("nobody", "hello").await, Err(404));

    // A ceiling takes the tool away; the agent is told so, and nothing else changes.
    let ceiling = "apiVersion: ringfence.dev/v1alpha1
kind: Ceiling
metadata: {name: alone}
spec: {allow: {models: ['*'], output: true, session: true}}
";
    cluster.apply(ceiling).await.unwrap();
    let path = "jsonpath={.status.refused[?(@.ceiling=='alone')].target}";
    let refused = async {
        loop {
            let refused = cluster
                .kubectl(&["get", "agent/writer", "-o", path])
                .await
                .unwrap();
            if refused == "scribe" {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, refused).await.unwrap();
    cluster.kubectl(&["delete", "ceiling/alone"]).await.unwrap();

    // By now it has a certificate to show to other hosts, and it gets the next one in time.
    let until = certificate(&first, 0).await;
    certificate(&first, until).await;

    // The host leaves: what it ran moves to the one that has joined, and its objects go.
    let second = Host::start(&cluster, "second");
    for what in ["agent/scribe", "agent/writer", "tool/scribe"] {
        ready(&cluster, what).await;
    }
    first.end().await;
    assert_eq!(host_of(&cluster, "writer").await, "second");
    ready(&cluster, "agent/writer").await;
    let left = ["get", "hosts,leases", "-n", SYSTEM, "-o", "name"];
    let left = cluster.kubectl(&left).await.unwrap();
    assert!(!left.contains("first"), "{left}");
    let answered = async {
        loop {
            // It was ready on another host a moment ago: its status may be older than its move.
            match second.ask("writer", "hello").await {
                Ok(answer) => return answer,
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    };
    let answer = tokio::time::timeout(PATIENCE, answered).await.unwrap();
    assert_eq!(answer, "the scribe says: noted: buy milk");
    operator.abort();
}

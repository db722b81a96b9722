//! A control plane with an operator, and host processes that joined it and call each other.

use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use ringfence_operator::metrics::Metrics;
use ringfence_operator::run::{Settings, run};
use ringfence_test_cluster::ControlPlane;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::started::started;

const BINARY: &str = env!("CARGO_BIN_EXE_ringfence");
const SYSTEM: &str = "ringfence-system";
/// Longest that anything may take: a host compiles the built-in chat agent when it starts first.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// A control plane with an operator.
pub(crate) struct Cluster {
    control: ControlPlane,
    operator: Option<JoinHandle<()>>,
    certificates: Duration,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop_operator();
    }
}

impl Cluster {
    pub(crate) async fn start() -> Self {
        Self::start_with(ringfence_operator::certificates::VALID).await
    }

    /// One whose hosts have certificates that are valid for so long.
    pub(crate) async fn start_with(certificates: Duration) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let control = ControlPlane::start().await.unwrap();
        let kinds = ringfence_operator::crds::yaml().unwrap();
        control.apply(&kinds).await.unwrap();
        let wait = [
            "wait",
            "--for=condition=Established",
            "crd",
            "--all",
            "--timeout=30s",
        ];
        control.kubectl(&wait).await.unwrap();
        control
            .kubectl(&["create", "namespace", SYSTEM])
            .await
            .unwrap();
        let mut cluster = Self {
            control,
            operator: None,
            certificates,
        };
        cluster.start_operator().await;
        cluster
    }

    pub(crate) fn stop_operator(&mut self) {
        if let Some(operator) = self.operator.take() {
            operator.abort();
        }
    }

    pub(crate) async fn start_operator(&mut self) {
        let client = self.control.client().await.unwrap();
        let settings = Settings {
            namespace: SYSTEM.to_owned(),
            identity: "operator".to_owned(),
            hosts: None,
            custom_metrics: None,
            // Hosts of the tests are the administrator to Kubernetes.
            certificates: ringfence_operator::certificates::Settings {
                host_user: Some("admin".to_owned()),
                valid: self.certificates,
                ..Default::default()
            },
        };
        let operator = tokio::spawn(async move {
            let ended = run(client, settings, Metrics::default(), std::future::pending()).await;
            panic!("the operator ended: {:?}", ended.map(drop));
        });
        self.operator = Some(operator);
    }

    pub(crate) async fn apply(&self, manifests: &str) {
        self.control.apply(manifests).await.unwrap();
    }

    pub(crate) async fn ready(&self, what: &str) {
        let timeout = format!("--timeout={}s", PATIENCE.as_secs());
        let wait = ["wait", "--for=condition=Ready", what, &timeout];
        if let Err(error) = self.control.kubectl(&wait).await {
            let all = ["get", "ringfence", "-A", "-o", "yaml"];
            let all = self.control.kubectl(&all).await;
            panic!("{error}\n{}", all.unwrap_or_default());
        }
    }

    /// Waits until others can call a host.
    pub(crate) async fn has_peers(&self, host: &Host) {
        let timeout = format!("--timeout={}s", PATIENCE.as_secs());
        let what = format!("host/{}", host.name);
        let wait = [
            "wait",
            "-n",
            SYSTEM,
            "--for=jsonpath={.status.peerAddress}",
            &what,
            &timeout,
        ];
        self.control.kubectl(&wait).await.unwrap();
    }

    /// All objects of a kind, as JSON.
    pub(crate) async fn get(&self, kind: &str) -> String {
        let get = ["get", kind, "-o", "json"];
        self.control.kubectl(&get).await.unwrap()
    }

    pub(crate) async fn host_of(&self, agent: &str) -> String {
        let label = format!("ringfence.dev/kind=agent,ringfence.dev/name={agent}");
        let path = "jsonpath={.items[*].spec.hostName}";
        let get = ["get", "instances", "-l", &label, "-o", path];
        self.control.kubectl(&get).await.unwrap()
    }
}

/// A host process; dropping it kills it.
pub(crate) struct Host {
    process: Child,
    pub(crate) name: String,
    pub(crate) url: String,
    data: tempfile::TempDir,
}

impl Host {
    /// Starts one. What `like` has compiled it need not compile again.
    pub(crate) fn start(cluster: &Cluster, name: &str, like: Option<&Host>) -> Self {
        Self::start_with(cluster, name, like, &[])
    }

    /// The same, with environment variables.
    pub(crate) fn start_with(
        cluster: &Cluster,
        name: &str,
        like: Option<&Host>,
        environment: &[(&str, &str)],
    ) -> Self {
        let data = tempfile::tempdir().unwrap();
        if let Some(like) = like {
            let from = like.data.path().join("artifacts");
            let copied = Command::new("cp")
                .arg("-r")
                .arg(from)
                .arg(data.path())
                .status();
            assert!(copied.unwrap().success());
        }
        let log = std::fs::File::create(data.path().join("log")).unwrap();
        let mut command = Command::new(BINARY);
        command
            .args(["host", "--name", name, "--sandboxes", "16"])
            .args(["--listen", "127.0.0.1:0", "--peer-listen", "127.0.0.1:0"])
            .arg("--data-dir")
            .arg(data.path())
            .env("KUBECONFIG", cluster.control.kubeconfig())
            .envs(environment.iter().copied())
            .stderr(log);
        let (process, url) = started(&mut command);
        Self {
            process,
            name: name.to_owned(),
            url,
            data,
        }
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.data.path().join("log")).unwrap()
    }

    /// Asks it to end, and waits until it has.
    pub(crate) async fn end(mut self) {
        let pid = self.process.id().to_string();
        let asked = Command::new("kill").args(["-TERM", &pid]).status();
        assert!(asked.unwrap().success());
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

    /// What an agent answers, or the status and body with which the call failed.
    pub(crate) async fn ask(&self, agent: &str, text: &str) -> Result<String, (u16, String)> {
        ask(&reqwest::Client::new(), &self.url, agent, text, None).await
    }

    /// The same, in a conversation.
    pub(crate) async fn ask_in(
        &self,
        agent: &str,
        text: &str,
        session: &str,
    ) -> Result<String, (u16, String)> {
        ask(
            &reqwest::Client::new(),
            &self.url,
            agent,
            text,
            Some(session),
        )
        .await
    }

    /// What an agent streams.
    pub(crate) async fn stream(&self, agent: &str, text: &str) -> String {
        let body = json!({
            "model": agent, "stream": true, "messages": [{"role": "user", "content": text}],
        });
        let url = format!("{}/default/v1/chat/completions", self.url);
        let answer = reqwest::Client::new()
            .post(url)
            .json(&body)
            .send()
            .await
            .unwrap();
        let events = answer.text().await.unwrap();
        assert!(events.trim_end().ends_with("data: [DONE]"), "{events}");
        let pieces = events.lines().filter_map(|line| {
            let event: Value = serde_json::from_str(line.strip_prefix("data: ")?).ok()?;
            Some(event["choices"][0]["delta"]["content"].as_str()?.to_owned())
        });
        pieces.collect()
    }

    pub(crate) async fn get(&self, path: &str) -> String {
        let answer = reqwest::get(format!("{}{path}", self.url)).await.unwrap();
        assert!(answer.status().is_success(), "{}", answer.status());
        answer.text().await.unwrap()
    }

    /// When the certificate that it shows to others runs out.
    pub(crate) async fn certificate_expires(&self) -> String {
        const NAME: &str = "ringfence_peer_certificate_expiry_timestamp_seconds ";
        let metrics = self.get("/metrics").await;
        let line = metrics.lines().find(|line| line.starts_with(NAME));
        line.unwrap_or_default().to_owned()
    }

    /// What an MCP client is listed.
    pub(crate) async fn list_tools(&self) -> String {
        let meta = json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
        });
        let body = json!({
            "jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": meta},
        });
        let answer = reqwest::Client::new()
            .post(format!("{}/default/mcp", self.url))
            .header("accept", "application/json, text/event-stream")
            .header("mcp-protocol-version", "2026-07-28")
            .header("mcp-method", "tools/list")
            .json(&body)
            .send()
            .await
            .unwrap();
        answer.text().await.unwrap()
    }

    /// Waits until one line of its records has all of these.
    pub(crate) async fn has_on_record(&self, all: &[&str]) {
        let folder = self.data.path().join("records");
        let found = async {
            while !lines(&folder)
                .iter()
                .any(|line| all.iter().all(|part| line.contains(part)))
            {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let found = tokio::time::timeout(Duration::from_secs(10), found).await;
        assert!(
            found.is_ok(),
            "{all:?} is not on record: {:#?}",
            lines(&folder)
        );
    }
}

fn lines(folder: &Path) -> Vec<String> {
    let files = std::fs::read_dir(folder).unwrap();
    files
        .flat_map(|file| {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            let text = String::from_utf8_lossy(&bytes).into_owned();
            text.lines().map(str::to_owned).collect::<Vec<_>>()
        })
        .collect()
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Whether a host says that it takes calls.
pub(crate) async fn is_ready(client: &reqwest::Client, url: &str) -> bool {
    match client.get(format!("{url}/readyz")).send().await {
        Ok(answer) => answer.status().is_success(),
        Err(_) => false,
    }
}

/// What an agent answers, or the status and body with which the call failed; 0 without any answer.
pub(crate) async fn ask(
    client: &reqwest::Client,
    url: &str,
    agent: &str,
    text: &str,
    session: Option<&str>,
) -> Result<String, (u16, String)> {
    let body = json!({"model": agent, "messages": [{"role": "user", "content": text}]});
    let mut request = client
        .post(format!("{url}/default/v1/chat/completions"))
        .json(&body);
    if let Some(session) = session {
        request = request.header("x-ringfence-session", session);
    }
    let answer = request
        .send()
        .await
        .map_err(|error| (0, format!("{error:?}")))?;
    let status = answer.status();
    let text = answer
        .text()
        .await
        .map_err(|error| (0, format!("{error:?}")))?;
    if !status.is_success() {
        return Err((status.as_u16(), text));
    }
    let answer: Value = serde_json::from_str(&text).unwrap();
    let content = answer["choices"][0]["message"]["content"].as_str();
    Ok(content.unwrap().to_owned())
}

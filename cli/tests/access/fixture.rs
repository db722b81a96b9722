//! A control plane with the chart's permissions, an operator under its account, and hosts under theirs.

use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::Duration;

use ringfence_operator::metrics::Metrics;
use ringfence_operator::run::{Settings, run};
use ringfence_test_cluster::ControlPlane;
use serde_json::Value;

use crate::started::started;

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_ringfence");
/// The namespace of the operator and the hosts.
pub(crate) const SYSTEM: &str = "ringfence-system";
/// Longest that anything may take: a host compiles the built-in chat agent when it starts first.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// A control plane in which the operator works.
pub(crate) struct Cluster {
    pub(crate) control_plane: ControlPlane,
    operator: tokio::task::JoinHandle<()>,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.operator.abort();
    }
}

impl Cluster {
    pub(crate) async fn start() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let control_plane = ControlPlane::start().await.unwrap();
        control_plane
            .apply(&ringfence_operator::crds::yaml().unwrap())
            .await
            .unwrap();
        let established = ["wait", "--for=condition=Established", "crd", "--all"];
        control_plane.kubectl(&established).await.unwrap();
        control_plane
            .kubectl(&["create", "namespace", SYSTEM])
            .await
            .unwrap();
        control_plane
            .apply_permissions_of_chart(SYSTEM)
            .await
            .unwrap();
        let account = control_plane
            .kubeconfig_for_service_account(SYSTEM, "ringfence-operator")
            .await
            .unwrap();
        let settings = Settings {
            namespace: SYSTEM.to_owned(),
            identity: "operator".to_owned(),
            hosts: None,
            custom_metrics: None,
            certificates: Default::default(),
        };
        let client = client(account).await;
        let operator = tokio::spawn(async move {
            // It ends with the test.
            let _ = run(client, settings, Metrics::default(), std::future::pending()).await;
        });
        Self {
            control_plane,
            operator,
        }
    }

    /// A namespace, and in it whatever is in the manifests.
    pub(crate) async fn namespace(&self, name: &str, manifests: &str) {
        self.kubectl(&["create", "namespace", name]).await;
        self.apply(name, manifests).await;
    }

    pub(crate) async fn apply(&self, namespace: &str, manifests: &str) {
        let admin = self.control_plane.kubeconfig().to_owned();
        let apply = ["apply", "--server-side", "-n", namespace, "-f", "-"];
        self.control_plane
            .kubectl_as(&admin, &apply, manifests)
            .await
            .unwrap();
    }

    pub(crate) async fn kubectl(&self, arguments: &[&str]) -> String {
        self.control_plane.kubectl(arguments).await.unwrap()
    }

    /// A service account of a namespace and a token of it for an audience.
    pub(crate) async fn account(&self, namespace: &str, name: &str, audience: &str) -> String {
        self.kubectl(&["create", "serviceaccount", name, "-n", namespace])
            .await;
        self.token(namespace, name, audience).await
    }

    /// A token for an audience; for the API server where that is empty.
    pub(crate) async fn token(&self, namespace: &str, name: &str, audience: &str) -> String {
        let for_audience = format!("--audience={audience}");
        let mut create = vec!["create", "token", name, "-n", namespace];
        if !audience.is_empty() {
            create.push(&for_audience);
        }
        self.kubectl(&create).await.trim().to_owned()
    }

    pub(crate) async fn ready(&self, namespace: &str, what: &str) {
        let timeout = format!("--timeout={}s", PATIENCE.as_secs());
        let wait = [
            "wait",
            "--for=condition=Ready",
            "-n",
            namespace,
            what,
            &timeout,
        ];
        if let Err(error) = self.control_plane.kubectl(&wait).await {
            let all = ["get", "ringfence", "-A", "-o", "yaml"];
            let all = self.control_plane.kubectl(&all).await;
            panic!("{error}\n{}", all.unwrap_or_default());
        }
    }

    /// A host under the account that the chart gives to hosts.
    pub(crate) async fn host(&self, name: &str, arguments: &[&str]) -> Host {
        let account = self
            .control_plane
            .kubeconfig_for_service_account(SYSTEM, "ringfence-host")
            .await
            .unwrap();
        Host::start(name, account, arguments, None)
    }

    /// The same, which logs as much as it can into a file.
    pub(crate) async fn talkative_host(&self, name: &str, arguments: &[&str]) -> Host {
        let account = self
            .control_plane
            .kubeconfig_for_service_account(SYSTEM, "ringfence-host")
            .await
            .unwrap();
        Host::start(name, account, arguments, Some("trace"))
    }
}

/// A client with the identity of a kubeconfig.
pub(crate) async fn client(kubeconfig: PathBuf) -> kube::Client {
    let kubeconfig = kube::config::Kubeconfig::read_from(kubeconfig).unwrap();
    let options = kube::config::KubeConfigOptions::default();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options)
        .await
        .unwrap();
    kube::Client::try_from(config).unwrap()
}

/// Waits until something holds.
pub(crate) async fn eventually<T>(what: &str, mut holds: impl AsyncFnMut() -> Option<T>) -> T {
    let wait = async {
        loop {
            if let Some(value) = holds().await {
                return value;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    match tokio::time::timeout(PATIENCE, wait).await {
        Ok(value) => value,
        Err(_) => panic!("it never came to this: {what}"),
    }
}

/// A host process.
pub(crate) struct Host {
    process: Child,
    pub(crate) url: String,
    data: tempfile::TempDir,
    log: tempfile::NamedTempFile,
}

impl Host {
    fn start(name: &str, kubeconfig: PathBuf, arguments: &[&str], log_as: Option<&str>) -> Self {
        let data = tempfile::tempdir().unwrap();
        let log = tempfile::NamedTempFile::new().unwrap();
        let mut command = Command::new(BINARY);
        if let Some(filter) = log_as {
            command
                .env("RINGFENCE_LOG", filter)
                .stderr(log.reopen().unwrap());
        }
        command
            .args(["host", "--name", name, "--listen", "127.0.0.1:0"])
            .args(["--sandboxes", "16", "--data-dir"])
            .arg(data.path())
            .args(arguments)
            .env("KUBECONFIG", kubeconfig);
        let (process, url) = started(&mut command);
        Self {
            process,
            url,
            data,
            log,
        }
    }

    /// What a talkative one has logged so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.log.path()).unwrap()
    }

    /// Where it keeps everything.
    pub(crate) fn data(&self) -> &std::path::Path {
        self.data.path()
    }

    /// Sends a request with a token, or without any where it is empty.
    pub(crate) async fn send(&self, token: &str, request: http::Request<String>) -> (u16, String) {
        let (parts, body) = request.into_parts();
        let mut sent = reqwest::Client::new()
            .request(parts.method, format!("{}{}", self.url, parts.uri))
            .headers(parts.headers)
            .body(body);
        if !token.is_empty() {
            sent = sent.bearer_auth(token);
        }
        let answer = sent.send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    pub(crate) async fn get(&self, token: &str, path: &str) -> (u16, String) {
        self.send(token, http::Request::get(path).body(String::new()).unwrap())
            .await
    }

    pub(crate) async fn post(&self, token: &str, path: &str, body: &Value) -> (u16, String) {
        let request = http::Request::post(path)
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream");
        self.send(token, request.body(body.to_string()).unwrap())
            .await
    }

    /// Asks an agent or a model as an OpenAI client does.
    pub(crate) async fn ask(&self, token: &str, tenant: &str, model: &str) -> (u16, String) {
        let message = serde_json::json!([{"role": "user", "content": "hello"}]);
        let body = serde_json::json!({"model": model, "messages": message});
        self.post(token, &format!("/{tenant}/v1/chat/completions"), &body)
            .await
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

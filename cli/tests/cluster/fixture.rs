//! A control plane with the kinds and an operator, hosts that joined it, and the command as a person
//! types it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use ringfence_operator::metrics::Metrics;
use ringfence_operator::run::{Settings, run};
use ringfence_test_cluster::{ControlPlane, shared};
use tokio::sync::OnceCell;

use crate::started::started;

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_ringfence");
/// The namespace of hosts and Leases.
pub(crate) const SYSTEM: &str = "ringfence-system";
/// Longest that anything may take: a host compiles the built-in chat agent when it starts first.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// The control plane that the tests share, with one operator.
pub(crate) async fn cluster() -> &'static ControlPlane {
    static INSTALLED: OnceCell<()> = OnceCell::const_new();
    let _ = rustls::crypto::ring::default_provider().install_default();
    let cluster = shared().await;
    INSTALLED.get_or_init(async || install(cluster).await).await;
    cluster
}

/// A control plane of one's own, for hosts that no other test shall call. It lasts as long as the process.
pub(crate) async fn own_cluster() -> &'static ControlPlane {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let cluster = Box::leak(Box::new(ControlPlane::start().await.unwrap()));
    install(cluster).await;
    cluster
}

async fn install(cluster: &'static ControlPlane) {
    let kinds = ringfence_operator::crds::yaml().unwrap();
    cluster.apply(&kinds).await.unwrap();
    let established = [
        "wait",
        "--for=condition=Established",
        "crd",
        "--all",
        "--timeout=30s",
    ];
    cluster.kubectl(&established).await.unwrap();
    let namespace = ["create", "namespace", SYSTEM];
    cluster.kubectl(&namespace).await.unwrap();
    // In a thread and with a runtime of its own: it outlives the test that started it.
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let settings = Settings {
                namespace: SYSTEM.to_owned(),
                identity: "operator".to_owned(),
                hosts: None,
                custom_metrics: None,
                certificates: Default::default(),
            };
            let client = cluster.client().await.unwrap();
            let _ = run(client, settings, Metrics::default(), std::future::pending()).await;
        });
    });
}

/// A host process.
pub(crate) struct Host {
    process: Child,
    pub(crate) url: String,
    _data: tempfile::TempDir,
}

impl Host {
    /// One that joined the cluster.
    pub(crate) fn of(cluster: &ControlPlane, name: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new(BINARY);
        command
            .args(["host", "--name", name, "--sandboxes", "16"])
            .args(arguments)
            .env("KUBECONFIG", cluster.kubeconfig());
        Self::start(command)
    }

    /// One of its own.
    pub(crate) fn alone(arguments: &[&str]) -> Self {
        let mut command = Command::new(BINARY);
        command.arg("serve").args(arguments);
        Self::start(command)
    }

    fn start(mut command: Command) -> Self {
        let data = tempfile::tempdir().unwrap();
        let listens = command.get_args().any(|argument| argument == "--listen");
        if !listens {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        let (process, url) = started(command.arg("--data-dir").arg(data.path()));
        Self {
            process,
            url,
            _data: data,
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The command, spoken to a host or a cluster.
pub(crate) struct Cli {
    arguments: Vec<String>,
    kubeconfig: PathBuf,
    folder: tempfile::TempDir,
}

impl Cli {
    /// To a host.
    pub(crate) fn to_host(host: &Host) -> Self {
        Self::new(&["--host", &host.url], Path::new("/nonexistent"))
    }

    /// To a cluster, in a namespace.
    pub(crate) fn to_cluster(kubeconfig: &Path, namespace: &str) -> Self {
        Self::new(&["--cluster", "-n", namespace], kubeconfig)
    }

    fn new(arguments: &[&str], kubeconfig: &Path) -> Self {
        Self {
            arguments: arguments.iter().map(|a| (*a).to_owned()).collect(),
            kubeconfig: kubeconfig.to_owned(),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(BINARY);
        for variable in ["HOST", "CONTEXT", "TENANT", "API_KEY"] {
            command.env_remove(format!("RINGFENCE_{variable}"));
        }
        command
            .args(&self.arguments)
            .args(arguments)
            .env("KUBECONFIG", &self.kubeconfig)
            .env("RINGFENCE_DATA_DIR", self.folder.path())
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// Standard output of a command that works.
    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let said = text(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {said}");
        text(&output.stdout)
    }

    /// Exit code and standard error of a command that does not.
    pub(crate) fn err(&self, arguments: &[&str]) -> (i32, String) {
        let output = self.run(arguments);
        assert!(!output.status.success(), "{arguments:?} should fail");
        (output.status.code().unwrap(), text(&output.stderr))
    }

    /// A file with this content.
    pub(crate) fn file(&self, name: &str, content: &str) -> String {
        let path = self.folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.to_string_lossy().into_owned()
    }

    /// Waits until a resource is ready.
    pub(crate) fn ready(&self, kind: &str, name: &str) {
        until(&format!("{kind} {name} is ready"), || {
            let shown = self.run(&["get", kind, name, "-o", "json"]);
            let shown: serde_json::Value =
                serde_json::from_slice(&shown.stdout).unwrap_or_default();
            let conditions = shown["status"]["conditions"].as_array().cloned();
            conditions
                .unwrap_or_default()
                .iter()
                .any(|c| c["type"] == "Ready" && c["status"] == "True")
        });
    }
}

impl Cli {
    /// The same, with further options of every command.
    pub(crate) fn with(mut self, arguments: &[&str]) -> Self {
        self.arguments
            .extend(arguments.iter().map(|a| (*a).to_owned()));
        self
    }
}

/// Waits for something that happens by itself.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "it never came to this: {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}
